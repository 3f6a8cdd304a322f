//! What `iam` prints is enough for everything, and what is missing from it is named: MinIO gives
//! temporary keys that may do what a policy permits.

use std::time::Duration;

use serde_json::Value;

use super::audit::half_encrypted;
use super::audit::plain;
use super::support::s3_client::S3Client;
use super::support::servers::Key;
use super::support::servers::Minio;
use super::support::tools;
use super::support::tools::Ended;
use super::support::volume::NAME;
use super::support::volume::TestVolume;

const LIMIT: Duration = Duration::from_secs(120);

fn policy(volume: &TestVolume, args: &[&str]) -> String {
    let ended = volume.call("cairnfs", &[&["iam", NAME], args].concat());
    ended.expect_success("iam").stdout
}

/// Calls the binary with keys that may do what `policy` permits.
fn call_under(volume: &TestVolume, client: &S3Client, policy: &str, args: &[&str]) -> Ended {
    let [access_key, secret_key, token] = client.keys_under(policy);
    let mut command = volume.command("cairnfs");
    command
        .env("CAIRNFS_TEST_ACCESS_KEY_ID", access_key)
        .env("CAIRNFS_TEST_SECRET_ACCESS_KEY", secret_key)
        .env("CAIRNFS_TEST_SESSION_TOKEN", token)
        .args(args);
    tools::run(&mut command, LIMIT)
}

#[test]
fn the_printed_permissions_suffice_and_a_missing_one_is_named() {
    let minio = Minio::start(Key::Present);
    let (volume, client) = (TestVolume::minio(&minio), minio.client());
    half_encrypted(&volume, client).stop();
    let (writer, reader) = (policy(&volume, &[]), policy(&volume, &["--read-only"]));
    let fix = ["audit", NAME, "--fix", "--json"];

    let ended = call_under(&volume, client, &reader, &["audit", NAME, "--json"]);
    let report: Value = serde_json::from_str(&ended.stdout).expect("an audit only reads");
    assert_eq!(report["scope"]["versions"]["yes"], Value::Null, "{report:#}");
    let refused = call_under(&volume, client, &reader, &fix);
    assert_eq!(refused.code, Some(1), "{}{}", refused.stdout, refused.stderr);

    let lacking = writer.replace("s3:DeleteObjectVersion", "s3:GetObjectVersionTagging");
    let ended = call_under(&volume, client, &lacking, &fix);
    assert_eq!(ended.code, Some(3), "{}{}", ended.stdout, ended.stderr);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let faults = report["faults"].to_string();
    assert!(faults.contains("takes the permission s3:DeleteObjectVersion"), "{faults}");
    assert_ne!(plain(client), 0);

    let ended = call_under(&volume, client, &writer, &fix);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(plain(client), 0);
    let delete = ["volume", "delete", NAME, "--yes", NAME];
    call_under(&volume, client, &writer, &delete).expect_success("volume delete");
    assert_eq!(client.versions(super::support::servers::BUCKET), []);
}
