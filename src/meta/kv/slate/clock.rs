//! The engine's time. SlateDB stamps each write with the time and refuses a stamp older than its
//! last one (`InvalidClockTick`, after ten seconds of waiting), whichever machine made that: a
//! machine whose clock is behind could not write a volume that another one wrote before. So the
//! engine's clock runs ahead of the machine's by as much as it was found to be behind.

use std::pin::Pin;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;
use slatedb_common::clock::SystemClock;
use slatedb_common::clock::SystemClockTicker;
use tokio::time::Instant;

/// A clock that never goes back, within a session or from one to the next.
#[derive(Debug)]
pub(super) struct Clock {
    /// What the machine's clock showed when this one was made.
    began: DateTime<Utc>,
    /// The monotonic clock at that moment.
    origin: Instant,
    /// Milliseconds that this clock is ahead of the machine's.
    ahead: AtomicI64,
}

impl Clock {
    /// A clock that shows `now`.
    pub(super) fn showing(now: DateTime<Utc>) -> Self {
        Self { began: now, origin: Instant::now(), ahead: AtomicI64::new(0) }
    }

    /// Never shows less than `stamp` from now on, in milliseconds since 1970. Returns by how much
    /// the machine's clock is behind it.
    pub(super) fn pass(&self, stamp: i64) -> Duration {
        let behind = stamp.saturating_sub(self.now().timestamp_millis());
        let behind = u64::try_from(behind).unwrap_or(0);
        self.ahead.fetch_add(i64::try_from(behind).unwrap_or(i64::MAX), Ordering::Relaxed);
        Duration::from_millis(behind)
    }
}

impl SystemClock for Clock {
    fn now(&self) -> DateTime<Utc> {
        let ahead = TimeDelta::milliseconds(self.ahead.load(Ordering::Relaxed));
        let shown = (self.began + self.origin.elapsed()).checked_add_signed(ahead);
        // A stamp at the end of all time is damage, which must not end the process.
        shown.unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    fn sleep<'a>(&'a self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn ticker<'a>(&'a self, duration: Duration) -> SystemClockTicker<'a> {
        SystemClockTicker::new(self, duration)
    }
}
