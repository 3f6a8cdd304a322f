//! The overlay above an engine that answers late. Knows no key's meaning.

use std::sync::Arc;

use bytes::Bytes;

use super::Committed;
use super::Engine;
use super::Fresh;
use super::MemoryEngine;
use super::Store;
use super::Usage;
use super::staged::Staged;

const CACHE_BYTES: u64 = 1 << 20;

fn key() -> Bytes {
    Bytes::from_static(b"key")
}

async fn staged() -> Arc<Staged> {
    let engine = Arc::new(MemoryEngine::new());
    engine.commit(vec![(key(), Some("old".into()))]).await.unwrap();
    Staged::over(engine)
}

fn store(engine: &Arc<Staged>) -> Arc<Store> {
    Store::new(engine.clone(), Usage::default(), Fresh::nothing(), CACHE_BYTES)
}

async fn set(store: &Arc<Store>, value: &'static str) {
    let mut txn = store.begin().await;
    txn.put(key(), value.into());
    assert_eq!(store.commit(txn).unwrap(), Committed::Whole);
}

#[tokio::test]
async fn a_look_sees_the_value_of_the_instant_it_is_made_at() {
    let engine = staged().await;
    let store = store(&engine);
    engine.hold(|asked| asked == key());
    let looking = store.clone();
    let look = tokio::spawn(async move { looking.look(&key(), |value| value.cloned()).await });
    engine.asked().await;
    set(&store, "new").await;
    engine.release();
    assert_eq!(look.await.unwrap().unwrap(), Some("new".into()));
}

#[tokio::test]
async fn a_store_beside_a_writer_keeps_values_until_another_state_comes_in() {
    let engine = staged().await;
    engine.follow(1);
    let store = store(&engine);
    assert_eq!(store.get(&key()).await.unwrap(), Some("old".into()));
    engine.commit(vec![(key(), Some("new".into()))]).await.unwrap();
    assert_eq!(store.get(&key()).await.unwrap(), Some("old".into()), "it asked the engine again");
    assert!(store.is_as_opened());
    let before = engine.following();
    engine.follow(2);
    assert!(store.has_moved_on(before).await && !store.is_as_opened());
    assert_eq!(store.get(&key()).await.unwrap(), Some("new".into()));
}
