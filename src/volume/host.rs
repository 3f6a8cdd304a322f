//! Which process on which machine this is, as far as another process can check it later.
//! Knows no volume.

use std::fs;
use std::io;

use rustix::process::Pid;
use rustix::process::test_kill_process;

use crate::error::Error;
use crate::error::Result;

/// A process of one boot of one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    /// The machine's name; for people.
    pub(super) name: String,
    /// `/etc/machine-id`; empty where there is none, and then it equals no other.
    pub(super) machine_id: String,
    /// The kernel's id of this boot.
    pub(super) boot_id: String,
    /// The namespace that `pid` counts in.
    pub(super) pid_namespace: String,
    /// The process.
    pub(super) pid: u32,
    /// When it started, in clock ticks after the boot: a number is used again, this is not.
    pub(super) start_time: u64,
}

/// What is left of a process of this boot and namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Process {
    /// It has ended.
    Gone,
    /// A process of that number runs; its start time, where it may be read.
    Running(Option<u64>),
}

impl Host {
    /// This process.
    pub(super) fn this() -> Result<Self> {
        let pid = std::process::id();
        let stat = read("/proc/self/stat")?;
        let start_time = start_time(&stat)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no start time in it"))
            .map_err(|cause| unreadable("/proc/self/stat", cause))?;
        let namespace = "/proc/self/ns/pid";
        let namespace = fs::read_link(namespace).map_err(|cause| unreadable(namespace, cause))?;
        Ok(Self {
            name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            machine_id: fs::read_to_string("/etc/machine-id").unwrap_or_default().trim().to_owned(),
            boot_id: boot_id()?,
            pid_namespace: namespace.to_string_lossy().into_owned(),
            pid,
            start_time,
        })
    }
}

/// Looks for a process of this boot and namespace.
pub(super) fn process(pid: u32) -> Process {
    let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Process::Gone;
    };
    // Also tells when /proc hides the processes of other users (`hidepid`).
    if test_kill_process(number) == Err(rustix::io::Errno::SRCH) {
        return Process::Gone;
    }
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        // It was killed, and only waits for its parent to take note.
        Ok(stat) if state(&stat).is_some_and(|state| matches!(state, "Z" | "X")) => Process::Gone,
        Ok(stat) => Process::Running(start_time(&stat)),
        Err(_) => Process::Running(None),
    }
}

fn boot_id() -> Result<String> {
    #[cfg(feature = "testing")]
    if let Some(id) = crate::config::environment("CAIRNFS_TEST_BOOT_ID") {
        return Ok(id);
    }
    Ok(read("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

fn state(stat: &str) -> Option<&str> {
    field(stat, 3)
}

fn start_time(stat: &str) -> Option<u64> {
    field(stat, 22)?.parse().ok()
}

/// A field of /proc/PID/stat, counted from 1 as proc(5) does. The second is the program's name in
/// parentheses, which may itself have spaces and parentheses.
fn field(stat: &str, number: usize) -> Option<&str> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(number - 3)
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).map_err(|cause| unreadable(path, cause))
}

fn unreadable(path: &str, cause: io::Error) -> Error {
    Error::from(cause).while_doing(format!("cannot read `{path}`")).hint("mount /proc")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_its_successors_by_its_start_time() {
        let this = Host::this().unwrap();
        assert_eq!(process(this.pid), Process::Running(Some(this.start_time)));
        assert!(!this.boot_id.is_empty() && this.pid_namespace.contains("pid"));
        // Above the kernel's largest number.
        assert_eq!(process(i32::MAX.unsigned_abs()), Process::Gone);
        assert_eq!(process(0), Process::Gone);
    }

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(state(stat), Some("S"));
        assert_eq!(start_time(stat), Some(4711));
        assert_eq!(start_time("7 (a) S 1"), None);
    }
}
