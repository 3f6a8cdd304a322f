//! A volume's life through the public functions, at a provider in memory.

use super::*;
use crate::config::Fencing;
use crate::object::MemoryStore;
use crate::provider::AtRest;
use crate::provider::Provider;
use crate::provider::SseRequest;
use crate::types::SessionId;
use crate::volume::CreateOptions;
use crate::volume::create;
use crate::volume::delete;
use crate::volume::testing;

const DEADLINE: Duration = Duration::from_secs(30);

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

fn asking(mode: SseMode) -> OpenOptions {
    OpenOptions { sse: Some(mode), ..options() }
}

/// A volume of that name at a provider in memory, which encrypts everything.
async fn volume(name: &str) -> VolumeConfig {
    let mut config = testing::config_of("memory", name);
    let row = Provider::clone(&config.provider);
    let (sse_request, at_rest) = (SseRequest::Default, AtRest::Always);
    config.provider = Arc::new(Provider { sse_request, at_rest, ..row });
    let options = CreateOptions { sse: None, block_bytes: 4 << 20 };
    create::create(&config, options, &Ambient::system()).await.unwrap();
    config
}

async fn open(config: &VolumeConfig, options: OpenOptions) -> Result<Prepared> {
    prepare(config, &options, &Ambient::system(), &testing::this()).await
}

/// Ends a session as an unmount does.
async fn end(prepared: Prepared) {
    prepared.engine.close(DEADLINE).await.unwrap();
    let claim = prepared.claim.unwrap();
    session::close(&prepared.bucket, &claim, &Ambient::system()).await.unwrap();
}

#[tokio::test]
async fn a_volume_is_created_mounted_and_deleted() {
    let config = volume("life").await;
    let before = inspect(&config).await.unwrap();
    assert_eq!((before.held, before.holder, before.sse), (false, None, SseMode::None));

    let mounted = open(&config, options()).await.unwrap();
    assert_eq!(mounted.claim.unwrap().session, SessionId(1));
    assert!(mounted.previous_was_clean && mounted.notices.is_empty());
    let during = inspect(&config).await.unwrap();
    assert!(during.held && during.holder.unwrap().contains("/mnt"));
    let busy =
        [open(&config, options()).await.err().unwrap(), delete::delete(&config).await.unwrap_err()];
    assert!(busy.iter().all(|error| error.kind() == Kind::Busy), "{busy:?}");

    end(mounted).await;
    let after = inspect(&config).await.unwrap();
    assert!(!after.held && after.holder.is_some());
    assert!(delete::delete(&config).await.unwrap().objects > 4);
    let gone = inspect(&config).await.unwrap_err();
    assert_eq!(gone.kind(), Kind::NotFound);
    assert_eq!(gone.hint_text(), Some("create it: `cairnfs volume create life`"));
    let bucket = Bucket::open(&config, None).unwrap();
    assert_eq!(futures::StreamExt::count(bucket.list("")).await, 0);
}

#[tokio::test]
async fn encryption_that_was_asked_for_once_is_remembered() {
    let config = volume("sticky").await;
    let first = open(&config, asking(SseMode::Aes256)).await.unwrap();
    let state = read_identity(&config).await.unwrap().1;
    assert_eq!((state.number, state.sse), (2, SseMode::Aes256));
    assert!(first.notices[0].contains("encrypts every object anyway"));
    end(first).await;

    let second = open(&config, options()).await.unwrap();
    assert_eq!(second.bucket.policy().unwrap().mode, SseMode::Aes256);
    assert_eq!(read_identity(&config).await.unwrap().1.number, 2);
    end(second).await;

    let weaker = open(&config, asking(SseMode::None)).await.err().unwrap();
    assert_eq!(weaker.kind(), Kind::Policy);
    assert!(weaker.hint_text().unwrap().contains("cairnfs volume set sticky --sse none"));

    set_sse(&config, SseMode::None).await.unwrap();
    set_sse(&config, SseMode::None).await.unwrap();
    let third = open(&config, options()).await.unwrap();
    let state = read_identity(&config).await.unwrap().1;
    assert_eq!((state.number, state.sse), (3, SseMode::None));
    let (session, clean) = (third.claim.unwrap().session, third.previous_was_clean);
    assert_eq!((session, clean), (SessionId(3), true));
}

#[tokio::test]
async fn a_refused_mount_changes_nothing() {
    let config = volume("refused").await;
    let mounted = open(&config, options()).await.unwrap();
    let refused = open(&config, asking(SseMode::Aes256)).await.err().unwrap();
    assert_eq!(refused.kind(), Kind::Busy);
    assert_eq!(inspect(&config).await.unwrap().sse, SseMode::None);
    mounted.engine.health().unwrap();
}

#[tokio::test]
async fn a_takeover_fences_the_holder() {
    let config = volume("takeover").await;
    let first = open(&config, options()).await.unwrap();
    let takeover = OpenOptions { takeover: true, ..options() };
    let second = open(&config, takeover).await.unwrap();
    assert!(!second.previous_was_clean);
    let late = first.engine.commit(vec![("x".into(), Some("1".into()))]).await;
    assert_eq!(late.unwrap_err().kind(), Kind::Fenced);
    second.engine.commit(vec![("x".into(), Some("2".into()))]).await.unwrap();
}

#[tokio::test]
async fn a_read_only_mount_writes_nothing_and_waits_for_nobody() {
    let config = volume("reading").await;
    let writer = open(&config, options()).await.unwrap();
    let read_only = OpenOptions { read_only: true, ..asking(SseMode::Aes256) };
    let reader = open(&config, read_only).await.unwrap();
    assert!(reader.claim.is_none() && reader.bucket.policy().is_none());
    assert_eq!(reader.bucket.counts().put, 0);
    assert_eq!(reader.notices.len(), 2);
    writer.engine.health().unwrap();
}

#[tokio::test]
async fn a_half_deleted_volume_is_deleted_and_nothing_else() {
    let config = volume("half").await;
    let (header, state) = read_identity(&config).await.unwrap();
    let bucket = Bucket::open(&config, Some(testing::policy())).unwrap();
    let mut deleting = state.next(&Ambient::system());
    deleting.features.incompat.insert(state::DELETING.to_owned());
    state::create(&bucket, None, &deleting).await.unwrap();
    let refused = [
        open(&config, options()).await.err().unwrap(),
        set_sse(&config, SseMode::Aes256).await.err().unwrap(),
    ];
    for error in refused {
        assert_eq!(error.hint_text(), Some("run `cairnfs volume delete half` again"));
    }
    let states = state::numbers(&bucket).await.unwrap().into_iter();
    let states: Vec<_> = states.map(crate::object::name::state).collect();
    bucket.delete(&states).await.unwrap();
    assert_eq!(inspect(&config).await.unwrap_err().kind(), Kind::Corrupt);
    bucket.put("blocks/notes.txt", "mine".into()).await.unwrap();
    delete::delete(&config).await.unwrap();
    assert!(bucket.head("blocks/notes.txt").await.is_ok());
    assert!(header::read(&bucket).await.unwrap().is_none());
    assert_eq!(header.format, 1);
}

#[tokio::test]
async fn a_volume_of_another_kind_is_refused_before_anything_is_written() {
    let config = volume("other").await;
    let fencing = VolumeConfig { fencing: Fencing::ReadBack, ..config.clone() };
    assert_eq!(open(&fencing, options()).await.err().unwrap().kind(), Kind::Config);
    let bucket = Bucket::open(&config, Some(testing::policy())).unwrap();
    bucket.put(crate::object::name::HEADER, "something".into()).await.unwrap();
    let foreign = open(&config, options()).await.err().unwrap();
    assert!(foreign.to_string().contains("not a CairnFS volume"), "{foreign}");
    assert!(term::list(&bucket).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_state_of_another_volume_is_refused() {
    let config = volume("foreign state").await;
    let (header, _) = read_identity(&config).await.unwrap();
    let bucket = testing::bucket(&MemoryStore::default());
    let volume = crate::types::VolumeId([1; 16]);
    let foreign = State::first(volume, SseMode::None, &Ambient::seeded(1));
    state::create(&bucket, None, &foreign).await.unwrap();
    let error = state::latest(&bucket, &header).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    let other = State { sse: SseMode::Aes256, ..foreign.clone() };
    assert_eq!(state::create(&bucket, None, &other).await.unwrap_err().kind(), Kind::Conflict);
    state::create(&bucket, None, &foreign).await.unwrap();
}
