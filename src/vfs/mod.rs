//! POSIX meaning: every operation in our own types, spread over the files below by noun.
//!
//! Every method is cheap to poll once: what memory can answer is ready at the first poll, and only
//! what needs the store is pending. Futures are `Send` and own their arguments through
//! `Arc<Vfs>`. Permissions are the kernel's work (`default_permissions`).

mod types;
mod access;
mod namespace;
mod attr;
mod readdir;
mod xattr;
mod handle;
mod file;
mod resize;
mod readahead;
#[cfg(test)]
mod read_tests;
#[cfg(test)]
mod tests;

pub use types::*;

use std::sync::Arc;

use self::handle::Handles;
use crate::error::Result;
use crate::meta::Meta;
use crate::meta::OpenFiles;
use crate::meta::value::Inode;
use crate::types::ContentId;
use crate::types::Ino;
use crate::volume::Contents;
use crate::volume::Volume;

/// A mounted volume's file system.
pub struct Vfs {
    volume: Arc<Volume>,
    meta: Arc<Meta>,
    contents: Contents,
    handles: Arc<Handles>,
    open_files: Arc<dyn OpenFiles>,
}

impl Vfs {
    /// The file system of an open volume.
    pub fn new(volume: Arc<Volume>) -> Arc<Self> {
        let (meta, contents) = (volume.meta().clone(), volume.contents().clone());
        let handles = Arc::new(Handles::default());
        let open_files = Arc::new(InUse { handles: handles.clone(), contents: contents.clone() });
        Arc::new(Self { volume, meta, contents, handles, open_files })
    }

    /// Whether writes are refused (mount option; the kernel refuses them too).
    pub fn read_only(&self) -> bool {
        self.volume.is_read_only()
    }

    /// Removes what a dead session left unlinked and open. Call it before the first request.
    pub async fn reap_orphans(&self) -> Result<()> {
        for ino in self.meta.orphans().await? {
            self.meta.reap(ino, &self.open_files).await?;
        }
        Ok(())
    }

    /// The open inodes, whose pages and attributes the kernel holds; to invalidate when the volume
    /// is fenced. What is not open can only be reached through the mount, which is then gone.
    pub fn cached_inodes(&self) -> Vec<Ino> {
        self.handles.inodes()
    }

    /// Whether the kernel may hold pages of `ino` that it has not sent yet.
    pub fn is_written(&self, ino: Ino) -> bool {
        self.handles.is_written(ino)
    }

    /// Bytes that a sparse file has allocated.
    async fn allocated(&self, inode: &Inode) -> Result<u64> {
        self.contents.allocated(inode.content, &inode.cuts).await
    }
}

/// What `meta` may know of files in use.
struct InUse {
    handles: Arc<Handles>,
    contents: Contents,
}

impl OpenFiles for InUse {
    fn is_open(&self, ino: Ino) -> bool {
        self.handles.is_open(ino)
    }

    fn may_have_extents(&self, content: ContentId) -> bool {
        self.contents.may_have_extents(content)
    }

    fn forget(&self, content: ContentId) {
        self.contents.forget(content);
    }
}
