//! Encryption with keys that somebody manages: MinIO's key service, a key that is disabled while a
//! volume is mounted, a customer's key.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::cycle;
use crate::support::s3_client::S3Client;
use crate::support::s3_double;
use crate::support::s3_double::Encryption;
use crate::support::s3_double::S3Double;
use crate::support::servers::BUCKET;
use crate::support::servers::KMS_KEY;
use crate::support::servers::Key;
use crate::support::servers::Minio;
use crate::support::servers::seaweed::Seaweed;
use crate::support::tools;
use crate::support::volume::NAME;
use crate::support::volume::TestVolume;

const EIO: Option<i32> = Some(5);
const SSE_KEY: &str = "x-amz-server-side-encryption-aws-kms-key-id";
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn every_object_lies_under_the_named_key_of_minios_key_service() {
    let minio = Minio::start(Key::Present);
    let volume = TestVolume::minio(&minio);
    let mode = format!("--sse=kms:{KMS_KEY}");
    volume.create(&[&mode]);
    let mounted = volume.start(&[]);
    cycle::work(&mounted);
    let status = mounted.status();
    assert_eq!(status["sse"]["asked"], format!("kms:{KMS_KEY}"));
    assert_eq!(status["sse"]["unconfirmed"], 0, "{status}");
    mounted.kill9();
    let mounted = volume.start(&[&mode]);
    cycle::find(mounted.dir());
    mounted.stop();
    for key in minio.client().keys(BUCKET) {
        let path = format!("/{BUCKET}/{key}");
        let answer = minio.client().send("HEAD", &path, "", &[], b"").unwrap();
        assert_eq!(answer.header("x-amz-server-side-encryption"), Some("aws:kms"), "{key}");
        assert!(answer.header(SSE_KEY).is_some_and(|used| used.ends_with(KMS_KEY)), "{key}");
    }
    let other = volume.try_start(&["--sse=aes256"]);
    assert!(other.stderr.contains("volume set"), "{}", other.stderr);
    volume.call("cairnfs", &["audit", NAME]).expect_success("audit under the key");
    volume.call("cairnfs", &["volume", "set", NAME, "--sse", "aes256"]).expect_success("set");
    // What lies under the key is not what the policy asks for now.
    let audit = volume.call("cairnfs", &["audit", NAME]);
    assert_eq!(audit.code, Some(3), "{}", audit.stdout);
    let mounted = volume.start(&[]);
    assert_eq!(mounted.status()["sse"]["asked"], "aes256");
    cycle::find(mounted.dir());
    mounted.stop();
}

#[test]
fn a_key_that_the_key_service_does_not_know_ends_the_create_and_is_named() {
    let minio = Minio::start(Key::Present);
    let volume = TestVolume::minio(&minio);
    let ended = volume.call("cairnfs", &["volume", "create", NAME, "--sse", "kms:no-such-key"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("key service"), "{}", ended.stderr);
    assert!(ended.stderr.contains("no-such-key"), "{}", ended.stderr);
    assert_eq!(minio.client().keys(BUCKET), [""; 0]);
}

#[test]
fn a_disabled_key_is_eio_names_the_key_in_the_log_and_what_waits_goes_on_when_it_is_back() {
    let double = S3Double::start();
    let volume = TestVolume::amazon(&double);
    volume.create(&["--sse", "kms:the-key"]);
    let log = volume.scratch("log").join("daemon.log");
    let mounted = volume.start(&["--log-file", log.to_str().unwrap()]);
    std::fs::write(mounted.path("before"), b"under the key").unwrap();
    mounted.sync();
    // Few bytes travel with the metadata, many in a block of their own.
    for (name, bytes) in [("small", 500), ("large", 3 << 20)] {
        double.encryption(Encryption::KeyDisabled);
        let mut file = File::create(mounted.path(name)).unwrap();
        file.write_all(&tools::noise(1, bytes)).unwrap();
        assert_eq!(file.sync_all().unwrap_err().raw_os_error(), EIO, "{name}");
        let said = std::fs::read_to_string(&log).unwrap();
        let named = said.lines().any(|line| {
            line.contains("key service") && line.contains("the-key") && line.contains("disabled")
        });
        assert!(named, "{name}: {said}");
        double.encryption(Encryption::Echo);
        let synced = tools::within(LIMIT, || file.sync_all().is_ok());
        assert!(synced, "{name} does not go on");
        std::fs::write(&log, "").unwrap();
    }
    mounted.stop();
    let mounted = volume.start(&[]);
    assert!(std::fs::read(mounted.path("small")).unwrap() == tools::noise(1, 500));
    assert!(std::fs::read(mounted.path("large")).unwrap() == tools::noise(1, 3 << 20));
    mounted.stop();
    double.encryption(Encryption::KeyDisabled);
    let ended = volume.try_start(&[]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("key service"), "{}", ended.stderr);
}

/// A file with a customer's key.
fn key_file(volume: &TestVolume, name: &str, seed: u64) -> PathBuf {
    let path = volume.scratch("keys").join(name);
    std::fs::write(&path, tools::noise(seed, 32)).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

#[test]
fn a_customers_key_covers_every_object_and_opens_nothing_under_another() {
    let seaweed = Seaweed::start(Key::Absent);
    let volume = TestVolume::s3("seaweedfs", seaweed.client(), BUCKET, "");
    let (key, other) = (key_file(&volume, "key", 1), key_file(&volume, "other", 2));
    let mode = format!("--sse=customer-key-file:{}", key.display());
    volume.create(&[&mode]);
    let mounted = volume.start(&[&mode]);
    cycle::work(&mounted);
    assert_eq!(mounted.status()["sse"]["unconfirmed"], 0);
    mounted.kill9();
    for name in seaweed.client().keys(BUCKET) {
        let path = format!("/{BUCKET}/{name}");
        let bare = seaweed.client().send("GET", &path, "", &[], b"").unwrap();
        assert_eq!(bare.status, 400, "{name} can be read without the key");
    }
    let wrong = format!("--sse=customer-key-file:{}", other.display());
    assert_eq!(volume.try_start(&[&wrong]).code, Some(1));
    let config = std::fs::read_to_string(volume.config()).unwrap();
    let table = format!("sse = {{ customer-key-file = \"{}\" }}\n", key.display());
    volume.write_config(&(config + &table));
    let mounted = volume.start(&[]);
    cycle::find(mounted.dir());
    mounted.stop();
    volume.assert_sound();
    volume.call("cairnfs", &["audit", NAME]).expect_success("audit under the customer's key");
    let planted = [("content-type", "text/plain")];
    let path = format!("/{BUCKET}/planted");
    seaweed.client().send("PUT", &path, "", &planted, b"plain").unwrap();
    let audit = volume.call("cairnfs", &["audit", NAME]);
    assert_eq!(audit.code, Some(3), "{}", audit.stdout);
    assert!(audit.stdout.contains("planted"), "{}", audit.stdout);
    seaweed.client().send("DELETE", &path, "", &[], b"").unwrap();
    let away = volume.call("cairnfs", &["volume", "set", NAME, "--sse", "none"]);
    assert_eq!(away.code, Some(1), "{}", away.stderr);
    assert!(away.stderr.contains("create another volume"), "{}", away.stderr);
}

/// A volume of any row on the double, with more lines for its table.
fn volume_at(double: &S3Double, provider: &str, more: &str) -> TestVolume {
    let client = S3Client {
        endpoint: double.endpoint().to_owned(),
        access_key: s3_double::ACCESS_KEY.to_owned(),
        secret_key: s3_double::SECRET_KEY.to_owned(),
    };
    TestVolume::s3(provider, &client, s3_double::BUCKET, more)
}

#[test]
fn a_customers_key_that_the_store_does_not_confirm_is_refused_though_it_encrypts_anyway() {
    // These rows have no proof of the store's own encryption, and the double ignores the key.
    for provider in ["wasabi", "oci", "cloudflare-r2"] {
        let double = S3Double::start();
        let volume = volume_at(&double, provider, "");
        let mode = format!("customer-key-file:{}", key_file(&volume, "key", 1).display());
        let ended = volume.call("cairnfs", &["volume", "create", NAME, "--sse", &mode]);
        assert_eq!(ended.code, Some(1), "{provider}: {}", ended.stderr);
        assert!(ended.stderr.contains("does not confirm"), "{provider}: {}", ended.stderr);
        assert_eq!(double.keys(), [""; 0], "{provider}");
    }
}

#[test]
fn a_bare_wish_for_encryption_is_met_by_the_mode_that_the_volume_remembers() {
    let double = S3Double::start();
    let volume = volume_at(&double, "amazon-s3", "");
    volume.create(&["--sse", "kms:the-key"]);
    let mounted = volume.start(&["--sse"]);
    let status = mounted.status();
    assert_eq!(status["sse"]["asked"], "kms:the-key", "{status}");
    mounted.stop();
    // As it stands in fstab.
    let mounted = volume.start(&["-o", "_netdev,nofail,sse"]);
    mounted.stop();
    let other = volume.try_start(&["--sse=aes256"]);
    assert_eq!(other.code, Some(1), "a mode that is named is meant: {}", other.stderr);
}

#[test]
fn two_layers_under_a_named_key_are_asked_for_with_every_write() {
    let double = S3Double::start();
    double.demand_encryption();
    let volume = volume_at(&double, "amazon-s3", "sse = { dsse = \"the-key\" }\n");
    let sse = &cycle::whole_life(&volume)["sse"];
    assert!(sse["confirmed"].as_u64() > Some(0), "{sse}");
    assert_eq!((&sse["unconfirmed"], &sse["absent"]), (&0.into(), &0.into()), "{sse}");
    let puts = double.puts();
    let other = puts.iter().find(|seen| seen.sse.as_deref() != Some("aws:kms:dsse"));
    assert!(other.is_none() && !puts.is_empty(), "{other:?}");
    assert!(double.others_with_sse().is_empty());
}

#[test]
fn a_mode_that_cannot_be_had_is_refused_before_the_first_request() {
    for (provider, sse, words) in [
        ("gcs", "{ kms = \"K\" }", "cannot be asked for through OpenDAL"),
        ("gcs", "{ customer-key-file = \"/k\" }", "cannot be asked for through OpenDAL"),
        ("wasabi", "{ kms = \"K\" }", "Wasabi has no SSE-KMS"),
        ("minio", "{ dsse = \"K\" }", "MinIO has no DSSE-KMS"),
        ("seaweedfs", "{ dsse = \"K\" }", "SeaweedFS has no DSSE-KMS"),
        ("cloudflare-r2", "{ kms = \"K\" }", "Cloudflare R2 has no SSE-KMS"),
        ("amazon-s3", "\"aes512\"", "unknown value `aes512`"),
        ("amazon-s3", "{ kms = \"\" }", "needs a key"),
        ("amazon-s3", "{ kms = \"two keys\" }", "is no key's name"),
    ] {
        let double = S3Double::start();
        let volume = volume_at(&double, provider, &format!("sse = {sse}\n"));
        let created = volume.call("cairnfs", &["volume", "create", NAME]);
        for ended in [created, volume.try_start(&[])] {
            assert_eq!(ended.code, Some(1), "{provider} {sse}: {}", ended.stderr);
            assert!(ended.stderr.contains(words), "{provider} {sse}: {}", ended.stderr);
        }
        assert_eq!(double.record().len(), 0, "{provider} {sse}");
    }
}
