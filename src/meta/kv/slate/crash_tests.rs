//! The engine on a store that dies, goes away, loses answers or stops confirming encryption.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::Engine;
use super::SlateEngine;
use super::SlateOptions;
use crate::config::SseVerify;
use crate::error::Kind;
use crate::object::Bucket;
use crate::object::MemoryStore;
use crate::object::Policy;
use crate::object::fault::FaultControl;
use crate::object::fault::Faults;
use crate::provider::SseMode;

const DEADLINE: Duration = Duration::from_secs(60);

fn bucket(store: &MemoryStore, faults: Faults) -> (Bucket, FaultControl) {
    let policy = Policy { mode: SseMode::Aes256, verify: SseVerify::Strict };
    Bucket::memory(store, Some(policy)).with_faults(faults)
}

async fn open(bucket: Bucket) -> crate::error::Result<SlateEngine> {
    SlateEngine::open(bucket, SlateOptions::default(), DEADLINE).await
}

/// A change of two keys that must be seen together.
async fn commit(engine: &SlateEngine, number: u64) -> crate::error::Result<()> {
    let value = Bytes::copy_from_slice(&number.to_be_bytes());
    engine.commit(vec![("a".into(), Some(value.clone())), ("b".into(), Some(value))]).await
}

async fn stored(store: &MemoryStore) -> u64 {
    let engine = open(bucket(store, Faults::default()).0).await.unwrap();
    let (a, b) = (engine.get(b"a").await.unwrap(), engine.get(b"b").await.unwrap());
    assert_eq!(a, b, "a batch was torn");
    a.map_or(0, |value| u64::from_be_bytes(value[..].try_into().unwrap()))
}

async fn check_crash(puts: u64, apply_then_fail: bool) {
    let store = MemoryStore::default();
    let faults = Faults { crash_after: Some(puts), apply_then_fail, ..Faults::default() };
    let (bucket, control) = bucket(&store, faults);
    let mut acknowledged = 0;
    if let Ok(engine) = open(bucket).await {
        while timeout(DEADLINE, commit(&engine, acknowledged + 1)).await.is_ok_and(|ok| ok.is_ok())
        {
            acknowledged += 1;
        }
    }
    assert!(control.crashed());
    let found = stored(&store).await;
    let span = acknowledged..=acknowledged + 1;
    assert!(span.contains(&found), "after {puts} puts: {found} is not in {span:?}");
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_put_keeps_every_commit_whole() {
    for puts in 0..16 {
        check_crash(puts, false).await;
        check_crash(puts, true).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_fences_nobody() {
    let store = MemoryStore::default();
    let faults =
        Faults { seed: 7, apply_then_fail: true, error_rate_permille: 300, ..Faults::default() };
    let engine = open(bucket(&store, faults).0).await.unwrap();
    for number in 1..=50 {
        commit(&engine, number).await.unwrap();
    }
    drop(engine);
    assert_eq!(stored(&store).await, 50);
}

#[tokio::test(start_paused = true)]
async fn a_commit_waits_for_a_store_that_is_away() {
    let store = MemoryStore::default();
    let (bucket, control) = bucket(&store, Faults::default());
    let engine = open(bucket.clone()).await.unwrap();
    commit(&engine, 1).await.unwrap();
    control.set_away(true);
    let (answer, ()) = tokio::join!(commit(&engine, 2), async {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        engine.health().unwrap();
        assert_eq!(engine.get(b"a").await.unwrap().unwrap()[7], 1, "durable values only");
        control.set_away(false);
    });
    answer.unwrap();
    assert_eq!(engine.get(b"a").await.unwrap().unwrap()[7], 2);

    control.set_away(true);
    let start = tokio::time::Instant::now();
    engine.close(Duration::from_secs(5)).await.unwrap();
    assert!(start.elapsed() <= Duration::from_secs(6));
    let away = open(bucket).await.err().unwrap();
    assert_eq!(away.kind(), Kind::Unavailable, "{away}");
    drop(engine);
    assert_eq!(stored(&store).await, 2);
}

#[tokio::test]
async fn an_unconfirmed_write_breaks_the_engine_for_good() {
    let store = MemoryStore::default();
    let (bucket, control) = bucket(&store, Faults::default());
    let engine = open(bucket.clone()).await.unwrap();
    commit(&engine, 1).await.unwrap();
    control.writes_unconfirmed(true);
    let error = commit(&engine, 2).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Policy, "{error}");
    assert_eq!(engine.health().unwrap_err().kind(), Kind::Policy);

    control.writes_unconfirmed(false);
    let puts = bucket.counts().put;
    assert_eq!(commit(&engine, 3).await.unwrap_err().kind(), Kind::Policy);
    engine.close(DEADLINE).await.unwrap();
    drop(engine);
    assert_eq!(bucket.counts().put, puts);
    assert!((1..=2).contains(&stored(&store).await));
}

#[tokio::test]
async fn an_unconfirmed_write_ends_the_opening_with_its_reason() {
    let (bucket, control) = bucket(&MemoryStore::default(), Faults::default());
    control.writes_unconfirmed(true);
    let error = open(bucket).await.err().unwrap();
    assert_eq!(error.kind(), Kind::Policy, "{error}");
}
