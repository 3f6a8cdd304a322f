//! What a mount asks of the store before it answers: each request is a round trip that somebody
//! waits for, and a distant store makes them long.

use crate::support::s3_double::Action;
use crate::support::s3_double::S3Double;
use crate::support::s3_double::Seen;
use crate::support::volume::TestVolume;

/// What opening the engine takes, and the first round of its background work: 65 were counted.
const ENGINE_REQUESTS_MAX: usize = 80;

#[test]
fn a_mount_reads_each_thing_once_before_it_answers() {
    let double = S3Double::start();
    let volume = TestVolume::amazon(&double);
    volume.create(&[]);
    double.forget();
    let mounted = volume.start(&[]);
    let record = double.record();
    mounted.stop();
    let (engine, own): (Vec<_>, Vec<_>) =
        record.iter().partition(|seen| seen.key.starts_with("cairn/meta/db/"));
    let count = |action, below: &str| {
        let key = format!("cairn/{below}");
        own.iter().filter(|s: &&&Seen| s.action == action && s.key.starts_with(&key)).count()
    };
    assert_eq!(count(Action::GetObject, "cairnfs.volume"), 1, "the header");
    // Once before the session is claimed, and once after, since then nobody else changes it.
    assert_eq!(count(Action::ListObjects, "cairnfs.state."), 2, "the states' names");
    assert_eq!(count(Action::GetObject, "cairnfs.state."), 2, "the state");
    assert_eq!(count(Action::HeadObject, "meta/probe/"), 1, "the probe");
    // Before the claim, after it, and once the engine is open.
    assert_eq!(count(Action::ListObjects, "meta/term/"), 3, "the terms");
    assert_eq!(own.len(), 14, "{own:?}");
    assert!(engine.len() <= ENGINE_REQUESTS_MAX, "{} of the engine", engine.len());
}
