//! Buckets against the recording double: what is on the wire, and what is made of the answers.

use std::time::Duration;

use futures::TryStreamExt;
use http::Method;

use super::double::Double;
use super::double::Manner;
use super::*;
use crate::config::KeyPair;
use crate::config::Secret;
use crate::config::SseVerify;
use crate::config::VolumeConfig;
use crate::provider::SseMode;

pub(super) fn keys() -> KeyPair {
    KeyPair {
        access_key_id: "key".to_owned(),
        secret_access_key: Secret::new("secret".to_owned()),
        session_token: None,
        expires: None,
    }
}

pub(super) fn volume(row: Provider, endpoint: String) -> VolumeConfig {
    VolumeConfig { endpoint: Some(endpoint), ..rows::volume(row) }
}

pub(super) fn bucket(double: &Double, policy: Option<Policy>) -> Bucket {
    let volume = volume(rows::minio(), format!("http://{}", double.address));
    Bucket::open_with(&volume, policy, Some(&keys())).unwrap()
}

pub(super) fn encrypting(double: &Double) -> Bucket {
    bucket(double, Some(rows::policy(SseMode::Aes256)))
}

#[tokio::test]
async fn the_header_is_on_every_write_and_on_nothing_else() {
    let double = Double::start(Manner::Amazon).await;
    let bucket = encrypting(&double);
    let put = bucket.put("a/b", "one".into()).await.unwrap();
    let confirmed = Posture::Confirmed { mode: "AES256".to_owned(), key: None };
    assert_eq!(put.posture, confirmed);
    // Far beyond what OpenDAL would make a multipart upload of when streaming.
    bucket.put("big", vec![7; 9 << 20].into()).await.unwrap();
    let created = bucket.create("a/c", "two".into(), &[]).await.unwrap();
    let exists = bucket.create("a/c", "three".into(), &[]).await.unwrap_err();
    assert_eq!(exists.kind(), Kind::Exists);
    assert!(exists.to_string().contains("bucket/some/prefix/a/c"), "{exists}");
    let tag = created.tag.unwrap();
    assert!(bucket.get("a/c", None, Some(&tag)).await.unwrap().is_none());
    bucket.update("a/c", "four".into(), &tag, &[]).await.unwrap();
    let stale = bucket.update("a/c", "five".into(), &tag, &[]).await.unwrap_err();
    assert_eq!(stale.kind(), Kind::Conflict);
    let got = bucket.get("a/b", Some(1..3), None).await.unwrap().unwrap();
    assert_eq!((&got.body[..], got.meta.size), (&b"ne"[..], 3));
    let short = bucket.get("a/b", Some(1..9), None).await.unwrap_err();
    assert_eq!(short.kind(), Kind::Corrupt);
    assert_eq!(bucket.posture("a/b").await.unwrap(), confirmed);
    let listed: Vec<_> = bucket.list("a/").try_collect().await.unwrap();
    let names: Vec<_> = listed.iter().map(|object| object.name.as_str()).collect();
    assert_eq!(names, ["a/b", "a/c"]);
    assert!(listed[0].modified.is_some());
    bucket.delete(&["a/b", "a/c", "big"].map(str::to_owned)).await.unwrap();
    assert_eq!(bucket.head("a/b").await.unwrap_err().kind(), Kind::NotFound);

    let records = double.records();
    for record in &records {
        let expected = (record.method == Method::PUT).then_some("AES256");
        assert_eq!(record.sse.as_deref(), expected, "{record:?}");
        assert!(!record.target.contains("uploadId"), "{record:?}");
    }
    let puts = records.iter().filter(|record| record.method == Method::PUT).count() as u64;
    let counts = bucket.counts();
    assert_eq!((counts.put, counts.confirmed, counts.unconfirmed), (puts, 4, 0));
    assert!(counts.bytes_sent > 9 << 20 && counts.bytes_received >= 2);
}

#[tokio::test]
async fn attributes_are_kept_with_the_object() {
    let double = Double::start(Manner::Amazon).await;
    let bucket = encrypting(&double);
    let mine = [("put-id".to_owned(), "01ARZ".to_owned())];
    bucket.create("a", "1".into(), &mine).await.unwrap();
    assert_eq!(bucket.head("a").await.unwrap().attributes, mine);
}

#[tokio::test]
async fn a_store_that_ignores_the_header_is_found_out() {
    let double = Double::start(Manner::Ignores).await;
    let bucket = encrypting(&double);
    let error = bucket.put("a", "1".into()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Policy);
    assert!(error.to_string().contains("bucket/some/prefix/a"), "{error}");
    let methods: Vec<_> = double.records().into_iter().map(|record| record.method).collect();
    assert_eq!(methods, [Method::PUT, Method::HEAD]);
    assert_eq!(bucket.counts().first_unconfirmed.as_deref(), Some("a"));

    let warn = Policy { mode: SseMode::Aes256, verify: SseVerify::Warn };
    let put = self::bucket(&double, Some(warn)).put("a", "1".into()).await.unwrap();
    assert_eq!(put.posture, Posture::Unconfirmed);
    let probed = bucket.probe("1").await.unwrap_err();
    assert_eq!(probed.kind(), Kind::Policy);
}

#[tokio::test]
async fn a_head_may_confirm_what_the_write_did_not() {
    let double = Double::start(Manner::ConfirmsByHead).await;
    let put = encrypting(&double).put("a", "1".into()).await.unwrap();
    assert_eq!(put.posture, Posture::Confirmed { mode: "AES256".to_owned(), key: None });
    // Nothing asked, nothing proved: no HEAD is spent on it.
    let plain = bucket(&double, Some(rows::policy(SseMode::None)));
    assert_eq!(plain.put("b", "1".into()).await.unwrap().posture, Posture::Absent);
    assert_eq!(double.records().len(), 3);
}

#[tokio::test]
async fn a_refusal_ends_the_probe_with_one_clear_error_and_without_retries() {
    for (status, code, words) in
        [(501, "NotImplemented", "has no key service"), (500, "InternalError", "without a key")]
    {
        let double = Double::start(Manner::Refuses(status, code)).await;
        let error = encrypting(&double).probe("1").await.unwrap_err();
        assert_eq!(error.kind(), Kind::Policy);
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.hint_text().is_some());
        let puts = double.records().iter().filter(|r| r.method == Method::PUT).count();
        assert_eq!(puts, 1);
    }
}

#[tokio::test]
async fn a_server_error_after_the_probe_is_passing_trouble() {
    let double = Double::start(Manner::Amazon).await;
    let bucket = encrypting(&double);
    bucket.probe("1").await.unwrap();
    double.behave(Manner::Refuses(500, "InternalError"));
    let error = bucket.put("a", "1".into()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(bucket.state().away_since.is_some());
    double.behave(Manner::Amazon);
    bucket.put("a", "1".into()).await.unwrap();
    assert_eq!(bucket.state().away_since, None);
}

#[tokio::test]
async fn what_is_wrong_with_the_config_is_said_by_the_probe() {
    for (status, code, words) in [
        (404, "NoSuchBucket", "the bucket does not exist"),
        (403, "InvalidAccessKeyId", "does not know the access key"),
        (403, "SignatureDoesNotMatch", "the secret does not belong"),
        (403, "RequestTimeTooSkewed", "clock"),
        (403, "AccessDenied", "the keys do not permit it"),
    ] {
        let double = Double::start(Manner::Refuses(status, code)).await;
        let error = encrypting(&double).probe("1").await.unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.hint_text().is_some());
    }
}

#[tokio::test]
async fn a_redirection_is_not_followed_wherever_it_leads() {
    let elsewhere = Double::start(Manner::Amazon).await;
    for status in [301, 302, 303, 307, 308] {
        let double = Double::start(Manner::Redirects(status, elsewhere.address)).await;
        for bucket in [encrypting(&double), bucket(&double, Some(rows::policy(SseMode::None)))] {
            for error in [
                bucket.put("a", "1".into()).await.map(|_| ()).unwrap_err(),
                bucket.put("a", "".into()).await.map(|_| ()).unwrap_err(),
                bucket.get("a", None, None).await.map(|_| ()).unwrap_err(),
                bucket.head("a").await.map(|_| ()).unwrap_err(),
                bucket.delete(&["a".to_owned()]).await.unwrap_err(),
            ] {
                assert_eq!(error.kind(), Kind::Denied, "{status}: {error}");
                assert!(error.to_string().contains("somewhere else"), "{status}: {error}");
            }
        }
    }
    assert!(elsewhere.records().is_empty(), "{:?}", elsewhere.records());
}

#[tokio::test]
async fn what_a_create_finds_in_its_place_is_not_taken_for_stored_without_a_proof() {
    let double = Double::start(Manner::Ignores).await;
    // Its answer is lost: a try that the store applied, and another one.
    let plain = bucket(&double, Some(rows::policy(SseMode::None)));
    plain.create("a", "1".into(), &[]).await.unwrap();
    let error = encrypting(&double).create("a", "1".into(), &[]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Policy, "{error}");
    let error = plain.create("a", "1".into(), &[]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Exists, "{error}");
}

#[tokio::test]
async fn a_customers_key_goes_nowhere_where_the_row_forbids_it() {
    let double = Double::start(Manner::Amazon).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    std::fs::write(&path, [7; 32]).unwrap();
    let mode = SseMode::CustomerKeyFile(path);
    for (row, endpoint) in [("minio", "http://store.example"), ("garage", "http://h"), ("gcs", "")]
    {
        let at = if endpoint.is_empty() {
            format!("http://{}", double.address)
        } else {
            endpoint.into()
        };
        let volume = VolumeConfig {
            plain_http: true,
            sse: Some(mode.clone()),
            ..volume(rows::row(row), at)
        };
        let refused = Bucket::open_with(&volume, None, Some(&keys())).map(|_| ()).unwrap_err();
        assert!(matches!(refused.kind(), Kind::Policy | Kind::Config), "{row}: {refused}");
    }
    assert!(double.records().is_empty());
}

#[tokio::test]
async fn an_endpoint_where_nobody_listens_is_said_within_five_seconds() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let policy = Some(rows::policy(SseMode::Aes256));
    let volume = volume(rows::minio(), format!("http://{port}"));
    let bucket = Bucket::open_with(&volume, policy, Some(&keys())).unwrap();
    let probed = tokio::time::timeout(Duration::from_secs(5), bucket.probe("1")).await.unwrap();
    let error = probed.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("cannot be reached"), "{error}");
    assert_eq!(error.hint_text(), Some("check `endpoint`; nothing listens there"));
}

#[tokio::test]
async fn without_a_policy_nothing_reaches_the_wire() {
    let double = Double::start(Manner::Amazon).await;
    let reader = bucket(&double, None);
    assert_eq!(reader.put("a", "1".into()).await.unwrap_err().kind(), Kind::Policy);
    let Store::Wire(wire) = &reader.store else { panic!("S3 is behind OpenDAL") };
    // Also what goes around `Bucket`, straight to the operator.
    let error = wire.operator.write("a", "1").await.unwrap_err();
    assert!(error.to_string().contains("may only read"), "{error}");
    assert!(wire.operator.delete("a").await.is_err());
    assert!(double.records().is_empty());
}

#[tokio::test]
async fn an_operator_that_would_stream_in_parts_is_stopped() {
    let double = Double::start(Manner::Amazon).await;
    let Store::Wire(wire) = encrypting(&double).store else { panic!("S3 is behind OpenDAL") };
    let written = wire.operator.write_with("a", vec![0_u8; 11 << 20]).chunk(5 << 20).await;
    assert!(written.unwrap_err().to_string().contains("in parts"));
    assert!(double.records().iter().all(|record| record.method == Method::DELETE));
}

#[tokio::test]
async fn a_store_without_exclusive_create_is_never_asked_for_it() {
    let double = Double::start(Manner::Amazon).await;
    let volume = volume(rows::gcs_compat(), format!("http://{}", double.address));
    let policy = Some(rows::policy(SseMode::Aes256));
    let bucket = Bucket::open_with(&volume, policy, Some(&keys())).unwrap();
    let error = bucket.create("a", "1".into(), &[]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(double.records().is_empty());
    bucket.put("a", "1".into()).await.unwrap();
    // One by one: this row has no batches.
    bucket.delete(&["a", "b"].map(str::to_owned)).await.unwrap();
    let deletes = double.records().iter().filter(|r| r.method == Method::DELETE).count();
    assert_eq!(deletes, 2);
}
