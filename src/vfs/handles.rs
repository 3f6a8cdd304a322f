//! How many handles of which inode are open. Knows nothing of what they are for.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use crate::types::Ino;

/// Counts of open handles. Taken under the gate, so nothing else is locked while it is.
#[derive(Default)]
pub(crate) struct Handles {
    next: AtomicU64,
    open: Mutex<HashMap<Ino, u64>>,
}

impl Handles {
    /// Counts a handle and numbers it.
    pub(super) fn open(&self, ino: Ino) -> u64 {
        *self.open.lock().entry(ino).or_insert(0) += 1;
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Uncounts one.
    pub(super) fn close(&self, ino: Ino) {
        let mut open = self.open.lock();
        let count = open.get_mut(&ino).expect("only open handles are closed");
        *count -= 1;
        if *count == 0 {
            open.remove(&ino);
        }
    }

    /// Whether any is open.
    pub(super) fn is_open(&self, ino: Ino) -> bool {
        self.open.lock().contains_key(&ino)
    }
}
