//! Packing: frames of many files become the bytes of one block. Pure; does not know when a block
//! is full enough to be sent.

use bytes::BufMut;
use bytes::Bytes;
use bytes::BytesMut;

use super::footer::check_header;
use super::footer::read_footer;
use super::frame::Codec;
use super::frame::FrameRef;
use super::frame::KEY_GENERATION;
use super::frame::VERSION;
use super::frame::corrupt;
use super::frame::footer_binding;
use super::frame::frame_binding;
use crate::crypto::TAG_BYTES;
use crate::crypto::TagKey;
use crate::error::Result;
use crate::object::Body;
use crate::types::BlockId;
use crate::types::FRAME_BYTES;
use crate::types::Owner;

pub(super) const HEADER_MAGIC: &[u8; 8] = b"CAIRNBLK";
pub(super) const TRAILER_MAGIC: &[u8; 8] = b"CAIRNEND";
pub(super) const HEADER_BYTES: u32 = 40;
pub(super) const ENTRY_BYTES: usize = 41;
pub(super) const TRAILER_BYTES: usize = 16;
pub(super) const FRAMES_MAX: usize = 65_536;

/// The longest block that offsets of 32 bits reach with room for tags and footer.
const CAPACITY_MAX: u32 = 1 << 30;

/// Frames of pieces that are on average at least this long are sent from where they lie. Shorter
/// ones are copied together: a system call takes a few pieces only.
const LENT_BYTES_MIN: usize = 16 * 1024;

/// What new frames are compressed with. Codecs for more are reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Nothing: bytes are stored as they are.
    None,
}

/// A block that is being filled. It has no id yet, so that it can be sent again under another.
#[derive(Debug)]
pub struct BlockBuilder {
    capacity: u32,
    compression: Compression,
    drafts: Vec<Draft>,
    stored: u32,
    end: u32,
}

#[derive(Debug)]
struct Draft {
    frame: FrameRef,
    owner: Owner,
    stored: Vec<Bytes>,
}

impl BlockBuilder {
    /// An empty block for at most `capacity` bytes of frames: the volume's block size. Tags,
    /// header and footer come on top.
    pub fn new(capacity: u32, compression: Compression) -> Self {
        assert!((1..=CAPACITY_MAX).contains(&capacity), "a block size is 1 byte to 1 GiB");
        Self { capacity, compression, drafts: Vec::new(), stored: 0, end: HEADER_BYTES }
    }

    /// Whether a frame of `plain` bytes has room.
    pub fn fits(&self, plain: u32) -> bool {
        plain <= self.capacity - self.stored && self.drafts.len() < FRAMES_MAX
    }

    /// Adds a frame of 1 to [`FRAME_BYTES`] plain bytes, given in pieces, which must fit. The
    /// bytes are not copied before the block is encoded.
    pub fn push(&mut self, owner: Owner, plain: Vec<Bytes>) -> FrameRef {
        let length = plain.iter().map(Bytes::len).sum::<usize>();
        let length = u32::try_from(length).expect("a frame is shorter than 4 GiB");
        assert!((1..=FRAME_BYTES).contains(&length), "a frame has 1 byte to 128 KiB");
        assert!(self.fits(length), "the caller asks before it pushes");
        let (codec, stored) = match self.compression {
            Compression::None => (Codec::None, plain),
        };
        let index = u32::try_from(self.drafts.len()).expect("`fits` bounds the frames");
        let frame = FrameRef { at: self.end, stored: length, plain: length, codec, index };
        self.drafts.push(Draft { frame, owner, stored });
        self.stored += length;
        self.end = u32::try_from(frame.end()).expect("the capacity bounds all offsets");
        frame
    }

    /// Stored bytes of all frames so far; compare with the block size.
    pub fn len(&self) -> u32 {
        self.stored
    }

    /// Whether no frame was pushed.
    pub fn is_empty(&self) -> bool {
        self.drafts.is_empty()
    }

    /// Length of the whole object in bytes.
    pub fn object_bytes(&self) -> u64 {
        u64::from(self.end) + self.footer_bytes() as u64
    }

    /// The frames in their order.
    pub fn frames(&self) -> impl Iterator<Item = (FrameRef, Owner)> + '_ {
        self.drafts.iter().map(|draft| (draft.frame, draft.owner))
    }

    /// Encodes the block under `id`, reads the result back and compares it with what was pushed.
    /// Long pieces are not copied, so they stay in memory until the result is gone.
    /// `Kind::Corrupt` if they differ, which only broken memory explains. The same builder may be
    /// encoded again under another id.
    pub fn encode(&self, key: &TagKey, id: BlockId) -> Result<Body> {
        assert!(!self.is_empty(), "a block has at least one frame");
        let lent = self.drafts.iter().filter(|draft| draft.is_lent());
        let lent: usize = lent.map(|draft| draft.frame.stored as usize).sum();
        let mut block = Body::default();
        let mut copied = BytesMut::with_capacity(self.end as usize - lent + self.footer_bytes());
        put_header(&mut copied, key, id);
        for draft in &self.drafts {
            let binding = frame_binding(key, id, &draft.frame);
            let tag = if draft.is_lent() {
                block.push(copied.split().freeze());
                draft.stored.iter().for_each(|piece| block.push(piece.clone()));
                key.tag_pieces(draft.stored.iter().map(|piece| &piece[..]), &binding)
            } else {
                let start = copied.len();
                draft.stored.iter().for_each(|piece| copied.extend_from_slice(piece));
                key.tag(&copied[start..], &binding)
            };
            copied.extend_from_slice(&tag);
        }
        self.put_footer(&mut copied, key, id);
        block.push(copied.freeze());
        self.compare(key, id, &block)?;
        Ok(block)
    }

    fn footer_bytes(&self) -> usize {
        self.drafts.len() * ENTRY_BYTES + TAG_BYTES + TRAILER_BYTES
    }

    fn put_footer(&self, block: &mut BytesMut, key: &TagKey, id: BlockId) {
        let start = block.len();
        for Draft { frame, owner, .. } in &self.drafts {
            block.put_u32(frame.stored);
            block.put_u32(frame.plain);
            block.put_u8(frame.codec.id());
            block.put_u64(owner.ino.0);
            block.put_u64(owner.content.0);
            block.put_u64(owner.offset);
            block.put_u64(owner.seq.0);
        }
        let frames = u32::try_from(self.drafts.len()).expect("`fits` bounds the frames");
        let length = u32::try_from(block.len() - start).expect("`fits` bounds the frames");
        let tag = key.tag(&block[start..], &footer_binding(key, id, frames));
        block.extend_from_slice(&tag);
        block.put_u32(length);
        block.put_u32(frames);
        block.extend_from_slice(TRAILER_MAGIC);
    }

    /// Tags were computed over the very bytes that are sent, so comparing bytes is enough.
    fn compare(&self, key: &TagKey, id: BlockId, block: &Body) -> Result<()> {
        let (first, last) = match block.pieces() {
            [first, .., last] => (first, last),
            [only] => (only, only),
            [] => (&Bytes::new(), &Bytes::new()),
        };
        check_header(key, id, first)?;
        let footer = read_footer(key, id, block.len() as u64, last)?;
        let mut rest = Rest { pieces: block.pieces(), within: 0 };
        rest.skip(HEADER_BYTES as usize);
        let same = self.frames().eq(footer)
            && self.drafts.iter().all(|draft| {
                let same = draft.stored.iter().all(|piece| rest.continues_with(piece));
                rest.skip(TAG_BYTES);
                same
            });
        if same { Ok(()) } else { Err(corrupt(id, "a block was not encoded as it should be")) }
    }
}

impl Draft {
    /// Whether the bytes are sent from where they are.
    fn is_lent(&self) -> bool {
        self.frame.stored as usize >= LENT_BYTES_MIN * self.stored.len()
    }
}

/// What is left of an encoded block while it is compared.
struct Rest<'a> {
    pieces: &'a [Bytes],
    /// How much of the first piece is passed.
    within: usize,
}

impl<'a> Rest<'a> {
    fn skip(&mut self, mut length: usize) {
        while length > 0
            && let Some(next) = self.next(length)
        {
            length -= next.len();
        }
    }

    fn continues_with(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let Some(next) = self.next(bytes.len()) else { return false };
            let (head, tail) = bytes.split_at(next.len());
            // What is lent is the very same memory.
            if !std::ptr::eq(head, next) && head != next {
                return false;
            }
            bytes = tail;
        }
        true
    }

    /// At most `length` bytes that lie together; `None` at the end.
    fn next(&mut self, length: usize) -> Option<&'a [u8]> {
        let (piece, others) = self.pieces.split_first()?;
        let end = piece.len().min(self.within + length);
        let next = &piece[self.within..end];
        self.within = end;
        if end == piece.len() {
            (self.pieces, self.within) = (others, 0);
        }
        Some(next)
    }
}

fn put_header(block: &mut BytesMut, key: &TagKey, id: BlockId) {
    block.extend_from_slice(HEADER_MAGIC);
    block.put_u32(VERSION);
    block.extend_from_slice(&key.volume().0);
    block.put_u64(id.session().0);
    block.put_u32(KEY_GENERATION);
}
