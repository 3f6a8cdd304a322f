//! Open files: read, write, fsync, release.

use bytes::Bytes;

use super::Vfs;
use super::access;
use super::types::Attr;
use super::types::Caller;
use super::types::NewInode;
use super::types::OpenFlags;
use super::types::Opened;
use super::types::WriteFlags;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::meta::key;
use crate::meta::kv::Txn;
use crate::meta::transact;
use crate::meta::value::Inode;
use crate::meta::value::flag;
use crate::meta::value::mode;
use crate::types::ContentId;
use crate::types::FILE_SIZE_MAX;
use crate::types::FileName;
use crate::types::Ino;
use crate::volume::Pattern;
use crate::volume::Written;

impl Vfs {
    /// open. The handle is counted before the inode is looked up, so that an unlink that happens
    /// meanwhile either sees it or is seen.
    pub async fn open(&self, caller: Caller, ino: Ino, flags: OpenFlags) -> Result<Opened> {
        let handle = self.handles.open(ino, flags, self.volume.readahead_bytes());
        match self.open_inode(caller, ino, flags).await {
            Ok(mode_changed) => {
                Ok(Opened { handle, keep_cache: self.volume.is_as_opened(), mode_changed })
            }
            Err(error) => {
                self.release(ino, handle).await;
                Err(error)
            }
        }
    }

    async fn open_inode(&self, caller: Caller, ino: Ino, flags: OpenFlags) -> Result<bool> {
        let inode = self.meta.inode(ino).await?;
        if inode.is(mode::DIRECTORY) {
            return Err(Error::new(Kind::IsDirectory, "a directory is not opened as a file"));
        }
        if flags.truncate { self.resize(caller, ino, 0).await } else { Ok(false) }
    }

    /// create and open (mknod of a regular file and open in one).
    pub async fn create(
        &self,
        caller: Caller,
        parent: Ino,
        name: FileName,
        new: NewInode,
        flags: OpenFlags,
    ) -> Result<(Attr, Opened)> {
        let attr = self.make(caller, parent, name, new).await?;
        let flags = OpenFlags { truncate: false, ..flags };
        let opened = self.open(caller, attr.ino, flags).await?;
        Ok((attr, opened))
    }

    /// read: fewer bytes than asked only at the end of the file.
    pub async fn read(&self, ino: Ino, handle: u64, offset: u64, size: u32) -> Result<Bytes> {
        let inode = self.meta.inode(ino).await?;
        let end = offset.saturating_add(size.into()).min(inode.size);
        if offset >= end {
            return Ok(Bytes::new());
        }
        let mut pattern = Pattern::Random;
        if let Some(handle) = self.handles.find(handle) {
            let mut readahead = handle.readahead.lock();
            if let Some(ahead) = readahead.read(&(offset..end), inode.size) {
                self.contents.prefetch(inode.content, inode.cuts.clone(), ahead);
            }
            if readahead.is_stream() {
                pattern = Pattern::Stream;
            }
        }
        // What the file is now may be more, or less, than it was for the read-ahead.
        let wanted = offset..offset.saturating_add(size.into());
        let read = self.contents.read(ino, wanted, pattern).await;
        read.map_err(|error| error.with("inode", ino))
    }

    /// write: all of it or an error. Whether the inode lost set-user-id or set-group-id by it,
    /// which the kernel does not know.
    pub async fn write(
        &self,
        ino: Ino,
        handle: u64,
        offset: u64,
        data: Bytes,
        flags: WriteFlags,
    ) -> Result<bool> {
        let length = data.len() as u64;
        let end = offset.checked_add(length).filter(|end| *end <= FILE_SIZE_MAX);
        let end = end.ok_or_else(|| Error::new(Kind::TooBig, "a file ends at 2^63 - 1 bytes"))?;
        if length == 0 {
            return Ok(false);
        }
        let contents = &self.contents;
        contents.reserve(length).await;
        let written = self.write_reserved(ino, offset, &data, flags).await;
        let mode_changed = match written {
            Ok((content, mode_changed)) => {
                contents.sent(content, &(offset..end));
                mode_changed
            }
            Err(error) => {
                contents.give_back(length);
                return Err(error);
            }
        };
        let sync = flags.sync || self.handles.find(handle).is_some_and(|handle| handle.sync);
        if sync {
            contents.sync().await?;
        }
        Ok(mode_changed)
    }

    async fn write_reserved(
        &self,
        ino: Ino,
        offset: u64,
        data: &Bytes,
        flags: WriteFlags,
    ) -> Result<(ContentId, bool)> {
        transact!(self.meta.store(), |txn| self.put_bytes(txn, ino, (offset, data), flags).await)
    }

    async fn put_bytes(
        &self,
        txn: &mut Txn,
        ino: Ino,
        (offset, data): (u64, &Bytes),
        flags: WriteFlags,
    ) -> Result<(ContentId, bool)> {
        let mut inode = regular(txn, ino).await?;
        // Taken after the read that commit checks, so that an inode's changes have their numbers
        // in the order of their commits: a cut hides what has a smaller one.
        let seq = self.meta.ids.seq();
        let content = inode.content;
        if offset > inode.size {
            inode.flags |= flag::SPARSE;
        }
        inode.size = inode.size.max(offset + data.len() as u64);
        inode.mtime = self.meta.ambient.now();
        inode.ctime = inode.mtime;
        let mode_changed = flags.kill_suid && access::kill_set_id(&mut inode);
        txn.put(key::inode(ino), inode.encode());
        let (contents, data) = (self.contents.clone(), data.clone());
        txn.then(move || contents.put(Written { ino, content, offset, data, seq }));
        Ok((content, mode_changed))
    }

    /// fsync and fdatasync.
    pub async fn fsync(&self, _ino: Ino) -> Result<()> {
        self.sync().await
    }

    /// Everything durable: fsyncdir, `cairnfs sync`, unmount.
    pub async fn sync(&self) -> Result<()> {
        self.contents.sync().await
    }

    /// release: the last close of an open file or directory.
    pub async fn release(&self, _ino: Ino, handle: u64) {
        let Some(ino) = self.handles.close(handle) else { return };
        if self.read_only() {
            return;
        }
        if let Err(error) = self.reap(ino).await {
            tracing::warn!(%error, %ino, "an unlinked file stays until the next mount");
        }
    }

    async fn reap(&self, ino: Ino) -> Result<()> {
        match self.meta.inode(ino).await {
            Ok(inode) if inode.nlink == 0 => self.meta.reap(ino, &self.open_files).await,
            Ok(_) => Ok(()),
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// A regular file's inode, in a transaction.
pub(super) async fn regular(txn: &mut Txn, ino: Ino) -> Result<Inode> {
    let value = txn.get(&key::inode(ino)).await?;
    let value = value
        .ok_or_else(|| Error::new(Kind::NotFound, "there is no such inode").with("inode", ino))?;
    let inode = Inode::decode(&value)?;
    match inode.mode & mode::TYPE {
        mode::REGULAR => Ok(inode),
        mode::DIRECTORY => Err(Error::new(Kind::IsDirectory, "a directory holds no bytes")),
        _ => Err(Error::new(Kind::Invalid, "only a regular file holds bytes").with("inode", ino)),
    }
}
