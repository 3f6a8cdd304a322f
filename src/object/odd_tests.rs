//! Buckets and questions about them against a double that answers oddly: refusals, half answers,
//! answers to other questions, names that nobody may take for others.

use futures::StreamExt;
use futures::TryStreamExt;

use super::double::Double;
use super::double::Manner;
use super::wire_tests::bucket;
use super::wire_tests::encrypting;
use super::wire_tests::keys;
use super::wire_tests::volume;
use super::*;
use crate::config::VolumeConfig;
use crate::provider::SseMode;

const DENIED: &str = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>";
const FAILED: &str = "<Error><Code>InternalError</Code><Message>soon</Message></Error>";
const LISTING: &str = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
/// It says that there are more, and not where they begin.
const TRUNCATED: &str = "<ListBucketResult><IsTruncated>true</IsTruncated><Contents>\
    <Key>some/prefix/a</Key><Size>1</Size><LastModified>2025-11-01T10:00:00.000Z</LastModified>\
    </Contents></ListBucketResult>";
/// Whatever page is asked for.
const SAME_PAGE: &str = "<ListBucketResult><IsTruncated>true</IsTruncated>\
    <NextContinuationToken>t</NextContinuationToken><Contents>\
    <Key>some/prefix/a</Key><Size>1</Size><LastModified>2025-11-01T10:00:00.000Z</LastModified>\
    </Contents></ListBucketResult>";
const UPLOADS: &str = "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated>\
    <NextKeyMarker>some/prefix/a</NextKeyMarker><NextUploadIdMarker>1</NextUploadIdMarker>\
    <Upload><Key>some/prefix/a</Key><UploadId>1</UploadId></Upload></ListMultipartUploadsResult>";
const OPEN: &str = "<AccessControlPolicy><AccessControlList><Grant><Grantee>\
    <URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee></Grant>\
    </AccessControlList></AccessControlPolicy>";
const ON: &str = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";

async fn saying(scripts: &'static [(&'static str, u16, &'static str)]) -> Double {
    Double::start(Manner::Says(scripts)).await
}

fn inspector(double: &Double) -> Inspector {
    let volume = volume(rows::minio(), format!("http://{}", double.address));
    Inspector::open(&volume).unwrap().unwrap().under(keys())
}

#[tokio::test]
async fn a_refusal_to_list_versions_is_told_from_a_store_without_them() {
    for (script, denied) in [
        (&[("versions", 403, DENIED)], true),
        (&[("versions", 501, "<Error><Code>NotImplemented</Code></Error>")], false),
        (&[("versions", 400, "<Error><Code>InvalidArgument</Code></Error>")], false),
        (&[("versions", 200, LISTING)], false),
        (&[("versions", 200, TRUNCATED)], false),
    ] {
        let told = bucket(&saying(script).await, None).tells_versions().await.unwrap();
        assert_eq!(matches!(told, Told::Denied(_)), denied, "{script:?}: {told:?}");
        assert_eq!(matches!(told, Told::No(_)), !denied, "{script:?}: {told:?}");
    }
}

#[tokio::test]
async fn a_listing_that_cannot_go_on_ends_with_what_to_do() {
    for script in [&[("list-type=2", 200, TRUNCATED)], &[("list-type=2", 200, SAME_PAGE)]] {
        let bucket = encrypting(&saying(script).await);
        let error = bucket.list("").try_collect::<Vec<_>>().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{error}");
        assert!(error.hint_text().unwrap().contains("list = \"v1\""), "{error}");
    }
}

#[tokio::test]
async fn an_error_that_comes_with_200_is_one() {
    let double = saying(&[("delete", 200, FAILED), ("list-type=2", 200, FAILED)]).await;
    let bucket = encrypting(&double);
    let error = bucket.delete(&["a", "b"].map(str::to_owned)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    assert!(error.to_string().contains("InternalError"), "{error}");
    assert!(double.records().len() > 1, "it is tried again");
    let error = bucket.list("").try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
}

#[tokio::test]
async fn a_name_that_a_request_would_change_is_listed_and_not_asked_about() {
    let double = Double::start(Manner::Amazon).await;
    let bucket = encrypting(&double);
    bucket.put("blocks/x", "one".into()).await.unwrap();
    for (key, body) in [
        ("some/prefix/blocks//x", "plain"),
        ("some/prefix/blocks/x ", "plain"),
        ("some/prefix/secret/", "plain"),
        ("some/prefix/folder/", ""),
        ("some/prefix/", ""),
    ] {
        double.plant(key, body);
    }
    let versions = Told::No(String::new());
    let mut found = Vec::new();
    let mut listing = bucket.list_all("", &versions);
    while let Some(version) = listing.next().await {
        let meta = version.unwrap().meta;
        let posture = bucket.examine(&meta.name, None).await.map(|examined| examined.posture);
        found.push((meta.name, meta.size, posture.map_err(|error| error.kind())));
    }
    let confirmed = Posture::Confirmed { mode: "AES256".to_owned(), key: None };
    let expected = [
        ("blocks//x", 5, Err(Kind::Invalid)),
        ("blocks/x", 3, Ok(confirmed)),
        ("blocks/x ", 5, Err(Kind::Invalid)),
        ("secret/", 5, Ok(Posture::Unconfirmed)),
    ];
    assert_eq!(found, expected.map(|(name, size, told)| (name.to_owned(), size, told)));
    let listed: Vec<_> = bucket.list("").map_ok(|object| object.name).try_collect().await.unwrap();
    assert_eq!(listed, ["blocks//x", "blocks/x", "blocks/x "]);
}

#[tokio::test]
async fn a_first_slash_is_not_lost_in_a_bucket_without_a_prefix() {
    let double = Double::start(Manner::Amazon).await;
    let whole = VolumeConfig {
        prefix: String::new(),
        ..volume(rows::minio(), format!("http://{}", double.address))
    };
    let bucket = Bucket::open_with(&whole, None, Some(&keys())).unwrap();
    double.plant("/x", "plain");
    let versions = Told::No(String::new());
    let found: Vec<_> = bucket
        .list_all("", &versions)
        .map_ok(|version| version.meta.name)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(found, ["/x"]);
    assert_eq!(bucket.examine("/x", None).await.unwrap_err().kind(), Kind::Invalid);
}

#[tokio::test]
async fn a_fact_is_told_only_by_the_answer_to_its_question() {
    let facts = inspector(&saying(&[("=", 200, LISTING)]).await).facts(&SseMode::Aes256).await;
    for why in [
        facts.versioning.why(),
        facts.object_lock.why(),
        facts.public.why(),
        facts.public_acl.why(),
        facts.public_access_blocked.why(),
        facts.denies_unencrypted.why(),
    ] {
        assert!(why.is_some(), "{facts:?}");
    }
    let facts = inspector(&saying(&[("acl=", 200, OPEN), ("=", 403, DENIED)]).await);
    let facts = facts.facts(&SseMode::Aes256).await;
    assert_eq!(facts.public_acl, Told::Yes(true));
    assert!(matches!(facts.versioning, Told::Denied(_)), "{facts:?}");
    assert!(matches!(facts.denies_plain_http, Told::Denied(_)), "{facts:?}");
}

#[tokio::test]
async fn a_question_is_asked_again_after_passing_trouble() {
    let double = saying(&[("versioning=", 503, FAILED)]).await;
    let inspector = inspector(&double);
    let recovers = async {
        while double.records().is_empty() {
            tokio::task::yield_now().await;
        }
        double.behave(Manner::Says(&[("versioning=", 200, ON)]));
    };
    let (told, ()) = tokio::join!(inspector.versioning(), recovers);
    assert_eq!(told, Told::Yes("enabled".to_owned()));
}

#[tokio::test]
async fn a_list_of_uploads_that_does_not_go_on_is_not_told() {
    let inspector = inspector(&saying(&[("uploads=", 200, UPLOADS)]).await);
    let (uploads, next) = inspector.uploads(None).await.unwrap();
    assert_eq!(uploads.len(), 1);
    let error = inspector.uploads(next.as_ref()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
}
