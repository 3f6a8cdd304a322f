//! What the command line asks of mounts: start one, find those of this machine, and talk to their
//! daemons. Prints nothing.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::control;
use super::control::Failure;
use super::control::Reply;
use super::control::Request;
use super::control::milliseconds;
use super::daemon;
use super::daemon::Report;
use super::mountinfo;
use super::mountinfo::FSTYPE;
use super::mountpoint;
use super::mountpoint::Detach;
use super::registry::Entry;
use super::registry::Registry;
use super::request::StartRequest;
use super::serve::serve;
use super::status::MountStatus;
use crate::config::VolumeConfig;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::ops::audit;
use crate::ops::audit::AuditOptions;
use crate::ops::audit::Event;
use crate::provider::SseMode;
use crate::telemetry;
use crate::telemetry::Settings;
use crate::telemetry::Target;

/// How long a daemon may take to become ready: it may have to replay metadata first.
const READY_TIMEOUT: Duration = Duration::from_secs(120);
/// How long the kernel may take to show what the daemon says is ready.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long `status` waits for a daemon.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a change of what the volume remembers may take.
const SET_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a tool that reads the whole volume may take.
const TOOL_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// How long a process may take to end once everything is stored.
const END_TIMEOUT: Duration = Duration::from_secs(10);
/// What is waited beyond the deadline that the daemon was asked to keep.
const GRACE: Duration = Duration::from_secs(30);
const END_PAUSE: Duration = Duration::from_millis(10);

/// What a start found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    /// The volume is mounted now (in the foreground: was, until now). Holds what a person should
    /// know, as sentences.
    Now(Vec<String>),
    /// It was mounted there before.
    Already,
}

/// How a stop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Everything is stored, and the process has ended.
    Stored,
    /// The mount is off the tree. The process goes on until nobody uses it any more and everything
    /// is stored.
    Detached {
        /// The process.
        pid: u32,
    },
}

/// Mounts a volume: in a process of its own, and returns when the file system answers; or, in the
/// foreground, in this process, and returns when the mount is gone.
pub fn start(request: StartRequest) -> Result<Started> {
    let mut request = request.settle()?;
    // What can be wrong on this side is said before a process is made.
    let volume = request.load_config()?.volume(&request.volume)?;
    if already(&request, &volume)? {
        return Ok(Started::Already);
    }
    let config = request.mount_config(&volume)?;
    request.log_file = request.log_file.or_else(|| config.log_file.clone());
    let mut notices = volume.notices(&config);
    if request.foreground || config.foreground {
        serve_in_foreground(&request, &notices)?;
    } else {
        notices.extend(start_daemon(&request)?);
    }
    Ok(Started::Now(notices))
}

/// What a person should know of the mount, as sentences.
fn start_daemon(request: &StartRequest) -> Result<Vec<String>> {
    let mut program = Command::new("/proc/self/exe");
    program.arg0("cairnfs");
    let dir = request.dir.to_string_lossy().into_owned();
    let log = match log_target(request) {
        Target::File(path) | Target::BoundedFile(path) => format!("`{}`", path.display()),
        Target::Journal | Target::Stderr => "`journalctl -t cairnfs`".to_owned(),
    };
    let notices = daemon::spawn(program, &[&request.volume, &dir], request, READY_TIMEOUT, &log)?;
    if mountpoint::answers(&request.dir, ANSWER_TIMEOUT) {
        return Ok(notices);
    }
    Err(Error::new(Kind::Unavailable, "the daemon is ready, but the file system does not answer")
        .hint(format!("look at its log, {log}, and end it with `cairnfs stop`")))
}

/// Where a daemon logs: a file that was named, the journal, or a file in the run directory.
fn log_target(request: &StartRequest) -> Target {
    match &request.log_file {
        Some(path) => Target::File(path.clone()),
        None if telemetry::journal_present() => Target::Journal,
        None => Target::BoundedFile(Registry::of_this_user().log(&request.dir)),
    }
}

fn serve_in_foreground(request: &StartRequest, notices: &[String]) -> Result<()> {
    let target = request.log_file.clone().map_or(Target::Stderr, Target::File);
    telemetry::init(&Settings { target, filter: request.log_filter.clone() })?;
    let warn = |notices: &[String]| notices.iter().for_each(|notice| tracing::warn!("{notice}"));
    warn(notices);
    super::runtime()?.block_on(serve(request, &Registry::of_this_user(), warn))
}

/// The daemon's side of [`start`]: this process was made by `daemon::spawn`.
pub fn run_daemon() -> Result<()> {
    // Run as /proc/self/exe, it would be `exe` in lists of processes.
    let _ = rustix::thread::set_name(c"cairnfs");
    let request: StartRequest = daemon::adopt()?;
    let outcome = serve_detached(&request);
    if let Err(error) = &outcome {
        // Late failures are in the log; an early one is what the starter waits for.
        daemon::report(&Report::Failed(Failure::from(error)));
    }
    outcome
}

fn serve_detached(request: &StartRequest) -> Result<()> {
    let registry = Registry::of_this_user();
    registry.make_directory()?;
    let target = log_target(request);
    telemetry::init(&Settings { target, filter: request.log_filter.clone() })?;
    let report = |notices: &[String]| daemon::report(&Report::Ready(notices.to_vec()));
    super::runtime()?.block_on(serve(request, &registry, report))
}

/// A mount of this machine.
#[derive(Debug, Clone)]
pub struct Mount {
    entry: Entry,
    socket: PathBuf,
}

/// The mounts of this user, by mount point.
pub fn list() -> Result<Vec<Mount>> {
    let registry = Registry::of_this_user();
    let entries = registry.entries()?.into_iter();
    Ok(entries.map(|entry| Mount { socket: registry.socket(&entry.mountpoint), entry }).collect())
}

/// Where volumes of a name are mounted on this machine.
fn mounts_of(volume: &str) -> Result<Vec<Mount>> {
    Ok(list()?.into_iter().filter(|mount| mount.entry.volume == volume).collect())
}

/// The mount through which a volume's tools work: one that may write and whose daemon answers. One
/// that was taken over and does not know it yet may not answer.
pub fn writing_mount(volume: &VolumeConfig) -> Result<Option<Mount>> {
    let mut mounts = mounts_at(volume)?;
    mounts.retain(|mount| !mount.read_only());
    let answers =
        |mount: &Mount| matches!(mount.ask(&Request::Status, STATUS_TIMEOUT), Ok(Reply::Status(_)));
    let at = mounts.iter().position(answers);
    Ok(at.map(|at| mounts.swap_remove(at)).or_else(|| mounts.pop()))
}

/// The mounts of the very volume that `config` describes: another config may have one of the name.
pub fn mounts_at(config: &VolumeConfig) -> Result<Vec<Mount>> {
    let mut mounts = mounts_of(&config.name)?;
    mounts.retain(|mount| mount.entry.is_of(config));
    Ok(mounts)
}

/// The mounts that `what` names: a volume, or a mount point. `Kind::NotFound` when there is none.
pub fn find(what: &str) -> Result<Vec<Mount>> {
    let named = if what.contains('/') { Vec::new() } else { mounts_of(what)? };
    if !named.is_empty() {
        return Ok(named);
    }
    let dir = mountpoint::resolve(Path::new(what)).ok();
    let found: Vec<_> =
        list()?.into_iter().filter(|mount| Some(&mount.entry.mountpoint) == dir.as_ref()).collect();
    if found.is_empty() {
        return Err(Error::new(Kind::NotFound, format!("`{what}` is not mounted here"))
            .hint("`cairnfs status` lists what is mounted"));
    }
    Ok(found)
}

/// The one mount that `what` names.
pub fn find_one(what: &str) -> Result<Mount> {
    let mut found = find(what)?;
    match (found.pop(), found.is_empty()) {
        (Some(mount), true) => Ok(mount),
        _ => Err(Error::new(Kind::Usage, format!("`{what}` is mounted more than once"))
            .hint("name the mount point instead")),
    }
}

impl Mount {
    /// Where it is mounted.
    pub fn mountpoint(&self) -> &Path {
        &self.entry.mountpoint
    }

    /// The volume's name.
    pub fn volume(&self) -> &str {
        &self.entry.volume
    }

    /// Whether writes are refused.
    pub fn read_only(&self) -> bool {
        self.entry.read_only
    }

    /// What `status` shows; a daemon that does not answer is shown as such.
    pub fn status(&self) -> MountStatus {
        match self.ask(&Request::Status, STATUS_TIMEOUT) {
            Ok(Reply::Status(status)) => *status,
            Ok(_) => MountStatus::unreachable(&self.entry, "its answer has no sense".to_owned()),
            Err(error) => MountStatus::unreachable(&self.entry, error.to_string()),
        }
    }

    /// Makes everything durable.
    pub fn sync(&self, timeout: Duration) -> Result<()> {
        let timeout_ms = milliseconds(timeout);
        self.ask(&Request::Sync { timeout_ms }, timeout + GRACE).map(drop)
    }

    /// Stores everything, unmounts, and waits for the process to end; but not for one that is only
    /// detached, which may go on for long.
    pub fn stop(&self, timeout: Duration, detach: Detach) -> Result<Stopped> {
        let request = Request::Stop { timeout_ms: milliseconds(timeout), detach };
        let pid = self.entry.pid;
        match self.ask(&request, timeout + GRACE).map_err(|error| self.still_storing(error))? {
            Reply::Detached => Ok(Stopped::Detached { pid }),
            _ if self.ends_within(END_TIMEOUT)? => Ok(Stopped::Stored),
            _ => {
                let sentence = format!("everything is stored, but process {pid} stays");
                Err(Error::new(Kind::Internal, sentence).hint("its log says why"))
            }
        }
    }

    /// Whether the daemon ends: as a process, and as the owner of its entry.
    fn ends_within(&self, timeout: Duration) -> Result<bool> {
        let process = PathBuf::from(format!("/proc/{}", self.entry.pid));
        let mut waited = Duration::ZERO;
        while self.lives(&process)? {
            if waited >= timeout {
                return Ok(false);
            }
            std::thread::sleep(END_PAUSE);
            waited += END_PAUSE;
        }
        Ok(true)
    }

    /// Deletes blocks that nothing names; how many, and their bytes.
    pub fn gc(&self) -> Result<(u64, u64)> {
        match self.ask(&Request::Gc, TOOL_TIMEOUT)? {
            Reply::Deleted { blocks, bytes } => Ok((blocks, bytes)),
            _ => Err(senseless()),
        }
    }

    /// Checks every invariant; each finding a sentence.
    pub fn fsck(&self) -> Result<Vec<String>> {
        match self.ask(&Request::Fsck, TOOL_TIMEOUT)? {
            Reply::Findings { findings } => Ok(findings),
            _ => Err(senseless()),
        }
    }

    /// Asks the store about every object, and tells `each` what happens meanwhile.
    pub fn audit(
        &self,
        options: AuditOptions,
        each: &mut dyn FnMut(Event),
    ) -> Result<audit::Report> {
        let request = Request::Audit { options };
        match control::call_told(&self.socket, &request, TOOL_TIMEOUT, each)? {
            Reply::Audited(report) => Ok(*report),
            _ => Err(senseless()),
        }
    }

    /// Records another encryption mode.
    pub fn set_sse(&self, mode: &SseMode) -> Result<()> {
        self.ask(&Request::SetSse { mode: mode.to_string() }, SET_TIMEOUT).map(drop)
    }

    fn ask(&self, request: &Request, patience: Duration) -> Result<Reply> {
        control::call(&self.socket, request, patience)
    }

    /// A stop that got no answer may have unmounted already: then what is left is to wait.
    fn still_storing(&self, error: Error) -> Error {
        let dir = &self.entry.mountpoint;
        let detached = matches!(mountinfo::mounted_at(dir), Ok(None));
        if error.kind() != Kind::Unavailable || !detached {
            return error;
        }
        let pid = self.entry.pid;
        Error::new(Kind::Unavailable, format!("unmounted, but process {pid} is still storing"))
            .hint("let it end by itself; `cairnfs status` shows how far it is")
    }

    /// Whether the daemon is still there: as a process, and as the owner of its entry.
    fn lives(&self, process: &Path) -> Result<bool> {
        let zombie = fs::read_to_string(process.join("stat")).is_ok_and(|stat| is_zombie(&stat));
        let registered = list()?.iter().any(|mount| mount.entry == self.entry);
        Ok(registered || (process.exists() && !zombie))
    }
}

/// `123 (name) Z …`: ended, and not yet waited for by its parent. The name may hold anything.
fn is_zombie(stat: &str) -> bool {
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
}

/// Whether the same volume is mounted there and answers. Another one there is found by the mount
/// itself. A process whose mount is off the tree is waited for: it may be storing what was written
/// there last.
fn already(request: &StartRequest, volume: &VolumeConfig) -> Result<bool> {
    let dir = &request.dir;
    let Some(mount) = list()?.into_iter().find(|mount| mount.entry.mountpoint == *dir) else {
        return Ok(false);
    };
    let visible = mountinfo::mounted_at(dir)?.is_some_and(|line| line.fstype == FSTYPE);
    if visible && !mount.entry.is_of(volume) {
        return Ok(false);
    }
    if visible && mountpoint::answers(dir, ANSWER_TIMEOUT) {
        return Ok(true);
    }
    if mount.ends_within(READY_TIMEOUT)? {
        return Ok(false);
    }
    let Entry { pid, volume, .. } = &mount.entry;
    Err(match visible {
        true => Error::new(Kind::Unavailable, format!("process {pid} does not answer there"))
            .hint("its log says why; `kill` it, or `umount -l` what it mounted"),
        false => {
            let sentence = format!("process {pid} is still storing volume `{volume}`");
            Error::new(Kind::Busy, sentence).hint(
                "`cairnfs status` shows how far it is; what still uses the old mount keeps it",
            )
        }
    })
}

fn senseless() -> Error {
    Error::new(Kind::Internal, "the daemon's answer has no sense")
        .hint("program and daemon are of different versions: stop and start the mount")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zombie_is_known_by_its_state_whatever_its_name() {
        assert!(is_zombie("7 (a) R) Z 1 7"));
        assert!(!is_zombie("7 (Z) S 1 7"));
    }
}
