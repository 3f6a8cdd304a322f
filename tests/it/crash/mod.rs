//! The crash model: actors work on a volume and on a plain model at once, the store crashes after
//! any request, and what a new mount finds equals the model at one instant, at or after the last
//! acknowledged sync.

mod model;
mod world;

use self::world::Outcome;
use self::world::Plan;

/// Crash points tried by default; `CAIRNFS_CRASH_POINTS` asks for more.
const POINTS: u64 = 2_000;

/// Requests after which the store crashes, at most: long enough for several epochs, their uploads
/// and what tidies up after them.
const REQUESTS_MAX: u64 = 60;

/// Runs at once.
const THREADS: u64 = 2;

fn points() -> u64 {
    let wanted = std::env::var("CAIRNFS_CRASH_POINTS").ok().and_then(|text| text.parse().ok());
    wanted.unwrap_or(POINTS)
}

/// Every `THREADS`-th seed.
fn try_points(first: u64) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for seed in (first..points()).filter(|seed| seed % THREADS == first) {
        let plan =
            Plan { seed, crash_after: Some(1 + seed / 2 % REQUESTS_MAX), applied: seed % 2 == 1 };
        let outcome = world::run(plan);
        assert!(outcome.fault.is_none(), "{plan:?}: {}", outcome.fault.unwrap_or_default());
        outcomes.push(outcome);
    }
    outcomes
}

#[test]
fn after_a_crash_at_any_request_a_volume_is_what_it_was_at_one_instant() {
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let threads = (0..THREADS).map(|first| scope.spawn(move || try_points(first)));
        threads.collect::<Vec<_>>().into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    // The model must have had something to say: real work, real crashes, real syncs.
    let share = |test: fn(&Outcome) -> bool| {
        outcomes.iter().filter(|outcome| test(outcome)).count() * 100 / outcomes.len()
    };
    assert!(share(|outcome| outcome.crashed) >= 90, "too few runs crashed");
    assert!(share(|outcome| outcome.synced > 0) >= 50, "too few runs had an acknowledged sync");
    assert!(share(|outcome| outcome.operations > 20) >= 50, "too few runs did much");
}

#[test]
fn without_a_crash_a_volume_is_what_its_model_is_also_after_remounts() {
    for seed in 0..20 {
        let outcome =
            world::run(Plan { seed: 1_000_000 + seed, crash_after: None, applied: false });
        assert!(outcome.fault.is_none(), "seed {seed}: {}", outcome.fault.unwrap_or_default());
    }
}
