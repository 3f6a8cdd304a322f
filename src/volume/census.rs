//! What the metadata of an open volume names and the bucket lacks: blocks, and the objects that
//! the metadata itself is read from. Whoever does not write the volume knows of it with some delay,
//! so nothing is called missing before it was looked for twice. Knows no report.

use std::collections::BTreeSet;
use std::ops::Range;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;

use super::Volume;
use super::core::Core;
use super::pace::Pace;
use crate::error::Kind;
use crate::error::Result;
use crate::meta::key;
use crate::meta::kv::View;
use crate::object::name;
use crate::object::name::Sequence;
use crate::types::BlockId;

/// Keys looked at in one step.
const STEP_KEYS: usize = 1_000;

/// How old the view of a volume that somebody else writes may be.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(11);

/// Blocks by metadata and by bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    /// Blocks that metadata names.
    pub named: u64,
    /// Blocks in the bucket that it does not: under way, or waiting to be deleted.
    pub unnamed: u64,
}

/// Objects that the metadata is read from and that the bucket lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LostMetadata {
    /// How many.
    pub objects: u64,
    /// Their names; those of a hole in the log as the first and the last one.
    pub names: Vec<String>,
}

impl Volume {
    /// Compares the blocks that metadata names with those in the bucket, and tells `missing` the
    /// name of each that is not there. Keeps no more than a 256th of the names in memory.
    pub async fn census(&self, pace: &Pace, mut missing: impl FnMut(String)) -> Result<Census> {
        let mut census = Census::default();
        for part in self.core.parts().await? {
            let named = self.core.named_blocks(part.keys).await?;
            let mut lacking = named.clone();
            let mut objects = self.core.bucket.list(&part.prefix);
            while let Some(object) = objects.try_next().await? {
                let Ok(id) = name::parse_block(&object.name) else { continue };
                lacking.remove(&id);
                census.unnamed += u64::from(!named.contains(&id));
            }
            census.named += named.len() as u64;
            // A session may have begun since anybody looked who holds the volume.
            if !lacking.is_empty() && self.is_read_only() {
                tokio::time::sleep(FOLLOWS_WITHIN).await;
            }
            for id in lacking {
                if self.core.is_lost(id, pace).await? {
                    missing(name::block(id));
                }
            }
        }
        Ok(census)
    }

    /// The objects that the metadata is read from and that the bucket lacks: tables, the newest
    /// manifest that is known, and the log from what the tables hold to the last known number.
    pub async fn lost_metadata(&self, pace: &Pace) -> Result<LostMetadata> {
        self.core.lost_metadata(pace, FOLLOWS_WITHIN).await
    }
}

/// A part of all blocks that fits memory.
struct Part {
    prefix: String,
    keys: Range<Bytes>,
}

impl Core {
    /// All blocks at once, or, where they are many, by the first byte of their names.
    async fn parts(&self) -> Result<Vec<Part>> {
        let first = self.meta.store().scan(View::Live, key::blocks(), STEP_KEYS).await?;
        if first.len() < STEP_KEYS {
            return Ok(vec![Part { prefix: name::BLOCKS_PREFIX.into(), keys: key::blocks() }]);
        }
        let start = |first: u8| {
            let mut id = [0; 16];
            id[0] = first;
            key::block(BlockId(id))
        };
        let part = |first: u8| Part {
            prefix: format!("{}{first:02x}/", name::BLOCKS_PREFIX),
            keys: start(first)..first.checked_add(1).map_or(key::blocks().end, start),
        };
        Ok((0..=u8::MAX).map(part).collect())
    }

    async fn named_blocks(&self, mut keys: Range<Bytes>) -> Result<BTreeSet<BlockId>> {
        let mut named = BTreeSet::new();
        loop {
            let page = self.meta.store().scan(View::Live, keys.clone(), STEP_KEYS).await?;
            let Some((last, _)) = page.last() else { return Ok(named) };
            named.extend(page.iter().filter_map(|(key, _)| key::block_of(key)));
            keys.start = [last.as_ref(), &[0]].concat().into();
        }
    }

    pub(super) async fn names(&self, id: BlockId) -> Result<bool> {
        Ok(self.meta.store().get(&key::block(id)).await?.is_some())
    }

    /// Whether a block is named and not there, at an instant when nothing is deleted.
    async fn is_lost(&self, id: BlockId, pace: &Pace) -> Result<bool> {
        let _kept = self.deletions.read().await;
        Ok(self.names(id).await? && self.is_absent(&name::block(id), pace).await?)
    }

    async fn is_absent(&self, name: &str, pace: &Pace) -> Result<bool> {
        match pace.patiently(|| self.bucket.head(name)).await {
            Err(error) if error.kind() == Kind::NotFound => Ok(true),
            other => other.map(|_| false),
        }
    }

    /// What is missing now and is so still when whoever reads the volume has followed its writer:
    /// what was merged into other objects meanwhile may be gone.
    async fn lost_metadata(&self, pace: &Pace, follows_within: Duration) -> Result<LostMetadata> {
        let engine = self.meta.store().engine();
        let objects = engine.objects();
        let (holes, absent) = (engine.holes().await?, self.absent(&objects, pace).await?);
        if holes.is_empty() && absent.is_empty() {
            return Ok(LostMetadata::default());
        }
        tokio::time::sleep(follows_within).await;
        let needed = engine.objects();
        let needed: Vec<_> = absent.into_iter().filter(|name| needed.contains(name)).collect();
        let mut names = self.absent(&needed, pace).await?;
        let mut count = names.len() as u64;
        for hole in in_both(&holes, &engine.holes().await?) {
            let (first, last) = (*hole.start(), *hole.end());
            count = count.saturating_add(last - first).saturating_add(1);
            let named = |number| name::numbered(Sequence::Wal, number);
            names.push(match first == last {
                true => named(first),
                false => format!("{} to {}", named(first), named(last)),
            });
        }
        Ok(LostMetadata { objects: count, names })
    }

    async fn absent(&self, objects: &[String], pace: &Pace) -> Result<Vec<String>> {
        let mut absent = Vec::new();
        for object in objects {
            if self.is_absent(object, pace).await? {
                absent.push(object.clone());
            }
        }
        Ok(absent)
    }
}

/// What two lists of holes have in common. Each rises and does not overlap itself.
fn in_both(one: &[RangeInclusive<u64>], other: &[RangeInclusive<u64>]) -> Vec<RangeInclusive<u64>> {
    let (mut both, mut others) = (Vec::new(), other);
    for hole in one {
        while others.first().is_some_and(|other| other.end() < hole.start()) {
            others = &others[1..];
        }
        let overlapping = others.iter().take_while(|other| other.start() <= hole.end());
        both.extend(
            overlapping
                .map(|other| *hole.start().max(other.start())..=*hole.end().min(other.end())),
        );
    }
    both
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ambient::Ambient;
    use crate::config::Fencing;
    use crate::meta::kv::Engine;
    use crate::meta::kv::SlateEngine;
    use crate::meta::kv::SlateOptions;
    use crate::meta::kv::SlateReader;
    use crate::meta::root_batch;
    use crate::object::Bucket;
    use crate::object::MemoryStore;
    use crate::volume::CreateOptions;
    use crate::volume::OpenOptions;
    use crate::volume::testing;

    const DEADLINE: Duration = Duration::from_secs(60);
    const AT_ONCE: Duration = Duration::ZERO;

    #[test]
    fn holes_are_told_that_both_looks_saw() {
        assert_eq!(in_both(&[1..=5, 8..=8], &[1..=5, 8..=8]), [1..=5, 8..=8]);
        assert_eq!(in_both(&[1..=9], &[2..=3, 7..=12]), [2..=3, 7..=9]);
        assert_eq!(in_both(&[2..=3, 7..=12], &[1..=9]), [2..=3, 7..=9]);
        assert_eq!(in_both(&[1..=3, 5..=6], &[4..=4, 6..=6]), [6..=6]);
        assert_eq!(in_both(&[1..=3], &[]), []);
    }

    async fn writer(bucket: &Bucket) -> SlateEngine {
        SlateEngine::open(bucket.clone(), SlateOptions::default(), DEADLINE).await.unwrap()
    }

    async fn listed(bucket: &Bucket, prefix: &str) -> Vec<String> {
        let objects: Vec<_> = bucket.list(prefix).try_collect().await.unwrap();
        let mut names: Vec<_> = objects.into_iter().map(|object| object.name).collect();
        names.sort();
        names
    }

    /// A volume whose log holds some commits, and the names of its log.
    async fn with_a_log(bucket: &Bucket) -> (SlateEngine, Vec<String>) {
        let engine = writer(bucket).await;
        engine.commit(root_batch(&Ambient::seeded(1), 0, 0)).await.unwrap();
        for number in 0..4u8 {
            engine.commit(vec![(vec![b'z', number].into(), Some("x".into()))]).await.unwrap();
        }
        let log = listed(bucket, Sequence::Wal.prefix()).await;
        (engine, log)
    }

    async fn lost(volume: &Volume) -> LostMetadata {
        volume.core.lost_metadata(&Pace::new(None), AT_ONCE).await.unwrap()
    }

    #[tokio::test]
    async fn a_log_object_and_the_newest_manifest_are_missed_by_the_writer() {
        let bucket = testing::bucket(&MemoryStore::default());
        let (engine, log) = with_a_log(&bucket).await;
        let volume = testing::volume(bucket.clone(), Arc::new(engine)).await;
        assert_eq!(lost(&volume).await, LostMetadata::default());
        // The volume has written its own first batch meanwhile.
        let log = [log, listed(&bucket, Sequence::Wal.prefix()).await].concat();
        let last = log.last().unwrap().clone();
        bucket.delete(std::slice::from_ref(&last)).await.unwrap();
        assert_eq!(lost(&volume).await, LostMetadata { objects: 1, names: vec![last] });
        let manifest = listed(&bucket, Sequence::Manifest.prefix()).await.pop().unwrap();
        bucket.delete(std::slice::from_ref(&manifest)).await.unwrap();
        let lost = lost(&volume).await;
        assert!(lost.objects == 2 && lost.names.contains(&manifest), "{lost:?}");
    }

    #[tokio::test]
    async fn a_hole_in_the_log_is_missed_by_who_only_reads() {
        let bucket = testing::bucket(&MemoryStore::default());
        let (engine, log) = with_a_log(&bucket).await;
        // Like a crash: what was not written out stays in the log.
        drop(engine);
        bucket.delete(&log[log.len() - 3..log.len() - 1]).await.unwrap();
        let reader = SlateReader::open(bucket.clone()).await.unwrap();
        let volume = testing::volume_to_read(bucket, Arc::new(reader)).await;
        let LostMetadata { objects, names } = lost(&volume).await;
        let hole = format!("{} to {}", log[log.len() - 3], log[log.len() - 2]);
        assert_eq!((objects, names), (2, vec![hole]));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn where_each_create_is_read_back_the_log_is_compared_as_its_owners_name_it() {
        let mut config = testing::config_of("memory", "census-read-back");
        config.fencing = Fencing::ReadBack;
        let options = CreateOptions { sse: None, block_bytes: 1 << 18 };
        Volume::create(&config, options, &Ambient::system()).await.unwrap();
        let open = async |read_only| {
            let options = OpenOptions {
                sse: None,
                any_sse: false,
                takeover: false,
                read_only,
                memory_bytes: 128 << 20,
                commit_interval: DEADLINE,
                readahead_bytes: 0,
                mountpoint: "/mnt".into(),
            };
            Volume::open(&config, options, Ambient::system()).await.unwrap()
        };
        let (writer, reader) = (open(false).await, open(true).await);
        for volume in [&writer, &reader] {
            assert_eq!(lost(volume).await, LostMetadata::default());
        }
        let bucket = &writer.core.bucket;
        let object = listed(bucket, Sequence::Wal.prefix()).await.pop().unwrap();
        let (_, number, _) = name::parse_claimed(&object).unwrap();
        bucket.delete(&[object]).await.unwrap();
        let names = vec![name::numbered(Sequence::Wal, number)];
        assert_eq!(lost(&writer).await, LostMetadata { objects: 1, names });
    }
}
