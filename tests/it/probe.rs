//! `cairnfs probe` against every real server: it finds what the row says, or says where not; the
//! row that it prints agrees with the server that it was made from; nothing stays behind.

use std::time::Duration;

use serde_json::Value;

use crate::support::s3_client::S3Client;
use crate::support::s3_double;
use crate::support::s3_double::S3Double;
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
use crate::support::tools::Ended;
use crate::support::volume::NAME;
use crate::support::volume::TestVolume;

/// "In seconds", on a machine that has other work too.
const WITHIN: Duration = Duration::from_secs(20);

/// Measures, and checks which keys of the row are contradicted; then takes the printed row for the
/// matrix, which must agree. Returns the findings.
#[track_caller]
fn measures(store: &Store, contradicted: &[&str], more: &[&str]) -> Value {
    let volume = TestVolume::at(store);
    let code = if contradicted.is_empty() { 0 } else { 3 };
    let probe = |args: &[&str], code: i32| -> Ended {
        let ended = volume.call("cairnfs", &[&["probe", NAME], args, more].concat());
        assert_eq!(ended.code, Some(code), "{args:?}: {}\n{}", ended.stdout, ended.stderr);
        assert!(ended.took < WITHIN, "it took {:?}", ended.took);
        assert_eq!(store.contents.keys(), [""; 0], "it leaves nothing");
        ended
    };
    let report: Value = serde_json::from_str(&probe(&["--json"], code).stdout).unwrap();
    assert_eq!(of_verdict(&report, "contradicts"), contradicted, "{report:#}");

    let row = probe(&["--toml"], code).stdout;
    volume.write_config(&format!(
        "[volumes.{NAME}]\nprovider = \"{}-measured\"\n{}\n{row}",
        store.provider, store.settings
    ));
    let again: Value = serde_json::from_str(&probe(&["--json"], 0).stdout).unwrap();
    let none: [&str; 0] = [];
    assert_eq!(of_verdict(&again, "contradicts"), none, "{row}\n{again:#}");
    report
}

fn of_verdict<'r>(report: &'r Value, verdict: &str) -> Vec<&'r str> {
    let findings = report["findings"].as_array().unwrap().iter();
    let wanted = findings.filter(|finding| finding["verdict"] == verdict);
    wanted.map(|finding| finding["about"].as_str().unwrap()).collect()
}

fn measured<'r>(report: &'r Value, about: &str) -> &'r str {
    let findings = report["findings"].as_array().unwrap();
    let found = findings.iter().find(|finding| finding["about"] == about);
    found.unwrap_or_else(|| panic!("nothing about {about}: {report:#}"))["measured"]
        .as_str()
        .unwrap()
}

#[test]
fn minio_is_as_its_row_says_with_and_without_a_key() {
    let report = measures(&Minio::start(Key::Present).into_store(), &[], &[]);
    assert_eq!(measured(&report, "sse.request"), "`AES256` on write and HEAD");
    let report = measures(&Minio::start_that_always_encrypts().into_store(), &[], &[]);
    assert_eq!(measured(&report, "sse.at-rest"), "`aws:kms` on write and HEAD");
    let report = measures(&Minio::start(Key::Absent).into_store(), &[], &["--thorough"]);
    assert_eq!(measured(&report, "sse.request"), "refused (501 NotImplemented)");
}

#[test]
fn seaweedfs_is_as_the_row_of_any_s3_store_says_with_and_without_a_key() {
    let report = measures(&Seaweed::start(Key::Present).into_store(), &[], &[]);
    assert_eq!(measured(&report, "sse.request"), "`AES256` on write and HEAD");
    let report = measures(&Seaweed::start(Key::Absent).into_store(), &[], &[]);
    assert_eq!(measured(&report, "sse.request"), "refused (500 InternalError)");
}

#[test]
fn ceph_that_keeps_plain_text_is_found_out() {
    let ceph = Ceph::start();
    let report = measures(&ceph.gateway(Gateway::Default), &[], &[]);
    assert_eq!(measured(&report, "sse.request"), "refused (400 InvalidRequest)");
    let report = measures(&ceph.gateway(Gateway::BehindTls), &["sse.request"], &[]);
    assert_eq!(measured(&report, "sse.request"), "taken, and not confirmed");
    let key = ["--kms-key", KMS_KEY];
    let report = measures(&ceph.gateway(Gateway::WithKeys), &["sse.request"], &key);
    assert_eq!(measured(&report, "sse.kms"), "`aws:kms` on write and HEAD");
}

#[test]
fn azures_service_is_as_its_row_says() {
    let report = measures(&azurite(), &[], &[]);
    assert_eq!(measured(&report, "sse.at-rest"), "`true` on write and HEAD");
}

#[test]
fn googles_json_api_is_as_its_row_says_but_for_the_emulators_batches() {
    // fake-gcs-server 1.56 answers each part of OpenDAL's batch with an error, Google does not.
    let report = measures(&fake_gcs(), &["objects.delete"], &[]);
    assert_eq!(measured(&report, "objects.delete"), "one by one");
    assert_eq!(measured(&report, "objects.conditional-update"), "yes");
}

#[test]
fn moto_is_as_the_row_of_any_s3_store_says() {
    measures(&moto(), &[], &[]);
}

#[test]
fn s3rver_which_heeds_nothing_is_found_out() {
    measures(&s3rver(), &["sse.request", "objects.conditional-create"], &[]);
}

#[test]
fn versity_which_overlooks_the_header_is_found_out() {
    // It heeds the region of a signature too, which the row of any S3 store does not expect.
    measures(&versity(), &["access.region", "sse.request"], &[]);
}

/// The findings at a double, none of which may contradict, and the row that is printed.
#[track_caller]
fn measured_at(double: &S3Double, row: &str) -> (Value, String) {
    let client = S3Client {
        endpoint: double.endpoint().to_owned(),
        access_key: s3_double::ACCESS_KEY.to_owned(),
        secret_key: s3_double::SECRET_KEY.to_owned(),
    };
    let volume = TestVolume::s3(row, &client, s3_double::BUCKET, "prefix = \"cairn/\"\n");
    double.forget();
    let ended = volume.call("cairnfs", &["probe", NAME, "--json"]).expect_success("probe");
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(of_verdict(&report, "contradicts"), [""; 0], "{report:#}");
    let row = volume.call("cairnfs", &["probe", NAME, "--toml"]).expect_success("probe").stdout;
    assert_eq!(double.keys(), [""; 0], "it leaves nothing");
    (report, row)
}

#[test]
fn a_bucket_whose_policy_demands_encryption_is_measured_with_it() {
    let double = S3Double::start();
    double.demand_encryption();
    let (report, row) = measured_at(&double, "amazon-s3");
    assert_eq!(measured(&report, "sse.at-rest"), "plain writes: refused (403 AccessDenied)");
    assert_eq!(measured(&report, "sse.request"), "`AES256` on write and HEAD");
    assert_eq!(measured(&report, "objects.conditional-update"), "yes");
    assert_eq!(measured(&report, "objects.delete"), "three at once");
    assert!(!row.contains("403") && !row.contains("customer-key"), "{row}");
}

#[test]
fn a_store_that_is_busy_now_and_then_is_measured_as_if_it_were_not() {
    for nth in [5, 7, 11, 13] {
        let double = S3Double::start();
        double.busy_at_every(nth);
        // That the double encrypts nothing unasked would contradict Amazon's row.
        let (report, row) = measured_at(&double, "s3");
        assert_eq!(measured(&report, "sse.request"), "`AES256` on write and HEAD", "{nth}");
        assert_eq!(measured(&report, "objects.conditional-update"), "yes", "{nth}");
        assert!(!row.contains("503") && !row.contains("refusals"), "{nth}: {row}");
        let raced = !report["measured"]["race_winners"].as_array().unwrap().is_empty();
        // A round is eight requests; where one of them is always told to come back, none counts.
        assert_eq!(raced, nth > 8, "{nth}: {report:#}");
        assert_eq!(row.contains("conflict = [409, 412]"), raced, "{nth}: {row}");
    }
}

#[test]
fn a_bucket_is_measured_without_a_config_and_told_as_a_table() {
    let store = Minio::start(Key::Present).into_store();
    let volume = TestVolume::at(&store);
    let endpoint = store.settings.split('"').nth(1).unwrap().to_owned();
    volume.write_config("");
    let at = ["--provider", "minio", "--bucket", "bucket", "--endpoint", &endpoint];
    let ended =
        volume.call("cairnfs", &[&["probe"], &at[..], &["--keys-env", "CAIRNFS_TEST"]].concat());
    let text = ended.expect_success("probe").stdout;
    for words in ["THE ROW SAYS", "sse.request", "`AES256` on write and HEAD", "agrees"] {
        assert!(text.contains(words), "{text}");
    }
    let ended = volume.call("cairnfs", &[&["probe"], &at[..], &["--keys-env", "NOBODY"]].concat());
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("$NOBODY_ACCESS_KEY_ID is not set"), "{}", ended.stderr);
}
