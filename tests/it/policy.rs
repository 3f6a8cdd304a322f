//! A volume's policy is changed while it is mounted: what is written from then on is held to it.
//! And the policies that `cairnfs iam` prints are taken, and suffice, where they are meant for.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use crate::support::s3_client::S3Client;
use crate::support::s3_double::Encryption;
use crate::support::s3_double::S3Double;
use crate::support::servers::BUCKET;
use crate::support::servers::Key;
use crate::support::servers::Minio;
use crate::support::servers::ceph::Ceph;
use crate::support::servers::ceph::Gateway;
use crate::support::tools;
use crate::support::volume::NAME;
use crate::support::volume::TestVolume;

#[test]
fn a_mount_follows_a_change_of_its_volumes_encryption_at_once() {
    let double = S3Double::start();
    let volume = TestVolume::amazon(&double);
    let mounted = volume.created(&[]);
    let mebibytes = vec![7; 5 << 20];
    fs::write(mounted.path("plain"), &mebibytes).unwrap();
    mounted.sync();
    assert_eq!(mounted.status()["sse"]["asked"], "none");
    let requests_before = mounted.status()["requests"]["put"].as_u64().unwrap();

    let ended = volume.call("cairnfs", &["volume", "set", NAME, "--sse", "aes256"]);
    let said = ended.expect_success("volume set").stderr;
    assert!(said.contains("from now on"), "{said}");
    double.forget();
    fs::write(mounted.path("sealed"), &mebibytes).unwrap();
    mounted.sync();
    assert!(double.puts().len() >= 2, "a block and a commit");
    assert_eq!(double.puts_without_sse().len(), 0, "{:?}", double.puts_without_sse());
    let status = mounted.status();
    assert_eq!(status["sse"]["asked"], "aes256");
    assert_eq!(status["sse"]["verify"], "strict");
    assert!(status["sse"]["confirmed"].as_u64().unwrap() >= 2, "{status}");
    assert!(status["requests"]["put"].as_u64().unwrap() > requests_before, "counts go on");

    // What the store cannot do is refused, and nothing changes.
    double.encryption(Encryption::Refuse501);
    let refused = volume.call("cairnfs", &["volume", "set", NAME, "--sse", "kms:key"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    double.encryption(Encryption::Echo);
    assert_eq!(mounted.status()["sse"]["asked"], "aes256");

    volume.call("cairnfs", &["volume", "set", NAME, "--sse", "none"]).expect_success("set");
    double.forget();
    fs::write(mounted.path("plain again"), &mebibytes).unwrap();
    mounted.sync();
    let puts = double.puts();
    assert!(!puts.is_empty() && puts.iter().all(|put| put.sse.is_none()), "{puts:?}");
    for name in ["plain", "sealed", "plain again"] {
        assert!(fs::read(mounted.path(name)).unwrap() == mebibytes, "{name} differs");
    }
    let log = status["sse"]["posture_log"].as_str().expect("status names the log").to_owned();
    mounted.stop();
    volume.assert_sound();
    let events = fs::read_to_string(&log).unwrap();
    let events: Vec<_> = events.lines().collect();
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(events[0].ends_with("asks for `aes256` now, no more `none`"), "{events:?}");
    assert!(events[1].ends_with("asks for `none` now, no more `aes256`"), "{events:?}");
}

#[test]
fn the_first_write_that_is_not_confirmed_stands_in_the_posture_log() {
    let double = S3Double::start();
    let volume = TestVolume::amazon(&double);
    volume.create(&["--sse"]);
    let mounted = volume.start(&[]);
    double.encryption(Encryption::Ignore);
    fs::write(mounted.path("file"), vec![7; 5 << 20]).unwrap();
    let told = tools::within(Duration::from_secs(30), || {
        let log = fs::read_to_string(volume.posture_log()).unwrap_or_default();
        log.contains("does not confirm that an object is encrypted, the first since the start: `")
    });
    assert!(told, "{:?}", fs::read_to_string(volume.posture_log()));
    drop(mounted);
    let log = fs::read_to_string(volume.posture_log()).unwrap();
    assert_eq!(log.matches("the first since the start").count(), 1, "{log}");
}

/// What `cairnfs iam` prints.
fn printed(volume: &TestVolume, args: &[&str]) -> String {
    volume.call("cairnfs", &[&["iam", NAME], args].concat()).expect_success("iam").stdout
}

/// Puts a policy on the bucket.
#[track_caller]
fn put_policy(client: &S3Client, policy: &str) {
    let path = format!("/{BUCKET}");
    let answer = client.send("PUT", &path, "policy=", &[], policy.as_bytes()).unwrap();
    assert!(matches!(answer.status, 200 | 204), "{}: {policy}", answer.body);
}

#[test]
fn a_bucket_policy_demands_what_the_volume_was_created_with() {
    let double = S3Double::start();
    let volume = TestVolume::amazon(&double);
    volume.create(&["--sse"]);
    let ended = volume.call("cairnfs", &["iam", NAME, "--bucket-policy"]);
    assert_eq!(ended.code, Some(1), "plain HTTP, and nobody said the encryption: {ended:?}");
    assert!(ended.stderr.contains("add `--sse MODE`"), "{}", ended.stderr);
    let policy = printed(&volume, &["--bucket-policy", "--sse", "aes256"]);
    assert!(policy.contains("\"s3:x-amz-server-side-encryption\": \"true\""), "{policy}");
    double.demand_encryption();
    let mounted = volume.start(&[]);
    fs::write(mounted.path("file"), vec![7; 5 << 20]).unwrap();
    mounted.sync();
    mounted.stop();
    assert_eq!(double.puts_without_sse().len(), 0, "{:?}", double.puts_without_sse());
}

#[test]
fn minio_takes_the_printed_policies() {
    let minio = Minio::start(Key::Present);
    let prefix = "prefix = \"cairn/\"\n";
    let volume = TestVolume::s3("minio", minio.client(), BUCKET, prefix);
    put_policy(minio.client(), &printed(&volume, &["--bucket-policy", "--sse", "aes256"]));
    for mode in ["aes256", "kms:key"] {
        let [access, ..] = minio.client().keys_under(&printed(&volume, &["--sse", mode]));
        assert!(!access.is_empty());
    }
}

#[test]
fn a_volume_is_made_on_ceph_under_the_printed_policy() {
    let ceph = Ceph::start();
    let store = ceph.gateway(Gateway::Default);
    let endpoint = format!("http://{}", store.wire.address());
    let client = |(access_key, secret_key): (String, String)| S3Client {
        endpoint: endpoint.clone(),
        access_key,
        secret_key,
    };
    let (owner, user) = (client(store.keys.clone().unwrap()), client(ceph.user("u")));
    let volume = TestVolume::s3("ceph-rgw", &user, BUCKET, "prefix = \"cairn/\"\n");
    // The bucket is another user's, so the same statements go into its policy.
    let mut policy: Value = serde_json::from_str(&printed(&volume, &[])).unwrap();
    for statement in policy["Statement"].as_array_mut().unwrap() {
        statement["Principal"] = json!({ "AWS": ["arn:aws:iam:::user/u"] });
    }
    let mut narrow = policy.clone();
    narrow["Statement"][0]["Condition"] = json!({ "StringLike": { "s3:prefix": "cairn/*" } });
    put_policy(&owner, &narrow.to_string());
    let refused = volume.call("cairnfs", &["volume", "create", NAME]);
    assert_eq!(refused.code, Some(1), "the condition does no harm any more: {refused:?}");
    put_policy(&owner, &policy.to_string());
    let mounted = volume.created(&[]);
    fs::write(mounted.path("file"), "words").unwrap();
    mounted.stop();
    volume.assert_sound();
    // RGW 16.2 calls this policy public, which is a fault to an audit.
    let report = volume.call("cairnfs", &["audit", NAME, "--json"]).stdout;
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["uploads"]["yes"], json!([]), "{report:#}");
    assert_eq!(report["bucket"]["versioning"]["yes"], "off", "{report:#}");
}
