//! Switches that break a promise on purpose, so that a test can show that it would be caught.
//! Exists under the feature `testing` only.

use std::sync::atomic::AtomicBool;

/// Frames and footers are taken as they come: their tags are not checked.
/// Caught by `a_flipped_bit_in_a_stored_block_is_never_returned`.
pub static SKIP_TAG_CHECK: AtomicBool = AtomicBool::new(false);
