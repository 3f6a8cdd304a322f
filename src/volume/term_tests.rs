//! Who may take a volume: the judgement as a table, and claims against a bucket in memory.

use super::*;
use crate::object::MemoryStore;
use crate::volume::testing;

fn host() -> Host {
    Host {
        name: "desk".to_owned(),
        machine_id: "m1".to_owned(),
        boot_id: "b1".to_owned(),
        pid_namespace: "pid:[1]".to_owned(),
        pid: 100,
        start_time: 7,
    }
}

fn term_of(host: &Host) -> Term {
    Term {
        volume: VolumeId([1; 16]),
        session: SessionId(3),
        claim: "00".to_owned(),
        host: host.name.clone(),
        machine_id: host.machine_id.clone(),
        boot_id: host.boot_id.clone(),
        pid_namespace: host.pid_namespace.clone(),
        pid: host.pid,
        start_time: host.start_time,
        mountpoint: "/mnt/data".to_owned(),
        opened: 1_700_000_000,
    }
}

fn claimant(host: &Host, takeover: bool) -> Claimant<'_> {
    Claimant { volume: VolumeId([1; 16]), host, mountpoint: Path::new("/mnt"), takeover }
}

async fn take(bucket: &Bucket, host: &Host, takeover: bool) -> Result<Claim> {
    claim(bucket, &claimant(host, takeover), &Ambient::system()).await
}

async fn sessions(bucket: &Bucket) -> Vec<u64> {
    list(bucket).await.unwrap().into_keys().map(|session| session.0).collect()
}

#[test]
fn a_term_survives_the_round_trip_and_no_damage_does() {
    let bytes = record::encode(&term_of(&host())).unwrap();
    let read: Term = record::decode("object", &bytes).unwrap();
    assert_eq!(read, term_of(&host()));
    record::refuses_all_damage::<Term>(&bytes);
    let (volume, session) = (VolumeId([1; 16]), SessionId(3));
    let closed = record::encode(&Closed { volume, session, closed: 1 }).unwrap();
    record::refuses_all_damage::<Closed>(&closed);
    assert!(record::decode::<Term>("object", &closed).is_err());
}

#[test]
fn a_term_is_free_only_when_its_process_is_surely_gone() {
    let this = host();
    let here = |change: fn(&mut Host)| {
        let mut host = this.clone();
        change(&mut host);
        host
    };
    let rebooted = here(|host| host.boot_id = "b0".to_owned());
    let elsewhere = here(|host| {
        host.machine_id = "m2".to_owned();
        host.boot_id = "b2".to_owned();
    });
    let container = here(|host| host.pid_namespace = "pid:[2]".to_owned());
    let nameless = here(|host| {
        host.machine_id.clear();
        host.boot_id = "b0".to_owned();
    });
    let (runs, hidden) = (Process::Running(Some(7)), Process::Running(None));
    let reused = Process::Running(Some(8));
    for (case, holder, process, free) in [
        ("the process runs", &this, runs, false),
        ("the process runs, its start is hidden", &this, hidden, false),
        ("the process is gone", &this, Process::Gone, true),
        ("another process has the number", &this, reused, true),
        ("an earlier boot", &rebooted, runs, true),
        ("another machine", &elsewhere, Process::Gone, false),
        ("another namespace", &container, Process::Gone, false),
        ("a machine without an id", &nameless, Process::Gone, false),
    ] {
        let term = term_of(holder);
        let judged = judge(&term, TermRecord::Opened, &this, |_| process);
        assert_eq!(matches!(judged, Judgement::Free(_)), free, "{case}: {judged:?}");
        let closed = judge(&term, TermRecord::Closed, &this, |_| process);
        assert!(matches!(closed, Judgement::Free(_)), "{case}, closed");
    }
    let mut judging = this.clone();
    judging.machine_id.clear();
    let judged = judge(&term_of(&nameless), TermRecord::Opened, &judging, |_| Process::Gone);
    assert!(matches!(judged, Judgement::Held(_)), "two machines without an id");
}

#[test]
fn a_holder_is_a_sentence() {
    let mut term = term_of(&host());
    let words = "host `desk` has it mounted at `/mnt/data`, process 100, \
                 since 2023-11-14 22:13 UTC";
    assert_eq!(term.holder(), words);
    term.mountpoint.clear();
    assert!(term.holder().starts_with("a tool works on it, process 100 on host `desk`"));
}

#[tokio::test]
async fn a_held_volume_is_refused_and_a_free_one_is_taken() {
    let bucket = testing::bucket(&MemoryStore::default());
    let this = testing::this();
    let first = take(&bucket, &this, false).await.unwrap();
    assert_eq!((first.session, first.previous_was_clean), (SessionId(1), true));

    let refused = take(&bucket, &this, false).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Busy);
    assert!(refused.to_string().contains(&format!("process {}", this.pid)), "{refused}");
    assert!(refused.hint_text().unwrap().contains("--takeover"));

    let after_power_loss = take(&bucket, &testing::rebooted(), false).await.unwrap();
    assert_eq!(after_power_loss.session, SessionId(2));
    assert!(!after_power_loss.previous_was_clean);

    close(&bucket, &after_power_loss, &Ambient::system()).await.unwrap();
    close(&bucket, &after_power_loss, &Ambient::system()).await.unwrap();
    let third = take(&bucket, &this, false).await.unwrap();
    assert_eq!((third.session, third.previous_was_clean), (SessionId(3), true));
    assert_eq!(sessions(&bucket).await, [2, 3]);

    give_back(&bucket, &third).await;
    let again = take(&bucket, &this, false).await.unwrap();
    assert_eq!((again.session, again.previous_was_clean), (SessionId(3), true));
}

#[tokio::test]
async fn a_takeover_supersedes_the_holder() {
    let bucket = testing::bucket(&MemoryStore::default());
    let this = testing::this();
    let first = take(&bucket, &this, false).await.unwrap();
    let second = take(&bucket, &this, true).await.unwrap();
    assert_eq!((second.session, second.previous_was_clean), (SessionId(2), false));
    assert!(is_superseded(&bucket, first.session).await.unwrap());
    assert!(!is_superseded(&bucket, second.session).await.unwrap());
    // What the first does now does not free the volume.
    close(&bucket, &first, &Ambient::system()).await.unwrap();
    assert_eq!(take(&bucket, &this, false).await.unwrap_err().kind(), Kind::Busy);
}

#[tokio::test]
async fn an_unreadable_term_needs_a_takeover() {
    let bucket = testing::bucket(&MemoryStore::default());
    let this = testing::this();
    bucket.put(&name::term(SessionId(5)), "damaged".into()).await.unwrap();
    bucket.put("meta/term/readme", "foreign".into()).await.unwrap();
    assert_eq!(take(&bucket, &this, false).await.unwrap_err().kind(), Kind::Busy);
    assert_eq!(take(&bucket, &this, true).await.unwrap().session, SessionId(6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_eight_claims_one_wins() {
    for _ in 0..20 {
        let bucket = testing::bucket(&MemoryStore::default());
        let this = testing::this();
        let claims: Vec<_> = (0..8)
            .map(|_| {
                let (bucket, this) = (bucket.clone(), this.clone());
                tokio::spawn(async move { take(&bucket, &this, false).await })
            })
            .collect();
        let mut won = 0;
        for claim in claims {
            match claim.await.unwrap() {
                Ok(_) => won += 1,
                Err(error) => assert_eq!(error.kind(), Kind::Busy),
            }
        }
        assert_eq!((won, sessions(&bucket).await), (1, vec![1]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn takeovers_that_cross_get_numbers_of_their_own() {
    let bucket = testing::bucket(&MemoryStore::default());
    let claims: Vec<_> = (0..6)
        .map(|_| {
            let (bucket, this) = (bucket.clone(), testing::this());
            tokio::spawn(async move { take(&bucket, &this, true).await })
        })
        .collect();
    let mut taken = Vec::new();
    for claim in claims {
        taken.extend(claim.await.unwrap().ok().map(|claim| claim.session));
    }
    let count = taken.len();
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), count);
    assert!(count > 0);
}
