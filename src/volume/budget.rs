//! The bound on dirty bytes: writers wait for room, they never fail for lack of it.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use tokio::sync::Notify;

/// What dirty bytes and cached frames get of a mount's memory: half of it, the rest being for the
/// metadata, its engine, requests under way, and what the allocator cannot use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// The highest bound on dirty bytes. Uploads under way need no more to stay under way.
    pub dirty_bytes_max: u64,
    /// The bound on cached frames.
    pub frame_bytes: u64,
}

impl Shares {
    /// Shares `memory_bytes` out.
    pub fn of(memory_bytes: u64) -> Self {
        let dirty_bytes_max = (memory_bytes / 8).max(32 << 20).min(memory_bytes / 4);
        Self { dirty_bytes_max, frame_bytes: memory_bytes / 2 - dirty_bytes_max }
    }
}

/// Bytes that may be dirty at once.
#[derive(Debug)]
pub struct Budget {
    used: AtomicU64,
    limit: AtomicU64,
    /// Waiting writers give up when the volume is broken.
    open: std::sync::atomic::AtomicBool,
    room: Notify,
    pressure: Notify,
}

impl Budget {
    /// A budget of `limit_bytes`.
    pub fn new(limit_bytes: u64) -> Self {
        Self {
            used: AtomicU64::new(0),
            limit: AtomicU64::new(limit_bytes),
            open: true.into(),
            room: Notify::new(),
            pressure: Notify::new(),
        }
    }

    /// Takes `bytes`, waiting for room. A single write larger than the whole budget passes when
    /// nothing else is dirty.
    pub async fn reserve(&self, bytes: u64) {
        loop {
            let room = self.room.notified();
            let taken = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
                let fits = used == 0 || used + bytes <= self.limit.load(Ordering::Relaxed);
                fits.then_some(used + bytes)
            });
            if taken.is_ok() {
                return;
            }
            if !self.open.load(Ordering::Acquire) {
                self.used.fetch_add(bytes, Ordering::AcqRel);
                return;
            }
            self.pressure.notify_one();
            room.await;
        }
    }

    /// Gives bytes back.
    pub fn release(&self, bytes: u64) {
        if bytes > 0 {
            self.used.fetch_sub(bytes, Ordering::AcqRel);
            self.room.notify_waiters();
        }
    }

    /// Sets the bound: what the store takes in half a second (DESIGN §5).
    pub fn set_limit(&self, bytes: u64) {
        self.limit.store(bytes, Ordering::Relaxed);
        self.room.notify_waiters();
    }

    /// Lets every writer through, to meet the error that closed the volume.
    pub fn open_gates(&self) {
        self.open.store(false, Ordering::Release);
        self.room.notify_waiters();
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The bound.
    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Resolves when a writer waits.
    pub async fn pressure(&self) {
        self.pressure.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dirty_bytes_and_frames_share_half_of_the_memory() {
        for mebibytes in [64, 128, 256, 1024, 4096] {
            let memory = mebibytes << 20;
            let Shares { dirty_bytes_max, frame_bytes } = Shares::of(memory);
            assert_eq!(dirty_bytes_max + frame_bytes, memory / 2);
            assert!(dirty_bytes_max >= 16 << 20 && frame_bytes >= dirty_bytes_max);
        }
        assert_eq!(Shares::of(1 << 30).frame_bytes, 384 << 20);
    }
}
