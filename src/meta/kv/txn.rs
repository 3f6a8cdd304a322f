//! A transaction: collects what it read and what it will write; commit re-checks the reads and
//! applies the writes under the gate. Knows no key's meaning.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::Entry;
use super::Store;
use super::layers::Layers;
use super::layers::UsageChange;
use super::layers::View;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

type Hook = Box<dyn FnOnce() + Send>;
type Condition = Box<dyn FnOnce() -> bool + Send>;

struct Read {
    key: Bytes,
    value: Option<Bytes>,
    version: u64,
    generation: u64,
    absent: bool,
}

/// A transaction on a [`Store`]. Dropping it undoes it.
pub struct Txn {
    store: Arc<Store>,
    reads: Vec<Read>,
    writes: BTreeMap<Bytes, Option<Bytes>>,
    usage: UsageChange,
    conditions: Vec<Condition>,
    hooks: Vec<Hook>,
}

impl Txn {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            reads: Vec::with_capacity(4),
            writes: BTreeMap::new(),
            usage: UsageChange::default(),
            conditions: Vec::new(),
            hooks: Vec::new(),
        }
    }

    /// The value of a key: this transaction's own, or the present one at the first read, which must
    /// still be the same at commit.
    pub async fn get(&mut self, key: &Bytes) -> Result<Option<Bytes>> {
        if let Some(value) = self.writes.get(key) {
            return Ok(value.clone());
        }
        if let Some(read) = self.reads.iter().find(|read| read.key == *key) {
            return Ok(read.value.clone());
        }
        let found = self.store.find(View::Live, key).await?;
        self.reads.push(Read {
            key: key.clone(),
            value: found.value.clone(),
            version: found.version,
            generation: found.generation,
            absent: found.version == 0 && found.value.is_none(),
        });
        Ok(found.value)
    }

    /// The store, for looks that commit does not check.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Present entries of `range` without this transaction's own writes; commit does not check
    /// them, so a key that is read here must be guarded by another one (its inode's).
    pub async fn scan_unguarded(&self, range: Range<Bytes>, limit: usize) -> Result<Vec<Entry>> {
        self.store.scan(View::Live, range, limit).await
    }

    /// Sets a key.
    pub fn put(&mut self, key: Bytes, value: Bytes) {
        self.writes.insert(key, Some(value));
    }

    /// Sets a key that the store never had (its number was just given out): if it is deleted
    /// before the epoch closes, nothing of it is ever stored.
    pub fn put_new(&mut self, key: Bytes, value: Bytes) {
        self.reads.push(Read {
            key: key.clone(),
            value: None,
            version: 0,
            generation: u64::MAX,
            absent: true,
        });
        self.writes.insert(key, Some(value));
    }

    /// Deletes a key.
    pub fn delete(&mut self, key: Bytes) {
        self.writes.insert(key, None);
    }

    /// Changes the volume's usage with this transaction.
    pub fn use_more(&mut self, change: UsageChange) {
        self.usage.add(change);
    }

    /// Lets the transaction commit only if `condition` is true at that instant, under the gate;
    /// else it conflicts, and runs again. For decisions about what the layers do not hold.
    pub fn only_if(&mut self, condition: impl FnOnce() -> bool + Send + 'static) {
        self.conditions.push(Box::new(condition));
    }

    /// Runs `hook` under the gate when, and only when, the transaction commits.
    pub fn then(&mut self, hook: impl FnOnce() + Send + 'static) {
        self.hooks.push(Box::new(hook));
    }

    pub(super) fn changes(&self) -> bool {
        !self.writes.is_empty() || !self.hooks.is_empty()
    }

    /// Checks the reads and applies the writes, or changes nothing.
    pub(super) fn commit(self, layers: &mut Layers) -> Result<()> {
        for read in &self.reads {
            if layers.version_since(&read.key, read.generation) != Some(read.version) {
                return Err(Error::new(Kind::Conflict, "a transaction read what another changed"));
            }
        }
        if !self.conditions.into_iter().all(|condition| condition()) {
            return Err(Error::new(Kind::Conflict, "a transaction's condition holds no more"));
        }
        let version = layers.next_version();
        for (key, value) in self.writes {
            let new = self.reads.iter().any(|read| read.absent && read.key == key);
            layers.write(key, value, version, new);
        }
        layers.change_usage(self.usage);
        self.hooks.into_iter().for_each(|hook| hook());
        Ok(())
    }
}
