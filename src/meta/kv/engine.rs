//! What lies under the overlay: an ordered map of bytes that takes a batch atomically and durably.
//! Knows no epoch, no transaction and no key's meaning.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Result;

/// What an epoch or a tool changes at once: key -> new value, or `None` = delete.
/// Sorted, each key once, no key empty.
pub type Batch = Vec<(Bytes, Option<Bytes>)>;

/// An ordered, durable map of one volume. All engines pass the same suite.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// The durable value of a key.
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>>;

    /// Up to `limit` entries of `range` in key order (start inclusive, end exclusive).
    async fn scan(&self, range: Range<Bytes>, limit: usize) -> Result<Vec<(Bytes, Bytes)>>;

    /// Applies a batch atomically and returns when it is durable; waits while the store is away.
    /// If the call is dropped before, the batch may become durable with a later one.
    ///
    /// `Kind::Fenced`: another session owns the volume. `Kind::Policy`: the store refused or did
    /// not confirm the encryption. Either way no later commit can succeed, and the batch itself
    /// may or may not exist after a restart.
    async fn commit(&self, batch: Batch) -> Result<()>;

    /// An error once the engine can never commit again, with the reason.
    fn health(&self) -> Result<()>;

    /// Flushes and lets go, within `deadline`; a store that is away costs nothing but time,
    /// because what was committed is durable already.
    async fn close(&self, deadline: Duration) -> Result<()>;
}
