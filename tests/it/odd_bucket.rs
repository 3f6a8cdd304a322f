//! Buckets that hide something from the volume's keys, or hold names that no volume gives: an audit
//! does not pass over them, and a deletion does not lose sight of what it leaves.

use serde_json::Value;

use super::support::s3_double::Action;
use super::support::s3_double::S3Double;
use super::support::volume::NAME;
use super::support::volume::TestVolume;

const DELETE: [&str; 5] = ["volume", "delete", NAME, "--yes", NAME];
const AUDIT: [&str; 3] = ["audit", NAME, "--json"];
const DENIED: &str = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
const ENABLED: &str = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";

fn report(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn keys_that_may_not_see_versions_neither_pass_an_audit_nor_delete_the_volume() {
    let double = S3Double::start();
    let volume = TestVolume::amazon(&double);
    volume.create(&["--sse"]);
    double.say("versions", 403, DENIED);
    let before = double.keys();
    // The bucket may keep versions for all that anybody knows; then it says that it does.
    for (status, versioning) in [(403, DENIED), (200, ENABLED)] {
        double.say("versioning", status, versioning);
        let ended = volume.call("cairnfs", &AUDIT);
        assert_eq!(ended.code, Some(3), "{}{}", ended.stdout, ended.stderr);
        let told = report(&ended.stdout);
        assert!(told["scope"]["versions"]["denied"].is_string(), "{told:#}");
        assert!(told["faults"][0].as_str().unwrap().contains("versions"), "{told:#}");
        double.forget();
        let ended = volume.call("cairnfs", &DELETE);
        assert_eq!(ended.code, Some(1), "{}{}", ended.stdout, ended.stderr);
        assert!(ended.stderr.contains("s3:ListBucketVersions"), "{}", ended.stderr);
        assert_eq!(double.keys(), before);
        let deletes = [Action::DeleteObject, Action::DeleteObjects].map(|each| double.count(each));
        assert_eq!(deletes, [0, 0], "no delete marker either");
    }
    double.say("versioning", 403, DENIED);
    let faults = report(&volume.call("cairnfs", &AUDIT).stdout)["faults"].to_string();
    assert!(faults.contains("s3:ListBucketVersions"), "{faults}");
    // A store without versions has none to hide.
    double.say("versions", 501, "<Error><Code>NotImplemented</Code></Error>");
    let said = volume.call("cairnfs", &DELETE).expect_success("volume delete").stderr;
    for words in ["whether old versions are", "whether unfinished uploads stay is not told"] {
        assert!(said.contains(words), "{said}");
    }
    assert!(double.keys().is_empty(), "{:?}", double.keys());
}

#[test]
fn versions_that_may_not_be_listed_are_none_where_versioning_is_off() {
    let double = S3Double::start();
    let volume = TestVolume::amazon(&double);
    volume.create(&["--sse"]);
    double.say("versions", 403, DENIED);
    double.say("versioning", 200, "<VersioningConfiguration/>");
    let ended = volume.call("cairnfs", &AUDIT);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let notes = report(&ended.stdout)["notes"].to_string();
    assert!(notes.contains("superseded versions is not told"), "{notes}");
    let page = |more: bool, name: &str| {
        format!(
            "<ListMultipartUploadsResult><IsTruncated>{more}</IsTruncated>\
             <NextKeyMarker>cairn/{name}</NextKeyMarker><Upload><Key>cairn/{name}</Key>\
             <UploadId>1</UploadId></Upload></ListMultipartUploadsResult>"
        )
    };
    double.say("uploads", 200, &page(true, "one"));
    double.say("key-marker", 200, &page(false, "two"));
    let said = volume.call("cairnfs", &DELETE).expect_success("volume delete").stderr;
    for words in ["versioning is off", "stays: one", "stays: two"] {
        assert!(said.contains(words), "{said}");
    }
    assert!(double.keys().is_empty(), "{:?}", double.keys());
}

#[test]
fn names_that_no_volume_gives_are_told_and_never_taken_for_others() {
    let double = S3Double::start();
    let volume = TestVolume::amazon(&double);
    volume.create(&["--sse"]);
    assert_eq!(volume.call("cairnfs", &AUDIT).code, Some(0));
    let forged = "cairn/x\n\npassed: every object\u{1b}[2K";
    for (key, bytes) in [
        ("cairn/meta/db//x", "plain"),
        ("cairn/secret/", "plain"),
        ("cairn/folder/", ""),
        (forged, "plain"),
    ] {
        double.plant(key, bytes.as_bytes());
    }
    let ended = volume.call("cairnfs", &AUDIT);
    assert_eq!(ended.code, Some(3), "{}{}", ended.stdout, ended.stderr);
    let told = report(&ended.stdout);
    let found = |name: &str| {
        let rows = told["offenders"].as_array().unwrap();
        rows.iter().find(|row| row["name"] == name).map(|row| row["verdict"].clone())
    };
    assert_eq!(found("meta/db//x").unwrap(), "unknown", "{told:#}");
    assert_eq!(found("secret/").unwrap(), "falls-short", "{told:#}");
    assert_eq!(found(&forged["cairn/".len()..]).unwrap(), "unknown", "{told:#}");
    assert_eq!(found("folder/"), None);

    let text = volume.call("cairnfs", &["audit", NAME]).stdout;
    assert!(!text.contains('\u{1b}'), "{text}");
    assert!(text.lines().all(|line| !line.starts_with("passed")), "{text}");
    assert!(text.contains(r"x\n\npassed"), "{text}");

    let said = volume.call("cairnfs", &DELETE).expect_success("volume delete").stderr;
    assert!(said.contains("stays: meta/db//x"), "{said}");
    assert!(!said.contains("nothing of it is left"), "{said}");
    let left = [forged, "cairn/folder/", "cairn/meta/db//x", "cairn/secret/"];
    let mut left = left.map(str::to_owned).to_vec();
    left.sort();
    assert_eq!(double.keys(), left);
}

#[test]
fn a_bucket_that_its_acl_opens_fails_an_audit() {
    let double = S3Double::start();
    let volume = TestVolume::amazon(&double);
    volume.create(&["--sse"]);
    let group = "http://acs.amazonaws.com/groups/global/AllUsers";
    double.say(
        "acl",
        200,
        &format!(
            "<AccessControlPolicy><AccessControlList><Grant><Grantee><URI>{group}</URI></Grantee>\
             <Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>"
        ),
    );
    let ended = volume.call("cairnfs", &AUDIT);
    assert_eq!(ended.code, Some(3), "{}{}", ended.stdout, ended.stderr);
    let told = report(&ended.stdout);
    assert_eq!(told["faults"], serde_json::json!(["the bucket's ACL lets everybody in"]));
    // Its other answers are lists, which say nothing of what was asked.
    assert!(told["bucket"]["versioning"]["no"].is_string(), "{told:#}");
}
