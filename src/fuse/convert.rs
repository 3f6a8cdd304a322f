//! The protocol's values as our own, and back. Pure; knows no reply and no operation.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;
use std::time::SystemTime;

use fuser::FileAttr;
use fuser::FileType;
use fuser::INodeNo;
use fuser::RenameFlags;
use fuser::Request;
use fuser::TimeOrNow;
use rustix::fs::FallocateFlags;
use rustix::fs::OFlags;
use rustix::fs::XattrFlags;

use crate::ambient::Timestamp;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::types::FileName;
use crate::types::Ino;
use crate::vfs::Allocate;
use crate::vfs::Attr;
use crate::vfs::Caller;
use crate::vfs::FileKind;
use crate::vfs::OpenFlags;
use crate::vfs::RenameMode;
use crate::vfs::Seek;
use crate::vfs::SetTime;
use crate::vfs::SetXattr;
use crate::vfs::WriteFlags;

/// What stat(2) recommends as the size of a request, in bytes. stdio and Python buffer by it, and
/// each buffer they flush is one request.
const BLOCK_SIZE: u32 = 64 * 1024;

/// lseek(2)'s numbers in the kernel's protocol.
const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;

impl From<&Request> for Caller {
    fn from(request: &Request) -> Self {
        Self { uid: request.uid(), gid: request.gid() }
    }
}

/// A name as the kernel sends it.
pub(super) fn file_name(name: &OsStr) -> Result<FileName> {
    FileName::new(name.as_bytes())
}

/// The attributes for the kernel.
pub(super) fn file_attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(attr.ino.0),
        size: attr.size,
        blocks: attr.blocks,
        atime: system_time(attr.atime),
        mtime: system_time(attr.mtime),
        ctime: system_time(attr.ctime),
        crtime: system_time(attr.btime),
        kind: file_type(attr.kind),
        perm: attr.permissions,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

/// Attributes of which only number and type mean something: for `.` and `..` in a listing, which
/// the kernel never links, and with number 0 for a name that does not exist.
pub(super) fn bare_attr(ino: Ino, kind: FileKind) -> FileAttr {
    FileAttr {
        ino: INodeNo(ino.0),
        size: 0,
        blocks: 0,
        atime: SystemTime::UNIX_EPOCH,
        mtime: SystemTime::UNIX_EPOCH,
        ctime: SystemTime::UNIX_EPOCH,
        crtime: SystemTime::UNIX_EPOCH,
        kind: file_type(kind),
        perm: 0,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

/// The protocol's name of a type.
pub(super) fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::Regular => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
        FileKind::CharDevice => FileType::CharDevice,
        FileKind::BlockDevice => FileType::BlockDevice,
    }
}

/// The type that mknod's mode asks for; a mode without one means a regular file.
pub(super) fn made_kind(mode: u32) -> Result<FileKind> {
    let kind = match rustix::fs::FileType::from_raw_mode(mode) {
        rustix::fs::FileType::RegularFile => FileKind::Regular,
        rustix::fs::FileType::Fifo => FileKind::Fifo,
        rustix::fs::FileType::Socket => FileKind::Socket,
        rustix::fs::FileType::CharacterDevice => FileKind::CharDevice,
        rustix::fs::FileType::BlockDevice => FileKind::BlockDevice,
        rustix::fs::FileType::Unknown if mode & !0o7777 == 0 => FileKind::Regular,
        rustix::fs::FileType::Directory
        | rustix::fs::FileType::Symlink
        | rustix::fs::FileType::Unknown => {
            return Err(Error::new(Kind::Invalid, "mknod makes no inode of this type")
                .with("mode", format_args!("{mode:o}")));
        }
    };
    Ok(kind)
}

/// The low twelve bits of a mode or umask.
pub(super) fn permissions(mode: u32) -> u16 {
    u16::try_from(mode & 0o7777).expect("twelve bits fit sixteen")
}

/// open(2)'s flags. An access mode of 3, which Linux keeps for ioctl alone, counts as writing.
pub(super) fn open_flags(flags: i32) -> OpenFlags {
    let flags = OFlags::from_bits_retain(flags.cast_unsigned());
    OpenFlags {
        write: flags.intersects(OFlags::WRONLY | OFlags::RDWR),
        truncate: flags.contains(OFlags::TRUNC),
        sync: is_sync(flags),
        direct: flags.contains(OFlags::DIRECT),
    }
}

/// A write's own flags, which RWF_DSYNC and a `sync` mount set too.
pub(super) fn write_flags(flags: i32, write: fuser::WriteFlags) -> WriteFlags {
    WriteFlags {
        sync: is_sync(OFlags::from_bits_retain(flags.cast_unsigned())),
        kill_suid: write.contains(fuser::WriteFlags::FUSE_WRITE_KILL_SUIDGID),
    }
}

/// O_SYNC contains O_DSYNC's bit.
fn is_sync(flags: OFlags) -> bool {
    flags.intersects(OFlags::SYNC | OFlags::DSYNC)
}

/// renameat2(2)'s flags; whiteouts belong to overlays.
pub(super) fn rename_mode(flags: RenameFlags) -> Result<RenameMode> {
    match flags {
        RenameFlags::RENAME_NOREPLACE => Ok(RenameMode::NoReplace),
        RenameFlags::RENAME_EXCHANGE => Ok(RenameMode::Exchange),
        none if none.is_empty() => Ok(RenameMode::Replace),
        other => Err(Error::new(Kind::Invalid, "rename does not know these flags")
            .with("flags", other.bits())),
    }
}

/// fallocate(2)'s mode: no collapsing, inserting or unsharing.
pub(super) fn allocate(mode: i32) -> Result<Allocate> {
    const KEEP: u32 = FallocateFlags::KEEP_SIZE.bits();
    const PUNCH: u32 = FallocateFlags::PUNCH_HOLE.bits() | KEEP;
    const ZERO: u32 = FallocateFlags::ZERO_RANGE.bits();
    const ZERO_KEEP: u32 = ZERO | KEEP;
    match mode.cast_unsigned() {
        0 => Ok(Allocate::Grow),
        KEEP => Ok(Allocate::KeepSize),
        PUNCH => Ok(Allocate::PunchHole),
        ZERO => Ok(Allocate::ZeroRange),
        ZERO_KEEP => Ok(Allocate::ZeroRangeKeepSize),
        other => {
            Err(Error::new(Kind::Unsupported, "fallocate does not know this mode")
                .with("mode", other))
        }
    }
}

/// lseek(2)'s whence, of which the kernel answers all but the searches.
pub(super) fn seek(whence: i32) -> Result<Seek> {
    match whence {
        SEEK_DATA => Ok(Seek::Data),
        SEEK_HOLE => Ok(Seek::Hole),
        other => {
            Err(Error::new(Kind::Invalid, "lseek does not know this whence").with("whence", other))
        }
    }
}

/// setxattr(2)'s flags.
pub(super) fn set_xattr(flags: i32) -> Result<SetXattr> {
    match XattrFlags::from_bits_retain(flags.cast_unsigned()) {
        XattrFlags::CREATE => Ok(SetXattr::Create),
        XattrFlags::REPLACE => Ok(SetXattr::Replace),
        none if none.is_empty() => Ok(SetXattr::Any),
        other => Err(Error::new(Kind::Invalid, "setxattr does not know these flags")
            .with("flags", other.bits())),
    }
}

/// A time that setattr sets.
pub(super) fn set_time(time: TimeOrNow) -> SetTime {
    match time {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(time) => SetTime::At(given_time(time)),
    }
}

/// A time that fuser decoded. Before 1970 fuser *subtracts* the nanoseconds from the seconds they
/// come after (its `time.rs` says so itself), so the distance holds both fields as they were sent.
fn given_time(time: SystemTime) -> Timestamp {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => Timestamp {
            seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            nanoseconds: since.subsec_nanos(),
        },
        Err(before) => Timestamp {
            seconds: 0_i64.checked_sub_unsigned(before.duration().as_secs()).unwrap_or(i64::MIN),
            nanoseconds: before.duration().subsec_nanos(),
        },
    }
}

/// A time for fuser, which encodes those before 1970 rightly.
fn system_time(time: Timestamp) -> SystemTime {
    let seconds = Duration::from_secs(time.seconds.unsigned_abs());
    let whole = if time.seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(seconds)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    };
    whole
        .and_then(|whole| whole.checked_add(Duration::from_nanos(time.nanoseconds.into())))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_survive_fusers_decoding() {
        for (seconds, nanoseconds) in [(0, 0), (1, 5), (-1, 500_000_000), (-7, 1), (i64::MIN, 0)] {
            let sent = Timestamp { seconds, nanoseconds };
            let distance = Duration::new(seconds.unsigned_abs(), nanoseconds);
            let decoded = if seconds < 0 {
                SystemTime::UNIX_EPOCH - distance
            } else {
                SystemTime::UNIX_EPOCH + distance
            };
            assert_eq!(given_time(decoded), sent);
        }
        let before = system_time(Timestamp { seconds: -1, nanoseconds: 500_000_000 });
        assert_eq!(before, SystemTime::UNIX_EPOCH - Duration::from_millis(500));
        system_time(Timestamp { seconds: i64::MIN, nanoseconds: 999_999_999 });
        system_time(Timestamp { seconds: i64::MAX, nanoseconds: 999_999_999 });
    }

    #[test]
    fn open_and_write_flags_are_understood_by_their_bits() {
        let bits = |flags: OFlags| flags.bits().cast_signed();
        assert_eq!(open_flags(bits(OFlags::RDONLY)), OpenFlags::default());
        let all = OFlags::RDWR | OFlags::TRUNC | OFlags::DSYNC | OFlags::DIRECT;
        let expected = OpenFlags { write: true, truncate: true, sync: true, direct: true };
        assert_eq!(open_flags(bits(all)), expected);
        let kill = fuser::WriteFlags::FUSE_WRITE_KILL_SUIDGID;
        assert_eq!(write_flags(0, kill), WriteFlags { sync: false, kill_suid: true });
        let sync = write_flags(bits(OFlags::SYNC), fuser::WriteFlags::empty());
        assert_eq!(sync, WriteFlags { sync: true, kill_suid: false });
    }

    #[test]
    fn modes_that_exist_nowhere_are_refused() {
        assert_eq!(allocate(3).unwrap(), Allocate::PunchHole);
        assert_eq!(allocate(0x11).unwrap(), Allocate::ZeroRangeKeepSize);
        for mode in [2, 8, 0x20, 0x40, -1] {
            assert_eq!(allocate(mode).unwrap_err().kind(), Kind::Unsupported);
        }
        assert_eq!(seek(4).unwrap(), Seek::Hole);
        assert!(seek(0).is_err() && seek(-1).is_err());
        assert_eq!(set_xattr(0).unwrap(), SetXattr::Any);
        assert!(set_xattr(3).is_err());
        assert_eq!(rename_mode(RenameFlags::empty()).unwrap(), RenameMode::Replace);
        assert!(rename_mode(RenameFlags::from_bits_retain(4)).is_err());
        assert_eq!(made_kind(0o644).unwrap(), FileKind::Regular);
        assert_eq!(made_kind(0o010_644).unwrap(), FileKind::Fifo);
        assert!(made_kind(0o040_755).is_err() && made_kind(0o170_000).is_err());
        assert_eq!(permissions(0o104_755), 0o4755);
    }
}
