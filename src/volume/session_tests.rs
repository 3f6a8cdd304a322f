//! The life of a volume on a store that replaces what exists, through the module's functions.

use futures::TryStreamExt;

use super::*;
use crate::config::Fencing;
use crate::config::VolumeConfig;
use crate::meta::kv::Batch;
use crate::object::name::Sequence;
use crate::provider::AtRest;
use crate::provider::ConditionalCreate;
use crate::provider::Provider;
use crate::provider::SseMode;
use crate::provider::SseRequest;
use crate::types::SessionId;
use crate::volume::CreateOptions;
use crate::volume::OpenOptions;
use crate::volume::create;
use crate::volume::delete;
use crate::volume::open;
use crate::volume::open::Prepared;
use crate::volume::testing;

const DEADLINE: Duration = Duration::from_secs(30);

/// A volume at a provider in memory of which the matrix says that it replaces what exists.
async fn volume(name: &str) -> VolumeConfig {
    let mut config = testing::config_of("memory", name);
    let row = Provider {
        conditional_create: ConditionalCreate::SilentlyIgnored,
        conditional_update: false,
        sse_request: SseRequest::Default,
        at_rest: AtRest::Always,
        ..Provider::clone(&config.provider)
    };
    config.provider = Arc::new(row);
    let options = CreateOptions { sse: None, block_bytes: 4 << 20 };
    let made = create::create(&config, options, &Ambient::system()).await.unwrap();
    assert_eq!(made.fencing, "read-back");
    config
}

fn options() -> OpenOptions {
    OpenOptions {
        sse: None,
        any_sse: false,
        takeover: false,
        read_only: false,
        memory_bytes: 128 << 20,
        commit_interval: Duration::from_secs(5),
        readahead_bytes: 1 << 20,
        mountpoint: "/mnt".into(),
    }
}

fn takeover() -> OpenOptions {
    OpenOptions { takeover: true, ..options() }
}

async fn mount(config: &VolumeConfig, options: OpenOptions) -> Result<Prepared> {
    open::prepare(config, &options, &Ambient::system(), &testing::this()).await
}

async fn unmount(mounted: Prepared) {
    mounted.engine.close(DEADLINE).await.unwrap();
    close(&mounted.bucket, &mounted.claim.unwrap(), &Ambient::system()).await.unwrap();
}

fn batch(key: &'static str, value: &'static str) -> Batch {
    vec![(key.into(), Some(value.into()))]
}

async fn names(config: &VolumeConfig) -> Vec<String> {
    let bucket = Bucket::open(config, None).unwrap();
    bucket.list("").map_ok(|object| object.name).try_collect().await.unwrap()
}

/// That what is stored of each sequence counts.
async fn assert_nothing_void(config: &VolumeConfig, mounted: &Prepared) {
    let names = names(config).await;
    for sequence in Sequence::ALL {
        let stored = names.iter().filter(|name| name.starts_with(sequence.prefix())).count();
        assert_eq!(stored, mounted.tenure.as_ref().unwrap().all(sequence).len(), "{sequence:?}");
    }
}

#[tokio::test]
async fn a_volume_that_reads_back_lives_and_ends_like_any_other() {
    let config = volume("read back").await;
    assert!(!open::inspect(&config).await.unwrap().held);
    let first = mount(&config, options()).await.unwrap();
    assert_eq!(first.claim.unwrap().session, SessionId(2));
    assert!(first.previous_was_clean && first.notices[0].contains("one LIST more"));
    assert!(open::inspect(&config).await.unwrap().held);
    for refused in [mount(&config, options()).await.err(), delete::delete(&config).await.err()]
        .map(Option::unwrap)
    {
        assert_eq!(refused.kind(), Kind::Busy);
    }
    first.engine.commit(batch("k", "1")).await.unwrap();
    unmount(first).await;

    open::set_sse(&config, SseMode::Aes256).await.unwrap();
    let second = mount(&config, options()).await.unwrap();
    assert_eq!(second.bucket.policy().unwrap().mode, SseMode::Aes256);
    assert_eq!(second.engine.get(b"k").await.unwrap().unwrap(), "1");
    let own = second.tenure.clone();
    let writer = (&second.bucket, own.as_deref());
    let ambient = Ambient::system();
    open::set_own_sse(&config, SseMode::None, writer, &ambient).await.unwrap();
    assert_eq!(open::inspect(&config).await.unwrap().sse, SseMode::None);
    assert_eq!(second.bucket.policy().unwrap().mode, SseMode::None);
    unmount(second).await;

    assert!(delete::delete(&config).await.unwrap().objects > 4);
    assert_eq!(names(&config).await, [""; 0]);
}

#[tokio::test]
async fn a_takeover_fences_the_holder_and_keeps_what_he_acknowledged() {
    let config = volume("taken over").await;
    let first = mount(&config, options()).await.unwrap();
    first.engine.commit(batch("a", "1")).await.unwrap();
    let second = mount(&config, takeover()).await.unwrap();
    assert!(!second.previous_was_clean);
    let late = first.engine.commit(batch("b", "1")).await.unwrap_err();
    assert_eq!(late.kind(), Kind::Fenced);
    assert_eq!(first.engine.health().unwrap_err().kind(), Kind::Fenced);
    second.engine.commit(batch("c", "2")).await.unwrap();
    assert_eq!(second.engine.get(b"a").await.unwrap().unwrap(), "1");
    assert!(second.engine.get(b"b").await.unwrap().is_none());
    unmount(second).await;
    let third = mount(&config, options()).await.unwrap();
    for (key, there) in [(b"a", true), (b"b", false), (b"c", true)] {
        assert_eq!(third.engine.get(key).await.unwrap().is_some(), there);
    }
    // What the fenced writer put is void, and was deleted by the next claim to begin.
    assert_nothing_void(&config, &third).await;
}

#[tokio::test]
async fn what_arrives_late_from_a_fenced_writer_counts_for_nobody() {
    let config = volume("late").await;
    let first = mount(&config, options()).await.unwrap();
    first.engine.commit(batch("a", "1")).await.unwrap();
    let claim = first.claim.unwrap().id.unwrap();
    let second = mount(&config, takeover()).await.unwrap();
    // The next numbers of the fenced writer, and of his states.
    let bucket = Bucket::open(&config, Some(testing::policy())).unwrap();
    for sequence in Sequence::ALL {
        let owned = second.tenure.as_ref().unwrap().all(sequence);
        let next = owned.last().map_or(1, |(number, _)| number + 1);
        for number in next..next + 3 {
            bucket.put(&name::claimed(sequence, number, claim), "late".into()).await.unwrap();
        }
    }
    second.engine.commit(batch("b", "2")).await.unwrap();
    unmount(second).await;
    let third = mount(&config, options()).await.unwrap();
    assert_eq!(third.engine.get(b"a").await.unwrap().unwrap(), "1");
    assert_eq!(third.engine.get(b"b").await.unwrap().unwrap(), "2");
    assert_nothing_void(&config, &third).await;
}

#[tokio::test]
async fn a_reader_sees_what_was_acknowledged_and_writes_nothing() {
    let config = volume("followed").await;
    let writer = mount(&config, options()).await.unwrap();
    writer.engine.commit(batch("a", "1")).await.unwrap();
    let before = names(&config).await;
    let reader = mount(&config, OpenOptions { read_only: true, ..options() }).await.unwrap();
    assert_eq!(reader.engine.get(b"a").await.unwrap().unwrap(), "1");
    assert!(reader.claim.is_none() && reader.bucket.policy().is_none());
    assert_eq!(names(&config).await, before);
    writer.engine.commit(batch("a", "2")).await.unwrap();
    unmount(writer).await;
    let reader = mount(&config, OpenOptions { read_only: true, ..options() }).await.unwrap();
    assert_eq!(reader.engine.get(b"a").await.unwrap().unwrap(), "2");
}

#[tokio::test]
async fn a_commit_costs_one_put_and_one_list() {
    let config = volume("costs").await;
    let mounted = mount(&config, options()).await.unwrap();
    let mut seen = Vec::new();
    // In between the engine looks around at its own pace, so not every round shows commits alone.
    for _ in 0..5 {
        let before = mounted.bucket.counts();
        for key in ["a", "b", "c"] {
            mounted.engine.commit(batch(key, "1")).await.unwrap();
        }
        let after = mounted.bucket.counts();
        let (written, listed) = (after.put - before.put, after.list - before.list);
        seen.push((written, listed, after.get - before.get, after.head - before.head));
    }
    assert!(seen.contains(&(3, 3, 0, 0)), "{seen:?}");
}

#[tokio::test]
async fn eight_claims_at_once_give_one_session_at_most_and_the_next_gets_in() {
    let config = volume("crowd").await;
    let claims = (0..8).map(|_| {
        let config = config.clone();
        tokio::spawn(async move { mount(&config, options()).await.map(|mounted| mounted.claim) })
    });
    let mut won = Vec::new();
    for claim in claims.collect::<Vec<_>>() {
        match claim.await.unwrap() {
            Ok(claim) => won.push(claim.unwrap().session),
            Err(error) => assert_eq!(error.kind(), Kind::Busy, "{error}"),
        }
    }
    assert!(won.len() <= 1, "{won:?}");
    unmount(mount(&config, takeover()).await.unwrap()).await;
}

#[tokio::test]
async fn the_config_may_ask_for_reading_back_where_the_store_could_do_more() {
    let config = testing::config_of("memory", "asked");
    let asked = VolumeConfig { fencing: Fencing::ReadBack, ..config };
    let options = CreateOptions { sse: None, block_bytes: 4 << 20 };
    let made = create::create(&asked, options, &Ambient::system()).await.unwrap();
    assert_eq!(made.fencing, "read-back");
}
