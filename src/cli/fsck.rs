//! `fsck`: shows every broken invariant of a volume. The daemon checks what is mounted here; other
//! volumes are opened without writing.

use clap::Args;

use super::args::ConfigArgs;
use super::args::OutputArgs;
use super::exit::Outcome;
use super::output;
use crate::error::Error;
use crate::error::Result;
use crate::mount;
use crate::ops::Access;
use crate::ops::with_volume;
use crate::volume::Volume;

/// Checks a volume.
#[derive(Debug, Args)]
pub(super) struct FsckArgs {
    /// The volume's name
    name: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// `fsck NAME`.
pub(super) fn run(args: &FsckArgs, config: &ConfigArgs) -> Result<Outcome> {
    let doing = |error: Error| error.while_doing(format!("cannot check volume `{}`", args.name));
    let findings = findings(args, config).map_err(doing)?;
    if args.output.json {
        output::json(&serde_json::json!({ "volume": args.name, "findings": findings }))?;
    } else {
        findings.iter().for_each(output::data);
        output::say(match findings.len() {
            0 => format!("volume `{}` is sound", args.name),
            count => format!("volume `{}` has faults: {count}", args.name),
        });
    }
    Ok(if findings.is_empty() { Outcome::Done } else { Outcome::Faults })
}

fn findings(args: &FsckArgs, config: &ConfigArgs) -> Result<Vec<String>> {
    let config = config.load()?.volume(&args.name)?;
    if let Some(mount) = mount::writing_mount(&config)? {
        return mount.fsck();
    }
    let work = async |volume: &Volume| volume.fsck().await;
    mount::runtime()?.block_on(with_volume(&config, Access::Read, work))
}
