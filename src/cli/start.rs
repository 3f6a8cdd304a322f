//! `start`, and mount(8)'s helper: what is wanted, as a request. Knows no FUSE and no processes.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::args::ConfigArgs;
use super::exit::Outcome;
use super::fstab;
use super::output;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::mount;
use crate::mount::StartRequest;
use crate::mount::Started;

/// Mounts a volume.
#[derive(Debug, Args)]
pub(super) struct StartArgs {
    /// The volume's name in the config
    volume: String,
    /// The directory to mount it on
    dir: PathBuf,
    /// Ask for server-side encryption: aes256, kms:KEY, …; alone: the provider's usual mode
    #[arg(long, value_name = "MODE", num_args = 0..=1, require_equals = true)]
    sse: Option<Option<String>>,
    /// Go on without encryption where the store cannot encrypt
    #[arg(long)]
    allow_unencrypted: bool,
    /// Write nothing at all
    #[arg(long)]
    read_only: bool,
    /// Stay in this process, and log to the terminal
    #[arg(long)]
    foreground: bool,
    /// Mount options, separated by commas
    #[arg(short = 'o', value_name = "OPTIONS")]
    options: Vec<String>,
    /// What the daemon may keep in memory
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// How old a change may become before it is durable
    #[arg(long, value_name = "DURATION")]
    commit_interval: Option<String>,
    /// The largest read-ahead of a stream
    #[arg(long, value_name = "SIZE")]
    readahead: Option<String>,
    /// A directory for cached blocks
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<String>,
    /// The most that is kept there
    #[arg(long, value_name = "SIZE")]
    cache_size: Option<String>,
    /// Take the volume from a session that still holds it
    #[arg(long)]
    takeover: bool,
    /// Create the volume if it does not exist
    #[arg(long)]
    create: bool,
    /// Log to a file instead of the journal
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// What is logged: debug, or cairnfs=trace
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

impl StartArgs {
    /// Flags and options say the same things; flags win, so they come last.
    fn request(&self, config: &ConfigArgs) -> StartRequest {
        let mut request = StartRequest {
            volume: self.volume.clone(),
            dir: self.dir.clone(),
            config: config.config.clone(),
            sets: config.sets.clone(),
            create: self.create,
            foreground: self.foreground,
            log_file: self.log_file.clone(),
            log_filter: self.log.clone(),
            ..StartRequest::default()
        };
        for option in self.options.iter().flat_map(|list| fstab::options(list)) {
            request.add_option(option);
        }
        let flag = |given: bool, name: &str| given.then(|| name.to_owned());
        let value = |value: &Option<String>, name: &str| {
            value.as_ref().map(|value| format!("{name}={value}"))
        };
        let sse = self.sse.as_ref().map(|mode| match mode {
            Some(mode) => format!("sse={mode}"),
            None => "sse".to_owned(),
        });
        request.options.extend(sse);
        request.options.extend(flag(self.allow_unencrypted, "allow-unencrypted"));
        request.options.extend(flag(self.read_only, "ro"));
        request.options.extend(flag(self.takeover, "takeover"));
        request.options.extend(value(&self.memory, "memory"));
        request.options.extend(value(&self.commit_interval, "commit-interval"));
        request.options.extend(value(&self.readahead, "readahead"));
        request.options.extend(value(&self.cache_dir, "cache-dir"));
        request.options.extend(value(&self.cache_size, "cache-size"));
        request
    }
}

/// `start VOLUME DIR`.
pub(super) fn run(args: &StartArgs, config: &ConfigArgs) -> Result<Outcome> {
    start(args.request(config), Talk::Brief)?;
    Ok(Outcome::Done)
}

/// `mount.cairnfs VOLUME DIR -o …`.
pub(super) fn mount_helper(arguments: &[OsString]) -> Result<()> {
    let call = fstab::mount_call(arguments)?;
    let mut request = StartRequest { volume: call.volume, dir: call.dir, ..Default::default() };
    call.options.into_iter().for_each(|option| request.add_option(option));
    if call.sloppy {
        request.drop_unknown_options();
    }
    if call.fake {
        return check(&request);
    }
    start(request, if call.verbose { Talk::Verbose } else { Talk::Brief })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Talk {
    Brief,
    Verbose,
}

fn start(request: StartRequest, talk: Talk) -> Result<()> {
    let (volume, dir) = (request.volume.clone(), request.dir.display().to_string());
    match mount::start(request).map_err(|error| cannot_start(&volume, error))? {
        Started::Now(notices) => {
            notices.iter().for_each(|notice| output::say(format!("note: {notice}")));
            if talk == Talk::Verbose {
                output::say(format!("volume `{volume}` is mounted at `{dir}`"));
            }
        }
        Started::Already => {
            output::say(format!("volume `{volume}` is mounted at `{dir}` already"));
        }
    }
    Ok(())
}

/// `-f`: all that can be checked without mounting.
fn check(request: &StartRequest) -> Result<()> {
    let volume = &request.volume;
    request
        .load_config()
        .and_then(|config| config.volume(volume))
        .and_then(|config| request.mount_config(&config).map(drop))
        .map_err(|error| cannot_start(volume, error))
}

fn cannot_start(volume: &str, error: Error) -> Error {
    match error.kind() {
        Kind::Usage => error,
        _ => error.while_doing(format!("cannot start volume `{volume}`")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        start: StartArgs,
    }

    fn request(line: &str) -> StartRequest {
        let words = std::iter::once("start").chain(line.split_whitespace());
        Line::try_parse_from(words).unwrap().start.request(&ConfigArgs::default())
    }

    #[test]
    fn flags_and_options_become_one_list_and_flags_come_last() {
        let asked = request("lab /mnt --sse -o ro,_netdev,memory=1GiB,create --memory 2GiB");
        assert_eq!(asked.options, ["ro", "memory=1GiB", "sse", "memory=2GiB"]);
        assert!(asked.create);
        assert_eq!(request("lab /mnt --sse=kms:k").options, ["sse=kms:k"]);
        assert!(request("lab /mnt").options.is_empty());
    }
}
