//! `sync`: makes everything durable, because sync(1) does not reach a FUSE server.

use std::time::Duration;

use clap::Args;

use super::args::duration;
use super::exit::Outcome;
use crate::error::Result;
use crate::mount;

/// Makes everything durable.
#[derive(Debug, Args)]
pub(super) struct SyncArgs {
    /// The mount point, or the volume; without it, all mounts
    #[arg(value_name = "DIR")]
    what: Option<String>,
    /// How long to wait for the store
    #[arg(long, default_value = "10m", value_parser = duration)]
    timeout: Duration,
}

/// `sync [DIR]`.
pub(super) fn run(args: &SyncArgs) -> Result<Outcome> {
    let mounts = match &args.what {
        Some(what) => mount::find(what)?,
        None => mount::list()?,
    };
    for mount in mounts {
        mount
            .sync(args.timeout)
            .map_err(|error| error.while_doing(format!("cannot sync `{}`", mount.volume())))?;
    }
    Ok(Outcome::Done)
}
