//! Time and randomness: the only file that asks the system for either. Tests give a seed.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// A point in time as POSIX counts it: seconds since 1970 and nanoseconds (below 10⁹) after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Seconds since 1970-01-01 00:00 UTC, negative before.
    pub seconds: i64,
    /// Nanoseconds after `seconds`, below 10⁹.
    pub nanoseconds: u32,
}

/// Where time and randomness come from.
#[derive(Clone)]
pub struct Ambient(Arc<Source>);

enum Source {
    System,
    Seeded(Mutex<Seeded>),
}

struct Seeded {
    state: u64,
    now: Timestamp,
}

impl Ambient {
    /// The system's clock and random numbers.
    pub fn system() -> Self {
        Self(Arc::new(Source::System))
    }

    /// A clock that advances one microsecond per question, and numbers from `seed`.
    pub fn seeded(seed: u64) -> Self {
        let now = Timestamp { seconds: 1_700_000_000, nanoseconds: 0 };
        Self(Arc::new(Source::Seeded(Mutex::new(Seeded { state: seed, now }))))
    }

    /// The wall clock.
    pub fn now(&self) -> Timestamp {
        match &*self.0 {
            Source::System => system_now(),
            Source::Seeded(seeded) => {
                let mut seeded = seeded.lock();
                seeded.now.nanoseconds += 1_000;
                if seeded.now.nanoseconds >= 1_000_000_000 {
                    seeded.now.nanoseconds = 0;
                    seeded.now.seconds += 1;
                }
                seeded.now
            }
        }
    }

    /// Fills `bytes` with randomness fit for identifiers and keys.
    pub fn fill(&self, bytes: &mut [u8]) -> Result<()> {
        match &*self.0 {
            Source::System => getrandom::fill(bytes).map_err(|cause| {
                Error::new(Kind::Internal, "the system gives no random numbers").because(cause)
            }),
            Source::Seeded(seeded) => {
                let mut seeded = seeded.lock();
                for chunk in bytes.chunks_mut(8) {
                    chunk
                        .copy_from_slice(&splitmix(&mut seeded.state).to_le_bytes()[..chunk.len()]);
                }
                Ok(())
            }
        }
    }
}

/// A monotonic instant, for measuring durations only.
#[expect(clippy::disallowed_methods, reason = "this is the file that asks")]
pub fn instant() -> Instant {
    Instant::now()
}

/// The wall clock as a `SystemTime`, for outside crates that want one.
#[expect(clippy::disallowed_methods, reason = "this is the file that asks")]
pub fn system_time() -> SystemTime {
    SystemTime::now()
}

fn system_now() -> Timestamp {
    match system_time().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => Timestamp {
            seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            nanoseconds: since.subsec_nanos(),
        },
        Err(before) => before_1970(before.duration()),
    }
}

fn before_1970(before: Duration) -> Timestamp {
    let seconds = -i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
    match before.subsec_nanos() {
        0 => Timestamp { seconds, nanoseconds: 0 },
        nanoseconds => Timestamp { seconds: seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    }
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_run() {
        let draw = |seed| {
            let ambient = Ambient::seeded(seed);
            let mut bytes = [0; 20];
            ambient.fill(&mut bytes).unwrap();
            (ambient.now(), bytes)
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
