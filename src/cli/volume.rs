//! `volume create | list | show | set | delete`. Knows no mount beyond asking whether there is one.

use clap::Subcommand;
use serde_json::json;

use super::args::ConfigArgs;
use super::args::OutputArgs;
use super::args::size;
use super::exit::Outcome;
use super::output;
use crate::ambient::Ambient;
use crate::config::MountConfig;
use crate::config::VolumeConfig;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::mount;
use crate::object::Told;
use crate::provider::SseMode;
use crate::volume::CreateOptions;
use crate::volume::Deleted;
use crate::volume::Summary;
use crate::volume::Volume;

/// What is done with volumes.
#[derive(Debug, Subcommand)]
pub(super) enum VolumeCommand {
    /// Make a volume that the config describes
    Create {
        /// The volume's name in the config
        name: String,
        /// The encryption that every mount will ask for: aes256, kms:KEY, …
        #[arg(long, value_name = "MODE", num_args = 0..=1)]
        sse: Option<Option<SseMode>>,
        /// Go on without encryption where the store cannot encrypt
        #[arg(long)]
        allow_unencrypted: bool,
        /// Bytes of a block, 256KiB to 64MiB
        #[arg(long, value_name = "SIZE", default_value = "4MiB", value_parser = size)]
        block_size: u64,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// List the volumes of the config
    List {
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show what a volume remembers
    Show {
        /// The volume's name in the config
        name: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Change what a volume remembers
    Set {
        /// The volume's name in the config
        name: String,
        /// The encryption that every mount will ask for; the only way to weaken it
        #[arg(long, value_name = "MODE")]
        sse: SseMode,
    },
    /// Delete a volume with all its data
    Delete {
        /// The volume's name in the config
        name: String,
        /// The name once more, instead of being asked for it
        #[arg(long, value_name = "NAME")]
        yes: Option<String>,
    },
}

/// `volume …`.
pub(super) fn run(command: VolumeCommand, config: &ConfigArgs) -> Result<Outcome> {
    match command {
        VolumeCommand::Create { name, sse, allow_unencrypted, block_size, output } => {
            let asked = MountConfig {
                sse_asked: sse.is_some(),
                sse: sse.flatten(),
                allow_unencrypted,
                ..Default::default()
            };
            create(&config.load()?.volume(&name)?, asked, block_size, output)
                .map_err(|error| error.while_doing(format!("cannot create volume `{name}`")))
        }
        VolumeCommand::List { output } => list(config, output),
        VolumeCommand::Show { name, output } => show(&config.load()?.volume(&name)?, output)
            .map_err(|error| error.while_doing(format!("cannot show volume `{name}`"))),
        VolumeCommand::Set { name, sse } => set(&name, &sse, config)
            .map_err(|error| error.while_doing(format!("cannot change volume `{name}`"))),
        VolumeCommand::Delete { name, yes } => delete(&name, yes, config)
            .map_err(|error| error.while_doing(format!("cannot delete volume `{name}`"))),
    }?;
    Ok(Outcome::Done)
}

fn create(
    config: &VolumeConfig,
    mut asked: MountConfig,
    block_size: u64,
    output: OutputArgs,
) -> Result<()> {
    asked.allow_unencrypted |= config.mount.allow_unencrypted;
    let too_large = |_| Error::new(Kind::Usage, "a block has 64MiB at most");
    let options = CreateOptions {
        sse: config.asked_mode(&asked),
        block_bytes: u32::try_from(block_size).map_err(too_large)?,
    };
    if let Some(notice) = config.unencrypted_notice(&asked) {
        output::say(format!("note: {notice}"));
    }
    let ambient = Ambient::system();
    let summary = mount::runtime()?.block_on(Volume::create(config, options, &ambient))?;
    match output.json {
        true => output::json(&summary_json(config, &summary)),
        false => {
            output::say(format!("created volume `{}`", config.name));
            summary.notices.iter().for_each(|notice| output::say(format!("note: {notice}")));
            output::say(summary_text(config, &summary));
            Ok(())
        }
    }
}

fn list(config: &ConfigArgs, output: OutputArgs) -> Result<()> {
    let config = config.load()?;
    let mounts = mount::list()?;
    let mounted_at = |name: &str| -> Vec<String> {
        let ours = mounts.iter().filter(|mount| mount.volume() == name);
        ours.map(|mount| mount.mountpoint().display().to_string()).collect()
    };
    let mut rows = vec![["VOLUME", "PROVIDER", "PLACE", "MOUNTED AT"].map(str::to_owned).to_vec()];
    let mut values = Vec::new();
    for name in config.names() {
        let (volume, at) = (config.volume(name)?, mounted_at(name));
        values.push(json!({
            "volume": name, "provider": volume.provider.name, "bucket": volume.bucket,
            "prefix": volume.prefix, "path": volume.path, "mountpoints": at,
        }));
        let provider = volume.provider.name.clone();
        rows.push(vec![name.to_owned(), provider, place(&volume), at.join(", ")]);
    }
    match (output.json, values.is_empty()) {
        (true, _) => output::json(&values)?,
        (false, true) => output::say("the config has no volumes"),
        (false, false) => output::data(output::table(&rows)),
    }
    Ok(())
}

fn show(config: &VolumeConfig, output: OutputArgs) -> Result<()> {
    let inspected = mount::runtime()?.block_on(Volume::inspect(config));
    let summary = inspected.map_err(|error| create_first(&config.name, error))?;
    match output.json {
        true => output::json(&summary_json(config, &summary)),
        false => {
            output::data(summary_text(config, &summary));
            Ok(())
        }
    }
}

fn set(name: &str, mode: &SseMode, config: &ConfigArgs) -> Result<()> {
    let config = config.load()?.volume(name)?;
    let from = match mount::writing_mount(&config)? {
        Some(mount) => {
            mount.set_sse(mode)?;
            "now"
        }
        None => {
            mount::runtime()?
                .block_on(Volume::set_sse(&config, mode.clone()))
                .map_err(|error| create_first(name, error))?;
            "its next mount"
        }
    };
    output::say(format!("volume `{name}` asks for `{mode}` from {from} on"));
    Ok(())
}

fn delete(name: &str, yes: Option<String>, config: &ConfigArgs) -> Result<()> {
    let config = config.load()?.volume(name)?;
    if let Some(mount) = mount::mounts_at(&config)?.first() {
        let dir = mount.mountpoint().display();
        return Err(Error::new(Kind::Busy, format!("it is mounted at `{dir}`"))
            .hint(format!("stop it first: `cairnfs stop {dir}`")));
    }
    let runtime = mount::runtime()?;
    let summary = runtime.block_on(Volume::inspect(&config))?;
    if summary.held {
        let holder = summary.holder.unwrap_or_else(|| "somebody".to_owned());
        return Err(
            Error::new(Kind::Busy, format!("it is held by {holder}")).hint("stop it there first")
        );
    }
    let question = format!(
        "all files of volume `{name}` at {} will be gone; type its name to delete it:",
        place(&config)
    );
    let answer = yes.or_else(|| output::ask(&question)).ok_or_else(|| {
        Error::new(Kind::Usage, "nobody is there to confirm it")
            .hint(format!("confirm with `--yes {name}`"))
    })?;
    if answer != name {
        return Err(Error::new(Kind::Usage, format!("`{answer}` is not its name"))
            .hint("nothing was deleted"));
    }
    let deleted = runtime.block_on(Volume::delete(&config))?;
    say_deleted(name, &deleted);
    Ok(())
}

fn say_deleted(name: &str, deleted: &Deleted) {
    output::say(format!(
        "deleted volume `{name}`: {} objects, {} old versions and delete markers",
        deleted.objects, deleted.versions
    ));
    match (&deleted.unproven, deleted.strange_found) {
        (None, 0) => output::say("nothing of it is left, no version and no delete marker"),
        (None, _) => {}
        (Some(why), _) => {
            let why = output::printable(why);
            output::say(format!("no object of it is left; whether old versions are: {why}"));
        }
    }
    let stays = |names: &[String], found: u64, what: &str| {
        for name in names {
            output::say(format!("{what} stays: {}", output::printable(name)));
        }
        let rest = found.saturating_sub(names.len() as u64);
        if rest > 0 {
            output::say(format!("{what} stays: and {rest} more"));
        }
    };
    let odd = "an object with a name that no volume gives";
    stays(&deleted.strange, deleted.strange_found, odd);
    match &deleted.uploads {
        Some(Told::Yes(names)) => {
            let what = "an unfinished upload that is not the volume's";
            stays(names, deleted.uploads_found, what);
        }
        Some(Told::No(why) | Told::Denied(why)) => {
            let why = output::printable(why);
            output::say(format!("whether unfinished uploads stay is not told: {why}"));
        }
        None => {}
    }
}

fn create_first(name: &str, error: Error) -> Error {
    match error.kind() {
        Kind::NotFound => error.hint(format!("create it with `cairnfs volume create {name}`")),
        _ => error,
    }
}

fn place(config: &VolumeConfig) -> String {
    match &config.path {
        Some(path) if config.prefix.is_empty() => path.display().to_string(),
        Some(path) => path.join(&config.prefix).display().to_string(),
        None if config.prefix.is_empty() => config.bucket.clone(),
        None => format!("{}/{}", config.bucket, config.prefix),
    }
}

fn summary_text(config: &VolumeConfig, summary: &Summary) -> String {
    let rows = [
        ("volume", config.name.clone()),
        ("id", summary.id.to_string()),
        ("provider", config.provider.title.clone()),
        ("place", place(config)),
        ("format", summary.format.to_string()),
        ("block size", output::bytes(summary.block_bytes.into())),
        ("encryption", summary.sse.to_string()),
        ("fencing", summary.fencing.clone()),
        ("holder", summary.holder.clone().unwrap_or_else(|| "none".to_owned())),
    ];
    output::table(&rows.map(|(name, value)| vec![name.to_owned(), value]))
}

fn summary_json(config: &VolumeConfig, summary: &Summary) -> serde_json::Value {
    json!({
        "volume": config.name, "id": summary.id.to_string(), "provider": config.provider.name,
        "bucket": config.bucket, "prefix": config.prefix, "path": config.path,
        "format": summary.format, "block_bytes": summary.block_bytes,
        "sse": summary.sse.to_string(), "fencing": summary.fencing,
        "holder": summary.holder, "held": summary.held,
    })
}
