//! Storing finished blocks: a bounded number at once, under a new id for each, again and again
//! while the store is away. Does not know when a block is full, nor what names it afterwards.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::sync::SemaphorePermit;

use super::frame::FrameRef;
use super::pack::BlockBuilder;
use super::rate::Rate;
use crate::ambient::Ambient;
use crate::ambient::instant;
use crate::crypto::TagKey;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::object::Body;
use crate::object::Bucket;
use crate::object::name;
use crate::types::BlockId;
use crate::types::Owner;
use crate::types::SessionId;

/// How often a block that the store does not confirm encrypted is written again.
const REWRITES_MAX: u32 = 3;

/// A stored block, ready to be named by extents.
#[derive(Debug, Clone)]
pub struct StoredBlock {
    /// Its id.
    pub id: BlockId,
    /// The length of the object in bytes.
    pub object_bytes: u64,
    /// Its frames and their owners, in the order in which they were pushed.
    pub frames: Vec<(FrameRef, Owner)>,
}

/// What uploads are doing now, for `status` and for the bound on dirty bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uploads {
    /// Blocks being sent, those that wait for the store included.
    pub blocks: usize,
    /// Of these, how many wait before they are sent again.
    pub waiting: usize,
    /// The last failure that made an upload wait or end; stays until a block is stored.
    pub last_error: Option<String>,
    /// Blocks stored since the writer was made.
    pub stored: u64,
    /// Blocks that the store did not confirm encrypted and that were deleted again.
    pub unconfirmed: u64,
}

/// Stores blocks of one session. Cheap to clone; clones share limit and counters.
#[derive(Clone)]
pub struct BlockWriter(Arc<Inner>);

struct Inner {
    bucket: Bucket,
    key: TagKey,
    session: SessionId,
    ambient: Ambient,
    permits: Semaphore,
    wait_first: Duration,
    wait_max: Duration,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    uploads: Uploads,
    rate: Rate,
}

impl BlockWriter {
    /// A writer for `session` that has at most `permits` blocks under way at once.
    pub fn new(
        bucket: Bucket,
        key: TagKey,
        session: SessionId,
        ambient: Ambient,
        permits: usize,
    ) -> Self {
        Self(Arc::new(Inner {
            bucket,
            key,
            session,
            ambient,
            permits: Semaphore::new(permits),
            wait_first: Duration::from_millis(100),
            wait_max: Duration::from_secs(5),
            progress: Mutex::default(),
        }))
    }

    /// The same with other waits between two attempts: the first, and the longest.
    #[cfg(all(test, feature = "testing"))]
    pub(super) fn that_waits(self, first: Duration, max: Duration) -> Self {
        let mut inner = Arc::into_inner(self.0).expect("a new writer has one owner");
        (inner.wait_first, inner.wait_max) = (first, max);
        Self(Arc::new(inner))
    }

    /// Stores `block` durably under a new id. Waits for a permit, and as long as the store is
    /// away; drop the future to give up.
    ///
    /// `Kind::Policy`: the store did not confirm encryption, four times; what it took is deleted.
    /// `Kind::Denied`, `Kind::NoSpace`: the store refuses. After an error the block is unnamed, and
    /// may be stored again.
    pub async fn store(&self, block: &BlockBuilder) -> Result<StoredBlock> {
        let _permit = self.permit().await;
        self.store_named(block).await
    }

    /// The same, unless the block is not `needed` any more when its turn comes.
    pub async fn store_if(
        &self,
        block: &BlockBuilder,
        needed: impl FnOnce() -> bool + Send,
    ) -> Result<Option<StoredBlock>> {
        let _permit = self.permit().await;
        if !needed() {
            return Ok(None);
        }
        self.store_named(block).await.map(Some)
    }

    async fn permit(&self) -> SemaphorePermit<'_> {
        self.0.permits.acquire().await.expect("the semaphore is never closed")
    }

    async fn store_named(&self, block: &BlockBuilder) -> Result<StoredBlock> {
        let mut rewrites = 0;
        loop {
            let id = self.0.new_id()?;
            let body = block.encode(&self.0.key, id)?;
            let object_bytes = body.len() as u64;
            match self.0.send(id, body).await {
                Ok(()) => {
                    return Ok(StoredBlock { id, object_bytes, frames: block.frames().collect() });
                }
                Err(error) if error.kind() == Kind::Policy => {
                    self.0.discard(id).await;
                    if rewrites == REWRITES_MAX {
                        return Err(error.while_doing("cannot store a block"));
                    }
                    rewrites += 1;
                }
                Err(error) => return Err(error.while_doing("cannot store a block")),
            }
        }
    }

    /// What the store took lately in bytes per second of work; 0 before the first block.
    pub fn rate_bytes_per_second(&self) -> u64 {
        self.0.progress.lock().rate.bytes_per_second()
    }

    /// What uploads are doing now.
    pub fn uploads(&self) -> Uploads {
        self.0.progress.lock().uploads.clone()
    }
}

impl Inner {
    fn new_id(&self) -> Result<BlockId> {
        let mut random = [0; 11];
        self.ambient.fill(&mut random)?;
        Ok(BlockId::new(self.session, random))
    }

    /// Sends one block until it is stored or refused. The same bytes under the same id are the
    /// same object, so a lost answer does no harm.
    async fn send(&self, id: BlockId, body: Body) -> Result<()> {
        let name = name::block(id);
        let mut wait = self.wait_first;
        loop {
            let mut attempt = Attempt::start(self);
            let error = match self.bucket.put_pieces(&name, body.clone()).await {
                Ok(_) => {
                    attempt.stored(body.len() as u64);
                    return Ok(());
                }
                Err(error) => error,
            };
            attempt.failed(&error);
            drop(attempt);
            if error.kind() != Kind::Unavailable {
                return Err(error);
            }
            tracing::warn!(block = %id, %error, "a block waits for the store");
            let _waiting = Waiting::start(self);
            tokio::time::sleep(wait).await;
            wait = (2 * wait).min(self.wait_max);
        }
    }

    /// Deletes a block that is stored but not confirmed encrypted. If that fails too, no extent
    /// names it, and the next session's sweep deletes it.
    async fn discard(&self, id: BlockId) {
        self.progress.lock().uploads.unconfirmed += 1;
        if let Err(error) = self.bucket.delete(&[name::block(id)]).await {
            tracing::warn!(block = %id, %error, "an unconfirmed block cannot be deleted");
        }
    }
}

/// One request under way. Counts even if its future is dropped.
struct Attempt<'a> {
    writer: &'a Inner,
    taken_bytes: u64,
}

impl<'a> Attempt<'a> {
    fn start(writer: &'a Inner) -> Self {
        let mut progress = writer.progress.lock();
        progress.uploads.blocks += 1;
        progress.rate.start(instant());
        Self { writer, taken_bytes: 0 }
    }

    fn stored(&mut self, bytes: u64) {
        self.taken_bytes = bytes;
        let mut progress = self.writer.progress.lock();
        progress.uploads.stored += 1;
        progress.uploads.last_error = None;
    }

    fn failed(&self, error: &Error) {
        self.writer.progress.lock().uploads.last_error = Some(error.to_string());
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut progress = self.writer.progress.lock();
        progress.uploads.blocks -= 1;
        progress.rate.finish(instant(), self.taken_bytes);
    }
}

/// One block that waits for the store.
struct Waiting<'a>(&'a Inner);

impl<'a> Waiting<'a> {
    fn start(writer: &'a Inner) -> Self {
        let mut progress = writer.progress.lock();
        progress.uploads.blocks += 1;
        progress.uploads.waiting += 1;
        Self(writer)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut progress = self.0.progress.lock();
        progress.uploads.blocks -= 1;
        progress.uploads.waiting -= 1;
    }
}
