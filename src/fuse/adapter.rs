//! The file system as fuser calls it: each operation translates, calls the [`Vfs`] and replies.
//!
//! What fuser answers with ENOSYS by default (locks, access, ioctl, poll, bmap, copying ranges) is
//! left to it: the kernel then does its own work and does not ask again. FORGET needs no work.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use fuser::BsdFileFlags;
use fuser::Errno;
use fuser::FileHandle;
use fuser::Filesystem;
use fuser::INodeNo;
use fuser::KernelConfig;
use fuser::LockOwner;
use fuser::OpenFlags;
use fuser::RenameFlags;
use fuser::ReplyAttr;
use fuser::ReplyCreate;
use fuser::ReplyData;
use fuser::ReplyDirectory;
use fuser::ReplyDirectoryPlus;
use fuser::ReplyEmpty;
use fuser::ReplyEntry;
use fuser::ReplyLseek;
use fuser::ReplyOpen;
use fuser::ReplyStatfs;
use fuser::ReplyWrite;
use fuser::ReplyXattr;
use fuser::Request;
use fuser::TimeOrNow;
use fuser::WriteFlags;
use tokio::runtime::Handle;

use super::answer::Call;
use super::answer::Cut;
use super::answer::Reply;
use super::answer::answer;
use super::convert;
use super::kernel;
use super::kernel::Trust;
use super::kernel::Writeback;
use super::notify::Forget;
use super::reply;
use super::reply::Fit;
use super::search;
use crate::error::Kind;
use crate::error::Result;
use crate::types::Ino;
use crate::vfs::Caller;
use crate::vfs::FileKind;
use crate::vfs::NewInode;
use crate::vfs::SetAttr;
use crate::vfs::Vfs;

/// A [`Vfs`] behind the kernel's protocol.
pub(super) struct Adapter {
    vfs: Arc<Vfs>,
    runtime: Handle,
    cut: Cut,
    writeback: Writeback,
    trust: Trust,
    fit: Arc<Fit>,
    fit_plus: Arc<Fit>,
    forget: Forget,
}

impl Adapter {
    /// Operations that wait are spawned on `runtime`, and none succeeds after `cut`.
    pub(super) fn new(vfs: Arc<Vfs>, runtime: Handle, cut: Cut, writeback: Writeback) -> Self {
        let (fit, fit_plus) = (Arc::new(Fit::of_names()), Arc::new(Fit::of_attributes()));
        let forget = Forget::default();
        let trust = if vfs.read_only() { Trust::Brief } else { Trust::Lasting };
        Self { vfs, runtime, cut, writeback, trust, fit, fit_plus, forget }
    }

    /// What it makes the kernel forget; to begin with the session.
    pub(super) fn forget(&self) -> Forget {
        self.forget.clone()
    }

    fn answer<R: Reply, T: Send + 'static>(
        &self,
        call: Call,
        reply: R,
        operation: impl Future<Output = Result<T>> + Send + 'static,
        accept: impl FnOnce(R, T) + Send + 'static,
    ) {
        answer((&self.runtime, &self.cut), call, reply, operation, accept);
    }
}

impl Filesystem for Adapter {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        kernel::negotiate(config, self.writeback, self.trust)
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (vfs, parent, name) = (self.vfs.clone(), Ino(parent.0), name.to_owned());
        let found = async move { search::name(&vfs, parent, &name).await };
        self.answer(Call("lookup", parent), reply, found, reply::found(self.trust));
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        let (vfs, ino) = (self.vfs.clone(), Ino(ino.0));
        self.answer(
            Call("getattr", ino),
            reply,
            async move { vfs.getattr(ino).await },
            reply::attr(self.trust),
        );
    }

    // The times of the last three belong to another system; ctime is set by whoever changes.
    fn setattr(
        &self,
        req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let (vfs, caller, ino) = (self.vfs.clone(), Caller::from(req), Ino(ino.0));
        let (atime, mtime) = (atime.map(convert::set_time), mtime.map(convert::set_time));
        let set =
            SetAttr { permissions: mode.map(convert::permissions), uid, gid, size, atime, mtime };
        let changed = async move { vfs.setattr(caller, ino, set).await };
        self.answer(Call("setattr", ino), reply, changed, reply::attr(self.trust));
    }

    fn readlink(&self, _req: &Request, ino: INodeNo, reply: ReplyData) {
        let (vfs, ino) = (self.vfs.clone(), Ino(ino.0));
        let target = async move { vfs.readlink(ino).await };
        self.answer(Call("readlink", ino), reply, target, |reply, target| reply.data(&target));
    }

    fn mknod(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let (vfs, caller, parent) = (self.vfs.clone(), Caller::from(req), Ino(parent.0));
        let name = convert::file_name(name);
        let made = async move {
            let (kind, umask) = (convert::made_kind(mode)?, convert::permissions(umask));
            let new = NewInode { kind, permissions: convert::permissions(mode), umask, rdev };
            vfs.make(caller, parent, name?, new).await
        };
        self.answer(Call("mknod", parent), reply, made, reply::entry(self.trust));
    }

    fn mkdir(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let (vfs, caller, parent) = (self.vfs.clone(), Caller::from(req), Ino(parent.0));
        let (kind, umask) = (FileKind::Directory, convert::permissions(umask));
        let new = NewInode { kind, permissions: convert::permissions(mode), umask, rdev: 0 };
        let name = convert::file_name(name);
        let made = async move { vfs.make(caller, parent, name?, new).await };
        self.answer(Call("mkdir", parent), reply, made, reply::entry(self.trust));
    }

    fn unlink(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (vfs, parent, name) = (self.vfs.clone(), Ino(parent.0), convert::file_name(name));
        let unlinked = async move { vfs.unlink(parent, name?).await };
        self.answer(Call("unlink", parent), reply, unlinked, reply::empty);
    }

    fn rmdir(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (vfs, parent, name) = (self.vfs.clone(), Ino(parent.0), convert::file_name(name));
        let removed = async move { vfs.rmdir(parent, name?).await };
        self.answer(Call("rmdir", parent), reply, removed, reply::empty);
    }

    fn symlink(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let (vfs, caller, parent) = (self.vfs.clone(), Caller::from(req), Ino(parent.0));
        let target = Bytes::copy_from_slice(target.as_os_str().as_bytes());
        let name = convert::file_name(name);
        let made = async move { vfs.symlink(caller, parent, name?, target).await };
        self.answer(Call("symlink", parent), reply, made, reply::entry(self.trust));
    }

    fn rename(
        &self,
        _req: &Request,
        from: INodeNo,
        name: &OsStr,
        to: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (vfs, from, to) = (self.vfs.clone(), Ino(from.0), Ino(to.0));
        let (name, new_name, mode) =
            (convert::file_name(name), convert::file_name(new_name), convert::rename_mode(flags));
        let renamed = async move { vfs.rename(from, name?, to, new_name?, mode?).await };
        self.answer(Call("rename", from), reply, renamed, reply::empty);
    }

    fn link(&self, _req: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (vfs, ino, parent) = (self.vfs.clone(), Ino(ino.0), Ino(parent.0));
        let name = convert::file_name(name);
        let linked = async move { vfs.link(ino, parent, name?).await };
        self.answer(Call("link", ino), reply, linked, reply::entry(self.trust));
    }

    fn open(&self, req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let (vfs, caller, ino) = (self.vfs.clone(), Caller::from(req), Ino(ino.0));
        let forget = self.forget.clone();
        let opened = async move {
            let opened = vfs.open(caller, ino, convert::open_flags(flags.0)).await?;
            forget.attributes_if(opened.mode_changed, ino);
            Ok(opened)
        };
        self.answer(Call("open", ino), reply, opened, reply::opened);
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (vfs, caller, parent) = (self.vfs.clone(), Caller::from(req), Ino(parent.0));
        let (kind, umask) = (FileKind::Regular, convert::permissions(umask));
        let new = NewInode { kind, permissions: convert::permissions(mode), umask, rdev: 0 };
        let name = convert::file_name(name);
        let made =
            async move { vfs.create(caller, parent, name?, new, convert::open_flags(flags)).await };
        self.answer(Call("create", parent), reply, made, reply::created(self.trust));
    }

    fn read(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let (vfs, ino) = (self.vfs.clone(), Ino(ino.0));
        let bytes = async move { vfs.read(ino, fh.0, offset, size).await };
        self.answer(Call("read", ino), reply, bytes, |reply, bytes| reply.data(&bytes));
    }

    fn write(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        write: WriteFlags,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let (vfs, ino, flags) =
            (self.vfs.clone(), Ino(ino.0), convert::write_flags(flags.0, write));
        // The one copy: fuser lends its buffer for the time of this call only.
        let data = Bytes::copy_from_slice(data);
        let size = u32::try_from(data.len()).expect("a request is smaller than 4 GiB");
        let written = async move { vfs.write(ino, fh.0, offset, data, flags).await };
        let written = self.forget.clone().after(ino, written);
        self.answer(Call("write", ino), reply, written, move |reply, ()| reply.written(size));
    }

    /// Nothing waits for a close; the kernel learns from ENOSYS that it need not ask.
    fn flush(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn release(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        let (vfs, ino) = (self.vfs.clone(), Ino(ino.0));
        let released = async move {
            vfs.release(ino, fh.0).await;
            Ok(())
        };
        self.answer(Call("release", ino), reply, released, reply::empty);
    }

    fn fsync(&self, _req: &Request, ino: INodeNo, _: FileHandle, _data: bool, reply: ReplyEmpty) {
        let (vfs, ino) = (self.vfs.clone(), Ino(ino.0));
        self.answer(Call("fsync", ino), reply, async move { vfs.fsync(ino).await }, reply::empty);
    }

    fn opendir(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let (vfs, ino) = (self.vfs.clone(), Ino(ino.0));
        let opened = async move { vfs.opendir(ino).await };
        self.answer(Call("opendir", ino), reply, opened, reply::opened_dir);
    }

    fn readdir(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        cookie: u64,
        reply: ReplyDirectory,
    ) {
        let (vfs, ino, fit) = (self.vfs.clone(), Ino(ino.0), self.fit.clone());
        let limit = fit.limit();
        let entries = async move { vfs.readdir(ino, fh.0, cookie, limit, false).await };
        self.answer(Call("readdir", ino), reply, entries, move |reply, entries| {
            fit.learn(limit, entries.len(), reply::names(reply, &entries));
        });
    }

    fn readdirplus(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        cookie: u64,
        reply: ReplyDirectoryPlus,
    ) {
        let (vfs, ino, fit) = (self.vfs.clone(), Ino(ino.0), self.fit_plus.clone());
        let trust = self.trust;
        let limit = fit.limit();
        let entries = async move { vfs.readdir(ino, fh.0, cookie, limit, true).await };
        self.answer(Call("readdirplus", ino), reply, entries, move |reply, entries| {
            fit.learn(limit, entries.len(), reply::attributes(reply, trust, &entries));
        });
    }

    fn releasedir(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        let (vfs, ino) = (self.vfs.clone(), Ino(ino.0));
        let released = async move {
            vfs.releasedir(ino, fh.0).await;
            Ok(())
        };
        self.answer(Call("releasedir", ino), reply, released, reply::empty);
    }

    fn fsyncdir(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        let vfs = self.vfs.clone();
        let synced = async move { vfs.sync().await };
        self.answer(Call("fsyncdir", Ino(ino.0)), reply, synced, reply::empty);
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        reply::statfs(reply, self.vfs.statfs());
    }

    fn setxattr(
        &self,
        req: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let (vfs, caller, ino) = (self.vfs.clone(), Caller::from(req), Ino(ino.0));
        let name = Bytes::copy_from_slice(name.as_bytes());
        let (value, mode) = (Bytes::copy_from_slice(value), convert::set_xattr(flags));
        let set = async move {
            match vfs.setxattr(caller, ino, name, value, mode?).await {
                Err(error) if error.kind() == Kind::Range => Ok(Some(Errno::E2BIG)),
                set => set.map(|()| None),
            }
        };
        self.answer(Call("setxattr", ino), reply, set, |reply, errno| match errno {
            Some(errno) => reply.error(errno),
            None => reply.ok(),
        });
    }

    fn getxattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let (vfs, ino) = (self.vfs.clone(), Ino(ino.0));
        let name = Bytes::copy_from_slice(name.as_bytes());
        let value = async move { vfs.getxattr(ino, name).await };
        self.answer(Call("getxattr", ino), reply, value, move |reply, value| {
            reply::xattr(reply, size, &value);
        });
    }

    fn listxattr(&self, _req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let (vfs, ino) = (self.vfs.clone(), Ino(ino.0));
        let names = async move { vfs.listxattr(ino).await };
        self.answer(Call("listxattr", ino), reply, names, move |reply, names| {
            reply::xattr(reply, size, &names);
        });
    }

    fn removexattr(&self, req: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (vfs, caller, ino) = (self.vfs.clone(), Caller::from(req), Ino(ino.0));
        let name = Bytes::copy_from_slice(name.as_bytes());
        let removed = async move { vfs.removexattr(caller, ino, name).await };
        self.answer(Call("removexattr", ino), reply, removed, reply::empty);
    }

    fn fallocate(
        &self,
        req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let (vfs, caller, ino) = (self.vfs.clone(), Caller::from(req), Ino(ino.0));
        let range = (offset, length);
        let done = async move { vfs.fallocate(caller, ino, range, convert::allocate(mode)?).await };
        let done = self.forget.clone().after(ino, done);
        self.answer(Call("fallocate", ino), reply, done, reply::empty);
    }

    fn lseek(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let (vfs, forget, ino) = (self.vfs.clone(), self.forget.clone(), Ino(ino.0));
        let at = (offset, whence);
        let found = async move { search::data(&vfs, &forget, ino, at).await };
        self.answer(Call("lseek", ino), reply, found, reply::sought);
    }
}
