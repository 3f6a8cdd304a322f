//! Where the bytes of a file are: the extents of one MiB (a *chunk*), and the blocks they lie in.
//! Pure. `docs/format.md`, "Extents" and "Blocks in metadata", draws the values.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;

use super::codec::Reader;
use super::codec::Writer;
use super::key::CHUNK_BYTES;
use super::value::Cut;
use crate::error::Result;
use crate::types::BlockId;
use crate::types::Epoch;
use crate::types::WriteSeq;

const CHUNK_VERSION: u8 = 1;
const BLOCK_VERSION: u8 = 1;

/// The generation of the volume key that the frames are sealed with; more come with end-to-end
/// encryption.
const KEY_GENERATION: u8 = 0;

const INLINE: u8 = 0;
const STORED: u8 = 1;

/// A chunk with more extents than this is rewritten by the next epoch that touches it.
pub const EXTENTS_MAX: usize = 32;

/// One frame of a stored extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Where its stored bytes begin in the block.
    pub at: u32,
    /// Its number in the block.
    pub index: u32,
    /// Its stored bytes, without the tag.
    pub stored: u32,
    /// Its bytes of the file.
    pub plain: u32,
    /// How it is compressed.
    pub codec: u8,
}

/// Where the bytes of an extent are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Here.
    Inline(Bytes),
    /// In consecutive frames of a block.
    Stored {
        /// The block.
        block: BlockId,
        /// Plain bytes of the first frame before the extent's first byte.
        skip: u32,
        /// The frames, in order.
        frames: Vec<Frame>,
    },
}

/// A range of a file and where its bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// First byte, counted from the chunk's begin.
    pub start: u32,
    /// Bytes.
    pub len: u32,
    /// The newest write in it.
    pub seq: WriteSeq,
    /// Where.
    pub place: Place,
}

impl Extent {
    /// The extent's range inside its chunk.
    pub fn range(&self) -> Range<u32> {
        self.start..self.start + self.len
    }

    /// The block it lies in, if it does.
    pub fn block(&self) -> Option<BlockId> {
        match &self.place {
            Place::Inline(_) => None,
            Place::Stored { block, .. } => Some(*block),
        }
    }

    fn overlaps(&self, range: &Range<u32>) -> bool {
        self.start.max(range.start) < self.range().end.min(range.end)
    }

    /// What lies before and after `range`, which overlaps it, and the bytes in between; what the
    /// block loses goes into `lost`.
    fn without(self, range: &Range<u32>, lost: &mut BlockChanges) -> ([Option<Self>; 2], u64) {
        let own = self.range();
        let overlap = own.start.max(range.start)..own.end.min(range.end);
        let bytes = overlap.end - overlap.start;
        lost.extend(self.block().map(|block| (block, -i64::from(bytes))));
        let before = (own.start < overlap.start).then(|| self.part(own.start..overlap.start));
        let after = (overlap.end < own.end).then(|| self.part(overlap.end..own.end));
        ([before, after], bytes.into())
    }

    /// The part of the extent inside `range`, which must overlap it.
    #[must_use]
    pub fn part(&self, range: Range<u32>) -> Self {
        let start = range.start.max(self.start);
        let end = range.end.min(self.start + self.len);
        assert!(start < end, "a part of an extent is not empty");
        let (from, len) = (start - self.start, end - start);
        let place = match &self.place {
            Place::Inline(bytes) => {
                Place::Inline(bytes.slice(from as usize..(from + len) as usize))
            }
            Place::Stored { block, skip, frames } => {
                let (skip, frames) = part_of_frames(frames, skip + from, len);
                Place::Stored { block: *block, skip, frames }
            }
        };
        Self { start, len, seq: self.seq, place }
    }
}

/// The frames that hold `len` plain bytes after `skip`, and what to skip of the first of them.
fn part_of_frames(frames: &[Frame], mut skip: u32, len: u32) -> (u32, Vec<Frame>) {
    let mut part = Vec::with_capacity(frames.len());
    let mut held = 0;
    for frame in frames {
        if part.is_empty() && skip >= frame.plain {
            skip -= frame.plain;
            continue;
        }
        if !part.is_empty() && held >= skip + len {
            break;
        }
        held += frame.plain;
        part.push(*frame);
    }
    (skip, part)
}

/// The extents of a chunk: sorted by start, none overlaps another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chunk(pub Vec<Extent>);

/// Live bytes that extents gained or lost in blocks, by block.
pub type BlockChanges = Vec<(BlockId, i64)>;

impl Chunk {
    /// Which chunk an offset lies in, and where.
    pub fn locate(offset: u64) -> (u64, u32) {
        let within = u32::try_from(offset % CHUNK_BYTES).expect("a chunk is small");
        (offset / CHUNK_BYTES, within)
    }

    /// Removes `range`; what the blocks lose goes into `lost`. Returns the bytes removed.
    pub fn remove(&mut self, range: Range<u32>, lost: &mut BlockChanges) -> u64 {
        self.remove_hidden(&range, |_| true, lost)
    }

    /// Removes what cuts hide. `base` is the chunk's first offset in the file. Returns the bytes.
    pub fn apply_cuts(&mut self, base: u64, cuts: &[Cut], lost: &mut BlockChanges) -> u64 {
        let mut removed = 0;
        for cut in cuts {
            let range = within_chunk(base, cut.start, cut.end);
            removed += self.remove_hidden(&range, |extent| extent.seq <= cut.seq, lost);
        }
        removed
    }

    fn remove_hidden(
        &mut self,
        range: &Range<u32>,
        is_hidden: impl Fn(&Extent) -> bool,
        lost: &mut BlockChanges,
    ) -> u64 {
        let mut removed = 0;
        let mut kept = Vec::with_capacity(self.0.len() + 1);
        for extent in self.0.drain(..) {
            if extent.overlaps(range) && is_hidden(&extent) {
                let (rest, bytes) = extent.without(range, lost);
                kept.extend(rest.into_iter().flatten());
                removed += bytes;
            } else {
                kept.push(extent);
            }
        }
        self.0 = kept;
        removed
    }

    /// Bytes that are allocated in it.
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|extent| u64::from(extent.len)).sum()
    }

    /// The stored form.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new(CHUNK_VERSION);
        writer.number(self.0.len() as u64);
        for extent in &self.0 {
            writer.number(extent.start.into()).number(extent.len.into()).number(extent.seq.0);
            match &extent.place {
                Place::Inline(bytes) => {
                    writer.byte(INLINE).raw(bytes);
                }
                Place::Stored { block, skip, frames } => {
                    writer.byte(STORED).raw(&block.0).number((*skip).into());
                    encode_frames(&mut writer, frames);
                }
            }
        }
        writer.finish()
    }

    /// Reads the stored form.
    pub fn decode(value: &Bytes) -> Result<Self> {
        let mut reader = Reader::new("chunk", value, CHUNK_VERSION)?;
        let mut extents: Vec<Extent> = Vec::new();
        for _ in 0..reader.count()? {
            let (start, len) = (reader.small()?, reader.small()?);
            let seq = WriteSeq(reader.number()?);
            let floor = extents.last().map_or(0, |last| last.start + last.len);
            let fits = u64::from(start) + u64::from(len) <= CHUNK_BYTES;
            if start < floor || len == 0 || !fits {
                return Err(reader.fault());
            }
            let place = match reader.byte()? {
                INLINE => Place::Inline(reader.kept(len as usize)?),
                STORED => decode_stored(&mut reader, len)?,
                _ => return Err(reader.fault()),
            };
            extents.push(Extent { start, len, seq, place });
        }
        reader.finish()?;
        Ok(Self(extents))
    }
}

/// A chunk while extents are put into it: each costs what it covers, however many there are.
#[derive(Debug)]
pub struct OpenChunk(BTreeMap<u32, Extent>);

impl From<Chunk> for OpenChunk {
    fn from(chunk: Chunk) -> Self {
        Self(chunk.0.into_iter().map(|extent| (extent.start, extent)).collect())
    }
}

impl OpenChunk {
    /// Puts an extent over whatever was there. Returns how many bytes the chunk grew by.
    pub fn insert(&mut self, extent: Extent, changes: &mut BlockChanges) -> i64 {
        let range = extent.range();
        let covered: Vec<_> = self.overlapping(&range).map(|old| old.start).collect();
        let mut removed = 0;
        for old in covered.iter().filter_map(|start| self.0.remove(start)).collect::<Vec<_>>() {
            let (rest, bytes) = old.without(&range, changes);
            self.0.extend(rest.into_iter().flatten().map(|part| (part.start, part)));
            removed += bytes;
        }
        let len = i64::from(extent.len);
        changes.extend(extent.block().map(|block| (block, len)));
        self.0.insert(extent.start, extent);
        len - removed.cast_signed()
    }

    /// The extents that overlap a range, in order.
    pub fn overlapping(&self, range: &Range<u32>) -> impl Iterator<Item = &Extent> {
        let before = self.0.range(..range.start).next_back().map(|(_, extent)| extent);
        let inside = self.0.range(range.start..range.end.max(range.start));
        let from = before.into_iter().chain(inside.map(|(_, extent)| extent));
        from.filter(|extent| extent.overlaps(range))
    }

    /// The chunk with what was put into it.
    pub fn close(self) -> Chunk {
        Chunk(self.0.into_values().collect())
    }
}

/// A range of the file as a range inside the chunk that begins at `base`; empty if outside.
pub fn within_chunk(base: u64, start: u64, end: u64) -> Range<u32> {
    let inside = |offset: u64| {
        u32::try_from(offset.saturating_sub(base).min(CHUNK_BYTES)).expect("a chunk is small")
    };
    inside(start)..inside(end)
}

/// Frames of one extent follow one another in their block, each after the tag of the one before.
fn encode_frames(writer: &mut Writer, frames: &[Frame]) {
    writer.number(frames.len() as u64);
    let first = frames.first().expect("a stored extent has frames");
    writer.byte(KEY_GENERATION).number(first.at.into()).number(first.index.into());
    for frame in frames {
        writer.number(frame.stored.into()).number(frame.plain.into()).byte(frame.codec);
    }
}

fn decode_stored(reader: &mut Reader<'_>, len: u32) -> Result<Place> {
    let block = BlockId(reader.raw(16)?.try_into().map_err(|_| reader.fault())?);
    let skip = reader.small()?;
    let count = reader.count()?;
    if count == 0 || reader.byte()? != KEY_GENERATION {
        return Err(reader.fault());
    }
    let (mut at, mut index) = (reader.small()?, reader.small()?);
    let mut frames = Vec::with_capacity(count);
    let mut plain_sum = 0u64;
    for _ in 0..count {
        let (stored, plain, codec) = (reader.small()?, reader.small()?, reader.byte()?);
        frames.push(Frame { at, index, stored, plain, codec });
        plain_sum += u64::from(plain);
        at = at
            .checked_add(stored)
            .and_then(|at| at.checked_add(crate::types::TAG_BYTES))
            .ok_or_else(|| reader.fault())?;
        index = index.checked_add(1).ok_or_else(|| reader.fault())?;
    }
    if plain_sum < u64::from(skip) + u64::from(len) {
        return Err(reader.fault());
    }
    Ok(Place::Stored { block, skip, frames })
}

/// What metadata knows of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockRecord {
    /// The epoch that made it part of the volume.
    pub birth: Epoch,
    /// The object's size in bytes.
    pub stored: u64,
    /// File bytes that extents still refer to, each reference counted.
    pub live: u64,
}

impl BlockRecord {
    /// The stored form.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new(BLOCK_VERSION);
        writer.number(self.birth.0).number(self.stored).number(self.live);
        writer.finish()
    }

    /// Reads the stored form.
    pub fn decode(value: &Bytes) -> Result<Self> {
        let mut reader = Reader::new("block record", value, BLOCK_VERSION)?;
        let record = Self {
            birth: Epoch(reader.number()?),
            stored: reader.number()?,
            live: reader.number()?,
        };
        reader.finish()?;
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prop_assert_eq;
    use proptest::proptest;

    use super::*;

    fn stored(start: u32, plains: &[u32], seq: u64, block: u8) -> Extent {
        let mut at = 64;
        let frames = plains
            .iter()
            .zip(3..)
            .map(|(&plain, index)| {
                let frame = Frame { at, index, stored: plain, plain, codec: 0 };
                at += plain + crate::types::TAG_BYTES;
                frame
            })
            .collect();
        let place = Place::Stored { block: BlockId([block; 16]), skip: 0, frames };
        Extent { start, len: plains.iter().sum(), seq: WriteSeq(seq), place }
    }

    #[test]
    fn an_overwrite_in_the_middle_keeps_both_ends_and_only_their_frames() {
        let mut chunk = OpenChunk::from(Chunk::default());
        let mut changes = Vec::new();
        assert_eq!(chunk.insert(stored(0, &[100, 100, 100], 1, 1), &mut changes), 300);
        assert_eq!(chunk.insert(stored(110, &[80], 2, 2), &mut changes), 0);
        let chunk = chunk.close();
        let ranges: Vec<_> = chunk.0.iter().map(Extent::range).collect();
        assert_eq!(ranges, [0..110, 110..190, 190..300]);
        let Place::Stored { skip, frames, .. } = &chunk.0[2].place else { panic!("stored") };
        assert_eq!((*skip, frames.len(), frames[0].index), (90, 2, 4));
        let first = BlockId([1; 16]);
        let live: i64 = changes.iter().filter(|(id, _)| *id == first).map(|(_, n)| n).sum();
        assert_eq!(live, 220);
        assert_eq!(Chunk::decode(&chunk.encode()).unwrap(), chunk);
    }

    #[test]
    fn a_cut_hides_what_is_older_and_nothing_else() {
        let mut chunk = Chunk(vec![stored(0, &[50], 1, 1), stored(50, &[50], 5, 2)]);
        let cut = Cut { start: 20, end: u64::MAX, seq: WriteSeq(3) };
        assert_eq!(chunk.apply_cuts(0, &[cut], &mut Vec::new()), 30);
        assert_eq!(chunk.0.iter().map(Extent::range).collect::<Vec<_>>(), [0..20, 50..100]);
    }

    #[test]
    fn overlapping_or_overlong_extents_do_not_decode() {
        let overlap = Chunk(vec![stored(0, &[50], 1, 1), stored(40, &[50], 5, 2)]);
        assert!(Chunk::decode(&overlap.encode()).is_err());
        let long = Chunk(vec![stored((1 << 20) - 10, &[50], 1, 1)]);
        assert!(Chunk::decode(&long.encode()).is_err());
    }

    /// Puts an extent into a chunk on its own.
    fn put(chunk: &mut Chunk, extent: Extent, changes: &mut BlockChanges) -> i64 {
        let removed = chunk.remove(extent.range(), changes);
        let len = i64::from(extent.len);
        changes.extend(extent.block().map(|block| (block, len)));
        let at = chunk.0.partition_point(|other| other.start < extent.start);
        chunk.0.insert(at, extent);
        len - removed.cast_signed()
    }

    proptest! {
        #[test]
        fn many_extents_at_once_are_as_good_as_one_after_the_other(
            extents in vec((0..500u32, vec(1..40u32, 1..4), 0..4u8), 0..40)
        ) {
            let (mut open, mut plain) = (OpenChunk::from(Chunk::default()), Chunk::default());
            let (mut gained, mut expected) = (Vec::new(), Vec::new());
            for ((start, plains, block), seq) in extents.into_iter().zip(1..) {
                let whole = stored(start, &plains, seq, block);
                let extent = match block {
                    0 => {
                        let place = Place::Inline(vec![1; whole.len as usize].into());
                        Extent { place, ..whole }
                    }
                    _ => whole,
                };
                let grown = open.insert(extent.clone(), &mut gained);
                prop_assert_eq!(grown, put(&mut plain, extent, &mut expected));
                let range = start..start + 70;
                let seen: Vec<_> = open.overlapping(&range).cloned().collect();
                let there = plain.0.iter().filter(|extent| extent.overlaps(&range)).cloned();
                prop_assert_eq!(seen, there.collect::<Vec<_>>());
            }
            prop_assert_eq!(&gained, &expected);
            prop_assert_eq!(open.close(), plain);
        }
    }
}
