//! A bounded cache of what the engine said. Where somebody else writes, what it holds is of one
//! state of the engine: when another comes in, all of it goes. Knows no key's meaning.

use bytes::Bytes;
use parking_lot::Mutex;

use super::engine::Following;

/// Values by key; `None` where the engine has none.
pub(super) struct Clean {
    values: quick_cache::sync::Cache<Bytes, Option<Bytes>, Weight>,
    /// The state that the values are of.
    state: Mutex<u64>,
}

#[derive(Clone)]
struct Weight;

impl quick_cache::Weighter<Bytes, Option<Bytes>> for Weight {
    fn weight(&self, key: &Bytes, value: &Option<Bytes>) -> u64 {
        // The key and the value, their headers and the cache's own entry.
        (key.len() + value.as_ref().map_or(0, Bytes::len) + 160) as u64
    }
}

impl Clean {
    /// An empty one of at most about `bytes`.
    pub(super) fn new(bytes: u64) -> Self {
        let items = usize::try_from(bytes / 256).unwrap_or(usize::MAX);
        let values = quick_cache::sync::Cache::with_weighter(items, bytes, Weight);
        Self { values, state: Mutex::new(0) }
    }

    /// Bytes that it takes, about.
    pub(super) fn weight(&self) -> u64 {
        self.values.weight()
    }

    /// The value of a key in the present state.
    pub(super) fn get(&self, key: &Bytes, following: Option<Following>) -> Option<Option<Bytes>> {
        if let Some(following) = following {
            self.follow(following);
        }
        self.values.get(key)
    }

    /// Keeps a value of the present state of an engine that only this process writes.
    pub(super) fn insert(&self, key: Bytes, value: Option<Bytes>) {
        self.values.insert(key, value);
    }

    /// Keeps a value that the engine was asked for in the state of `asked`, unless another state
    /// has come in since, or was just coming in.
    pub(super) fn keep(&self, key: Bytes, value: Option<Bytes>, asked: Option<Following>) {
        let Some(asked) = asked else { return self.insert(key, value) };
        let state = self.state.lock();
        if asked.settled && *state == asked.state {
            self.values.insert(key, value);
        }
    }

    fn follow(&self, following: Following) {
        let mut state = self.state.lock();
        if *state != following.state {
            self.values.clear();
            *state = following.state;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(state: u64, settled: bool) -> Option<Following> {
        Some(Following { state, settled, every: Duration::ZERO })
    }

    #[test]
    fn what_is_kept_is_of_one_state() {
        let (clean, key) = (Clean::new(1 << 20), Bytes::from_static(b"key"));
        let value = || Some(Bytes::from_static(b"value"));
        assert_eq!(clean.get(&key, at(1, true)), None);
        clean.keep(key.clone(), value(), at(1, true));
        assert_eq!(clean.get(&key, at(1, true)), Some(value()));
        assert_eq!(clean.get(&key, at(2, false)), None, "another state came in");
        clean.keep(key.clone(), value(), at(1, true));
        assert_eq!(clean.get(&key, at(2, true)), None, "it is of the state before");
        clean.keep(key.clone(), value(), at(2, false));
        assert_eq!(clean.get(&key, at(2, true)), None, "it may be of either");
        clean.keep(key.clone(), value(), at(2, true));
        assert_eq!(clean.get(&key, at(2, true)), Some(value()));
    }
}
