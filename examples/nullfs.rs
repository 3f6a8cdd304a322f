//! An empty FUSE file system for `scripts/bench.sh`: names and attributes in memory, writes dropped,
//! reads zeros. What it takes is what the kernel, fuser and the load take; no file system on fuser
//! can be faster. It is told the same limits and lifetimes as a mount of CairnFS.
//!
//! ```text
//! nullfs DIR       ends when DIR is unmounted
//! ```

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::error::Error;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::io;
use std::time::Duration;
use std::time::SystemTime;

use fuser::BsdFileFlags;
use fuser::Config;
use fuser::Errno;
use fuser::FileAttr;
use fuser::FileHandle;
use fuser::FileType;
use fuser::Filesystem;
use fuser::FopenFlags;
use fuser::Generation;
use fuser::INodeNo;
use fuser::InitFlags;
use fuser::KernelConfig;
use fuser::LockOwner;
use fuser::MountOption;
use fuser::OpenFlags;
use fuser::RenameFlags;
use fuser::ReplyAttr;
use fuser::ReplyCreate;
use fuser::ReplyData;
use fuser::ReplyDirectory;
use fuser::ReplyEmpty;
use fuser::ReplyEntry;
use fuser::ReplyOpen;
use fuser::ReplyWrite;
use fuser::Request;
use fuser::SessionACL;
use fuser::TimeOrNow;
use fuser::WriteFlags;
use parking_lot::Mutex;

const TTL: Duration = Duration::from_secs(3600);
const REQUEST_BYTES_MAX: u32 = 1 << 20;
const SESSION_THREADS: usize = 2;
static ZEROS: [u8; 1 << 20] = [0; 1 << 20];

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args_os().nth(1).ok_or("usage: nullfs DIR")?;
    let mut config = Config::default();
    config.mount_options =
        vec![MountOption::FSName("nullfs".to_owned()), MountOption::DefaultPermissions];
    config.acl = SessionACL::All;
    config.n_threads = Some(SESSION_THREADS);
    let mut tree = Tree { nodes: HashMap::new(), next: 1 };
    tree.add(FileType::Directory, 0o755);
    fuser::mount(Null(Mutex::new(tree)), dir, &config)?;
    Ok(())
}

struct Null(Mutex<Tree>);

struct Tree {
    nodes: HashMap<u64, Node>,
    next: u64,
}

struct Node {
    attr: FileAttr,
    children: BTreeMap<OsString, u64>,
}

impl Tree {
    fn add(&mut self, kind: FileType, perm: u32) -> FileAttr {
        let (ino, now) = (INodeNo(self.next), SystemTime::UNIX_EPOCH);
        self.next += 1;
        let attr = FileAttr {
            ino,
            size: 0,
            blocks: 0,
            atime: now,
            mtime: now,
            ctime: now,
            crtime: now,
            kind,
            perm: u16::try_from(perm & 0o7777).expect("it has twelve bits"),
            nlink: if kind == FileType::Directory { 2 } else { 1 },
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        };
        self.nodes.insert(ino.0, Node { attr, children: BTreeMap::new() });
        attr
    }

    fn make(&mut self, parent: INodeNo, name: &OsStr, kind: FileType, perm: u32) -> FileAttr {
        let attr = self.add(kind, perm);
        if let Some(parent) = self.nodes.get_mut(&parent.0) {
            parent.children.insert(name.to_owned(), attr.ino.0);
        }
        attr
    }

    fn child(&self, parent: INodeNo, name: &OsStr) -> Option<u64> {
        self.nodes.get(&parent.0)?.children.get(name).copied()
    }

    fn take(&mut self, parent: INodeNo, name: &OsStr) -> Option<u64> {
        self.nodes.get_mut(&parent.0)?.children.remove(name)
    }

    fn remove(&mut self, parent: INodeNo, name: &OsStr) -> Result<(), Errno> {
        let ino = self.child(parent, name).ok_or(Errno::ENOENT)?;
        if self.nodes.get(&ino).is_some_and(|node| !node.children.is_empty()) {
            return Err(Errno::ENOTEMPTY);
        }
        self.take(parent, name);
        self.nodes.remove(&ino);
        Ok(())
    }

    fn rename(&mut self, from: (INodeNo, &OsStr), to: (INodeNo, &OsStr)) -> Result<(), Errno> {
        let ino = self.take(from.0, from.1).ok_or(Errno::ENOENT)?;
        let parent = self.nodes.get_mut(&to.0.0).ok_or(Errno::ENOENT)?;
        if let Some(replaced) = parent.children.insert(to.1.to_owned(), ino) {
            self.nodes.remove(&replaced);
        }
        Ok(())
    }
}

fn answer(reply: ReplyEmpty, done: Result<(), Errno>) {
    match done {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

impl Filesystem for Null {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let wanted = InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_ASYNC_DIO
            | InitFlags::FUSE_HANDLE_KILLPRIV_V2
            | InitFlags::FUSE_ATOMIC_O_TRUNC;
        let unfit = || io::Error::other("the kernel does not agree");
        config.add_capabilities(wanted & config.capabilities()).map_err(|_| unfit())?;
        config.set_max_write(REQUEST_BYTES_MAX).map_err(|_| unfit())?;
        config.set_max_background(64).map_err(|_| unfit())?;
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let tree = self.0.lock();
        match tree.child(parent, name).and_then(|ino| tree.nodes.get(&ino)) {
            Some(node) => reply.entry(&TTL, &node.attr, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.0.lock().nodes.get(&ino.0) {
            Some(node) => reply.attr(&TTL, &node.attr),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut tree = self.0.lock();
        let Some(node) = tree.nodes.get_mut(&ino.0) else { return reply.error(Errno::ENOENT) };
        node.attr.size = size.unwrap_or(node.attr.size);
        if let Some(mode) = mode {
            node.attr.perm = u16::try_from(mode & 0o7777).expect("it has twelve bits");
        }
        reply.attr(&TTL, &node.attr);
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        let attr = self.0.lock().make(parent, name, FileType::Directory, mode);
        reply.entry(&TTL, &attr, Generation(0));
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let attr = self.0.lock().make(parent, name, FileType::RegularFile, mode);
        reply.created(&TTL, &attr, Generation(0), FileHandle(0), FopenFlags::empty());
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let removed = self.0.lock().remove(parent, name);
        answer(reply, removed);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let removed = self.0.lock().remove(parent, name);
        answer(reply, removed);
    }

    fn rename(
        &self,
        _: &Request,
        from: INodeNo,
        name: &OsStr,
        to: INodeNo,
        new_name: &OsStr,
        _flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let renamed = self.0.lock().rename((from, name), (to, new_name));
        answer(reply, renamed);
    }

    fn open(&self, _: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        // Without KEEP_CACHE: a file opened again is read again, as after a cold mount.
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let end = self.0.lock().nodes.get(&ino.0).map_or(0, |node| node.attr.size);
        let size = u64::from(size).min(end.saturating_sub(offset));
        reply.data(&ZEROS[..usize::try_from(size).map_or(0, |size| size.min(ZEROS.len()))]);
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        if let Some(node) = self.0.lock().nodes.get_mut(&ino.0) {
            node.attr.size = node.attr.size.max(offset + data.len() as u64);
        }
        reply.written(u32::try_from(data.len()).expect("a request is smaller than 4 GiB"));
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    // A fsync is a request each time: ENOSYS would make the kernel answer by itself.
    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _data: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _data: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let tree = self.0.lock();
        let Some(node) = tree.nodes.get(&ino.0) else { return reply.error(Errno::ENOENT) };
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        for (cookie, (name, child)) in (offset + 1..).zip(node.children.iter().skip(skip)) {
            let kind = tree.nodes.get(child).map_or(FileType::RegularFile, |node| node.attr.kind);
            if reply.add(INodeNo(*child), cookie, kind, name) {
                break;
            }
        }
        reply.ok();
    }
}
