//! The bytes of files, as the file system uses them: what of an open volume `vfs` may touch.

use std::sync::Arc;

use bytes::Bytes;

use super::content::Pattern;
use super::core::Core;
use super::posture::FilePosture;
use crate::error::Result;
use crate::meta::key;
use crate::meta::key::CHUNK_BYTES;
use crate::meta::kv::View;
use crate::meta::value::Cut;
use crate::types::ContentId;
use crate::types::FileRange;
use crate::types::Ino;
use crate::types::WriteSeq;

/// More cuts than this are not kept on an inode: the next one waits until extents show them.
pub const CUTS_MAX: usize = 32;

/// An epoch closes at this many pieces of dirty bytes: each becomes an extent.
const SEGMENTS_MAX: usize = 32_768;

/// Access to the bytes of files. Cheap to clone.
#[derive(Clone)]
pub struct Contents(Arc<Core>);

/// Bytes that were written, on their way into a transaction's hook.
#[derive(Debug, Clone)]
pub struct Written {
    /// The inode.
    pub ino: Ino,
    /// Its content.
    pub content: ContentId,
    /// Where the bytes begin in the file.
    pub offset: u64,
    /// The bytes.
    pub data: Bytes,
    /// Their place in the order of writes.
    pub seq: WriteSeq,
}

impl Contents {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self(core)
    }

    /// Waits until `bytes` more may be dirty, and takes them. Each byte is given back when
    /// it is stored or replaced and no upload holds it, or by [`Self::give_back`] when nothing was
    /// put.
    pub async fn reserve(&self, bytes: u64) {
        self.0.budget.reserve(bytes).await;
    }

    /// Gives reserved bytes back that were not put.
    pub fn give_back(&self, bytes: u64) {
        self.0.budget.release(bytes);
    }

    /// Makes bytes part of the present. Call it under the gate, in the hook of the transaction
    /// that sets the inode's size.
    pub fn put(&self, written: Written) {
        let Written { ino, content, offset, data, seq } = written;
        let freed = self.0.dirty.lock().write(ino, content, offset, data, seq);
        self.0.budget.release(freed);
    }

    /// Sends what became large enough by a write that ended at `end`.
    pub fn sent(&self, content: ContentId, range: &FileRange) {
        let block = u64::from(self.0.block_bytes);
        for window in range.start / block..range.end / block {
            let full =
                self.0.dirty.lock().claim_full(content, window * block..(window + 1) * block);
            if let Some((claim, run)) = full {
                self.0.send_full(claim, run);
            }
        }
        let (unclaimed, segments) = {
            let dirty = self.0.dirty.lock();
            (dirty.unclaimed_bytes(), dirty.live_segments())
        };
        if unclaimed >= self.0.budget.limit() / 2 {
            self.0.send_small();
        }
        if segments >= SEGMENTS_MAX {
            self.0.kick.notify_one();
        }
    }

    /// Forgets dirty bytes of a range that a cut or an overwrite hides. Call it under the gate.
    pub fn cut(&self, ino: Ino, content: ContentId, range: FileRange) {
        let freed = self.0.dirty.lock().remove(content, range);
        self.0.budget.release(freed);
        self.0.cut_inodes.lock().insert(ino);
    }

    /// Forgets a content that no inode has any more. Call it under the gate.
    pub fn forget(&self, content: ContentId) {
        let garbage = self.may_have_extents(content);
        let freed = self.0.dirty.lock().remove(content, 0..u64::MAX);
        self.0.budget.release(freed);
        if garbage {
            self.0.garbage.lock().insert(content);
        }
    }

    /// Whether an extent of the content may be stored, or on its way.
    pub fn may_have_extents(&self, content: ContentId) -> bool {
        !self.0.dirty.lock().is_untouched(content)
    }

    /// Waits until extents show the cuts of an inode, which may be an earlier session's.
    pub async fn settle_cuts(&self, ino: Ino) -> Result<()> {
        self.0.cut_inodes.lock().insert(ino);
        self.0.apply_cuts().await
    }

    /// The bytes that a file has in `wanted`, holes as zeros; fewer where the file ends in it.
    pub async fn read(&self, ino: Ino, wanted: FileRange, pattern: Pattern) -> Result<Bytes> {
        self.0.read(ino, wanted, pattern).await
    }

    /// Asks for a range without waiting for it.
    pub fn prefetch(&self, content: ContentId, cuts: Vec<Cut>, range: FileRange) {
        let core = self.0.clone();
        self.0.runtime.spawn(async move {
            if let Err(error) = core.prefetch(content, &cuts, range).await {
                tracing::debug!(%error, "read-ahead failed; the read itself will tell");
            }
        });
    }

    /// Bytes that are allocated, about, while the content changes.
    pub async fn allocated(&self, content: ContentId, cuts: &[Cut]) -> Result<u64> {
        self.0.allocated(content, cuts).await
    }

    /// What the store says of the encryption of a content's blocks.
    pub async fn posture(&self, content: ContentId, cuts: &[Cut]) -> Result<FilePosture> {
        self.0.posture(content, cuts).await
    }

    /// The first data at or after `from`, as a range inside its chunk; `None` if there is none
    /// before `size`.
    pub async fn next_data(
        &self,
        content: ContentId,
        cuts: &[Cut],
        from: u64,
        size: u64,
    ) -> Result<Option<FileRange>> {
        let mut from = from;
        while from < size {
            let dirty = self.0.dirty.lock().next_offset(content, from);
            let range = key::chunks_from(content, from / CHUNK_BYTES);
            let stored = self.0.meta.store().scan(View::Live, range, 1).await?;
            let stored = stored.first().and_then(|(key, _)| key::chunk_of(key));
            let stored = stored.map(|(_, index)| index * CHUNK_BYTES);
            let Some(next) = [dirty, stored].into_iter().flatten().min() else { return Ok(None) };
            from = from.max(next);
            let end = ((from / CHUNK_BYTES + 1) * CHUNK_BYTES).min(size);
            let ranges = self.0.data_ranges(content, cuts, from.min(end)..end).await?;
            if let Some(first) = ranges.into_iter().next() {
                return Ok(Some(first));
            }
            from = end;
        }
        Ok(None)
    }

    /// Makes everything durable that was done before the call.
    pub async fn sync(&self) -> Result<()> {
        self.0.sync().await
    }
}
