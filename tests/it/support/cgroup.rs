//! A control group with a bound on memory, version 1 or 2, whichever the machine has: programs that
//! are started in it are killed by the kernel when they need more.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::tools;

/// A group of processes; it is removed with this, after the last of them has ended.
pub struct Cgroup {
    dir: PathBuf,
    names: Names,
}

/// How the kernel calls what is used here.
struct Names {
    limit: &'static str,
    peak: &'static str,
    now: &'static str,
    kills: &'static str,
}

const VERSION_1: Names = Names {
    limit: "memory.limit_in_bytes",
    peak: "memory.max_usage_in_bytes",
    now: "memory.usage_in_bytes",
    kills: "memory.oom_control",
};

const VERSION_2: Names = Names {
    limit: "memory.max",
    peak: "memory.peak",
    now: "memory.current",
    kills: "memory.events",
};

impl Cgroup {
    /// A group that may hold `limit_bytes` and swap nothing.
    #[track_caller]
    pub fn new(limit_bytes: u64) -> Self {
        let (root, names) = memory_controller();
        let dir = root.join(format!("cairnfs-test-{}", std::process::id()));
        fs::create_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}; run as root", dir.display()));
        let group = Self { dir, names };
        group.set(group.names.limit, limit_bytes);
        // Either file is there only where the kernel counts swap.
        for (swap, bytes) in [("memory.swap.max", 0), ("memory.memsw.limit_in_bytes", limit_bytes)]
        {
            if group.dir.join(swap).exists() {
                group.set(swap, bytes);
            }
        }
        group
    }

    /// The same call, made from inside the group.
    pub fn inside(&self, call: &Command) -> Command {
        let mut command = Command::new("sh");
        let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.dir.display());
        command.args(["-euc", &enter, "sh"]).arg(call.get_program()).args(call.get_args());
        for (name, value) in call.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// Whether a process is in the group.
    pub fn holds(&self, pid: u32) -> bool {
        self.text("cgroup.procs").lines().any(|line| line == pid.to_string())
    }

    /// The most that the group has held since the last [`Cgroup::forget_peak`], with the pages of
    /// files that it was the first to touch.
    pub fn peak_bytes(&self) -> u64 {
        self.text(self.names.peak).trim().parse().unwrap()
    }

    /// What the group holds now.
    pub fn now_bytes(&self) -> u64 {
        self.text(self.names.now).trim().parse().unwrap()
    }

    /// How many of its processes the kernel has killed for lack of memory.
    pub fn kills(&self) -> u64 {
        let text = self.text(self.names.kills);
        let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.expect("the kernel counts kills").parse().unwrap()
    }

    fn set(&self, name: &str, bytes: u64) {
        let path = self.dir.join(name);
        fs::write(&path, bytes.to_string()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    fn text(&self, name: &str) -> String {
        let path = self.dir.join(name);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The last process is a moment longer in it than it can be seen.
        tools::within(Duration::from_secs(5), || fs::remove_dir(&self.dir).is_ok());
    }
}

/// Where groups with a bound on memory are made.
#[track_caller]
fn memory_controller() -> (PathBuf, Names) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mut unified = None;
    for line in mounts.lines() {
        let [_, at, kind, options, ..] = line.split(' ').collect::<Vec<_>>()[..] else { continue };
        if kind == "cgroup" && options.split(',').any(|option| option == "memory") {
            return (at.into(), VERSION_1);
        }
        if kind == "cgroup2" {
            unified = Some(PathBuf::from(at));
        }
    }
    let root = unified.expect("no control groups are mounted: `mount -t cgroup2 none DIR`");
    let enabled = root.join("cgroup.subtree_control");
    if !lists_memory(&enabled) {
        fs::write(&enabled, "+memory").unwrap_or_else(|e| {
            panic!("{}: {e}; this needs a control group without processes", enabled.display())
        });
    }
    (root, VERSION_2)
}

fn lists_memory(file: &Path) -> bool {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().any(|controller| controller == "memory")
}
