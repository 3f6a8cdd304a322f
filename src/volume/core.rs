//! What the parts of an open volume share: metadata, dirty bytes, blocks, and who may touch them.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::watch;

use super::budget::Budget;
use super::dirty::Dirty;
use super::misses::Misses;
use crate::block::BlockReader;
use crate::block::BlockWriter;
use crate::cache::FrameCache;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::meta::Meta;
use crate::meta::kv::View;
use crate::object::Bucket;
use crate::types::BlockId;
use crate::types::ContentId;
use crate::types::Epoch;
use crate::types::Ino;

/// The chunks of contents that hold inline bytes, so that the next packed epoch can move them.
pub(super) type InlineChunks = HashMap<(ContentId, u64), (Ino, u64)>;

/// The inside of an open volume.
pub(super) struct Core {
    pub(super) meta: Arc<Meta>,
    pub(super) bucket: Bucket,
    /// Background work may begin on threads outside the runtime.
    pub(super) runtime: tokio::runtime::Handle,
    /// The epoch that was durable when the volume was opened.
    pub(super) first_epoch: u64,
    pub(super) block_bytes: u32,
    pub(super) memory_bytes: u64,
    pub(super) dirty: Mutex<Dirty>,
    pub(super) budget: Budget,
    pub(super) writer: BlockWriter,
    pub(super) reader: BlockReader,
    pub(super) cache: FrameCache,
    /// What random readers missed in the cache lately.
    pub(super) misses: Mutex<Misses>,
    pub(super) inline: Mutex<InlineChunks>,
    /// Extents, block records, reclaim and garbage keys are changed only by who holds this.
    pub(super) registrar: tokio::sync::Mutex<()>,
    /// Held while an epoch is on its way.
    pub(super) epoch_turn: tokio::sync::Mutex<()>,
    /// Whether a frozen epoch still waits for its data; extents of the present wait meanwhile.
    pub(super) data_phase: watch::Sender<bool>,
    /// Freezes begun, and freezes that are durable.
    pub(super) frozen: Mutex<u64>,
    pub(super) committed: watch::Sender<u64>,
    /// Someone waits for an epoch.
    pub(super) kick: Notify,
    /// A claim ended.
    pub(super) settled: Notify,
    /// What stands in the way of the epoch under way, if anything; told to those who wait.
    pub(super) obstacle: watch::Sender<Option<(Kind, String)>>,
    /// Contents whose extents are still to be deleted.
    pub(super) garbage: Mutex<BTreeSet<ContentId>>,
    /// Inodes that have cuts.
    pub(super) cut_inodes: Mutex<BTreeSet<Ino>>,
    /// Blocks to delete once their death is durable.
    pub(super) reclaims: Mutex<Vec<(Epoch, BlockId)>>,
    /// Blocks that metadata named are deleted only by who holds this for writing; who writes an
    /// object again holds it for reading.
    pub(super) deletions: tokio::sync::RwLock<()>,
    /// An epoch has landed.
    pub(super) upkeep: Notify,
    /// The volume is being closed: nothing new becomes inline.
    pub(super) closing: AtomicBool,
    /// The next epoch moves inline bytes into blocks, also when nothing else happened.
    pub(super) moves_inline: AtomicBool,
    /// When the last epoch landed.
    pub(super) committed_at: Mutex<Instant>,
    /// Why the volume can never be written again.
    pub(super) broken: watch::Sender<Option<(Kind, String)>>,
}

impl Core {
    /// Ends all writing: fenced, or encryption not proved. The first reason stays.
    pub(super) fn fail(&self, error: &Error) {
        tracing::error!(%error, "the volume takes no more changes");
        let reason = (error.kind(), error.to_string());
        self.meta.store().refuse(reason.0, reason.1.clone());
        self.broken.send_if_modified(|broken| {
            let first = broken.is_none();
            if first {
                *broken = Some(reason);
            }
            first
        });
        self.budget.open_gates();
    }

    /// The epoch that a change to `view` becomes durable with.
    pub(super) fn epoch_of(&self, view: View) -> Epoch {
        let frozen = *self.frozen.lock();
        match view {
            View::Frozen => Epoch(self.first_epoch + frozen),
            View::Live => Epoch(self.first_epoch + frozen + 1),
        }
    }

    /// The error that ended all writing, if one did.
    pub(super) fn failure(&self) -> Option<Error> {
        self.broken.borrow().as_ref().map(|(kind, reason)| Error::new(*kind, reason.clone()))
    }

    /// Makes everything durable that was done before the call.
    ///
    /// Fails with the volume's own error when it is broken, and with what stands in the way when
    /// the store refuses (no room, no permission); then everything stays queued.
    pub(super) async fn sync(&self) -> Result<()> {
        let target = self.meta.store().under_gate(|unchanged| {
            let frozen = *self.frozen.lock();
            let changed = !unchanged || !self.dirty.lock().live_is_empty();
            if changed { frozen + 1 } else { frozen }
        });
        self.wait_for(target).await
    }

    /// Waits until the `target`-th freeze is durable.
    pub(super) async fn wait_for(&self, target: u64) -> Result<()> {
        let mut committed = self.committed.subscribe();
        let mut broken = self.broken.subscribe();
        let mut obstacle = self.obstacle.subscribe();
        if *committed.borrow_and_update() >= target {
            return self.failure().map_or(Ok(()), Err);
        }
        self.kick.notify_one();
        tokio::select! {
            biased;
            _ = committed.wait_for(|committed| *committed >= target) => Ok(()),
            _ = broken.wait_for(Option::is_some) => {
                Err(self.failure().unwrap_or_else(closed))
            }
            met = next_obstacle(&mut obstacle) => Err(met),
        }
    }
}

/// The next thing that stands in the way, from now on: an old one may be gone by now.
async fn next_obstacle(obstacle: &mut watch::Receiver<Option<(Kind, String)>>) -> Error {
    obstacle.mark_unchanged();
    while obstacle.changed().await.is_ok() {
        if let Some((kind, reason)) = obstacle.borrow_and_update().clone() {
            return Error::new(kind, reason);
        }
    }
    closed()
}

fn closed() -> Error {
    Error::new(Kind::Internal, "the volume is closed")
}
