//! What is known of the encryption of one file's blocks, asked of the store now.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;

use futures::FutureExt;
use futures::StreamExt;

use super::core::Core;
use crate::error::Kind;
use crate::error::Result;
use crate::meta::extent::Chunk;
use crate::meta::extent::Place;
use crate::meta::key;
use crate::meta::key::CHUNK_BYTES;
use crate::meta::kv::View;
use crate::meta::value::Cut;
use crate::object::Posture;
use crate::object::name;
use crate::types::BlockId;
use crate::types::ContentId;

/// Blocks of one file that are asked about: 4 GiB of it, by default.
const BLOCKS_MAX: usize = 1_024;

/// Blocks asked about at once.
const ASKED_AT_ONCE: usize = 32;

/// Keys looked at in one step.
const STEP_KEYS: usize = 1_000;

/// The encryption of a file's bytes, as counts of its blocks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilePosture {
    /// Blocks by what the store says of them.
    pub blocks: BTreeMap<String, u64>,
    /// Whether there are more blocks than were asked about.
    pub is_partial: bool,
    /// Bytes that lie in the metadata.
    pub inline_bytes: u64,
    /// Bytes that are not stored yet.
    pub unstored_bytes: u64,
}

impl fmt::Display for FilePosture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<_> = self
            .blocks
            .iter()
            .map(|(posture, count)| {
                let blocks = if *count == 1 { "block" } else { "blocks" };
                format!("{posture}: {count} {blocks}")
            })
            .collect();
        if self.is_partial {
            parts.push("more blocks that were not asked about".to_owned());
        }
        for (bytes, place) in
            [(self.inline_bytes, "in the metadata"), (self.unstored_bytes, "not stored yet")]
        {
            if bytes > 0 {
                parts.push(format!("{place}: {bytes} bytes"));
            }
        }
        match &parts[..] {
            [] => f.write_str("no stored bytes"),
            parts => f.write_str(&parts.join("; ")),
        }
    }
}

impl Core {
    /// Asks the store about each block that holds bytes of a content.
    pub(super) async fn posture(&self, content: ContentId, cuts: &[Cut]) -> Result<FilePosture> {
        let unstored_bytes = self.dirty.lock().bytes_of(content);
        let mut found = FilePosture { unstored_bytes, ..FilePosture::default() };
        let blocks = self.blocks_of(content, cuts, &mut found).await?;
        let mut answers = futures::stream::iter(blocks)
            .map(|block| async move { self.bucket.posture(&name::block(block)).await }.boxed())
            .buffer_unordered(ASKED_AT_ONCE);
        while let Some(answer) = answers.next().await {
            let posture = match answer {
                Ok(posture) => told(&posture),
                Err(error) if error.kind() == Kind::NotFound => "missing".to_owned(),
                Err(error) => return Err(error),
            };
            *found.blocks.entry(posture).or_default() += 1;
        }
        Ok(found)
    }

    async fn blocks_of(
        &self,
        content: ContentId,
        cuts: &[Cut],
        found: &mut FilePosture,
    ) -> Result<BTreeSet<BlockId>> {
        let mut blocks = BTreeSet::new();
        let mut range = key::chunks_from(content, 0);
        loop {
            let page = self.meta.store().scan(View::Live, range.clone(), STEP_KEYS).await?;
            for (key, value) in &page {
                let (_, index) = key::chunk_of(key).expect("the range holds chunk keys only");
                let mut chunk = Chunk::decode(value)?;
                chunk.apply_cuts(index * CHUNK_BYTES, cuts, &mut Vec::new());
                for extent in chunk.0 {
                    match extent.place {
                        Place::Inline(bytes) => found.inline_bytes += bytes.len() as u64,
                        Place::Stored { block, .. } => drop(blocks.insert(block)),
                    }
                }
                range.start = key::chunk(content, index + 1);
                if blocks.len() > BLOCKS_MAX {
                    found.is_partial = true;
                    blocks.pop_last();
                    return Ok(blocks);
                }
            }
            if page.is_empty() {
                return Ok(blocks);
            }
        }
    }
}

fn told(posture: &Posture) -> String {
    match posture {
        Posture::Confirmed { mode, key: Some(key) } => format!("confirmed {mode} {key}"),
        Posture::Confirmed { mode, key: None } => format!("confirmed {mode}"),
        Posture::ProviderDefault => "provider-default".to_owned(),
        Posture::Unconfirmed => "unconfirmed".to_owned(),
        Posture::Absent => "absent".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_posture_is_one_line() {
        let mut posture = FilePosture::default();
        assert_eq!(posture.to_string(), "no stored bytes");
        posture.blocks = [("absent".to_owned(), 1), ("confirmed AES256".to_owned(), 3)].into();
        posture.inline_bytes = 7;
        assert_eq!(
            posture.to_string(),
            "absent: 1 block; confirmed AES256: 3 blocks; in the metadata: 7 bytes"
        );
    }
}
