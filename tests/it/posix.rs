//! Two suites of others on a mount: pjdfstest asks what POSIX says, fsx does 100,000 random
//! operations on one file and checks every byte. Their settings lie in `tests/posix/`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::support::tools;
use crate::support::tools::Ended;
use crate::support::volume::TestVolume;

const LIMIT: Duration = Duration::from_secs(1200);
const OPERATIONS: &str = "100000";

/// What pjdfstest finds as `mount`: its `mount -o remount,ro` must reach the kernel, not the
/// helper of FUSE, which would start a second daemon.
const MOUNT_SHIM: &str = r#"#!/bin/sh
PATH=${PATH#*:}
exec mount -i "$@"
"#;

fn settings(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/posix").join(name)
}

#[test]
fn pjdfstest_passes() {
    let volume = TestVolume::local();
    volume.create(&[]);
    // First the cases that remount the file system read-only: once others have run, the kernel may
    // call any FUSE mount busy for a remount, bindfs as well as ours. Then all others.
    pjdfstest(&volume, "pjdfstest-remount.toml", &["erofs"]);
    pjdfstest(&volume, "pjdfstest.toml", &[]);
    volume.assert_sound();
}

fn pjdfstest(volume: &TestVolume, config: &str, patterns: &[&str]) {
    let mounted = volume.start(&["-o", "dev,suid"]);
    // The suite acts as other users, who must get through to the mount.
    let open_ways = format!("chmod 755 '{}/..'", volume.scratch("at").display());
    tools::shell(mounted.dir(), &open_ways, LIMIT);
    let mut command = Command::new(tools::installed("pjdfstest"));
    command.arg("-c").arg(settings(config)).arg("-p").arg(mounted.dir()).args(patterns);
    command.arg("-s").arg(volume.scratch("other file system"));
    let shims = volume.scratch("shims");
    let mount = shims.join("mount");
    std::fs::write(&mount, MOUNT_SHIM).unwrap();
    std::fs::set_permissions(&mount, PermissionsExt::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", shims.display()));
    let ended = tools::run(&mut command, LIMIT);
    assert!(ended.code == Some(0), "{}", failures(&ended));
    mounted.stop();
}

/// The cases that failed, each with its reason, and the closing line.
fn failures(ended: &Ended) -> String {
    let mut shown = Vec::new();
    let mut failed = false;
    for line in ended.stdout.lines() {
        let case = !line.starts_with(['\t', ' ']);
        failed = if case { line.contains("FAILED") || line.contains("UNEXPECTED") } else { failed };
        let summary = line.contains("Summary");
        // After a reason comes its backtrace, which is of no use here.
        if failed && (case || line.starts_with('\t')) || summary {
            shown.push(line);
        }
    }
    format!("{}\n{}", shown.join("\n"), ended.stderr)
}

#[test]
fn at_most_one_case_in_a_hundred_is_excluded_and_none_of_the_dangerous() {
    let text = std::fs::read_to_string(settings("pjdfstest.toml")).unwrap();
    let list = text.split_once("expected_failures = [").unwrap().1.split_once(']').unwrap().0;
    let cases: Vec<_> = list.lines().filter(|line| line.trim_start().starts_with('"')).collect();
    assert!(cases.len() <= 4, "of some 400 cases, {} are excluded", cases.len());
    for case in cases {
        assert!(case.contains('#'), "no reason stands behind {case}");
        for area in ["rename", "unlink", "truncate"] {
            assert!(!case.contains(area), "{case} is of {area}");
        }
    }
}

fn fsx(settings_name: &str, options: &[&str], seed: &str) {
    let volume = TestVolume::local();
    volume.create(&[]);
    let mounted = volume.start(options);
    let mut command = Command::new(tools::installed("fsx"));
    command.arg("-f").arg(settings(settings_name)).args(["-N", OPERATIONS, "-S", seed]);
    command.arg("-P").arg(volume.scratch("artifacts")).arg(mounted.path("file"));
    let ended = tools::run(&mut command, LIMIT);
    let tail: Vec<_> = ended.stderr.lines().rev().take(30).collect();
    assert!(ended.code == Some(0), "fsx ended with {:?}, last first:\n{tail:#?}", ended.code);
    let before = std::fs::read(mounted.path("file")).unwrap();
    mounted.stop();
    volume.assert_sound();
    let mounted = volume.start(&[]);
    let same = std::fs::read(mounted.path("file")).unwrap() == before;
    assert!(same, "the file reads differently after a remount");
    mounted.stop();
}

#[test]
fn fsx_runs_clean() {
    fsx("fsx.toml", &[], "1");
}

#[test]
fn fsx_runs_clean_with_the_writeback_cache() {
    fsx("fsx.toml", &["-o", "writeback"], "2");
}

#[test]
fn fsx_runs_clean_through_shared_mappings() {
    fsx("fsx-mmap.toml", &[], "3");
}

#[test]
fn fsx_runs_clean_through_shared_mappings_with_the_writeback_cache() {
    fsx("fsx-mmap.toml", &["-o", "writeback"], "4");
}
