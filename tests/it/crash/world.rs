//! One run: a store in memory that crashes, a volume on it, four actors, and the verdict.

use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use rand::Rng;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

use cairnfs::ambient::Ambient;
use cairnfs::config::SseVerify;
use cairnfs::crypto::NameKey;
use cairnfs::error::Kind;
use cairnfs::meta::kv::Engine;
use cairnfs::meta::kv::SlateEngine;
use cairnfs::meta::kv::SlateOptions;
use cairnfs::meta::root_batch;
use cairnfs::object::Bucket;
use cairnfs::object::MemoryStore;
use cairnfs::object::Policy;
use cairnfs::object::fault::Counted;
use cairnfs::object::fault::FaultControl;
use cairnfs::object::fault::Faults;
use cairnfs::provider::SseMode;
use cairnfs::types::FileName;
use cairnfs::types::Ino;
use cairnfs::types::SessionId;
use cairnfs::types::VolumeId;
use cairnfs::vfs::Allocate;
use cairnfs::vfs::Attr;
use cairnfs::vfs::Caller;
use cairnfs::vfs::FileKind;
use cairnfs::vfs::NewInode;
use cairnfs::vfs::RenameMode;
use cairnfs::vfs::SetAttr;
use cairnfs::vfs::SetXattr;
use cairnfs::vfs::Vfs;
use cairnfs::vfs::WriteFlags;
use cairnfs::volume::Parts;
use cairnfs::volume::Volume;

use super::model::DIRS;
use super::model::File;
use super::model::Model;
use super::model::Op;
use super::model::Path;
use super::model::Seen;

const ACTORS: u64 = 4;
const OPERATIONS_OF_ONE: usize = 60;
const NAMES: u8 = 5;
const LABEL: &[u8] = b"user.label";
const DEADLINE: Duration = Duration::from_secs(20);

/// What a run does.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub seed: u64,
    /// Requests before the store crashes; `None`: it does not, and the volume is closed.
    pub crash_after: Option<u64>,
    /// Whether the last request is applied, though nobody is told.
    pub applied: bool,
}

/// How a run went.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What is wrong, if anything.
    pub fault: Option<String>,
    pub crashed: bool,
    pub operations: usize,
    pub synced: usize,
}

/// What happened, in the one order in which it happened.
#[derive(Default)]
struct Log {
    model: Model,
    done: Vec<Op>,
    /// Was under way when the store crashed: it may have happened.
    open: Option<Op>,
    /// Operations that an acknowledged sync covers.
    synced: usize,
}

/// A volume with its directories, made once.
static PREPARED: LazyLock<MemoryStore> = LazyLock::new(|| {
    let store = MemoryStore::default();
    let before = runtime();
    before.block_on(prepare(&store));
    before.shutdown_background();
    store
});

/// A store with a volume that has its directories.
pub fn prepared() -> MemoryStore {
    PREPARED.copy()
}

/// Runs a plan in runtimes of its own, so that a crash ends every task of the volume at once.
pub fn run(plan: Plan) -> Outcome {
    let store = prepared();
    let log = Arc::new(Mutex::new(Log::default()));
    let life = runtime();
    let crashed = life.block_on(live(plan, &store, log.clone()));
    life.shutdown_background();

    let after = runtime();
    let outcome = after.block_on(async {
        let log = log.lock().await;
        let fault = verdict(&store, &log).await.err();
        Outcome { fault, crashed, operations: log.done.len(), synced: log.synced }
    });
    after.shutdown_background();
    outcome
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The store without faults.
pub fn bucket(store: &MemoryStore) -> Bucket {
    let policy = Policy { mode: SseMode::None, verify: SseVerify::Warn };
    Bucket::memory(store, Some(policy))
}

async fn prepare(store: &MemoryStore) {
    let engine = engine(bucket(store)).await;
    engine.commit(root_batch(&Ambient::seeded(0), 0, 0)).await.unwrap();
    engine.close(DEADLINE).await.unwrap();
    let volume = volume(bucket(store), 1, 0).await;
    let vfs = Vfs::new(volume.clone());
    for dir in DIRS {
        let new = NewInode { kind: FileKind::Directory, permissions: 0o755, umask: 0, rdev: 0 };
        vfs.make(Caller::ROOT, Ino::ROOT, name(dir), new).await.unwrap();
    }
    volume.close(DEADLINE).await.unwrap();
}

async fn engine(bucket: Bucket) -> SlateEngine {
    let options = SlateOptions { cache_bytes: 4 << 20, memtable_bytes: 4 << 20 };
    SlateEngine::open(bucket, options, DEADLINE).await.unwrap()
}

/// Opens the volume as session `session`.
pub async fn volume(bucket: Bucket, session: u64, seed: u64) -> Arc<Volume> {
    let engine = Arc::new(engine(bucket.clone()).await);
    start(bucket, engine, session, seed).await.unwrap()
}

async fn start(
    bucket: Bucket,
    engine: Arc<dyn Engine>,
    session: u64,
    seed: u64,
) -> cairnfs::error::Result<Arc<Volume>> {
    Volume::start(Parts {
        bucket,
        engine,
        id: VolumeId([7; 16]),
        block_bytes: 256 << 10,
        names: NameKey::new([7; 32]),
        session: Some(SessionId(session)),
        memory_bytes: 64 << 20,
        commit_interval: Duration::from_millis(5),
        readahead_bytes: 0,
        ambient: Ambient::seeded(seed ^ session),
    })
    .await
}

/// Four actors at work until the store crashes, or until they are done.
async fn live(plan: Plan, store: &MemoryStore, log: Arc<Mutex<Log>>) -> bool {
    let faults = Faults {
        seed: plan.seed,
        crash_after: plan.crash_after,
        counted: Counted::Changes,
        apply_then_fail: plan.applied,
        ..Faults::default()
    };
    let (bucket, control) = bucket(store).with_faults(faults);
    let opening = async {
        let options = SlateOptions { cache_bytes: 4 << 20, memtable_bytes: 4 << 20 };
        let engine = Arc::new(SlateEngine::open(bucket.clone(), options, DEADLINE).await?);
        start(bucket.clone(), engine, 2, plan.seed).await
    };
    let volume = tokio::select! {
        opened = opening => match opened {
            Ok(volume) => volume,
            Err(_) => return control.crashed(),
        },
        () = crash(&control) => return true,
    };
    let vfs = Vfs::new(volume.clone());
    let actors: Vec<_> = (0..ACTORS)
        .map(|actor| {
            let random = StdRng::seed_from_u64(plan.seed * ACTORS + actor);
            tokio::spawn(act(vfs.clone(), log.clone(), random, control.clone()))
        })
        .collect();
    let work = async {
        for actor in actors {
            actor.await.unwrap();
        }
        volume.close(DEADLINE).await
    };
    tokio::select! {
        closed = work => {
            if closed.is_ok() {
                let mut log = log.lock().await;
                log.synced = log.done.len();
            }
            control.crashed()
        }
        () = crash(&control) => true,
    }
}

/// Resolves a moment after the store has crashed: long enough for a false acknowledgement.
async fn crash(control: &FaultControl) {
    while !control.crashed() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(3)).await;
}

async fn act(vfs: Arc<Vfs>, log: Arc<Mutex<Log>>, mut random: StdRng, control: FaultControl) {
    for _ in 0..OPERATIONS_OF_ONE {
        if random.random_ratio(1, 6) {
            let covered = log.lock().await.done.len();
            if vfs.sync().await.is_ok() {
                let mut log = log.lock().await;
                log.synced = log.synced.max(covered);
            }
            continue;
        }
        let op = draw(&mut random);
        let mut log = log.lock().await;
        log.open = Some(op.clone());
        let expected = log.model.clone().apply(&op);
        match perform(&vfs, &op).await {
            Ok(()) => assert!(expected, "{op:?} should have failed"),
            // What needs the store after the crash fails; it stays the one that is open.
            Err(_) if expected && control.crashed() => return,
            Err(error) => assert!(!expected, "{op:?} failed: {error}"),
        }
        log.model.apply(&op);
        log.done.push(op);
        log.open = None;
        if random.random_ratio(1, 4) {
            let path = draw_path(&mut random);
            if let Some(expected) = log.model.file(path) {
                match read(&vfs, path).await {
                    Ok((_, found)) => assert!(found == *expected, "{path:?} reads differently"),
                    Err(error) => assert!(control.crashed(), "{path:?} does not read: {error}"),
                }
            }
        }
    }
}

fn draw_path(random: &mut StdRng) -> Path {
    (random.random_range(0..DIRS.len()), random.random_range(0..NAMES))
}

fn draw(random: &mut StdRng) -> Op {
    let (path, other) = (draw_path(random), draw_path(random));
    let offset = match random.random_range(0..3) {
        0 => 0,
        1 => random.random_range(0..8) * 4096,
        _ => random.random_range(0..400_000),
    };
    let len = match random.random_range(0..8) {
        0 => random.random_range(200_000..700_000),
        1 => 64 << 10,
        _ => random.random_range(1..9_000),
    };
    match random.random_range(0..16) {
        0..4 => Op::Create(path),
        4..10 => Op::Write { path, offset, len, fill: random.random_range(1..=255) },
        10 => Op::Truncate(path, if random.random_bool(0.3) { 0 } else { offset }),
        11 => Op::Punch { path, offset, len },
        12 => Op::Rename(path, other),
        13 => Op::Link(path, other),
        14 => Op::Unlink(path),
        _ => Op::Label(path, random.random()),
    }
}

fn name(text: &str) -> FileName {
    FileName::new(text.as_bytes()).unwrap()
}

fn file_name(path: Path) -> FileName {
    name(&format!("f{}", path.1))
}

async fn dir(vfs: &Vfs, path: Path) -> cairnfs::error::Result<Ino> {
    Ok(vfs.lookup(Ino::ROOT, name(DIRS[path.0])).await?.ino)
}

async fn lookup(vfs: &Vfs, path: Path) -> cairnfs::error::Result<Attr> {
    vfs.lookup(dir(vfs, path).await?, file_name(path)).await
}

async fn perform(vfs: &Vfs, op: &Op) -> cairnfs::error::Result<()> {
    match op {
        Op::Create(path) => {
            let new = NewInode { kind: FileKind::Regular, permissions: 0o644, umask: 0, rdev: 0 };
            let parent = dir(vfs, *path).await?;
            vfs.make(Caller::ROOT, parent, file_name(*path), new).await.map(drop)
        }
        Op::Write { path, offset, len, fill } => {
            let ino = lookup(vfs, *path).await?.ino;
            let data = Bytes::from(vec![*fill; *len]);
            vfs.write(ino, 0, *offset as u64, data, WriteFlags::default()).await.map(drop)
        }
        Op::Truncate(path, size) => {
            let ino = lookup(vfs, *path).await?.ino;
            let set = SetAttr { size: Some(*size as u64), ..SetAttr::default() };
            vfs.setattr(Caller::ROOT, ino, set).await.map(drop)
        }
        Op::Punch { path, offset, len } => {
            let ino = lookup(vfs, *path).await?.ino;
            let range = (*offset as u64, *len as u64);
            vfs.fallocate(Caller::ROOT, ino, range, Allocate::PunchHole).await.map(drop)
        }
        Op::Rename(from, to) => {
            let (parent, new_parent) = (dir(vfs, *from).await?, dir(vfs, *to).await?);
            let (from, to) = (file_name(*from), file_name(*to));
            vfs.rename(parent, from, new_parent, to, RenameMode::Replace).await
        }
        Op::Link(from, to) => {
            let ino = lookup(vfs, *from).await?.ino;
            vfs.link(ino, dir(vfs, *to).await?, file_name(*to)).await.map(drop)
        }
        Op::Unlink(path) => vfs.unlink(dir(vfs, *path).await?, file_name(*path)).await,
        Op::Label(path, label) => {
            let ino = lookup(vfs, *path).await?.ino;
            let value = Bytes::copy_from_slice(&[*label]);
            let any = SetXattr::Any;
            vfs.setxattr(Caller::ROOT, ino, Bytes::from_static(LABEL), value, any).await
        }
    }
}

async fn read(vfs: &Vfs, path: Path) -> cairnfs::error::Result<(Attr, File)> {
    let attr = lookup(vfs, path).await?;
    let size = u32::try_from(attr.size).unwrap();
    let bytes = vfs.read(attr.ino, 0, 0, size).await?.to_vec();
    assert_eq!(bytes.len() as u64, attr.size, "a read ends at the end of the file only");
    let label = match vfs.getxattr(attr.ino, Bytes::from_static(LABEL)).await {
        Ok(value) => Some(value[0]),
        Err(error) if error.kind() == Kind::NoAttribute => None,
        Err(error) => return Err(error),
    };
    Ok((attr, File { bytes, label }))
}

/// Mounts what the crash left and compares it with every instant that it may be.
async fn verdict(store: &MemoryStore, log: &Log) -> Result<(), String> {
    let volume = volume(bucket(store), 3, 0).await;
    let vfs = Vfs::new(volume.clone());
    vfs.reap_orphans().await.map_err(|error| format!("orphans: {error}"))?;
    let findings = volume.fsck().await.map_err(|error| format!("fsck: {error}"))?;
    if !findings.is_empty() {
        return Err(format!("fsck: {findings:?}"));
    }
    let found = look(&vfs).await;
    let mut model = Model::default();
    let mut instants = vec![model.seen()];
    for op in log.done.iter().chain(&log.open) {
        model.apply(op);
        instants.push(model.seen());
    }
    if instants[log.synced..].contains(&found) {
        return Ok(());
    }
    let too_old = instants[..log.synced].iter().rposition(|instant| *instant == found);
    Err(match too_old {
        Some(at) => format!("the volume is at {at}, but {} were acknowledged", log.synced),
        None => format!("the volume is at no instant of {} operations", log.done.len()),
    })
}

async fn look(vfs: &Vfs) -> Seen {
    let mut files = Vec::new();
    for at in 0..DIRS.len() {
        for number in 0..NAMES {
            match read(vfs, (at, number)).await {
                Ok((attr, file)) => files.push(((at, number), attr, file)),
                Err(error) => assert_eq!(error.kind(), Kind::NotFound, "{error}"),
            }
        }
    }
    let mut seen = Seen::new();
    for (path, attr, file) in &files {
        let same = files.iter().filter(|(_, other, _)| other.ino == attr.ino);
        let group: Vec<_> = same.map(|(path, ..)| *path).collect();
        assert_eq!(group.len(), attr.nlink as usize, "the names of {path:?} are its links");
        seen.insert(*path, (group, file.clone()));
    }
    seen
}
