//! `stop`, and umount(8)'s helper: stores everything, unmounts, waits for the daemon's end. What
//! is still dirty is told by the daemon. Knows no signals.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;

use super::args::duration;
use super::exit::Outcome;
use super::fstab;
use super::output;
use crate::error::Kind;
use crate::error::Result;
use crate::mount;
use crate::mount::Detach;
use crate::mount::Stopped;

/// umount(8) has no time-out of its own: a store that is away gets an hour, `-f` much less.
const UMOUNT_TIMEOUT: Duration = Duration::from_secs(3600);
const FORCED_TIMEOUT: Duration = Duration::from_secs(5);

/// Unmounts a volume.
#[derive(Debug, Args)]
pub(super) struct StopArgs {
    /// The volume, or its mount point
    #[arg(value_name = "VOLUME|DIR")]
    what: String,
    /// How long to wait until everything is stored; the mount stays when that is not enough
    #[arg(long, default_value = "60s", value_parser = duration)]
    timeout: Duration,
    /// Detach the mount although it is in use; its daemon goes on until its last user ends
    #[arg(long)]
    lazy: bool,
}

/// `stop VOLUME|DIR`.
pub(super) fn run(args: &StopArgs) -> Result<Outcome> {
    let detach = if args.lazy { Detach::Lazily } else { Detach::IfIdle };
    let stopped = mount::find_one(&args.what)
        .and_then(|mount| mount.stop(args.timeout, detach))
        .map_err(|error| error.while_doing(format!("cannot stop `{}`", args.what)))?;
    if let Stopped::Detached { pid } = stopped {
        say_detached(&args.what, pid);
    }
    Ok(Outcome::Done)
}

/// It is no failure, but whoever takes it for stored could switch the machine off.
fn say_detached(what: &str, pid: u32) {
    output::say(format!(
        "note: `{what}` is detached; process {pid} goes on until nobody uses it and everything is \
         stored"
    ));
}

/// `umount.cairnfs DIR`. A mount without a living daemon is unmounted all the same.
pub(super) fn umount_helper(arguments: &[OsString]) -> Result<()> {
    let call = fstab::umount_call(arguments)?;
    let (detach, timeout) = match (call.lazy, call.force) {
        (_, true) => (Detach::Forced, FORCED_TIMEOUT),
        (true, false) => (Detach::Lazily, UMOUNT_TIMEOUT),
        (false, false) => (Detach::IfIdle, UMOUNT_TIMEOUT),
    };
    let dir = call.dir.display().to_string();
    // A directory without a slash could also be the name of a volume.
    let what = std::path::absolute(&call.dir)?.display().to_string();
    let stopped = match mount::find_one(&what) {
        Ok(mount) => mount.stop(timeout, detach).map(Some),
        Err(error) if error.kind() == Kind::NotFound => {
            mount::unmount_unserved(&call.dir, detach).map(|()| None)
        }
        Err(error) => Err(error),
    }
    .map_err(|error| error.while_doing(format!("cannot unmount `{dir}`")))?;
    match stopped {
        Some(Stopped::Detached { pid }) => say_detached(&dir, pid),
        Some(Stopped::Stored) if call.verbose => {
            output::say(format!("`{dir}` is stored and unmounted"));
        }
        None if call.verbose => output::say(format!("`{dir}` is unmounted; nothing served it")),
        Some(Stopped::Stored) | None => {}
    }
    Ok(())
}
