//! A limit on requests per second, shared by all that send at once.

use std::time::Duration;
use std::time::Instant;

use parking_lot::Mutex;

use crate::ambient::instant;

/// Gives turns at even distances.
pub(super) struct Pace {
    distance: Option<Duration>,
    next: Mutex<Instant>,
}

impl Pace {
    /// At most so many turns a second; `None`: as many as one likes.
    pub(super) fn new(per_second: Option<u32>) -> Self {
        let distance = per_second.map(|rate| Duration::from_secs(1) / rate.max(1));
        Self { distance, next: Mutex::new(instant()) }
    }

    /// Waits for a turn.
    pub(super) async fn turn(&self) {
        let Some(distance) = self.distance else { return };
        let turn = reserve(&mut self.next.lock(), instant(), distance);
        tokio::time::sleep_until(turn.into()).await;
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
}
