//! Names and attributes of files: the operations on the metadata store, each a transaction.
//!
//! Free functions in the files below work in a transaction they are given and compose; only
//! [`Meta`] opens one. Never sees a block's bytes, a protocol or a permission check.

/// Runs an operation, an expression on a transaction that gives a `Result`, again until it
/// commits without a conflict. An error ends it, and nothing of it happens.
///
/// A macro, because a function over async closures that borrow makes futures which the compiler
/// cannot prove to be `Send` ("implementation of `Send` is not general enough").
macro_rules! transact {
    ($store:expr, |$txn:ident| $operation:expr) => {
        transact!($store, $store.begin().await, |$txn| $operation)
    };
    // In transactions that begin otherwise.
    ($store:expr, $begin:expr, |$txn:ident| $operation:expr) => {
        loop {
            let mut begun = $begin;
            let $txn = &mut begun;
            // `return` and `?` in the operation end the operation, not the function around it.
            let answer: $crate::error::Result<_> = async { $operation }.await;
            let answer = answer?;
            if $store.commit(begun)? == $crate::meta::kv::Committed::Whole {
                break Ok(answer);
            }
        }
    };
}
pub(crate) use transact;

pub mod kv;
pub mod key;
mod codec;
pub mod value;
pub mod extent;
mod inode;
mod xattr;
mod dentry;
mod orphan;
mod rename;
mod ops;
pub mod check;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod model;

pub use self::dentry::Listed;
pub use self::inode::NewNode;
pub use self::ops::root_batch;
pub use self::orphan::Dropped;
pub use self::orphan::Fate;
pub use self::orphan::OpenFiles;
pub use self::rename::RenameMode;
pub use self::xattr::ACL_ACCESS;
pub use self::xattr::ACL_DEFAULT;
pub use self::xattr::Attached;
pub use self::xattr::CAPABILITY;
pub use self::xattr::SetXattr;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use self::kv::Store;
use self::value::Superblock;
use crate::ambient::Ambient;
use crate::crypto::NameKey;
use crate::types::ContentId;
use crate::types::Ino;
use crate::types::WriteSeq;

/// Numbers reserved beyond those in use whenever an epoch is written: more than one epoch can
/// give out, so that no number is given out twice, also after a crash.
const RESERVE: u64 = 1 << 30;

/// Gives out inode numbers, content ids and write sequences, each once in a volume's life.
#[derive(Debug)]
pub struct Ids {
    ino: AtomicU64,
    content: AtomicU64,
    seq: AtomicU64,
}

impl Ids {
    /// Goes on where the superblock says that no number was given out yet.
    pub fn from(superblock: &Superblock) -> Self {
        Self {
            ino: AtomicU64::new(superblock.ino_limit),
            content: AtomicU64::new(superblock.content_limit),
            seq: AtomicU64::new(superblock.seq_limit),
        }
    }

    /// The next inode number.
    pub fn ino(&self) -> Ino {
        Ino(self.ino.fetch_add(1, Ordering::Relaxed))
    }

    /// The next content id.
    pub fn content(&self) -> ContentId {
        ContentId(self.content.fetch_add(1, Ordering::Relaxed))
    }

    /// The content id that will be given out next.
    pub fn next_content(&self) -> ContentId {
        ContentId(self.content.load(Ordering::Relaxed))
    }

    /// The next write sequence.
    pub fn seq(&self) -> WriteSeq {
        WriteSeq(self.seq.fetch_add(1, Ordering::Relaxed))
    }

    /// Limits for a superblock: (inode, content, sequence), reserved ahead.
    pub fn limits(&self) -> (u64, u64, u64) {
        let limit = |next: &AtomicU64| next.load(Ordering::Relaxed) + RESERVE;
        (limit(&self.ino), limit(&self.content), limit(&self.seq))
    }
}

/// The metadata of an open volume.
pub struct Meta {
    store: Arc<Store>,
    /// Numbers never given out before.
    pub ids: Ids,
    /// The key of the names' hash.
    pub names: NameKey,
    /// Time.
    pub ambient: Ambient,
}

impl Meta {
    /// The operations over `store`.
    pub fn new(store: Arc<Store>, ids: Ids, names: NameKey, ambient: Ambient) -> Self {
        Self { store, ids, names, ambient }
    }

    /// The store below, for those who move extents and epochs.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }
}
