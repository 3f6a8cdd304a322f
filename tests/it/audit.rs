//! The audit against MinIO: what it finds, what `--fix` leaves, and that a kill in its middle
//! changes neither.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::support::s3_client::S3Client;
use super::support::servers::BUCKET;
use super::support::servers::Key;
use super::support::servers::Minio;
use super::support::tools;
use super::support::volume::NAME;
use super::support::volume::TestVolume;

const FILES: u64 = 24;
const FILE_BYTES: usize = 300_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs an audit; its exit code and its report.
#[track_caller]
pub(crate) fn audit(volume: &TestVolume, args: &[&str]) -> (Option<i32>, Value) {
    let ended = volume.call("cairnfs", &[&["audit", NAME, "--json"], args].concat());
    let report = serde_json::from_str(&ended.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", ended.stdout, ended.stderr));
    (ended.code, report)
}

pub(crate) fn enable_versioning(client: &S3Client) {
    set_versioning(client, "Enabled");
}

pub(crate) fn set_versioning(client: &S3Client, status: &str) {
    let body =
        format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
    let (path, body) = (format!("/{BUCKET}"), body.as_bytes());
    let answer = client.send("PUT", &path, "versioning=", &[], body).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// What each version with bytes says of its encryption, by key and id.
pub(crate) fn postures(client: &S3Client) -> BTreeMap<(String, String), Option<String>> {
    let head = |(key, id): (String, String)| {
        let (path, query) = (format!("/{BUCKET}/{key}"), format!("versionId={id}"));
        let answer = client.send("HEAD", &path, &query, &[], b"").unwrap();
        (answer.status == 200)
            .then(|| ((key, id), answer.header("x-amz-server-side-encryption").map(str::to_owned)))
    };
    client.versions(BUCKET).into_iter().filter_map(head).collect()
}

pub(crate) fn plain(client: &S3Client) -> usize {
    postures(client).values().filter(|mode| mode.is_none()).count()
}

fn write_files(dir: &Path, seed: u64) {
    for number in 0..FILES {
        let bytes = tools::noise(seed + number, FILE_BYTES);
        std::fs::write(dir.join(format!("{seed}-{number}")), bytes).unwrap();
    }
}

/// A volume half of which was written without encryption, and half with; some of both is deleted.
pub(crate) fn half_encrypted<'v>(
    volume: &'v TestVolume,
    client: &S3Client,
) -> super::support::mounted::Mounted<'v> {
    enable_versioning(client);
    let mounted = volume.created(&[]);
    write_files(mounted.dir(), 100);
    mounted.sync();
    std::fs::remove_file(mounted.path("100-3")).unwrap();
    mounted.stop();
    volume.call("cairnfs", &["volume", "set", NAME, "--sse", "aes256"]).expect_success("set");
    let mounted = volume.start(&[]);
    write_files(mounted.dir(), 200);
    std::fs::remove_file(mounted.path("100-4")).unwrap();
    mounted.sync();
    mounted
}

#[test]
fn an_audit_names_a_planted_object_and_a_block_that_is_gone() {
    let minio = Minio::start(Key::Present);
    let (volume, client) = (TestVolume::minio(&minio), minio.client());
    let mounted = volume.created(&["--sse"]);
    write_files(mounted.dir(), 1);
    mounted.sync();
    let (code, report) = audit(&volume, &[]);
    assert_eq!((code, &report["faults"]), (Some(0), &Value::Array(Vec::new())), "{report:#}");
    assert_eq!(report["bucket"]["versioning"]["yes"], "off");
    let keys = client.keys(BUCKET);
    assert_eq!(report["totals"]["objects"], keys.len());

    let planted = "blocks/notes.txt";
    client.send("PUT", &format!("/{BUCKET}/{planted}"), "", &[], b"plain").unwrap();
    let block = keys.iter().find(|key| key.starts_with("blocks/")).unwrap();
    client.send("DELETE", &format!("/{BUCKET}/{block}"), "", &[], b"").unwrap();
    mounted.stop();
    let (code, report) = audit(&volume, &[]);
    assert_eq!(code, Some(3));
    assert_eq!(report["offenders"][0]["name"], planted, "{report:#}");
    assert_eq!(report["missing"], serde_json::json!([block]));
    assert_eq!(report["foreign"], serde_json::json!([planted]));
}

#[test]
fn a_lost_object_of_the_metadata_is_named_and_nobody_is_told_to_create_the_volume() {
    let minio = Minio::start(Key::Present);
    let (volume, client) = (TestVolume::minio(&minio), minio.client());
    let mounted = volume.created(&["--sse"]);
    write_files(mounted.dir(), 1);
    mounted.stop();
    let keys = client.keys(BUCKET);
    let table = keys.iter().find(|key| key.starts_with("meta/db/compacted/")).unwrap();
    client.send("DELETE", &format!("/{BUCKET}/{table}"), "", &[], b"").unwrap();
    let (code, report) = audit(&volume, &[]);
    assert_eq!((code, &report["missing"]), (Some(3), &serde_json::json!([table])), "{report:#}");
    let ended = volume.try_start(&[]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    for words in [table, "of the volume's metadata is missing", "older version"] {
        assert!(ended.stderr.contains(words), "not `{words}`: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("volume create"), "{}", ended.stderr);
}

#[test]
fn an_audit_tells_how_the_bucket_is_set_up_and_what_was_begun_in_it() {
    let minio = Minio::start(Key::Present);
    let (volume, client) = (TestVolume::minio(&minio), minio.client());
    volume.create(&["--sse"]);
    let iam = ["iam", NAME, "--bucket-policy", "--sse", "aes256"];
    let printed = volume.call("cairnfs", &iam).expect_success("iam").stdout;
    let mut policy: Value = serde_json::from_str(&printed).unwrap();
    // Left out for a volume without TLS, which it would lock out anywhere but here.
    policy["Statement"].as_array_mut().unwrap().push(serde_json::json!({
        "Effect": "Deny", "Principal": "*", "Action": "s3:*",
        "Resource": [format!("arn:aws:s3:::{BUCKET}"), format!("arn:aws:s3:::{BUCKET}/*")],
        "Condition": { "Bool": { "aws:SecureTransport": "false" } },
    }));
    let (bucket, policy) = (format!("/{BUCKET}"), policy.to_string());
    let answer = client.send("PUT", &bucket, "policy=", &[], policy.as_bytes()).unwrap();
    assert_eq!(answer.status, 204, "{}", answer.body);
    let sse = [("x-amz-server-side-encryption", "AES256")];
    let upload = client.send("POST", &format!("{bucket}/begun"), "uploads=", &sse, b"").unwrap();
    assert_eq!(upload.status, 200, "{}", upload.body);

    let (code, report) = audit(&volume, &[]);
    assert_eq!(code, Some(0), "{report:#}");
    let facts = &report["bucket"];
    for fact in ["denies_unencrypted", "denies_plain_http"] {
        assert_eq!(facts[fact]["yes"], true, "{fact}: {facts:#}");
    }
    assert_eq!(facts["public"]["yes"], false, "{facts:#}");
    assert_eq!(facts["default_encryption"]["yes"], "none", "{facts:#}");
    assert_eq!(report["uploads"]["yes"][0]["name"], "begun", "{report:#}");

    let open = policy.replace("Deny", "Allow").replace("\"Null\"", "\"StringLike\"");
    let answer = client.send("PUT", &bucket, "policy=", &[], open.as_bytes()).unwrap();
    assert_eq!(answer.status, 204, "{}", answer.body);
    let (code, report) = audit(&volume, &[]);
    assert_eq!(code, Some(3), "{report:#}");
    assert_eq!(report["faults"][0], "the bucket's policy lets everybody in");
}

#[test]
fn a_file_and_the_status_tell_their_posture() {
    let minio = Minio::start(Key::Present);
    let volume = TestVolume::minio(&minio);
    let mounted = volume.created(&["--sse"]);
    std::fs::write(mounted.path("file"), tools::noise(1, FILE_BYTES)).unwrap();
    mounted.sync();
    let posture = "getfattr --only-values -n user.cairnfs.posture file";
    let told = tools::shell(mounted.dir(), posture, PATIENCE);
    assert_eq!(told, "confirmed AES256: 1 block");
    let listed = tools::shell(mounted.dir(), "getfattr -d file", PATIENCE);
    assert_eq!(listed, "", "it is asked for by name only");
    let set = "! setfattr -n user.cairnfs.posture -v x file && echo refused";
    assert_eq!(tools::shell(mounted.dir(), set, PATIENCE), "refused\n");
    let sse = &mounted.status()["sse"];
    assert_eq!((&sse["last_unconfirmed"], &sse["key"]), (&Value::Null, &Value::Null), "{sse}");
}

#[test]
fn deleting_a_volume_leaves_no_version_of_it_and_nothing_foreign_out() {
    let minio = Minio::start(Key::Present);
    let (volume, client) = (TestVolume::minio(&minio), minio.client());
    half_encrypted(&volume, client).stop();
    client.send("PUT", &format!("/{BUCKET}/foreign"), "", &[], b"x").unwrap();
    let ended = volume.call("cairnfs", &["volume", "delete", NAME, "--yes", NAME]);
    let said = ended.expect_success("volume delete").stderr;
    assert!(said.contains("no version and no delete marker"), "{said}");
    let left: Vec<_> = client.versions(BUCKET).into_iter().map(|(key, _)| key).collect();
    assert_eq!(left, ["foreign"]);
}

#[test]
fn a_fix_beside_a_mount_leaves_every_version_encrypted_and_every_file_as_it_was() {
    let minio = Minio::start(Key::Present);
    let (volume, client) = (TestVolume::minio(&minio), minio.client());
    let mounted = half_encrypted(&volume, client);
    let before = tools::tree(mounted.dir());
    assert!(plain(client) > 10, "much was written without encryption");
    let (code, report) = audit(&volume, &[]);
    assert_eq!(code, Some(3), "{report:#}");
    let short = report["totals"]["short"].as_u64().unwrap();
    assert_eq!(short, u64::try_from(plain(client)).unwrap());

    let (code, report) = audit(&volume, &["--fix"]);
    assert_eq!((code, &report["faults"]), (Some(0), &Value::Array(Vec::new())), "{report:#}");
    assert_ne!(report["repair"]["rewritten"], 0);
    assert_eq!(plain(client), 0);
    tools::assert_same_tree(&before, &tools::tree(mounted.dir()));
    mounted.stop();
    volume.assert_sound();
    let mounted = volume.start(&[]);
    tools::assert_same_tree(&before, &tools::tree(mounted.dir()));
}

#[test]
fn a_fix_that_was_killed_is_finished_by_the_next() {
    let minio = Minio::start(Key::Present);
    let (volume, client) = (TestVolume::minio(&minio), minio.client());
    let mounted = half_encrypted(&volume, client);
    let before = tools::tree(mounted.dir());
    mounted.stop();
    let begun = plain(client);
    let mut fixing = volume
        .command("cairnfs")
        .args(["audit", NAME, "--fix", "--rate", "20"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    tools::wait_for("the fix to begin", PATIENCE, || (plain(client) < begun - 2).then_some(()));
    fixing.kill().unwrap();
    fixing.wait().unwrap();
    let left = plain(client);
    assert!(left > 0, "the kill came too late");

    let (code, report) = audit(&volume, &["--fix"]);
    assert_eq!((code, &report["faults"]), (Some(0), &Value::Array(Vec::new())), "{report:#}");
    assert_eq!(plain(client), 0);
    volume.assert_sound();
    let mounted = volume.start(&[]);
    tools::assert_same_tree(&before, &tools::tree(mounted.dir()));
}
