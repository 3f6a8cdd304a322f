//! The end of an inode: its last name goes, and it is removed at once, or stays as an orphan
//! until its last handle closes. Knows no name and no byte.

use std::sync::Arc;

use bytes::Bytes;

use super::inode;
use super::key;
use super::kv::Store;
use super::kv::Txn;
use super::kv::View;
use super::value::Inode;
use super::value::mode;
use crate::ambient::Timestamp;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::types::ContentId;
use crate::types::Ino;

const PAGE: usize = 1_000;

/// What the layer above knows of files that are in use. All of it is called under the gate, so it
/// may wait for nothing that is held while the store is used.
pub trait OpenFiles: Send + Sync {
    /// Whether a handle of a file or a directory is open. A handle is counted before the inode is
    /// looked up for it, and uncounted before the inode is looked at for [`super::Meta::reap`].
    fn is_open(&self, ino: Ino) -> bool;

    /// Whether an extent of the content may be stored, or on its way.
    fn may_have_extents(&self, content: ContentId) -> bool;

    /// The content is gone: bytes in memory that nobody stored yet need not be stored any more.
    fn forget(&self, content: ContentId);
}

/// What became of an inode that lost a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Other names lead to it.
    Linked,
    /// No name leads to it, but a handle is open.
    Orphan,
    /// It is gone.
    Removed,
}

/// An inode that lost a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    /// The inode.
    pub ino: Ino,
    /// What became of it.
    pub fate: Fate,
}

/// Takes one name's link from an inode (from a directory: its only one).
pub(super) async fn drop_link(
    txn: &mut Txn,
    ino: Ino,
    open: &Arc<dyn OpenFiles>,
    now: Timestamp,
) -> Result<Dropped> {
    let mut inode = inode::get(txn, ino).await?;
    inode.nlink = match inode.is(mode::DIRECTORY) {
        true => 0,
        false => inode.nlink.checked_sub(1).ok_or_else(|| miscounted(ino))?,
    };
    inode.ctime = now;
    if inode.nlink > 0 {
        inode::put(txn, ino, &inode);
        return Ok(Dropped { ino, fate: Fate::Linked });
    }
    if guard_openness(txn, ino, open) {
        inode::put(txn, ino, &inode);
        txn.put_new(key::orphan(ino), Bytes::new());
        return Ok(Dropped { ino, fate: Fate::Orphan });
    }
    remove(txn, ino, &inode, open).await?;
    Ok(Dropped { ino, fate: Fate::Removed })
}

/// Removes an orphan that nobody has open any more; does nothing if it is none, or open.
pub(super) async fn reap(txn: &mut Txn, ino: Ino, open: &Arc<dyn OpenFiles>) -> Result<()> {
    if txn.get(&key::orphan(ino)).await?.is_none() || guard_openness(txn, ino, open) {
        return Ok(());
    }
    let inode = inode::get(txn, ino).await?;
    if inode.nlink > 0 {
        return Err(miscounted(ino));
    }
    txn.delete(key::orphan(ino));
    remove(txn, ino, &inode, open).await
}

/// All orphans; after a mount's start those of dead sessions.
pub(super) async fn orphans(store: &Store) -> Result<Vec<Ino>> {
    let mut range = key::orphans();
    let mut inos = Vec::new();
    loop {
        let page = store.scan(View::Live, range.clone(), PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(inos) };
        range.start = key::after(last);
        inos.extend(page.iter().filter_map(|(key, _)| key::ino_of(key)));
    }
}

/// Whether the inode is open, which commit checks again.
fn guard_openness(txn: &mut Txn, ino: Ino, open: &Arc<dyn OpenFiles>) -> bool {
    let (is_open, files) = (open.is_open(ino), open.clone());
    txn.only_if(move || files.is_open(ino) == is_open);
    is_open
}

async fn remove(txn: &mut Txn, ino: Ino, inode: &Inode, open: &Arc<dyn OpenFiles>) -> Result<()> {
    inode::erase(txn, ino, inode).await?;
    if inode.is(mode::REGULAR) {
        discard(txn, inode.content, open);
    }
    Ok(())
}

/// Leaves the extents of a content to the garbage collection, if it may have any.
fn discard(txn: &mut Txn, content: ContentId, open: &Arc<dyn OpenFiles>) {
    let files = open.clone();
    if files.may_have_extents(content) {
        txn.put_new(key::garbage(content), Bytes::new());
    } else {
        let files = files.clone();
        txn.only_if(move || !files.may_have_extents(content));
    }
    txn.then(move || files.forget(content));
}

fn miscounted(ino: Ino) -> Error {
    Error::new(Kind::Corrupt, "an inode's link count does not match its names")
        .with("inode", ino)
        .hint("run `cairnfs fsck` on the volume")
}
