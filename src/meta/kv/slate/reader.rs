//! Reads a volume's metadata without owning it: follows the latest state and writes nothing at
//! all, so that credentials that can only read suffice.

use std::ops::Range;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use parking_lot::Mutex;
use slatedb::DbReader;
use slatedb::DbReaderMode;
use slatedb::DbStatus;
use slatedb::config::DbReaderOptions;
use tokio::sync::watch;
use tokio::time::timeout;

use super::Batch;
use super::Engine;
use super::Following;
use super::fault;
use super::fault::Verdict;
use super::names::Names;
use super::settings;
use super::store::Store;
use crate::ambient::instant;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::object::Bucket;
use crate::object::name::ENGINE_PREFIX;
use crate::object::name::Sequence;
use crate::object::tenure::Follower;
use crate::types::VolumeId;

/// How long the opening waits for a store that is away.
const OPEN_DEADLINE: Duration = Duration::from_secs(30);

/// How often it looks for what the writer has made durable.
const FOLLOW_EVERY: Duration = Duration::from_secs(10);

/// SlateDB tells of a new state just before it answers from it; after this it certainly does.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// Memory for blocks, indexes and filters.
const CACHE_BYTES: u64 = 32 << 20;

/// A read-only engine over a bucket that somebody else may be writing.
pub struct SlateReader {
    reader: DbReader,
    store: Arc<Store>,
    status: watch::Receiver<DbStatus>,
    /// The state that was seen last, and since when.
    seen: Mutex<(u64, Instant)>,
}

impl SlateReader {
    /// Opens the metadata at its latest durable state and follows it every ten seconds.
    ///
    /// `Kind::NotFound` when the bucket holds no metadata, `Kind::Unavailable` when the store does
    /// not answer in thirty seconds.
    pub async fn open(bucket: Bucket) -> Result<Self> {
        Self::open_within(bucket, Names::Plain).await
    }

    /// The same, of a volume on a store that cannot refuse a second writer.
    pub async fn open_following(bucket: Bucket, volume: VolumeId) -> Result<Self> {
        let sequences = &[Sequence::Wal, Sequence::Manifest, Sequence::Compactions];
        let follower = Follower::new(bucket.clone(), volume, sequences);
        Self::open_within(bucket, Names::Followed(Arc::new(follower))).await
    }

    async fn open_within(bucket: Bucket, names: Names) -> Result<Self> {
        let opening = Self::open_unbounded(bucket.clone(), names);
        let opened = match timeout(OPEN_DEADLINE, Box::pin(opening)).await {
            Ok(opened) => opened,
            Err(_) => Err(super::late(&bucket, OPEN_DEADLINE)),
        };
        opened.map_err(|error| error.while_doing("cannot read the volume's metadata"))
    }

    async fn open_unbounded(bucket: Bucket, names: Names) -> Result<Self> {
        if bucket.list(ENGINE_PREFIX).next().await.transpose()?.is_none() {
            return Err(Error::new(Kind::NotFound, "the bucket holds no metadata")
                .with("prefix", ENGINE_PREFIX));
        }
        let verdict = Arc::new(Verdict::new());
        let store = Arc::new(Store::new(bucket, names, verdict.clone()));
        let options =
            DbReaderOptions { manifest_poll_interval: FOLLOW_EVERY, ..Default::default() };
        let reader = DbReader::builder(super::path(), store.clone())
            .with_options(options)
            .with_reader_mode(DbReaderMode::FollowLatest)
            .with_db_cache(settings::cache(CACHE_BYTES), 0)
            .build()
            .await
            .map_err(fault::from_slate)?;
        verdict.opened();
        let status = reader.subscribe();
        let seen = Mutex::new((status.borrow().durable_seq, instant()));
        Ok(Self { reader, store, status, seen })
    }
}

#[async_trait]
impl Engine for SlateReader {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.reader.get(key).await.map_err(fault::from_slate)
    }

    async fn scan(&self, range: Range<Bytes>, limit: usize) -> Result<Vec<(Bytes, Bytes)>> {
        if range.is_empty() || limit == 0 {
            return Ok(Vec::new());
        }
        let entries = self.reader.scan_with_options(range, &super::scan_options()).await;
        super::take(entries.map_err(fault::from_slate)?, limit).await
    }

    async fn commit(&self, _batch: Batch) -> Result<()> {
        Err(Error::new(Kind::ReadOnly, "the volume's metadata is opened for reading only"))
    }

    fn following(&self) -> Option<Following> {
        let state = self.status.borrow().durable_seq;
        let mut seen = self.seen.lock();
        if seen.0 != state {
            *seen = (state, instant());
        }
        let settled = seen.1.elapsed() >= SETTLED_AFTER;
        Some(Following { state, settled, every: FOLLOW_EVERY })
    }

    fn objects(&self) -> Vec<String> {
        super::objects_of(&self.status.borrow(), &self.store)
    }

    async fn holes(&self) -> Result<Vec<RangeInclusive<u64>>> {
        super::holes(&self.status, &self.store).await
    }

    fn needs(&self, name: &str) -> bool {
        super::needs(&self.status.borrow(), &self.store, name)
    }

    fn health(&self) -> Result<()> {
        match self.status.borrow().close_reason {
            Some(reason) => Err(fault::closed(reason)),
            None => Ok(()),
        }
    }

    async fn close(&self, deadline: Duration) -> Result<()> {
        match timeout(deadline, self.reader.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the reader was closed already"),
            Err(_) => tracing::debug!("the reader did not close in time"),
        }
        Ok(())
    }
}
