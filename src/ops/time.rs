//! Times as reports write them. Asks no clock.

use crate::ambient::Timestamp;
use crate::provider::Day;

/// `2026-11-23T08:15:00Z`.
pub fn rfc3339(time: Timestamp) -> String {
    let second = time.seconds.rem_euclid(86_400);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{}T{hour:02}:{minute:02}:{second:02}Z", Day::of(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339() {
        let text = |seconds| rfc3339(Timestamp { seconds, nanoseconds: 0 });
        assert_eq!(text(0), "1970-01-01T00:00:00Z");
        assert_eq!(text(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(text(1_795_435_199), "2026-11-23T11:59:59Z");
        assert_eq!(text(-1), "1969-12-31T23:59:59Z");
    }
}
