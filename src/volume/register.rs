//! Registration: what survived of uploaded bytes gets its extents, what they replace is trimmed,
//! and blocks without a live byte go to reclaim; all at one instant.

use std::collections::BTreeMap;
use std::collections::HashMap;

use bytes::Bytes;

use super::core::Core;
use super::flush::Held;
use super::flush::Part;
use super::flush::Source;
use crate::block::FrameRef;
use crate::block::StoredBlock;
use crate::error::Result;
use crate::meta::extent::BlockChanges;
use crate::meta::extent::BlockRecord;
use crate::meta::extent::Chunk;
use crate::meta::extent::Extent;
use crate::meta::extent::Frame;
use crate::meta::extent::OpenChunk;
use crate::meta::extent::Place;
use crate::meta::key;
use crate::meta::key::CHUNK_BYTES;
use crate::meta::kv::UsageChange;
use crate::meta::kv::View;
use crate::object::name;
use crate::types::BlockId;
use crate::types::ContentId;
use crate::types::Epoch;
use crate::types::FileRange;

type Chunks = BTreeMap<(ContentId, u64), OpenChunk>;
pub(super) type Records = HashMap<BlockId, BlockRecord>;
pub(super) type Changes = Vec<(Bytes, Option<Bytes>)>;

impl Core {
    /// Puts extents for what is left of `parts`, whose bytes are in `stored`, or inline.
    pub(super) async fn register(
        &self,
        stored: Option<&StoredBlock>,
        parts: Vec<Part>,
    ) -> Result<()> {
        let (_registrar, view) = self.turn(&parts).await;
        let (mut chunks, mut records) = self.touched(view, &parts).await?;
        let epoch = self.epoch_of(view);
        let (freed, named) = self.meta.store().apply(view, || {
            let mut dirty = self.dirty.lock();
            let mut changes = BlockChanges::new();
            let (mut freed, mut grown) = (0, 0);
            for part in &parts {
                let (index, _) = Chunk::locate(part.offset);
                let chunk = chunks.get_mut(&(part.content, index)).expect("all were fetched");
                let whole = extent(part, stored.map(|stored| stored.id));
                let range = part.offset..part.end();
                let left = match &part.source {
                    Source::Dirty(claim) => dirty.claimed(*claim, part.content, &range),
                    Source::Moved(read) => unchanged(chunk, read, index, &range),
                };
                for left in joined(left) {
                    let within = key_range(index, &left);
                    grown += chunk.insert(whole.part(within), &mut changes);
                }
                if let Source::Dirty(claim) = &part.source {
                    freed += dirty.settle(*claim, part.content, &range);
                }
            }
            let named = changes.iter().any(|(id, _)| stored.is_some_and(|s| s.id == *id));
            if let (true, Some(stored)) = (named, stored) {
                let birth = BlockRecord { birth: epoch, stored: stored.object_bytes, live: 0 };
                records.insert(stored.id, birth);
            }
            let mut writes = block_writes(&mut records, changes, epoch);
            writes.extend(chunks.into_iter().map(|((content, index), chunk)| {
                let chunk = chunk.close();
                let value = (!chunk.0.is_empty()).then(|| chunk.encode());
                (key::chunk(content, index), value)
            }));
            self.queue_reclaims(&writes);
            (writes, UsageChange { inodes: 0, bytes: grown }, (freed, named))
        });
        self.note_inline(&parts);
        self.budget.release(freed);
        if let (false, Some(stored)) = (named, stored) {
            self.discard(stored.id).await;
        }
        Ok(())
    }

    /// Waits until extents of the parts' layer may be changed, and keeps others out.
    async fn turn(&self, parts: &[Part]) -> (tokio::sync::MutexGuard<'_, ()>, View) {
        let mut data_phase = self.data_phase.subscribe();
        loop {
            let registrar = self.registrar.lock().await;
            let view = parts
                .iter()
                .find_map(|part| match &part.source {
                    Source::Dirty(claim) => Some(self.dirty.lock().view_of(*claim)),
                    Source::Moved(_) => None,
                })
                .unwrap_or(View::Frozen);
            // Extents of the present must see those of the frozen epoch to trim them.
            if view == View::Frozen || !*data_phase.borrow_and_update() {
                return (registrar, view);
            }
            drop(registrar);
            // Any change, for the next epoch may be waiting for its data by the time we look; it
            // may even wait for these parts.
            if data_phase.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    async fn touched(&self, view: View, parts: &[Part]) -> Result<(Chunks, Records)> {
        let mut chunks = Chunks::new();
        let mut records = Records::new();
        for part in parts {
            let (index, _) = Chunk::locate(part.offset);
            if chunks.contains_key(&(part.content, index)) {
                continue;
            }
            let chunk = self.chunk(view, part.content, index).await?;
            self.fetch_records(view, &chunk, &mut records).await?;
            chunks.insert((part.content, index), chunk.into());
        }
        Ok((chunks, records))
    }

    /// The records of all blocks that a chunk's extents lie in.
    pub(super) async fn fetch_records(
        &self,
        view: View,
        chunk: &Chunk,
        records: &mut Records,
    ) -> Result<()> {
        for block in chunk.0.iter().filter_map(Extent::block) {
            if records.contains_key(&block) {
                continue;
            }
            if let Some(value) = self.meta.store().get_in(view, &key::block(block)).await? {
                records.insert(block, BlockRecord::decode(&value)?);
            }
        }
        Ok(())
    }

    fn note_inline(&self, parts: &[Part]) {
        let mut inline = self.inline.lock();
        for part in parts {
            if let Held::Inline(bytes) = &part.held {
                let (index, _) = Chunk::locate(part.offset);
                let chunk = inline.entry((part.content, index)).or_insert((part.ino, 0));
                chunk.1 += bytes.len() as u64;
            }
        }
    }

    /// Deletes a block that nothing names: all its bytes were overwritten while it was uploaded.
    async fn discard(&self, id: BlockId) {
        if let Err(error) = self.bucket.delete(&[name::block(id)]).await {
            tracing::warn!(block = %id, %error, "a block that nothing names stays until a sweep");
        }
    }
}

fn extent(part: &Part, stored: Option<BlockId>) -> Extent {
    let (_, start) = Chunk::locate(part.offset);
    let place = match &part.held {
        Held::Inline(bytes) => Place::Inline(bytes.clone()),
        Held::Frames(frames) => Place::Stored {
            block: stored.expect("frames lie in a stored block"),
            skip: 0,
            frames: frames.iter().map(frame).collect(),
        },
    };
    Extent { start, len: part.len, seq: part.seq, place }
}

fn frame(frame: &FrameRef) -> Frame {
    let FrameRef { at, stored, plain, codec, index } = *frame;
    Frame { at, index, stored, plain, codec: codec.id() }
}

/// Where in a range a chunk has the same extents as when it was read to be moved.
fn unchanged(chunk: &OpenChunk, read: &Chunk, index: u64, range: &FileRange) -> Vec<FileRange> {
    let base = index * CHUNK_BYTES;
    let wanted = key_range(index, range);
    let first = read.0.partition_point(|old| old.range().end <= wanted.start);
    let mut same = Vec::new();
    for old in read.0[first..].iter().take_while(|old| old.start < wanted.end) {
        let overlap = old.start.max(wanted.start)..old.range().end.min(wanted.end);
        for new in chunk.overlapping(&overlap) {
            let start = overlap.start.max(new.start);
            let end = overlap.end.min(new.range().end);
            if old.part(start..end) == new.part(start..end) {
                same.push(base + u64::from(start)..base + u64::from(end));
            }
        }
    }
    same
}

/// The same bytes as fewer ranges: neighbours become one extent.
fn joined(ranges: Vec<FileRange>) -> Vec<FileRange> {
    let mut joined: Vec<FileRange> = Vec::with_capacity(1);
    for range in ranges {
        match joined.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => joined.push(range),
        }
    }
    joined
}

fn key_range(index: u64, range: &FileRange) -> std::ops::Range<u32> {
    crate::meta::extent::within_chunk(index * CHUNK_BYTES, range.start, range.end)
}

/// What the blocks' gains and losses do to their records.
pub(super) fn block_writes(records: &mut Records, changes: BlockChanges, death: Epoch) -> Changes {
    let mut sums: BTreeMap<BlockId, i64> = BTreeMap::new();
    for (block, change) in changes {
        *sums.entry(block).or_default() += change;
    }
    let mut writes = Changes::new();
    for (block, change) in sums {
        let Some(record) = records.get_mut(&block) else { continue };
        record.live = record.live.saturating_add_signed(change);
        if record.live > 0 {
            writes.push((key::block(block), Some(record.encode())));
        } else {
            writes.push((key::block(block), None));
            writes.push((key::reclaim(death, block), Some(Bytes::new())));
        }
    }
    writes
}
