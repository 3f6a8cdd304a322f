//! What crosses the door between the file system and a protocol: plain values, no protocol's
//! constants.

pub use crate::meta::RenameMode;
pub use crate::meta::SetXattr;

use bytes::Bytes;

use crate::ambient::Timestamp;
use crate::types::Ino;

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Effective (file system) user id.
    pub uid: u32,
    /// Effective (file system) group id.
    pub gid: u32,
}

impl Caller {
    /// The daemon's own work.
    pub const ROOT: Caller = Caller { uid: 0, gid: 0 };
}

/// The type of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// What stat(2) tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attr {
    /// Inode number.
    pub ino: Ino,
    /// Type.
    pub kind: FileKind,
    /// Permission bits with set-user-id, set-group-id and sticky: the low twelve bits of the mode.
    pub permissions: u16,
    /// Links.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node, as makedev(3) packs it into 32 bits.
    pub rdev: u32,
    /// Size in bytes.
    pub size: u64,
    /// Allocated space in units of 512 bytes.
    pub blocks: u64,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of the bytes.
    pub mtime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
    /// Creation.
    pub btime: Timestamp,
}

/// A time that setattr sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetTime {
    /// The present.
    Now,
    /// The given time.
    At(Timestamp),
}

/// What setattr changes; `None` leaves a field alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetAttr {
    /// The low twelve bits of the mode.
    pub permissions: Option<u16>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Last access.
    pub atime: Option<SetTime>,
    /// Last change of the bytes.
    pub mtime: Option<SetTime>,
}

/// A new inode, as mknod, mkdir, create and symlink ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewInode {
    /// Type.
    pub kind: FileKind,
    /// The low twelve bits of the mode, before the umask.
    pub permissions: u16,
    /// The caller's umask; a default ACL replaces it.
    pub umask: u16,
    /// Device number of a device node.
    pub rdev: u32,
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenFlags {
    /// The file may be written.
    pub write: bool,
    /// The size becomes zero.
    pub truncate: bool,
    /// O_SYNC or O_DSYNC: each write is answered after its epoch.
    pub sync: bool,
    /// O_DIRECT.
    pub direct: bool,
}

/// An open file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The number that later calls name.
    pub handle: u64,
    /// The kernel may keep the pages it has of this inode.
    pub keep_cache: bool,
    /// The inode lost set-user-id or set-group-id, which the kernel does not know.
    pub mode_changed: bool,
}

/// What a write came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteFlags {
    /// Answer when the bytes are durable.
    pub sync: bool,
    /// The writer may not keep set-user-id and set-group-id (HANDLE_KILLPRIV_V2).
    pub kill_suid: bool,
}

/// fallocate(2)'s modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocate {
    /// Reserves; grows the file.
    Grow,
    /// FALLOC_FL_KEEP_SIZE: reserves, leaves the size alone.
    KeepSize,
    /// FALLOC_FL_PUNCH_HOLE (with KEEP_SIZE): the range reads as zeros and is freed.
    PunchHole,
    /// FALLOC_FL_ZERO_RANGE: the range reads as zeros; grows the file.
    ZeroRange,
    /// FALLOC_FL_ZERO_RANGE with KEEP_SIZE.
    ZeroRangeKeepSize,
}

/// lseek(2)'s searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// SEEK_DATA.
    Data,
    /// SEEK_HOLE.
    Hole,
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The entry's inode.
    pub ino: Ino,
    /// Where a later readdir goes on after this entry: stable for the entry's life.
    pub cookie: u64,
    /// The type.
    pub kind: FileKind,
    /// The name.
    pub name: Bytes,
    /// The attributes, when asked for.
    pub attr: Option<Attr>,
}

/// What statfs(2) tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatFs {
    /// Bytes of files stored.
    pub used_bytes: u64,
    /// Inodes in use.
    pub used_inodes: u64,
}
