//! The reference engine: a map in memory. It fences like the real ones, so that one suite serves
//! all. Knows no bucket.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;

use super::Batch;
use super::Engine;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// A volume's metadata in memory, and the right to write it.
#[derive(Default)]
pub struct MemoryEngine {
    volume: Arc<RwLock<Volume>>,
    session: u64,
    closed: AtomicBool,
}

#[derive(Default)]
struct Volume {
    entries: BTreeMap<Bytes, Bytes>,
    owner: u64,
}

impl MemoryEngine {
    /// An empty volume.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens the same volume again, which fences every engine opened on it before.
    pub fn reopen(&self) -> Self {
        let mut volume = self.volume.write();
        volume.owner += 1;
        let session = volume.owner;
        Self { volume: self.volume.clone(), session, closed: AtomicBool::new(false) }
    }

    fn judge(&self, owner: u64) -> Result<()> {
        if owner != self.session {
            return Err(Error::new(Kind::Fenced, "another session owns the volume now"));
        }
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(Kind::Internal, "the metadata engine is closed"));
        }
        Ok(())
    }
}

#[async_trait]
impl Engine for MemoryEngine {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.volume.read().entries.get(key).cloned())
    }

    async fn scan(&self, range: Range<Bytes>, limit: usize) -> Result<Vec<(Bytes, Bytes)>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let volume = self.volume.read();
        let entries = volume.entries.range(range).take(limit);
        Ok(entries.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    async fn commit(&self, batch: Batch) -> Result<()> {
        let mut volume = self.volume.write();
        self.judge(volume.owner)?;
        for (key, value) in batch {
            match value {
                Some(value) => volume.entries.insert(key, value),
                None => volume.entries.remove(&key),
            };
        }
        Ok(())
    }

    fn health(&self) -> Result<()> {
        self.judge(self.volume.read().owner)
    }

    async fn close(&self, _deadline: Duration) -> Result<()> {
        self.closed.store(true, Ordering::Release);
        Ok(())
    }
}
