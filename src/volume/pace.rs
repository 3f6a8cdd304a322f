//! Requests of a tool that has time: a limit per second, shared by all that send at once, and
//! patience with a store that asks for less. Knows no request.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use parking_lot::Mutex;

use crate::ambient::instant;
use crate::error::Kind;
use crate::error::Result;

/// Seconds between tries: about a minute together.
const WAITS: [u64; 6] = [1, 2, 4, 8, 15, 30];

/// After so many requests in a row that found no answer in all that time the store is away, and
/// does not merely ask for less.
const AWAY_AFTER: u32 = 48;

/// Gives turns at even distances, and tries again.
pub struct Pace {
    distance: Option<Duration>,
    next: Mutex<Instant>,
    waits: Vec<Duration>,
    unanswered: AtomicU32,
}

impl Pace {
    /// At most so many turns a second; `None`: as many as one likes.
    pub fn new(per_second: Option<u32>) -> Self {
        let distance = per_second.map(|rate| Duration::from_secs(1) / rate.max(1));
        let waits = WAITS.map(Duration::from_secs).to_vec();
        Self { distance, next: Mutex::new(instant()), waits, unanswered: AtomicU32::new(0) }
    }

    /// The same without patience, for tests.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn hasty(self) -> Self {
        Self { waits: vec![Duration::ZERO; WAITS.len()], ..self }
    }

    /// Waits for a turn.
    pub async fn turn(&self) {
        let Some(distance) = self.distance else { return };
        let turn = reserve(&mut self.next.lock(), instant(), distance);
        tokio::time::sleep_until(turn.into()).await;
    }

    /// The answer to a request, which is sent again for about a minute while the store is
    /// unavailable. Each try takes a turn.
    pub async fn patiently<T, F>(&self, request: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut waits = self.waits.iter();
        loop {
            self.turn().await;
            match (request().await, waits.next()) {
                (Err(error), Some(wait)) if error.kind() == Kind::Unavailable => {
                    tokio::time::sleep(*wait).await;
                }
                (Err(error), None) if error.kind() == Kind::Unavailable => {
                    self.unanswered.fetch_add(1, Ordering::Relaxed);
                    return Err(error);
                }
                (answer, _) => {
                    self.unanswered.store(0, Ordering::Relaxed);
                    return answer;
                }
            }
        }
    }

    /// Whether so many requests found no answer, and none did meanwhile, that asking on is vain.
    pub fn is_in_vain(&self) -> bool {
        self.unanswered.load(Ordering::Relaxed) >= AWAY_AFTER
    }
}

/// The turn of who asks `now`. Turns that nobody took are lost, so that no burst follows a pause.
fn reserve(next: &mut Instant, now: Instant, distance: Duration) -> Instant {
    let turn = (*next).max(now);
    *next = turn + distance;
    turn
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn turns_keep_their_distance_and_unused_ones_are_lost() {
        let (begin, distance) = (instant(), Duration::from_millis(100));
        let mut next = begin;
        let turns: Vec<_> = (0..3).map(|_| reserve(&mut next, begin, distance)).collect();
        assert_eq!(turns, [begin, begin + distance, begin + 2 * distance]);
        let late = begin + Duration::from_secs(60);
        assert_eq!(reserve(&mut next, late, distance), late);
        assert_eq!(reserve(&mut next, late, distance), late + distance);
    }

    #[tokio::test]
    async fn a_store_that_asks_for_less_is_asked_again_and_one_that_is_away_is_given_up() {
        let pace = Pace::new(None).hasty();
        let away = || Error::new(Kind::Unavailable, "503");
        let tries = AtomicU32::new(0);
        let third = || async {
            let last = tries.fetch_add(1, Ordering::Relaxed) >= 2;
            if last { Ok(7) } else { Err(away()) }
        };
        assert_eq!(pace.patiently(third).await.unwrap(), 7);
        let denied = || async { Err::<(), _>(Error::new(Kind::Denied, "403")) };
        assert_eq!(pace.patiently(denied).await.unwrap_err().kind(), Kind::Denied);
        for _ in 0..AWAY_AFTER {
            assert!(!pace.is_in_vain());
            pace.patiently(|| async { Err::<(), _>(away()) }).await.unwrap_err();
        }
        assert!(pace.is_in_vain());
        pace.patiently(|| async { Ok(()) }).await.unwrap();
        assert!(!pace.is_in_vain(), "it answers again");
        assert!(WAITS.iter().sum::<u64>() >= 60);
    }
}
