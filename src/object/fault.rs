//! A seeded fault layer over any bucket, for tests: power losses, lost answers, absences, slowness
//! and missing confirmations. Sits under `Bucket`, so that the metadata engine meets it too.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use parking_lot::Mutex;

use super::counts::Access;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// Which requests [`Faults::crash_after`] and [`FaultControl::ops_seen`] count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Counted {
    /// Writes and deletes.
    #[default]
    Changes,
    /// All requests.
    Everything,
}

/// What goes wrong, and when.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Chooses which requests fail at `error_rate`; one seed, one sequence.
    pub seed: u64,
    /// After this many counted requests everything fails for good, as after a power loss.
    pub crash_after: Option<u64>,
    /// What is counted.
    pub counted: Counted,
    /// The request that crashes, and each that `error_rate` picks, is applied but not answered.
    pub apply_then_fail: bool,
    /// The share of requests that fail once, in thousandths.
    pub error_rate_permille: u32,
    /// How long each request takes at least.
    pub latency: Duration,
    /// Bytes per second that all bodies together may take.
    pub bytes_per_second: Option<NonZeroU64>,
}

/// Steers the faults of a bucket while it runs. Clones steer the same bucket.
#[derive(Clone)]
pub struct FaultControl(Arc<Control>);

struct Control {
    faults: Faults,
    ops: AtomicU64,
    crashed: AtomicBool,
    away: AtomicBool,
    hanging: AtomicBool,
    refusing: AtomicBool,
    unconfirmed: AtomicBool,
    bytes_per_second: Mutex<Option<NonZeroU64>>,
    /// Held while bytes flow, so that bodies share the speed.
    pipe: tokio::sync::Mutex<()>,
}

/// What happens to one request.
enum Fate {
    Answered,
    AppliedUnanswered,
}

impl FaultControl {
    pub(super) fn new(faults: Faults) -> Self {
        let bytes_per_second = Mutex::new(faults.bytes_per_second);
        Self(Arc::new(Control {
            faults,
            ops: AtomicU64::new(0),
            crashed: AtomicBool::new(false),
            away: AtomicBool::new(false),
            hanging: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            unconfirmed: AtomicBool::new(false),
            bytes_per_second,
            pipe: tokio::sync::Mutex::new(()),
        }))
    }

    /// From now on everything fails for good, requests under way included.
    pub fn crash_now(&self) {
        self.0.crashed.store(true, SeqCst);
    }

    /// Whether the crash has happened.
    pub fn crashed(&self) -> bool {
        self.0.crashed.load(SeqCst)
    }

    /// The store is away (requests fail at once), or back.
    pub fn set_away(&self, away: bool) {
        self.0.away.store(away, SeqCst);
    }

    /// New requests are never answered, or are again.
    pub fn set_hanging(&self, hanging: bool) {
        self.0.hanging.store(hanging, SeqCst);
    }

    /// Writes are refused, as without permission, or are taken again.
    pub fn set_refusing(&self, refusing: bool) {
        self.0.refusing.store(refusing, SeqCst);
    }

    /// The store stops confirming encryption, or confirms again.
    pub fn writes_unconfirmed(&self, unconfirmed: bool) {
        self.0.unconfirmed.store(unconfirmed, SeqCst);
    }

    /// Bounds the bytes per second of all bodies together.
    pub fn throttle(&self, bytes_per_second: Option<NonZeroU64>) {
        *self.0.bytes_per_second.lock() = bytes_per_second;
    }

    /// Counted requests so far.
    pub fn ops_seen(&self) -> u64 {
        self.0.ops.load(SeqCst)
    }

    pub(super) fn unconfirmed(&self) -> bool {
        self.0.unconfirmed.load(SeqCst)
    }

    /// Runs one request through the faults; `bytes` is the size of its body.
    pub(super) async fn through<T>(
        &self,
        access: Access,
        bytes: usize,
        request: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let fate = self.enter(access, bytes).await?;
        let outcome = request.await;
        match fate {
            Fate::AppliedUnanswered => Err(unanswered()),
            // A crash while it was under way: applied or not, nobody learns it.
            Fate::Answered if self.crashed() => Err(unanswered()),
            Fate::Answered => outcome,
        }
    }

    /// Bytes that arrived take their time as well.
    pub(super) async fn received(&self, bytes: usize) {
        self.flow(bytes).await;
    }

    async fn enter(&self, access: Access, bytes: usize) -> Result<Fate> {
        let control = &self.0;
        if control.hanging.load(SeqCst) {
            return std::future::pending().await;
        }
        if control.faults.latency > Duration::ZERO {
            tokio::time::sleep(control.faults.latency).await;
        }
        self.flow(bytes).await;
        if self.crashed() || control.away.load(SeqCst) {
            return Err(unanswered());
        }
        if access == Access::Write && control.refusing.load(SeqCst) {
            return Err(Error::new(Kind::Denied, "the store refuses (a fault of the test)"));
        }
        let changes = matches!(access, Access::Write | Access::Delete);
        if !changes && control.faults.counted == Counted::Changes {
            return Ok(Fate::Answered);
        }
        let number = control.ops.fetch_add(1, SeqCst) + 1;
        let crashes = control.faults.crash_after.is_some_and(|after| number > after);
        if crashes {
            self.crash_now();
        }
        let draw = mix(control.faults.seed.wrapping_add(number)) % 1000;
        let fails = crashes || draw < u64::from(control.faults.error_rate_permille);
        match (fails, changes && control.faults.apply_then_fail) {
            (false, _) => Ok(Fate::Answered),
            (true, true) => Ok(Fate::AppliedUnanswered),
            (true, false) => Err(unanswered()),
        }
    }

    async fn flow(&self, bytes: usize) {
        let speed = *self.0.bytes_per_second.lock();
        if let Some(speed) = speed.filter(|_| bytes > 0) {
            let _pipe = self.0.pipe.lock().await;
            let micros = (bytes as u64).saturating_mul(1_000_000) / speed;
            tokio::time::sleep(Duration::from_micros(micros)).await;
        }
    }
}

fn unanswered() -> Error {
    Error::new(Kind::Unavailable, "the store does not answer (a fault of the test)")
}

pub(super) fn mix(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Bucket;
    use crate::object::MemoryStore;
    use crate::object::Posture;
    use crate::object::rows;
    use crate::provider::SseMode;

    fn bucket(store: &MemoryStore, mode: SseMode, faults: Faults) -> (Bucket, FaultControl) {
        Bucket::memory(store, Some(rows::policy(mode))).with_faults(faults)
    }

    #[tokio::test]
    async fn after_the_crash_nothing_works_and_the_contents_survive_it() {
        for apply_then_fail in [false, true] {
            let store = MemoryStore::default();
            let faults = Faults { crash_after: Some(1), apply_then_fail, ..Faults::default() };
            let (bucket, control) = bucket(&store, SseMode::None, faults);
            bucket.put("a", "1".into()).await.unwrap();
            assert!(bucket.get("a", None, None).await.is_ok());
            let lost = bucket.put("b", "2".into()).await.unwrap_err();
            assert_eq!(lost.kind(), Kind::Unavailable);
            assert!(control.crashed() && bucket.state().away_since.is_some());
            assert!(bucket.head("a").await.is_err());
            let restarted = Bucket::memory(&store, None);
            assert!(restarted.head("a").await.is_ok());
            assert_eq!(restarted.head("b").await.is_ok(), apply_then_fail);
        }
    }

    #[tokio::test]
    async fn a_store_that_stops_confirming_fails_strict_writes() {
        let (bucket, control) = bucket(&MemoryStore::default(), SseMode::Aes256, Faults::default());
        let put = bucket.put("a", "1".into()).await.unwrap();
        assert!(matches!(put.posture, Posture::Confirmed { .. }));
        control.writes_unconfirmed(true);
        let error = bucket.put("b", "1".into()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Policy);
        assert_eq!(bucket.counts().first_unconfirmed.as_deref(), Some("b"));
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_share_the_speed_of_the_pipe() {
        let (bucket, control) = bucket(&MemoryStore::default(), SseMode::None, Faults::default());
        control.throttle(NonZeroU64::new(1000));
        let start = tokio::time::Instant::now();
        let body = || bytes::Bytes::from(vec![0; 500]);
        let (one, two) = tokio::join!(bucket.put("a", body()), bucket.put("b", body()));
        one.and(two).unwrap();
        assert_eq!(start.elapsed().as_secs(), 1);
    }
}
