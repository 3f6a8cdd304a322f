//! The sweep: deletes blocks that no epoch committed, left by sessions that crashed, and knows
//! them by the session in their ids; no clock is consulted.

use futures::TryStreamExt;
use futures::future::BoxFuture;

#[cfg(feature = "testing")]
use super::sabotage;
use crate::error::Result;
use crate::object::Bucket;
use crate::object::name;
use crate::types::BlockId;
use crate::types::SessionId;

/// Blocks that are deleted together.
const BLOCKS_AT_ONCE: usize = 1_000;

/// Foreign objects that are named in the report; more are only logged.
const FOREIGN_MAX: usize = 100;

/// What a sweep did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Swept {
    /// Blocks deleted.
    pub(super) blocks: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// The names of objects among the blocks that are none, a hundred at most; they stay.
    pub(super) foreign: Vec<String>,
}

/// Deletes the blocks of sessions up to `own` that `issued` and `keep` do not know.
///
/// `issued` says whether the live session made the id and does not yet know its fate: until the
/// epoch that names it is durable, or the id is given up. `keep` says whether *durable* metadata
/// names the block. They are asked in this order: a block that leaves `issued` is in `keep` by
/// then. Blocks of later sessions belong to whoever took the volume over, and stay.
pub(super) async fn sweep<'a>(
    bucket: &Bucket,
    own: SessionId,
    issued: impl Fn(BlockId) -> bool + Sync,
    keep: impl Fn(BlockId) -> BoxFuture<'a, Result<bool>> + Sync,
) -> Result<Swept> {
    let mut swept = Swept::default();
    let mut doomed = Vec::new();
    let mut objects = bucket.list(name::BLOCKS_PREFIX);
    while let Some(object) = objects.try_next().await? {
        let Ok(id) = name::parse_block(&object.name) else {
            tracing::warn!(object = object.name, "a foreign object among the blocks");
            if swept.foreign.len() < FOREIGN_MAX {
                swept.foreign.push(object.name);
            }
            continue;
        };
        if is_later(id.session(), own) || issued(id) || keep(id).await? {
            continue;
        }
        swept.blocks += 1;
        swept.bytes += object.size;
        doomed.push(object.name);
        if doomed.len() == BLOCKS_AT_ONCE {
            bucket.delete(&std::mem::take(&mut doomed)).await?;
        }
    }
    bucket.delete(&doomed).await?;
    Ok(swept)
}

fn is_later(session: SessionId, own: SessionId) -> bool {
    #[cfg(feature = "testing")]
    if sabotage::on(&sabotage::SWEEP_IGNORES_SESSIONS) {
        return false;
    }
    session > own
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::object::MemoryStore;
    use crate::volume::testing;

    fn id(session: u64, random: u8) -> BlockId {
        BlockId::new(SessionId(session), [random; 11])
    }

    async fn names(bucket: &Bucket) -> Vec<String> {
        let objects: Vec<_> = bucket.list("").try_collect().await.unwrap();
        objects.into_iter().map(|object| object.name).collect()
    }

    #[tokio::test]
    async fn only_blocks_of_past_sessions_that_nobody_knows_are_swept() {
        let bucket = testing::bucket(&MemoryStore::default());
        let (dead, kept) = (id(1, 1), id(1, 2));
        let (given_up, issued) = (id(5, 3), id(5, 4));
        let later = id(6, 5);
        for block in [dead, kept, given_up, issued, later] {
            bucket.put(&name::block(block), "12345".into()).await.unwrap();
        }
        for foreign in ["blocks/readme", "blocks/01/02", "other"] {
            bucket.put(foreign, "x".into()).await.unwrap();
        }
        let is_issued = |block| block == issued;
        let keep = |block| async move { Ok(block == kept) }.boxed();
        let swept = sweep(&bucket, SessionId(5), is_issued, keep).await.unwrap();
        assert_eq!((swept.blocks, swept.bytes), (2, 10));
        assert_eq!(swept.foreign, ["blocks/01/02", "blocks/readme"]);
        let left = names(&bucket).await;
        for block in [kept, issued, later] {
            assert!(left.contains(&name::block(block)), "{block}");
        }
        assert_eq!(left.len(), 6);
    }

    #[tokio::test]
    async fn a_sweep_that_cannot_ask_the_metadata_deletes_nothing_more() {
        let bucket = testing::bucket(&MemoryStore::default());
        bucket.put(&name::block(id(1, 1)), "1".into()).await.unwrap();
        let broken = || crate::error::Error::new(crate::error::Kind::Unavailable, "away");
        let keep = |_| async { Err(broken()) }.boxed();
        assert!(sweep(&bucket, SessionId(5), |_| false, keep).await.is_err());
        assert_eq!(names(&bucket).await.len(), 1);
    }
}
