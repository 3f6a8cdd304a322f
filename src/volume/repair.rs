//! What an audit needs of an open volume: which blocks its metadata names and the bucket lacks,
//! and objects written again under the policy, beside everything else that goes on. Knows no
//! report.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;

use super::Volume;
use super::core::Core;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::meta::key;
use crate::meta::kv::View;
use crate::object::Bucket;
use crate::object::Posture;
use crate::object::name;
use crate::provider::SseMode;
use crate::types::BlockId;

/// Keys looked at in one step.
const STEP_KEYS: usize = 1_000;

/// How old the view of a volume that somebody else writes may be.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(11);

/// What became of an object that was to be written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rewrite {
    /// It is stored under the policy, with the same bytes; so many.
    Done {
        /// Its length.
        bytes: u64,
    },
    /// It is gone, or another one by now: its writer's, who asked for encryption.
    Changed,
}

/// Whose metadata an open volume shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// This process's own: always the present.
    Us,
    /// Nobody writes.
    Nobody,
    /// Another process's, followed with some delay.
    Another,
}

/// Blocks by metadata and by bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    /// Blocks that metadata names.
    pub named: u64,
    /// Blocks in the bucket that it does not: under way, or waiting to be deleted.
    pub unnamed: u64,
}

impl Volume {
    /// Compares the blocks that metadata names with those in the bucket, and tells `missing` the
    /// name of each that is not there. Keeps no more than a 256th of the names in memory.
    pub async fn census(&self, writer: Writer, mut missing: impl FnMut(String)) -> Result<Census> {
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
            if !lacking.is_empty() && writer == Writer::Another {
                tokio::time::sleep(FOLLOWS_WITHIN).await;
            }
            for id in lacking {
                if self.core.is_lost(id).await? {
                    missing(name::block(id));
                }
            }
        }
        Ok(census)
    }

    /// The names of objects that the metadata is read from and that the bucket lacks.
    pub async fn lost_metadata(&self) -> Result<Vec<String>> {
        let engine = self.core.meta.store().engine();
        let mut lost = Vec::new();
        for object in engine.objects() {
            match self.core.bucket.head(&object).await {
                Err(error) if error.kind() == Kind::NotFound => lost.push(object),
                other => drop(other?),
            }
        }
        if !lost.is_empty() {
            // What was merged into other objects meanwhile may be gone.
            let present = engine.objects();
            lost.retain(|object| present.contains(object));
        }
        Ok(lost)
    }

    /// Writes an object of the volume again, byte by byte the same, under the volume's policy, and
    /// reads it back. Nothing is deleted here meanwhile, so nothing that was deleted comes back.
    /// [`Kind::Policy`]: the store does not confirm it; [`Kind::Corrupt`]: other bytes came back.
    pub async fn rewrite(&self, name: &str) -> Result<Rewrite> {
        self.core.rewrite(name).await
    }

    /// Removes a version of an object that is not what the object is now.
    pub async fn remove_superseded(&self, name: &str, version: &str) -> Result<Rewrite> {
        let bucket = &self.core.bucket;
        let current = match bucket.examine(name, None).await {
            Ok(current) => current.version.unwrap_or_else(|| crate::object::UNVERSIONED.into()),
            Err(error) if error.kind() == Kind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        if current == version {
            return Ok(Rewrite::Changed);
        }
        bucket.delete_version(name, version).await?;
        Ok(Rewrite::Done { bytes: 0 })
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

    async fn names(&self, id: BlockId) -> Result<bool> {
        Ok(self.meta.store().get(&key::block(id)).await?.is_some())
    }

    /// Whether a block is named and not there, at an instant when nothing is deleted.
    async fn is_lost(&self, id: BlockId) -> Result<bool> {
        let _kept = self.deletions.read().await;
        if !self.names(id).await? {
            return Ok(false);
        }
        match self.bucket.head(&name::block(id)).await {
            Err(error) if error.kind() == Kind::NotFound => Ok(true),
            other => other.map(|_| false),
        }
    }

    async fn rewrite(&self, name: &str) -> Result<Rewrite> {
        if let Some(error) = self.failure() {
            return Err(error);
        }
        let _kept = self.deletions.read().await;
        if let Ok(id) = name::parse_block(name)
            && !self.names(id).await?
        {
            return Ok(Rewrite::Changed);
        }
        rewrite(&self.bucket, name).await
    }
}

async fn rewrite(bucket: &Bucket, name: &str) -> Result<Rewrite> {
    let before = match bucket.get(name, None, None).await {
        Ok(Some(got)) => got,
        Ok(None) => return Ok(Rewrite::Changed),
        Err(error) if error.kind() == Kind::NotFound => return Ok(Rewrite::Changed),
        Err(error) => return Err(error),
    };
    let put = match bucket.rewrite(&before).await {
        Err(error) if matches!(error.kind(), Kind::Conflict | Kind::NotFound) => {
            return Ok(Rewrite::Changed);
        }
        put => put?,
    };
    let asks = bucket.policy().is_some_and(|policy| policy.mode != SseMode::None);
    if asks && !matches!(put.posture, Posture::Confirmed { .. } | Posture::ProviderDefault) {
        let message = "the store does not confirm that the object is encrypted";
        return Err(Error::new(Kind::Policy, message).with("object", name));
    }
    let after = bucket.get(name, None, None).await?.map(|got| got.body);
    if after.as_ref() != Some(&before.body) {
        let message = "the store returns other bytes than were written";
        return Err(Error::new(Kind::Corrupt, message).with("object", name));
    }
    Ok(Rewrite::Done { bytes: before.body.len() as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::MemoryStore;
    use crate::volume::testing;

    #[tokio::test]
    async fn an_object_is_written_again_byte_by_byte_and_only_if_it_is_there() {
        let store = MemoryStore::default();
        let bucket = testing::bucket(&store);
        bucket.put("a", Bytes::from_static(b"bytes")).await.unwrap();
        assert_eq!(rewrite(&bucket, "a").await.unwrap(), Rewrite::Done { bytes: 5 });
        let got = bucket.get("a", None, None).await.unwrap().unwrap();
        assert_eq!(got.body, "bytes");
        assert_eq!(rewrite(&bucket, "b").await.unwrap(), Rewrite::Changed);
        assert!(bucket.head("b").await.is_err(), "nothing comes into being");
    }
}
