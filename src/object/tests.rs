//! One suite over every store that needs no server, and what is special to each of them.

use futures::TryStreamExt;

use super::*;
use crate::object::fault::Faults;
use crate::provider::SseMode;

fn memory() -> Bucket {
    Bucket::memory(&MemoryStore::default(), Some(rows::policy(SseMode::None)))
}

fn local(directory: &tempfile::TempDir) -> Bucket {
    let volume = rows::directory(directory.path());
    Bucket::open(&volume, Some(rows::policy(SseMode::None))).unwrap()
}

async fn listed(bucket: &Bucket, prefix: &str) -> Vec<String> {
    let objects: Vec<_> = bucket.list(prefix).try_collect().await.unwrap();
    let mut names: Vec<_> = objects.into_iter().map(|object| object.name).collect();
    names.sort();
    names
}

async fn read(bucket: &Bucket, name: &str, range: Option<Range<u64>>) -> Result<Bytes> {
    Ok(bucket.get(name, range, None).await?.unwrap().body)
}

/// What every store must do.
async fn suite(bucket: &Bucket) {
    let kind = |error: Error| error.kind();
    bucket.put("a/b/c", "one".into()).await.unwrap();
    let second = bucket.put("a/b/c", "second".into()).await.unwrap();
    assert_eq!(second.posture, Posture::Absent);
    assert_eq!(read(bucket, "a/b/c", None).await.unwrap(), "second");
    assert_eq!(read(bucket, "a/b/c", Some(1..3)).await.unwrap(), "ec");
    assert_eq!(read(bucket, "a/b/c", Some(2..2)).await.unwrap(), "");
    assert_eq!(kind(read(bucket, "a/b/c", Some(3..9)).await.unwrap_err()), Kind::Corrupt);
    assert_eq!(kind(read(bucket, "a/b", None).await.unwrap_err()), Kind::NotFound);
    assert_eq!(kind(bucket.head("none").await.unwrap_err()), Kind::NotFound);

    let created = bucket.create("a/d", "d".into(), &[]).await.unwrap();
    assert_eq!(kind(bucket.create("a/d", "e".into(), &[]).await.unwrap_err()), Kind::Exists);
    let meta = bucket.head("a/d").await.unwrap();
    assert_eq!((meta.size, &meta.tag), (1, &created.tag));
    assert!(meta.modified.is_some());
    assert!(bucket.get("a/d", None, created.tag.as_ref()).await.unwrap().is_none());
    assert!(bucket.get("a/d", None, second.tag.as_ref()).await.unwrap().is_some());
    update(bucket, &created.tag.unwrap()).await;

    bucket.put("ab", Bytes::new()).await.unwrap();
    assert_eq!(read(bucket, "ab", None).await.unwrap(), "");
    assert_eq!(listed(bucket, "").await, ["a/b/c", "a/d", "ab"]);
    assert_eq!(listed(bucket, "a/").await, ["a/b/c", "a/d"]);
    assert_eq!(listed(bucket, "a/b").await, ["a/b/c"]);
    assert_eq!(listed(bucket, "x/").await, [""; 0]);
    let gone = ["a/b/c", "none", "a/d"].map(str::to_owned);
    bucket.delete(&gone).await.unwrap();
    assert_eq!(listed(bucket, "").await, ["ab"]);

    for bad in ["", "../x", "/x", "a//b", "a/"] {
        assert_eq!(kind(bucket.put(bad, "x".into()).await.unwrap_err()), Kind::Invalid);
    }
    let report = bucket.probe("000000000001").await.unwrap();
    assert_eq!(report.posture, Posture::Absent);
    assert_eq!(listed(bucket, "").await, ["ab"]);
    assert_eq!(bucket.state(), StoreState::default());
}

async fn update(bucket: &Bucket, tag: &Tag) {
    let updated = bucket.update("a/d", "f".into(), tag, &[]).await;
    if bucket.provider().conditional_update {
        updated.unwrap();
        let stale = bucket.update("a/d", "g".into(), tag, &[]).await.unwrap_err();
        assert_eq!(stale.kind(), Kind::Conflict);
    } else {
        assert_eq!(updated.unwrap_err().kind(), Kind::Unsupported);
    }
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    suite(&memory()).await;
}

#[tokio::test]
async fn a_directory_keeps_the_contract() {
    suite(&local(&tempfile::tempdir().unwrap())).await;
}

#[tokio::test]
async fn requests_bytes_and_postures_are_counted() {
    let bucket = memory();
    bucket.put("a", "12345".into()).await.unwrap();
    read(&bucket, "a", Some(1..3)).await.unwrap();
    listed(&bucket, "").await;
    bucket.delete(&["a".to_owned()]).await.unwrap();
    let counts = bucket.counts();
    assert_eq!((counts.put, counts.get, counts.list, counts.delete), (1, 1, 1, 1));
    assert_eq!((counts.bytes_sent, counts.bytes_received, counts.absent), (5, 2, 1));
}

#[tokio::test]
async fn without_a_policy_nothing_is_written_or_deleted() {
    let store = MemoryStore::default();
    let writer = Bucket::memory(&store, Some(rows::policy(SseMode::None)));
    writer.put("a", "1".into()).await.unwrap();
    let reader = Bucket::memory(&store, None);
    let refused = [
        reader.put("a", "2".into()).await.map(|_| ()),
        reader.create("b", "2".into(), &[]).await.map(|_| ()),
        reader.delete(&["a".to_owned()]).await,
    ];
    assert!(refused.into_iter().all(|result| result.unwrap_err().kind() == Kind::Policy));
    assert_eq!(read(&reader, "a", None).await.unwrap(), "1");
}

#[tokio::test]
async fn a_store_that_cannot_encrypt_is_not_opened_with_sse() {
    let directory = tempfile::tempdir().unwrap();
    let volume = rows::directory(directory.path());
    let refused = Bucket::open(&volume, Some(rows::policy(SseMode::Aes256)));
    assert_eq!(refused.err().unwrap().kind(), Kind::Config);
}

#[tokio::test]
async fn attributes_tell_whose_create_a_lost_answer_was() {
    let faults = Faults { crash_after: Some(0), apply_then_fail: true, ..Faults::default() };
    let store = MemoryStore::default();
    let policy = Some(rows::policy(SseMode::None));
    let (bucket, _) = Bucket::memory(&store, policy.clone()).with_faults(faults);
    let mine = [("put-id".to_owned(), "7".to_owned())];
    assert!(bucket.create("a", "1".into(), &mine).await.is_err());
    let again = Bucket::memory(&store, policy);
    assert_eq!(again.create("a", "1".into(), &mine).await.unwrap_err().kind(), Kind::Exists);
    assert_eq!(again.head("a").await.unwrap().attributes, mine);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_create_race_in_a_directory_has_exactly_one_winner() {
    let directory = tempfile::tempdir().unwrap();
    // A bucket each, as separate processes would have.
    let buckets: Vec<_> = (0..8).map(|_| local(&directory)).collect();
    for round in 0..20 {
        let racers: Vec<_> = buckets
            .iter()
            .enumerate()
            .map(|(racer, bucket)| {
                let bucket = bucket.clone();
                let body = Bytes::from(vec![u8::try_from(racer).unwrap(); 10_000]);
                let name = format!("race/{round}");
                tokio::spawn(async move { bucket.create(&name, body, &[]).await.is_ok() })
            })
            .collect();
        let wins = futures::future::join_all(racers).await;
        let winners: Vec<_> = (0..8).filter(|racer| *wins[*racer].as_ref().unwrap()).collect();
        assert_eq!(winners.len(), 1, "round {round}");
        let body = read(&buckets[0], &format!("race/{round}"), None).await.unwrap();
        assert!(body.iter().all(|byte| usize::from(*byte) == winners[0]));
    }
    let left = std::fs::read_dir(directory.path().join("some/prefix/.tmp")).unwrap();
    assert_eq!(left.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_sees_a_torn_object() {
    let directory = tempfile::tempdir().unwrap();
    let bucket = local(&directory);
    bucket.put("a", vec![0; 300_000].into()).await.unwrap();
    let writer = {
        let bucket = bucket.clone();
        tokio::spawn(async move {
            for round in 1..30_u8 {
                bucket.put("a", vec![round; 300_000].into()).await.unwrap();
            }
        })
    };
    while !writer.is_finished() {
        let body = read(&bucket, "a", None).await.unwrap();
        assert_eq!(body.len(), 300_000);
        assert!(body.iter().all(|byte| *byte == body[0]));
    }
    writer.await.unwrap();
}
