//! What a person gets wrong, and what the surroundings do: each ends in one sentence that names
//! the thing, one hint, an exit code that is not 0, and nothing lost.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::mounted::is_mounted;
use crate::support::records;
use crate::support::s3_client::S3Client;
use crate::support::s3_double;
use crate::support::s3_double::S3Double;
use crate::support::servers;
use crate::support::servers::Key;
use crate::support::servers::Minio;
use crate::support::tools;
use crate::support::tools::Ended;
use crate::support::volume::NAME;
use crate::support::volume::TestVolume;

const LIMIT: Duration = Duration::from_secs(60);

/// One error that says all of `words`, one hint, exit code 1, and no debris of our insides.
#[track_caller]
fn assert_refused(ended: &Ended, words: &[&str]) {
    assert_ne!(ended.code, Some(0), "it went through: {ended:?}");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let said = &ended.stderr;
    assert_eq!(said.matches("error: ").count(), 1, "not one error: {said}");
    assert_eq!(said.matches("hint: ").count(), 1, "not one hint: {said}");
    for word in words {
        assert!(said.contains(word), "it does not say `{word}`: {said}");
    }
    for debris in ["panicked", "RUST_BACKTRACE", "Caused by", "Error {", s3_double::SECRET_KEY] {
        assert!(!said.contains(debris), "it says `{debris}`: {said}");
    }
}

/// `volume create` of this configuration is refused.
#[track_caller]
fn assert_create_refused(volume: &TestVolume, words: &[&str]) {
    let ended = volume.call("cairnfs", &["volume", "create", NAME]);
    assert_refused(&ended, words);
    assert!(ended.took < Duration::from_secs(15), "it took {:?}", ended.took);
}

fn double_client(double: &S3Double) -> S3Client {
    S3Client {
        endpoint: double.endpoint().to_owned(),
        access_key: s3_double::ACCESS_KEY.to_owned(),
        secret_key: s3_double::SECRET_KEY.to_owned(),
    }
}

#[test]
fn tools_look_at_a_volume_that_cannot_be_encrypted_as_its_config_asks() {
    let volume = TestVolume::local();
    let store = volume.store();
    let table = format!("provider = \"local\"\npath = \"{}\"\nsse = \"aes256\"", store.display());
    volume.write_config(&format!("[volumes.{NAME}]\n{table}\n"));
    let create = ["volume", "create", NAME, "--allow-unencrypted"];
    volume.call("cairnfs", &create).expect_success("create");
    volume.call("cairnfs", &["fsck", NAME]).expect_success("fsck");
    // What changes the volume is held to the config, and told how to go on.
    let words = ["does not encrypt at rest", "`allow-unencrypted = true` in the volume's table"];
    assert_refused(&volume.call("cairnfs", &["gc", NAME]), &words);
}

#[test]
fn one_call_cannot_make_another_provider_of_a_volumes_store() {
    let double = S3Double::start();
    let volume = TestVolume::amazon(&double);
    volume.create(&["--sse"]);
    let set = format!("volumes.{NAME}.provider=cloudflare-r2");
    let ended = volume.try_start(&["--set", &set]);
    assert_refused(&ended, &["another provider", "change the config file"]);
}

#[test]
fn a_bucket_that_does_not_exist_is_named() {
    let minio = Minio::start(Key::Absent);
    let volume = TestVolume::s3("minio", minio.client(), "no-such-bucket", "");
    assert_create_refused(&volume, &["no-such-bucket"]);
    let double = S3Double::start();
    let volume = TestVolume::s3("amazon-s3", &double_client(&double), "no-such-bucket", "");
    assert_create_refused(&volume, &["no-such-bucket"]);
}

#[test]
fn wrong_keys_are_said_to_be_wrong() {
    let minio = Minio::start(Key::Absent);
    let mut volume = TestVolume::minio(&minio);
    volume.create(&[]);
    volume.spoil_secret();
    let ended = volume.try_start(&[]);
    assert_refused(&ended, &[NAME]);
    assert!(ended.took < Duration::from_secs(15), "it took {:?}", ended.took);
    let double = S3Double::start();
    let client = S3Client { access_key: "unknown".to_owned(), ..double_client(&double) };
    let volume = TestVolume::s3("amazon-s3", &client, s3_double::BUCKET, "");
    assert_create_refused(&volume, &[NAME]);
}

#[test]
fn an_endpoint_that_nobody_serves_is_named() {
    let endpoint = format!("http://127.0.0.1:{}", servers::free_port());
    let client =
        S3Client { endpoint: endpoint.clone(), access_key: "a".into(), secret_key: "b".into() };
    let volume = TestVolume::s3("minio", &client, servers::BUCKET, "");
    assert_create_refused(&volume, &[&endpoint]);
}

#[test]
fn plain_http_to_elsewhere_needs_a_word_in_the_config() {
    let client = S3Client {
        endpoint: "http://192.0.2.1:9000".into(),
        access_key: "a".into(),
        secret_key: "b".into(),
    };
    let volume = TestVolume::s3("minio", &client, servers::BUCKET, "");
    assert_create_refused(&volume, &["192.0.2.1", "plain-http"]);
}

#[test]
fn a_volume_that_does_not_exist_yet_shows_how_to_create_it() {
    let volume = TestVolume::local();
    let ended = volume.try_start(&[]);
    assert_refused(&ended, &[NAME, &format!("volume create {NAME}")]);
    assert!(!is_mounted(&volume.mount_point("mnt")));
}

#[test]
fn a_volume_that_exists_is_not_created_again() {
    let volume = TestVolume::local();
    let mounted = volume.created(&[]);
    std::fs::write(mounted.path("a"), b"kept").unwrap();
    mounted.stop();
    assert_create_refused(&volume, &[NAME]);
    let mounted = volume.start(&[]);
    assert_eq!(std::fs::read(mounted.path("a")).unwrap(), b"kept");
    mounted.stop();
}

#[test]
fn a_volume_of_a_newer_format_is_left_alone() {
    let volume = TestVolume::local();
    volume.create(&[]);
    let header = volume.store().join("cairnfs.volume");
    let before = records::read(&header);
    records::rewrite(&header, |record| record["format"] = 2.into());
    assert_refused(&volume.try_start(&[]), &[NAME]);
    records::write(&header, &before);
    volume.start(&[]).stop();

    let states = std::fs::read_dir(volume.store()).unwrap().map(|entry| entry.unwrap().path());
    let state = states
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("cairnfs.state."))
        .max()
        .unwrap();
    let before = records::read(&state);
    records::rewrite(&state, |record| record["features"]["incompat"] = vec!["time-travel"].into());
    assert_refused(&volume.try_start(&[]), &[NAME, "time-travel"]);
    records::write(&state, &before);
    volume.start(&[]).stop();
    volume.assert_sound();
}

#[test]
fn a_header_that_does_not_verify_is_refused() {
    let volume = TestVolume::local();
    volume.create(&[]);
    let header = volume.store().join("cairnfs.volume");
    let text = std::fs::read_to_string(&header).unwrap();
    std::fs::remove_file(&header).unwrap();
    std::fs::write(&header, text.replacen(':', ": ", 1)).unwrap();
    assert_refused(&volume.try_start(&[]), &["cairnfs.volume"]);
}

#[test]
fn a_mount_point_that_is_missing_a_file_or_not_empty_is_refused() {
    let volume = TestVolume::local();
    volume.create(&[]);
    let missing = volume.mount_point("nowhere");
    assert_refused(&volume.try_start_at(&missing, &[]), &["nowhere"]);
    let file = volume.mount_point("file");
    std::fs::write(&file, b"x").unwrap();
    assert_refused(&volume.try_start_at(&file, &[]), &["file"]);
    let full = volume.scratch("at/full");
    std::fs::write(full.join("a"), b"precious").unwrap();
    assert_refused(&volume.try_start_at(&full, &[]), &["full", "empty"]);
    assert_eq!(std::fs::read(full.join("a")).unwrap(), b"precious");
    volume.start(&[]).stop();
}

#[test]
fn a_mount_point_that_another_volume_took_is_busy() {
    let (one, other) = (TestVolume::local(), TestVolume::local());
    let mounted = one.created(&[]);
    other.create(&[]);
    assert_refused(&other.try_start_at(mounted.dir(), &[]), &["mnt"]);
    std::fs::write(mounted.path("a"), b"x").unwrap();
    mounted.stop();
}

#[test]
fn a_stop_of_what_is_not_mounted_says_so() {
    let volume = TestVolume::local();
    volume.create(&[]);
    assert_refused(&volume.call("mount.cairnfs", &["stop", NAME]), &[NAME]);
}

#[test]
fn a_busy_mount_is_not_torn_away() {
    let volume = TestVolume::local();
    let mounted = volume.created(&[]);
    let mut file = File::create(mounted.path("open")).unwrap();
    let dir = mounted.dir().to_str().unwrap();
    let ended = volume.call("mount.cairnfs", &["stop", dir, "--timeout", "2s"]);
    assert_refused(&ended, &["mnt"]);
    file.write_all(b"still here").unwrap();
    drop(file);
    assert_eq!(std::fs::read(mounted.path("open")).unwrap(), b"still here");
    mounted.stop();
}

#[test]
fn a_typo_in_the_config_names_its_line_and_the_nearest_word() {
    let volume = TestVolume::local();
    let store = volume.store();
    let table = |provider: &str, path: &str| {
        format!("\n[volumes.{NAME}]\n{provider}\n{path} = \"{}\"\n", store.display())
    };
    volume.write_config(&table("provider = \"local\"", "pth"));
    assert_create_refused(&volume, &[":4:", "`pth`", "`path`"]);
    volume.write_config(&table("provider = \"locl\"", "path"));
    assert_create_refused(&volume, &[":3:", "`locl`", "`local`", "amazon-s3"]);
    volume.write_config(&table("provider = \"local\"\nsse = \"aes265\"", "path"));
    assert_create_refused(&volume, &[":4:", "aes265", "`aes256`"]);
    volume.write_config("[volumes.work\n");
    assert_create_refused(&volume, &[":1:"]);
    volume.write_config(&table("provider = \"local\"", "path"));
    let ended = volume.call("cairnfs", &["volume", "create", "wrok"]);
    assert_refused(&ended, &["`wrok`", "`work`"]);
}

#[test]
fn a_config_file_that_does_not_exist_is_named() {
    let volume = TestVolume::local();
    std::fs::remove_file(volume.config()).unwrap();
    assert_create_refused(&volume, &["config.toml"]);
}

#[test]
fn a_key_file_that_others_can_read_is_refused() {
    let double = S3Double::start();
    let volume = TestVolume::amazon(&double);
    let keys = volume.scratch("keys").join("keys");
    let text = format!(
        "access_key_id={}\nsecret_access_key={}\n",
        s3_double::ACCESS_KEY,
        s3_double::SECRET_KEY
    );
    std::fs::write(&keys, text).unwrap();
    let config = std::fs::read_to_string(volume.config()).unwrap();
    let from_file = format!("credentials = {{ file = \"{}\" }}", keys.display());
    let config = config.replace("credentials = { env = \"CAIRNFS_TEST\" }", &from_file);
    volume.write_config(&config);
    let allow = |mode| std::fs::set_permissions(&keys, PermissionsExt::from_mode(mode)).unwrap();
    allow(0o644);
    assert_create_refused(&volume, &[keys.to_str().unwrap(), "chmod"]);
    allow(0o600);
    volume.create(&[]);
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let volume = TestVolume::local();
    for args in [&["no-such-command"][..], &["volume", "create"], &["fsck", NAME, "--no-such"]] {
        let ended = volume.call("cairnfs", args);
        assert_eq!(ended.code, Some(2), "{args:?}: {ended:?}");
        assert!(!ended.stderr.is_empty());
    }
}

/// A small file system for a local volume's objects, unmounted with the test.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(at: &'a Path, size: &str) -> Self {
        let disk = Self(at);
        disk.call(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]);
        disk
    }

    fn grow(&self, size: &str) {
        self.call(&["-o", &format!("remount,size={size}")]);
    }

    fn call(&self, args: &[&str]) {
        let mut mount = Command::new("mount");
        tools::run(mount.args(args).arg(self.0), LIMIT).expect_success("mount of a tmpfs");
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _tried = Command::new("umount").arg("-l").arg(self.0).output();
    }
}

#[test]
fn a_full_disk_below_a_local_volume_loses_nothing() {
    let volume = TestVolume::local();
    let store = volume.store();
    let disk = SmallDisk::mount(&store, "24m");
    let mounted = volume.created(&[]);
    let mut file = File::create(mounted.path("before")).unwrap();
    file.write_all(&tools::noise(1, 2 << 20)).unwrap();
    file.sync_all().unwrap();
    let path = mounted.path("too much");
    let writer = std::thread::spawn(move || {
        let mut file = File::create(path)?;
        for n in 0..64 {
            file.write_all(&tools::noise(n, 1 << 20))?;
        }
        file.sync_all()
    });
    // Either the writer is told, or it waits and status tells why.
    tools::wait_for("somebody to say that the disk is full", LIMIT, || {
        let told = writer.is_finished() || !mounted.status()["store"]["last_error"].is_null();
        told.then_some(())
    });
    let said = mounted.status()["store"]["last_error"].to_string();
    assert!(said.contains("space") || said.contains("full"), "{said}");
    assert!(std::fs::read(mounted.path("before")).unwrap() == tools::noise(1, 2 << 20));
    disk.grow("256m");
    let written = writer.join().unwrap();
    drop(file);
    mounted.stop();
    volume.assert_sound();
    let mounted = volume.start(&[]);
    assert!(std::fs::read(mounted.path("before")).unwrap() == tools::noise(1, 2 << 20));
    if written.is_ok() {
        assert_eq!(std::fs::metadata(mounted.path("too much")).unwrap().len(), 64 << 20);
    }
    mounted.stop();
    drop(disk);
}
