//! Reads while the file changes: each byte was there at an instant of the read.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use tokio::task::JoinHandle;

use super::*;
use crate::ambient::Ambient;
use crate::config::SseVerify;
use crate::crypto::NameKey;
use crate::meta::key;
use crate::meta::kv::Engine;
use crate::meta::kv::MemoryEngine;
use crate::meta::kv::staged::Staged;
use crate::meta::root_batch;
use crate::object::Bucket;
use crate::object::MemoryStore;
use crate::object::Policy;
use crate::object::name::BLOCKS_PREFIX;
use crate::provider::SseMode;
use crate::types::FileName;
use crate::types::SessionId;
use crate::types::VolumeId;
use crate::volume::Parts;

const BLOCK_BYTES: u32 = 1 << 18;

/// A volume of which no memory knows anything at the beginning of each session.
struct Bench {
    objects: MemoryStore,
    engine: Arc<MemoryEngine>,
}

impl Bench {
    async fn new() -> Self {
        let engine = Arc::new(MemoryEngine::new());
        engine.commit(root_batch(&Ambient::seeded(1), 0, 0)).await.unwrap();
        Self { objects: MemoryStore::default(), engine }
    }

    async fn open(&self, session: u64) -> (Arc<Staged>, Arc<Vfs>) {
        let staged = Staged::over(self.engine.clone());
        let vfs = self.open_over(&staged, Some(SessionId(session))).await;
        (staged, vfs)
    }

    async fn open_over(&self, staged: &Arc<Staged>, session: Option<SessionId>) -> Arc<Vfs> {
        let parts = Parts {
            bucket: self.bucket(),
            engine: staged.clone(),
            id: VolumeId([7; 16]),
            block_bytes: BLOCK_BYTES,
            names: NameKey::new([7; 32]),
            session,
            memory_bytes: 64 << 20,
            commit_interval: Duration::from_secs(3600),
            readahead_bytes: 0,
            ambient: Ambient::seeded(session.map_or(0, |session| session.0)),
        };
        let volume = Volume::start(parts).await.unwrap();
        // The first look whether there is an epoch to close comes at once, the next in an hour.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        Vfs::new(volume)
    }

    fn bucket(&self) -> Bucket {
        let policy = Policy { mode: SseMode::None, verify: SseVerify::Warn };
        Bucket::memory(&self.objects, Some(policy))
    }

    async fn blocks(&self) -> Vec<String> {
        let listed = self.bucket().list(BLOCKS_PREFIX).map_ok(|object| object.name);
        listed.try_collect().await.unwrap()
    }
}

async fn file(vfs: &Vfs) -> Ino {
    let new = NewInode { kind: FileKind::Regular, permissions: 0o644, umask: 0, rdev: 0 };
    let name = FileName::new(b"file").unwrap();
    vfs.make(Caller::ROOT, Ino::ROOT, name, new).await.unwrap().ino
}

async fn write(vfs: &Vfs, ino: Ino, offset: u64, byte: u8, length: u32) {
    let bytes = Bytes::from(vec![byte; length as usize]);
    vfs.write(ino, 0, offset, bytes, WriteFlags::default()).await.unwrap();
}

fn begin_read(vfs: &Arc<Vfs>, ino: Ino, offset: u64, size: u32) -> JoinHandle<Result<Bytes>> {
    let vfs = vfs.clone();
    tokio::spawn(async move { vfs.read(ino, 0, offset, size).await })
}

/// Whether a key is that of extents.
fn is_chunk(key: &[u8]) -> bool {
    key.first() == key::chunk(ContentId(0), 0).first()
}

#[tokio::test]
async fn bytes_that_were_overwritten_before_a_read_do_not_come_back_behind_a_hole() {
    let bench = Bench::new().await;
    let (_, vfs) = bench.open(1).await;
    let ino = file(&vfs).await;
    write(&vfs, ino, 0, b'a', BLOCK_BYTES).await;
    vfs.sync().await.unwrap();
    let first = bench.blocks().await;
    assert_eq!(first.len(), 1);
    write(&vfs, ino, BLOCK_BYTES.into(), b'a', BLOCK_BYTES).await;
    vfs.sync().await.unwrap();

    let (engine, vfs) = bench.open(2).await;
    let at = u64::from(BLOCK_BYTES) + 4096;
    write(&vfs, ino, at, b'b', 4096).await;
    engine.hold(is_chunk);
    let read = begin_read(&vfs, ino, 0, 2 * BLOCK_BYTES);
    engine.asked().await;
    // The read knows its extents now, and needs to look again: the first block goes away.
    let hole = vfs.fallocate(Caller::ROOT, ino, (at, 4096), Allocate::PunchHole);
    hole.await.unwrap();
    write(&vfs, ino, 0, b'c', BLOCK_BYTES).await;
    bench.bucket().delete(&first).await.unwrap();
    engine.release();

    let bytes = read.await.unwrap().unwrap();
    let at = usize::try_from(at).unwrap();
    assert_eq!(bytes.len(), 2 * BLOCK_BYTES as usize);
    assert!(bytes[at - 1] == b'a' && bytes[at + 4096] == b'a' && bytes[0] == b'c');
    let hole = &bytes[at..at + 4096];
    assert!(hole.iter().all(|byte| *byte == 0), "it read {:?}", char::from(hole[0]));
}

#[tokio::test]
async fn a_file_that_is_emptied_during_a_read_does_not_read_as_zeros() {
    let bench = Bench::new().await;
    let (_, vfs) = bench.open(1).await;
    let ino = file(&vfs).await;
    write(&vfs, ino, 0, b'a', BLOCK_BYTES).await;
    vfs.sync().await.unwrap();

    let (engine, vfs) = bench.open(2).await;
    let content = vfs.meta.inode(ino).await.unwrap().content;
    engine.hold(move |asked| asked == key::chunk(content, 0));
    let read = begin_read(&vfs, ino, 0, BLOCK_BYTES);
    engine.asked().await;
    let truncate = OpenFlags { write: true, truncate: true, ..OpenFlags::default() };
    let handle = vfs.open(Caller::ROOT, ino, truncate).await.unwrap().handle;
    for _ in 0..2 {
        vfs.sync().await.unwrap();
        vfs.volume.gc().await.unwrap();
    }
    assert_eq!(bench.engine.get(&key::chunk(content, 0)).await.unwrap(), None);
    engine.release();
    let bytes = read.await.unwrap().unwrap();
    assert!(bytes.is_empty(), "{} bytes of an empty file", bytes.len());
    vfs.release(ino, handle).await;
}

#[tokio::test]
async fn a_reader_whose_block_is_gone_waits_for_what_the_writer_put_in_its_place() {
    let bench = Bench::new().await;
    let (_, writer) = bench.open(1).await;
    let ino = file(&writer).await;
    write(&writer, ino, 0, b'a', BLOCK_BYTES).await;
    writer.sync().await.unwrap();

    let engine = Staged::over(bench.engine.clone());
    engine.follow(1);
    let reader = bench.open_over(&engine, None).await;
    let opened = reader.open(Caller::ROOT, ino, OpenFlags::default()).await.unwrap();
    assert!(opened.keep_cache, "nobody has written since it was mounted");
    assert_eq!(reader.read(ino, 0, 0, 1).await.unwrap(), "a");

    let first = bench.blocks().await;
    write(&writer, ino, 0, b'b', BLOCK_BYTES).await;
    for _ in 0..2 {
        writer.sync().await.unwrap();
        writer.volume.gc().await.unwrap();
    }
    assert!(!bench.blocks().await.contains(&first[0]), "the first block is still there");

    assert_eq!(reader.read(ino, 0, 0, 1).await.unwrap(), "a", "it has not heard yet");
    let read = begin_read(&reader, ino, u64::from(BLOCK_BYTES) - 1, 1);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!read.is_finished(), "it did not wait");
    engine.follow(2);
    assert_eq!(read.await.unwrap().unwrap(), "b");
    assert_eq!(reader.read(ino, 0, 0, 1).await.unwrap(), "b");
    let opened = reader.open(Caller::ROOT, ino, OpenFlags::default()).await.unwrap();
    assert!(!opened.keep_cache, "the kernel may have pages of the first block");
}
