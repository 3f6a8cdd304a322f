//! `gc`: deletes blocks that nothing refers to. The daemon does it where the volume is mounted
//! here; otherwise it is opened as a mount would.

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

/// Deletes unused blocks.
#[derive(Debug, Args)]
pub(super) struct GcArgs {
    /// The volume's name
    name: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// `gc NAME`.
pub(super) fn run(args: &GcArgs, config: &ConfigArgs) -> Result<Outcome> {
    let doing = |error: Error| {
        error.while_doing(format!("cannot collect the garbage of volume `{}`", args.name))
    };
    let (blocks, bytes) = collect(&args.name, config).map_err(doing)?;
    if args.output.json {
        output::json(&serde_json::json!({ "blocks": blocks, "bytes": bytes }))?;
    } else {
        output::say(format!("deleted {blocks} blocks, {}", output::bytes(bytes)));
    }
    Ok(Outcome::Done)
}

fn collect(name: &str, config: &ConfigArgs) -> Result<(u64, u64)> {
    let config = config.load()?.volume(name)?;
    if let Some(mount) = mount::writing_mount(&config)? {
        return mount.gc();
    }
    let work = async |volume: &Volume| volume.gc().await;
    mount::runtime()?.block_on(with_volume(&config, Access::Write, work))
}
