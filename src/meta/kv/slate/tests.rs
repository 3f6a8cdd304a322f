//! The adapter and the engine on buckets whose faults are known.

use std::path::Path as Directory;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::DateTime;
use chrono::TimeDelta;
use futures::TryStreamExt;
use object_store::Attribute;
use object_store::Attributes;
use object_store::Error as StoreError;
use object_store::GetOptions;
use object_store::GetRange;
use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::PutMode;
use object_store::PutMultipartOptions;
use object_store::PutOptions;
use object_store::UpdateVersion;
use object_store::path::Path;

use super::Clock;
use super::Engine;
use super::Names;
use super::SlateEngine;
use super::SlateOptions;
use super::SlateReader;
use super::Store;
use super::Verdict;
use crate::ambient;
use crate::config::Credentials;
use crate::config::Fencing;
use crate::config::SseVerify;
use crate::config::VolumeConfig;
use crate::error::Kind;
use crate::object::Bucket;
use crate::object::MemoryStore;
use crate::object::Policy;
use crate::object::name::ENGINE_PREFIX;
use crate::provider::ConditionalCreate;
use crate::provider::Provider;
use crate::provider::Service;
use crate::provider::SseMode;

const DEADLINE: Duration = Duration::from_secs(60);

/// A bucket over objects in memory.
pub(crate) fn memory() -> Bucket {
    in_memory(&MemoryStore::default())
}

fn in_memory(store: &MemoryStore) -> Bucket {
    Bucket::memory(store, Some(Policy { mode: SseMode::None, verify: SseVerify::Warn }))
}

/// A bucket in a directory.
pub(crate) fn local(directory: &Directory) -> Bucket {
    let row = Provider {
        name: "local".into(),
        service: Service::Fs,
        conditional_create: ConditionalCreate::HardLink,
        conditional_update: false,
        ..memory().provider().clone()
    };
    let volume = VolumeConfig {
        name: "test".into(),
        provider: Arc::new(row),
        bucket: String::new(),
        prefix: String::new(),
        path: Some(directory.to_owned()),
        endpoint: None,
        region: None,
        account: None,
        plain_http: false,
        credentials: Credentials::Chain,
        sse: None,
        sse_verify: None,
        fencing: Fencing::Auto,
        mount: crate::config::MountConfig::default(),
    };
    let policy = Policy { mode: SseMode::None, verify: SseVerify::Warn };
    Bucket::open(&volume, Some(policy)).unwrap()
}

fn store(bucket: &Bucket) -> Store {
    Store::new(bucket.clone(), Names::Plain, Arc::new(Verdict::new()))
}

fn at(name: &str) -> Path {
    Path::from(format!("{ENGINE_PREFIX}{name}"))
}

async fn open(bucket: &Bucket) -> SlateEngine {
    SlateEngine::open(bucket.clone(), SlateOptions::default(), DEADLINE).await.unwrap()
}

async fn open_ahead_by(bucket: &Bucket, ahead: TimeDelta) -> SlateEngine {
    let clock = Clock::showing(DateTime::from(ambient::system_time()) + ahead);
    let options = SlateOptions::default();
    SlateEngine::open_with_clock(bucket.clone(), Names::Plain, options, clock).await.unwrap()
}

fn change(key: &'static str, value: &'static str) -> (Bytes, Option<Bytes>) {
    (Bytes::from(key), Some(Bytes::from(value)))
}

async fn names(bucket: &Bucket) -> Vec<(String, u64)> {
    let found: Vec<_> = bucket.list(ENGINE_PREFIX).try_collect().await.unwrap();
    let mut names: Vec<_> = found.into_iter().map(|meta| (meta.name, meta.size)).collect();
    names.sort();
    names
}

async fn check_creation(bucket: &Bucket) {
    let store = store(bucket);
    let location = at("wal/1.sst");
    let contenders = (0..8u8).map(|number| {
        let (store, location) = (store.clone(), location.clone());
        tokio::spawn(async move {
            store.put_opts(&location, vec![number; 4096].into(), PutMode::Create.into()).await
        })
    });
    let mut winners = Vec::new();
    for (number, contender) in contenders.collect::<Vec<_>>().into_iter().enumerate() {
        match contender.await.unwrap() {
            Ok(_) => winners.push(number),
            Err(error) => assert!(matches!(error, StoreError::AlreadyExists { .. }), "{error}"),
        }
    }
    let body = store.get(&location).await.unwrap().bytes().await.unwrap();
    assert_eq!(winners, vec![usize::from(body[0])]);
    assert!(body.iter().all(|byte| *byte == body[0]) && body.len() == 4096);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_creators_wins() {
    check_creation(&memory()).await;
    let directory = tempfile::tempdir().unwrap();
    check_creation(&local(directory.path())).await;
}

#[tokio::test]
async fn attributes_tell_whose_object_it_is_where_the_store_keeps_them() {
    let bucket = memory();
    let store = store(&bucket);
    let mine = (Attribute::Metadata("slatedbputid".into()), "01J");
    let options = PutOptions {
        mode: PutMode::Create,
        attributes: Attributes::from_iter([mine.clone()]),
        ..PutOptions::default()
    };
    store.put_opts(&at("wal/1.sst"), "body".into(), options).await.unwrap();
    let head = GetOptions::default().with_head(true);
    let got = store.get_opts(&at("wal/1.sst"), head).await.unwrap();
    assert_eq!(got.meta.size, 4);
    let kept = got.attributes.get(&mine.0).map(AsRef::as_ref);
    assert!(matches!(kept, None | Some("01J")));
}

#[tokio::test]
async fn a_known_version_is_not_sent_again_and_a_stale_one_is_not_replaced() {
    let bucket = memory();
    if !bucket.provider().conditional_update {
        return;
    }
    let (store, location) = (store(&bucket), at("gc/manifest.boundary"));
    let first = store.put(&location, "1".into()).await.unwrap();
    let unless = GetOptions::default().with_if_none_match(first.e_tag.clone());
    let known = store.get_opts(&location, unless.clone()).await.unwrap_err();
    assert!(matches!(known, StoreError::NotModified { .. }), "{known}");

    let update = |version: &object_store::PutResult| {
        PutMode::Update(UpdateVersion {
            e_tag: version.e_tag.clone(),
            version: version.version.clone(),
        })
    };
    store.put_opts(&location, "2".into(), update(&first).into()).await.unwrap();
    let stale = store.put_opts(&location, "3".into(), update(&first).into()).await.unwrap_err();
    assert!(matches!(stale, StoreError::Precondition { .. }), "{stale}");
    let body = store.get_opts(&location, unless).await.unwrap().bytes().await.unwrap();
    assert_eq!(body, "2");
}

async fn check_ranges(bucket: &Bucket) {
    let (store, location) = (store(bucket), at("compacted/1.sst"));
    store.put(&location, "0123456789".into()).await.unwrap();
    let cases = [
        (GetRange::Bounded(2..5), "234", 2..5),
        (GetRange::Suffix(99), "0123456789", 0..10),
        (GetRange::Offset(6), "6789", 6..10),
        (GetRange::Suffix(3), "789", 7..10),
    ];
    for (range, expected, covered) in cases {
        let options = GetOptions::default().with_range(Some(range));
        let got = store.get_opts(&location, options).await.unwrap();
        assert_eq!((got.range.clone(), got.meta.size), (covered, 10));
        assert_eq!(got.bytes().await.unwrap(), expected);
    }
    let absent = store.get(&at("compacted/2.sst")).await.unwrap_err();
    assert!(matches!(absent, StoreError::NotFound { .. }), "{absent}");
}

#[tokio::test]
async fn ranges_and_absences_are_answered() {
    check_ranges(&memory()).await;
    let directory = tempfile::tempdir().unwrap();
    check_ranges(&local(directory.path())).await;
}

#[tokio::test]
async fn an_upload_in_parts_is_one_put() {
    let bucket = memory();
    let (store, location) = (store(&bucket), at("compacted/1.sst"));
    let before = bucket.counts().put;
    let options = PutMultipartOptions::default();
    let mut upload = store.put_multipart_opts(&location, options.clone()).await.unwrap();
    for part in ["one ", "two ", "three"] {
        upload.put_part(part.into()).await.unwrap();
    }
    assert!(matches!(store.get(&location).await, Err(StoreError::NotFound { .. })));
    upload.complete().await.unwrap();
    let mut dropped = store.put_multipart_opts(&at("compacted/2.sst"), options).await.unwrap();
    dropped.put_part("never".into()).await.unwrap();
    dropped.abort().await.unwrap();
    assert_eq!(bucket.counts().put - before, 1);
    assert_eq!(store.get(&location).await.unwrap().bytes().await.unwrap(), "one two three");
}

async fn check_listing(bucket: &Bucket) {
    let store = store(bucket);
    for name in ["wal/1.sst", "wal/2.sst", "walnut/1.sst", "manifest/1.manifest"] {
        store.put(&at(name), "x".into()).await.unwrap();
    }
    let mut found: Vec<_> = store.list(Some(&at("wal"))).try_collect().await.unwrap();
    found.sort_by(|one, other| one.location.cmp(&other.location));
    let names: Vec<_> = found.iter().map(|meta| meta.location.clone()).collect();
    assert_eq!(names, [at("wal/1.sst"), at("wal/2.sst")]);
    let now: Vec<_> = found.iter().map(|meta| meta.last_modified.timestamp()).collect();
    assert!(now.iter().all(|seconds| *seconds > 1_600_000_000), "{now:?}");
    store.delete(&at("wal/1.sst")).await.unwrap();
    store.delete(&at("wal/1.sst")).await.unwrap();
    assert_eq!(store.list(Some(&at("wal"))).try_collect::<Vec<_>>().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_listing_names_objects_only_and_none_is_of_1970() {
    check_listing(&memory()).await;
    let directory = tempfile::tempdir().unwrap();
    check_listing(&local(directory.path())).await;
}

#[tokio::test]
async fn a_commit_is_one_put() {
    let bucket = memory();
    let engine = open(&bucket).await;
    engine.commit(vec![change("a", "1")]).await.unwrap();
    let before = bucket.counts();
    for _ in 0..10 {
        engine.commit(vec![change("a", "2"), change("b", "2")]).await.unwrap();
    }
    assert_eq!(bucket.counts().put - before.put, 10);
}

#[tokio::test]
async fn a_machine_whose_clock_is_behind_writes_after_another() {
    let bucket = memory();
    // As after a crash, and as after a clean stop.
    let crashed = open_ahead_by(&bucket, TimeDelta::hours(2)).await;
    crashed.commit(vec![change("s", "1"), change("a", "1")]).await.unwrap();
    drop(crashed);
    let stopped = open_ahead_by(&bucket, TimeDelta::hours(1)).await;
    stopped.commit(vec![change("s", "2"), change("a", "2")]).await.unwrap();
    stopped.close(DEADLINE).await.unwrap();

    let engine = open(&bucket).await;
    let begun = ambient::instant();
    engine.commit(vec![change("s", "3"), change("a", "3")]).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "SlateDB waited for the clock");
    assert_eq!(engine.get(b"a").await.unwrap(), Some(Bytes::from("3")));
    engine.close(DEADLINE).await.unwrap();
    let again = open_ahead_by(&bucket, TimeDelta::hours(-1)).await;
    again.commit(vec![change("s", "4")]).await.unwrap();
    again.health().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_notices_that_it_was_fenced() {
    let bucket = memory();
    let first = open(&bucket).await;
    first.health().unwrap();
    let _second = open(&bucket).await;
    let mut status = first.status.clone();
    status.wait_for(|status| status.close_reason.is_some()).await.unwrap();
    assert_eq!(first.health().unwrap_err().kind(), Kind::Fenced);
}

#[tokio::test]
async fn a_reader_sees_what_is_durable_and_writes_nothing() {
    let bucket = memory();
    let missing = SlateReader::open(bucket.clone()).await.err().unwrap();
    assert_eq!(missing.kind(), Kind::NotFound);
    let engine = open(&bucket).await;
    engine.commit(vec![change("a", "1"), change("b", "2")]).await.unwrap();

    let (before, puts) = (names(&bucket).await, bucket.counts().put);
    let reader = SlateReader::open(bucket.clone()).await.unwrap();
    assert_eq!(reader.get(b"a").await.unwrap(), Some(Bytes::from("1")));
    let all = reader.scan(Bytes::from("a")..Bytes::from("z"), 9).await.unwrap();
    assert_eq!(all.len(), 2);
    let refused = reader.commit(vec![change("c", "3")]).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::ReadOnly);
    reader.health().unwrap();
    reader.close(DEADLINE).await.unwrap();
    assert_eq!((names(&bucket).await, bucket.counts().put), (before, puts));
    engine.commit(vec![change("c", "3")]).await.unwrap();
}
