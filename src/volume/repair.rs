//! What a repair needs of an open volume: objects written again under the policy, superseded
//! versions removed, beside everything else that goes on. Nothing is written again that does not
//! verify, and no last copy of what is needed is removed. Knows no report.

use super::Volume;
use super::core::Core;
use super::pace::Pace;
use crate::block::BlockReader;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::object::Bucket;
use crate::object::Got;
use crate::object::Posture;
use crate::object::UNVERSIONED;
use crate::object::name;
use crate::provider::SseMode;
use crate::types::BlockId;

/// Epochs that a volume is given to get rid of what is dead: garbage, its blocks, the reclaims,
/// and one more for what happens meanwhile.
const SETTLING_ROUNDS: usize = 4;

/// What became of an object that was to be written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rewrite {
    /// It is stored under the policy, with the same bytes; so many.
    Done {
        /// Its length.
        bytes: u64,
    },
    /// It is gone, or another one by now: its writer's, who asked for encryption. Or it is written
    /// again, and the answer was lost. Whoever looks again sees which.
    Changed,
}

/// What the bucket does with the version `null` when an object is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nulls {
    /// It keeps it: versions are kept, and each new one has an id of its own.
    Kept,
    /// It replaces it, or nobody knows: what is superseded now may be the present in an instant.
    Replaced,
}

impl Volume {
    /// Deletes what is dead at the time of the call: dropped contents, blocks without a live byte.
    pub async fn settle(&self) -> Result<()> {
        for _ in 0..SETTLING_ROUNDS {
            self.core.sync().await?;
            self.core.tidy_up().await?;
            if self.core.is_tidy() {
                break;
            }
        }
        Ok(())
    }

    /// Writes an object of the volume again, byte by byte the same, under the volume's policy, and
    /// reads it back. Nothing is deleted here meanwhile, so nothing that was deleted comes back.
    /// [`Kind::Policy`]: the store does not confirm it; [`Kind::Corrupt`]: it does not verify, and
    /// was not written, or other bytes came back.
    pub async fn rewrite(&self, name: &str, pace: &Pace) -> Result<Rewrite> {
        self.core.rewrite(name, pace).await
    }

    /// Looks that what an object is now is whole, so that older versions of it are not the last
    /// good copies. Says nothing of what is not there, or tells nothing by its bytes.
    pub async fn verify_present(&self, name: &str, pace: &Pace) -> Result<()> {
        let core = &self.core;
        let Ok(block) = name::parse_block(name) else { return Ok(()) };
        let got = match pace.patiently(|| core.bucket.get(name, None, None)).await {
            Err(error) if error.kind() == Kind::NotFound => return Ok(()),
            got => got?,
        };
        let Some(got) = got else { return Ok(()) };
        core.reader.verify(block, &got.body).map_err(|error| {
            let message = "what it is now does not verify, so an older version is not removed";
            Error::new(Kind::Corrupt, message).because(error)
        })
    }

    /// Removes a version of an object that is not what the object is now. [`Kind::Corrupt`]: the
    /// object is missing and needed, so the version may be the last copy of it.
    pub async fn remove_superseded(
        &self,
        name: &str,
        version: &str,
        nulls: Nulls,
        pace: &Pace,
    ) -> Result<Rewrite> {
        let (core, bucket) = (&self.core, &self.core.bucket);
        let _kept = core.deletions.read().await;
        let present = match pace.patiently(|| bucket.examine(name, None)).await {
            Ok(present) => Some(present.version.unwrap_or_else(|| UNVERSIONED.to_owned())),
            Err(error) if error.kind() == Kind::NotFound => None,
            Err(error) => return Err(error),
        };
        let needed = present.is_none() && self.needs(name).await?;
        match judge(present.as_deref(), version, needed, nulls) {
            Removal::Present => Ok(Rewrite::Changed),
            Removal::LastCopy => {
                let message = "it is the last copy of a missing object: restore it";
                Err(Error::new(Kind::Corrupt, message))
            }
            Removal::Uncertain => {
                let message = "the bucket may replace this version at any time, since it is not \
                               seen to keep versions: enable versioning";
                Err(Error::new(Kind::Unsupported, message))
            }
            Removal::Superseded => {
                pace.patiently(|| bucket.delete_version(name, version)).await?;
                Ok(Rewrite::Done { bytes: 0 })
            }
        }
    }

    /// Whether the volume needs an object of this name.
    async fn needs(&self, name: &str) -> Result<bool> {
        if let Ok(block) = name::parse_block(name) {
            return self.core.is_known(block).await;
        }
        let is_identity = name == name::HEADER || name::state_number(name).is_some();
        let term = name::parse_term(name).map(|(session, _)| session);
        let claim = name::parse_claim(name).map(|(claim, _)| claim.session);
        let session = term.or(claim);
        let is_our_term = session.is_some() && session == self.identity.session;
        Ok(is_identity || is_our_term || self.core.meta.store().engine().needs(name))
    }
}

/// What a version is that was listed as superseded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Removal {
    Present,
    LastCopy,
    Uncertain,
    Superseded,
}

/// Judges a version by what the object is now, and whether the volume needs the object.
fn judge(present: Option<&str>, version: &str, needed: bool, nulls: Nulls) -> Removal {
    match present {
        Some(present) if present == version => Removal::Present,
        None if needed => Removal::LastCopy,
        _ if version == UNVERSIONED && nulls == Nulls::Replaced => Removal::Uncertain,
        _ => Removal::Superseded,
    }
}

impl Core {
    fn is_tidy(&self) -> bool {
        self.garbage.lock().is_empty()
            && self.cut_inodes.lock().is_empty()
            && self.reclaims.lock().is_empty()
    }

    async fn rewrite(&self, name: &str, pace: &Pace) -> Result<Rewrite> {
        if let Some(error) = self.failure() {
            return Err(error);
        }
        let _kept = self.deletions.read().await;
        let block = name::parse_block(name).ok();
        if let Some(block) = block
            && !self.names(block).await?
        {
            return Ok(Rewrite::Changed);
        }
        Again { bucket: &self.bucket, reader: &self.reader, pace }.write(name, block).await
    }
}

/// Writes an object again.
struct Again<'a> {
    bucket: &'a Bucket,
    reader: &'a BlockReader,
    pace: &'a Pace,
}

impl Again<'_> {
    async fn write(&self, name: &str, block: Option<BlockId>) -> Result<Rewrite> {
        let Some(before) = self.read(name).await? else { return Ok(Rewrite::Changed) };
        match block {
            Some(block) => self.reader.verify(block, &before.body).map_err(unverified)?,
            None => {
                let Some(again) = self.read(name).await? else { return Ok(Rewrite::Changed) };
                if again.meta.tag != before.meta.tag {
                    return Ok(Rewrite::Changed);
                }
                if again.body != before.body {
                    let message = "two reads of it differ";
                    return Err(unverified(
                        Error::new(Kind::Corrupt, message).with("object", name),
                    ));
                }
            }
        }
        let put = match self.pace.patiently(|| self.bucket.rewrite(&before)).await {
            Err(error) if matches!(error.kind(), Kind::Conflict | Kind::NotFound) => {
                return Ok(Rewrite::Changed);
            }
            put => put?,
        };
        let asks = self.bucket.policy().is_some_and(|policy| policy.mode != SseMode::None);
        if asks && !matches!(put.posture, Posture::Confirmed { .. } | Posture::ProviderDefault) {
            let message = "the store does not confirm that the object is encrypted";
            return Err(Error::new(Kind::Policy, message).with("object", name));
        }
        let after = self.read(name).await?.map(|got| got.body);
        if after.as_ref() != Some(&before.body) {
            let message = "the store returns other bytes than were written";
            return Err(Error::new(Kind::Corrupt, message).with("object", name));
        }
        Ok(Rewrite::Done { bytes: before.body.len() as u64 })
    }

    /// The object; `None`: it is gone.
    async fn read(&self, name: &str) -> Result<Option<Got>> {
        match self.pace.patiently(|| self.bucket.get(name, None, None)).await {
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            got => got,
        }
    }
}

fn unverified(error: Error) -> Error {
    Error::new(Kind::Corrupt, "it does not verify, so it is not written again").because(error)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::ambient::Ambient;
    use crate::crypto::TagKey;
    use crate::meta::key;
    use crate::meta::kv::Engine;
    use crate::meta::kv::MemoryEngine;
    use crate::meta::root_batch;
    use crate::object::MemoryStore;
    use crate::types::SessionId;
    use crate::types::VolumeId;
    use crate::volume::testing;

    fn reader(bucket: &Bucket) -> BlockReader {
        BlockReader::new(bucket.clone(), TagKey::new(VolumeId([7; 16])))
    }

    async fn write(bucket: &Bucket, name: &str) -> Result<Rewrite> {
        let (reader, pace) = (reader(bucket), Pace::new(None));
        let block = name::parse_block(name).ok();
        Again { bucket, reader: &reader, pace: &pace }.write(name, block).await
    }

    #[tokio::test]
    async fn an_object_is_written_again_byte_by_byte_and_only_if_it_is_there() {
        let bucket = testing::bucket(&MemoryStore::default());
        bucket.put("a", Bytes::from_static(b"bytes")).await.unwrap();
        assert_eq!(write(&bucket, "a").await.unwrap(), Rewrite::Done { bytes: 5 });
        let got = bucket.get("a", None, None).await.unwrap().unwrap();
        assert_eq!(got.body, "bytes");
        assert_eq!(write(&bucket, "b").await.unwrap(), Rewrite::Changed);
        assert!(bucket.head("b").await.is_err(), "nothing comes into being");
    }

    #[tokio::test]
    async fn a_block_that_does_not_verify_is_not_written_again() {
        let bucket = testing::bucket(&MemoryStore::default());
        let name = name::block(BlockId::new(SessionId(1), [3; 11]));
        bucket.put(&name, Bytes::from_static(b"no block")).await.unwrap();
        let tag = bucket.head(&name).await.unwrap().tag;
        let error = write(&bucket, &name).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.to_string().contains("not written again"), "{error}");
        assert_eq!(bucket.head(&name).await.unwrap().tag, tag);
    }

    #[test]
    fn a_version_goes_only_if_it_is_neither_the_present_nor_the_last_copy() {
        let (kept, replaced) = (Nulls::Kept, Nulls::Replaced);
        for (present, version, needed, nulls, expected) in [
            (Some("b"), "a", true, kept, Removal::Superseded),
            (Some("a"), "a", true, kept, Removal::Present),
            (None, "a", true, kept, Removal::LastCopy),
            (None, "null", true, replaced, Removal::LastCopy),
            (None, "a", false, kept, Removal::Superseded),
            (Some("b"), "null", false, kept, Removal::Superseded),
            (Some("b"), "null", false, replaced, Removal::Uncertain),
            (None, "null", false, replaced, Removal::Uncertain),
            (Some("null"), "null", false, replaced, Removal::Present),
            (Some("null"), "a", false, replaced, Removal::Superseded),
        ] {
            let judged = judge(present, version, needed, nulls);
            assert_eq!(judged, expected, "{present:?} {version} {needed} {nulls:?}");
        }
    }

    #[tokio::test]
    async fn the_last_copy_of_what_a_volume_needs_is_known() {
        let bucket = testing::bucket(&MemoryStore::default());
        let engine = MemoryEngine::new();
        engine.commit(root_batch(&Ambient::seeded(1), 0, 0)).await.unwrap();
        let named = BlockId::new(SessionId(1), [3; 11]);
        let batch = vec![(key::block(named), Some("record".into()))];
        engine.commit(batch).await.unwrap();
        let volume = testing::volume(bucket, Arc::new(engine)).await;
        let other = BlockId::new(SessionId(1), [4; 11]);
        for (name, needed) in [
            (name::block(named), true),
            (name::block(other), false),
            (name::HEADER.to_owned(), true),
            (name::state(3), true),
            (name::term(SessionId(1)), true),
            (name::term(SessionId(2)), false),
            ("meta/probe/x".to_owned(), false),
        ] {
            assert_eq!(volume.needs(&name).await.unwrap(), needed, "{name}");
        }
    }
}
