//! What `audit --fix` must never do: lose the last copy of something, put damage in the place of
//! what is whole, or fail because somebody works beside it.

use super::audit::audit;
use super::audit::half_encrypted;
use super::audit::plain;
use super::audit::postures;
use super::audit::set_versioning;
use super::support::s3_client::S3Client;
use super::support::servers::BUCKET;
use super::support::servers::Key;
use super::support::servers::Minio;
use super::support::tools;
use super::support::volume::TestVolume;

/// A block that was written without encryption and has no other version: key and id.
fn plain_block(client: &S3Client) -> (String, String) {
    let versions = client.versions(BUCKET);
    let is_alone = |key: &str| versions.iter().filter(|(its, _)| its == key).count() == 1;
    let plain = postures(client).into_iter().find_map(|(version, mode)| {
        let is_block = version.0.starts_with("blocks/");
        (mode.is_none() && is_block && is_alone(&version.0)).then_some(version)
    });
    plain.expect("a block without encryption")
}

fn send(client: &S3Client, method: &str, key: &str, query: &str) -> String {
    let answer = client.send(method, &format!("/{BUCKET}/{key}"), query, &[], b"").unwrap();
    assert_eq!(answer.status, 204, "{}", answer.body);
    answer.header("x-amz-version-id").unwrap_or_default().to_owned()
}

fn put(client: &S3Client, key: &str, headers: &[(&str, &str)]) -> String {
    let (path, damage) = (format!("/{BUCKET}/{key}"), b"damage");
    let answer = client.send("PUT", &path, "", headers, damage).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.header("x-amz-version-id").unwrap_or_default().to_owned()
}

#[test]
fn a_fix_keeps_the_last_copy_of_a_missing_block() {
    let minio = Minio::start(Key::Present);
    let (volume, client) = (TestVolume::minio(&minio), minio.client());
    let mounted = half_encrypted(&volume, client);
    let before = tools::tree(mounted.dir());
    mounted.stop();
    let block = plain_block(client);
    let marker = send(client, "DELETE", &block.0, "");

    let (code, report) = audit(&volume, &["--fix"]);
    assert_eq!(code, Some(3), "{report:#}");
    let failures = report["repair"]["failures"].to_string();
    let sentence = "it is the last copy of a missing object: restore it";
    assert!(failures.contains(&block.0) && failures.contains(sentence), "{failures}");
    assert_eq!(report["missing"], serde_json::json!([block.0]));
    assert!(client.versions(BUCKET).contains(&block), "the last copy is gone");

    send(client, "DELETE", &block.0, &format!("versionId={marker}"));
    let (code, report) = audit(&volume, &["--fix"]);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(plain(client), 0);
    let mounted = volume.start(&[]);
    tools::assert_same_tree(&before, &tools::tree(mounted.dir()));
}

#[test]
fn a_fix_keeps_the_good_version_of_a_damaged_block() {
    let minio = Minio::start(Key::Present);
    let (volume, client) = (TestVolume::minio(&minio), minio.client());
    let mounted = half_encrypted(&volume, client);
    let before = tools::tree(mounted.dir());
    mounted.stop();
    let block = plain_block(client);
    let sse: &[_] = &[("x-amz-server-side-encryption", "AES256")];
    for (headers, words) in [(&[][..], "is not written again"), (sse, "is not removed")] {
        let damaged = put(client, &block.0, headers);
        let (code, report) = audit(&volume, &["--fix"]);
        assert_eq!(code, Some(3), "{report:#}");
        let failures = report["repair"]["failures"].to_string();
        assert!(failures.contains(&block.0) && failures.contains(words), "{failures}");
        assert!(client.versions(BUCKET).contains(&block), "the good version is gone");
        send(client, "DELETE", &block.0, &format!("versionId={damaged}"));
    }
    let (code, report) = audit(&volume, &["--fix"]);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(plain(client), 0);
    let mounted = volume.start(&[]);
    tools::assert_same_tree(&before, &tools::tree(mounted.dir()));
}

#[test]
fn a_fix_where_versioning_is_suspended_loses_nothing() {
    let minio = Minio::start(Key::Present);
    let (volume, client) = (TestVolume::minio(&minio), minio.client());
    let mounted = half_encrypted(&volume, client);
    let before = tools::tree(mounted.dir());
    set_versioning(client, "Suspended");
    let (code, report) = audit(&volume, &["--fix"]);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(plain(client), 0);
    mounted.stop();
    volume.assert_sound();
    let mounted = volume.start(&[]);
    tools::assert_same_tree(&before, &tools::tree(mounted.dir()));
}

#[test]
fn a_fix_right_after_files_were_deleted_and_replaced_passes() {
    let minio = Minio::start(Key::Present);
    let (volume, client) = (TestVolume::minio(&minio), minio.client());
    let mounted = half_encrypted(&volume, client);
    for number in 5..24 {
        let file = mounted.path(&format!("100-{number}"));
        match number % 4 {
            0 => std::fs::write(file, tools::noise(number, 200_000)).unwrap(),
            _ => std::fs::remove_file(file).unwrap(),
        }
    }
    let (code, report) = audit(&volume, &["--fix"]);
    assert_eq!((code, &report["faults"]), (Some(0), &serde_json::json!([])), "{report:#}");
    assert_eq!(plain(client), 0);
    mounted.stop();
    volume.assert_sound();
}
