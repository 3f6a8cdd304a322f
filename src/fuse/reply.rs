//! What the kernel is told when an operation succeeds, and for how long it may believe it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use fuser::Errno;
use fuser::FileAttr;
use fuser::FileHandle;
use fuser::FopenFlags;
use fuser::Generation;
use fuser::INodeNo;
use fuser::ReplyAttr;
use fuser::ReplyCreate;
use fuser::ReplyDirectory;
use fuser::ReplyDirectoryPlus;
use fuser::ReplyEmpty;
use fuser::ReplyEntry;
use fuser::ReplyLseek;
use fuser::ReplyOpen;
use fuser::ReplyStatfs;
use fuser::ReplyXattr;

use super::convert::bare_attr;
use super::convert::file_attr;
use super::convert::file_type;
use super::kernel::Trust;
use crate::types::FileName;
use crate::types::Ino;
use crate::vfs::Attr;
use crate::vfs::DirEntry;
use crate::vfs::FileKind;
use crate::vfs::Opened;
use crate::vfs::StatFs;

/// Inode numbers are never reused, so NFS handles need no generations.
const GENERATION: Generation = Generation(0);

/// The block that statfs(2) counts in, in bytes.
const STATFS_BLOCK_BYTES: u32 = 4096;

/// The size that statfs(2) tells, since a bucket has none: 1 PiB, in blocks.
const STATFS_BLOCKS: u64 = (1 << 50) / 4096;

/// The inodes that statfs(2) tells.
const STATFS_INODES: u64 = 1 << 40;

/// Success without a value.
pub(super) fn empty(reply: ReplyEmpty, (): ()) {
    reply.ok();
}

/// An inode's attributes.
pub(super) fn attr(trust: Trust) -> impl FnOnce(ReplyAttr, Attr) + Send + 'static {
    move |reply, attr| reply.attr(&trust.ttl(), &file_attr(&attr))
}

/// A name that now exists.
pub(super) fn entry(trust: Trust) -> impl FnOnce(ReplyEntry, Attr) + Send + 'static {
    move |reply, attr| reply.entry(&trust.ttl(), &file_attr(&attr), GENERATION)
}

/// A name that was looked for. Node 0 says that there is none, and that the kernel may keep that.
pub(super) fn found(trust: Trust) -> impl FnOnce(ReplyEntry, Option<Attr>) + Send + 'static {
    move |reply, attr| match attr {
        Some(attr) => entry(trust)(reply, attr),
        None => {
            reply.entry(&trust.ttl(), &bare_attr(Ino(0), FileKind::Regular), GENERATION);
        }
    }
}

/// An open file.
pub(super) fn opened(reply: ReplyOpen, opened: Opened) {
    reply.opened(FileHandle(opened.handle), file_flags(opened));
}

/// An open directory, whose entries the kernel may cache if it may keep them.
pub(super) fn opened_dir(reply: ReplyOpen, opened: Opened) {
    let flags = match opened.keep_cache {
        true => FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR,
        false => FopenFlags::empty(),
    };
    reply.opened(FileHandle(opened.handle), flags);
}

/// A new file, open.
pub(super) fn created(trust: Trust) -> impl FnOnce(ReplyCreate, (Attr, Opened)) + Send + 'static {
    move |reply, (attr, opened)| {
        let handle = FileHandle(opened.handle);
        reply.created(&trust.ttl(), &file_attr(&attr), GENERATION, handle, file_flags(opened));
    }
}

fn file_flags(opened: Opened) -> FopenFlags {
    kept(opened) | FopenFlags::FOPEN_NOFLUSH
}

fn kept(opened: Opened) -> FopenFlags {
    if opened.keep_cache { FopenFlags::FOPEN_KEEP_CACHE } else { FopenFlags::empty() }
}

/// A value, or its length for who asks with no room.
pub(super) fn xattr(reply: ReplyXattr, size: u32, value: &[u8]) {
    match u32::try_from(value.len()) {
        Ok(length) if size == 0 => reply.size(length),
        Ok(length) if length <= size => reply.data(value),
        Ok(_) | Err(_) => reply.error(Errno::ERANGE),
    }
}

/// The offset that lseek found, or ENXIO.
pub(super) fn sought(reply: ReplyLseek, offset: Option<u64>) {
    match offset.and_then(|offset| i64::try_from(offset).ok()) {
        Some(offset) => reply.offset(offset),
        None => reply.error(Errno::ENXIO),
    }
}

/// What is used, of a size that is never reached.
pub(super) fn statfs(reply: ReplyStatfs, used: StatFs) {
    let blocks_used = used.used_bytes.div_ceil(STATFS_BLOCK_BYTES.into());
    let blocks_free = STATFS_BLOCKS.saturating_sub(blocks_used);
    reply.statfs(
        blocks_free.saturating_add(blocks_used),
        blocks_free,
        blocks_free,
        STATFS_INODES.max(used.used_inodes),
        STATFS_INODES.saturating_sub(used.used_inodes),
        STATFS_BLOCK_BYTES,
        u32::try_from(FileName::BYTES_MAX).expect("it is 255"),
        STATFS_BLOCK_BYTES,
    );
}

/// As many entries as the kernel has room for; their number.
pub(super) fn names(mut reply: ReplyDirectory, entries: &[DirEntry]) -> usize {
    let fitting = entries.iter().take_while(|entry| {
        let (ino, kind) = (INodeNo(entry.ino.0), file_type(entry.kind));
        !reply.add(ino, entry.cookie, kind, OsStr::from_bytes(&entry.name))
    });
    let count = fitting.count();
    reply.ok();
    count
}

/// As many entries with attributes as the kernel has room for; their number.
pub(super) fn attributes(
    mut reply: ReplyDirectoryPlus,
    trust: Trust,
    entries: &[DirEntry],
) -> usize {
    let fitting = entries.iter().take_while(|entry| {
        let (ino, name) = (INodeNo(entry.ino.0), OsStr::from_bytes(&entry.name));
        !reply.add(ino, entry.cookie, name, &trust.ttl(), &listed_attr(entry), GENERATION)
    });
    let count = fitting.count();
    reply.ok();
    count
}

/// The kernel makes an inode of each entry but `.`, `..` and those with node 0. So an entry that
/// came without attributes is a bare name: attributes invented for it would be believed.
fn listed_attr(entry: &DirEntry) -> FileAttr {
    match &entry.attr {
        Some(attr) => file_attr(attr),
        None if matches!(&entry.name[..], b"." | b"..") => bare_attr(entry.ino, entry.kind),
        None => bare_attr(Ino(0), entry.kind),
    }
}

/// How many entries to ask for. fuser does not tell how much room the kernel has, so it is learnt
/// from what fitted last: asking for too many costs work, for too few another request.
pub(super) struct Fit(AtomicUsize);

impl Fit {
    const MIN: usize = 64;
    const MAX: usize = 8192;

    /// For listings of names: about 40 bytes each, in the 32 to 128 KiB that programs offer.
    pub(super) fn of_names() -> Self {
        Self(AtomicUsize::new(1024))
    }

    /// For listings with attributes: about 170 bytes each.
    pub(super) fn of_attributes() -> Self {
        Self(AtomicUsize::new(256))
    }

    /// How many entries to ask for now.
    pub(super) fn limit(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Learns that `limit` entries were asked for, `got` came and `fitted` had room.
    pub(super) fn learn(&self, limit: usize, got: usize, fitted: usize) {
        let next = match (got == limit, fitted == got) {
            (_, false) => fitted + fitted / 16 + 1,
            (true, true) => limit * 2,
            (false, true) => return,
        };
        self.0.store(next.clamp(Self::MIN, Self::MAX), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_a_listing_follows_the_kernels_room() {
        let fit = Fit::of_attributes();
        fit.learn(256, 256, 256);
        assert_eq!(fit.limit(), 512, "all fitted: there may be room for more");
        fit.learn(512, 512, 370);
        assert_eq!(fit.limit(), 394, "a little more than fitted");
        fit.learn(394, 12, 12);
        assert_eq!(fit.limit(), 394, "the end of a directory teaches nothing");
        fit.learn(394, 394, 3);
        assert_eq!(fit.limit(), Fit::MIN);
    }

    #[test]
    fn an_entry_without_attributes_is_a_bare_name_unless_it_is_a_dot() {
        let entry = |name: &'static [u8]| DirEntry {
            ino: Ino(9),
            cookie: 1,
            kind: FileKind::Directory,
            name: name.into(),
            attr: None,
        };
        assert_eq!(listed_attr(&entry(b"..")).ino, INodeNo(9));
        assert_eq!(listed_attr(&entry(b"..a")).ino, INodeNo(0));
    }
}
