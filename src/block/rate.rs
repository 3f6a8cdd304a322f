//! How fast the store takes bytes: a moving average over the time in which it had work. Pure.

use std::time::Instant;

/// How much busy time the average looks back on, in seconds.
const WINDOW_SECONDS: f64 = 2.0;

/// A moving average of bytes per second over busy time. Idle time does not lower it.
#[derive(Debug, Default)]
pub(super) struct Rate {
    uploads: usize,
    since: Option<Instant>,
    sum: f64,
    weight: f64,
}

impl Rate {
    /// An upload starts.
    pub(super) fn start(&mut self, now: Instant) {
        self.pass(now);
        self.uploads += 1;
    }

    /// An upload ended, after the store took `bytes` (0: it failed).
    pub(super) fn finish(&mut self, now: Instant, bytes: u64) {
        self.pass(now);
        self.uploads = self.uploads.saturating_sub(1);
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let bytes = bytes as f64;
        self.sum += bytes / WINDOW_SECONDS;
    }

    /// The average; 0 before anything was measured.
    pub(super) fn bytes_per_second(&self) -> u64 {
        if self.weight <= 0.0 {
            return 0;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate, never negative"
        )]
        let rate = (self.sum / self.weight) as u64;
        rate
    }

    /// Lets the time since the last call pass: older bytes count less, if the store was busy.
    fn pass(&mut self, now: Instant) {
        if let Some(since) = self.since
            && self.uploads > 0
        {
            let kept = (-now.saturating_duration_since(since).as_secs_f64() / WINDOW_SECONDS).exp();
            self.sum *= kept;
            // The share of a full window that was seen: corrects the first seconds' average.
            self.weight = self.weight * kept + (1.0 - kept);
        }
        self.since = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ambient::instant;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn parallel_uploads_add_up_and_idle_time_does_not_count() {
        let (mut rate, start) = (Rate::default(), instant());
        assert_eq!(rate.bytes_per_second(), 0);
        let mut now = start;
        for _ in 0..100 {
            (0..4).for_each(|_| rate.start(now));
            now += Duration::from_millis(40);
            (0..4).for_each(|_| rate.finish(now, MIB));
            now += Duration::from_secs(60);
        }
        let mib = rate.bytes_per_second() / MIB;
        assert!((95..=105).contains(&mib), "{mib} MiB/s instead of 100");
    }

    #[test]
    fn a_store_that_slows_down_is_noticed_within_seconds() {
        let (mut rate, mut now) = (Rate::default(), instant());
        for (count, millis) in [(100, 10), (8, 1000)] {
            for _ in 0..count {
                rate.start(now);
                now += Duration::from_millis(millis);
                rate.finish(now, MIB);
            }
        }
        assert!(rate.bytes_per_second() < 4 * MIB, "{}", rate.bytes_per_second());
    }
}
