//! A seeded fault layer for tests, under the operator so that the engine's traffic meets it too. (skeleton)

/// What goes wrong, and when.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// After this many requests everything fails for good, as after a power loss.
    pub crash_after: Option<u64>,
}
