//! The layers themselves: plain maps and numbers, no lock, no engine, nothing that awaits.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::Entry;
use super::LIVE_BYTES_MAX;
use super::LIVE_KEYS_MAX;
use super::fresh::Fresh;
use super::layer::Layer;
use super::layer::Slot;
use crate::error::Error;
use crate::error::Kind;

/// Dropped epochs whose keys are remembered, so that a slow read of the engine can be checked
/// against them; a read that is slower still is made again.
const RECENT_MAX: usize = 8;

/// What a key takes in a layer beside its own bytes and its value's: the hash table's slot and the
/// set's, neither of them full.
const SLOT_BYTES: usize = 224;

/// Which layers a look goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The present.
    Live,
    /// The instant of the frozen epoch.
    Frozen,
}

/// Inodes and file bytes in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Inodes.
    pub inodes: u64,
    /// Bytes in blocks and inline extents.
    pub bytes: u64,
}

/// How a transaction changes the usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UsageChange {
    /// Inodes more, or fewer.
    pub inodes: i64,
    /// Bytes more, or fewer.
    pub bytes: i64,
}

impl UsageChange {
    /// Adds another change.
    pub fn add(&mut self, other: UsageChange) {
        self.inodes += other.inodes;
        self.bytes += other.bytes;
    }
}

pub(super) struct Layers {
    live: Layer,
    live_bytes: usize,
    frozen: Option<Arc<Layer>>,
    frozen_usage: Usage,
    usage: Usage,
    version: u64,
    /// How many epochs were dropped into the engine.
    generation: u64,
    recent: VecDeque<Arc<Layer>>,
    fresh: Fresh,
    pub(super) refused: Option<(Kind, String)>,
}

impl Layers {
    pub(super) fn new(usage: Usage, fresh: Fresh) -> Self {
        Self {
            live: Layer::default(),
            live_bytes: 0,
            frozen: None,
            frozen_usage: usage,
            usage,
            version: 0,
            generation: 0,
            recent: VecDeque::new(),
            fresh,
            refused: None,
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    pub(super) fn live_is_empty(&self) -> bool {
        self.live.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        let frozen = self.frozen.as_ref().map_or(0, |frozen| frozen.len() * (160 + SLOT_BYTES));
        self.live_bytes + self.live.len() * SLOT_BYTES + frozen
    }

    pub(super) fn refusal(&self) -> Option<Error> {
        self.refused.as_ref().map(|(kind, reason)| {
            let kind = if *kind == Kind::Fenced { Kind::Fenced } else { Kind::ReadOnly };
            Error::new(kind, reason.clone())
        })
    }

    /// Whether the live layer is over `times` its limits.
    pub(super) fn is_full(&self, times: usize) -> bool {
        self.live.len() >= LIVE_KEYS_MAX * times || self.live_bytes >= LIVE_BYTES_MAX * times
    }

    /// The newest slot of a key that `view` sees.
    pub(super) fn find(&self, view: View, key: &Bytes) -> Option<&Slot> {
        let live = match view {
            View::Live => self.live.get(key),
            View::Frozen => None,
        };
        live.or_else(|| self.frozen.as_ref()?.get(key))
    }

    /// Whether the engine certainly does not have the key.
    pub(super) fn engine_lacks(&self, key: &Bytes) -> bool {
        self.fresh.lacks(key)
    }

    /// Whether the engine has the same value for `key` as it had at `generation`.
    pub(super) fn unchanged_since(&self, key: &Bytes, generation: u64) -> bool {
        self.recent_since(generation)
            .is_some_and(|mut recent| !recent.any(|layer| layer.get(key).is_some()))
    }

    /// The version of the newest value of a key that was read at `generation`: 0 for the engine's;
    /// `None` if that was too long ago to tell. A generation of `u64::MAX` means now.
    pub(super) fn version_since(&self, key: &Bytes, generation: u64) -> Option<u64> {
        if let Some(slot) = self.find(View::Live, key) {
            return Some(slot.version);
        }
        let mut recent = self.recent_since(generation.min(self.generation))?;
        Some(recent.find_map(|layer| layer.get(key)).map_or(0, |slot| slot.version))
    }

    /// The layers dropped since `generation`, newest first.
    fn recent_since(&self, generation: u64) -> Option<impl Iterator<Item = &Arc<Layer>>> {
        let count = usize::try_from(self.generation - generation).ok()?;
        (count <= self.recent.len()).then(|| self.recent.iter().rev().take(count))
    }

    pub(super) fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    /// Writes into the live layer. `new`: neither the frozen layer nor the engine has the key.
    pub(super) fn write(&mut self, key: Bytes, value: Option<Bytes>, version: u64, new: bool) {
        let weight = |value: &Option<Bytes>| key.len() + value.as_ref().map_or(0, Bytes::len);
        if let Some(slot) = self.live.get_mut(&key) {
            self.live_bytes -= weight(&slot.value);
            if slot.new && value.is_none() {
                self.live.remove(&key);
                return;
            }
            self.live_bytes += weight(&value);
            (slot.value, slot.version) = (value, version);
            return;
        }
        let new = new && self.frozen.as_ref().is_none_or(|frozen| frozen.get(&key).is_none());
        if new && value.is_none() {
            return;
        }
        self.fresh.note(&key);
        self.live_bytes += weight(&value);
        self.live.insert(key, Slot { value, version, new });
    }

    pub(super) fn change_usage(&mut self, change: UsageChange) {
        self.usage = changed(self.usage, change);
    }

    /// Writes into a layer without a transaction. What changes the frozen instant changes the
    /// present too, unless the present has its own value.
    pub(super) fn apply(
        &mut self,
        view: View,
        changes: impl IntoIterator<Item = (Bytes, Option<Bytes>)>,
        usage: UsageChange,
    ) {
        let version = self.next_version();
        match view {
            View::Live => {
                for (key, value) in changes {
                    self.write(key, value, version, false);
                }
            }
            View::Frozen => {
                let frozen = self.frozen.as_mut().expect("only a frozen epoch is applied to");
                let frozen = Arc::make_mut(frozen);
                for (key, value) in changes {
                    self.fresh.note(&key);
                    frozen.insert(key, Slot { value, version, new: false });
                }
                self.frozen_usage = changed(self.frozen_usage, usage);
            }
        }
        self.usage = changed(self.usage, usage);
    }

    pub(super) fn freeze(&mut self) {
        assert!(self.frozen.is_none(), "at most one frozen epoch is in flight");
        self.frozen = Some(Arc::new(std::mem::take(&mut self.live)));
        self.live_bytes = 0;
        self.frozen_usage = self.usage;
    }

    pub(super) fn frozen(&self) -> Arc<Layer> {
        self.frozen.clone().expect("an epoch was frozen")
    }

    pub(super) fn frozen_usage(&self) -> Usage {
        self.frozen_usage
    }

    /// Drops the frozen layer. Answers with layers that nobody needs any more: freeing so many keys
    /// takes milliseconds, so the caller lets go of them without the gate.
    #[must_use]
    pub(super) fn thaw(&mut self) -> Vec<Arc<Layer>> {
        let layer = self.frozen.take().expect("an epoch was frozen");
        self.generation += 1;
        self.recent.push_back(layer);
        let too_many = |recent: &VecDeque<Arc<Layer>>| {
            recent.len() > RECENT_MAX
                || recent.len() > 1
                    && recent.iter().map(|layer| layer.len()).sum::<usize>() > 2 * LIVE_KEYS_MAX
        };
        let mut gone = Vec::new();
        while too_many(&self.recent) {
            gone.extend(self.recent.pop_front());
        }
        gone
    }

    /// The first entries of `range` in the layers that `view` sees, `None` for deleted ones, and
    /// the key up to which they are complete, unless they are to the end.
    pub(super) fn above(&self, view: View, range: &Range<Bytes>, limit: usize) -> Above {
        let mut merged = BTreeMap::new();
        let mut end: Option<Bytes> = None;
        let live = (view == View::Live).then_some(&self.live);
        for layer in self.frozen.as_deref().into_iter().chain(live) {
            let mut taken = 0;
            for (key, slot) in layer.range(range.clone()) {
                merged.insert(key.clone(), slot.value.clone());
                taken += 1;
                if taken == limit {
                    end = Some(end.map_or_else(|| key.clone(), |end| end.min(key.clone())));
                    break;
                }
            }
        }
        Above { entries: merged, end }
    }
}

pub(super) struct Above {
    entries: BTreeMap<Bytes, Option<Bytes>>,
    end: Option<Bytes>,
}

/// Lays `above` over the engine's entries, up to the key where one of the two stops being
/// complete; that key comes along.
pub(super) fn merge(
    above: Above,
    base: Vec<Entry>,
    base_end: Option<Bytes>,
) -> (Vec<Entry>, Option<Bytes>) {
    let end = match (above.end, base_end) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    let inside = |key: &Bytes| end.as_ref().is_none_or(|end| key <= end);
    let mut merged: BTreeMap<Bytes, Option<Bytes>> = above.entries;
    for (key, value) in base {
        merged.entry(key).or_insert(Some(value));
    }
    let entries = merged
        .into_iter()
        .filter(|(key, _)| inside(key))
        .filter_map(|(key, value)| Some((key, value?)))
        .collect();
    (entries, end)
}

/// The smallest key after `key`.
pub(super) fn after(key: &Bytes) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next.into()
}

fn changed(usage: Usage, change: UsageChange) -> Usage {
    Usage {
        inodes: usage.inodes.saturating_add_signed(change.inodes),
        bytes: usage.bytes.saturating_add_signed(change.bytes),
    }
}
