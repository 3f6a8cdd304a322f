//! How far to read ahead of a reader: a window that doubles while reads follow each other, and
//! collapses when they do not. Pure.

use crate::types::FileRange;

/// The window after the second read in a row, in bytes.
const WINDOW_BYTES_MIN: u64 = 2 << 20;

/// The kernel has a few requests of one reader under way at once, so they come a little out of
/// order.
const DISORDER_BYTES_MAX: u64 = 4 << 20;

/// One reader's position.
#[derive(Debug)]
pub struct Readahead {
    window_bytes_max: u64,
    window_bytes: u64,
    next: u64,
    asked_to: u64,
    /// Whether anything was read: one read is no stream yet.
    begun: bool,
}

impl Readahead {
    /// A reader that reads at most `window_bytes_max` ahead; 0 for none.
    pub fn new(window_bytes_max: u64) -> Self {
        Self { window_bytes_max, window_bytes: 0, next: 0, asked_to: 0, begun: false }
    }

    /// Whether the last reads followed each other.
    pub fn is_stream(&self) -> bool {
        self.window_bytes > 0
    }

    /// Takes note of a read and says what to ask for ahead of it, inside a file of `size` bytes.
    pub fn read(&mut self, range: &FileRange, size: u64) -> Option<FileRange> {
        let near = range.start <= self.next + DISORDER_BYTES_MAX
            && range.start + DISORDER_BYTES_MAX >= self.next;
        let follows = near && (range.start >= self.next || self.window_bytes > 0);
        if !follows || !self.begun {
            *self = Self { next: range.end, begun: true, ..Self::new(self.window_bytes_max) };
            return None;
        }
        self.next = self.next.max(range.end);
        let from = self.asked_to.max(range.end);
        let left = from.saturating_sub(self.next);
        if self.window_bytes > 0 && left > self.window_bytes / 2 {
            return None;
        }
        let doubled = (self.window_bytes * 2).max(WINDOW_BYTES_MIN);
        self.window_bytes = doubled.min(self.window_bytes_max);
        let to = (self.next + self.window_bytes).min(size);
        self.asked_to = self.asked_to.max(to);
        (from < to).then_some(from..to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_stream_is_asked_for_once_and_ever_further_ahead() {
        let mut reader = Readahead::new(32 * MIB);
        let (mut asked, mut furthest) = (0, 0);
        for at in 0..100 {
            let range = at * MIB..(at + 1) * MIB;
            if let Some(ahead) = reader.read(&range, 100 * MIB) {
                assert!(ahead.start >= asked, "nothing is asked for twice");
                asked = ahead.end;
                furthest = furthest.max(ahead.end - range.end);
            }
        }
        assert_eq!(asked, 100 * MIB);
        assert!(furthest > 16 * MIB && furthest <= 32 * MIB);
    }

    #[test]
    fn a_random_reader_is_not_read_ahead_for() {
        let mut reader = Readahead::new(32 * MIB);
        for at in [90, 10, 50, 30, 70] {
            assert_eq!(reader.read(&(at * MIB..at * MIB + 4096), 100 * MIB), None);
        }
    }
}
