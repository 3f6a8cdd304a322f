//! The ordered overlay above an engine, and the transactions that work on it.
//!
//! A key's value is in the newest layer that knows it: `live` (what happened since the last
//! freeze), `frozen` (the epoch on its way to the engine, at most one), `clean` (a bounded cache of
//! what the engine says), the engine, which is not asked for keys that it cannot have (`fresh`).
//! One lock, the **gate**, guards the layers; nothing awaits
//! under it. Whatever must change at the same instant as the metadata (dirty bytes of files)
//! changes in a hook that runs under the gate.
//!
//! Knows keys and values as bytes only.

mod clean;
mod engine;
mod fresh;
mod layer;
mod layers;
mod memory;
mod near;
mod slate;
#[cfg(test)]
pub(crate) mod staged;
#[cfg(test)]
mod store_tests;
#[cfg(test)]
mod suite;
mod txn;

pub use engine::Batch;
pub use engine::Engine;
pub use engine::Following;
pub use fresh::Fresh;
pub use layers::Usage;
pub use layers::UsageChange;
pub use layers::View;
pub use memory::MemoryEngine;
pub use slate::SlateEngine;
pub use slate::SlateOptions;
pub use slate::SlateReader;
pub use txn::Txn;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use self::clean::Clean;
use self::layers::Layers;
use self::near::Neighbourhoods;
use crate::ambient::instant;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// An epoch closes at this many changed keys (DESIGN §5).
pub const LIVE_KEYS_MAX: usize = 50_000;

/// An epoch closes at this many bytes of changed metadata.
pub const LIVE_BYTES_MAX: usize = 16 << 20;

/// Operations wait while the live layer is this many times over its limits: the store is away, or
/// slower than what happens here.
const OVERFULL: usize = 2;

/// Keys that one question to the engine brings along: a scan costs what three gets cost, and an
/// entry of it a tenth of one.
const COMPANY: usize = 64;

/// What a look for somebody else's writes may take.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(3);

/// How often it is seen whether they have come in, by who waits for them.
const FOLLOW_POLL: Duration = Duration::from_millis(100);

/// A key and its value.
pub type Entry = (Bytes, Bytes);

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// All of it happened.
    Whole,
    /// Nothing of it happened: it read what another one changed meanwhile.
    Conflict,
}

/// What a read found, and what commit needs to see whether it still holds.
struct Found {
    value: Option<Bytes>,
    version: u64,
    generation: u64,
}

/// When the engine is asked.
#[derive(Clone, Copy)]
struct Asked {
    generation: u64,
    following: Option<Following>,
}

/// The layers above an engine.
pub struct Store {
    engine: Arc<dyn Engine>,
    /// How far the engine had followed at the beginning.
    opened: Option<Following>,
    gate: Mutex<Layers>,
    clean: Clean,
    near: Mutex<Neighbourhoods>,
    /// Rung when the live layer may have room again, or is refused for good.
    room: Notify,
    /// Rung when the live layer is large enough to close the epoch.
    full: Notify,
}

impl Store {
    /// Layers above `engine`; `cache_bytes` bounds the clean cache.
    pub fn new(engine: Arc<dyn Engine>, usage: Usage, fresh: Fresh, cache_bytes: u64) -> Arc<Self> {
        let opened = engine.following();
        Arc::new(Self {
            engine,
            opened,
            gate: Mutex::new(Layers::new(usage, fresh)),
            clean: Clean::new(cache_bytes),
            near: Mutex::default(),
            room: Notify::new(),
            full: Notify::new(),
        })
    }

    /// The engine below.
    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    /// Whether nobody else has written since the store was opened, as far as the engine knows.
    pub fn is_as_opened(&self) -> bool {
        let state = |following: Option<Following>| following.map(|following| following.state);
        state(self.engine.following()) == state(self.opened)
    }

    /// Whether a look that began at `before` may be made again with another outcome: somebody else
    /// writes, and what they wrote has come in by now, or does while this waits.
    pub async fn has_moved_on(&self, before: Option<Following>) -> bool {
        let Some(before) = before else { return false };
        let since = instant();
        loop {
            let now = self.engine.following();
            if now.is_some_and(|now| now.settled && (now.state != before.state || !before.settled))
            {
                return true;
            }
            if since.elapsed() > before.every + FOLLOWS_WITHIN {
                return false;
            }
            tokio::time::sleep(FOLLOW_POLL).await;
        }
    }

    /// Begins a transaction, once the live layer has room for one. [`crate::meta::transact`] runs
    /// an operation in as many as it takes.
    pub async fn begin(self: &Arc<Self>) -> Txn {
        self.wait_for_room().await;
        Txn::new(self.clone())
    }

    /// Begins a transaction at once, however full the live layer is. For who holds what a freeze
    /// waits for, since only a freeze makes room; such a transaction changes a key or two.
    pub fn begin_without_room(self: &Arc<Self>) -> Txn {
        Txn::new(self.clone())
    }

    /// Ends a transaction: applies it at one instant, or nothing of it.
    pub fn commit(&self, txn: Txn) -> Result<Committed> {
        match self.check_and_apply(txn) {
            Ok(()) => Ok(Committed::Whole),
            Err(error) if error.kind() == Kind::Conflict => Ok(Committed::Conflict),
            Err(error) => Err(error),
        }
    }

    /// The present value of a key, outside any transaction.
    pub async fn get(&self, key: &Bytes) -> Result<Option<Bytes>> {
        Ok(self.find(View::Live, key).await?.value)
    }

    /// The present value of a key among others that end before `end`. Where the engine is asked for
    /// one of them after the other, it is asked for some at once.
    pub async fn get_among(
        &self,
        key: &Bytes,
        end: impl Fn() -> Bytes + Send,
    ) -> Result<Option<Bytes>> {
        loop {
            let asked = match self.recall(View::Live, key) {
                Ok(found) => return Ok(found.value),
                Err(asked) => asked,
            };
            let end = end();
            if !self.near.lock().come_in_company(&end) {
                return self.get(key).await;
            }
            let entries = self.engine.scan(key.clone()..end, COMPANY).await?;
            let mut answers: Vec<_> =
                entries.into_iter().map(|(key, value)| (key, Some(value))).collect();
            if answers.first().is_none_or(|(first, _)| first != key) {
                answers.insert(0, (key.clone(), None));
            }
            if self.learn(asked, &answers) {
                return Ok(answers.swap_remove(0).1);
            }
        }
    }

    /// The value of a key as `view` sees it.
    pub async fn get_in(&self, view: View, key: &Bytes) -> Result<Option<Bytes>> {
        Ok(self.find(view, key).await?.value)
    }

    /// What `look` makes of the present value of a key, and of what else changes at the same
    /// instant: it runs under the gate.
    pub async fn look<T>(&self, key: &Bytes, look: impl FnOnce(Option<&Bytes>) -> T) -> Result<T> {
        loop {
            let found = self.find(View::Live, key).await?;
            let layers = self.gate.lock();
            if layers.version_since(key, found.generation) == Some(found.version) {
                return Ok(look(found.value.as_ref()));
            }
        }
    }

    /// Entries of `range` in key order, as `view` sees them: at least one unless there are none,
    /// and about `limit` at most.
    pub async fn scan(&self, view: View, range: Range<Bytes>, limit: usize) -> Result<Vec<Entry>> {
        let mut range = range;
        loop {
            let above = self.gate.lock().above(view, &range, limit);
            let base = self.engine.scan(range.clone(), limit).await?;
            let base_end = (base.len() >= limit).then(|| base[base.len() - 1].0.clone());
            let (entries, end) = layers::merge(above, base, base_end);
            match end {
                Some(end) if entries.is_empty() => range.start = layers::after(&end),
                _ => return Ok(entries),
            }
        }
    }

    /// Changes `view` without a transaction: for keys that only the caller ever changes (extents,
    /// blocks). `compute` runs under the gate and tells the changes; what else it does happens at
    /// the same instant.
    pub fn apply<T>(
        &self,
        view: View,
        compute: impl FnOnce() -> (Vec<(Bytes, Option<Bytes>)>, UsageChange, T),
    ) -> T {
        let mut layers = self.gate.lock();
        let (changes, usage, answer) = compute();
        layers.apply(view, changes, usage);
        let full = layers.is_full(1);
        drop(layers);
        if full {
            self.full.notify_one();
        }
        answer
    }

    /// Runs `hook` while nothing can commit, and tells it whether the live layer is empty.
    pub fn under_gate<T>(&self, hook: impl FnOnce(bool) -> T) -> T {
        let layers = self.gate.lock();
        hook(layers.live_is_empty())
    }

    /// Closes the live layer: it becomes the frozen one, a fresh one takes its place, and `hook`
    /// freezes what belongs to the same instant. There must be no frozen layer.
    pub fn freeze<T>(&self, hook: impl FnOnce() -> T) -> T {
        let mut layers = self.gate.lock();
        layers.freeze();
        let answer = hook();
        drop(layers);
        self.room.notify_waiters();
        answer
    }

    /// What the frozen layer changes, for the engine; with one last entry, which `stamp` makes of
    /// the usage at the frozen instant. Nothing may change the frozen layer after this.
    pub fn seal(&self, stamp: impl FnOnce(Usage) -> Entry) -> Batch {
        let layer = {
            let mut layers = self.gate.lock();
            let (key, value) = stamp(layers.frozen_usage());
            layers.apply(View::Frozen, vec![(key, Some(value))], UsageChange::default());
            layers.frozen()
        };
        layer.iter().map(|(key, slot)| (key.clone(), slot.value.clone())).collect()
    }

    /// Drops the frozen layer after the engine has made it durable. Its values stay cached.
    pub fn thaw(&self) {
        let layer = self.gate.lock().frozen();
        // While the frozen layer stands, no reader looks into the cache for these keys.
        for (key, slot) in layer.iter() {
            self.clean.insert(key.clone(), slot.value.clone());
        }
        let gone = self.gate.lock().thaw();
        drop(gone);
    }

    /// Refuses every later change with this error's kind and sentence: the volume is fenced, or
    /// its encryption could not be proved.
    pub fn refuse(&self, kind: Kind, reason: String) {
        self.gate.lock().refused.get_or_insert((kind, reason));
        self.room.notify_waiters();
        self.full.notify_one();
    }

    /// Why changes are refused, if they are.
    pub fn refused(&self) -> Option<Error> {
        self.gate.lock().refusal()
    }

    /// Resolves when the live layer is large enough to close the epoch.
    pub async fn full(&self) {
        self.full.notified().await;
    }

    /// Inodes and bytes in use now.
    pub fn usage(&self) -> Usage {
        self.gate.lock().usage()
    }

    /// Bytes that the layers hold in memory, about.
    pub fn memory_bytes(&self) -> u64 {
        self.gate.lock().bytes() as u64 + self.clean.weight()
    }

    fn check_and_apply(&self, txn: Txn) -> Result<()> {
        let mut layers = self.gate.lock();
        if !txn.changes() {
            // Nothing to apply, so nothing to check: each read was true when it was made.
            return Ok(());
        }
        if let Some(error) = layers.refusal() {
            return Err(error);
        }
        txn.commit(&mut layers)?;
        let full = layers.is_full(1);
        drop(layers);
        if full {
            self.full.notify_one();
        }
        Ok(())
    }

    async fn wait_for_room(&self) {
        loop {
            let rung = self.room.notified();
            {
                let layers = self.gate.lock();
                if !layers.is_full(OVERFULL) || layers.refused.is_some() {
                    return;
                }
            }
            self.full.notify_one();
            rung.await;
        }
    }

    async fn find(&self, view: View, key: &Bytes) -> Result<Found> {
        loop {
            let asked = match self.recall(view, key) {
                Ok(found) => return Ok(found),
                Err(asked) => asked,
            };
            let value = self.engine.get(key).await?;
            let entry = (key.clone(), value);
            if self.learn(asked, std::slice::from_ref(&entry)) {
                return Ok(Found { value: entry.1, version: 0, generation: asked.generation });
            }
        }
    }

    /// What memory knows of a key; else when the engine is asked.
    fn recall(&self, view: View, key: &Bytes) -> Result<Found, Asked> {
        let generation = {
            let layers = self.gate.lock();
            let generation = layers.generation();
            if let Some(slot) = layers.find(view, key) {
                let (value, version) = (slot.value.clone(), slot.version);
                return Ok(Found { value, version, generation });
            }
            if layers.engine_lacks(key) {
                return Ok(Found { value: None, version: 0, generation });
            }
            generation
        };
        let following = self.engine.following();
        let value = self.clean.get(key, following).ok_or(Asked { generation, following })?;
        Ok(Found { value, version: 0, generation })
    }

    /// Keeps what the engine answered, if it still holds: if no epoch with such a key landed
    /// meanwhile. Whether that is so of the first.
    fn learn(&self, asked: Asked, answers: &[(Bytes, Option<Bytes>)]) -> bool {
        let layers = self.gate.lock();
        let holds = |key: &Bytes| layers.unchanged_since(key, asked.generation);
        for (key, value) in answers.iter().filter(|(key, _)| holds(key)) {
            if layers.find(View::Live, key).is_none() {
                self.clean.keep(key.clone(), value.clone(), asked.following);
            }
        }
        answers.first().is_some_and(|(key, _)| holds(key))
    }
}
