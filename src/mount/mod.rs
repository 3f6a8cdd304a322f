//! Mounts on this machine. The composition root: here a volume, its file system and FUSE meet, in a
//! process of their own. Parses no arguments and prints nothing.

mod request;
mod client;
mod daemon;
mod serve;
mod signals;
mod desk;
mod control;
mod registry;
mod status;
mod mountpoint;
mod mountinfo;
mod notify;

pub use client::Mount;
pub use client::Started;
pub use client::Stopped;
pub use client::find;
pub use client::find_one;
pub use client::list;
pub use client::mounts_at;
pub use client::run_daemon;
pub use client::start;
pub use client::writing_mount;
pub use daemon::COMMAND as DAEMON_COMMAND;
pub use mountpoint::Detach;
pub use mountpoint::unmount as unmount_unserved;
pub use request::StartRequest;
pub use status::Live;
pub use status::MountStatus;

use std::path::PathBuf;

use crate::config::environment;
use crate::error::Error;
use crate::error::Result;
use crate::telemetry;

/// Keeps this process's posture log at `$CAIRNFS_POSTURE_LOG`, else where the system keeps root's
/// logs, or the state of a person's programs.
pub fn keep_posture_log() {
    let is_root = rustix::process::geteuid().is_root();
    let state = || {
        let own = environment("XDG_STATE_HOME").map(PathBuf::from);
        own.or_else(|| Some(PathBuf::from(environment("HOME")?).join(".local/state")))
    };
    let path = match environment("CAIRNFS_POSTURE_LOG") {
        Some(path) => Some(PathBuf::from(path)),
        None if is_root => Some(PathBuf::from("/var/log/cairnfs/posture.log")),
        None => state().map(|state| state.join("cairnfs/posture.log")),
    };
    if let Some(path) = path {
        telemetry::keep_posture_log(path);
    }
}

/// Uploads and metadata run here, the kernel's requests on FUSE's own threads: a few are enough,
/// and more would take the processors those need.
const WORKERS_MIN: usize = 2;
const WORKERS_MAX: usize = 4;

/// The runtime of a daemon, or of a tool that opens a volume itself.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    let processors = std::thread::available_parallelism().map_or(WORKERS_MIN, Into::into);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(processors.clamp(WORKERS_MIN, WORKERS_MAX))
        .thread_name("cairnfs")
        .enable_all()
        .build()
        .map_err(|cause| Error::from(cause).while_doing("cannot start the runtime"))
}
