//! Keys of the metadata store. Numbers are big-endian, so the store's order is the numeric order.
//!
//! | key                      | value                                                      |
//! |--------------------------|------------------------------------------------------------|
//! | `s`                      | superblock: counters, usage, epoch number                  |
//! | `i` ino(8)               | inode                                                      |
//! | `d` parent(8) hash(7)    | the dentries of a directory whose names have this hash     |
//! | `e` content(8) chunk(8)  | the extents of one MiB of a content                        |
//! | `b` block(16)            | block: birth epoch, lengths, live bytes                    |
//! | `x` ino(8) name          | extended attribute                                         |
//! | `l` ino(8)               | symbolic link's target                                     |
//! | `o` ino(8)               | orphan: unlinked, still open                               |
//! | `g` content(8)           | garbage: a content whose extents are still to be deleted   |
//! | `r` epoch(8) block(16)   | reclaim: a block without live bytes, deleted after epoch   |
//!
//! Does not know what the values hold.

use std::ops::Range;

use bytes::Bytes;

use crate::types::BlockId;
use crate::types::ContentId;
use crate::types::Epoch;
use crate::types::Ino;

/// Bits of the hash of a name: with a 7-bit index they fit a readdir cookie in `off_t`.
pub const NAME_HASH_BITS: u32 = 56;

/// File bytes whose extents share one key. Extents never cross a multiple of it.
pub const CHUNK_BYTES: u64 = 1 << 20;

/// The superblock's key.
pub fn superblock() -> Bytes {
    Bytes::from_static(b"s")
}

/// An inode's key.
pub fn inode(ino: Ino) -> Bytes {
    key(b'i', &[&ino.0.to_be_bytes()])
}

/// Where the inodes end that were made about when this one was: 256 numbers side by side.
pub fn inodes_beside(ino: Ino) -> Bytes {
    inode(Ino((ino.0 | 0xff).saturating_add(1)))
}

/// All inodes.
pub fn inodes() -> Range<Bytes> {
    below(b"i")
}

/// The inode that an inode's key names, an orphan's, a symbolic link's or an attribute's.
pub fn ino_of(key: &[u8]) -> Option<Ino> {
    Some(Ino(number(key, 1)?))
}

/// The key of the dentries of `parent` whose names have `hash` (56 bits).
pub fn dentry(parent: Ino, hash: u64) -> Bytes {
    key(b'd', &[&parent.0.to_be_bytes(), &hash.to_be_bytes()[1..]])
}

/// The dentries of `parent` from `hash` on.
pub fn dentries_from(parent: Ino, hash: u64) -> Range<Bytes> {
    dentry(parent, hash)..key(b'd', &[&(parent.0 + 1).to_be_bytes()])
}

/// All dentries.
pub fn dentries() -> Range<Bytes> {
    below(b"d")
}

/// The directory and the hash that a dentry's key names.
pub fn dentry_of(key: &[u8]) -> Option<(Ino, u64)> {
    let mut wide = [0; 8];
    wide[1..].copy_from_slice(key.get(9..16)?);
    Some((Ino(number(key, 1)?), u64::from_be_bytes(wide)))
}

/// The extents of the `chunk`-th MiB of `content`.
pub fn chunk(content: ContentId, chunk: u64) -> Bytes {
    key(b'e', &[&content.0.to_be_bytes(), &chunk.to_be_bytes()])
}

/// The extents of `content` from the `chunk`-th MiB on.
pub fn chunks_from(content: ContentId, chunk_index: u64) -> Range<Bytes> {
    chunk(content, chunk_index)..key(b'e', &[&(content.0 + 1).to_be_bytes()])
}

/// All extents.
pub fn chunks() -> Range<Bytes> {
    below(b"e")
}

/// The content and the chunk that an extent key names.
pub fn chunk_of(key: &[u8]) -> Option<(ContentId, u64)> {
    Some((ContentId(number(key, 1)?), number(key, 9)?))
}

/// A block's key.
pub fn block(id: BlockId) -> Bytes {
    key(b'b', &[&id.0])
}

/// All blocks.
pub fn blocks() -> Range<Bytes> {
    below(b"b")
}

/// The block that a block's key names.
pub fn block_of(key: &[u8]) -> Option<BlockId> {
    Some(BlockId(key.get(1..17)?.try_into().ok()?))
}

/// An extended attribute's key.
pub fn xattr(ino: Ino, name: &[u8]) -> Bytes {
    key(b'x', &[&ino.0.to_be_bytes(), name])
}

/// All extended attributes of `ino`.
pub fn xattrs(ino: Ino) -> Range<Bytes> {
    xattr(ino, b"")..key(b'x', &[&(ino.0 + 1).to_be_bytes()])
}

/// All extended attributes of all inodes.
pub fn xattrs_all() -> Range<Bytes> {
    below(b"x")
}

/// The name of the attribute that an attribute's key names.
pub fn xattr_name(key: &[u8]) -> &[u8] {
    key.get(9..).unwrap_or_default()
}

/// A symbolic link's target.
pub fn symlink(ino: Ino) -> Bytes {
    key(b'l', &[&ino.0.to_be_bytes()])
}

/// All symbolic links' targets.
pub fn symlinks() -> Range<Bytes> {
    below(b"l")
}

/// An orphan's key.
pub fn orphan(ino: Ino) -> Bytes {
    key(b'o', &[&ino.0.to_be_bytes()])
}

/// All orphans.
pub fn orphans() -> Range<Bytes> {
    below(b"o")
}

/// The key of a content whose extents are still to be deleted.
pub fn garbage(content: ContentId) -> Bytes {
    key(b'g', &[&content.0.to_be_bytes()])
}

/// All garbage.
pub fn garbage_all() -> Range<Bytes> {
    below(b"g")
}

/// The content that a garbage key names.
pub fn garbage_of(key: &[u8]) -> Option<ContentId> {
    Some(ContentId(number(key, 1)?))
}

/// The key of a block that may be deleted once `death` is durable.
pub fn reclaim(death: Epoch, block: BlockId) -> Bytes {
    key(b'r', &[&death.0.to_be_bytes(), &block.0])
}

/// All blocks to reclaim.
pub fn reclaims() -> Range<Bytes> {
    below(b"r")
}

/// The epoch and the block that a reclaim key names.
pub fn reclaim_of(key: &[u8]) -> Option<(Epoch, BlockId)> {
    Some((Epoch(number(key, 1)?), BlockId(key.get(9..25)?.try_into().ok()?)))
}

/// Whether only a session that gives out inode numbers from `ino` on, and content ids from
/// `content` on, can have made the key: a name in its own directory, an extent of its content.
pub fn is_of_session(key: &[u8], ino: Ino, content: ContentId) -> bool {
    match key.first() {
        Some(b'd') => number(key, 1).is_some_and(|parent| parent >= ino.0),
        Some(b'e') => number(key, 1).is_some_and(|own| own >= content.0),
        _ => false,
    }
}

/// The smallest key after `key`: where a scan goes on.
pub fn after(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next.into()
}

fn key(tag: u8, parts: &[&[u8]]) -> Bytes {
    let mut bytes = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    bytes.push(tag);
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes.into()
}

fn below(tag: &'static [u8; 1]) -> Range<Bytes> {
    Bytes::from_static(tag)..Bytes::copy_from_slice(&[tag[0] + 1])
}

fn number(key: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_what_they_were_made_of() {
        let hash = (1 << NAME_HASH_BITS) - 2;
        assert_eq!(dentry_of(&dentry(Ino(9), hash)), Some((Ino(9), hash)));
        assert_eq!(chunk_of(&chunk(ContentId(7), 3)), Some((ContentId(7), 3)));
        let id = BlockId([8; 16]);
        assert_eq!(reclaim_of(&reclaim(Epoch(2), id)), Some((Epoch(2), id)));
        assert_eq!(block_of(&block(id)), Some(id));
        assert_eq!(xattr_name(&xattr(Ino(1), b"user.a")), b"user.a");
        assert_eq!(chunk_of(b"e12"), None);
    }

    #[test]
    fn names_and_extents_tell_whether_a_session_made_them() {
        let of_session = |key: Bytes| is_of_session(&key, Ino(5), ContentId(9));
        assert!(of_session(dentry(Ino(5), 0)) && of_session(chunk(ContentId(9), 0)));
        assert!(!of_session(dentry(Ino(4), u64::MAX >> 8)) && !of_session(chunk(ContentId(8), 1)));
        assert!(!of_session(inode(Ino(9))) && !of_session(superblock()));
    }

    #[test]
    fn ranges_hold_their_keys_and_no_neighbours() {
        assert!(dentries_from(Ino(5), 0).contains(&dentry(Ino(5), (1 << 56) - 1)));
        assert!(!dentries_from(Ino(5), 0).contains(&dentry(Ino(6), 0)));
        assert!(xattrs(Ino(5)).contains(&xattr(Ino(5), &[0xff; 255])));
        assert!(chunks_from(ContentId(5), 2).contains(&chunk(ContentId(5), u64::MAX)));
        assert!(!chunks_from(ContentId(5), 2).contains(&chunk(ContentId(5), 1)));
    }
}
