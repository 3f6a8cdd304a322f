//! The operations' rules, one test each, on metadata in memory.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::Fate;
use super::OpenFiles;
use super::RenameMode;
use super::SetXattr;
use super::extent::BlockRecord;
use super::extent::Chunk;
use super::extent::Extent;
use super::extent::Frame;
use super::extent::Place;
use super::fixture::Bed;
use super::fixture::file_name;
use super::inode::LINKS_MAX;
use super::key;
use super::kv::View;
use super::value::Cut;
use super::value::Dentries;
use super::value::Dentry;
use super::value::Inode;
use super::value::mode;
use crate::error::Kind;
use crate::error::Result;
use crate::types::BlockId;
use crate::types::ContentId;
use crate::types::Epoch;
use crate::types::FileName;
use crate::types::Ino;
use crate::types::WriteSeq;

const DIR: u32 = mode::DIRECTORY;
const FILE: u32 = mode::REGULAR;
const ROOT: Ino = Ino::ROOT;

fn sendable<T>(future: impl Future<Output = T> + Send) -> impl Future<Output = T> + Send {
    future
}

fn kind<T>(result: Result<T>) -> Kind {
    result.err().expect("an error").kind()
}

impl Bed {
    async fn nlink(&self, ino: Ino) -> u32 {
        self.meta.inode(ino).await.unwrap().nlink
    }

    async fn moved(&self, from: (Ino, &str), to: (Ino, &str), mode: RenameMode) -> Result<()> {
        let (name, new_name) = (file_name(from.1), file_name(to.1));
        let (from, to) = ((from.0, &name), (to.0, &new_name));
        sendable(self.meta.rename(from, to, mode, &self.open)).await.map(|_| ())
    }

    async fn removed(&self, dir: Ino, name: &str) -> Result<Fate> {
        let name = file_name(name);
        Ok(sendable(self.meta.unlink(dir, &name, &self.open)).await?.fate)
    }

    async fn put_inode(&self, ino: Ino, change: impl Fn(&mut Inode)) {
        let mut inode = self.meta.inode(ino).await.unwrap();
        change(&mut inode);
        let changes = [(key::inode(ino), Some(inode.encode()))];
        self.meta.store().apply(View::Live, || (changes.into(), Default::default(), ()));
    }
}

#[tokio::test]
async fn a_directory_counts_its_entries_and_its_subdirectories() {
    let bed = Bed::new().await;
    let dir = sendable(bed.make(ROOT, "d", DIR)).await.unwrap();
    bed.make(dir, "sub", DIR).await.unwrap();
    let file = bed.make(dir, "f", FILE).await.unwrap();
    assert_eq!(kind(bed.make(dir, "f", DIR).await), Kind::Exists);
    assert_eq!(kind(bed.make(file, "x", FILE).await), Kind::NotDirectory);
    let inode = bed.meta.inode(dir).await.unwrap();
    assert_eq!((inode.nlink, inode.size, inode.parent()), (3, 2, ROOT));
    let name = file_name("d");
    assert_eq!(kind(bed.meta.rmdir(ROOT, &name, &bed.open).await), Kind::NotEmpty);
    assert_eq!(kind(bed.removed(ROOT, "d").await), Kind::IsDirectory);
    bed.assert_sound().await;
    let sub = file_name("sub");
    bed.meta.rmdir(dir, &sub, &bed.open).await.unwrap();
    assert_eq!(kind(bed.meta.rmdir(dir, &file_name("f"), &bed.open).await), Kind::NotDirectory);
    assert_eq!(bed.removed(dir, "f").await.unwrap(), Fate::Removed);
    bed.meta.rmdir(ROOT, &name, &bed.open).await.unwrap();
    assert_eq!(kind(bed.make(dir, "late", FILE).await), Kind::NotFound);
    assert_eq!(bed.nlink(ROOT).await, 2);
    bed.assert_sound().await;
}

#[tokio::test]
async fn what_lives_and_dies_within_one_epoch_is_never_stored() {
    let mut bed = Bed::new().await;
    let before = bed.entries().await.len();
    let dir = bed.make(ROOT, "d", DIR).await.unwrap();
    let link = bed.make(dir, "l", mode::SYMLINK).await.unwrap();
    let (name, value) = (b"trusted.a", Bytes::from_static(b"1"));
    bed.meta.set_xattr(link, name, &value, SetXattr::Any).await.unwrap();
    bed.removed(dir, "l").await.unwrap();
    bed.meta.rmdir(ROOT, &file_name("d"), &bed.open).await.unwrap();
    bed.commit().await;
    assert_eq!(bed.entries().await.len(), before);
    bed.assert_sound().await;
}

#[tokio::test]
async fn a_hard_link_keeps_the_file_until_the_last_name_goes() {
    let bed = Bed::new().await;
    let file = bed.make(ROOT, "a", FILE).await.unwrap();
    let dir = bed.make(ROOT, "d", DIR).await.unwrap();
    let b = file_name("b");
    sendable(bed.meta.link(file, dir, &b)).await.unwrap();
    assert_eq!(bed.nlink(file).await, 2);
    assert_eq!(kind(bed.meta.link(file, dir, &b).await), Kind::Exists);
    assert_eq!(kind(bed.meta.link(dir, ROOT, &b).await), Kind::NotOwner);
    assert_eq!(bed.removed(ROOT, "a").await.unwrap(), Fate::Linked);
    let content = bed.meta.inode(file).await.unwrap().content;
    assert_eq!(bed.removed(dir, "b").await.unwrap(), Fate::Removed);
    assert_eq!(*bed.handles.forgotten.lock(), [content]);
    assert!(bed.meta.store().get(&key::garbage(content)).await.unwrap().is_some());
    bed.assert_sound().await;
}

#[tokio::test]
async fn links_have_a_limit() {
    let bed = Bed::new().await;
    let file = bed.make(ROOT, "a", FILE).await.unwrap();
    bed.put_inode(file, |inode| inode.nlink = LINKS_MAX).await;
    bed.put_inode(ROOT, |inode| inode.nlink = LINKS_MAX).await;
    assert_eq!(kind(bed.meta.link(file, ROOT, &file_name("b")).await), Kind::TooManyLinks);
    assert_eq!(kind(bed.make(ROOT, "d", DIR).await), Kind::TooManyLinks);
}

#[tokio::test]
async fn an_open_file_outlives_its_name_until_the_last_close() {
    let mut bed = Bed::new().await;
    for (name, kind) in [("f", FILE), ("d", DIR)] {
        let ino = bed.make(ROOT, name, kind).await.unwrap();
        bed.handles.open.lock().insert(ino);
        let name = file_name(name);
        let dropped = match kind {
            DIR => bed.meta.rmdir(ROOT, &name, &bed.open).await.unwrap(),
            _ => bed.meta.unlink(ROOT, &name, &bed.open).await.unwrap(),
        };
        assert_eq!((dropped.ino, dropped.fate), (ino, Fate::Orphan));
        assert_eq!(bed.nlink(ino).await, 0);
        assert_ne!(bed.meta.link(ino, ROOT, &name).await.unwrap_err().kind(), Kind::Exists);
        bed.meta.reap(ino, &bed.open).await.unwrap();
        assert_eq!(bed.meta.orphans().await.unwrap(), [ino]);
        bed.assert_sound().await;
        bed.commit().await;
        bed.handles.open.lock().remove(&ino);
        sendable(bed.meta.reap(ino, &bed.open)).await.unwrap();
        bed.meta.reap(ino, &bed.open).await.unwrap();
        assert_eq!(kind_of_missing(&bed, ino).await, Kind::NotFound);
        bed.assert_sound().await;
    }
}

async fn kind_of_missing(bed: &Bed, ino: Ino) -> Kind {
    kind(bed.meta.inode(ino).await)
}

/// A file that is opened, or closed, after the first look.
struct Toggled {
    looks: AtomicU32,
    first: bool,
}

impl OpenFiles for Toggled {
    fn is_open(&self, _ino: Ino) -> bool {
        match self.looks.fetch_add(1, Ordering::Relaxed) {
            0 => self.first,
            _ => !self.first,
        }
    }

    fn may_have_extents(&self, _content: ContentId) -> bool {
        false
    }

    fn forget(&self, _content: ContentId) {}
}

#[tokio::test]
async fn a_removal_decides_again_when_the_file_is_opened_or_closed_meanwhile() {
    for (first, fate) in [(false, Fate::Orphan), (true, Fate::Removed)] {
        let bed = Bed::new().await;
        bed.make(ROOT, "f", FILE).await.unwrap();
        let open: Arc<dyn OpenFiles> = Arc::new(Toggled { looks: AtomicU32::new(0), first });
        let dropped = bed.meta.unlink(ROOT, &file_name("f"), &open).await.unwrap();
        assert_eq!(dropped.fate, fate);
        bed.assert_sound().await;
    }
}

#[tokio::test]
async fn a_mount_removes_the_orphans_of_dead_sessions() {
    let mut bed = Bed::new().await;
    let file = bed.make(ROOT, "f", FILE).await.unwrap();
    bed.handles.open.lock().insert(file);
    bed.removed(ROOT, "f").await.unwrap();
    bed.commit().await;
    let bed = bed.reopened().await;
    for ino in bed.meta.orphans().await.unwrap() {
        bed.meta.reap(ino, &bed.open).await.unwrap();
    }
    assert_eq!(kind_of_missing(&bed, file).await, Kind::NotFound);
    bed.assert_sound().await;
}

#[tokio::test]
async fn rename_keeps_counts_parents_and_errors_right() {
    use RenameMode::Exchange;
    use RenameMode::NoReplace;
    use RenameMode::Replace;
    let bed = Bed::new().await;
    let (a, b) = (bed.make(ROOT, "a", DIR).await.unwrap(), bed.make(ROOT, "b", DIR).await.unwrap());
    let sub = bed.make(a, "sub", DIR).await.unwrap();
    let file = bed.make(a, "f", FILE).await.unwrap();
    bed.make(b, "g", FILE).await.unwrap();
    for (from, to, mode, expected) in [
        ((a, "nil"), (b, "x"), Replace, Kind::NotFound),
        ((a, "f"), (b, "g"), NoReplace, Kind::Exists),
        ((a, "f"), (b, "x"), Exchange, Kind::NotFound),
        ((a, "sub"), (b, "g"), Replace, Kind::NotDirectory),
        ((b, "g"), (a, "sub"), Replace, Kind::IsDirectory),
        ((a, "sub"), (ROOT, "b"), Replace, Kind::NotEmpty),
        ((ROOT, "a"), (sub, "x"), Replace, Kind::Invalid),
        ((ROOT, "a"), (a, "x"), Replace, Kind::Invalid),
        ((ROOT, "a"), (a, "sub"), Exchange, Kind::Invalid),
        ((a, "sub"), (ROOT, "a"), Exchange, Kind::Invalid),
        ((a, "f"), (file, "x"), Replace, Kind::NotDirectory),
    ] {
        assert_eq!(kind(bed.moved(from, to, mode).await), expected, "{from:?} {to:?} {mode:?}");
    }
    bed.moved((a, "f"), (b, "g"), Replace).await.unwrap();
    bed.moved((a, "sub"), (b, "s"), NoReplace).await.unwrap();
    assert_eq!(bed.meta.inode(sub).await.unwrap().parent(), b);
    assert_eq!((bed.nlink(a).await, bed.nlink(b).await), (2, 3));
    bed.assert_sound().await;
    bed.moved((b, "g"), (ROOT, "a"), Exchange).await.unwrap();
    assert_eq!(bed.meta.lookup(ROOT, &file_name("a")).await.unwrap().0, file);
    assert_eq!(bed.meta.inode(a).await.unwrap().parent(), b);
    assert_eq!((bed.nlink(ROOT).await, bed.nlink(b).await), (3, 4));
    bed.moved((b, "g"), (b, "s"), Replace).await.unwrap();
    bed.assert_sound().await;
}

#[tokio::test]
async fn a_rename_between_two_names_of_one_file_does_nothing() {
    let bed = Bed::new().await;
    let file = bed.make(ROOT, "a", FILE).await.unwrap();
    bed.meta.link(file, ROOT, &file_name("b")).await.unwrap();
    bed.moved((ROOT, "a"), (ROOT, "b"), RenameMode::Replace).await.unwrap();
    bed.moved((ROOT, "a"), (ROOT, "a"), RenameMode::Replace).await.unwrap();
    assert_eq!(bed.nlink(file).await, 2);
    assert_eq!(bed.meta.inode(ROOT).await.unwrap().size, 2);
    bed.assert_sound().await;
}

#[tokio::test]
async fn opposite_renames_at_once_never_tie_a_loop() {
    let bed = Bed::new().await;
    let (a, b) = (bed.make(ROOT, "a", DIR).await.unwrap(), bed.make(ROOT, "b", DIR).await.unwrap());
    let one = bed.moved((ROOT, "a"), (b, "a"), RenameMode::Replace);
    let other = bed.moved((ROOT, "b"), (a, "b"), RenameMode::Replace);
    let (one, other) = futures::join!(one, other);
    assert!(one.is_ok() != other.is_ok());
    bed.assert_sound().await;
}

#[tokio::test]
async fn extended_attributes_obey_their_flags() {
    let bed = Bed::new().await;
    let ino = bed.make(ROOT, "f", FILE).await.unwrap();
    let (name, value) = (&b"user.a"[..], Bytes::from_static(b"1"));
    let set = async |how| bed.meta.set_xattr(ino, name, &value, how).await;
    assert_eq!(kind(bed.meta.xattr(ino, name).await), Kind::NoAttribute);
    assert_eq!(kind(set(SetXattr::Replace).await), Kind::NoAttribute);
    set(SetXattr::Create).await.unwrap();
    assert_eq!(kind(set(SetXattr::Create).await), Kind::Exists);
    set(SetXattr::Replace).await.unwrap();
    sendable(bed.meta.set_xattr(ino, b"user.b", &value, SetXattr::Any)).await.unwrap();
    assert_eq!(bed.meta.xattr(ino, name).await.unwrap(), value);
    assert_eq!(&bed.meta.xattr_names(ino).await.unwrap()[..], b"user.a\0user.b\0");
    bed.meta.remove_xattr(ino, name).await.unwrap();
    assert_eq!(kind(bed.meta.remove_xattr(ino, name).await), Kind::NoAttribute);
    bed.assert_sound().await;
    bed.removed(ROOT, "f").await.unwrap();
    bed.assert_sound().await;
}

#[tokio::test]
async fn a_listing_misses_and_doubles_no_survivor() {
    let mut bed = Bed::new().await;
    let name = |at: usize| format!("n{at}");
    for at in 0..500 {
        bed.make(ROOT, &name(at), FILE).await.unwrap();
        if at == 250 {
            bed.commit().await;
        }
    }
    let (mut cookie, mut seen, mut at) = (0, Vec::new(), 0);
    loop {
        let page = bed.meta.readdir(ROOT, cookie, 7).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 7 && page[0].cookie > cookie && page.is_sorted_by_key(|e| e.cookie));
        cookie = last.cookie;
        seen.extend(page.iter().map(|entry| entry.name.clone()));
        bed.removed(ROOT, &name(at)).await.unwrap();
        at += 2;
    }
    for at in (0..500).filter(|other| other % 2 == 1 || *other > at) {
        assert_eq!(seen.iter().filter(|seen| **seen == file_name(&name(at))).count(), 1);
    }
}

#[tokio::test]
async fn names_of_one_hash_share_a_key_and_the_first_cookies_stay_reserved() {
    let bed = Bed::new().await;
    let dentry = |index, name: &str| {
        let (ino, kind) = (Ino(9), mode::FIFO);
        Dentry { index, ino, kind, name: FileName::new(name.as_bytes()).unwrap() }
    };
    let group = Dentries(vec![dentry(3, "x"), dentry(9, "y")]);
    let changes = [(key::dentry(ROOT, 0), Some(group.encode()))];
    bed.meta.store().apply(View::Live, || (changes.into(), Default::default(), ()));
    let listed = bed.meta.readdir(ROOT, 2, 1).await.unwrap();
    assert_eq!((listed.len(), listed[0].cookie), (1, 3));
    let listed = bed.meta.readdir(ROOT, 3, 9).await.unwrap();
    assert_eq!((listed.len(), listed[0].cookie), (1, 9));
    assert_eq!(super::dentry::cookie((1 << 56) - 1, 127), i64::MAX as u64);
}

#[tokio::test]
async fn the_checker_names_what_is_broken() {
    for (change, expected) in [
        (key::garbage(ContentId(1)), "garbage"),
        (key::orphan(Ino(99)), "orphan"),
        (key::symlink(Ino(99)), "symbolic link"),
        (key::xattr(Ino(99), b"user.a"), "attribute"),
    ] {
        let bed = Bed::new().await;
        bed.make(ROOT, "f", FILE).await.unwrap();
        let changes = [(change, Some(Bytes::from_static(b"v")))];
        bed.meta.store().apply(View::Live, || (changes.into(), Default::default(), ()));
        let findings = bed.findings(View::Live).await;
        assert!(findings.len() == 1 && findings[0].contains(expected), "{findings:?}");
    }
    let bed = Bed::new().await;
    let file = bed.make(ROOT, "f", FILE).await.unwrap();
    bed.put_inode(file, |inode| inode.nlink = 2).await;
    bed.put_inode(ROOT, |inode| inode.size = 7).await;
    assert_eq!(bed.findings(View::Live).await.len(), 2);
}

#[tokio::test]
async fn the_checker_counts_every_byte_of_every_block() {
    let bed = Bed::new().await;
    let file = bed.make(ROOT, "f", FILE).await.unwrap();
    let content = bed.meta.inode(file).await.unwrap().content;
    let (used, lost, idle) = (BlockId([1; 16]), BlockId([2; 16]), BlockId([3; 16]));
    let extent = |start, block| {
        let frames = vec![Frame { at: 64, index: 0, stored: 10, plain: 10, codec: 0 }];
        let place = Place::Stored { block, skip: 0, frames };
        Extent { start, len: 10, seq: WriteSeq(1), place }
    };
    let record = |live| Some(BlockRecord { birth: Epoch(1), stored: 99, live }.encode());
    let put = |key, value| {
        let changes = [(key, value)];
        bed.meta.store().apply(View::Live, || (changes.into(), Default::default(), ()));
    };
    put(key::chunk(content, 0), Some(Chunk(vec![extent(0, used), extent(10, lost)]).encode()));
    put(key::chunk(ContentId(77), 0), Some(Chunk(vec![extent(0, used)]).encode()));
    put(key::block(used), record(10));
    put(key::block(idle), record(0));
    put(key::reclaim(Epoch(1), idle), Some(Bytes::new()));
    let findings = bed.findings(View::Live).await.join("\n");
    for expected in [
        "content 1, MiB 0: bytes up to 20 behind the end of inode 2 at 0",
        "content 77, MiB 0: neither a file's nor garbage",
        &format!("block {used} claims 10 live bytes, but has 20"),
        &format!("block {lost} has 10 live bytes but no record"),
        &format!("block {idle} has no live byte and is kept"),
        &format!("block {idle} is in use and to be reclaimed"),
        "the volume claims 2 inodes and 0 bytes, but has 2 and 30",
    ] {
        assert!(findings.contains(expected), "{expected}: {findings}");
    }
    assert_eq!(findings.lines().count(), 7, "{findings}");
    bed.put_inode(file, |inode| {
        inode.cuts = vec![Cut { start: 0, end: u64::MAX, seq: WriteSeq(1) }];
    })
    .await;
    assert_eq!(bed.findings(View::Live).await.len(), 6);
}

#[tokio::test]
async fn names_in_a_directory_of_this_session_ask_the_engine_nothing() {
    let mut bed = Bed::new().await;
    let old = bed.make(ROOT, "old", DIR).await.unwrap();
    bed.commit().await;
    let mut bed = bed.reopened().await;
    let new = bed.make(ROOT, "new", DIR).await.unwrap();
    bed.commit().await;
    bed.asked();
    for at in 0..100 {
        let (name, renamed) = (at.to_string(), format!("{at}'"));
        assert_eq!(kind(bed.meta.lookup(new, &file_name(&name)).await), Kind::NotFound);
        bed.make(new, &name, FILE).await.unwrap();
        bed.moved((new, &name), (new, &renamed), RenameMode::Replace).await.unwrap();
        bed.removed(new, &renamed).await.unwrap();
    }
    assert_eq!(bed.asked(), 0);
    assert_eq!(kind(bed.meta.lookup(old, &file_name("x")).await), Kind::NotFound);
    assert_eq!(bed.asked(), 1, "an earlier session may have left the name");
    bed.make(new, "kept", FILE).await.unwrap();
    bed.commit().await;
    bed.meta.lookup(new, &file_name("kept")).await.unwrap();
}

#[tokio::test]
async fn a_walk_through_an_old_directory_asks_the_engine_for_many_names_at_once() {
    let mut bed = Bed::new().await;
    let dir = bed.make(ROOT, "d", DIR).await.unwrap();
    let mut made = Vec::new();
    for at in 0..100 {
        made.push(bed.make(dir, &at.to_string(), FILE).await.unwrap());
    }
    bed.commit().await;
    let bed = bed.reopened().await;
    for (at, ino) in made.into_iter().enumerate() {
        let found = bed.meta.lookup(dir, &file_name(&at.to_string())).await.unwrap();
        assert_eq!(found.0, ino);
        assert_eq!(kind(bed.meta.lookup(dir, &file_name(&format!("{at}'"))).await), Kind::NotFound);
    }
    let asked = bed.asked();
    assert!(asked < 250, "three hundred looks asked the engine {asked} times");
}
