//! One measurement and its line of JSON; the clock; numbers that repeat.

use std::time::Duration;
use std::time::Instant;

/// How a value is read.
#[derive(Debug, Clone, Copy)]
pub enum Unit {
    /// Operations in a second: more is better.
    PerSecond,
    /// MiB in a second: more is better.
    MebibytesPerSecond,
    /// Seconds for all of it: less is better.
    Seconds,
    /// Milliseconds for each: less is better.
    Milliseconds,
}

/// What a workload showed.
#[derive(Debug)]
pub struct Measure {
    name: &'static str,
    unit: Unit,
    value: f64,
    /// The 99th percentile, where each operation was timed.
    p99: Option<f64>,
    count: u64,
    seconds: f64,
}

impl Measure {
    /// `count` operations took `took` together.
    pub fn rate(name: &'static str, count: u64, took: Duration) -> Self {
        let seconds = took.as_secs_f64();
        let value = float(count) / seconds;
        Self { name, unit: Unit::PerSecond, value, p99: None, count, seconds }
    }

    /// `bytes` bytes took `took`.
    pub fn stream(name: &'static str, bytes: u64, took: Duration) -> Self {
        let seconds = took.as_secs_f64();
        let value = float(bytes) / float(1 << 20) / seconds;
        let unit = Unit::MebibytesPerSecond;
        Self { name, unit, value, p99: None, count: bytes, seconds }
    }

    /// All `count` operations took `took`, which is what counts.
    pub fn whole(name: &'static str, count: u64, took: Duration) -> Self {
        let seconds = took.as_secs_f64();
        Self { name, unit: Unit::Seconds, value: seconds, p99: None, count, seconds }
    }

    /// Each operation's time: the median and the 99th percentile count.
    pub fn latencies(name: &'static str, mut waits: Vec<Duration>) -> Self {
        waits.sort_unstable();
        let at = |percent: usize| {
            let rank = (waits.len() * percent).div_ceil(100).max(1) - 1;
            waits.get(rank).copied().unwrap_or_default().as_secs_f64() * 1e3
        };
        let seconds = waits.iter().sum::<Duration>().as_secs_f64();
        let (value, p99) = (at(50), Some(at(99)));
        let count = waits.len() as u64;
        Self { name, unit: Unit::Milliseconds, value, p99, count, seconds }
    }

    /// One line of JSON.
    pub fn json(&self) -> String {
        let unit = match self.unit {
            Unit::PerSecond => "/s",
            Unit::MebibytesPerSecond => "MiB/s",
            Unit::Seconds => "s",
            Unit::Milliseconds => "ms",
        };
        let p99 = self.p99.map(|p99| format!(",\"p99\":{p99:.3}")).unwrap_or_default();
        format!(
            "{{\"name\":\"{}\",\"unit\":\"{unit}\",\"value\":{:.3}{p99},\"count\":{},\
             \"seconds\":{:.3}}}",
            self.name, self.value, self.count, self.seconds
        )
    }
}

/// The clock.
#[expect(clippy::disallowed_methods, reason = "a benchmark is about the real clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// A row of numbers that a seed determines (splitmix64).
pub struct Numbers(pub u64);

impl Numbers {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Fills a buffer with bytes that no compression shrinks.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for word in bytes.chunks_mut(8) {
            let number = self.next().to_le_bytes();
            word.copy_from_slice(&number[..word.len()]);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts and sizes are far below 2^53")]
fn float(number: u64) -> f64 {
    number as f64
}
