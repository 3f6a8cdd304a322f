//! Mounts of somebody who is not root: fusermount3 makes them, and nobody else gets in.

use std::fs;
use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::mounted;
use crate::support::tools;
use crate::support::tools::Ended;

/// Whom scripts/deps.sh creates.
const USER: &str = "tests";

const LIMIT: Duration = Duration::from_secs(60);

/// A directory of the user's own, with the binary, a config and a store.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        // The build may lie where only root looks.
        fs::copy(env!("CARGO_BIN_EXE_cairnfs"), home.path("cairnfs")).unwrap();
        for name in ["mount.cairnfs", "umount.cairnfs"] {
            symlink("cairnfs", home.path(name)).unwrap();
        }
        for name in ["store", "mnt", "run"] {
            fs::create_dir(home.path(name)).unwrap();
        }
        fs::set_permissions(home.path("run"), Permissions::from_mode(0o700)).unwrap();
        let store = home.path("store");
        let config =
            format!("[volumes.own]\nprovider = \"local\"\npath = \"{}\"\n", store.display());
        fs::write(home.path("config.toml"), config).unwrap();
        fs::set_permissions(home.0.path(), Permissions::from_mode(0o755)).unwrap();
        let mut chown = Command::new("chown");
        chown.args(["-hR", &format!("{USER}:")]).arg(home.0.path());
        tools::run(&mut chown, LIMIT).expect_success("chown");
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a line of shell as the user, in this directory.
    fn run(&self, line: &str) -> Ended {
        let mut command = Command::new("runuser");
        command
            .args(["-u", USER, "--", "bash", "-euo", "pipefail", "-c", line])
            .current_dir(self.0.path())
            .env("CAIRNFS_CONFIG", self.path("config.toml"))
            .env("CAIRNFS_RUN", self.path("run"))
            .env("HOME", self.0.path())
            .env_remove("XDG_RUNTIME_DIR");
        tools::run(&mut command, LIMIT)
    }

    #[track_caller]
    fn ok(&self, line: &str) -> String {
        self.run(line).expect_success(line).stdout
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if mounted::is_mounted(&self.path("mnt")) {
            let _tried = self.run("fusermount3 -u -z mnt");
        }
    }
}

#[test]
fn a_person_mounts_writes_and_stops() {
    let home = Home::new();
    let mnt = home.path("mnt");
    home.ok("./cairnfs volume create own");
    home.ok("./mount.cairnfs start own mnt");
    assert!(mount_line(&mnt).contains("fuse.cairnfs"), "{}", mount_line(&mnt));
    home.ok(
        "mkdir mnt/dir; echo kept > mnt/dir/file; chmod 600 mnt/dir/file; ln -s file mnt/dir/link",
    );
    assert_eq!(home.ok("stat -c '%U %a' mnt/dir/file").trim(), format!("{USER} 600"));
    home.ok("python3 -c 'import os; os.fsync(os.open(\"mnt/dir/file\", os.O_RDWR))'");
    let status = home.ok("./mount.cairnfs status --json");
    assert!(status.contains(mnt.to_str().unwrap()), "{status}");
    // The kernel lets nobody else in, root included, unless `allow_other` is asked for.
    let refused = fs::read_dir(&mnt).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);

    let busy = home.run("exec 3< mnt/dir/file; ./mount.cairnfs stop mnt");
    assert_eq!(busy.code, Some(1), "{busy:?}");
    assert!(busy.stderr.contains("is in use"), "{}", busy.stderr);
    home.ok("./mount.cairnfs stop own");
    assert!(!mounted::is_mounted(&mnt));

    home.ok("./cairnfs start own mnt");
    assert_eq!(home.ok("cat mnt/dir/link").trim(), "kept");
    home.ok("./cairnfs stop mnt");
    home.ok("./cairnfs fsck own");
}

#[test]
fn a_persons_fusermount_stores_everything_too() {
    let home = Home::new();
    home.ok("./cairnfs volume create own");
    home.ok("./mount.cairnfs own mnt -o noatime,nodev");
    home.ok("echo kept > mnt/file");
    home.ok("fusermount3 -u mnt");
    let ended = tools::within(LIMIT, || home.ok("./cairnfs status --json").trim() == "[]");
    assert!(ended, "the daemon goes on without its mount");
    home.ok("./cairnfs start own mnt --read-only");
    assert_eq!(home.ok("cat mnt/file").trim(), "kept");
    assert_ne!(home.run("touch mnt/other").code, Some(0));
    home.ok("./cairnfs stop own");
}

#[test]
fn what_fusermount_refuses_is_said_in_one_sentence() {
    let home = Home::new();
    home.ok("./cairnfs volume create own");
    let theirs = home.path("theirs");
    fs::create_dir(&theirs).unwrap();
    let refused = home.run("./mount.cairnfs start own theirs");
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let lines: Vec<_> = refused.stderr.lines().collect();
    assert!(lines[0].starts_with("error: cannot start volume `own`: cannot mount"), "{lines:?}");
    assert!(lines[1].starts_with("hint: "), "{lines:?}");
    // What was opened for the mount was let go.
    home.ok("./cairnfs start own mnt");
    home.ok("./cairnfs stop own");
}

fn mount_line(dir: &Path) -> String {
    let dir = dir.to_str().unwrap();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.lines().find(|line| line.contains(dir)).unwrap_or_default().to_owned()
}
