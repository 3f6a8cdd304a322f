//! Reading the bytes of a content: dirty bytes over extents over blocks.

use std::collections::HashMap;

use bytes::Bytes;
use bytes::BytesMut;

use super::core::Core;
use super::misses::Fetch;
use super::misses::Room;
use crate::block::Codec;
use crate::block::FrameRef;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::meta::extent::Chunk;
use crate::meta::extent::Extent;
use crate::meta::extent::Frame;
use crate::meta::extent::Place;
use crate::meta::key;
use crate::meta::key::CHUNK_BYTES;
use crate::meta::kv::Following;
use crate::meta::kv::View;
use crate::meta::value::Cut;
use crate::types::BlockId;
use crate::types::ContentId;
use crate::types::FileRange;
use crate::types::Ino;

/// A block may be reclaimed between looking up its extent and reading it; then the extents are
/// looked up again. More often than this means that it is missing.
const LOOKUPS_MAX: u32 = 4;

/// A file of one frame of at most this many bytes is small.
const SMALL_BYTES_MAX: u32 = 64 * 1024;

/// Contents before and after a small one that are looked at when it is read cold.
const NEIGHBOURS: i64 = 128;

/// As many entries of the metadata at most.
const NEIGHBOUR_ENTRIES: usize = 256;

/// How far a neighbour's frame may lie in the block.
const NEIGHBOUR_BYTES_MAX: u32 = 512 * 1024;

/// Bytes under way from which on random readers get no more than they asked for.
const FLYING_BYTES_MAX: usize = 32 << 20;

/// How a reader goes through a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// In order: what comes next is asked for already.
    Stream,
    /// Here and there.
    Random,
}

/// A piece of a file, and where its bytes are.
enum Piece {
    Bytes(u64, Bytes),
    Stored { offset: u64, len: u32, block: BlockId, skip: u32, frames: Vec<FrameRef> },
}

/// A file at one instant: its content and what of it is dirty.
struct Seen {
    content: ContentId,
    cuts: Vec<Cut>,
    /// What was wanted, as far as the file has it.
    range: FileRange,
    dirty: Vec<(u64, Bytes)>,
}

impl Core {
    /// The extents of a chunk as `view` sees them.
    pub(super) async fn chunk(&self, view: View, content: ContentId, index: u64) -> Result<Chunk> {
        let value = self.meta.store().get_in(view, &key::chunk(content, index)).await?;
        value.map_or_else(|| Ok(Chunk::default()), |value| Chunk::decode(&value))
    }

    /// The bytes that a file has in `wanted`, holes as zeros; fewer where the file ends in it.
    ///
    /// Each byte is one that the file had at an instant of the read. The inode and what is dirty
    /// are seen at one instant; the extents after it, where later writes and cuts may show, but
    /// not that the content itself went: then all of it is seen again.
    pub(super) async fn read(
        &self,
        ino: Ino,
        wanted: FileRange,
        pattern: Pattern,
    ) -> Result<Bytes> {
        let mut lookups = 0;
        loop {
            let before = self.meta.store().engine().following();
            let Seen { content, cuts, range, dirty } = self.see(ino, &wanted).await?;
            if range.is_empty() {
                return Ok(Bytes::new());
            }
            let pieces = self.under(content, &cuts, &range, dirty).await?;
            if !self.still_has(ino, content, range.end).await? {
                continue;
            }
            lookups += 1;
            if let [Piece::Stored { block, frames, .. }] = &pieces[..]
                && let [frame] = &frames[..]
            {
                self.fetch_neighbours(content, *block, frame).await?;
            }
            if pattern == Pattern::Random {
                self.fetch_blocks(content, &cuts, &pieces).await?;
            }
            match self.assemble(&range, pieces).await {
                Err(error) if error.kind() == Kind::NotFound => {
                    if lookups < LOOKUPS_MAX && self.may_differ(before).await {
                        continue;
                    }
                    return Err(Error::new(Kind::Corrupt, "a block of the file is missing")
                        .with("content", content)
                        .with("offset", range.start)
                        .because(error));
                }
                answer => return answer,
            }
        }
    }

    /// Whether extents may name another block than they did at `before`. A reader beside a writer
    /// waits for that: the writer deletes blocks before the reader hears what replaced them.
    async fn may_differ(&self, before: Option<Following>) -> bool {
        before.is_none() || self.meta.store().has_moved_on(before).await
    }

    /// A file at one instant.
    async fn see(&self, ino: Ino, wanted: &FileRange) -> Result<Seen> {
        let seen = self.meta.inode_with(ino, |inode| {
            let end = wanted.end.min(inode.size);
            let range = wanted.start.min(end)..end;
            let dirty = self.dirty.lock().read(inode.content, &range, &inode.cuts);
            (range, dirty)
        });
        let (inode, (range, dirty)) = seen.await?;
        Ok(Seen { content: inode.content, cuts: inode.cuts, range, dirty })
    }

    /// Whether a file still has its content, up to `end` at least. A content never comes back, and
    /// none of its extents goes before it does.
    async fn still_has(&self, ino: Ino, content: ContentId, end: u64) -> Result<bool> {
        let inode = self.meta.inode(ino).await?;
        Ok(inode.content == content && inode.size >= end)
    }

    /// Where the bytes of a range are by now, for who is content with about that.
    async fn pieces(
        &self,
        content: ContentId,
        cuts: &[Cut],
        range: &FileRange,
    ) -> Result<Vec<Piece>> {
        let dirty = self.dirty.lock().read(content, range, cuts);
        self.under(content, cuts, range, dirty).await
    }

    /// Dirty bytes, and what the extents have between them: looked for after them, so that what is
    /// registered meanwhile is found there.
    async fn under(
        &self,
        content: ContentId,
        cuts: &[Cut],
        range: &FileRange,
        dirty: Vec<(u64, Bytes)>,
    ) -> Result<Vec<Piece>> {
        let mut pieces = Vec::with_capacity(dirty.len() + 1);
        let mut at = range.start;
        for (offset, bytes) in dirty {
            self.extents(content, cuts, at..offset, &mut pieces).await?;
            at = offset + bytes.len() as u64;
            pieces.push(Piece::Bytes(offset, bytes));
        }
        self.extents(content, cuts, at..range.end, &mut pieces).await?;
        Ok(pieces)
    }

    async fn extents(
        &self,
        content: ContentId,
        cuts: &[Cut],
        range: FileRange,
        pieces: &mut Vec<Piece>,
    ) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        for index in range.start / CHUNK_BYTES..=(range.end - 1) / CHUNK_BYTES {
            let base = index * CHUNK_BYTES;
            let mut chunk = self.chunk(View::Live, content, index).await?;
            chunk.apply_cuts(base, cuts, &mut Vec::new());
            let within = crate::meta::extent::within_chunk(base, range.start, range.end);
            for extent in &chunk.0 {
                let own = extent.range();
                if own.start < within.end && within.start < own.end {
                    pieces.push(piece(base, extent.part(within.clone()))?);
                }
            }
        }
        Ok(())
    }

    async fn assemble(&self, range: &FileRange, pieces: Vec<Piece>) -> Result<Bytes> {
        let size = usize::try_from(range.end - range.start).expect("a read fits memory");
        if let [Piece::Bytes(offset, bytes)] = &pieces[..]
            && *offset == range.start
            && bytes.len() == size
        {
            return Ok(bytes.clone());
        }
        let fetched = self.fetch_all(&pieces).await?;
        if let [(offset, only)] = &fetched[..]
            && *offset == range.start
            && let [bytes] = &only[..]
            && bytes.len() == size
        {
            return Ok(bytes.clone());
        }
        // Pieces come in order, so that only holes are written twice.
        let mut answer = BytesMut::with_capacity(size);
        for (offset, parts) in fetched {
            let at = usize::try_from(offset - range.start).expect("pieces lie in the range");
            answer.resize(at, 0);
            parts.iter().for_each(|part| answer.extend_from_slice(part));
        }
        answer.resize(size, 0);
        Ok(answer.freeze())
    }

    /// A small file that is read cold brings its neighbours in the block along: who reads one file
    /// of a directory mostly reads the others too, and one request costs what the other would.
    async fn fetch_neighbours(
        &self,
        content: ContentId,
        block: BlockId,
        own: &FrameRef,
    ) -> Result<()> {
        if own.plain > SMALL_BYTES_MAX || self.cache.peek(block, own.at).is_some() {
            return Ok(());
        }
        let around = |change: i64| ContentId(content.0.saturating_add_signed(change));
        let range = key::chunk(around(-NEIGHBOURS), 0)..key::chunk(around(NEIGHBOURS), 0);
        let entries = self.meta.store().scan(View::Live, range, NEIGHBOUR_ENTRIES).await?;
        let mut frames = Vec::with_capacity(entries.len());
        for (_, value) in &entries {
            let chunk = Chunk::decode(value)?;
            let [Extent { place: Place::Stored { block: at, frames: held, .. }, .. }] =
                &chunk.0[..]
            else {
                continue;
            };
            if let ([frame], true) = (&held[..], *at == block) {
                frames.push(frame_ref(*frame)?);
            }
        }
        frames.retain(|frame| {
            frame.plain <= SMALL_BYTES_MAX && frame.at.abs_diff(own.at) <= NEIGHBOUR_BYTES_MAX
        });
        frames.sort_unstable_by_key(|frame| frame.at);
        self.cache.prefetch(&self.reader, block, &frames);
        Ok(())
    }

    /// A block that is missed again and again is fetched with all that the file has there: a
    /// request more costs about as much as a megabyte more.
    async fn fetch_blocks(&self, content: ContentId, cuts: &[Cut], pieces: &[Piece]) -> Result<()> {
        let size = u64::from(self.block_bytes);
        for piece in pieces {
            let Piece::Stored { offset, block, frames, .. } = piece else { continue };
            if frames.iter().all(|frame| self.cache.knows(*block, frame.at))
                || self.misses.lock().note(*block, self.room()) == Fetch::Frames
                || self.cache.flying_bytes() > FLYING_BYTES_MAX
            {
                continue;
            }
            // In a request of its own, so that the reader does not wait for the rest.
            self.cache.prefetch(&self.reader, *block, frames);
            let start = offset / size * size;
            let mut rest = Vec::new();
            for piece in self.pieces(content, cuts, &(start..start + size)).await? {
                match piece {
                    Piece::Stored { block: at, frames, .. } if at == *block => rest.extend(frames),
                    Piece::Stored { .. } | Piece::Bytes(..) => {}
                }
            }
            self.cache.prefetch(&self.reader, *block, &rest);
        }
        Ok(())
    }

    fn room(&self) -> Room {
        let (size, capacity) = (self.block_bytes as usize, self.cache.capacity_bytes());
        Room {
            blocks_max: capacity / size,
            blocks_free: capacity.saturating_sub(self.cache.used_bytes()) / size,
        }
    }

    /// Fetches pieces, so that those whose frames lie together in a block share requests.
    async fn fetch_all(&self, pieces: &[Piece]) -> Result<Vec<(u64, Vec<Bytes>)>> {
        if pieces.len() > 1 {
            self.fetch_ahead(pieces);
        }
        futures::future::try_join_all(pieces.iter().map(|piece| self.fetch(piece))).await
    }

    /// Asks for the frames of pieces without waiting for them, each block's together.
    fn fetch_ahead(&self, pieces: &[Piece]) {
        let mut places: HashMap<BlockId, usize> = HashMap::new();
        // In the order of the pieces: there may be no room for the last ones.
        let mut wanted: Vec<(BlockId, Vec<FrameRef>)> = Vec::new();
        for piece in pieces {
            let Piece::Stored { block, frames, .. } = piece else { continue };
            let place = *places.entry(*block).or_insert(wanted.len());
            if place == wanted.len() {
                wanted.push((*block, Vec::new()));
            }
            wanted[place].1.extend(frames);
        }
        for (block, frames) in wanted {
            self.cache.prefetch(&self.reader, block, &frames);
        }
    }

    async fn fetch(&self, piece: &Piece) -> Result<(u64, Vec<Bytes>)> {
        match piece {
            Piece::Bytes(offset, bytes) => Ok((*offset, vec![bytes.clone()])),
            Piece::Stored { offset, len, block, skip, frames } => {
                let plain = self.cache.read(&self.reader, *block, frames).await?;
                Ok((*offset, trim(plain, *skip, *len)))
            }
        }
    }

    /// The bytes of the extents of a chunk that begins at `base`: where each begins in the file,
    /// and its bytes in pieces.
    pub(super) async fn chunk_bytes(
        &self,
        base: u64,
        chunk: &Chunk,
    ) -> Result<Vec<(u64, Vec<Bytes>)>> {
        let pieces = chunk.0.iter().map(|extent| piece(base, extent.clone()));
        self.fetch_all(&pieces.collect::<Result<Vec<_>>>()?).await
    }

    /// Asks for the frames of a range without waiting for them.
    pub(super) async fn prefetch(
        &self,
        content: ContentId,
        cuts: &[Cut],
        range: FileRange,
    ) -> Result<()> {
        self.fetch_ahead(&self.pieces(content, cuts, &range).await?);
        Ok(())
    }

    /// Bytes of a content that are allocated: dirty, inline or in blocks. About, while it changes.
    pub(super) async fn allocated(&self, content: ContentId, cuts: &[Cut]) -> Result<u64> {
        let mut bytes = self.dirty.lock().bytes_of(content);
        let mut range = key::chunks_from(content, 0);
        loop {
            let page = self.meta.store().scan(View::Live, range.clone(), 1_000).await?;
            for (key, value) in &page {
                let (_, index) = key::chunk_of(key).expect("the range holds chunk keys only");
                let mut chunk = Chunk::decode(value)?;
                chunk.apply_cuts(index * CHUNK_BYTES, cuts, &mut Vec::new());
                bytes += chunk.bytes();
                range.start = key::chunk(content, index + 1);
            }
            if page.is_empty() {
                return Ok(bytes);
            }
        }
    }

    /// The data ranges of a content from `offset` on, up to `end`, joined; at most the first few.
    pub(super) async fn data_ranges(
        &self,
        content: ContentId,
        cuts: &[Cut],
        range: FileRange,
    ) -> Result<Vec<FileRange>> {
        let mut joined: Vec<FileRange> = Vec::new();
        for piece in self.pieces(content, cuts, &range).await? {
            let next = match piece {
                Piece::Bytes(offset, bytes) => offset..offset + bytes.len() as u64,
                Piece::Stored { offset, len, .. } => offset..offset + u64::from(len),
            };
            match joined.last_mut() {
                Some(last) if last.end == next.start => last.end = next.end,
                _ => joined.push(next),
            }
        }
        Ok(joined)
    }
}

fn piece(base: u64, extent: Extent) -> Result<Piece> {
    let offset = base + u64::from(extent.start);
    Ok(match extent.place {
        Place::Inline(bytes) => Piece::Bytes(offset, bytes),
        Place::Stored { block, skip, frames } => {
            let frames = frames.into_iter().map(frame_ref).collect::<Result<_>>()?;
            Piece::Stored { offset, len: extent.len, block, skip, frames }
        }
    })
}

fn frame_ref(frame: Frame) -> Result<FrameRef> {
    let Frame { at, index, stored, plain, codec } = frame;
    Ok(FrameRef { at, stored, plain, codec: Codec::from_id(codec)?, index })
}

/// The `len` bytes after `skip` in a row of frames.
fn trim(frames: Vec<Bytes>, skip: u32, len: u32) -> Vec<Bytes> {
    let (mut skip, mut len) = (skip as usize, len as usize);
    let mut parts = Vec::with_capacity(frames.len());
    for frame in frames {
        let from = skip.min(frame.len());
        skip -= from;
        let take = len.min(frame.len() - from);
        len -= take;
        if take > 0 {
            parts.push(frame.slice(from..from + take));
        }
    }
    parts
}
