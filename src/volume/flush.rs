//! Turning dirty bytes into blocks: runs become frames, frames fill blocks, blocks are uploaded,
//! and what survives of them is registered. Does not decide when.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::FuturesUnordered;
use futures::stream::StreamExt;

use super::budget::Shares;
use super::core::Core;
use super::core::InlineChunks;
use super::dirty::Claim;
use super::dirty::Run;
use crate::block::BlockBuilder;
use crate::block::Compression;
use crate::block::FrameRef;
use crate::error::Result;
use crate::meta::extent::Chunk;
use crate::meta::extent::EXTENTS_MAX;
use crate::meta::key;
use crate::meta::key::CHUNK_BYTES;
use crate::meta::kv::View;
use crate::meta::value::Inode;
use crate::types::ContentId;
use crate::types::FRAME_BYTES;
use crate::types::Ino;
use crate::types::Owner;
use crate::types::WriteSeq;

/// Dirty bytes of an epoch up to which they travel inside the metadata batch (DESIGN §5).
pub(super) const INLINE_BYTES_MAX: u64 = 64 * 1024;

/// Chunks with inline bytes up to which an epoch may go without packing: what one packed epoch
/// moves must fit memory, and metadata is not the place for many bytes.
pub(super) const INLINE_CHUNKS_MAX: usize = 512;

/// Where a part's bytes came from, which decides what of it may be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// Dirty bytes: what still has the claim.
    Dirty(Claim),
    /// Extents of a chunk that are moved (inline bytes, crumbled chunks): where they are still
    /// what they were when they were read. A sequence number would not tell: an upload that was
    /// slower than a newer one may put older bytes between them meanwhile.
    Moved(Arc<Chunk>),
}

/// A range inside one chunk whose bytes are consecutive frames of one block.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) ino: Ino,
    pub(super) content: ContentId,
    pub(super) offset: u64,
    pub(super) len: u32,
    pub(super) seq: WriteSeq,
    pub(super) source: Source,
    pub(super) held: Held,
}

/// Where a part's bytes are.
#[derive(Debug, Clone)]
pub(super) enum Held {
    /// In these frames of the block that was stored.
    Frames(Vec<FrameRef>),
    /// Here: they travel inside the metadata batch.
    Inline(Bytes),
}

impl Part {
    pub(super) fn end(&self) -> u64 {
        self.offset + u64::from(self.len)
    }
}

/// A block that is full, and what its frames mean.
pub(super) struct Packed {
    builder: BlockBuilder,
    pub(super) parts: Vec<Part>,
}

/// Fills blocks with runs in the order given.
pub(super) fn pack(runs: Vec<(Source, Run)>, block_bytes: u32) -> Vec<Packed> {
    let mut packed = Vec::new();
    let mut open = empty(block_bytes);
    for (source, run) in runs {
        let mut pieces = Pieces { pieces: run.pieces.clone(), at: 0, within: 0 };
        let (mut offset, end) = (run.offset, run.end());
        while offset < end {
            let frame_end = (offset / u64::from(FRAME_BYTES) + 1) * u64::from(FRAME_BYTES);
            let len = u32::try_from(frame_end.min(end) - offset).expect("a frame is small");
            if !open.builder.fits(len) {
                packed.push(std::mem::replace(&mut open, empty(block_bytes)));
            }
            let owner = Owner { ino: run.ino, content: run.content, offset, seq: run.seq };
            let frame = open.builder.push(owner, pieces.take(len as usize));
            open.add(&run, &source, offset, frame);
            offset += u64::from(len);
        }
    }
    if !open.parts.is_empty() {
        packed.push(open);
    }
    packed
}

fn empty(block_bytes: u32) -> Packed {
    Packed { builder: BlockBuilder::new(block_bytes, Compression::None), parts: Vec::new() }
}

impl Packed {
    /// Adds a frame to the last part if it continues it inside the same chunk.
    fn add(&mut self, run: &Run, source: &Source, offset: u64, frame: FrameRef) {
        if let Some(last) = self.parts.last_mut() {
            let continues = last.content == run.content
                && last.end() == offset
                && last.source == *source
                && !offset.is_multiple_of(CHUNK_BYTES);
            if let (true, Held::Frames(frames)) = (continues, &mut last.held) {
                last.len += frame.plain;
                last.seq = last.seq.max(run.seq);
                frames.push(frame);
                return;
            }
        }
        self.parts.push(Part {
            ino: run.ino,
            content: run.content,
            offset,
            len: frame.plain,
            seq: run.seq,
            source: source.clone(),
            held: Held::Frames(vec![frame]),
        });
    }
}

/// Cuts a run's pieces into frames without copying.
struct Pieces {
    pieces: Vec<Bytes>,
    at: usize,
    within: usize,
}

impl Pieces {
    fn take(&mut self, mut length: usize) -> Vec<Bytes> {
        let mut taken = Vec::with_capacity(1);
        while length > 0 {
            let piece = &self.pieces[self.at];
            let part = length.min(piece.len() - self.within);
            taken.push(piece.slice(self.within..self.within + part));
            length -= part;
            self.within += part;
            if self.within == piece.len() {
                self.at += 1;
                self.within = 0;
            }
        }
        taken
    }
}

impl Core {
    /// Uploads packed blocks, as many at once as the writer lets through, and registers each when
    /// it is stored. The first failure is returned after all others have ended.
    pub(super) async fn upload(self: &Arc<Self>, packed: Vec<Packed>) -> Result<()> {
        let mut uploads: FuturesUnordered<_> = packed
            .into_iter()
            .map(|packed| {
                let core = self.clone();
                self.runtime.spawn(async move { core.upload_one(packed).await })
            })
            .collect();
        let mut answer = Ok(());
        while let Some(ended) = uploads.next().await {
            let ended = ended.unwrap_or_else(|panic| {
                Err(crate::error::Error::new(crate::error::Kind::Internal, "an upload panicked")
                    .because(panic))
            });
            answer = answer.and(ended);
        }
        answer
    }

    async fn upload_one(&self, packed: Packed) -> Result<()> {
        let needed = || self.is_needed(&packed.parts);
        let stored = self.writer.store_if(&packed.builder, needed).await?;
        drop(packed.builder);
        let Some(stored) = stored else { return Ok(()) };
        self.adapt_budget();
        self.register(Some(&stored), packed.parts).await
    }

    /// Whether anything of a block that waited is still to be stored.
    fn is_needed(&self, parts: &[Part]) -> bool {
        let dirty = self.dirty.lock();
        parts.iter().any(|part| match &part.source {
            Source::Dirty(claim) => {
                dirty.has_claimed(*claim, part.content, part.offset..part.end())
            }
            Source::Moved(_) => true,
        })
    }

    /// The bound follows the store: what it took in half a second, within what memory allows.
    fn adapt_budget(&self) {
        let half_second = self.writer.rate_bytes_per_second() / 2;
        let most = Shares::of(self.memory_bytes).dirty_bytes_max;
        self.budget.set_limit(half_second.max(DIRTY_BYTES_MIN).min(most));
    }

    /// Uploads a whole block's worth of a stream as soon as it is there.
    pub(super) fn send_full(self: &Arc<Self>, claim: Claim, run: Run) {
        let core = self.clone();
        self.runtime.spawn(async move {
            let packed = pack(vec![(Source::Dirty(claim), run)], core.block_bytes);
            let outcome = core.upload(packed).await;
            core.end_claim(claim, outcome);
        });
    }

    /// Packs and uploads everything of the present that no upload has taken yet, so that small
    /// files do not wait for a timer.
    pub(super) fn send_small(self: &Arc<Self>) {
        let Some((claim, runs)) = self.dirty.lock().claim_all(View::Live) else { return };
        let core = self.clone();
        self.runtime.spawn(async move {
            let runs = runs.into_iter().map(|run| (Source::Dirty(claim), run)).collect();
            let outcome = core.upload(pack(runs, core.block_bytes)).await;
            core.end_claim(claim, outcome);
        });
    }

    /// A claim whose upload failed gives its bytes back; the next epoch takes them again.
    pub(super) fn end_claim(&self, claim: Claim, outcome: Result<()>) {
        let orphans = match &outcome {
            Ok(()) => self.dirty.lock().finish(claim),
            Err(_) => self.dirty.lock().release(claim),
        };
        self.budget.release(orphans);
        if let Err(error) = outcome {
            self.meet(&error);
        }
        self.settled.notify_waiters();
    }

    /// A failure that cannot be waited out ends the volume; another one is told to who waits.
    pub(super) fn meet(&self, error: &crate::error::Error) {
        use crate::error::Kind;
        match error.kind() {
            Kind::Policy | Kind::Fenced | Kind::Corrupt | Kind::Internal => self.fail(error),
            kind => {
                tracing::error!(%error, "what was written waits: the store does not take it");
                self.obstacle.send_replace(Some((kind, error.to_string())));
            }
        }
    }

    /// The dirty bytes of a frozen epoch and what moves with them, packed.
    pub(super) async fn pack_frozen(
        &self,
        frozen: Option<(Claim, Vec<Run>)>,
        inline: &InlineChunks,
    ) -> Result<Vec<Packed>> {
        let mut all = self.inlined(inline).await?;
        if let Some((claim, runs)) = frozen {
            all.extend(self.crumbled(&runs).await?);
            all.extend(runs.into_iter().map(|run| (Source::Dirty(claim), run)));
        }
        all.sort_by_key(|(_, run)| (run.ino, run.content, run.offset));
        Ok(pack(all, self.block_bytes))
    }

    /// Whole chunks that the runs touch and that have crumbled into too many extents; not more
    /// bytes of them than may be dirty, for they are all in memory at once. Others stay crumbled
    /// until they are touched again.
    async fn crumbled(&self, runs: &[Run]) -> Result<Vec<(Source, Run)>> {
        let (mut moved, mut bytes) = (Vec::new(), 0);
        let mut seen = None;
        for run in runs {
            for index in run.offset / CHUNK_BYTES..=(run.end() - 1) / CHUNK_BYTES {
                if seen.replace((run.content, index)) == Some((run.content, index)) {
                    continue;
                }
                let chunk = self.chunk(View::Frozen, run.content, index).await?;
                if chunk.0.len() <= EXTENTS_MAX {
                    continue;
                }
                bytes += chunk.bytes();
                if bytes > self.budget.limit() {
                    return Ok(moved);
                }
                // A chunk that cannot be read stays as it is; its readers will be told.
                let whole = self.move_chunk(run.ino, run.content, index, chunk).await;
                match whole {
                    Ok(runs) => moved.extend(runs),
                    Err(error) => tracing::warn!(%error, ino = %run.ino, "a chunk stays crumbled"),
                }
            }
        }
        Ok(moved)
    }

    /// Chunks with inline bytes, which move into this packed epoch.
    async fn inlined(&self, inline: &InlineChunks) -> Result<Vec<(Source, Run)>> {
        let mut moved = Vec::new();
        for (&(content, index), &(ino, _)) in inline {
            let mut chunk = self.chunk(View::Frozen, content, index).await?;
            chunk.0.retain(|extent| extent.block().is_none());
            moved.extend(self.move_chunk(ino, content, index, chunk).await?);
        }
        Ok(moved)
    }

    /// Reads a chunk's extents and joins neighbours into runs that move together.
    async fn move_chunk(
        &self,
        ino: Ino,
        content: ContentId,
        index: u64,
        mut chunk: Chunk,
    ) -> Result<Vec<(Source, Run)>> {
        let mut moved = Vec::new();
        let base = index * CHUNK_BYTES;
        // Joined extents take the newest one's sequence, which must not lift bytes over a cut.
        let value = self.meta.store().get_in(View::Frozen, &key::inode(ino)).await?;
        if let Some(inode) = value.map(|value| Inode::decode(&value)).transpose()?
            && inode.content == content
        {
            chunk.apply_cuts(base, &inode.cuts, &mut Vec::new());
        }
        let source = Source::Moved(Arc::new(chunk.clone()));
        let mut open: Option<Run> = None;
        let bytes = self.chunk_bytes(base, &chunk).await?;
        for (extent, (offset, pieces)) in chunk.0.iter().zip(bytes) {
            match &mut open {
                Some(run) if run.end() == offset => {
                    run.seq = run.seq.max(extent.seq);
                    run.pieces.extend(pieces);
                }
                _ => {
                    let run = Run { ino, content, offset, pieces, seq: extent.seq };
                    moved.extend(open.replace(run).map(|run| (source.clone(), run)));
                }
            }
        }
        moved.extend(open.map(|run| (source, run)));
        Ok(moved)
    }
}

/// Dirty bytes are never bounded below this (DESIGN §5).
pub(super) const DIRTY_BYTES_MIN: u64 = 16 << 20;
