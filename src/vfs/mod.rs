//! POSIX meaning: every operation's signature, in our own types. (skeleton)
//!
//! Every method is cheap to poll once: what memory can answer is ready at the first poll, and only
//! what needs the store is pending. Futures are `Send` and own their arguments through
//! `Arc<Vfs>`. Permissions are the kernel's work (`default_permissions`).

mod types;

pub use types::*;

use std::sync::Arc;

use bytes::Bytes;

use crate::error::Result;
use crate::types::FileName;
use crate::types::Ino;
use crate::volume::Volume;

/// A mounted volume's file system.
pub struct Vfs {
    _volume: Arc<Volume>,
}

impl Vfs {
    /// The file system of an open volume.
    pub fn new(_volume: Arc<Volume>) -> Arc<Self> { todo!() }
    /// Whether writes are refused (mount option; the kernel refuses them too).
    pub fn read_only(&self) -> bool { todo!() }
    /// lookup. `Kind::NotFound` may be cached by the kernel.
    pub async fn lookup(&self, _parent: Ino, _name: FileName) -> Result<Attr> { todo!() }
    /// The parent of a directory, for LOOKUP of `..` (NFS export).
    pub async fn parent(&self, _dir: Ino) -> Result<Attr> { todo!() }
    /// getattr.
    pub async fn getattr(&self, _ino: Ino) -> Result<Attr> { todo!() }
    /// setattr: chmod, chown, truncate, utimens.
    pub async fn setattr(&self, _caller: Caller, _ino: Ino, _set: SetAttr) -> Result<Attr> { todo!() }
    /// readlink.
    pub async fn readlink(&self, _ino: Ino) -> Result<Bytes> { todo!() }
    /// mknod and mkdir, by `new.kind`.
    pub async fn make(&self, _caller: Caller, _parent: Ino, _name: FileName, _new: NewInode) -> Result<Attr> { todo!() }
    /// symlink.
    pub async fn symlink(&self, _caller: Caller, _parent: Ino, _name: FileName, _target: Bytes) -> Result<Attr> { todo!() }
    /// link.
    pub async fn link(&self, _ino: Ino, _parent: Ino, _name: FileName) -> Result<Attr> { todo!() }
    /// unlink.
    pub async fn unlink(&self, _parent: Ino, _name: FileName) -> Result<()> { todo!() }
    /// rmdir.
    pub async fn rmdir(&self, _parent: Ino, _name: FileName) -> Result<()> { todo!() }
    /// rename.
    pub async fn rename(&self, _from: Ino, _name: FileName, _to: Ino, _new_name: FileName, _mode: RenameMode) -> Result<()> { todo!() }
    /// open.
    pub async fn open(&self, _ino: Ino, _flags: OpenFlags) -> Result<Opened> { todo!() }
    /// create and open (mknod of a regular file and open in one).
    pub async fn create(&self, _caller: Caller, _parent: Ino, _name: FileName, _new: NewInode, _flags: OpenFlags) -> Result<(Attr, Opened)> { todo!() }
    /// read: fewer bytes than asked only at the end of the file.
    pub async fn read(&self, _ino: Ino, _handle: u64, _offset: u64, _size: u32) -> Result<Bytes> { todo!() }
    /// write: all of it or an error.
    pub async fn write(&self, _ino: Ino, _handle: u64, _offset: u64, _data: Bytes, _flags: WriteFlags) -> Result<()> { todo!() }
    /// fsync and fdatasync.
    pub async fn fsync(&self, _ino: Ino) -> Result<()> { todo!() }
    /// release: the last close of an open file.
    pub async fn release(&self, _ino: Ino, _handle: u64) { todo!() }
    /// opendir.
    pub async fn opendir(&self, _ino: Ino) -> Result<Opened> { todo!() }
    /// readdir: up to `limit` entries after `cookie` (0: from the start, `.` and `..` first),
    /// with attributes when `plus`. Empty at the end.
    pub async fn readdir(&self, _ino: Ino, _handle: u64, _cookie: u64, _limit: usize, _plus: bool) -> Result<Vec<DirEntry>> { todo!() }
    /// releasedir.
    pub async fn releasedir(&self, _ino: Ino, _handle: u64) { todo!() }
    /// Everything durable: fsyncdir, `cairnfs sync`, unmount.
    pub async fn sync(&self) -> Result<()> { todo!() }
    /// statfs.
    pub fn statfs(&self) -> StatFs { todo!() }
    /// setxattr.
    pub async fn setxattr(&self, _caller: Caller, _ino: Ino, _name: Bytes, _value: Bytes, _mode: SetXattr) -> Result<()> { todo!() }
    /// getxattr.
    pub async fn getxattr(&self, _ino: Ino, _name: Bytes) -> Result<Bytes> { todo!() }
    /// listxattr: names, each followed by NUL.
    pub async fn listxattr(&self, _ino: Ino) -> Result<Bytes> { todo!() }
    /// removexattr.
    pub async fn removexattr(&self, _caller: Caller, _ino: Ino, _name: Bytes) -> Result<()> { todo!() }
    /// fallocate.
    pub async fn fallocate(&self, _ino: Ino, _offset: u64, _length: u64, _mode: Allocate) -> Result<()> { todo!() }
    /// lseek: `Kind::NoData`-like ENXIO is `Kind::Range` here.
    pub async fn lseek(&self, _ino: Ino, _offset: u64, _seek: Seek) -> Result<u64> { todo!() }
    /// The inodes whose pages the kernel may hold, to invalidate when the volume is fenced.
    pub fn cached_inodes(&self) -> Vec<Ino> { todo!() }
}
