//! A mounted volume: it asks for its status, stops it, kills it. However a test ends, nothing
//! stays mounted and no process stays behind.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::time::Duration;

use serde_json::Value;

use super::tools;
use super::volume::TestVolume;

const END_LIMIT: Duration = Duration::from_secs(60);

/// A mount of a [`TestVolume`].
pub struct Mounted<'v> {
    volume: &'v TestVolume,
    dir: PathBuf,
    pid: u32,
}

impl<'v> Mounted<'v> {
    /// Takes charge of what `start` mounted at `dir`.
    #[track_caller]
    pub fn adopt(volume: &'v TestVolume, dir: PathBuf) -> Self {
        assert!(is_mounted(&dir), "`start` returned 0, and nothing is mounted at {dir:?}");
        let mut mounted = Self { volume, dir, pid: 0 };
        let pid = mounted.status()["pid"].as_u64().expect("status tells the daemon's pid");
        mounted.pid = u32::try_from(pid).expect("a pid has 32 bits");
        mounted
    }

    /// Where it is mounted.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A path on the mount.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The daemon's process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its element of `status --json`.
    #[track_caller]
    pub fn status(&self) -> Value {
        let dir = self.dir.to_str().unwrap();
        let ended = self.volume.call("mount.cairnfs", &["status", dir, "--json"]);
        let text = ended.expect_success("status").stdout;
        let list: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        let found = list.as_array().and_then(|list| {
            list.iter().find(|mount| mount["mountpoint"].as_str() == Some(dir)).cloned()
        });
        found.unwrap_or_else(|| panic!("status does not list {dir}: {text}"))
    }

    /// Makes everything written so far durable.
    #[track_caller]
    pub fn sync(&self) {
        let dir = self.dir.to_str().unwrap();
        self.volume.call("cairnfs", &["sync", dir]).expect_success("sync");
    }

    /// Stops it, and checks that the process has ended and nothing is mounted any more.
    #[track_caller]
    pub fn stop(self) {
        let dir = self.dir.to_str().unwrap();
        self.volume.call("mount.cairnfs", &["stop", dir]).expect_success("stop");
        assert!(!is_running(self.pid), "`stop` returned before the daemon had ended");
        assert!(!is_mounted(&self.dir), "`stop` returned, and {dir} is still mounted");
    }

    /// Sends the daemon a signal by name.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let pid = self.pid.to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(sent.success(), "cannot send {name} to the daemon");
    }

    /// Kills the daemon without warning and clears the dead mount away.
    #[track_caller]
    pub fn kill9(self) {
        self.signal("KILL");
        self.wait_for_end();
    }

    /// Waits until the daemon has ended.
    #[track_caller]
    pub fn wait_for_end(&self) {
        let ended = tools::within(END_LIMIT, || !is_running(self.pid));
        assert!(ended, "the daemon did not end within {END_LIMIT:?}");
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        if is_mounted(&self.dir) {
            let _tried = Command::new("umount").arg("-i").arg("-l").arg(&self.dir).output();
        }
        if self.pid != 0 && is_running(self.pid) {
            let pid = self.pid.to_string();
            let _tried = Command::new("kill").args(["-KILL", &pid]).output();
            let _ended = tools::within(Duration::from_secs(5), || !is_running(self.pid));
        }
    }
}

/// Whether something is mounted at `dir`.
pub fn is_mounted(dir: &Path) -> bool {
    let dir = dir.to_str().unwrap();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts.lines().any(|line| line.split(' ').nth(4) == Some(dir))
}

/// Whether a process runs; one that only waits to be reaped does not.
pub fn is_running(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

static HELPERS: Mutex<()> = Mutex::new(());

/// The binary as `mount(8)` and `umount(8)` find it, in `/sbin`, while this lives.
pub struct Helpers {
    before: Vec<(PathBuf, Option<PathBuf>)>,
    _one_at_a_time: MutexGuard<'static, ()>,
}

impl Helpers {
    /// Puts the links there, remembering what they hide.
    #[track_caller]
    pub fn install() -> Self {
        let guard = HELPERS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut before = Vec::new();
        for name in ["mount.cairnfs", "umount.cairnfs"] {
            let link = Path::new("/sbin").join(name);
            before.push((link.clone(), std::fs::read_link(&link).ok()));
            let _was_not_there = std::fs::remove_file(&link);
            symlink(env!("CARGO_BIN_EXE_cairnfs"), &link)
                .unwrap_or_else(|e| panic!("{}: {e}; run the tests as root", link.display()));
        }
        Self { before, _one_at_a_time: guard }
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        for (link, target) in &self.before {
            let _removed = std::fs::remove_file(link);
            if let Some(target) = target {
                let _restored = symlink(target, link);
            }
        }
    }
}
