//! Switches that break a promise on purpose, so that a test can show which test notices.
//! Only with the feature `testing`; a release build has none of this.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

/// An epoch's metadata is sealed before its bytes are stored.
pub static COMMIT_BEFORE_UPLOAD: AtomicBool = AtomicBool::new(false);

/// The sweep deletes blocks of sessions later than its own.
/// Caught by `only_blocks_of_past_sessions_that_nobody_knows_are_swept`.
pub static SWEEP_IGNORES_SESSIONS: AtomicBool = AtomicBool::new(false);

/// Whether a switch is on.
pub fn on(switch: &AtomicBool) -> bool {
    switch.load(Ordering::Relaxed)
}
