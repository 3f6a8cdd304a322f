//! The operations themselves: each opens one transaction, or looks without one. What happens in
//! them is in the files beside this one.

use std::sync::Arc;

use bytes::Bytes;

use super::Meta;
use super::dentry;
use super::dentry::Listed;
use super::inode;
use super::inode::NewNode;
use super::key;
use super::kv::Batch;
use super::orphan;
use super::orphan::Dropped;
use super::orphan::OpenFiles;
use super::rename;
use super::rename::RenameMode;
use super::value::Dentries;
use super::value::Inode;
use super::value::Superblock;
use super::value::flag;
use super::value::mode;
use super::xattr;
use super::xattr::Attached;
use super::xattr::SetXattr;
use crate::ambient::Ambient;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::types::ContentId;
use crate::types::Epoch;
use crate::types::FileName;
use crate::types::Ino;

/// What a new volume's metadata begins with: the root directory, and the superblock of epoch 1.
pub fn root_batch(ambient: &Ambient, uid: u32, gid: u32) -> Batch {
    let now = ambient.now();
    let root = Inode {
        mode: mode::DIRECTORY | 0o755,
        uid,
        gid,
        nlink: 2,
        rdev: 0,
        size: 0,
        atime: now,
        mtime: now,
        ctime: now,
        btime: now,
        flags: 0,
        content: ContentId(Ino::ROOT.0),
        cuts: Vec::new(),
    };
    let superblock = Superblock {
        epoch: Epoch(1),
        ino_limit: Ino::ROOT.0 + 1,
        content_limit: 1,
        seq_limit: 1,
        inodes: 1,
        bytes: 0,
    };
    vec![
        (key::inode(Ino::ROOT), Some(root.encode())),
        (key::superblock(), Some(superblock.encode())),
    ]
}

/// Looks without a transaction.
impl Meta {
    /// An inode.
    pub async fn inode(&self, ino: Ino) -> Result<Inode> {
        match self.store.get_among(&key::inode(ino), || key::inodes_beside(ino)).await? {
            Some(value) => Inode::decode(&value),
            None => Err(inode::missing(ino)),
        }
    }

    /// An inode, and what `look` sees at the same instant: it runs under the gate.
    pub async fn inode_with<T>(
        &self,
        ino: Ino,
        look: impl FnOnce(&Inode) -> T,
    ) -> Result<(Inode, T)> {
        let key = key::inode(ino);
        let seen = self.store.look(&key, |value| {
            let inode = Inode::decode(value.ok_or_else(|| inode::missing(ino))?)?;
            let seen = look(&inode);
            Ok((inode, seen))
        });
        seen.await?
    }

    /// What a name leads to.
    pub async fn lookup(&self, parent: Ino, name: &FileName) -> Result<(Ino, Inode)> {
        let place = dentry::Place::new(&self.names, parent, name);
        // Without facts, which cost more than the look: most names that are looked up are about to
        // be made, and the kernel hears no more than ENOENT.
        let missing = || Error::new(Kind::NotFound, "there is no such name");
        let mut seen = None;
        loop {
            let Some(group) = self.store.get_among(&place.key(), || place.end()).await? else {
                return Err(missing());
            };
            let entries = Dentries::decode(&group)?;
            let ino = dentry::find_in(&entries, name).ok_or_else(missing)?.ino;
            let beside = || key::inodes_beside(ino);
            if let Some(value) = self.store.get_among(&key::inode(ino), beside).await? {
                return Ok((ino, Inode::decode(&value)?));
            }
            // An inode goes in one transaction with its last name, maybe between the two looks.
            if seen.replace(group.clone()) == Some(group) {
                return Err(Error::new(Kind::Corrupt, "a name leads to no inode")
                    .with("directory", parent)
                    .with("inode", ino)
                    .hint("run `cairnfs fsck` on the volume"));
            }
        }
    }

    /// The target of a symbolic link.
    pub async fn readlink(&self, ino: Ino) -> Result<Bytes> {
        match self.store.get(&key::symlink(ino)).await? {
            Some(target) => Ok(target),
            None if self.inode(ino).await?.is(mode::SYMLINK) => Err(inode::missing(ino)),
            None => Err(Error::new(Kind::Invalid, "not a symbolic link").with("inode", ino)),
        }
    }

    /// Up to `limit` names of `dir` after `cookie` (0: from the start) in the cookies' order;
    /// empty at the end. `.` and `..` are not among them. A name that stays is listed once,
    /// whatever happens to others meanwhile.
    pub async fn readdir(&self, dir: Ino, cookie: u64, limit: usize) -> Result<Vec<Listed>> {
        dentry::list(&self.store, dir, cookie, limit).await
    }

    /// The value of an extended attribute.
    pub async fn xattr(&self, ino: Ino, name: &[u8]) -> Result<Bytes> {
        if self.inode(ino).await?.flags & flag::XATTRS == 0 {
            return Err(xattr::missing(ino));
        }
        self.store.get(&key::xattr(ino, name)).await?.ok_or_else(|| xattr::missing(ino))
    }

    /// The names of all extended attributes, each followed by NUL.
    pub async fn xattr_names(&self, ino: Ino) -> Result<Bytes> {
        if self.inode(ino).await?.flags & flag::XATTRS == 0 {
            return Ok(Bytes::new());
        }
        xattr::names(&self.store, ino).await
    }

    /// Inodes without a name that were open when their session ended, or are open now.
    pub async fn orphans(&self) -> Result<Vec<Ino>> {
        orphan::orphans(&self.store).await
    }
}

/// Changes: each one transaction.
impl Meta {
    /// Makes an inode under a name. `shape` sees the directory and the value of its default ACL,
    /// and says what to make; it may be asked more than once.
    pub async fn make(
        &self,
        parent: Ino,
        name: &FileName,
        shape: impl Fn(&Inode, Option<Bytes>) -> Result<NewNode> + Send + Sync,
    ) -> Result<(Ino, Inode)> {
        transact!(self.store, |txn| dentry::make(self, txn, (parent, name), &shape).await)
    }

    /// Gives an inode another name.
    pub async fn link(&self, ino: Ino, parent: Ino, name: &FileName) -> Result<Inode> {
        transact!(self.store, |txn| dentry::link(self, txn, ino, (parent, name)).await)
    }

    /// Removes a name of something that is no directory.
    pub async fn unlink(
        &self,
        parent: Ino,
        name: &FileName,
        open: &Arc<dyn OpenFiles>,
    ) -> Result<Dropped> {
        transact!(self.store, |txn| dentry::unlink(self, txn, (parent, name), open).await)
    }

    /// Removes an empty directory.
    pub async fn rmdir(
        &self,
        parent: Ino,
        name: &FileName,
        open: &Arc<dyn OpenFiles>,
    ) -> Result<Dropped> {
        transact!(self.store, |txn| dentry::rmdir(self, txn, (parent, name), open).await)
    }

    /// Moves a name, as (directory, name); answers with what it replaced.
    pub async fn rename(
        &self,
        from: (Ino, &FileName),
        to: (Ino, &FileName),
        mode: RenameMode,
        open: &Arc<dyn OpenFiles>,
    ) -> Result<Option<Dropped>> {
        transact!(self.store, |txn| rename::rename(self, txn, from, to, mode, open).await)
    }

    /// Removes an orphan after its last close. Does nothing if it is none, or open again.
    pub async fn reap(&self, ino: Ino, open: &Arc<dyn OpenFiles>) -> Result<()> {
        transact!(self.store, |txn| orphan::reap(txn, ino, open).await)
    }

    /// Changes an inode and the attributes that go with its mode; `change` sets the times too. It
    /// may be asked more than once.
    pub async fn alter(
        &self,
        ino: Ino,
        change: impl Fn(&mut Inode, &mut Attached) -> Result<()> + Send + Sync,
    ) -> Result<Inode> {
        transact!(self.store, |txn| xattr::alter(txn, ino, &change).await)
    }

    /// Sets an extended attribute.
    pub async fn set_xattr(
        &self,
        ino: Ino,
        name: &[u8],
        value: &Bytes,
        how: SetXattr,
    ) -> Result<()> {
        let now = self.ambient.now();
        transact!(self.store, |txn| xattr::set(txn, ino, (name, value.clone()), how, now).await)
    }

    /// Removes an extended attribute.
    pub async fn remove_xattr(&self, ino: Ino, name: &[u8]) -> Result<()> {
        let now = self.ambient.now();
        transact!(self.store, |txn| xattr::remove(txn, ino, name, now).await)
    }
}
