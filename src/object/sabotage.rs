//! Switches that break a promise on purpose, so that a test can show that it would be caught.
//! Exists under the feature `testing` only.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

/// The witness looks away: whatever was written counts as confirmed.
pub static WITNESS_OFF: AtomicBool = AtomicBool::new(false);

pub(super) fn witness_is_off() -> bool {
    WITNESS_OFF.load(Ordering::Relaxed)
}

/// A writer acknowledges without looking whether a later claim is there.
/// Caught by the schedules of `object/tenure/simulation.rs`.
pub static READ_BACK_OFF: AtomicBool = AtomicBool::new(false);

pub(super) fn read_back_is_off() -> bool {
    READ_BACK_OFF.load(Ordering::Relaxed)
}
