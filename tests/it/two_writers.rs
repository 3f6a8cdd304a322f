//! Two writers of one volume: the second is refused and told who holds it; with `--takeover` the
//! first is fenced, knows it, and nothing acknowledged by either is lost.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::read_back;
use crate::support::records;
use crate::support::s3_double::S3Double;
use crate::support::servers::Key;
use crate::support::servers::Minio;
use crate::support::tools;
use crate::support::volume::NAME;
use crate::support::volume::TestVolume;

const EIO: i32 = 5;
const ECONNABORTED: i32 = 103;
const ENOTCONN: i32 = 107;
const SECONDS: Duration = Duration::from_secs(15);

/// Whether an answer is one of those that a fenced mount may give.
fn is_fenced(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(EIO | ECONNABORTED | ENOTCONN))
}

#[test]
fn a_second_writer_is_refused_and_told_who_holds_the_volume() {
    let volume = TestVolume::local();
    let mounted = volume.created(&[]);
    let second = volume.scratch("at/second");
    let ended = volume.try_start_at(&second, &[]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains(&mounted.pid().to_string()), "{}", ended.stderr);
    assert!(ended.stderr.contains("--takeover"), "{}", ended.stderr);
    std::fs::write(mounted.path("a"), b"still mine").unwrap();
    mounted.stop();
    volume.assert_sound();
}

#[test]
fn a_writer_that_was_taken_over_is_fenced_on_a_directory() {
    take_over(&TestVolume::local(), &[]);
}

#[test]
fn a_writer_that_was_taken_over_is_fenced_on_minio() {
    let minio = Minio::start(Key::Present);
    take_over(&TestVolume::minio(&minio), &["--sse"]);
}

#[test]
fn a_writer_that_was_taken_over_is_fenced_on_the_double() {
    let double = S3Double::start();
    take_over(&TestVolume::amazon(&double), &["--sse"]);
}

#[test]
fn a_writer_that_was_taken_over_is_fenced_on_a_store_that_replaces_what_exists() {
    let (_double, volume) = read_back::volume_at("gcs");
    take_over(&volume, &[]);
}

fn take_over(volume: &TestVolume, create: &[&str]) {
    volume.create(create);
    let first = volume.start(&[]);
    std::fs::write(first.path("shared"), b"by the first").unwrap();
    first.sync();
    let mut open = File::create(first.path("open")).unwrap();
    open.write_all(&tools::noise(1, 100_000)).unwrap();
    let cached = File::open(first.path("shared")).unwrap();
    let mut bytes = [0; 12];
    cached.read_exact_at(&mut bytes, 0).unwrap();
    first.signal("STOP");

    let second = volume.start_at("second", &["--takeover"]);
    assert_eq!(std::fs::read(second.path("shared")).unwrap(), b"by the first");
    let mut file = File::create(second.path("mine")).unwrap();
    file.write_all(&tools::noise(2, 300_000)).unwrap();
    file.sync_all().unwrap();
    volume.call("cairnfs", &["gc", NAME]).expect_success("gc");

    first.signal("CONT");
    let refused = open.sync_all().expect_err("the fenced writer acknowledged an fsync");
    assert!(is_fenced(&refused), "fsync answered {refused}");
    let fenced = |error: std::io::Error| is_fenced(&error);
    let reads_fail = tools::within(SECONDS, || {
        cached.read_exact_at(&mut bytes, 0).is_err_and(fenced)
            && std::fs::metadata(first.path("shared")).is_err_and(fenced)
    });
    assert!(reads_fail, "the fenced mount went on answering reads and stats from its caches");
    drop((open, cached, file));
    drop(first);

    assert!(std::fs::read(second.path("mine")).unwrap() == tools::noise(2, 300_000));
    second.stop();
    volume.assert_sound();
    let again = volume.start(&[]);
    assert!(std::fs::read(again.path("mine")).unwrap() == tools::noise(2, 300_000));
    again.stop();
}

#[test]
fn a_mount_after_the_death_of_the_holder_needs_no_takeover() {
    let volume = TestVolume::local();
    let mounted = volume.created(&[]);
    std::fs::write(mounted.path("a"), b"x").unwrap();
    mounted.sync();
    mounted.kill9();
    let mounted = volume.start(&[]);
    assert_eq!(std::fs::read(mounted.path("a")).unwrap(), b"x");
    mounted.stop();
}

/// The record of who has, or had, the volume last.
fn last_term(volume: &TestVolume) -> PathBuf {
    let terms = std::fs::read_dir(volume.store().join("meta/term")).unwrap();
    let terms = terms.map(|entry| entry.unwrap().path());
    terms.filter(|path| path.extension().is_none()).max().unwrap()
}

#[test]
fn a_mount_after_a_power_loss_needs_no_takeover() {
    let volume = TestVolume::local();
    let mounted = volume.created(&[]);
    std::fs::write(mounted.path("a"), b"x").unwrap();
    mounted.sync();
    mounted.kill9();
    // What an earlier boot would have left: the pid may belong to anybody now, here to init.
    records::rewrite(&last_term(&volume), |term| {
        term["boot_id"] = "00000000-0000-4000-8000-000000000000".into();
        term["pid"] = 1.into();
    });
    let mounted = volume.start(&[]);
    assert_eq!(std::fs::read(mounted.path("a")).unwrap(), b"x");
    mounted.stop();
    volume.assert_sound();
}

#[test]
fn a_holder_on_another_machine_is_not_taken_for_dead() {
    let volume = TestVolume::local();
    let mounted = volume.created(&[]);
    mounted.sync();
    mounted.kill9();
    records::rewrite(&last_term(&volume), |term| {
        term["host"] = "elsewhere".into();
        term["machine_id"] = "0123456789abcdef0123456789abcdef".into();
    });
    let refused = volume.try_start(&[]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("elsewhere"), "{}", refused.stderr);
    volume.start(&["--takeover"]).stop();
    volume.assert_sound();
}
