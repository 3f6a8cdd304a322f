//! Names: lookup, make, link, remove, rename. Knows no byte of a file.

use bytes::Bytes;

use super::Vfs;
use super::access;
use super::types::Attr;
use super::types::Caller;
use super::types::FileKind;
use super::types::NewInode;
use super::types::RenameMode;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::meta::NewNode;
use crate::meta::value::Inode;
use crate::meta::value::mode;
use crate::types::FileName;
use crate::types::Ino;

/// The longest target of a symbolic link in bytes: PATH_MAX without its NUL.
const TARGET_BYTES_MAX: usize = 4_095;

impl Vfs {
    /// lookup. `Kind::NotFound` may be cached by the kernel.
    pub async fn lookup(&self, parent: Ino, name: FileName) -> Result<Attr> {
        let (ino, inode) = self.meta.lookup(parent, &name).await?;
        self.attr(ino, &inode).await
    }

    /// The parent of a directory, for LOOKUP of `..` (NFS export).
    pub async fn parent(&self, dir: Ino) -> Result<Attr> {
        let inode = self.directory(dir).await?;
        self.getattr(inode.parent()).await
    }

    /// readlink.
    pub async fn readlink(&self, ino: Ino) -> Result<Bytes> {
        self.meta.readlink(ino).await
    }

    /// mknod and mkdir, by `new.kind`.
    pub async fn make(
        &self,
        caller: Caller,
        parent: Ino,
        name: FileName,
        new: NewInode,
    ) -> Result<Attr> {
        if new.kind == FileKind::Symlink {
            return Err(Error::new(Kind::Invalid, "a symbolic link needs a target"));
        }
        let shape = |dir: &Inode, acl: Option<Bytes>| access::child(dir, acl, caller, &new);
        let (ino, inode) = self.meta.make(parent, &name, shape).await?;
        self.attr(ino, &inode).await
    }

    /// symlink.
    pub async fn symlink(
        &self,
        caller: Caller,
        parent: Ino,
        name: FileName,
        target: Bytes,
    ) -> Result<Attr> {
        match target.len() {
            0 => return Err(Error::new(Kind::NotFound, "a symbolic link's target is empty")),
            1..=TARGET_BYTES_MAX => {}
            _ => {
                return Err(Error::new(Kind::NameTooLong, "a target is longer than 4095 bytes"));
            }
        }
        let kind = FileKind::Symlink;
        let new = NewInode { kind, permissions: 0o777, umask: 0, rdev: 0 };
        let shape = |dir: &Inode, acl: Option<Bytes>| {
            let target = target.clone();
            access::child(dir, acl, caller, &new).map(|node| NewNode { target, ..node })
        };
        let (ino, inode) = self.meta.make(parent, &name, shape).await?;
        self.attr(ino, &inode).await
    }

    /// link.
    pub async fn link(&self, ino: Ino, parent: Ino, name: FileName) -> Result<Attr> {
        let inode = self.meta.link(ino, parent, &name).await?;
        self.attr(ino, &inode).await
    }

    /// unlink.
    pub async fn unlink(&self, parent: Ino, name: FileName) -> Result<()> {
        self.meta.unlink(parent, &name, &self.open_files).await.map(|_| ())
    }

    /// rmdir.
    pub async fn rmdir(&self, parent: Ino, name: FileName) -> Result<()> {
        self.meta.rmdir(parent, &name, &self.open_files).await.map(|_| ())
    }

    /// rename.
    pub async fn rename(
        &self,
        from: Ino,
        name: FileName,
        to: Ino,
        new_name: FileName,
        mode: RenameMode,
    ) -> Result<()> {
        let (from, to) = ((from, &name), (to, &new_name));
        self.meta.rename(from, to, mode, &self.open_files).await.map(|_| ())
    }

    /// The inode of a directory.
    pub(super) async fn directory(&self, ino: Ino) -> Result<Inode> {
        let inode = self.meta.inode(ino).await?;
        match inode.is(mode::DIRECTORY) {
            true => Ok(inode),
            false => Err(Error::new(Kind::NotDirectory, "not a directory").with("inode", ino)),
        }
    }
}
