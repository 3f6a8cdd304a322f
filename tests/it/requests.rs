//! How many requests the store sees for what the file system does: the counts that speed and cost
//! rest on, without the kernel, on objects in memory. A count above its limit is a regression.
//!
//! Writes are counted on a whole volume, metadata included. Its engine reads and tidies its own
//! objects now and then, so reads are counted on a volume whose metadata is in memory: exactly.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairnfs::ambient::Ambient;
use cairnfs::config::Config;
use cairnfs::config::SseVerify;
use cairnfs::config::VolumeConfig;
use cairnfs::crypto::NameKey;
use cairnfs::meta::kv::Engine as _;
use cairnfs::meta::kv::MemoryEngine;
use cairnfs::meta::root_batch;
use cairnfs::object::Bucket;
use cairnfs::object::Counts;
use cairnfs::object::MemoryStore;
use cairnfs::object::Policy;
use cairnfs::provider::SseMode;
use cairnfs::types::FileName;
use cairnfs::types::Ino;
use cairnfs::types::SessionId;
use cairnfs::types::VolumeId;
use cairnfs::vfs::Attr;
use cairnfs::vfs::Caller;
use cairnfs::vfs::FileKind;
use cairnfs::vfs::NewInode;
use cairnfs::vfs::OpenFlags;
use cairnfs::vfs::RenameMode;
use cairnfs::vfs::Vfs;
use cairnfs::vfs::WriteFlags;
use cairnfs::volume::CreateOptions;
use cairnfs::volume::OpenOptions;
use cairnfs::volume::Parts;
use cairnfs::volume::Volume;
use futures::future::join_all;
use rand::Rng as _;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use crate::support::tools;

const MIB: usize = 1 << 20;
const BLOCK_BYTES: u32 = 4 << 20;
const MEMORY_BYTES: u64 = 1 << 30;
const READAHEAD_BYTES: u64 = 32 << 20;
const NEVER: Duration = Duration::from_secs(3600);
const REQUEST_BYTES: usize = MIB;
const PAGE_BYTES: usize = 4096;

/// A volume in memory, opened; no timer closes an epoch of it.
struct Store {
    origin: Origin,
    volume: Arc<Volume>,
    vfs: Arc<Vfs>,
}

/// What a volume is opened from.
enum Origin {
    /// Header, state, term, metadata and blocks, as a mount opens them.
    Whole(Box<VolumeConfig>),
    /// Blocks alone, and metadata that asks nobody.
    Blocks { objects: MemoryStore, engine: Arc<MemoryEngine>, session: u64, memory_bytes: u64 },
}

impl Store {
    /// A new volume. Its objects live as long as the process, under its name.
    async fn whole(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        std::fs::write(&file, format!("[volumes.{name}]\nprovider = \"memory\"\n")).unwrap();
        let config = Config::load(Some(&file), &|_| None, &[]).unwrap().volume(name).unwrap();
        let options = CreateOptions { sse: None, block_bytes: BLOCK_BYTES };
        Volume::create(&config, options, &Ambient::system()).await.unwrap();
        Self::open(Origin::Whole(Box::new(config))).await
    }

    /// A new volume whose requests are those for its blocks.
    async fn blocks() -> Self {
        Self::blocks_with(MEMORY_BYTES).await
    }

    /// The same in so much memory, of which a quarter keeps what was read.
    async fn blocks_with(memory_bytes: u64) -> Self {
        let (objects, engine) = (MemoryStore::default(), Arc::new(MemoryEngine::new()));
        engine.commit(root_batch(&Ambient::seeded(1), 0, 0)).await.unwrap();
        Self::open(Origin::Blocks { objects, engine, session: 1, memory_bytes }).await
    }

    async fn open(origin: Origin) -> Self {
        let volume = match &origin {
            Origin::Whole(config) => Volume::open(config, options(), Ambient::system()).await,
            Origin::Blocks { objects, engine, session, memory_bytes } => {
                let parts = parts(objects, engine, SessionId(*session));
                Volume::start(Parts { memory_bytes: *memory_bytes, ..parts }).await
            }
        };
        let volume = volume.unwrap();
        let vfs = Vfs::new(volume.clone());
        Self { origin, volume, vfs }
    }

    /// The same volume as a new session sees it: nothing is in memory. Of blocks alone, since
    /// their metadata must not be closed.
    async fn cold(self) -> Self {
        self.volume.sync().await.unwrap();
        let Origin::Blocks { objects, engine, session, memory_bytes } = self.origin else {
            panic!("this volume was opened whole");
        };
        let session = session + 1;
        Self::open(Origin::Blocks { objects, engine, session, memory_bytes }).await
    }

    fn counts(&self) -> Counts {
        self.volume.status().counts
    }

    async fn make(&self, parent: Ino, name: &str, kind: FileKind) -> Attr {
        let new = NewInode { kind, permissions: 0o755, umask: 0, rdev: 0 };
        self.vfs.make(Caller::ROOT, parent, file_name(name), new).await.unwrap()
    }

    /// Makes a file with these bytes, as a program that writes and closes it.
    async fn write_file(&self, parent: Ino, name: &str, bytes: Vec<u8>) -> Ino {
        let ino = self.make(parent, name, FileKind::Regular).await.ino;
        let flags = OpenFlags { write: true, ..OpenFlags::default() };
        let handle = self.vfs.open(Caller::ROOT, ino, flags).await.unwrap().handle;
        let bytes = Bytes::from(bytes);
        for at in (0..bytes.len()).step_by(REQUEST_BYTES) {
            let piece = bytes.slice(at..bytes.len().min(at + REQUEST_BYTES));
            self.write(ino, handle, at, piece).await;
        }
        self.vfs.release(ino, handle).await;
        ino
    }

    async fn write(&self, ino: Ino, handle: u64, at: usize, bytes: Bytes) {
        let flags = WriteFlags::default();
        self.vfs.write(ino, handle, at as u64, bytes, flags).await.unwrap();
    }

    /// Reads a range in requests of the kernel's size.
    async fn read(&self, ino: Ino, at: usize, length: usize) -> Vec<u8> {
        let handle = self.vfs.open(Caller::ROOT, ino, OpenFlags::default()).await.unwrap().handle;
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let size = u32::try_from((length - bytes.len()).min(REQUEST_BYTES)).unwrap();
            let offset = (at + bytes.len()) as u64;
            let piece = self.vfs.read(ino, handle, offset, size).await.unwrap();
            assert!(!piece.is_empty(), "the file ends early");
            bytes.extend_from_slice(&piece);
        }
        self.vfs.release(ino, handle).await;
        bytes
    }

    /// Reads pages of a file at random, one after the other, each of which must be right.
    async fn read_pages(&self, ino: Ino, bytes: &[u8], count: u64) {
        let handle = self.vfs.open(Caller::ROOT, ino, OpenFlags::default()).await.unwrap().handle;
        let mut random = SmallRng::seed_from_u64(1);
        for _ in 0..count {
            let at = random.random_range(0..bytes.len() / PAGE_BYTES) * PAGE_BYTES;
            let page = self
                .vfs
                .read(ino, handle, at as u64, u32::try_from(PAGE_BYTES).unwrap())
                .await
                .unwrap();
            assert!(page == bytes[at..at + PAGE_BYTES], "the page at {at}");
        }
        self.vfs.release(ino, handle).await;
    }
}

fn options() -> OpenOptions {
    OpenOptions {
        sse: None,
        any_sse: false,
        takeover: false,
        read_only: false,
        memory_bytes: MEMORY_BYTES,
        commit_interval: NEVER,
        readahead_bytes: READAHEAD_BYTES,
        mountpoint: "/mnt".into(),
    }
}

fn parts(objects: &MemoryStore, engine: &Arc<MemoryEngine>, session: SessionId) -> Parts {
    let policy = Policy { mode: SseMode::None, verify: SseVerify::Warn };
    Parts {
        bucket: Bucket::memory(objects, Some(policy)),
        engine: engine.clone(),
        id: VolumeId([7; 16]),
        block_bytes: BLOCK_BYTES,
        names: NameKey::new([7; 32]),
        session: Some(session),
        memory_bytes: MEMORY_BYTES,
        commit_interval: NEVER,
        readahead_bytes: READAHEAD_BYTES,
        ambient: Ambient::system(),
    }
}

fn file_name(name: &str) -> FileName {
    FileName::new(name.as_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_small_files_and_one_fsync_are_at_most_one_put_per_mebibyte() {
    let store = Store::whole("small-files").await;
    let before = store.counts();
    for n in 0..10_000_u64 {
        let bytes = tools::noise(n, 4096);
        store.write_file(Ino::ROOT, &n.to_string(), bytes).await;
    }
    store.vfs.sync().await.unwrap();
    let (after, data_mebibytes) = (store.counts(), 10_000 * 4096 / MIB as u64);
    let puts = after.put - before.put;
    assert!(puts <= data_mebibytes, "{puts} PUTs for {data_mebibytes} MiB");
    let sent = (after.bytes_sent - before.bytes_sent) / MIB as u64;
    assert!(sent <= data_mebibytes * 5 / 4, "{sent} MiB sent for {data_mebibytes} MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_append_and_its_fsync_are_one_put() {
    let store = Store::whole("appends").await;
    let ino = store.make(Ino::ROOT, "log", FileKind::Regular).await.ino;
    let flags = OpenFlags { write: true, ..OpenFlags::default() };
    let handle = store.vfs.open(Caller::ROOT, ino, flags).await.unwrap().handle;
    store.vfs.fsync(ino).await.unwrap();
    let before = store.counts();
    for n in 0..100 {
        store.write(ino, handle, n * 512, Bytes::from(tools::noise(1, 512))).await;
        store.vfs.fsync(ino).await.unwrap();
    }
    let after = store.counts();
    let puts = after.put - before.put;
    assert!((100..=120).contains(&puts), "{puts} PUTs for 100 fsyncs");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_fsync_of_nothing_new_asks_the_store_nothing() {
    let store = Store::whole("idle").await;
    let ino = store.write_file(Ino::ROOT, "file", tools::noise(1, 100)).await;
    store.vfs.fsync(ino).await.unwrap();
    let before = store.counts();
    for _ in 0..50 {
        store.vfs.fsync(ino).await.unwrap();
    }
    let after = store.counts();
    assert!(after.put - before.put <= 1, "{} PUTs", after.put - before.put);
}

#[tokio::test(flavor = "multi_thread")]
async fn fsyncs_of_many_at_once_share_their_epoch() {
    let store = Store::whole("crowd").await;
    let mut files = Vec::new();
    for n in 0..64_u64 {
        files.push(store.write_file(Ino::ROOT, &n.to_string(), tools::noise(n, 2000)).await);
    }
    let before = store.counts().put;
    let synced = join_all(files.iter().map(|ino| store.vfs.fsync(*ino))).await;
    assert!(synced.iter().all(Result::is_ok));
    let puts = store.counts().put - before;
    assert!(puts <= 4, "{puts} PUTs for 64 fsyncs at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_one_put_for_each_block_and_little_more() {
    let store = Store::whole("stream").await;
    let before = store.counts();
    let ino = store.write_file(Ino::ROOT, "stream", tools::noise(1, 64 * MIB)).await;
    store.vfs.fsync(ino).await.unwrap();
    let after = store.counts();
    let puts = after.put - before.put;
    assert!((16..=20).contains(&puts), "{puts} PUTs for 16 blocks");
    let sent = after.bytes_sent - before.bytes_sent;
    assert!(sent <= 65 * MIB as u64, "{sent} bytes sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_names_made_moved_and_removed_are_one_epoch() {
    let store = Store::whole("names").await;
    let before = store.counts();
    for n in 0..1000 {
        store.make(Ino::ROOT, &format!("before {n}"), FileKind::Directory).await;
        let (from, to) = (file_name(&format!("before {n}")), file_name(&format!("after {n}")));
        let moved = store.vfs.rename(Ino::ROOT, from, Ino::ROOT, to, RenameMode::Replace);
        moved.await.unwrap();
    }
    for n in 0..500 {
        store.vfs.rmdir(Ino::ROOT, file_name(&format!("after {n}"))).await.unwrap();
    }
    store.vfs.sync().await.unwrap();
    let puts = store.counts().put - before.put;
    assert!(puts <= 3, "{puts} PUTs for 2500 changes of names");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_memory_holds_are_read_without_a_request() {
    let store = Store::blocks().await;
    let bytes = tools::noise(1, 3 * MIB);
    let ino = store.write_file(Ino::ROOT, "file", bytes.clone()).await;
    let before = store.counts().get;
    assert!(store.read(ino, 0, 3 * MIB).await == bytes);
    assert_eq!(store.counts().get, before, "dirty bytes are in memory");

    store.vfs.fsync(ino).await.unwrap();
    assert!(store.read(ino, 0, 3 * MIB).await == bytes);
    let before = store.counts().get;
    assert!(store.read(ino, 0, 3 * MIB).await == bytes);
    assert_eq!(store.counts().get, before, "read once, they are cached");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_read_within_a_block_is_one_ranged_get() {
    let store = Store::blocks().await;
    let bytes = tools::noise(1, 16 * MIB);
    let ino = store.write_file(Ino::ROOT, "file", bytes.clone()).await;
    let store = store.cold().await;
    // Far from the beginning, where a first read is not taken for the start of a stream.
    let before = store.counts();
    assert!(store.read(ino, 5 * MIB, MIB).await == bytes[5 * MIB..6 * MIB]);
    let after = store.counts();
    assert_eq!(after.get - before.get, 1, "GETs for 1 MiB within a block");
    let received = after.bytes_received - before.bytes_received;
    assert!(received <= MIB as u64 * 9 / 8, "{received} bytes received for 1 MiB");

    let before = store.counts();
    let at = 13 * MIB + 1000;
    assert!(store.read(ino, at, 4096).await == bytes[at..at + 4096]);
    let after = store.counts();
    assert_eq!(after.get - before.get, 1, "GETs for 4 KiB");
    let received = after.bytes_received - before.bytes_received;
    assert!(received <= 140_000, "{received} bytes received for 4 KiB: more than a frame");
}

#[tokio::test(flavor = "multi_thread")]
async fn random_reads_of_a_file_that_fits_are_three_gets_a_block() {
    let store = Store::blocks().await;
    let bytes = tools::noise(1, 32 * MIB);
    let ino = store.write_file(Ino::ROOT, "file", bytes.clone()).await;
    let store = store.cold().await;
    let before = store.counts();
    store.read_pages(ino, &bytes, 1000).await;
    let after = store.counts();
    // A frame for each of two misses, and the rest. Reads that happen to follow each other look
    // like a stream now and then.
    let gets = after.get - before.get;
    assert!(gets <= 40, "{gets} GETs for 1000 pages of 8 blocks");
    let received = after.bytes_received - before.bytes_received;
    assert!(received <= 40 * MIB as u64, "{received} bytes received of 32 MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn random_reads_of_a_file_that_does_not_fit_fetch_frames() {
    let cached = 32 * MIB;
    let store = Store::blocks_with(4 * cached as u64).await;
    let bytes = tools::noise(1, 4 * cached);
    let ino = store.write_file(Ino::ROOT, "file", bytes.clone()).await;
    let store = store.cold().await;
    let before = store.counts();
    store.read_pages(ino, &bytes, 1000).await;
    let received = store.counts().bytes_received - before.bytes_received;
    let frames = 1000 * 128 * 1024;
    // Blocks come whole while there is room, and how much of them is read before they are pushed
    // out again is chance; a block for each page would be four gigabytes.
    assert!(received <= 2 * (frames + cached as u64), "{received} bytes for 1000 pages");
}

#[tokio::test(flavor = "multi_thread")]
async fn small_files_of_one_block_are_read_in_far_fewer_gets_than_there_are_files() {
    let store = Store::blocks().await;
    let mut files = Vec::new();
    for n in 0..1000_u64 {
        files.push(store.write_file(Ino::ROOT, &n.to_string(), tools::noise(n, 4096)).await);
    }
    let store = store.cold().await;
    let before = store.counts().get;
    for (n, ino) in (0..).zip(&files) {
        assert!(store.read(*ino, 0, 4096).await == tools::noise(n, 4096));
    }
    let gets = store.counts().get - before;
    assert!(gets <= 100, "{gets} GETs for 1000 files in neighbouring frames");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_stream_is_deleted_without_reading_it() {
    let store = Store::whole("removal").await;
    let ino = store.write_file(Ino::ROOT, "stream", tools::noise(1, 64 * MIB)).await;
    store.vfs.fsync(ino).await.unwrap();
    let before = store.counts();
    store.vfs.unlink(Ino::ROOT, file_name("stream")).await.unwrap();
    store.vfs.sync().await.unwrap();
    store.volume.gc().await.unwrap();
    let after = store.counts();
    let (puts, gets) = (after.put - before.put, after.get - before.get);
    assert!(puts <= 6 && gets <= 4, "{puts} PUTs and {gets} GETs to remove 16 blocks");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_written_over_a_stream_are_read_block_by_block_and_not_page_by_page() {
    let store = Store::blocks().await;
    let mut bytes = tools::noise(1, 16 * MIB);
    let ino = store.write_file(Ino::ROOT, "file", bytes.clone()).await;
    store.vfs.sync().await.unwrap();
    let flags = OpenFlags { write: true, ..OpenFlags::default() };
    let handle = store.vfs.open(Caller::ROOT, ino, flags).await.unwrap().handle;
    for at in (0..bytes.len()).step_by(4 * PAGE_BYTES) {
        let page = tools::noise(at as u64, PAGE_BYTES);
        bytes[at..at + PAGE_BYTES].copy_from_slice(&page);
        store.write(ino, handle, at, page.into()).await;
    }
    store.vfs.release(ino, handle).await;
    let store = store.cold().await;
    let before = store.counts().get;
    assert!(store.read(ino, 0, bytes.len()).await == bytes);
    let gets = store.counts().get - before;
    assert!(gets <= 30, "{gets} GETs for 1,024 pages between those of four blocks");
}
