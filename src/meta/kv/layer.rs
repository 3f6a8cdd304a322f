//! One layer of the overlay: keys with their newest values. Knows no other layer.
//!
//! An operation looks a dozen keys up and adds one or two, so values are found by hash; an ordered
//! set beside it serves scans and batches.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;

/// A key's value in a layer.
#[derive(Clone)]
pub(super) struct Slot {
    /// `None`: the key is deleted.
    pub(super) value: Option<Bytes>,
    pub(super) version: u64,
    /// No layer below, nor the engine, has the key: deleting it leaves nothing behind.
    pub(super) new: bool,
}

/// Keys and slots.
#[derive(Clone, Default)]
pub(super) struct Layer {
    slots: HashMap<Bytes, Slot>,
    order: BTreeSet<Bytes>,
}

impl Layer {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn get(&self, key: &Bytes) -> Option<&Slot> {
        self.slots.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &Bytes) -> Option<&mut Slot> {
        self.slots.get_mut(key)
    }

    pub(super) fn insert(&mut self, key: Bytes, slot: Slot) {
        if self.slots.insert(key.clone(), slot).is_none() {
            self.order.insert(key);
        }
    }

    pub(super) fn remove(&mut self, key: &Bytes) {
        if self.slots.remove(key).is_some() {
            self.order.remove(key);
        }
    }

    /// All keys, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Bytes, &Slot)> {
        self.order.iter().map(|key| self.entry(key))
    }

    /// The keys of a range, in their order.
    pub(super) fn range(&self, range: Range<Bytes>) -> impl Iterator<Item = (&Bytes, &Slot)> {
        self.order.range(range).map(|key| self.entry(key))
    }

    fn entry<'a>(&'a self, key: &'a Bytes) -> (&'a Bytes, &'a Slot) {
        (key, self.slots.get(key).expect("a key in the order has a slot"))
    }
}
