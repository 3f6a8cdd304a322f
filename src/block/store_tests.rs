//! Writer and reader on a bucket in memory that loses answers, refuses and damages.
#![cfg(feature = "testing")]

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::ambient::Ambient;
use crate::config::SseVerify;
use crate::crypto::TagKey;
use crate::error::Kind;
use crate::object::Bucket;
use crate::object::MemoryStore;
use crate::object::Policy;
use crate::object::fault::FaultControl;
use crate::object::fault::Faults;
use crate::object::name;
use crate::provider::SseMode;
use crate::types::ContentId;
use crate::types::Ino;
use crate::types::Owner;
use crate::types::SessionId;
use crate::types::VolumeId;
use crate::types::WriteSeq;

const FRAME_PLAIN: usize = 3000;

struct Bench {
    bucket: Bucket,
    faults: FaultControl,
    writer: BlockWriter,
    reader: BlockReader,
}

fn bench(faults: Faults) -> Bench {
    let policy = Policy { mode: SseMode::Aes256, verify: SseVerify::Strict };
    let store = MemoryStore::default();
    let (bucket, faults) = Bucket::memory(&store, Some(policy)).with_faults(faults);
    let key = TagKey::new(VolumeId([8; 16]));
    let ambient = Ambient::seeded(1);
    let writer = BlockWriter::new(bucket.clone(), key.clone(), SessionId(5), ambient, 2)
        .that_waits(Duration::ZERO, Duration::ZERO);
    let reader = BlockReader::new(bucket.clone(), key);
    Bench { bucket, faults, writer, reader }
}

fn plain(frame: u8) -> Bytes {
    vec![frame; FRAME_PLAIN].into()
}

fn block_of(frames: u8) -> BlockBuilder {
    let mut builder = BlockBuilder::new(1 << 20, Compression::None);
    for frame in 0..frames {
        let seq = WriteSeq(frame.into());
        let owner = Owner { ino: Ino(2), content: ContentId(3), offset: 0, seq };
        builder.push(owner, vec![plain(frame)]);
    }
    builder
}

fn refs(stored: &StoredBlock) -> Vec<FrameRef> {
    stored.frames.iter().map(|(frame, _)| *frame).collect()
}

impl Bench {
    /// What landed of each frame, which must be exactly one answer.
    async fn fetch(&self, block: BlockId, frames: &[FrameRef]) -> Vec<Result<Bytes>> {
        let landed: Vec<_> = frames.iter().map(|_| OnceLock::new()).collect();
        let land = |place: usize, answer| landed[place].set(answer).expect("it landed once");
        self.reader.fetch(block, frames, &land).await;
        landed.into_iter().map(|answer| answer.into_inner().expect("it landed")).collect()
    }

    async fn read_frames(&self, block: BlockId, frames: &[FrameRef]) -> Result<Vec<Bytes>> {
        self.fetch(block, frames).await.into_iter().collect()
    }

    /// Changes one stored byte of a block.
    async fn damage(&self, block: BlockId, at: usize) {
        let name = name::block(block);
        let got = self.bucket.get(&name, None, None).await.unwrap().unwrap();
        let mut body = got.body.to_vec();
        body[at] ^= 1;
        self.bucket.put(&name, body.into()).await.unwrap();
    }
}

#[tokio::test]
async fn a_stored_block_is_read_with_one_request() {
    let bench = bench(Faults::default());
    let stored = bench.writer.store(&block_of(9)).await.unwrap();
    assert_eq!(stored.id.session(), SessionId(5));
    let head = bench.bucket.head(&name::block(stored.id)).await.unwrap();
    assert_eq!(head.size, stored.object_bytes);
    let mut frames = refs(&stored);
    frames.swap(0, 8);
    let before = bench.bucket.counts().get;
    let found = bench.read_frames(stored.id, &frames).await.unwrap();
    assert_eq!(bench.bucket.counts().get, before + 1);
    assert_eq!((&found[0], &found[8], &found[4]), (&plain(8), &plain(0), &plain(4)));
    assert_eq!(bench.reader.read_footer(stored.id).await.unwrap(), stored.frames);
    assert!(bench.writer.rate_bytes_per_second() > 0);
    assert_eq!(bench.writer.uploads(), Uploads { stored: 1, ..Uploads::default() });
}

#[tokio::test]
async fn a_flipped_bit_in_a_stored_block_is_never_returned() {
    let bench = bench(Faults::default());
    let stored = bench.writer.store(&block_of(3)).await.unwrap();
    let frames = refs(&stored);
    bench.damage(stored.id, frames[1].at as usize + 7).await;
    let found = bench.fetch(stored.id, &frames).await;
    assert_eq!(found[0].as_ref().unwrap(), &plain(0));
    assert_eq!(found[2].as_ref().unwrap(), &plain(2));
    let error = found[1].as_ref().unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    let place = format!("block {}, offset {}", stored.id, frames[1].at);
    assert!(error.to_string().contains(&place), "{error}");
}

#[tokio::test]
async fn a_block_that_was_cut_is_read_up_to_the_cut() {
    let bench = bench(Faults::default());
    let stored = bench.writer.store(&block_of(3)).await.unwrap();
    let (name, frames) = (name::block(stored.id), refs(&stored));
    let got = bench.bucket.get(&name, None, None).await.unwrap().unwrap();
    bench.bucket.put(&name, got.body.slice(..frames[2].at as usize)).await.unwrap();
    let found = bench.fetch(stored.id, &frames).await;
    assert!(found[..2].iter().all(Result::is_ok));
    assert_eq!(found[2].as_ref().unwrap_err().kind(), Kind::Corrupt);
    assert!(bench.reader.read_footer(stored.id).await.is_err());
}

#[tokio::test]
async fn a_block_that_is_gone_is_said_to_be_gone() {
    let bench = bench(Faults::default());
    let stored = bench.writer.store(&block_of(1)).await.unwrap();
    bench.bucket.delete(&[name::block(stored.id)]).await.unwrap();
    let error = bench.read_frames(stored.id, &refs(&stored)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
}

#[tokio::test]
async fn lost_answers_delay_a_block_and_nothing_else() {
    let faults =
        Faults { seed: 3, error_rate_permille: 500, apply_then_fail: true, ..Faults::default() };
    let bench = bench(faults);
    for _ in 0..20 {
        let stored = bench.writer.store(&block_of(2)).await.unwrap();
        assert!(bench.read_frames(stored.id, &refs(&stored)).await.is_ok());
    }
    assert!(bench.faults.ops_seen() > 20);
    assert_eq!(bench.writer.uploads(), Uploads { stored: 20, ..Uploads::default() });
}

#[tokio::test]
async fn status_tells_that_a_block_waits_until_the_store_is_back() {
    let bench = bench(Faults::default());
    bench.faults.set_away(true);
    let builder = block_of(1);
    let (stored, ()) = tokio::join!(bench.writer.store(&builder), async {
        while bench.writer.uploads().waiting == 0 {
            tokio::task::yield_now().await;
        }
        assert!(bench.writer.uploads().last_error.is_some());
        bench.faults.set_away(false);
    });
    assert!(stored.is_ok());
    assert_eq!(bench.writer.uploads().last_error, None);
}

#[tokio::test]
async fn an_unconfirmed_block_is_written_again_then_refused_and_leaves_nothing() {
    let bench = bench(Faults::default());
    bench.faults.writes_unconfirmed(true);
    let error = bench.writer.store(&block_of(1)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Policy);
    assert_eq!(bench.bucket.counts().put, 4);
    assert_eq!(bench.writer.uploads().unconfirmed, 4);
    let left = futures::StreamExt::count(bench.bucket.list(name::BLOCKS_PREFIX)).await;
    assert_eq!(left, 0);
    bench.faults.writes_unconfirmed(false);
    assert!(bench.writer.store(&block_of(1)).await.is_ok());
}
