//! Erasing objects so that nothing is left of them: where the store keeps versions, each version
//! and each delete marker goes too, and a last look shows that none is there.

use futures::FutureExt;
use futures::StreamExt;
use futures::TryStreamExt;

use super::delete::Deleted;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::object::Bucket;
use crate::object::Standing;
use crate::object::Told;
use crate::object::UNVERSIONED;
use crate::object::Version;
use crate::object::name;

/// Names that are deleted together, so that a volume of any size is deleted in little memory.
const NAMES_AT_ONCE: usize = 1_000;

/// Versions that are removed at once: stores have no batches of them that all understand.
const VERSIONS_AT_ONCE: usize = 16;

/// Looks until nothing is left: objects, the delete markers of suspended versioning, proof.
const LOOKS_MAX: usize = 4;

/// Erases, and counts.
pub(super) struct Eraser<'a> {
    bucket: &'a Bucket,
    versions: Told<()>,
    pub(super) deleted: Deleted,
}

impl<'a> Eraser<'a> {
    /// An eraser of all versions, where the store tells them ([`Bucket::tells_versions`]).
    pub(super) fn new(bucket: &'a Bucket, versions: Told<()>) -> Self {
        let unproven = versions.why().map(str::to_owned);
        Self { bucket, versions, deleted: Deleted { unproven, ..Deleted::default() } }
    }

    /// Erases what `ours` picks below a prefix, until a look finds nothing of it. What has a name
    /// that no volume gives, which a request might turn into another, stays and is told.
    pub(super) async fn erase(&mut self, prefix: &str, ours: impl Fn(&str) -> bool) -> Result<()> {
        for look in 0..LOOKS_MAX {
            let mut listing = self.bucket.list_all(prefix, &self.versions);
            let (mut batch, mut found) = (Vec::new(), false);
            while let Some(version) = listing.try_next().await? {
                if !ours(&version.meta.name) {
                    tracing::debug!(object = version.meta.name, "left alone");
                    continue;
                }
                if !name::is_sound(&version.meta.name) {
                    if look == 0 {
                        self.deleted.leave(version.meta.name);
                    }
                    continue;
                }
                found = true;
                batch.push(version);
                if batch.len() == NAMES_AT_ONCE {
                    self.remove(std::mem::take(&mut batch)).await?;
                }
            }
            self.remove(batch).await?;
            if !found {
                return Ok(());
            }
        }
        Err(Error::new(Kind::Unavailable, "the store goes on listing what was deleted")
            .with("prefix", prefix)
            .hint("run the deletion again"))
    }

    async fn remove(&mut self, batch: Vec<Version>) -> Result<()> {
        let plain = |version: &Version| {
            let unversioned = version.id.as_deref().is_none_or(|id| id == UNVERSIONED);
            version.standing == Standing::Current && unversioned
        };
        for version in &batch {
            match version.standing {
                Standing::Current => self.deleted.objects += 1,
                Standing::Superseded | Standing::Marker => self.deleted.versions += 1,
            }
        }
        let (plain, kept): (Vec<_>, Vec<_>) = batch.into_iter().partition(plain);
        let names: Vec<_> = plain.into_iter().map(|version| version.meta.name).collect();
        self.bucket.delete(&names).await?;
        let bucket = self.bucket;
        futures::stream::iter(kept)
            .map(|version| remove_version(bucket, version).boxed())
            .buffer_unordered(VERSIONS_AT_ONCE)
            .try_collect()
            .await
    }
}

async fn remove_version(bucket: &Bucket, version: Version) -> Result<()> {
    let id = version.id.as_deref().unwrap_or(UNVERSIONED);
    match bucket.delete_version(&version.meta.name, id).await {
        Err(error) if error.kind() == Kind::Denied => Err(error
            .while_doing("an old version stays")
            .hint("it takes the permission s3:DeleteObjectVersion, and no Object Lock")),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::MemoryStore;
    use crate::volume::testing;

    #[tokio::test]
    async fn what_is_picked_is_erased_and_counted_and_nothing_else() {
        let store = MemoryStore::default();
        let bucket = testing::bucket(&store);
        for name in ["a/1", "a/2", "a/foreign", "b/1"] {
            bucket.put(name, "x".into()).await.unwrap();
        }
        let mut eraser = Eraser::new(&bucket, bucket.tells_versions().await.unwrap());
        eraser.erase("a/", |name| name != "a/foreign").await.unwrap();
        assert_eq!(eraser.deleted.objects, 2);
        assert!(eraser.deleted.unproven.is_some(), "memory tells no versions");
        let left: Vec<_> =
            bucket.list("").map_ok(|object| object.name).try_collect().await.unwrap();
        assert_eq!(left, ["a/foreign", "b/1"]);
    }
}
