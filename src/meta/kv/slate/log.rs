//! Which numbered objects the present state needs: the log behind what the manifest holds, and
//! the newest manifest. The engine itself looks for the end of its log by asking for a few numbers,
//! so a hole hides all that lies behind it. Changes nothing.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use slatedb::DbStatus;

use crate::object::name;
use crate::object::name::Sequence;

/// Holes that are told apart; who sees so many has seen enough.
const HOLES_MAX: usize = 1_000;

/// The highest number of each sequence that this process has created.
#[derive(Debug, Default)]
pub(super) struct Created([AtomicU64; 4]);

impl Created {
    /// Notes that the object of this name was created.
    pub(super) fn note(&self, name: &str) {
        if let Some((sequence, number)) = name::parse_numbered(name) {
            self.0[sequence as usize].fetch_max(number, Ordering::Relaxed);
        }
    }

    /// The highest number; 0: none yet.
    pub(super) fn last(&self, sequence: Sequence) -> u64 {
        self.0[sequence as usize].load(Ordering::Relaxed)
    }
}

/// The log objects that are needed to read the present state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Log {
    /// Everything up to this number lies in tables.
    after: u64,
    /// This number and those before were there once.
    last: u64,
}

impl Log {
    pub(super) fn of(status: &DbStatus, created: &Created) -> Self {
        let manifest = &status.current_manifest;
        let seen = manifest.next_wal_sst_id().saturating_sub(1);
        let last = seen.max(created.last(Sequence::Wal));
        Self { after: manifest.replay_after_wal_id(), last }
    }

    /// Whether the state is read from this number.
    pub(super) fn needs(&self, number: u64) -> bool {
        number > self.after
    }

    /// The numbers that are needed and not among those that are there. What was seen above the
    /// last known one was there as well, and so was all below it.
    pub(super) fn holes(&self, there: &BTreeSet<u64>) -> Vec<RangeInclusive<u64>> {
        let mut holes = Vec::new();
        let mut next = self.after.saturating_add(1);
        for number in there.range(next..) {
            if *number > next {
                holes.push(next..=number - 1);
            }
            next = number.saturating_add(1);
            if holes.len() == HOLES_MAX {
                return holes;
            }
        }
        if self.last >= next {
            holes.push(next..=self.last);
        }
        holes
    }
}

/// The number of the newest manifest that is known.
pub(super) fn manifest(status: &DbStatus, created: &Created) -> u64 {
    status.current_manifest.id().max(created.last(Sequence::Manifest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_behind_what_lies_in_tables_is_found_up_to_the_last_known_number() {
        let holes = |after, last, there: &[u64]| {
            Log { after, last }.holes(&there.iter().copied().collect())
        };
        assert_eq!(holes(4, 7, &[3, 4, 5, 6, 7]), []);
        assert_eq!(holes(4, 7, &[1, 7]), [5..=6]);
        assert_eq!(holes(4, 7, &[5, 6]), [7..=7], "the last one is known to have been there");
        assert_eq!(holes(4, 4, &[6, 8]), [5..=5, 7..=7], "a later one shows that it was there");
        assert_eq!(holes(4, 4, &[]), []);
        assert_eq!(holes(0, 0, &[u64::MAX]), [1..=u64::MAX - 1], "no work for each number");
        let every_other: Vec<_> = (0..5_000).map(|number| 2 * number).collect();
        assert_eq!(holes(0, 0, &every_other).len(), HOLES_MAX);
    }

    #[test]
    fn the_highest_number_created_is_known() {
        let created = Created::default();
        for number in [3, 9, 4] {
            created.note(&name::numbered(Sequence::Wal, number));
        }
        created.note("meta/db/compacted/01.sst");
        assert_eq!((created.last(Sequence::Wal), created.last(Sequence::Manifest)), (9, 0));
    }
}
