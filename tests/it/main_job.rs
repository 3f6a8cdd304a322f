//! The main job: make a volume, mount it, write, read back after a remount; on a directory and
//! on MinIO with server-side encryption, by our own commands and by mount(8) and umount(8).

use std::process::Command;
use std::time::Duration;
use std::time::Instant;

use crate::support::mounted::Helpers;
use crate::support::mounted::Mounted;
use crate::support::mounted::is_mounted;
use crate::support::mounted::is_running;
use crate::support::servers::BUCKET;
use crate::support::servers::Key;
use crate::support::servers::Minio;
use crate::support::tools;
use crate::support::volume::NAME;
use crate::support::volume::TestVolume;

const LIMIT: Duration = Duration::from_secs(120);

/// Sizes around every limit: inline, one frame, one block, several blocks.
const SIZES: [usize; 7] = [0, 1, 4096, 100_000, 131_073, 4 << 20, (9 << 20) + 17];

fn write_files(mounted: &Mounted<'_>, dir: &str, seed: u64) {
    std::fs::create_dir(mounted.path(dir)).unwrap();
    for (n, size) in SIZES.into_iter().enumerate() {
        let path = mounted.path(&format!("{dir}/file {n}"));
        std::fs::write(path, tools::noise(seed + n as u64, size)).unwrap();
    }
}

#[track_caller]
fn assert_files(mounted: &Mounted<'_>, dir: &str, seed: u64) {
    for (n, size) in SIZES.into_iter().enumerate() {
        let bytes = std::fs::read(mounted.path(&format!("{dir}/file {n}"))).unwrap();
        assert!(bytes == tools::noise(seed + n as u64, size), "{dir}/file {n} reads differently");
    }
}

#[test]
fn what_is_written_to_a_directory_volume_is_there_after_a_remount() {
    let volume = TestVolume::local();
    let mounted = volume.created(&[]);
    write_files(&mounted, "first", 1);
    assert_files(&mounted, "first", 1);
    mounted.stop();
    let mounted = volume.start(&[]);
    assert_files(&mounted, "first", 1);
    write_files(&mounted, "second", 100);
    mounted.stop();
    volume.assert_sound();
    let mounted = volume.start(&["--read-only"]);
    assert_files(&mounted, "first", 1);
    assert_files(&mounted, "second", 100);
    let refused = std::fs::write(mounted.path("third"), b"x").unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(30), "EROFS");
    mounted.stop();
}

#[test]
fn every_object_on_minio_is_encrypted_also_when_a_later_mount_forgets_to_ask() {
    let minio = Minio::start(Key::Present);
    let volume = TestVolume::minio(&minio);
    volume.create(&["--sse"]);
    let mounted = volume.start(&["--sse"]);
    write_files(&mounted, "first", 1);
    let sse = &mounted.status()["sse"];
    assert_eq!(sse["unconfirmed"].as_u64(), Some(0), "{sse}");
    mounted.stop();

    let mounted = volume.start(&[]);
    assert_files(&mounted, "first", 1);
    write_files(&mounted, "second", 100);
    mounted.stop();
    volume.assert_sound();

    let keys = minio.client().keys(BUCKET);
    let header = keys.iter().any(|key| key.ends_with("cairnfs.volume"));
    assert!(header && keys.len() > 5, "an unlikely bucket: {keys:?}");
    for key in keys {
        let encryption = minio.client().encryption(BUCKET, &key);
        assert_eq!(encryption.as_deref(), Some("AES256"), "{key}");
    }
}

#[test]
fn status_answers_while_the_store_hangs() {
    let minio = Minio::start(Key::Present);
    let volume = TestVolume::minio(&minio);
    volume.create(&["--sse"]);
    let mounted = volume.start(&[]);
    std::fs::write(mounted.path("before"), b"x").unwrap();
    mounted.sync();
    minio.freeze();
    std::fs::write(mounted.path("while it hangs"), b"y").unwrap();
    let begun = Instant::now();
    assert_eq!(mounted.status()["volume"], NAME);
    assert!(begun.elapsed() < Duration::from_secs(5), "status took {:?}", begun.elapsed());
    minio.thaw();
    mounted.sync();
    mounted.stop();
    volume.assert_sound();
}

#[test]
fn status_tells_what_the_contract_lists() {
    let volume = TestVolume::local();
    let mounted = volume.created(&[]);
    std::fs::write(mounted.path("a"), b"some bytes").unwrap();
    let status = mounted.status();
    assert_eq!(status["volume"], NAME);
    assert_eq!(status["provider"], "local");
    assert_eq!(status["read_only"], false);
    for (table, keys) in [
        ("sse", &["asked", "verify", "confirmed", "unconfirmed", "absent"][..]),
        ("store", &["state", "last_error"]),
        ("epoch", &["committed", "age_seconds", "dirty_bytes"]),
        ("memory", &["limit_bytes", "used_bytes"]),
        ("requests", &["put", "get", "head", "list", "delete"]),
    ] {
        for key in keys {
            assert!(status[table].get(key).is_some(), "status lacks {table}.{key}: {status}");
        }
    }
    let text = volume.call("mount.cairnfs", &["status"]).expect_success("status").stdout;
    assert!(text.contains(NAME), "{text}");
    mounted.stop();
}

#[test]
fn starting_what_is_mounted_there_already_succeeds() {
    let volume = TestVolume::local();
    let mounted = volume.created(&[]);
    let again = volume.try_start(&[]).expect_success("a second start");
    assert!(!again.stderr.is_empty(), "it says that it was mounted already");
    assert_eq!(mounted.status()["pid"].as_u64(), Some(u64::from(mounted.pid())));
    mounted.stop();
}

#[test]
fn stop_by_the_name_of_the_volume_stores_everything_and_ends() {
    let volume = TestVolume::local();
    let mounted = volume.created(&[]);
    std::fs::write(mounted.path("a"), tools::noise(1, 3 << 20)).unwrap();
    volume.call("mount.cairnfs", &["stop", NAME]).expect_success("stop");
    assert!(!is_running(mounted.pid()));
    let mounted = volume.start(&[]);
    assert!(std::fs::read(mounted.path("a")).unwrap() == tools::noise(1, 3 << 20));
    mounted.stop();
}

#[test]
fn a_plain_fusermount_or_a_signal_stores_everything_too() {
    let volume = TestVolume::local();
    let mut mounted = volume.created(&[]);
    for (n, end) in ["fusermount", "signal"].into_iter().enumerate() {
        std::fs::write(mounted.path(end), tools::noise(n as u64, 1 << 20)).unwrap();
        if end == "signal" {
            mounted.signal("TERM");
        } else {
            let mut command = Command::new("fusermount3");
            tools::run(command.arg("-u").arg(mounted.dir()), LIMIT).expect_success("fusermount3");
        }
        mounted.wait_for_end();
        drop(mounted);
        mounted = volume.start(&[]);
        let bytes = std::fs::read(mounted.path(end)).unwrap();
        assert!(bytes == tools::noise(n as u64, 1 << 20), "after {end}");
    }
    mounted.stop();
}

#[test]
fn what_was_copied_before_umount_survives_the_death_of_the_daemon() {
    let _helpers = Helpers::install();
    let volume = TestVolume::local();
    let mounted = volume.created(&[]);
    let source = volume.scratch("source");
    for n in 0..300_u64 {
        let dir = source.join(format!("dir {}", n % 10));
        std::fs::create_dir_all(&dir).unwrap();
        let size = usize::try_from(n * 331).unwrap();
        std::fs::write(dir.join(format!("{n}")), tools::noise(n, size)).unwrap();
    }
    let copy = format!("cp -a '{}' '{}'", source.display(), mounted.dir().display());
    tools::shell(&source, &copy, LIMIT);
    let mut umount = Command::new("umount");
    volume.tell(&mut umount);
    tools::run(umount.arg(mounted.dir()), LIMIT).expect_success("umount");
    if is_running(mounted.pid()) {
        mounted.signal("KILL");
        mounted.wait_for_end();
    }
    drop(mounted);
    let mounted = volume.start(&[]);
    let compare = format!("diff -r '{}' '{}'", source.display(), mounted.path("source").display());
    tools::shell(&source, &compare, LIMIT);
    mounted.stop();
    volume.assert_sound();
}

#[test]
fn mount_8_and_umount_8_work_as_with_any_file_system() {
    let _helpers = Helpers::install();
    let volume = TestVolume::local();
    volume.create(&[]);
    let dir = volume.mount_point("mnt");
    let mut mount = Command::new("mount");
    volume.tell(&mut mount);
    mount.args(["-t", "cairnfs", NAME]).arg(&dir).args(["-o", "noatime,_netdev,nofail"]);
    tools::run(&mut mount, LIMIT).expect_success("mount");
    let mounted = Mounted::adopt(&volume, dir);
    std::fs::write(mounted.path("a"), b"by mount(8)").unwrap();
    let mut umount = Command::new("umount");
    volume.tell(&mut umount);
    tools::run(umount.arg(mounted.dir()), LIMIT).expect_success("umount");
    assert!(!is_mounted(mounted.dir()));
    assert!(!is_running(mounted.pid()), "umount waits for the daemon");
    drop(mounted);
    let mounted = volume.start(&[]);
    assert_eq!(std::fs::read(mounted.path("a")).unwrap(), b"by mount(8)");
    mounted.stop();
}
