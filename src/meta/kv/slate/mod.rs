//! SlateDB in the volume's bucket: the engine of a volume that one machine writes.
//!
//! A commit is one `WriteBatch` and one flush. SlateDB appends a batch to its log buffer in one
//! step, under a lock, and cuts log objects between such steps only; so a batch lies in one log
//! object, which one PUT creates, and in one memtable. After a crash it is there wholly or not at
//! all. Knows no key's meaning; sees the store through [`Bucket`] only.

mod clock;
mod fault;
mod log;
mod names;
mod ownership;
mod reader;
mod settings;
mod store;
#[cfg(all(test, feature = "testing"))]
mod crash_tests;
#[cfg(all(test, feature = "testing"))]
pub(super) mod tests;

use std::collections::BTreeSet;
use std::ops::Range;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use slatedb::CompactorBuilder;
use slatedb::Db;
use slatedb::DbIterator;
use slatedb::DbStatus;
use slatedb::SstBlockSize;
use slatedb::WriteBatch;
use slatedb::config::CloseOptions;
use slatedb::config::DurabilityLevel;
use slatedb::config::FlushOptions;
use slatedb::config::FlushType;
use slatedb::config::ReadOptions;
use slatedb::config::ScanOptions;
use tokio::runtime::Handle;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::timeout;

pub use reader::SlateReader;
pub use settings::SlateOptions;

use self::clock::Clock;
use self::fault::Verdict;
use self::log::Log;
use self::names::Names;
use self::ownership::Watch;
use self::store::Store;
use super::Batch;
use super::Engine;
use super::Following;
use crate::ambient;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::object::Bucket;
use crate::object::name;
use crate::object::name::ENGINE_PREFIX;
use crate::object::name::Sequence;
use crate::object::tenure::Tenure;

/// After so many commits the memtable is written out, however small it is: each commit is a log
/// object, which the next mount reads and which is deleted only after.
const COMMITS_PER_MEMTABLE: u64 = 1024;

/// Machines that keep their time differ by less.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(2);

/// What a scan fetches ahead, so that a cold directory is few requests.
const READ_AHEAD_BYTES: usize = 128 << 10;

/// The metadata engine of a mount that owns its volume.
pub struct SlateEngine {
    db: Db,
    store: Arc<Store>,
    status: watch::Receiver<DbStatus>,
    verdict: Arc<Verdict>,
    commits: AtomicU64,
    runtime: Handle,
    /// Compaction and garbage collection compute here, off the threads that answer.
    _background: Background,
    /// Looks for later claims while nothing is written, where no store refuses them.
    _watch: Option<Watch>,
}

impl SlateEngine {
    /// Opens the metadata below `meta/db/`, creates it if there is none, and thereby fences
    /// whoever had it open. Background work runs on the runtime of the caller.
    ///
    /// `Kind::Unavailable` when the store did not answer within `deadline`; `Kind::Fenced` when
    /// another session opened it at the same time; what the store refuses (`Kind::Denied`,
    /// `Kind::Policy`) ends the opening at once.
    pub async fn open(bucket: Bucket, options: SlateOptions, deadline: Duration) -> Result<Self> {
        Self::open_within(bucket, Names::Plain, options, deadline).await
    }

    /// The same, of a claim that has begun on a store that cannot refuse a second writer.
    pub async fn open_owned(
        tenure: Arc<Tenure>,
        options: SlateOptions,
        deadline: Duration,
    ) -> Result<Self> {
        let bucket = tenure.bucket().clone();
        Self::open_within(bucket, Names::Owned(tenure), options, deadline).await
    }

    async fn open_within(
        bucket: Bucket,
        names: Names,
        options: SlateOptions,
        deadline: Duration,
    ) -> Result<Self> {
        let clock = Clock::showing(ambient::system_time().into());
        let opening = Self::open_with_clock(bucket.clone(), names, options, clock);
        match timeout(deadline, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(late(&bucket, deadline)),
        }
        .map_err(|error| error.while_doing("cannot open the volume's metadata"))
    }

    async fn open_with_clock(
        bucket: Bucket,
        names: Names,
        options: SlateOptions,
        clock: Clock,
    ) -> Result<Self> {
        let clock = Arc::new(clock);
        let verdict = Arc::new(Verdict::new());
        let (updates, watched) = match &names {
            Names::Owned(tenure) => (false, Some(tenure.clone())),
            Names::Plain | Names::Followed(_) => (bucket.provider().conditional_update, None),
        };
        let store = Arc::new(Store::new(bucket, names, verdict.clone()));
        let background = Background::start()?;
        let compactor = CompactorBuilder::new(path(), store.clone())
            .with_options(settings::compaction())
            .with_runtime(background.handle());
        let opening = Db::builder(path(), store.clone())
            .with_settings(settings::settings(&options, updates))
            .with_sst_block_size(SstBlockSize::Block16Kib)
            .with_db_cache(settings::cache(options.cache_bytes), 0)
            .with_compactor_builder(compactor)
            .with_gc_runtime(background.handle())
            .with_system_clock(clock.clone())
            .build();
        let db = Box::pin(opening).await.map_err(fault::from_slate)?;
        verdict.opened();
        let (status, runtime) = (db.subscribe(), Handle::current());
        let (commits, _background) = (AtomicU64::new(0), background);
        let _watch = watched.map(|tenure| Watch::start(tenure, verdict.clone()));
        let engine = Self { db, store, status, verdict, commits, runtime, _background, _watch };
        engine.pass_last_write(&clock).await?;
        Ok(engine)
    }

    /// Writes have times after those of the last session's.
    async fn pass_last_write(&self, clock: &Clock) -> Result<()> {
        let key = settings::every_batch();
        let last = self.db.get_key_value_with_options(key, &read_options()).await;
        let Some(last) = last.map_err(fault::from_slate)? else { return Ok(()) };
        let behind = clock.pass(last.create_ts);
        if behind > CLOCK_TOLERANCE {
            tracing::warn!(
                ?behind,
                "this machine's clock is behind that of the volume's last writer; set the one \
                 that is wrong, since the times of files come from it"
            );
        }
        Ok(())
    }

    async fn write(&self, batch: Batch) -> Result<(), slatedb::Error> {
        let mut changes = WriteBatch::new();
        for (key, value) in batch {
            match value {
                Some(value) => changes.put_bytes(key, value),
                None => changes.delete(key),
            }
        }
        self.db.write(changes).await?;
        self.db.flush().await
    }

    /// Bounds what the next mount has to replay.
    fn count_commit(&self) {
        let commits = self.commits.fetch_add(1, Ordering::Relaxed) + 1;
        if !commits.is_multiple_of(COMMITS_PER_MEMTABLE) {
            return;
        }
        let db = self.db.clone();
        self.runtime.spawn(async move {
            let memtable = FlushOptions { flush_type: FlushType::MemTable };
            if let Err(error) = db.flush_with_options(memtable).await {
                tracing::debug!(%error, "the memtable was not written out");
            }
        });
    }
}

#[async_trait]
impl Engine for SlateEngine {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.db.get_with_options(key, &read_options()).await.map_err(fault::from_slate)
    }

    async fn scan(&self, range: Range<Bytes>, limit: usize) -> Result<Vec<(Bytes, Bytes)>> {
        if range.is_empty() || limit == 0 {
            return Ok(Vec::new());
        }
        let entries = self.db.scan_with_options(range, &scan_options()).await;
        take(entries.map_err(fault::from_slate)?, limit).await
    }

    async fn commit(&self, batch: Batch) -> Result<()> {
        self.health()?;
        if batch.is_empty() {
            return Ok(());
        }
        tokio::select! {
            biased;
            refusal = self.verdict.refusal() => Err(refusal.error()),
            written = self.write(batch) => {
                written.map_err(fault::from_slate)?;
                self.count_commit();
                Ok(())
            }
        }
    }

    fn objects(&self) -> Vec<String> {
        objects_of(&self.status.borrow(), &self.store)
    }

    async fn holes(&self) -> Result<Vec<RangeInclusive<u64>>> {
        holes(&self.status, &self.store).await
    }

    fn needs(&self, name: &str) -> bool {
        needs(&self.status.borrow(), &self.store, name)
    }

    fn health(&self) -> Result<()> {
        if let Some(refusal) = self.verdict.refused() {
            return Err(refusal.error());
        }
        match self.status.borrow().close_reason {
            Some(reason) => Err(fault::closed(reason)),
            None => Ok(()),
        }
    }

    async fn close(&self, deadline: Duration) -> Result<()> {
        match timeout(deadline, self.db.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the metadata engine was closed already"),
            Err(_) => tracing::warn!("the metadata engine did not close in time; its log has all"),
        }
        Ok(())
    }
}

impl Drop for SlateEngine {
    /// Like a crash: stops the background work and flushes nothing.
    fn drop(&mut self) {
        let db = self.db.clone();
        self.runtime.spawn(async move {
            let at_once = CloseOptions::default().with_flush_type(None);
            if let Err(error) = db.close_with_options(at_once).await {
                tracing::trace!(%error, "the metadata engine was closed already");
            }
        });
    }
}

/// The thread of background work. It may be dropped anywhere, also with a future that is given up
/// while the engine opens; a runtime by itself may not.
struct Background(Option<Runtime>);

impl Background {
    fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("cairnfs-compact")
            .enable_time()
            .build();
        let runtime = runtime
            .map_err(|cause| Error::new(Kind::Internal, "cannot start a thread").because(cause))?;
        Ok(Self(Some(runtime)))
    }

    fn handle(&self) -> Handle {
        self.0.as_ref().expect("it is there until the drop").handle().clone()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// The newest manifest, and the tables that it names.
fn objects_of(status: &DbStatus, store: &Store) -> Vec<String> {
    let tables =
        status.current_manifest.all_sst_views().map(|view| name::table(view.sst.id.value()));
    let mut names: BTreeSet<_> = tables.collect();
    let manifest = log::manifest(status, store.created());
    names.insert(store.names().stored(Sequence::Manifest, manifest));
    names.into_iter().collect()
}

async fn holes(
    status: &watch::Receiver<DbStatus>,
    store: &Store,
) -> Result<Vec<RangeInclusive<u64>>> {
    // Before the look, so that what is created meanwhile is not missed in it.
    let log = Log::of(&status.borrow(), store.created());
    let present = store.names().present(store.bucket(), Sequence::Wal).await?;
    Ok(log.holes(&present))
}

fn needs(status: &DbStatus, store: &Store, name: &str) -> bool {
    match store.names().number_of(name) {
        Some((Sequence::Wal, number)) => Log::of(status, store.created()).needs(number),
        Some((Sequence::Manifest, number)) => number >= log::manifest(status, store.created()),
        Some((sequence @ (Sequence::Compactions | Sequence::State), number)) => {
            number >= store.created().last(sequence)
        }
        None => objects_of(status, store).iter().any(|object| object == name),
    }
}

fn path() -> &'static str {
    ENGINE_PREFIX.trim_end_matches('/')
}

fn late(bucket: &Bucket, deadline: Duration) -> Error {
    let error = Error::new(Kind::Unavailable, format!("the store did not answer in {deadline:?}"));
    match bucket.state().last_error {
        Some(last) => error.with("its last error:", last),
        None => error,
    }
}

/// What is not durable is not read: the overlay above holds it.
fn read_options() -> ReadOptions {
    ReadOptions::default().with_durability_filter(DurabilityLevel::Remote)
}

fn scan_options() -> ScanOptions {
    ScanOptions::default()
        .with_durability_filter(DurabilityLevel::Remote)
        .with_cache_blocks(true)
        .with_read_ahead_bytes(READ_AHEAD_BYTES)
}

async fn take(mut entries: DbIterator, limit: usize) -> Result<Vec<(Bytes, Bytes)>> {
    let mut taken = Vec::new();
    while taken.len() < limit {
        match entries.next().await.map_err(fault::from_slate)? {
            Some(entry) => taken.push((entry.key, entry.value)),
            None => break,
        }
    }
    Ok(taken)
}
