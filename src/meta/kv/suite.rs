//! What every engine promises, checked on each of them. Knows no engine's inside.

#[cfg(feature = "testing")]
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;

use super::Batch;
use super::Engine;
use super::MemoryEngine;
#[cfg(feature = "testing")]
use crate::ambient::Timestamp;
use crate::error::Kind;
#[cfg(feature = "testing")]
use crate::object::Bucket;
#[cfg(feature = "testing")]
use crate::object::tenure;
#[cfg(feature = "testing")]
use crate::object::tenure::Claims;
#[cfg(feature = "testing")]
use crate::object::tenure::Survey;
#[cfg(feature = "testing")]
use crate::object::tenure::Tenure;
#[cfg(feature = "testing")]
use crate::types::ClaimId;
#[cfg(feature = "testing")]
use crate::types::VolumeId;

/// Long enough for a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A volume that can be opened again and again; each opening takes it from the one before.
struct Site {
    open: Box<dyn Fn() -> BoxFuture<'static, Box<dyn Engine>> + Send + Sync>,
    _directory: Option<tempfile::TempDir>,
}

impl Site {
    async fn open(&self) -> Box<dyn Engine> {
        (self.open)().await
    }

    fn memory() -> Self {
        let volume = MemoryEngine::new();
        let open = move || -> BoxFuture<'static, Box<dyn Engine>> {
            let engine: Box<dyn Engine> = Box::new(volume.reopen());
            Box::pin(std::future::ready(engine))
        };
        Self { open: Box::new(open), _directory: None }
    }

    #[cfg(feature = "testing")]
    fn slate(bucket: Bucket, directory: Option<tempfile::TempDir>) -> Self {
        let open = move || -> BoxFuture<'static, Box<dyn Engine>> {
            let opening = super::SlateEngine::open(bucket.clone(), Default::default(), DEADLINE);
            Box::pin(async { Box::new(opening.await.unwrap()) as Box<dyn Engine> })
        };
        Self { open: Box::new(open), _directory: directory }
    }

    #[cfg(feature = "testing")]
    fn slate_in_memory() -> Self {
        Self::slate(super::slate::tests::memory(), None)
    }

    /// On a store that replaces what exists: each opening claims, and takes over.
    #[cfg(feature = "testing")]
    fn slate_that_reads_back() -> Self {
        let bucket = super::slate::tests::memory();
        let open = move || -> BoxFuture<'static, Box<dyn Engine>> {
            let bucket = bucket.clone();
            Box::pin(async move {
                let tenure = Arc::new(take_over(&bucket).await);
                let opened = super::SlateEngine::open_owned(tenure, Default::default(), DEADLINE);
                Box::new(opened.await.unwrap()) as Box<dyn Engine>
            })
        };
        Self { open: Box::new(open), _directory: None }
    }

    #[cfg(feature = "testing")]
    fn slate_in_a_directory() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::slate(super::slate::tests::local(directory.path()), Some(directory))
    }
}

#[cfg(feature = "testing")]
async fn take_over(bucket: &Bucket) -> Tenure {
    let session = Claims::list(bucket).await.unwrap().next_session();
    let claim = ClaimId { session, nonce: 1 };
    assert!(tenure::raise(bucket, claim, "claim".into()).await.unwrap());
    let survey = Survey::of_successor(bucket, VolumeId([1; 16]), claim).await.unwrap();
    survey.begin(Timestamp::default()).await.unwrap()
}

/// Runs each check on each engine, as a test of its own name.
macro_rules! every_engine {
    ($($check:ident)*) => {
        mod memory {
            $(#[tokio::test] async fn $check() { super::$check(super::Site::memory()).await })*
        }
        #[cfg(feature = "testing")]
        mod slate_in_memory {
            $(#[tokio::test] async fn $check() {
                super::$check(super::Site::slate_in_memory()).await
            })*
        }
        #[cfg(feature = "testing")]
        mod slate_that_reads_back {
            $(#[tokio::test] async fn $check() {
                super::$check(super::Site::slate_that_reads_back()).await
            })*
        }
        #[cfg(feature = "testing")]
        mod slate_in_a_directory {
            $(#[tokio::test] async fn $check() {
                super::$check(super::Site::slate_in_a_directory()).await
            })*
        }
    };
}

every_engine! {
    what_is_committed_is_read
    a_scan_is_ordered_bounded_and_half_open
    an_empty_batch_and_an_empty_range_are_nothing
    a_dropped_engine_keeps_every_commit
    a_closed_engine_keeps_every_commit_and_takes_no_more
    a_second_session_fences_the_first
    large_values_survive
    many_keys_survive
}

fn put(key: &str, value: &str) -> (Bytes, Option<Bytes>) {
    (Bytes::copy_from_slice(key.as_bytes()), Some(Bytes::copy_from_slice(value.as_bytes())))
}

fn delete(key: &str) -> (Bytes, Option<Bytes>) {
    (Bytes::copy_from_slice(key.as_bytes()), None)
}

async fn text(engine: &dyn Engine, key: &str) -> Option<String> {
    let value = engine.get(key.as_bytes()).await.unwrap();
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

async fn scan(engine: &dyn Engine, start: &str, end: &str, limit: usize) -> String {
    let key = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let entries = engine.scan(key(start)..key(end), limit).await.unwrap();
    let pairs = entries.iter().map(|(key, value)| {
        format!("{}={}", String::from_utf8_lossy(key), String::from_utf8_lossy(value))
    });
    pairs.collect::<Vec<_>>().join(" ")
}

async fn what_is_committed_is_read(site: Site) {
    let engine = site.open().await;
    assert_eq!(text(&*engine, "a").await, None);
    engine.commit(vec![put("a", "1"), put("b", ""), put("c", "3")]).await.unwrap();
    engine.commit(vec![delete("a"), delete("absent"), put("c", "4")]).await.unwrap();
    assert_eq!(text(&*engine, "a").await, None);
    assert_eq!(text(&*engine, "b").await.as_deref(), Some(""));
    assert_eq!(text(&*engine, "c").await.as_deref(), Some("4"));
    engine.health().unwrap();
}

async fn a_scan_is_ordered_bounded_and_half_open(site: Site) {
    let engine = site.open().await;
    engine
        .commit(vec![put("a", "1"), put("b", "2"), put("b\0", "3"), put("c", "4")])
        .await
        .unwrap();
    engine.commit(vec![delete("b"), put("bb", "5")]).await.unwrap();
    assert_eq!(scan(&*engine, "a", "c", 9).await, "a=1 b\0=3 bb=5");
    assert_eq!(scan(&*engine, "a", "z", 2).await, "a=1 b\0=3");
    assert_eq!(scan(&*engine, "b\0\0", "z", 9).await, "bb=5 c=4");
}

async fn an_empty_batch_and_an_empty_range_are_nothing(site: Site) {
    let engine = site.open().await;
    engine.commit(Batch::new()).await.unwrap();
    engine.commit(vec![put("a", "1")]).await.unwrap();
    assert_eq!(scan(&*engine, "a", "a", 9).await, "");
    assert_eq!(scan(&*engine, "b", "a", 9).await, "");
    assert_eq!(scan(&*engine, "a", "b", 0).await, "");
}

async fn a_dropped_engine_keeps_every_commit(site: Site) {
    for round in 0..3 {
        let engine = site.open().await;
        for step in 0..20 {
            let key = format!("{round:02}/{step:02}");
            engine.commit(vec![put(&key, &key), put("last", &key)]).await.unwrap();
        }
    }
    let engine = site.open().await;
    assert_eq!(engine.scan(Bytes::from("0")..Bytes::from("1"), 99).await.unwrap().len(), 60);
    assert_eq!(text(&*engine, "last").await.as_deref(), Some("02/19"));
}

async fn a_closed_engine_keeps_every_commit_and_takes_no_more(site: Site) {
    let engine = site.open().await;
    engine.commit(vec![put("a", "1"), put("b", "2")]).await.unwrap();
    engine.close(DEADLINE).await.unwrap();
    engine.close(DEADLINE).await.unwrap();
    assert!(engine.health().is_err());
    assert!(engine.commit(vec![put("a", "2")]).await.is_err());
    let engine = site.open().await;
    assert_eq!(scan(&*engine, "", "z", 9).await, "a=1 b=2");
}

async fn a_second_session_fences_the_first(site: Site) {
    let first = site.open().await;
    first.commit(vec![put("a", "first")]).await.unwrap();
    let second = site.open().await;
    let fenced = first.commit(vec![put("a", "lost"), put("b", "lost")]).await.unwrap_err();
    assert_eq!(fenced.kind(), Kind::Fenced, "{fenced}");
    assert_eq!(first.health().unwrap_err().kind(), Kind::Fenced);
    assert_eq!(first.commit(vec![put("a", "lost")]).await.unwrap_err().kind(), Kind::Fenced);
    second.commit(vec![put("c", "second")]).await.unwrap();
    assert_eq!(scan(&*second, "a", "z", 9).await, "a=first c=second");
}

async fn large_values_survive(site: Site) {
    let engine = site.open().await;
    let value = |round: u8| Bytes::from(vec![round; 4 << 20]);
    for round in 0..8 {
        let key = Bytes::from(vec![b'k', round]);
        engine.commit(vec![(key, Some(value(round)))]).await.unwrap();
    }
    drop(engine);
    let engine = site.open().await;
    for round in 0..8 {
        assert_eq!(engine.get(&[b'k', round]).await.unwrap(), Some(value(round)));
    }
}

async fn many_keys_survive(site: Site) {
    let engine = site.open().await;
    let entry = |number: u32| {
        let key = Bytes::copy_from_slice(&number.to_be_bytes());
        (key, Some(Bytes::from(vec![1; 100])))
    };
    engine.commit((0..20_000).map(entry).collect()).await.unwrap();
    drop(engine);
    let engine = site.open().await;
    let all = Bytes::from_static(&[0; 4])..Bytes::from_static(&[0xff; 4]);
    let entries = engine.scan(all, usize::MAX).await.unwrap();
    assert_eq!(entries.len(), 20_000);
    assert!(entries.is_sorted());
}
