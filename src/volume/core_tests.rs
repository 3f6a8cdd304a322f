//! The core of a volume where the store or the metadata stands still: who waits for whom, and what
//! waits where. Blocks and metadata are in memory, and time passes only while all wait.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Parts;
use super::Volume;
use super::Written;
use super::core::Core;
use super::core::InlineChunks;
use super::flush::Source;
use super::testing;
use crate::ambient::Ambient;
use crate::crypto::NameKey;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::meta::key;
use crate::meta::key::CHUNK_BYTES;
use crate::meta::kv::Engine;
use crate::meta::kv::LIVE_BYTES_MAX;
use crate::meta::kv::MemoryEngine;
use crate::meta::kv::UsageChange;
use crate::meta::kv::View;
use crate::meta::root_batch;
use crate::meta::value::Cut;
use crate::meta::value::Inode;
use crate::object::MemoryStore;
use crate::object::fault::FaultControl;
use crate::object::fault::Faults;
use crate::types::ContentId;
use crate::types::Ino;
use crate::types::SessionId;
use crate::types::VolumeId;
use crate::types::WriteSeq;

const NEVER: Duration = Duration::from_secs(100_000);
const LONG: Duration = Duration::from_secs(1_000);
const BLOCK_BYTES: u32 = 1 << 20;

/// A volume in memory whose epochs no timer closes, and what goes wrong in its store.
async fn volume() -> (Arc<Volume>, FaultControl) {
    let engine = Arc::new(MemoryEngine::new());
    engine.commit(root_batch(&Ambient::seeded(1), 0, 0)).await.unwrap();
    let (bucket, faults) = testing::bucket(&MemoryStore::default()).with_faults(Faults::default());
    let parts = Parts {
        bucket,
        engine,
        id: VolumeId([7; 16]),
        block_bytes: BLOCK_BYTES,
        names: NameKey::new([8; 32]),
        session: Some(SessionId(1)),
        memory_bytes: 128 << 20,
        commit_interval: NEVER,
        readahead_bytes: 1 << 20,
        ambient: Ambient::seeded(1),
    };
    (Volume::start(parts).await.unwrap(), faults)
}

/// Something that must not wait for ever.
async fn soon<T>(what: &str, waited: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, waited).await.map_err(|_| what).expect("it hangs")
}

/// Lets other tasks come as far as they can.
async fn turn_of_others() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Changes keys of the present without waiting for room.
fn set(core: &Core, changes: Vec<(Bytes, Option<Bytes>)>) {
    core.meta.store().apply(View::Live, || (changes, UsageChange::default(), ()));
}

/// Gives the root, whose content nobody looks at, a cut that upkeep is to apply.
async fn cut_root(core: &Core) -> Result<()> {
    let key = key::inode(Ino::ROOT);
    let mut root = Inode::decode(&core.meta.store().get(&key).await?.unwrap())?;
    root.cuts.push(Cut { start: 0, end: u64::MAX, seq: WriteSeq(1) });
    set(core, vec![(key, Some(root.encode()))]);
    core.cut_inodes.lock().insert(Ino::ROOT);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn upkeep_drops_cuts_while_the_live_layer_is_full_and_an_epoch_is_under_way() {
    let (volume, _) = volume().await;
    let core = volume.core.clone();
    soon("the first upkeep", core.tidy_up()).await.unwrap();
    let under_way = core.epoch_turn.lock().await;
    cut_root(&core).await.unwrap();
    let (value, count) = (Bytes::from(vec![0; 1 << 20]), 3 * (LIVE_BYTES_MAX >> 20));
    let fill =
        (0..count).map(|at| (key::xattr(Ino::ROOT, &[at.try_into().unwrap()]), value.clone()));
    set(&core, fill.map(|(key, value)| (key, Some(value))).collect());
    let upkeep = tokio::spawn({
        let core = core.clone();
        async move { core.apply_cuts().await }
    });
    turn_of_others().await;
    drop(under_way);
    soon("the next epoch", core.sync()).await.unwrap();
    soon("upkeep", upkeep).await.unwrap().unwrap();
    let root = core.meta.store().get(&key::inode(Ino::ROOT)).await.unwrap().unwrap();
    assert!(Inode::decode(&root).unwrap().cuts.is_empty());
}

/// Writes bytes as a write of the kernel's does.
async fn write(volume: &Volume, content: ContentId, offset: u64, data: Bytes) {
    let (ino, seq, end) = (Ino(9), volume.core.meta.ids.seq(), offset + data.len() as u64);
    volume.contents.reserve(data.len() as u64).await;
    let written = Written { ino, content, offset, data, seq };
    volume.core.meta.store().under_gate(|_| volume.contents.put(written));
    volume.contents.sent(content, &(offset..end));
    turn_of_others().await;
}

/// Writes a whole block.
async fn write_block(volume: &Volume, content: ContentId, index: u64) {
    let data = Bytes::from(vec![1; BLOCK_BYTES as usize]);
    write(volume, content, index * u64::from(BLOCK_BYTES), data).await;
}

async fn uploads_end(core: &Core) {
    loop {
        let settled = core.settled.notified();
        if !core.dirty.lock().is_uploading() {
            return;
        }
        settled.await;
    }
}

/// Writes blocks that nobody needs any more, each as `write` does, until the writer must wait; then
/// the store comes back.
async fn write_in_vain(write: impl AsyncFn(&Volume)) {
    let (volume, faults) = volume().await;
    let (core, blocks_max) = (&volume.core, volume.core.budget.limit() / u64::from(BLOCK_BYTES));
    faults.set_away(true);
    let mut blocks = 0;
    while blocks < 3 * blocks_max && tokio::time::timeout(LONG, write(&volume)).await.is_ok() {
        blocks += 1;
    }
    assert_eq!(blocks, blocks_max, "the writer waits for uploads that hold its bytes");
    faults.set_away(false);
    soon("a writer", write(&volume)).await;
    soon("the epoch", core.sync()).await.unwrap();
    soon("an upload", uploads_end(core)).await;
    assert_eq!((core.budget.used(), core.dirty.lock().bytes()), (0, 0));
    let stored = core.writer.uploads().stored;
    assert!(stored < blocks_max, "what waited for its turn in vain is not stored: {stored}");
}

#[tokio::test(start_paused = true)]
async fn bytes_that_were_overwritten_count_until_their_upload_ends() {
    write_in_vain(async |volume: &Volume| write_block(volume, ContentId(900), 0).await).await;
}

#[tokio::test(start_paused = true)]
async fn bytes_of_files_that_are_gone_count_until_their_upload_ends() {
    write_in_vain(async |volume: &Volume| {
        let content = volume.core.meta.ids.content();
        write_block(volume, content, 0).await;
        volume.core.meta.store().under_gate(|_| volume.contents.forget(content));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_epoch_moves_no_more_out_of_crumbled_chunks_than_may_be_dirty() {
    let (volume, _) = volume().await;
    let (core, content) = (&volume.core, ContentId(900));
    for chunk in 0..6 {
        write_block(&volume, content, chunk).await;
        core.sync().await.unwrap();
        for small in 0..40 {
            write(&volume, content, chunk * CHUNK_BYTES + small * 16, "tiny".into()).await;
        }
        core.sync().await.unwrap();
    }
    for chunk in 0..6 {
        write(&volume, content, chunk * CHUNK_BYTES, "new".into()).await;
    }
    core.budget.set_limit(4 * CHUNK_BYTES);
    let claimed = core.dirty.lock().claim_all(View::Live);
    let packed = core.pack_frozen(claimed, &InlineChunks::default()).await.unwrap();
    let parts = packed.iter().flat_map(|packed| &packed.parts);
    let moved = parts.filter(|part| matches!(part.source, Source::Moved(_)));
    assert_eq!(moved.map(|part| u64::from(part.len)).sum::<u64>(), 4 * CHUNK_BYTES);
}

#[tokio::test(start_paused = true)]
async fn a_close_does_not_fail_for_small_bytes_that_are_durable_in_the_metadata() {
    let (volume, faults) = volume().await;
    write(&volume, ContentId(900), 0, "small".into()).await;
    volume.sync().await.unwrap();
    faults.set_refusing(true);
    let began = tokio::time::Instant::now();
    volume.close(LONG).await.unwrap();
    assert!(began.elapsed() < LONG / 10);
    assert!(volume.core.obstacle.borrow().is_some(), "the refusal is told");
}

#[tokio::test(start_paused = true)]
async fn no_epoch_is_closed_after_one_that_failed() {
    let (volume, faults) = volume().await;
    let core = &volume.core;
    faults.set_refusing(true);
    write(&volume, ContentId(900), 0, Bytes::from(vec![1; 128 << 10])).await;
    let refused = soon("the epoch", core.sync()).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Denied);
    core.fail(&Error::new(Kind::Policy, "the store does not confirm encryption"));
    set(core, vec![(key::xattr(Ino::ROOT, b"changed"), Some(Bytes::new()))]);
    assert!(!soon("the next epoch", core.run_epoch()).await);
}

#[tokio::test(start_paused = true)]
async fn many_tiny_writes_close_an_epoch_and_are_registered_at_once() {
    let (volume, _) = volume().await;
    let content = ContentId(900);
    for at in 0..40_000 {
        let (ino, offset, seq) = (Ino(9), at * 16, volume.core.meta.ids.seq());
        let written = Written { ino, content, offset, data: "tiny".into(), seq };
        volume.contents.reserve(4).await;
        volume.core.meta.store().under_gate(|_| volume.contents.put(written));
        volume.contents.sent(content, &(offset..offset + 4));
    }
    let mut committed = volume.core.committed.subscribe();
    soon("an epoch", committed.wait_for(|committed| *committed >= 1)).await.unwrap();
    assert_eq!(volume.core.chunk(View::Live, content, 0).await.unwrap().0.len(), 40_000);
}

#[tokio::test]
async fn a_status_does_not_hold_the_dirty_set_while_it_waits_for_the_gate() {
    let (volume, _) = volume().await;
    let core = &volume.core;
    std::thread::scope(|scope| {
        core.meta.store().under_gate(|_| {
            let (began, begins) = std::sync::mpsc::channel();
            let told = volume.clone();
            scope.spawn(move || {
                began.send(()).unwrap();
                told.status()
            });
            begins.recv().unwrap();
            for _ in 0..1_000 {
                std::thread::yield_now();
                let dirty = core.dirty.try_lock_for(Duration::from_secs(1));
                assert!(dirty.is_some(), "the locks are taken in two orders");
            }
        });
    });
}
