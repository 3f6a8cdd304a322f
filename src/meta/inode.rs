//! Inodes inside a transaction. Knows no name.

use bytes::Bytes;

use super::Meta;
use super::key;
use super::kv::Txn;
use super::kv::UsageChange;
use super::value::Inode;
use super::value::flag;
use super::value::mode;
use super::xattr;
use crate::ambient::Timestamp;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::types::ContentId;
use crate::types::Ino;

/// More links than this fit no `st_nlink` that programs keep in 32 bits with a sign.
pub(super) const LINKS_MAX: u32 = u32::MAX / 2;

/// What a new inode is made of. The caller has settled inheritance: group, mode, ACLs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNode {
    /// Type and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node.
    pub rdev: u32,
    /// The target of a symbolic link; empty for anything else.
    pub target: Bytes,
    /// Extended attributes it is born with.
    pub xattrs: Vec<(Bytes, Bytes)>,
}

/// The inode, which must exist.
pub(super) async fn get(txn: &mut Txn, ino: Ino) -> Result<Inode> {
    match txn.get(&key::inode(ino)).await? {
        Some(value) => Inode::decode(&value),
        None => Err(missing(ino)),
    }
}

/// The inode of a directory that names may be put into.
pub(super) async fn directory(txn: &mut Txn, ino: Ino) -> Result<Inode> {
    let inode = get(txn, ino).await?;
    if !inode.is(mode::DIRECTORY) {
        return Err(Error::new(Kind::NotDirectory, "not a directory").with("inode", ino));
    }
    if inode.nlink == 0 {
        return Err(Error::new(Kind::NotFound, "the directory is removed").with("inode", ino));
    }
    Ok(inode)
}

/// Stores an inode.
pub(super) fn put(txn: &mut Txn, ino: Ino, inode: &Inode) {
    txn.put(key::inode(ino), inode.encode());
}

/// Makes an inode with one link (a directory: two) that no name leads to yet.
pub(super) fn create(
    meta: &Meta,
    txn: &mut Txn,
    parent: Ino,
    new: NewNode,
    now: Timestamp,
) -> (Ino, Inode) {
    let ino = meta.ids.ino();
    let kind = new.mode & mode::TYPE;
    let inode = Inode {
        mode: new.mode,
        uid: new.uid,
        gid: new.gid,
        nlink: if kind == mode::DIRECTORY { 2 } else { 1 },
        rdev: new.rdev,
        size: new.target.len() as u64,
        atime: now,
        mtime: now,
        ctime: now,
        btime: now,
        flags: if new.xattrs.is_empty() { 0 } else { flag::XATTRS },
        content: match kind {
            mode::DIRECTORY => ContentId(parent.0),
            mode::REGULAR => meta.ids.content(),
            _ => ContentId(0),
        },
        cuts: Vec::new(),
    };
    txn.put_new(key::inode(ino), inode.encode());
    if kind == mode::SYMLINK {
        txn.put_new(key::symlink(ino), new.target);
    }
    for (name, value) in new.xattrs {
        txn.put_new(key::xattr(ino, &name), value);
    }
    txn.use_more(UsageChange { inodes: 1, bytes: 0 });
    (ino, inode)
}

/// Deletes an inode and what only it refers to, its bytes excepted.
pub(super) async fn erase(txn: &mut Txn, ino: Ino, inode: &Inode) -> Result<()> {
    txn.delete(key::inode(ino));
    if inode.is(mode::SYMLINK) {
        txn.delete(key::symlink(ino));
    }
    if inode.flags & flag::XATTRS != 0 {
        xattr::erase_all(txn, ino).await?;
    }
    txn.use_more(UsageChange { inodes: -1, bytes: 0 });
    Ok(())
}

/// The error for an inode number that leads nowhere.
pub(super) fn missing(ino: Ino) -> Error {
    Error::new(Kind::NotFound, "there is no such inode").with("inode", ino)
}

/// The inode of a directory without entries.
pub(super) async fn empty_directory(txn: &mut Txn, ino: Ino) -> Result<Inode> {
    let inode = directory(txn, ino).await?;
    if inode.size > 0 {
        return Err(Error::new(Kind::NotEmpty, "the directory has entries").with("inode", ino));
    }
    Ok(inode)
}
