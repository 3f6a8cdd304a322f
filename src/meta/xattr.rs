//! Extended attributes inside a transaction. Every change of them writes the inode (ctime), so
//! that the inode's read guards the unguarded scans here. Knows no attribute's meaning.

use bytes::Bytes;

use super::inode;
use super::key;
use super::kv::Store;
use super::kv::Txn;
use super::kv::View;
use super::value::Inode;
use super::value::flag;
use crate::ambient::Timestamp;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::types::Ino;

/// The attribute that holds a file's access ACL.
pub const ACL_ACCESS: &[u8] = b"system.posix_acl_access";

/// The attribute that holds a directory's default ACL.
pub const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";

/// The attribute that holds a file's capabilities.
pub const CAPABILITY: &[u8] = b"security.capability";

/// The kernel takes no longer list of names from a file system (XATTR_LIST_MAX).
const LIST_BYTES_MAX: usize = 64 << 10;

const PAGE: usize = 256;

/// setxattr(2)'s flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetXattr {
    /// Creates or replaces.
    Any,
    /// XATTR_CREATE.
    Create,
    /// XATTR_REPLACE.
    Replace,
}

/// The attributes that change with an inode's mode and owner.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attached {
    /// The stored access ACL.
    pub access_acl: Option<Bytes>,
    /// The stored file capabilities.
    pub capability: Option<Bytes>,
}

/// The value of an attribute; `inode` spares the look where there are none.
pub(super) async fn get(
    txn: &mut Txn,
    ino: Ino,
    inode: &Inode,
    name: &[u8],
) -> Result<Option<Bytes>> {
    if inode.flags & flag::XATTRS == 0 {
        return Ok(None);
    }
    txn.get(&key::xattr(ino, name)).await
}

/// Sets an attribute.
pub(super) async fn set(
    txn: &mut Txn,
    ino: Ino,
    (name, value): (&[u8], Bytes),
    how: SetXattr,
    now: Timestamp,
) -> Result<()> {
    let mut inode = inode::get(txn, ino).await?;
    match (how, get(txn, ino, &inode, name).await?) {
        (SetXattr::Create, Some(_)) => {
            return Err(Error::new(Kind::Exists, "the attribute exists").with("inode", ino));
        }
        (SetXattr::Replace, None) => return Err(missing(ino)),
        _ => {}
    }
    inode.ctime = now;
    assign(txn, ino, &mut inode, (name, Some(value))).await?;
    inode::put(txn, ino, &inode);
    Ok(())
}

/// Removes an attribute.
pub(super) async fn remove(txn: &mut Txn, ino: Ino, name: &[u8], now: Timestamp) -> Result<()> {
    let mut inode = inode::get(txn, ino).await?;
    if get(txn, ino, &inode, name).await?.is_none() {
        return Err(missing(ino));
    }
    inode.ctime = now;
    assign(txn, ino, &mut inode, (name, None)).await?;
    inode::put(txn, ino, &inode);
    Ok(())
}

/// Changes an inode and what is attached to it.
pub(super) async fn alter(
    txn: &mut Txn,
    ino: Ino,
    change: &(impl Fn(&mut Inode, &mut Attached) -> Result<()> + Sync),
) -> Result<Inode> {
    let mut inode = inode::get(txn, ino).await?;
    let old = Attached {
        access_acl: get(txn, ino, &inode, ACL_ACCESS).await?,
        capability: get(txn, ino, &inode, CAPABILITY).await?,
    };
    let mut new = old.clone();
    change(&mut inode, &mut new)?;
    if new.access_acl != old.access_acl {
        assign(txn, ino, &mut inode, (ACL_ACCESS, new.access_acl)).await?;
    }
    if new.capability != old.capability {
        assign(txn, ino, &mut inode, (CAPABILITY, new.capability)).await?;
    }
    inode::put(txn, ino, &inode);
    Ok(inode)
}

/// Sets or deletes an attribute's key. The caller stores `inode`, which may change.
async fn assign(
    txn: &mut Txn,
    ino: Ino,
    inode: &mut Inode,
    (name, value): (&[u8], Option<Bytes>),
) -> Result<()> {
    let key = key::xattr(ino, name);
    let Some(value) = value else {
        txn.delete(key);
        return Ok(());
    };
    if inode.flags & flag::XATTRS != 0 && txn.get(&key).await?.is_none() {
        let names = names(txn.store(), ino).await?;
        if names.len() + name.len() >= LIST_BYTES_MAX {
            return Err(
                Error::new(Kind::NoSpace, "the attributes' names exceed 64 KiB").with("inode", ino)
            );
        }
    }
    inode.flags |= flag::XATTRS;
    txn.put(key, value);
    Ok(())
}

/// Deletes every attribute of an inode that goes.
pub(super) async fn erase_all(txn: &mut Txn, ino: Ino) -> Result<()> {
    for key in keys(txn.store(), ino).await? {
        txn.delete(key);
    }
    Ok(())
}

/// The names of all attributes, each followed by NUL.
pub(super) async fn names(store: &Store, ino: Ino) -> Result<Bytes> {
    let mut names = Vec::new();
    for key in keys(store, ino).await? {
        names.extend_from_slice(key::xattr_name(&key));
        names.push(0);
    }
    Ok(names.into())
}

/// The error for an attribute that is not there.
pub(super) fn missing(ino: Ino) -> Error {
    Error::new(Kind::NoAttribute, "there is no such attribute").with("inode", ino)
}

async fn keys(store: &Store, ino: Ino) -> Result<Vec<Bytes>> {
    let mut range = key::xattrs(ino);
    let mut keys = Vec::new();
    loop {
        let page = store.scan(View::Live, range.clone(), PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(keys) };
        range.start = key::after(last);
        keys.extend(page.into_iter().map(|(key, _)| key));
    }
}
