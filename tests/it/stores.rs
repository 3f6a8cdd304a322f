//! Every real server that can be had, by one procedure: where the row says that it encrypts, a
//! volume works, survives a killed daemon, and every object says what the row says; where it does
//! not encrypt, the volume is refused within seconds, in a sentence of its own. A proxy before each
//! server records every request of it: what asks for encryption is on each creation and on nothing
//! else, and each creation's answer proves what the row says.

use std::time::Duration;

use crate::support::mounted::Mounted;
use crate::support::recorder::Passed;
use crate::support::servers::Key;
use crate::support::servers::Minio;
use crate::support::servers::Store;
use crate::support::servers::azurite::azurite;
use crate::support::servers::ceph::Ceph;
use crate::support::servers::ceph::Gateway;
use crate::support::servers::ceph::KMS_KEY;
use crate::support::servers::fake_gcs::fake_gcs;
use crate::support::servers::moto::moto;
use crate::support::servers::s3rver::s3rver;
use crate::support::servers::seaweed::Seaweed;
use crate::support::servers::versity::versity;
use crate::support::tools;
use crate::support::volume::NAME;
use crate::support::volume::TestVolume;

/// What cannot work is told by then.
const REFUSED_WITHIN: Duration = Duration::from_secs(5);

/// Inline, one frame, several blocks.
const SIZES: [usize; 4] = [1, 4096, 131_073, (5 << 20) + 17];

/// What a store is asked, and what it answers.
struct Row {
    /// The argument that asks for encryption; empty: nothing is asked.
    asks: &'static str,
    /// What the HEAD of every object says; `None`: nothing.
    says: Option<&'static str>,
    /// The count of `status` that every write is in.
    posture: &'static str,
    /// The headers that ask for it, on every creation.
    sends: &'static [(&'static str, &'static str)],
    /// The header that every creation is answered with, if any.
    answers: Option<&'static str>,
}

/// Makes a volume, works, makes it durable, kills the daemon, and reads back after a new mount.
#[track_caller]
fn works(store: &Store, row: &Row) {
    let volume = TestVolume::at(store);
    let ask: &[&str] = if row.asks.is_empty() { &[] } else { &[row.asks] };
    volume.create(ask);
    let mounted = volume.start(ask);
    write(&mounted, 1);
    let sse = &mounted.status()["sse"];
    for count in ["confirmed", "provider_default", "unconfirmed", "absent"] {
        let counted = sse[count].as_u64().unwrap();
        assert_eq!(counted > 0, count == row.posture, "{count}: {sse}");
    }
    mounted.kill9();

    let mounted = volume.start(&[]);
    read(&mounted, 1);
    write(&mounted, 2);
    mounted.stop();
    let mounted = volume.start(&["--read-only"]);
    read(&mounted, 1);
    read(&mounted, 2);
    mounted.stop();
    volume.assert_sound();

    let keys = store.contents.keys();
    let header = keys.iter().any(|key| key.ends_with("cairnfs.volume"));
    assert!(header && keys.len() > 5, "an unlikely bucket: {keys:?}");
    for key in keys {
        assert_eq!(store.contents.encryption(&key).as_deref(), row.says, "{key}");
    }
    let audit = volume.call("cairnfs", &["audit", NAME]);
    assert_eq!(audit.code, Some(0), "{}\n{}", audit.stdout, audit.stderr);
    let asked = format!(" {} objects", store.contents.keys().len());
    assert!(audit.stdout.contains(&asked), "not{asked}: {}", audit.stdout);
    assert_record(&store.wire.record(), row, &store.contents.keys());
}

/// What asks for encryption is on each creation, and on nothing else; every answer proves it, and
/// nothing came into the bucket that the record does not show.
#[track_caller]
fn assert_record(record: &[Passed], row: &Row, keys: &[String]) {
    let (created, others): (Vec<_>, Vec<_>) = record.iter().partition(|passed| passed.creates());
    assert!(created.len() > 10, "an unlikely record: {created:?}");
    // Google's name of an upload is in its body.
    for key in keys.iter().filter(|_| row.answers.is_some()) {
        assert!(created.iter().any(|passed| passed.key.ends_with(key)), "who wrote {key}?");
    }
    for passed in created {
        assert_eq!(passed.asks(), row.sends, "{passed:?}");
        if let (Some(header), 200..300) = (row.answers, passed.status) {
            assert_eq!(passed.answer(header), row.says, "{passed:?}");
        }
    }
    for passed in others {
        assert_eq!(passed.asks(), [], "{passed:?}");
    }
}

/// Asks for a volume that the store would keep in plain text.
#[track_caller]
fn is_refused(store: &Store, ask: &str, sentence: &str) {
    let volume = TestVolume::at(store);
    let ended = volume.call("cairnfs", &["volume", "create", NAME, ask]);
    assert_refused(&ended, 1, sentence);
    assert_eq!(store.contents.keys(), [""; 0], "a refused create leaves nothing");
    for passed in store.wire.record() {
        let asks = !passed.asks().is_empty();
        assert_eq!(asks, passed.creates(), "nothing is tried without the header: {passed:?}");
    }
}

/// Asks for the encryption of a volume that was made without; it goes on without.
#[track_caller]
fn mount_is_refused(store: &Store, ask: &str, sentence: &str) {
    let volume = TestVolume::at(store);
    let mounted = volume.created(&[]);
    write(&mounted, 1);
    mounted.stop();
    assert_refused(&volume.try_start(&[ask]), 1, sentence);
    let mounted = volume.start(&[]);
    read(&mounted, 1);
    mounted.stop();
}

#[track_caller]
fn assert_refused(ended: &tools::Ended, code: i32, sentence: &str) {
    assert_eq!(ended.code, Some(code), "{}", ended.stderr);
    assert!(ended.took < REFUSED_WITHIN, "it took {:?}: {}", ended.took, ended.stderr);
    assert!(ended.stderr.contains(sentence), "not `{sentence}`: {}", ended.stderr);
    assert!(ended.stderr.contains("hint: "), "{}", ended.stderr);
}

fn write(mounted: &Mounted<'_>, seed: u64) {
    use std::io::Write as _;
    for (n, size) in SIZES.into_iter().enumerate() {
        let mut file = std::fs::File::create(mounted.path(&format!("{seed} {n}"))).unwrap();
        file.write_all(&tools::noise(seed + n as u64, size)).unwrap();
        file.sync_all().unwrap();
    }
}

#[track_caller]
fn read(mounted: &Mounted<'_>, seed: u64) {
    for (n, size) in SIZES.into_iter().enumerate() {
        let bytes = std::fs::read(mounted.path(&format!("{seed} {n}"))).unwrap();
        assert!(bytes == tools::noise(seed + n as u64, size), "{seed} {n} reads differently");
    }
}

const SSE: &str = "x-amz-server-side-encryption";
const SSE_S3: Row = Row {
    asks: "--sse",
    says: Some("AES256"),
    posture: "confirmed",
    sends: &[(SSE, "AES256")],
    answers: Some(SSE),
};
const UNCONFIRMED: &str = "does not confirm that the object is encrypted";

#[test]
fn minio_with_a_key_service_encrypts_what_asks_for_it() {
    works(&Minio::start(Key::Present).into_store(), &SSE_S3);
}

#[test]
fn minio_that_always_encrypts_confirms_what_nobody_asked_for() {
    let row = Row { asks: "", says: Some("aws:kms"), sends: &[], ..SSE_S3 };
    works(&Minio::start_that_always_encrypts().into_store(), &row);
}

#[test]
fn minio_without_a_key_service_is_refused() {
    is_refused(&Minio::start(Key::Absent).into_store(), "--sse", "has no key service");
}

#[test]
fn seaweedfs_with_a_key_encrypts_what_asks_for_it() {
    works(&Seaweed::start(Key::Present).into_store(), &SSE_S3);
}

#[test]
fn seaweedfs_without_a_key_is_refused() {
    is_refused(&Seaweed::start(Key::Absent).into_store(), "--sse", "as one without a key does");
}

#[test]
fn ceph_is_refused_without_keys_and_encrypts_with_a_named_one() {
    let ceph = Ceph::start();
    is_refused(&ceph.gateway(Gateway::Default), "--sse", "encrypts over TLS only");
    // It answers 200 and stores plain text: nothing but the missing proof shows it.
    let gateway = ceph.gateway(Gateway::BehindTls);
    is_refused(&gateway, "--sse", UNCONFIRMED);
    drop(gateway);
    let ask = format!("--sse=kms:{KMS_KEY}");
    let row = Row {
        asks: ask.leak(),
        says: Some("aws:kms"),
        sends: &[(SSE, "aws:kms"), ("x-amz-server-side-encryption-aws-kms-key-id", KMS_KEY)],
        ..SSE_S3
    };
    works(&ceph.gateway(Gateway::WithKeys), &row);
}

#[test]
fn azure_confirms_by_its_own_headers() {
    let answers = Some("x-ms-request-server-encrypted");
    works(&azurite(), &Row { says: Some("true"), sends: &[], answers, ..SSE_S3 });
}

#[test]
fn googles_json_api_is_believed_without_a_proof() {
    let posture = "provider_default";
    works(&fake_gcs(), &Row { says: None, posture, sends: &[], answers: None, ..SSE_S3 });
}

#[test]
fn moto_says_back_what_it_is_sent() {
    works(&moto(), &SSE_S3);
}

#[test]
fn s3rver_which_overlooks_every_header_is_refused() {
    let store = s3rver();
    is_refused(&store, "--sse", UNCONFIRMED);
    mount_is_refused(&store, "--sse", UNCONFIRMED);
    let shown = TestVolume::at(&store).call("cairnfs", &["volume", "show", NAME]);
    let shown = shown.expect_success("volume show").stdout;
    assert!(shown.contains("read-back"), "it creates what exists, so that fences nobody: {shown}");
}

#[test]
fn versity_which_overlooks_the_header_is_refused() {
    let store = versity();
    is_refused(&store, "--sse", UNCONFIRMED);
    mount_is_refused(&store, "--sse", UNCONFIRMED);
}
