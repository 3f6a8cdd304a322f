//! The cache over a source in memory that counts what it is asked, and answers when told.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use bytes::Bytes;
use futures::future::join_all;
use tokio::sync::Semaphore;

use super::*;
use crate::block::Codec;
use crate::block::Land;
use crate::types::SessionId;

const PLAIN_BYTES: u32 = 1000;

/// Every frame is full of its own number. Frames from `broken` on are damaged.
#[derive(Clone)]
struct Numbers {
    asked: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
    broken: u32,
}

impl Numbers {
    fn new(open: usize) -> Self {
        Self { asked: Arc::default(), gate: Arc::new(Semaphore::new(open)), broken: u32::MAX }
    }
}

impl FrameSource for Numbers {
    async fn fetch(&self, block: BlockId, frames: &[FrameRef], land: &Land<'_>) {
        self.asked.fetch_add(frames.len(), SeqCst);
        self.gate.acquire().await.unwrap().forget();
        for (place, frame) in frames.iter().enumerate() {
            let broken = Error::new(Kind::Corrupt, "damaged").with("block", block);
            let whole = frame.index < self.broken;
            land(place, if whole { Ok(content(frame)) } else { Err(broken) });
        }
    }
}

fn content(frame: &FrameRef) -> Bytes {
    vec![frame.index.to_be_bytes()[3]; frame.plain as usize].into()
}

fn frame(index: u32) -> FrameRef {
    let at = 40 + index * (PLAIN_BYTES + 16);
    FrameRef { at, stored: PLAIN_BYTES, plain: PLAIN_BYTES, codec: Codec::None, index }
}

fn block() -> BlockId {
    BlockId::new(SessionId(1), [1; 11])
}

#[tokio::test]
async fn many_readers_of_a_frame_make_one_fetch() {
    let (cache, source) = (FrameCache::new(1 << 20), Numbers::new(0));
    let frames = [frame(0), frame(1)];
    cache.prefetch(&source, block(), &frames[1..]);
    let reads: Vec<_> = (0..50).map(|_| cache.read(&source, block(), &frames)).collect();
    let (found, ()) = tokio::join!(join_all(reads), async { source.gate.add_permits(2) });
    for read in found {
        assert_eq!(read.unwrap(), [content(&frames[0]), content(&frames[1])]);
    }
    assert_eq!(source.asked.load(SeqCst), 2);
    assert_eq!(cache.peek(block(), frames[0].at).unwrap(), content(&frames[0]));
    assert!(cache.used_bytes() >= 2 * PLAIN_BYTES as usize);
}

#[tokio::test]
async fn a_reader_that_gives_up_does_not_take_the_fetch_with_it() {
    let (cache, source) = (FrameCache::new(1 << 20), Numbers::new(0));
    let frames = [frame(0)];
    {
        let first = cache.read(&source, block(), &frames);
        tokio::select! {
            biased;
            _ = first => panic!("the gate is closed"),
            () = std::future::ready(()) => {}
        }
    }
    let second = cache.read(&source, block(), &frames);
    source.gate.add_permits(1);
    assert_eq!(second.await.unwrap(), [content(&frames[0])]);
    assert_eq!(source.asked.load(SeqCst), 1);
}

#[tokio::test]
async fn a_failure_reaches_who_asked_for_that_frame_only_and_is_not_kept() {
    let cache = FrameCache::new(1 << 20);
    let source = Numbers { broken: 1, ..Numbers::new(10) };
    let frames = [frame(0), frame(1)];
    let (all, first, second) = tokio::join!(
        cache.read(&source, block(), &frames),
        cache.read(&source, block(), &frames[..1]),
        cache.read(&source, block(), &frames[1..]),
    );
    assert_eq!(all.unwrap_err().kind(), Kind::Corrupt);
    assert_eq!(first.unwrap(), [content(&frame(0))]);
    assert!(second.unwrap_err().to_string().contains("damaged (block "));
    let healed = Numbers { broken: u32::MAX, ..source };
    let again = cache.read(&healed, block(), &[frame(1)]).await;
    assert_eq!(again.unwrap(), [content(&frame(1))]);
}

#[tokio::test]
async fn the_cache_stays_within_its_capacity() {
    let (cache, source) = (FrameCache::new(64 << 10), Numbers::new(1000));
    for index in 0..500 {
        cache.read(&source, block(), &[frame(index)]).await.unwrap();
        assert!(cache.used_bytes() <= 64 << 10);
    }
    assert!(cache.peek(block(), frame(499).at).is_some());
    assert!(cache.peek(block(), frame(0).at).is_none());
}

#[tokio::test]
async fn what_was_just_written_is_read_without_a_fetch() {
    let (cache, source) = (FrameCache::new(1 << 20), Numbers::new(0));
    cache.insert(block(), frame(3).at, content(&frame(3)));
    assert_eq!(cache.read(&source, block(), &[frame(3)]).await.unwrap(), [content(&frame(3))]);
    assert_eq!(source.asked.load(SeqCst), 0);
}
