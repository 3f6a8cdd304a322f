//! One frame: what names it, what binds its tag, how it opens. Pure.

use bytes::Bytes;

use crate::crypto::TAG_BYTES;
use crate::crypto::TagKey;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::types::BlockId;
use crate::types::FRAME_BYTES;

/// The layout of blocks that this release writes and reads.
pub(super) const VERSION: u32 = 1;

/// The generation of keys: 0 says that frames are plain and tags without a secret.
pub(super) const KEY_GENERATION: u32 = 0;

const FRAME_DOMAIN: u8 = 1;
const FOOTER_DOMAIN: u8 = 2;

/// How a frame's plain bytes became its stored bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// They are the same.
    None,
}

impl Codec {
    /// The codec's stored number. 1 (LZ4) and 2 (zstd) are reserved.
    pub fn id(self) -> u8 {
        match self {
            Codec::None => 0,
        }
    }

    /// The codec of a stored number; `Kind::Corrupt` for one that this release does not know.
    pub fn from_id(id: u8) -> Result<Self> {
        match id {
            0 => Ok(Codec::None),
            _ => Err(Error::new(Kind::Corrupt, "this release does not know the codec of a frame")
                .with("codec", id)
                .hint("read the volume with the release that wrote it, or a newer one")),
        }
    }
}

/// Where a frame lies in its block: all that a read needs besides the block's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameRef {
    /// Offset in the block of the stored bytes.
    pub at: u32,
    /// Length of the stored bytes; the tag lies behind them.
    pub stored: u32,
    /// Length of the plain bytes.
    pub plain: u32,
    /// How the stored bytes were made.
    pub codec: Codec,
    /// The frame's number in its block, from 0.
    pub index: u32,
}

impl FrameRef {
    /// Where in the block the tag ends.
    pub fn end(&self) -> u64 {
        u64::from(self.at) + u64::from(self.stored) + TAG_BYTES as u64
    }

    /// Bytes of the frame with its tag.
    pub fn sealed_bytes(&self) -> usize {
        self.stored as usize + TAG_BYTES
    }

    /// Whether the lengths are possible: neither empty nor too long nor grown.
    pub(super) fn is_sound(&self) -> bool {
        let Self { stored, plain, codec, .. } = *self;
        let fits = match codec {
            Codec::None => stored == plain,
        };
        fits && stored > 0 && plain <= FRAME_BYTES
    }
}

/// Verifies and expands one frame of `block` from its stored bytes and the tag behind them.
/// `Kind::Corrupt`, naming block and offset, if they are not that frame's.
pub fn open_frame(
    key: &TagKey,
    block: BlockId,
    frame: &FrameRef,
    stored_and_tag: &Bytes,
) -> Result<Bytes> {
    let fault = |message: &'static str| corrupt(block, message).with("offset", frame.at);
    if !frame.is_sound() || stored_and_tag.len() != frame.sealed_bytes() {
        return Err(fault("a frame has not the length it should have"));
    }
    let stored = stored_and_tag.slice(..frame.stored as usize);
    if !tag_matches(
        key,
        &stored,
        &frame_binding(key, block, frame),
        &stored_and_tag[stored.len()..],
    ) {
        return Err(fault("a frame does not verify"));
    }
    match frame.codec {
        Codec::None => Ok(stored),
    }
}

/// What a frame's tag is bound to, besides its stored bytes.
pub(super) fn frame_binding(key: &TagKey, block: BlockId, frame: &FrameRef) -> [u8; 46] {
    let mut binding = [0; 46];
    binding[..16].copy_from_slice(&key.volume().0);
    binding[16..32].copy_from_slice(&block.0);
    binding[32..36].copy_from_slice(&frame.index.to_be_bytes());
    binding[36] = frame.codec.id();
    binding[37..41].copy_from_slice(&frame.plain.to_be_bytes());
    binding[41..45].copy_from_slice(&KEY_GENERATION.to_be_bytes());
    binding[45] = FRAME_DOMAIN;
    binding
}

/// What a footer's tag is bound to, besides its entries.
pub(super) fn footer_binding(key: &TagKey, block: BlockId, frames: u32) -> [u8; 45] {
    let mut binding = [0; 45];
    binding[..16].copy_from_slice(&key.volume().0);
    binding[16..32].copy_from_slice(&block.0);
    binding[32..36].copy_from_slice(&frames.to_be_bytes());
    binding[36..40].copy_from_slice(&VERSION.to_be_bytes());
    binding[40..44].copy_from_slice(&KEY_GENERATION.to_be_bytes());
    binding[44] = FOOTER_DOMAIN;
    binding
}

/// Whether `tag` is that of `bytes` in their place.
pub(super) fn tag_matches(key: &TagKey, bytes: &[u8], binding: &[u8], tag: &[u8]) -> bool {
    #[cfg(feature = "testing")]
    if super::sabotage::SKIP_TAG_CHECK.load(std::sync::atomic::Ordering::Relaxed) {
        return true;
    }
    key.tag(bytes, binding) == tag
}

/// A fault in the stored bytes of `block`.
pub(super) fn corrupt(block: BlockId, message: &'static str) -> Error {
    Error::new(Kind::Corrupt, message).with("block", block)
}
