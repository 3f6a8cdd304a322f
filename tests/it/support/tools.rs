//! Small tools: waiting with a deadline, running programs, numbers that repeat, checksums.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use sha2::Digest as _;
use sha2::Sha256;

const POLL: Duration = Duration::from_millis(10);

/// Asks `reached` until it says yes; whether it did within `limit`.
pub fn within(limit: Duration, mut reached: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if reached() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(POLL);
    }
}

/// Asks `ready` until it gives a value; panics with `what` after `limit`.
pub fn wait_for<T>(what: &str, limit: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
    let mut value = None;
    within(limit, || {
        value = ready();
        value.is_some()
    });
    value.unwrap_or_else(|| panic!("waited {limit:?} in vain: {what}"))
}

/// How a program ended, as text.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; `None`: a signal ended it, or the deadline.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long it ran.
    pub took: Duration,
}

impl Ended {
    /// Itself, if the exit code was 0; panics with all that was said otherwise.
    #[track_caller]
    pub fn expect_success(self, what: &str) -> Self {
        assert_eq!(
            self.code,
            Some(0),
            "{what} failed after {:?}\nstdout:\n{}\nstderr:\n{}",
            self.took,
            self.stdout,
            self.stderr
        );
        self
    }
}

/// Runs a program to its end, killed after `limit`.
pub fn run(command: &mut Command, limit: Duration) -> Ended {
    let started = Instant::now();
    let shown = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {shown}: {error}; run scripts/deps.sh test"));
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let stdout = std::thread::spawn(move || text_of(stdout));
    let stderr = std::thread::spawn(move || text_of(stderr));
    let mut status = None;
    if !within(limit, || {
        status = child.try_wait().unwrap();
        status.is_some()
    }) {
        let _gone = child.kill();
        let _reaped = child.wait();
    }
    let took = started.elapsed();
    // A daemon that keeps our pipe open must not keep us: give its output a moment, no more.
    let ended = |reader: std::thread::JoinHandle<String>| {
        if within(Duration::from_secs(5), || reader.is_finished()) {
            reader.join().unwrap()
        } else {
            "(a child keeps this pipe open)".to_owned()
        }
    };
    Ended {
        code: status.and_then(|status| status.code()),
        stdout: ended(stdout),
        stderr: ended(stderr),
        took,
    }
}

/// Runs a shell script in `dir`; panics if it fails.
#[track_caller]
pub fn shell(dir: &Path, script: &str, limit: Duration) -> String {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", script]).current_dir(dir);
    run(&mut command, limit).expect_success(script).stdout
}

/// A program that scripts/deps.sh puts into `.deps/bin`, or one on the search path.
pub fn installed(program: &str) -> PathBuf {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join(".deps/bin").join(program);
    if ours.exists() {
        return ours;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|at| at.exists());
    found.unwrap_or_else(|| panic!("`{program}` is not installed; run scripts/deps.sh test"))
}

fn text_of(mut pipe: impl std::io::Read) -> String {
    let mut bytes = Vec::new();
    let _closed_early = pipe.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The most memory that a process has had resident.
#[track_caller]
pub fn resident_bytes(pid: u32) -> u64 {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kibibytes * 1024
}

/// Bytes that a seed determines and compression cannot shrink much.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut numbers = Numbers::new(seed);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&numbers.next().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A row of numbers that a seed determines (splitmix64).
#[derive(Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// The row of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// The bytes of all files below a directory.
pub fn bytes_below(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let bytes = |entry: std::fs::DirEntry| match entry.metadata().unwrap() {
        found if found.is_dir() => bytes_below(&entry.path()),
        found => found.len(),
    };
    entries.map(bytes).sum()
}

/// The SHA-256 of bytes, in hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a tree holds: each path with its type and mode, and its checksum or target.
pub fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    describe(root, root, &mut found);
    found
}

fn describe(root: &Path, dir: &Path, found: &mut BTreeMap<String, String>) {
    use std::os::unix::fs::PermissionsExt as _;
    for entry in std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.unwrap().path();
        let meta = std::fs::symlink_metadata(&path).unwrap();
        let name = String::from_utf8_lossy(path.strip_prefix(root).unwrap().as_os_str().as_bytes());
        let mode = meta.permissions().mode();
        let what = if meta.is_symlink() {
            format!("-> {}", std::fs::read_link(&path).unwrap().display())
        } else if meta.is_file() {
            format!("{mode:o} {} {}", meta.len(), file_sha256(&path))
        } else {
            format!("{mode:o}")
        };
        found.insert(name.into_owned(), what);
        if meta.is_dir() {
            describe(root, &path, found);
        }
    }
}

fn file_sha256(path: &Path) -> String {
    let mut file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).unwrap_or_else(|e| panic!("{}: {e}", path.display())) {
            0 => return hex(&hash.finalize()),
            count => hash.update(&buffer[..count]),
        }
    }
}

/// Panics with the differing paths when two trees differ.
#[track_caller]
pub fn assert_same_tree(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) {
    let mut faults = Vec::new();
    for (path, what) in before {
        match after.get(path) {
            None => faults.push(format!("{path} is gone")),
            Some(now) if now != what => faults.push(format!("{path} was {what}, is {now}")),
            Some(_) => {}
        }
    }
    for path in after.keys().filter(|path| !before.contains_key(*path)) {
        faults.push(format!("{path} came from nowhere"));
    }
    let shown = faults.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(faults.is_empty(), "{} differences:\n{shown}", faults.len());
}
