//! Reading a block without metadata: header, footer, and all of it. For `salvage`, `fsck`,
//! `scrub`, and for the check before a block is sent. Pure.

use bytes::Buf;
use bytes::Bytes;

use super::frame::Codec;
use super::frame::FrameRef;
use super::frame::KEY_GENERATION;
use super::frame::VERSION;
use super::frame::corrupt;
use super::frame::footer_binding;
use super::frame::open_frame;
use super::frame::tag_matches;
use super::pack::ENTRY_BYTES;
use super::pack::FRAMES_MAX;
use super::pack::HEADER_BYTES;
use super::pack::HEADER_MAGIC;
use super::pack::TRAILER_BYTES;
use super::pack::TRAILER_MAGIC;
use crate::crypto::TAG_BYTES;
use crate::crypto::TagKey;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::types::BlockId;
use crate::types::ContentId;
use crate::types::Ino;
use crate::types::Owner;
use crate::types::VolumeId;
use crate::types::WriteSeq;

/// A frame with its owner and its verified plain bytes.
pub type OpenedFrame = (FrameRef, Owner, Bytes);

/// Checks the header of `block`, given at least its first 40 bytes.
pub fn check_header(key: &TagKey, block: BlockId, mut head: &[u8]) -> Result<()> {
    if head.len() < HEADER_BYTES as usize || !head.starts_with(HEADER_MAGIC) {
        return Err(corrupt(block, "an object is not a block"));
    }
    head.advance(HEADER_MAGIC.len());
    match head.get_u32() {
        VERSION => {}
        version => return Err(too_new(block).with("version", version)),
    }
    let mut volume = VolumeId([0; 16]);
    head.copy_to_slice(&mut volume.0);
    if volume != key.volume() {
        return Err(corrupt(block, "a block belongs to another volume").with("volume", volume));
    }
    if head.get_u64() != block.session().0 {
        return Err(corrupt(block, "a block's header and its name tell different sessions"));
    }
    match head.get_u32() {
        KEY_GENERATION => Ok(()),
        generation => Err(too_new(block).with("key generation", generation)),
    }
}

/// How many of a block's last bytes hold footer and trailer, given at least the last 16.
pub fn tail_bytes(block: BlockId, tail: &[u8]) -> Result<usize> {
    let frames = frames(block, tail)?;
    Ok(frames as usize * ENTRY_BYTES + TAG_BYTES + TRAILER_BYTES)
}

/// The frames of `block` and their owners, in order, from its last bytes: at least
/// [`tail_bytes`] of them. `object_bytes` is the length of the whole object.
pub fn read_footer(
    key: &TagKey,
    block: BlockId,
    object_bytes: u64,
    tail: &[u8],
) -> Result<Vec<(FrameRef, Owner)>> {
    let frames = frames(block, tail)?;
    let needed = tail_bytes(block, tail)?;
    let Some(start) = tail.len().checked_sub(needed) else {
        return Err(corrupt(block, "a block is shorter than its footer"));
    };
    let (footer, behind) = tail[start..].split_at(frames as usize * ENTRY_BYTES);
    let binding = footer_binding(key, block, frames);
    if !tag_matches(key, footer, &binding, &behind[..TAG_BYTES]) {
        return Err(corrupt(block, "a block's footer does not verify"));
    }
    let entries = entries(block, footer)?;
    let end = entries.last().map_or(0, |(frame, _)| frame.end());
    if end + needed as u64 == object_bytes {
        Ok(entries)
    } else {
        Err(corrupt(block, "a block's frames do not fill it").with("bytes", object_bytes))
    }
}

/// Verifies a whole block and opens each of its frames.
pub fn open_block(key: &TagKey, block: BlockId, bytes: &Bytes) -> Result<Vec<OpenedFrame>> {
    check_header(key, block, bytes)?;
    let open = |(frame, owner): (FrameRef, Owner)| {
        let start = frame.at as usize;
        let sealed = bytes.slice(start..start + frame.sealed_bytes());
        Ok((frame, owner, open_frame(key, block, &frame, &sealed)?))
    };
    read_footer(key, block, bytes.len() as u64, bytes)?.into_iter().map(open).collect()
}

/// The number of frames that a trailer tells.
fn frames(block: BlockId, tail: &[u8]) -> Result<u32> {
    let torn = || corrupt(block, "a block does not end as one, so it was cut or overwritten");
    let start = tail.len().checked_sub(TRAILER_BYTES).ok_or_else(torn)?;
    let mut trailer = &tail[start..];
    let (footer_bytes, frames) = (trailer.get_u32() as usize, trailer.get_u32());
    let possible = (1..=FRAMES_MAX).contains(&(frames as usize));
    let consistent = possible && footer_bytes == frames as usize * ENTRY_BYTES;
    if trailer == TRAILER_MAGIC && consistent { Ok(frames) } else { Err(torn()) }
}

fn entries(block: BlockId, mut footer: &[u8]) -> Result<Vec<(FrameRef, Owner)>> {
    let mut entries = Vec::with_capacity(footer.len() / ENTRY_BYTES);
    let mut at = u64::from(HEADER_BYTES);
    for index in 0.. {
        if footer.is_empty() {
            break;
        }
        let start =
            u32::try_from(at).map_err(|_| corrupt(block, "a block is longer than 4 GiB"))?;
        let (stored, plain) = (footer.get_u32(), footer.get_u32());
        let codec = Codec::from_id(footer.get_u8())
            .map_err(|error| error.with("block", block).with("offset", start))?;
        let frame = FrameRef { at: start, stored, plain, codec, index };
        let owner = Owner {
            ino: Ino(footer.get_u64()),
            content: ContentId(footer.get_u64()),
            offset: footer.get_u64(),
            seq: WriteSeq(footer.get_u64()),
        };
        if !frame.is_sound() {
            return Err(corrupt(block, "a footer tells impossible lengths").with("offset", start));
        }
        at = frame.end();
        entries.push((frame, owner));
    }
    Ok(entries)
}

fn too_new(block: BlockId) -> Error {
    Error::new(Kind::Corrupt, "this release cannot read a block of this form")
        .with("block", block)
        .hint("read the volume with the release that wrote it, or a newer one")
}
