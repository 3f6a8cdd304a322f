//! What the layers above need of a metadata engine. All keys and values are bytes.

use std::ops::Range;
use std::ops::RangeInclusive;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::Entry;
use crate::error::Result;

/// What an epoch or a tool changes at once: a key and its new value, or `None` to delete it.
/// Sorted, each key once.
pub type Batch = Vec<(Bytes, Option<Bytes>)>;

/// How far an engine has followed somebody else's writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Following {
    /// Another number for each state. It changes just before answers come from the new state.
    pub state: u64,
    /// Whether answers come from that state for certain by now.
    pub settled: bool,
    /// How often it looks for a new state.
    pub every: Duration,
}

/// An ordered, durable map of bytes with atomic batches.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// The durable value of a key.
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>>;

    /// Up to `limit` entries of `range` in key order.
    async fn scan(&self, range: Range<Bytes>, limit: usize) -> Result<Vec<Entry>>;

    /// Applies a batch atomically and returns when it is durable; waits while the store is away.
    /// [`Kind::Fenced`](crate::error::Kind::Fenced) when another session owns the volume,
    /// [`Kind::Policy`](crate::error::Kind::Policy) when the store did not confirm encryption:
    /// then the engine is broken for good.
    async fn commit(&self, batch: Batch) -> Result<()>;

    /// How far the engine has followed another writer; `None` where only this process writes.
    fn following(&self) -> Option<Following> {
        None
    }

    /// The names of the objects that the present state is read from, besides the log. None where
    /// the engine keeps its state in something else than objects.
    fn objects(&self) -> Vec<String> {
        Vec::new()
    }

    /// Numbers of log objects that the present state is read from and that the bucket lacks. Two
    /// answers are to be compared some time apart: a reader may be told late what is not needed
    /// any more.
    async fn holes(&self) -> Result<Vec<RangeInclusive<u64>>> {
        Ok(Vec::new())
    }

    /// Whether the present state is, or will be, read from the object of this name.
    fn needs(&self, _name: &str) -> bool {
        false
    }

    /// An error, with the reason, once the engine can never commit again.
    fn health(&self) -> Result<()>;

    /// Flushes and lets go, within `deadline`.
    async fn close(&self, deadline: Duration) -> Result<()>;
}
