//! The file system's names and attributes, on metadata in memory.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::ambient::Ambient;
use crate::ambient::Timestamp;
use crate::config::SseVerify;
use crate::crypto::NameKey;
use crate::error::Kind;
use crate::meta::kv::Engine;
use crate::meta::kv::MemoryEngine;
use crate::meta::root_batch;
use crate::object::Bucket;
use crate::object::MemoryStore;
use crate::object::Policy;
use crate::provider::SseMode;
use crate::types::FileName;
use crate::types::SessionId;
use crate::types::VolumeId;
use crate::volume::Parts;

const ROOT: Ino = Ino::ROOT;
const USER: Caller = Caller { uid: 7, gid: 8 };

async fn vfs() -> Arc<Vfs> {
    let engine = Arc::new(MemoryEngine::new());
    engine.commit(root_batch(&Ambient::seeded(1), 0, 0)).await.unwrap();
    let policy = Policy { mode: SseMode::None, verify: SseVerify::Warn };
    let parts = Parts {
        bucket: Bucket::memory(&MemoryStore::default(), Some(policy)),
        engine,
        id: VolumeId([7; 16]),
        block_bytes: 1 << 18,
        names: NameKey::new([7; 32]),
        session: Some(SessionId(1)),
        memory_bytes: 64 << 20,
        commit_interval: Duration::from_secs(3600),
        readahead_bytes: 0,
        ambient: Ambient::seeded(2),
    };
    Vfs::new(Volume::start(parts).await.unwrap())
}

fn name(text: &str) -> FileName {
    FileName::new(text.as_bytes()).unwrap()
}

fn new(kind: FileKind, permissions: u16) -> NewInode {
    NewInode { kind, permissions, umask: 0o022, rdev: 0 }
}

fn sendable<T>(future: impl Future<Output = T> + Send) -> impl Future<Output = T> + Send {
    future
}

async fn make(vfs: &Vfs, parent: Ino, text: &str, kind: FileKind) -> Attr {
    sendable(vfs.make(USER, parent, name(text), new(kind, 0o777))).await.unwrap()
}

fn acl(owner: u8, user_1000: u8, group: u8, mask: u8, other: u8) -> Bytes {
    let none = u32::MAX;
    let mut value = 2u32.to_le_bytes().to_vec();
    for (tag, rwx, id) in [
        (1, owner, none),
        (2, user_1000, 1000),
        (4, group, none),
        (16, mask, none),
        (32, other, none),
    ] {
        value.extend([tag, 0, rwx, 0]);
        value.extend(u32::to_le_bytes(id));
    }
    value.into()
}

#[tokio::test]
async fn new_inodes_belong_to_their_creator_and_count_in_statfs() {
    let vfs = vfs().await;
    for (kind, permissions) in [
        (FileKind::Regular, 0o755),
        (FileKind::Directory, 0o755),
        (FileKind::Fifo, 0o755),
        (FileKind::Socket, 0o755),
        (FileKind::CharDevice, 0o755),
        (FileKind::BlockDevice, 0o755),
    ] {
        let made = make(&vfs, ROOT, &format!("{kind:?}"), kind).await;
        assert_eq!((made.kind, made.permissions, made.uid, made.gid), (kind, permissions, 7, 8));
        assert_eq!(vfs.lookup(ROOT, name(&format!("{kind:?}"))).await.unwrap(), made);
    }
    assert_eq!(vfs.statfs(), StatFs { used_bytes: 0, used_inodes: 7 });
    assert_eq!(vfs.lookup(ROOT, name("nil")).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn a_symbolic_link_holds_up_to_4095_bytes() {
    let vfs = vfs().await;
    let link = async |text: &str, length: usize| {
        let target = Bytes::from(vec![b'x'; length]);
        sendable(vfs.symlink(USER, ROOT, name(text), target)).await
    };
    assert_eq!(link("a", 4096).await.unwrap_err().kind(), Kind::NameTooLong);
    assert_eq!(link("a", 0).await.unwrap_err().kind(), Kind::NotFound);
    let made = link("a", 4095).await.unwrap();
    assert_eq!((made.size, made.permissions, made.blocks), (4095, 0o777, 0));
    assert_eq!(sendable(vfs.readlink(made.ino)).await.unwrap().len(), 4095);
    assert_eq!(vfs.readlink(ROOT).await.unwrap_err().kind(), Kind::Invalid);
}

#[tokio::test]
async fn setattr_changes_what_it_is_told_and_the_change_time() {
    let vfs = vfs().await;
    let before = make(&vfs, ROOT, "f", FileKind::Regular).await;
    let at = Timestamp { seconds: -3, nanoseconds: 5 };
    let mtime = Some(SetTime::At(at));
    let set = SetAttr { permissions: Some(0o4711), mtime, ..SetAttr::default() };
    let after = sendable(vfs.setattr(USER, before.ino, set)).await.unwrap();
    assert_eq!((after.permissions, after.mtime, after.atime), (0o4711, at, before.atime));
    assert!(after.ctime > before.ctime && after.kind == FileKind::Regular);
    let capability = Bytes::from_static(b"security.capability");
    let any = SetXattr::Any;
    vfs.setxattr(USER, before.ino, capability.clone(), "c".into(), any).await.unwrap();
    let set = SetAttr { uid: Some(0), atime: Some(SetTime::Now), ..SetAttr::default() };
    let owned = vfs.setattr(USER, before.ino, set).await.unwrap();
    assert_eq!((owned.permissions, owned.uid, owned.gid), (0o711, 0, 8));
    assert_eq!(owned.atime, owned.ctime);
    let gone = vfs.getxattr(before.ino, capability).await.unwrap_err();
    assert_eq!(gone.kind(), Kind::NoAttribute);
    let same = vfs.setattr(USER, before.ino, SetAttr::default()).await.unwrap();
    assert_eq!(same, owned);
}

#[tokio::test]
async fn a_listing_begins_with_the_dots_and_carries_attributes() {
    let vfs = vfs().await;
    let dir = make(&vfs, ROOT, "d", FileKind::Directory).await;
    for at in 0..100 {
        make(&vfs, dir.ino, &at.to_string(), FileKind::Fifo).await;
    }
    let opened = sendable(vfs.opendir(dir.ino)).await.unwrap();
    let (mut cookie, mut names) = (0, BTreeSet::new());
    for plus in [true, false].into_iter().cycle() {
        let page = sendable(vfs.readdir(dir.ino, opened.handle, cookie, 3, plus)).await.unwrap();
        let Some(last) = page.last() else { break };
        if cookie == 0 {
            let dots: Vec<_> = page[..2].iter().map(|entry| (entry.ino, entry.cookie)).collect();
            assert_eq!(dots, [(dir.ino, 1), (ROOT, 2)]);
        }
        cookie = last.cookie;
        for entry in page {
            assert_eq!(entry.attr.is_some(), plus);
            assert!(entry.attr.is_none_or(|a| (a.ino, a.kind) == (entry.ino, entry.kind)));
            assert!(names.insert(entry.name));
        }
    }
    assert_eq!(names.len(), 102);
    vfs.releasedir(dir.ino, opened.handle).await;
    assert_eq!(sendable(vfs.parent(dir.ino)).await.unwrap().ino, ROOT);
    assert_eq!(vfs.parent(ROOT).await.unwrap().ino, ROOT);
}

#[tokio::test]
async fn an_open_directory_reads_as_empty_after_its_removal() {
    let vfs = vfs().await;
    let dir = make(&vfs, ROOT, "d", FileKind::Directory).await;
    let file = make(&vfs, ROOT, "f", FileKind::Fifo).await;
    assert_eq!(vfs.opendir(file.ino).await.unwrap_err().kind(), Kind::NotDirectory);
    let handle = vfs.opendir(dir.ino).await.unwrap().handle;
    sendable(vfs.rmdir(ROOT, name("d"))).await.unwrap();
    assert_eq!(vfs.getattr(dir.ino).await.unwrap().nlink, 0);
    assert_eq!(vfs.readdir(dir.ino, handle, 2, 10, true).await.unwrap(), []);
    sendable(vfs.releasedir(dir.ino, handle)).await;
    assert_eq!(vfs.getattr(dir.ino).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn attributes_live_in_their_namespaces() {
    let vfs = vfs().await;
    let ino = make(&vfs, ROOT, "f", FileKind::Regular).await.ino;
    let fifo = make(&vfs, ROOT, "p", FileKind::Fifo).await.ino;
    let set = async |ino, name: &[u8], length: usize| {
        let (name, value) = (Bytes::copy_from_slice(name), Bytes::from(vec![1; length]));
        let result = sendable(vfs.setxattr(USER, ino, name, value, SetXattr::Any)).await;
        result.map_err(|error| error.kind())
    };
    assert_eq!(set(ino, b"user.a", 65536).await, Ok(()));
    assert_eq!(set(ino, b"user.a", 65537).await, Err(Kind::Range));
    assert_eq!(set(ino, b"user.", 1).await, Err(Kind::Invalid));
    assert_eq!(set(ino, b"other.a", 1).await, Err(Kind::Unsupported));
    assert_eq!(set(ino, b"user.a\0b", 1).await, Err(Kind::Unsupported));
    assert_eq!(set(ino, &b"user.".repeat(52), 1).await, Err(Kind::Range));
    assert_eq!(set(fifo, b"user.a", 1).await, Err(Kind::NotOwner));
    assert_eq!(set(fifo, b"trusted.a", 0).await, Ok(()));
    let long = |at: usize| [format!("trusted.{at:04}").as_bytes(), &[b'x'; 243][..]].concat();
    for at in 0..255 {
        assert_eq!(set(fifo, &long(at), 0).await, Ok(()));
    }
    assert_eq!(set(fifo, &long(255), 0).await, Err(Kind::NoSpace));
    assert!(sendable(vfs.listxattr(fifo)).await.unwrap().len() <= 65536);
    sendable(vfs.removexattr(USER, ino, "user.a".into())).await.unwrap();
    assert_eq!(vfs.listxattr(ino).await.unwrap(), Bytes::new());
}

#[tokio::test]
async fn acls_change_the_mode_and_are_inherited() {
    let vfs = vfs().await;
    let dir = make(&vfs, ROOT, "d", FileKind::Directory).await.ino;
    let (access, default) = ("system.posix_acl_access", "system.posix_acl_default");
    let set = async |ino, name: &'static str, value: Bytes| {
        vfs.setxattr(USER, ino, name.into(), value, SetXattr::Any).await.map_err(|e| e.kind())
    };
    assert_eq!(set(dir, default, acl(7, 7, 5, 7, 0)).await, Ok(()));
    let file = make(&vfs, dir, "f", FileKind::Regular).await;
    assert_eq!(file.permissions, 0o770);
    assert_eq!(vfs.getxattr(file.ino, access.into()).await.unwrap(), acl(7, 7, 5, 7, 0));
    assert_eq!(set(file.ino, default, acl(7, 7, 5, 7, 0)).await, Err(Kind::Access));
    assert_eq!(set(file.ino, access, acl(6, 4, 4, 4, 4)).await, Ok(()));
    assert_eq!(vfs.getattr(file.ino).await.unwrap().permissions, 0o644);
    let chmod = SetAttr { permissions: Some(0o700), ..SetAttr::default() };
    vfs.setattr(USER, file.ino, chmod).await.unwrap();
    assert_eq!(vfs.getxattr(file.ino, access.into()).await.unwrap(), acl(7, 4, 4, 0, 0));
    for _ in 0..2 {
        vfs.removexattr(USER, file.ino, access.into()).await.unwrap();
        vfs.removexattr(USER, dir, default.into()).await.unwrap();
    }
    assert_eq!(vfs.listxattr(file.ino).await.unwrap(), Bytes::new());
    assert_eq!(set(file.ino, access, Bytes::from_static(b"junk")).await, Err(Kind::Invalid));
}

#[tokio::test]
async fn names_move_and_go_through_the_file_system_too() {
    let vfs = vfs().await;
    let file = make(&vfs, ROOT, "a", FileKind::Regular).await.ino;
    assert_eq!(sendable(vfs.link(file, ROOT, name("b"))).await.unwrap().nlink, 2);
    let mode = RenameMode::Replace;
    sendable(vfs.rename(ROOT, name("b"), ROOT, name("c"), mode)).await.unwrap();
    sendable(vfs.unlink(ROOT, name("a"))).await.unwrap();
    assert_eq!(sendable(vfs.getattr(file)).await.unwrap().nlink, 1);
}
