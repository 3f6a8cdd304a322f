//! POSIX meaning: every operation's signature, in our own types. (skeleton)
//!
//! Every method is cheap to poll once: what memory can answer is ready at the first poll, and only
//! what needs the store is pending. Futures are `Send` and own their arguments through
//! `Arc<Vfs>`. Permissions are the kernel's work (`default_permissions`).

mod types;
mod access;
mod attr;
mod handles;
mod namespace;
mod readdir;
mod xattr;
#[cfg(test)]
mod tests;

pub use types::*;

use std::sync::Arc;

use bytes::Bytes;

use self::handles::Handles;
use crate::error::Result;
use crate::meta::Meta;
use crate::meta::OpenFiles;
use crate::meta::value::Inode;
use crate::types::FileName;
use crate::types::Ino;
use crate::volume::Volume;

/// A mounted volume's file system.
pub struct Vfs {
    _volume: Arc<Volume>,
    pub(crate) meta: Arc<Meta>,
    handles: Arc<Handles>,
    open_files: Arc<dyn OpenFiles>,
}

impl Vfs {
    /// The file system of an open volume.
    pub fn new(_volume: Arc<Volume>) -> Arc<Self> { todo!() }
    /// Whether writes are refused (mount option; the kernel refuses them too).
    pub fn read_only(&self) -> bool { todo!() }
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
    /// Everything durable: fsyncdir, `cairnfs sync`, unmount.
    pub async fn sync(&self) -> Result<()> { todo!() }
    /// fallocate.
    pub async fn fallocate(&self, _ino: Ino, _offset: u64, _length: u64, _mode: Allocate) -> Result<()> { todo!() }
    /// lseek: `Kind::NoData`-like ENXIO is `Kind::Range` here.
    pub async fn lseek(&self, _ino: Ino, _offset: u64, _seek: Seek) -> Result<u64> { todo!() }
    /// The inodes whose pages the kernel may hold, to invalidate when the volume is fenced.
    pub fn cached_inodes(&self) -> Vec<Ino> { todo!() }
    /// Bytes that a sparse file has allocated.
    async fn allocated(&self, _ino: Ino, _inode: &Inode) -> Result<u64> { todo!() }
    /// truncate, the data included.
    async fn resize(&self, _caller: Caller, _ino: Ino, _size: u64) -> Result<()> { todo!() }
}
