//! What the kernel keeps to itself for a while, and must not be answered without: pages that were
//! changed and not sent yet, and modes that change without its doing.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use crate::support::mounted::Mounted;
use crate::support::tools;
use crate::support::volume::TestVolume;

const LIMIT: Duration = Duration::from_secs(30);

/// A program that changes a file and keeps it open until its standard input ends.
struct Holder(Child);

impl Holder {
    fn start(path: &Path, program: &str) -> Self {
        let ready = path.with_extension("ready");
        let whole = format!(
            "import mmap, os, sys\npath = sys.argv[1]\n{program}\nopen(sys.argv[2], 'w').close()\n\
             sys.stdin.read()\n"
        );
        let child = Command::new("python3")
            .args(["-c", &whole])
            .args([path, &ready])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        assert!(tools::within(LIMIT, || ready.exists()), "the program did not come so far");
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ended = self.0.wait();
    }
}

/// Copies with cp(1), which skips what lseek(2) calls a hole.
fn copied(mounted: &Mounted<'_>, volume: &TestVolume, name: &str) -> Vec<u8> {
    let to = volume.scratch("copies").join(name);
    let mut cp = Command::new("cp");
    tools::run(cp.arg(mounted.path(name)).arg(&to), LIMIT).expect_success("cp");
    fs::read(to).unwrap()
}

#[test]
fn a_copy_has_what_was_written_through_a_mapping_that_is_still_open() {
    let volume = TestVolume::local();
    let mounted = volume.created(&[]);
    let path = mounted.path("mapped");
    let holder = Holder::start(
        &path,
        "f = open(path, 'w+b'); f.truncate(1 << 20)\n\
         m = mmap.mmap(f.fileno(), 1 << 20); m[300000:304096] = b'x' * 4096",
    );
    let bytes = copied(&mounted, &volume, "mapped");
    assert_eq!(bytes.len(), 1 << 20);
    assert!(bytes[300_000..304_096].iter().all(|byte| *byte == b'x'), "zeros were copied");
    drop(holder);
    mounted.stop();
}

#[test]
fn a_copy_has_what_the_kernel_collects_to_write_it_later() {
    let volume = TestVolume::local();
    volume.create(&[]);
    let mounted = volume.start(&["-o", "writeback"]);
    let path = mounted.path("young");
    let holder = Holder::start(
        &path,
        "fd = os.open(path, os.O_CREAT | os.O_RDWR)\n\
         os.pwrite(fd, b'x' * 4096, 0); os.pwrite(fd, b'y' * 5000, 1 << 20)",
    );
    let bytes = copied(&mounted, &volume, "young");
    assert_eq!(bytes.len(), (1 << 20) + 5000);
    assert!(bytes[..4096].iter().all(|byte| *byte == b'x'), "zeros were copied");
    assert!(bytes[1 << 20..].iter().all(|byte| *byte == b'y'), "zeros were copied");
    drop(holder);
    mounted.stop();
}

/// Runs a shell's command as a user who is not root.
fn as_nobody(command: &str, path: &Path) {
    let mut shell = Command::new("setpriv");
    shell.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", command, "sh"]);
    tools::run(shell.arg(path), LIMIT).expect_success(command);
}

#[test]
fn whoever_changes_a_file_of_set_user_id_takes_it_and_the_kernel_knows() {
    let volume = TestVolume::local();
    volume.create(&[]);
    let mounted = volume.start(&["-o", "allow_other"]);
    let path = mounted.path("program");
    for command in [
        ": > \"$1\"",
        "printf x | dd of=\"$1\" conv=notrunc status=none",
        "truncate -s 3 \"$1\"",
        "fallocate -l 100000 \"$1\"",
        "fallocate -p -o 0 -l 2 \"$1\"",
    ] {
        fs::write(&path, b"some bytes").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o6777)).unwrap();
        // So that the kernel holds what it was.
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o6777);
        as_nobody(command, &path);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o777, "{command}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o6777)).unwrap();
    fs::write(&path, b"root may").unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o6777);
    mounted.stop();
}
