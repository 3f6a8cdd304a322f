//! Creators against buckets in memory: crashes at every request, and each other.

use super::*;
use crate::meta::key;
use crate::meta::value::Inode;
use crate::meta::value::Superblock;
use crate::object::MemoryStore;
use crate::object::fault::Faults;
use crate::types::Epoch;
use crate::types::Ino;
use crate::types::SessionId;
use crate::volume::testing;

/// Enough for a crash at every request that a create sends.
const CHANGES_MAX: u64 = 40;

/// How long a crashed creator tries to go on.
const SOON: Duration = Duration::from_millis(300);

fn plan(host: &Host, engine_within: Duration) -> Plan<'_> {
    let (block_bytes, mode) = (4 << 20, SseMode::None);
    let fencing = FencingMode::ConditionalCreate;
    Plan { name: "photos", block_bytes, mode, fencing, host, engine_within }
}

fn reading_back(host: &Host) -> Plan<'_> {
    Plan { fencing: FencingMode::ReadBack, ..plan(host, ENGINE_WITHIN) }
}

async fn make(bucket: &Bucket, host: &Host) -> Result<Summary> {
    plan(host, ENGINE_WITHIN).carry_out(bucket, &Ambient::system()).await
}

async fn names(bucket: &Bucket) -> Vec<String> {
    bucket.list("").map_ok(|object| object.name).try_collect().await.unwrap()
}

/// That there is a whole volume.
async fn assert_sound(bucket: &Bucket) {
    let header = header::read(bucket).await.unwrap().unwrap();
    let state = state::latest(bucket, &header).await.unwrap().unwrap();
    assert_eq!(state.number, 1);
    let options = SlateOptions::default();
    let engine = SlateEngine::open(bucket.clone(), options, ENGINE_WITHIN).await.unwrap();
    let superblock = engine.get(&key::superblock()).await.unwrap().unwrap();
    assert_eq!(Superblock::decode(&superblock).unwrap().epoch, Epoch(1));
    let root = engine.get(&key::inode(Ino::ROOT)).await.unwrap().unwrap();
    assert_eq!(Inode::decode(&root).unwrap().parent(), Ino::ROOT);
    engine.close(ENGINE_WITHIN).await.unwrap();
}

/// Creates until the given request crashes, then looks at what is left. Returns whether the
/// creator came that far.
async fn crash_after(changes: u64, apply_then_fail: bool) -> bool {
    let store = MemoryStore::default();
    let faults = Faults { crash_after: Some(changes), apply_then_fail, ..Faults::default() };
    let (bucket, control) = testing::bucket(&store).with_faults(faults);
    let made = plan(&testing::this(), SOON).carry_out(&bucket, &Ambient::system()).await;
    let crashed = control.crashed();
    // The creator's process ends here: one that was merely too slow must not go on behind the next.
    control.crash_now();
    let bucket = testing::bucket(&store);
    let exists = header::read(&bucket).await.unwrap().is_some();
    assert!(exists || made.is_err(), "after {changes}");
    if !exists {
        make(&bucket, &testing::rebooted()).await.unwrap();
    }
    assert_sound(&bucket).await;
    crashed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crash_at_any_request_leaves_no_volume_or_a_whole_one() {
    for apply_then_fail in [false, true] {
        let attempts: Vec<_> = (0..CHANGES_MAX)
            .map(|changes| tokio::spawn(crash_after(changes, apply_then_fail)))
            .collect();
        let mut crashed = Vec::new();
        for attempt in attempts {
            crashed.push(attempt.await.unwrap());
        }
        assert!(crashed[0] && !crashed[crashed.len() - 1], "{crashed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_creators_one_wins() {
    for _ in 0..10 {
        let bucket = testing::bucket(&MemoryStore::default());
        let creators: Vec<_> = (0..2)
            .map(|_| {
                let bucket = bucket.clone();
                tokio::spawn(async move { make(&bucket, &testing::this()).await })
            })
            .collect();
        let mut won = 0;
        for creator in creators {
            match creator.await.unwrap() {
                Ok(_) => won += 1,
                Err(error) => assert!(matches!(error.kind(), Kind::Busy | Kind::Exists), "{error}"),
            }
        }
        assert_eq!(won, 1);
        assert_sound(&bucket).await;
    }
}

#[tokio::test]
async fn a_volume_is_not_made_twice_and_leaves_no_term() {
    let bucket = testing::bucket(&MemoryStore::default());
    let made = make(&bucket, &testing::this()).await.unwrap();
    assert_eq!((made.format, made.fencing.as_str()), (1, "conditional-create"));
    let again = make(&bucket, &testing::this()).await.unwrap_err();
    assert_eq!(again.kind(), Kind::Exists);
    assert!(!names(&bucket).await.iter().any(|name| name.starts_with("meta/term/")));
}

#[tokio::test]
async fn what_is_left_of_a_used_volume_is_not_thrown_away() {
    let store = MemoryStore::default();
    let bucket = testing::bucket(&store);
    let block = name::block(crate::types::BlockId::new(SessionId(1), [1; 11]));
    bucket.put(&block, "bytes".into()).await.unwrap();
    let refused = make(&bucket, &testing::this()).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Exists);
    assert_eq!(names(&bucket).await, [block]);
}

#[tokio::test]
async fn options_that_cannot_be_are_refused_before_any_request() {
    let options = |block_bytes| CreateOptions { sse: None, block_bytes };
    let ambient = Ambient::system();
    let memory = testing::config_of("memory", "bad options");
    for bytes in [0, 1 << 17, 65 << 20] {
        let error = create(&memory, options(bytes), &ambient).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
    }
}

#[tokio::test]
async fn a_volume_that_reads_back_is_made_once_and_its_founder_keeps_his_record() {
    let bucket = testing::bucket(&MemoryStore::default());
    let this = testing::this();
    let make = || async { reading_back(&this).carry_out(&bucket, &Ambient::system()).await };
    assert_eq!(make().await.unwrap().fencing, "read-back");
    assert_eq!(make().await.unwrap_err().kind(), Kind::Exists);
    let header = header::read(&bucket).await.unwrap().unwrap();
    assert_eq!(state::latest(&bucket, &header).await.unwrap().unwrap().number, 1);
    // No name of a numbered object is one that two claims could both write.
    for name in names(&bucket).await {
        assert_eq!(name::parse_numbered(&name), None, "{name}");
    }
    let records = names(&bucket).await.into_iter().filter_map(|name| name::parse_claim(&name));
    assert_eq!(records.count(), 3);
}

#[tokio::test]
async fn a_place_where_a_header_may_still_arrive_is_not_free() {
    let store = MemoryStore::default();
    let mut changes = 0;
    // Crashes later and later, until the start was sent and the header was not seen.
    let bucket = loop {
        let (store, faults) =
            (store.copy(), Faults { crash_after: Some(changes), ..Faults::default() });
        let (bucket, _) = testing::bucket(&store).with_faults(faults);
        let this = testing::this();
        let made = Plan { engine_within: SOON, ..reading_back(&this) };
        let made = made.carry_out(&bucket, &Ambient::system()).await.map(|_| ());
        made.expect_err("a volume was made before its start");
        let bucket = testing::bucket(&store);
        if names(&bucket).await.iter().any(|name| name.ends_with(".start")) {
            break bucket;
        }
        changes += 1;
    };
    let refused = reading_back(&testing::rebooted()).carry_out(&bucket, &Ambient::system()).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), Kind::Exists, "{refused}");
    assert!(refused.hint_text().unwrap().contains("another prefix"));
}
