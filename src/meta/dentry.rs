//! Names in directories inside a transaction: the groups of names with one hash, and the
//! directory's own inode, which counts them. Knows inodes only as numbers and types.

use std::sync::Arc;

use bytes::Bytes;

use super::Meta;
use super::inode;
use super::inode::LINKS_MAX;
use super::inode::NewNode;
use super::key;
use super::kv::Store;
use super::kv::Txn;
use super::kv::View;
use super::orphan;
use super::orphan::Dropped;
use super::orphan::OpenFiles;
use super::value::Dentries;
use super::value::Dentry;
use super::value::Inode;
use super::value::mode;
use super::xattr;
use crate::ambient::Timestamp;
use crate::crypto::NameKey;
use crate::crypto::name_hash;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::types::FileName;
use crate::types::Ino;

/// Bits of a cookie that tell names of one hash apart.
const INDEX_BITS: u32 = 7;

/// Cookies below it mean the start, `.` and `..`; names get none of them.
pub const COOKIE_MIN: u64 = 3;

/// What a name leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Child {
    pub(super) ino: Ino,
    /// One of [`mode`]'s types.
    pub(super) kind: u32,
}

impl Child {
    fn is_directory(self) -> bool {
        self.kind == mode::DIRECTORY
    }
}

impl From<&Dentry> for Child {
    fn from(dentry: &Dentry) -> Self {
        Self { ino: dentry.ino, kind: dentry.kind }
    }
}

/// An entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Where a listing goes on after this entry, kept for the name's life. At least 3.
    pub cookie: u64,
    /// What it names.
    pub ino: Ino,
    /// One of [`mode`]'s types.
    pub kind: u32,
    /// The name.
    pub name: FileName,
}

/// The cookie of the name with `index` among those of `hash`.
pub fn cookie(hash: u64, index: u8) -> u64 {
    hash << INDEX_BITS | u64::from(index)
}

/// The group's name that equals `name`.
pub(super) fn find_in<'a>(group: &'a Dentries, name: &FileName) -> Option<&'a Dentry> {
    group.0.iter().find(|dentry| dentry.name == *name)
}

/// A place in a directory where a name is or could be.
pub(super) struct Place<'a> {
    pub(super) dir: Ino,
    name: &'a FileName,
    hash: u64,
}

impl<'a> Place<'a> {
    pub(super) fn new(names: &NameKey, dir: Ino, name: &'a FileName) -> Self {
        Self { dir, name, hash: name_hash(names, dir, name) }
    }

    pub(super) fn key(&self) -> Bytes {
        key::dentry(self.dir, self.hash)
    }

    /// Where the directory's names end.
    pub(super) fn end(&self) -> Bytes {
        key::dentries_from(self.dir, self.hash).end
    }

    /// What the name leads to, if it exists.
    pub(super) async fn find(&self, txn: &mut Txn) -> Result<Option<Child>> {
        Ok(find_in(&self.group(txn).await?, self.name).map(Child::from))
    }

    /// What the name leads to.
    pub(super) async fn get(&self, txn: &mut Txn) -> Result<Child> {
        self.find(txn).await?.ok_or_else(|| self.missing())
    }

    /// Fails if the name exists.
    pub(super) async fn vacant(&self, txn: &mut Txn) -> Result<()> {
        match self.find(txn).await? {
            Some(_) => Err(Error::new(Kind::Exists, "the name exists")
                .with("directory", self.dir)
                .with("name", format!("{:?}", self.name))),
            None => Ok(()),
        }
    }

    /// Adds the name, which must be vacant.
    pub(super) async fn bind(&self, txn: &mut Txn, child: Child, now: Timestamp) -> Result<()> {
        let mut group = self.group(txn).await?;
        let index = self.free_index(&group)?;
        let name = self.name.clone();
        group.0.push(Dentry { index, ino: child.ino, kind: child.kind, name });
        group.0.sort_unstable_by_key(|dentry| dentry.index);
        txn.put(self.key(), group.encode());
        self.change_directory(txn, None, Some(child), now).await
    }

    /// Lets the name, which must exist, lead to `child` instead. It keeps its cookie.
    pub(super) async fn rebind(&self, txn: &mut Txn, child: Child, now: Timestamp) -> Result<()> {
        let mut group = self.group(txn).await?;
        let found = group.0.iter_mut().find(|dentry| dentry.name == *self.name);
        let dentry = found.ok_or_else(|| self.missing())?;
        let old = Child::from(&*dentry);
        (dentry.ino, dentry.kind) = (child.ino, child.kind);
        txn.put(self.key(), group.encode());
        self.change_directory(txn, Some(old), Some(child), now).await
    }

    /// Removes the name, which must exist.
    pub(super) async fn unbind(&self, txn: &mut Txn, now: Timestamp) -> Result<()> {
        let mut group = self.group(txn).await?;
        let old = find_in(&group, self.name).map(Child::from).ok_or_else(|| self.missing())?;
        group.0.retain(|dentry| dentry.name != *self.name);
        if group.0.is_empty() {
            txn.delete(self.key());
        } else {
            txn.put(self.key(), group.encode());
        }
        self.change_directory(txn, Some(old), None, now).await
    }

    /// Counts, links and times of the directory when a name's child changes from `old` to `new`.
    async fn change_directory(
        &self,
        txn: &mut Txn,
        old: Option<Child>,
        new: Option<Child>,
        now: Timestamp,
    ) -> Result<()> {
        let mut dir = inode::directory(txn, self.dir).await?;
        let count = |child: Option<Child>| u64::from(child.is_some());
        let links = |child: Option<Child>| u32::from(child.is_some_and(Child::is_directory));
        let corrupt = || Error::new(Kind::Corrupt, "a directory miscounts its entries");
        if links(new) > links(old) && dir.nlink >= LINKS_MAX {
            return Err(Error::new(
                Kind::TooManyLinks,
                "the directory has too many subdirectories",
            )
            .with("directory", self.dir));
        }
        dir.size = (dir.size + count(new)).checked_sub(count(old)).ok_or_else(corrupt)?;
        dir.nlink = (dir.nlink + links(new)).checked_sub(links(old)).ok_or_else(corrupt)?;
        (dir.mtime, dir.ctime) = (now, now);
        inode::put(txn, self.dir, &dir);
        Ok(())
    }

    async fn group(&self, txn: &mut Txn) -> Result<Dentries> {
        match txn.get(&self.key()).await? {
            Some(value) => Dentries::decode(&value),
            None => Ok(Dentries::default()),
        }
    }

    fn free_index(&self, group: &Dentries) -> Result<u8> {
        (0..Dentries::MAX)
            .filter(|&index| cookie(self.hash, index) >= COOKIE_MIN)
            .find(|&index| group.0.iter().all(|dentry| dentry.index != index))
            .ok_or_else(|| {
                Error::new(Kind::NoSpace, "too many names of the directory share one hash")
                    .with("directory", self.dir)
            })
    }

    pub(super) fn missing(&self) -> Error {
        Error::new(Kind::NotFound, "there is no such name")
            .with("directory", self.dir)
            .with("name", format!("{:?}", self.name))
    }
}

/// mknod, mkdir, symlink: `shape` sees the directory and its default ACL and says what to make.
pub(super) async fn make(
    meta: &Meta,
    txn: &mut Txn,
    (parent, name): (Ino, &FileName),
    shape: &(impl Fn(&Inode, Option<Bytes>) -> Result<NewNode> + Sync),
) -> Result<(Ino, Inode)> {
    let now = meta.ambient.now();
    let place = Place::new(&meta.names, parent, name);
    let dir = inode::directory(txn, parent).await?;
    place.vacant(txn).await?;
    let default_acl = xattr::get(txn, parent, &dir, xattr::ACL_DEFAULT).await?;
    let new = shape(&dir, default_acl)?;
    let (ino, inode) = inode::create(meta, txn, parent, new, now);
    place.bind(txn, Child { ino, kind: inode.mode & mode::TYPE }, now).await?;
    Ok((ino, inode))
}

/// link: another name for an inode that is no directory.
pub(super) async fn link(
    meta: &Meta,
    txn: &mut Txn,
    ino: Ino,
    (parent, name): (Ino, &FileName),
) -> Result<Inode> {
    let now = meta.ambient.now();
    let mut inode = inode::get(txn, ino).await?;
    if inode.is(mode::DIRECTORY) {
        return Err(Error::new(Kind::NotOwner, "a directory takes no hard links"));
    }
    if inode.nlink == 0 {
        return Err(inode::missing(ino));
    }
    let place = Place::new(&meta.names, parent, name);
    inode::directory(txn, parent).await?;
    place.vacant(txn).await?;
    if inode.nlink >= LINKS_MAX {
        return Err(Error::new(Kind::TooManyLinks, "the file has too many links"));
    }
    inode.nlink += 1;
    inode.ctime = now;
    inode::put(txn, ino, &inode);
    place.bind(txn, Child { ino, kind: inode.mode & mode::TYPE }, now).await?;
    Ok(inode)
}

/// unlink: removes a name of something that is no directory.
pub(super) async fn unlink(
    meta: &Meta,
    txn: &mut Txn,
    (parent, name): (Ino, &FileName),
    open: &Arc<dyn OpenFiles>,
) -> Result<Dropped> {
    let now = meta.ambient.now();
    let place = Place::new(&meta.names, parent, name);
    let child = place.get(txn).await?;
    if child.is_directory() {
        return Err(Error::new(Kind::IsDirectory, "a directory is removed by rmdir"));
    }
    place.unbind(txn, now).await?;
    orphan::drop_link(txn, child.ino, open, now).await
}

/// rmdir: removes an empty directory.
pub(super) async fn rmdir(
    meta: &Meta,
    txn: &mut Txn,
    (parent, name): (Ino, &FileName),
    open: &Arc<dyn OpenFiles>,
) -> Result<Dropped> {
    let now = meta.ambient.now();
    let place = Place::new(&meta.names, parent, name);
    let child = place.get(txn).await?;
    inode::empty_directory(txn, child.ino).await?;
    place.unbind(txn, now).await?;
    orphan::drop_link(txn, child.ino, open, now).await
}

/// Up to `limit` names of `dir` after `cookie`, in the cookies' order; empty at the end.
pub(super) async fn list(
    store: &Store,
    dir: Ino,
    cookie_before: u64,
    limit: usize,
) -> Result<Vec<Listed>> {
    let mut range = key::dentries_from(dir, cookie_before >> INDEX_BITS);
    let mut listed = Vec::new();
    while listed.len() < limit {
        // One more than wanted: the first group may lie before the cookie.
        let page = store.scan(View::Live, range.clone(), limit - listed.len() + 1).await?;
        let Some((last, _)) = page.last() else { break };
        range.start = key::after(last);
        for (key, value) in &page {
            let (_, hash) = key::dentry_of(key).ok_or_else(misplaced)?;
            listed.extend(
                Dentries::decode(value)?
                    .0
                    .into_iter()
                    .map(|Dentry { index, ino, kind, name }| Listed {
                        cookie: cookie(hash, index),
                        ino,
                        kind,
                        name,
                    })
                    .filter(|entry| entry.cookie > cookie_before),
            );
        }
    }
    listed.truncate(limit);
    Ok(listed)
}

fn misplaced() -> Error {
    Error::new(Kind::Corrupt, "a directory entry's key does not parse")
        .hint("run `cairnfs fsck` on the volume")
}
