//! Stored values of the namespace: superblock, inode, dentries. Versioned; a decoder refuses what
//! it does not know. `docs/format.md`, "Metadata keys and values", draws them.
//! Extents and blocks are in `extent.rs`.

use bytes::Bytes;

use super::codec::Reader;
use super::codec::Writer;
use crate::ambient::Timestamp;
use crate::error::Result;
use crate::types::ContentId;
use crate::types::Epoch;
use crate::types::FileName;
use crate::types::Ino;
use crate::types::WriteSeq;

const SUPERBLOCK_VERSION: u8 = 1;
const INODE_VERSION: u8 = 1;
const DENTRIES_VERSION: u8 = 1;

/// Counters and usage of the volume, as of the epoch that wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Superblock {
    /// The epoch whose batch carried this value.
    pub epoch: Epoch,
    /// No inode number at or above this one was ever given out.
    pub ino_limit: u64,
    /// No content id at or above this one was ever given out.
    pub content_limit: u64,
    /// No write sequence at or above this one was ever given out.
    pub seq_limit: u64,
    /// Inodes in use.
    pub inodes: u64,
    /// File bytes in blocks and inline extents.
    pub bytes: u64,
}

impl Superblock {
    /// The stored form.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new(SUPERBLOCK_VERSION);
        for number in [
            self.epoch.0,
            self.ino_limit,
            self.content_limit,
            self.seq_limit,
            self.inodes,
            self.bytes,
        ] {
            writer.number(number);
        }
        writer.finish()
    }

    /// Reads the stored form.
    pub fn decode(value: &Bytes) -> Result<Self> {
        let mut reader = Reader::new("superblock", value, SUPERBLOCK_VERSION)?;
        let superblock = Self {
            epoch: Epoch(reader.number()?),
            ino_limit: reader.number()?,
            content_limit: reader.number()?,
            seq_limit: reader.number()?,
            inodes: reader.number()?,
            bytes: reader.number()?,
        };
        reader.finish()?;
        Ok(superblock)
    }
}

/// A range of a content that reads as a hole wherever an extent is older than the cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// First byte of the hole.
    pub start: u64,
    /// First byte after it; `u64::MAX` for a truncate.
    pub end: u64,
    /// Extents of this sequence or an older one are hidden.
    pub seq: WriteSeq,
}

/// `st_mode`'s type bits, as POSIX and Linux number them (sys/stat.h).
pub mod mode {
    /// The type's bits.
    pub const TYPE: u32 = 0o170_000;
    /// A directory.
    pub const DIRECTORY: u32 = 0o040_000;
    /// A regular file.
    pub const REGULAR: u32 = 0o100_000;
    /// A symbolic link.
    pub const SYMLINK: u32 = 0o120_000;
    /// A named pipe.
    pub const FIFO: u32 = 0o010_000;
    /// A socket.
    pub const SOCKET: u32 = 0o140_000;
    /// A character device.
    pub const CHAR_DEVICE: u32 = 0o020_000;
    /// A block device.
    pub const BLOCK_DEVICE: u32 = 0o060_000;
    /// Set-user-id.
    pub const SUID: u32 = 0o4_000;
    /// Set-group-id.
    pub const SGID: u32 = 0o2_000;
    /// Sticky.
    pub const STICKY: u32 = 0o1_000;
    /// Execution by the group.
    pub const GROUP_EXEC: u32 = 0o010;
}

/// Facts about an inode that spare a look elsewhere.
pub mod flag {
    /// The inode has, or had, extended attributes.
    pub const XATTRS: u64 = 1;
    /// The file may have holes, so its allocated space must be counted.
    pub const SPARSE: u64 = 2;
    /// All flags this version knows.
    pub const KNOWN: u64 = XATTRS | SPARSE;
}

/// An inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inode {
    /// Type and permission bits, as in `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Links; of a directory two and one per subdirectory.
    pub nlink: u32,
    /// Device number of a device node.
    pub rdev: u32,
    /// Size in bytes; of a directory its number of entries.
    pub size: u64,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of the bytes.
    pub mtime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
    /// Creation.
    pub btime: Timestamp,
    /// See [`flag`].
    pub flags: u64,
    /// The bytes of a regular file; of a directory the parent's inode number.
    pub content: ContentId,
    /// Holes that the extents do not show yet.
    pub cuts: Vec<Cut>,
}

impl Inode {
    /// Whether it is of `kind` (one of [`mode`]'s types).
    pub fn is(&self, kind: u32) -> bool {
        self.mode & mode::TYPE == kind
    }

    /// The parent of a directory.
    pub fn parent(&self) -> Ino {
        Ino(self.content.0)
    }

    /// The stored form.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new(INODE_VERSION);
        writer.number(self.mode.into()).number(self.uid.into()).number(self.gid.into());
        writer.number(self.nlink.into()).number(self.rdev.into()).number(self.size);
        for time in [self.atime, self.mtime, self.ctime, self.btime] {
            writer.signed(time.seconds).number(time.nanoseconds.into());
        }
        writer.number(self.flags).number(self.content.0).number(self.cuts.len() as u64);
        for cut in &self.cuts {
            writer.number(cut.start).number(cut.end).number(cut.seq.0);
        }
        writer.finish()
    }

    /// Reads the stored form.
    pub fn decode(value: &Bytes) -> Result<Self> {
        let mut reader = Reader::new("inode", value, INODE_VERSION)?;
        let mut inode = Self {
            mode: reader.small()?,
            uid: reader.small()?,
            gid: reader.small()?,
            nlink: reader.small()?,
            rdev: reader.small()?,
            size: reader.number()?,
            atime: time(&mut reader)?,
            mtime: time(&mut reader)?,
            ctime: time(&mut reader)?,
            btime: time(&mut reader)?,
            flags: reader.number()?,
            content: ContentId(reader.number()?),
            cuts: Vec::new(),
        };
        for _ in 0..reader.count()? {
            let (start, end) = (reader.number()?, reader.number()?);
            inode.cuts.push(Cut { start, end, seq: WriteSeq(reader.number()?) });
        }
        if inode.flags & !flag::KNOWN != 0 {
            return Err(reader.fault());
        }
        reader.finish()?;
        Ok(inode)
    }
}

fn time(reader: &mut Reader<'_>) -> Result<Timestamp> {
    let time = Timestamp { seconds: reader.signed()?, nanoseconds: reader.small()? };
    if time.nanoseconds >= 1_000_000_000 { Err(reader.fault()) } else { Ok(time) }
}

/// One name of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dentry {
    /// Its place among the names of the same hash, kept for life: the low bits of its cookie.
    pub index: u8,
    /// What it names.
    pub ino: Ino,
    /// The type bits of what it names (one of [`mode`]'s types).
    pub kind: u32,
    /// The name.
    pub name: FileName,
}

/// The names of a directory that share a hash, by index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dentries(pub Vec<Dentry>);

impl Dentries {
    /// More names of one hash do not fit a cookie's seven bits.
    pub const MAX: u8 = 128;

    /// The stored form.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new(DENTRIES_VERSION);
        writer.number(self.0.len() as u64);
        for dentry in &self.0 {
            writer.byte(dentry.index).number(dentry.ino.0).number((dentry.kind >> 12).into());
            writer.bytes(dentry.name.as_bytes());
        }
        writer.finish()
    }

    /// Reads the stored form.
    pub fn decode(value: &Bytes) -> Result<Self> {
        let mut reader = Reader::new("dentry", value, DENTRIES_VERSION)?;
        let mut dentries = Vec::with_capacity(1);
        for _ in 0..reader.count()? {
            dentries.push(Dentry {
                index: reader.byte()?,
                ino: Ino(reader.number()?),
                kind: reader.small()? << 12,
                name: FileName::new(reader.bytes()?).map_err(|_| reader.fault())?,
            });
        }
        reader.finish()?;
        Ok(Self(dentries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inode_survives_the_round_trip() {
        let time = Timestamp { seconds: -5, nanoseconds: 999_999_999 };
        let inode = Inode {
            mode: mode::REGULAR | 0o4755,
            uid: 1000,
            gid: u32::MAX,
            nlink: 3,
            rdev: 0x0801,
            size: u64::MAX >> 1,
            atime: time,
            mtime: time,
            ctime: time,
            btime: time,
            flags: flag::SPARSE,
            content: ContentId(77),
            cuts: vec![Cut { start: 3, end: u64::MAX, seq: WriteSeq(9) }],
        };
        assert_eq!(Inode::decode(&inode.encode()).unwrap(), inode);
        let mut unknown = inode.clone();
        unknown.flags = 1 << 40;
        assert!(Inode::decode(&unknown.encode()).is_err());
    }

    #[test]
    fn dentries_and_superblock_survive_the_round_trip() {
        let name = FileName::new(b"a\xffb").unwrap();
        let dentries = Dentries(vec![Dentry { index: 127, ino: Ino(8), kind: mode::SOCKET, name }]);
        assert_eq!(Dentries::decode(&dentries.encode()).unwrap(), dentries);
        let superblock = Superblock {
            epoch: Epoch(1),
            ino_limit: 2,
            content_limit: 3,
            seq_limit: 4,
            inodes: 5,
            bytes: u64::MAX,
        };
        assert_eq!(Superblock::decode(&superblock.encode()).unwrap(), superblock);
        assert!(Superblock::decode(&superblock.encode().slice(..3)).is_err());
    }
}
