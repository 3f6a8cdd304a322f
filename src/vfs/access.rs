//! POSIX ACLs and the rules by which mode bits change: inheritance, chmod, chown, set-id bits.
//! Pure. Checks no permission: the kernel does (`default_permissions`).
//!
//! A stored ACL has the form in which the kernel passes it (linux/posix_acl_xattr.h), all numbers
//! little-endian:
//!
//! ```text
//! version u32 = 2 · entries of 8 bytes: tag u16 · permissions u16 · id u32
//! ```

use bytes::Bytes;

use super::types::Caller;
use super::types::FileKind;
use super::types::NewInode;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::meta::ACL_ACCESS;
use crate::meta::ACL_DEFAULT;
use crate::meta::Attached;
use crate::meta::NewNode;
use crate::meta::value::Inode;
use crate::meta::value::mode;

const VERSION: u32 = 2;
const HEADER_BYTES: usize = 4;
const ENTRY_BYTES: usize = 8;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// Read, write and execute of owner, group and others.
const ALL_RWX: u32 = 0o777;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    tag: u16,
    rwx: u16,
    id: u32,
}

/// A valid ACL: its entries stand in the order of their tags, none that must exist is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Acl(Vec<Entry>);

impl Acl {
    /// Reads an attribute's value; `None` if it has no entry, which means: remove the ACL.
    pub(super) fn parse(value: &[u8]) -> Result<Option<Self>> {
        let malformed = || Error::new(Kind::Invalid, "the ACL is malformed");
        let (version, entries) = value.split_first_chunk::<4>().ok_or_else(malformed)?;
        let (entries, rest) = entries.as_chunks::<ENTRY_BYTES>();
        if u32::from_le_bytes(*version) != VERSION || !rest.is_empty() {
            return Err(malformed());
        }
        let entries: Vec<_> = entries
            .iter()
            .map(|&[t0, t1, p0, p1, id @ ..]| Entry {
                tag: u16::from_le_bytes([t0, t1]),
                rwx: u16::from_le_bytes([p0, p1]),
                id: u32::from_le_bytes(id),
            })
            .collect();
        let acl = Self(entries);
        match acl.0.is_empty() {
            true => Ok(None),
            false if acl.is_valid() => Ok(Some(acl)),
            false => Err(malformed()),
        }
    }

    fn is_valid(&self) -> bool {
        let count = |tag| self.0.iter().filter(|entry| entry.tag == tag).count();
        let known = |tag| matches!(tag, USER_OBJ | USER | GROUP_OBJ | GROUP | MASK | OTHER);
        let needs_mask = count(USER) + count(GROUP) > 0;
        self.0.iter().all(|entry| known(entry.tag) && entry.rwx <= 7)
            && self.0.is_sorted_by_key(|entry| entry.tag)
            && [USER_OBJ, GROUP_OBJ, OTHER].into_iter().all(|tag| count(tag) == 1)
            && count(MASK) <= 1
            && (!needs_mask || count(MASK) == 1)
    }

    /// The attribute's value.
    pub(super) fn encode(&self) -> Bytes {
        let mut value = Vec::with_capacity(HEADER_BYTES + ENTRY_BYTES * self.0.len());
        value.extend_from_slice(&VERSION.to_le_bytes());
        for entry in &self.0 {
            value.extend_from_slice(&entry.tag.to_le_bytes());
            value.extend_from_slice(&entry.rwx.to_le_bytes());
            value.extend_from_slice(&entry.id.to_le_bytes());
        }
        value.into()
    }

    /// Whether it says no more than mode bits can.
    fn is_minimal(&self) -> bool {
        self.0.iter().all(|entry| matches!(entry.tag, USER_OBJ | GROUP_OBJ | OTHER))
    }

    /// The nine mode bits that stand for it; the group's are the mask's, if there is one.
    fn rwx(&self) -> u32 {
        let of = |tag| self.0.iter().find(|entry| entry.tag == tag).map(|entry| entry.rwx);
        let group = of(MASK).or(of(GROUP_OBJ));
        let bits = |rwx: Option<u16>| u32::from(rwx.unwrap_or(0));
        bits(of(USER_OBJ)) << 6 | bits(group) << 3 | bits(of(OTHER))
    }

    /// Lets `change` see the permissions of owner, group (or mask) and others with the three mode
    /// bits of the same class.
    fn with_classes(&mut self, rwx: u32, change: impl Fn(&mut u16, u16)) {
        let group = if self.0.iter().any(|entry| entry.tag == MASK) { MASK } else { GROUP_OBJ };
        for entry in &mut self.0 {
            let shift = match entry.tag {
                USER_OBJ => 6,
                OTHER => 0,
                tag if tag == group => 3,
                _ => continue,
            };
            let bits = rwx >> shift & 7;
            change(&mut entry.rwx, u16::try_from(bits).expect("three bits"));
        }
    }

    /// chmod: the classes get the mode's bits.
    fn set_rwx(&mut self, rwx: u32) {
        self.with_classes(rwx, |entry, bits| *entry = bits);
    }

    /// The access ACL of a new file under this default ACL: at most what its creator asked for.
    fn inherited(&self, rwx: u32) -> Self {
        let mut acl = self.clone();
        acl.with_classes(rwx, |entry, bits| *entry &= bits);
        acl
    }
}

/// What a new inode is made of, in a directory with this default ACL.
///
/// As Linux does: a set-group-id directory gives its group, and to directories the bit; a default
/// ACL replaces the umask. The kernel has taken a set-group-id bit that the caller may not give.
pub(super) fn child(
    parent: &Inode,
    default_acl: Option<Bytes>,
    caller: Caller,
    new: &NewInode,
) -> Result<NewNode> {
    let directory = new.kind == FileKind::Directory;
    let mut permissions = u32::from(new.permissions) & !mode::TYPE;
    let inherits_group = parent.mode & mode::SGID != 0;
    if inherits_group && directory {
        permissions |= mode::SGID;
    }
    let mut xattrs = Vec::new();
    let default = default_acl.as_ref().filter(|_| new.kind != FileKind::Symlink);
    match default.map(|value| Acl::parse(value)).transpose()?.flatten() {
        Some(default) => {
            let access = default.inherited(permissions);
            permissions = permissions & !ALL_RWX | access.rwx();
            if !access.is_minimal() {
                xattrs.push((Bytes::from_static(ACL_ACCESS), access.encode()));
            }
            if directory {
                xattrs.push((Bytes::from_static(ACL_DEFAULT), default.encode()));
            }
        }
        None if new.kind == FileKind::Symlink => {}
        None => permissions &= !(u32::from(new.umask) & ALL_RWX),
    }
    Ok(NewNode {
        mode: type_bits(new.kind) | permissions,
        uid: caller.uid,
        gid: if inherits_group { parent.gid } else { caller.gid },
        rdev: new.rdev,
        target: Bytes::new(),
        xattrs,
    })
}

/// chmod: `permissions` are the low twelve bits. An access ACL follows the mode.
pub(super) fn set_permissions(
    inode: &mut Inode,
    attached: &mut Attached,
    permissions: u16,
) -> Result<()> {
    let permissions = u32::from(permissions) & !mode::TYPE;
    inode.mode = inode.mode & mode::TYPE | permissions;
    if let Some(value) = &attached.access_acl {
        let acl = Acl::parse(value)?;
        attached.access_acl = acl.map(|mut acl| {
            acl.set_rwx(permissions);
            acl.encode()
        });
    }
    Ok(())
}

/// chown: whoever calls, what is no directory loses its set-id bits and capabilities.
pub(super) fn set_owner(
    inode: &mut Inode,
    attached: &mut Attached,
    uid: Option<u32>,
    gid: Option<u32>,
) {
    inode.uid = uid.unwrap_or(inode.uid);
    inode.gid = gid.unwrap_or(inode.gid);
    if !inode.is(mode::DIRECTORY) {
        kill_set_id(inode);
        attached.capability = None;
    }
}

/// Takes set-user-id, and set-group-id where it means execution with the group, as Linux does on
/// chown, and on write, truncate and fallocate by anybody but root. Whether there was one.
pub(super) fn kill_set_id(inode: &mut Inode) -> bool {
    let before = inode.mode;
    inode.mode &= !mode::SUID;
    if inode.mode & mode::GROUP_EXEC != 0 {
        inode.mode &= !mode::SGID;
    }
    inode.mode != before
}

/// Sets or removes the access ACL. The mode follows it; an ACL that says no more than the mode is
/// not kept.
///
/// The kernel cannot say whether the caller is in the file's group, so a caller whose own group it
/// is not, root excepted, loses set-group-id.
pub(super) fn set_access_acl(
    inode: &mut Inode,
    attached: &mut Attached,
    caller: Caller,
    acl: Option<&Acl>,
) {
    if let Some(acl) = acl {
        inode.mode = inode.mode & !ALL_RWX | acl.rwx();
        if caller.uid != 0 && caller.gid != inode.gid {
            inode.mode &= !mode::SGID;
        }
    }
    attached.access_acl = acl.filter(|acl| !acl.is_minimal()).map(Acl::encode);
}

/// A kind as `st_mode` has it.
pub(super) fn type_bits(kind: FileKind) -> u32 {
    match kind {
        FileKind::Regular => mode::REGULAR,
        FileKind::Directory => mode::DIRECTORY,
        FileKind::Symlink => mode::SYMLINK,
        FileKind::Fifo => mode::FIFO,
        FileKind::Socket => mode::SOCKET,
        FileKind::CharDevice => mode::CHAR_DEVICE,
        FileKind::BlockDevice => mode::BLOCK_DEVICE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ambient::Timestamp;
    use crate::types::ContentId;

    const NONE: u32 = u32::MAX;

    fn acl(entries: &[(u16, u16, u32)]) -> Acl {
        Acl(entries.iter().map(|&(tag, rwx, id)| Entry { tag, rwx, id }).collect())
    }

    fn named() -> Acl {
        acl(&[
            (USER_OBJ, 7, NONE),
            (USER, 6, 1000),
            (GROUP_OBJ, 5, NONE),
            (MASK, 7, NONE),
            (OTHER, 5, NONE),
        ])
    }

    fn inode(mode: u32) -> Inode {
        let time = Timestamp::default();
        Inode {
            mode,
            uid: 1,
            gid: 50,
            nlink: 1,
            rdev: 0,
            size: 0,
            atime: time,
            mtime: time,
            ctime: time,
            btime: time,
            flags: 0,
            content: ContentId(1),
            cuts: Vec::new(),
        }
    }

    fn made(parent: u32, default: Option<&Acl>, kind: FileKind, mode: u16) -> NewNode {
        let new = NewInode { kind, permissions: mode, umask: 0o027, rdev: 0 };
        let caller = Caller { uid: 9, gid: 9 };
        child(&inode(parent), default.map(Acl::encode), caller, &new).unwrap()
    }

    #[test]
    fn a_malformed_acl_is_invalid() {
        assert_eq!(Acl::parse(&named().encode()).unwrap(), Some(named()));
        assert_eq!(Acl::parse(&2u32.to_le_bytes()).unwrap(), None);
        let (u, g, o) = ((USER_OBJ, 7, NONE), (GROUP_OBJ, 5, NONE), (OTHER, 5, NONE));
        for bad in [
            acl(&[u, g]),
            acl(&[u, o, g]),
            acl(&[u, g, g, o]),
            acl(&[u, (USER, 7, 3), g, o]),
            acl(&[u, g, (OTHER, 8, NONE)]),
            acl(&[u, g, o, (0x40, 1, NONE)]),
        ] {
            assert_eq!(Acl::parse(&bad.encode()).unwrap_err().kind(), Kind::Invalid, "{bad:?}");
        }
        for bad in [&b"\x02\0\0"[..], b"\x01\0\0\0", b"\x02\0\0\0\x01"] {
            assert_eq!(Acl::parse(bad).unwrap_err().kind(), Kind::Invalid);
        }
    }

    #[test]
    fn the_umask_counts_only_without_a_default_acl() {
        assert_eq!(made(0o755, None, FileKind::Regular, 0o666).mode, mode::REGULAR | 0o640);
        let file = made(0o755, Some(&named()), FileKind::Regular, 0o666);
        assert_eq!(file.mode, mode::REGULAR | 0o664);
        let access = Acl::parse(&file.xattrs[0].1).unwrap().unwrap();
        assert_eq!((file.xattrs.len(), access.rwx()), (1, 0o664));
        let dir = made(0o755, Some(&named()), FileKind::Directory, 0o700);
        assert_eq!(dir.mode, mode::DIRECTORY | 0o700);
        assert_eq!(dir.xattrs[1], (Bytes::from_static(ACL_DEFAULT), named().encode()));
        let plain = acl(&[(USER_OBJ, 7, NONE), (GROUP_OBJ, 0, NONE), (OTHER, 0, NONE)]);
        let file = made(0o755, Some(&plain), FileKind::Regular, 0o666);
        assert_eq!((file.mode, file.xattrs.len()), (mode::REGULAR | 0o600, 0));
        let link = made(0o755, Some(&named()), FileKind::Symlink, 0o777);
        assert_eq!((link.mode, link.xattrs.len()), (mode::SYMLINK | 0o777, 0));
    }

    #[test]
    fn a_set_group_id_directory_gives_its_group() {
        let parent = mode::DIRECTORY | mode::SGID | 0o755;
        let file = made(parent, None, FileKind::Regular, 0o644);
        assert_eq!((file.gid, file.mode & mode::SGID), (50, 0));
        let dir = made(parent, None, FileKind::Directory, 0o755);
        assert_eq!((dir.gid, dir.mode & mode::SGID), (50, mode::SGID));
        assert_eq!(made(mode::DIRECTORY | 0o755, None, FileKind::Regular, 0o644).gid, 9);
    }

    #[test]
    fn mode_and_access_acl_follow_each_other() {
        let mut file = inode(mode::REGULAR | mode::SGID | 0o600);
        let mut attached = Attached::default();
        let caller = Caller { uid: 1, gid: 50 };
        set_access_acl(&mut file, &mut attached, caller, Some(&named()));
        assert_eq!(file.mode, mode::REGULAR | mode::SGID | 0o775);
        set_permissions(&mut file, &mut attached, 0o640).unwrap();
        let stored = Acl::parse(attached.access_acl.as_ref().unwrap()).unwrap().unwrap();
        assert_eq!((stored.rwx(), stored.0[2].rwx, stored.0[3].rwx), (0o640, 5, 4));
        let plain = acl(&[(USER_OBJ, 6, NONE), (GROUP_OBJ, 4, NONE), (OTHER, 4, NONE)]);
        let stranger = Caller { uid: 1, gid: 51 };
        set_access_acl(&mut file, &mut attached, stranger, Some(&plain));
        assert_eq!((file.mode, attached.access_acl), (mode::REGULAR | 0o644, None));
    }

    #[test]
    fn chown_takes_set_id_bits_and_capabilities_of_files_only() {
        for (before, after) in [
            (mode::REGULAR | 0o6755, mode::REGULAR | 0o755),
            (mode::REGULAR | 0o6745, mode::REGULAR | 0o2745),
            (mode::DIRECTORY | 0o6755, mode::DIRECTORY | 0o6755),
        ] {
            let mut inode = inode(before);
            let capability = Some(Bytes::from_static(b"c"));
            let mut attached = Attached { access_acl: None, capability };
            set_owner(&mut inode, &mut attached, Some(7), None);
            assert_eq!((inode.mode, inode.uid, inode.gid), (after, 7, 50));
            assert_eq!(attached.capability.is_some(), before & mode::TYPE == mode::DIRECTORY);
        }
    }
}
