//! Attributes: what stat(2) tells, and chmod, chown, utimensat. Knows no name.

use super::Vfs;
use super::access;
use super::types::Attr;
use super::types::Caller;
use super::types::FileKind;
use super::types::SetAttr;
use super::types::SetTime;
use super::types::StatFs;
use crate::ambient::Timestamp;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::meta::Attached;
use crate::meta::value::Inode;
use crate::meta::value::flag;
use crate::meta::value::mode;
use crate::types::Ino;

/// The unit of `st_blocks`, whatever the file system's own (stat(2)).
const BLOCK_BYTES: u64 = 512;

impl Vfs {
    /// getattr.
    pub async fn getattr(&self, ino: Ino) -> Result<Attr> {
        let inode = self.meta.inode(ino).await?;
        self.attr(ino, &inode).await
    }

    /// setattr: chmod, chown, truncate, utimens.
    pub async fn setattr(&self, caller: Caller, ino: Ino, set: SetAttr) -> Result<Attr> {
        if let Some(size) = set.size {
            self.resize(caller, ino, size).await?;
        }
        let rest = SetAttr { size: None, ..set };
        if rest == SetAttr::default() {
            return self.getattr(ino).await;
        }
        let now = self.meta.ambient.now();
        let change =
            |inode: &mut Inode, attached: &mut Attached| apply(&rest, inode, attached, now);
        let inode = self.meta.alter(ino, change).await?;
        self.attr(ino, &inode).await
    }

    /// statfs.
    pub fn statfs(&self) -> StatFs {
        let usage = self.meta.store().usage();
        StatFs { used_bytes: usage.bytes, used_inodes: usage.inodes }
    }

    /// What stat(2) tells of an inode.
    pub(super) async fn attr(&self, ino: Ino, inode: &Inode) -> Result<Attr> {
        let allocated = match inode.mode & mode::TYPE {
            mode::REGULAR if inode.flags & flag::SPARSE != 0 => self.allocated(inode).await?,
            mode::REGULAR => inode.size,
            _ => 0,
        };
        Ok(Attr {
            ino,
            kind: file_kind(inode.mode)?,
            permissions: permissions(inode.mode),
            nlink: inode.nlink,
            uid: inode.uid,
            gid: inode.gid,
            rdev: inode.rdev,
            size: inode.size,
            blocks: allocated.div_ceil(BLOCK_BYTES),
            atime: inode.atime,
            mtime: inode.mtime,
            ctime: inode.ctime,
            btime: inode.btime,
        })
    }
}

/// The type that a mode's bits tell.
pub(super) fn file_kind(mode: u32) -> Result<FileKind> {
    Ok(match mode & mode::TYPE {
        mode::REGULAR => FileKind::Regular,
        mode::DIRECTORY => FileKind::Directory,
        mode::SYMLINK => FileKind::Symlink,
        mode::FIFO => FileKind::Fifo,
        mode::SOCKET => FileKind::Socket,
        mode::CHAR_DEVICE => FileKind::CharDevice,
        mode::BLOCK_DEVICE => FileKind::BlockDevice,
        unknown => {
            return Err(Error::new(Kind::Corrupt, "an inode has no known type")
                .with("type", format!("{unknown:#o}"))
                .hint("run `cairnfs fsck` on the volume"));
        }
    })
}

fn permissions(mode: u32) -> u16 {
    u16::try_from(mode & !mode::TYPE & 0o7777).expect("twelve bits")
}

fn apply(set: &SetAttr, inode: &mut Inode, attached: &mut Attached, now: Timestamp) -> Result<()> {
    if set.uid.is_some() || set.gid.is_some() {
        access::set_owner(inode, attached, set.uid, set.gid);
    }
    if let Some(permissions) = set.permissions {
        access::set_permissions(inode, attached, permissions)?;
    }
    let time = |set: SetTime| match set {
        SetTime::Now => now,
        SetTime::At(time) => time,
    };
    inode.atime = set.atime.map_or(inode.atime, time);
    inode.mtime = set.mtime.map_or(inode.mtime, time);
    inode.ctime = now;
    Ok(())
}
