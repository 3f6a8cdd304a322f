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

async fn staged() -> (Arc<Staged>, Arc<Store>) {
    let engine = Arc::new(MemoryEngine::new());
    engine.commit(vec![(key(), Some("old".into()))]).await.unwrap();
    let staged = Staged::over(engine);
    let usage = Usage::default();
    (staged.clone(), Store::new(staged, usage, Fresh::nothing(), CACHE_BYTES))
}

async fn set(store: &Arc<Store>, value: &'static str) {
    let mut txn = store.begin().await;
    txn.put(key(), value.into());
    assert_eq!(store.commit(txn).unwrap(), Committed::Whole);
}

#[tokio::test]
async fn a_look_sees_the_value_of_the_instant_it_is_made_at() {
    let (engine, store) = staged().await;
    engine.hold(|asked| asked == key());
    let looking = store.clone();
    let look = tokio::spawn(async move { looking.look(&key(), |value| value.cloned()).await });
    engine.asked().await;
    set(&store, "new").await;
    engine.release();
    assert_eq!(look.await.unwrap().unwrap(), Some("new".into()));
}
