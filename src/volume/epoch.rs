//! The epoch: freezes dirty bytes and metadata at one instant, stores the bytes, and lands the
//! metadata as one atomic batch. One task runs it; everyone else waits for it or rings it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::core::Core;
use super::dirty::Claim;
use super::dirty::Run;
use super::flush::Held;
use super::flush::INLINE_BYTES_MAX;
use super::flush::INLINE_CHUNKS_MAX;
use super::flush::Part;
use super::flush::Source;
use crate::error::Result;
use crate::meta::extent::Chunk;
use crate::meta::extent::EXTENTS_MAX;
use crate::meta::key;
use crate::meta::key::CHUNK_BYTES;
use crate::meta::kv::Batch;
use crate::meta::kv::Usage;
use crate::meta::kv::View;
use crate::meta::value::Superblock;

/// Between two attempts to store an epoch that the store refuses (no room, no permission).
const REFUSED_WAIT: Duration = Duration::from_secs(2);

impl Core {
    /// Closes epochs until the volume is broken or the task is dropped: when somebody waits, when
    /// the present grows too large, when writers lack room, and at least every `interval`.
    pub(super) async fn run_epochs(self: Arc<Self>, interval: Duration) {
        let mut broken = self.broken.subscribe();
        let mut timer = tokio::time::interval(interval);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.kick.notified() => {}
                () = self.meta.store().full() => {}
                () = self.budget.pressure() => {
                    self.relieve();
                    continue;
                }
                _ = timer.tick() => {}
                _ = broken.wait_for(Option::is_some) => return,
            }
            if self.run_epoch().await {
                self.upkeep.notify_one();
            }
            // Nobody's fsync waits for an epoch of the timer's just after one of somebody else's.
            timer.reset();
        }
    }

    /// Makes room for writers that wait: what no upload has taken yet is sent now.
    fn relieve(self: &Arc<Self>) {
        let (unclaimed, uploading) = {
            let dirty = self.dirty.lock();
            (dirty.unclaimed_bytes(), dirty.is_uploading())
        };
        if unclaimed >= self.budget.limit() / 4 || !uploading {
            self.send_small();
        }
    }

    /// Closes one epoch, if anything happened, and makes it durable. Returns whether it did.
    pub(super) async fn run_epoch(self: &Arc<Self>) -> bool {
        let _turn = self.epoch_turn.lock().await;
        if self.failure().is_some() {
            // The epoch that failed stays frozen: its readers still need it.
            return false;
        }
        if let Err(error) = self.meta.store().engine().health() {
            self.fail(&error);
            return false;
        }
        let Some(number) = self.freeze().await else { return false };
        #[cfg(feature = "testing")]
        let early =
            super::sabotage::on(&super::sabotage::COMMIT_BEFORE_UPLOAD).then(|| self.seal_frozen());
        while let Err(error) = self.store_frozen().await {
            if self.failure().is_some() {
                return false;
            }
            tracing::warn!(%error, "an epoch waits for the store");
            tokio::time::sleep(REFUSED_WAIT).await;
        }
        self.obstacle.send_if_modified(|obstacle| obstacle.take().is_some());
        let sealed = self.seal_frozen();
        #[cfg(feature = "testing")]
        let sealed = early.unwrap_or(sealed);
        self.data_phase.send_replace(false);
        if let Err(error) = self.commit(sealed).await {
            self.fail(&error);
            return false;
        }
        self.obstacle.send_if_modified(|obstacle| obstacle.take().is_some());
        self.meta.store().thaw();
        *self.committed_at.lock() = crate::ambient::instant();
        self.committed.send_replace(number);
        true
    }

    /// Commits a batch. The engine waits out what can be mended under it (a withdrawn key, a full
    /// store); who waits for the commit is told of it meanwhile.
    async fn commit(&self, sealed: Batch) -> Result<()> {
        let mut refusals = self.bucket.refusals();
        let engine = self.meta.store().engine();
        let committing = engine.commit(sealed);
        tokio::pin!(committing);
        loop {
            tokio::select! {
                biased;
                committed = &mut committing => return committed,
                refused = refusals.next() => self.meet(&refused),
            }
        }
    }

    /// Freezes the present; `None` if nothing happened since the last time.
    async fn freeze(&self) -> Option<u64> {
        let _registrar = self.registrar.lock().await;
        let repack = self.moves_inline.load(Ordering::Acquire) && !self.inline.lock().is_empty();
        let idle = |unchanged| unchanged && self.dirty.lock().live_is_empty();
        if self.meta.store().under_gate(idle) && !repack {
            return None;
        }
        let number = self.meta.store().freeze(|| {
            self.dirty.lock().freeze(self.meta.ids.next_content());
            let mut frozen = self.frozen.lock();
            *frozen += 1;
            *frozen
        });
        self.data_phase.send_replace(true);
        Some(number)
    }

    /// Moves inline bytes into blocks with one last epoch. They are durable where they are, so a
    /// store that does not take them fails nobody, unless something else waits for that epoch.
    pub(super) async fn flush_inline(&self) -> Result<()> {
        let idle = |unchanged| unchanged && self.dirty.lock().live_is_empty();
        let (target, idle) = {
            // An epoch on its way could move them too, and then no further one would come.
            let _turn = self.epoch_turn.lock().await;
            self.moves_inline.store(true, Ordering::Release);
            if self.inline.lock().is_empty() {
                return Ok(());
            }
            let idle = self.meta.store().under_gate(idle);
            (*self.frozen.lock() + 1, idle)
        };
        match self.wait_for(target).await {
            Err(error) if idle && self.failure().is_none() => {
                tracing::warn!(%error, "small writes stay in the metadata");
                Ok(())
            }
            ended => ended,
        }
    }

    /// Stores the frozen bytes: inline when they are few, else in blocks; and waits for uploads
    /// that began before the freeze.
    async fn store_frozen(self: &Arc<Self>) -> Result<()> {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            let claimed = self.dirty.lock().claim_all(View::Frozen);
            if let Some((claim, runs)) = claimed {
                let outcome = self.store_claimed(claim, runs).await;
                self.end_claim(claim, again(&outcome));
                outcome?;
                continue;
            }
            if self.moves_inline.load(Ordering::Acquire) && !self.inline.lock().is_empty() {
                let moved = self.store_packed(None).await;
                if let Err(error) = &moved {
                    self.meet(error);
                }
                moved?;
                continue;
            }
            if !self.dirty.lock().frozen_is_claimed() {
                return Ok(());
            }
            settled.await;
        }
    }

    async fn store_claimed(self: &Arc<Self>, claim: Claim, runs: Vec<Run>) -> Result<()> {
        match self.fits_inline(&runs).await? {
            true => self.register(None, inline_parts(claim, &runs)).await,
            false => self.store_packed(Some((claim, runs))).await,
        }
    }

    /// Stores frozen bytes, and what moves with them, in blocks. Inline bytes that could not be
    /// moved stay noted for the next time.
    async fn store_packed(self: &Arc<Self>, frozen: Option<(Claim, Vec<Run>)>) -> Result<()> {
        let inline = std::mem::take(&mut *self.inline.lock());
        let stored = match self.pack_frozen(frozen, &inline).await {
            Ok(packed) => self.upload(packed).await,
            Err(error) => Err(error),
        };
        if stored.is_err() {
            self.inline.lock().extend(inline);
        }
        stored
    }

    /// Few bytes travel inside the batch, so that a small fsync is one round trip.
    async fn fits_inline(&self, runs: &[Run]) -> Result<bool> {
        if self.closing.load(Ordering::Acquire)
            || runs.iter().map(Run::len).sum::<u64>() > INLINE_BYTES_MAX
            || self.inline.lock().len() >= INLINE_CHUNKS_MAX
        {
            return Ok(false);
        }
        for run in runs {
            for index in run.offset / CHUNK_BYTES..=(run.end() - 1) / CHUNK_BYTES {
                let held = self.inline.lock().get(&(run.content, index)).map_or(0, |held| held.1);
                if held == 0 {
                    continue;
                }
                let chunk = self.chunk(View::Frozen, run.content, index).await?;
                if held + run.len() > INLINE_BYTES_MAX || chunk.0.len() >= EXTENTS_MAX {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The batch of the frozen epoch with its superblock. Sorted, each key once.
    fn seal_frozen(&self) -> Batch {
        self.meta.store().seal(|usage| (key::superblock(), self.superblock(usage).encode()))
    }

    fn superblock(&self, usage: Usage) -> Superblock {
        let (ino_limit, content_limit, seq_limit) = self.meta.ids.limits();
        Superblock {
            epoch: self.epoch_of(View::Frozen),
            ino_limit,
            content_limit,
            seq_limit,
            inodes: usage.inodes,
            bytes: usage.bytes,
        }
    }
}

/// The same outcome once more: one for the claim, one for the caller.
fn again(outcome: &Result<()>) -> Result<()> {
    outcome.as_ref().copied().map_err(crate::block::repeat)
}

fn inline_parts(claim: Claim, runs: &[Run]) -> Vec<Part> {
    let mut parts = Vec::with_capacity(runs.len());
    for run in runs {
        let bytes: bytes::Bytes = match &run.pieces[..] {
            [one] => one.clone(),
            many => many.concat().into(),
        };
        let (mut offset, end) = (run.offset, run.end());
        while offset < end {
            let (index, _) = Chunk::locate(offset);
            let stop = ((index + 1) * CHUNK_BYTES).min(end);
            let within = |at: u64| usize::try_from(at - run.offset).expect("a run is in memory");
            let part = bytes.slice(within(offset)..within(stop));
            parts.push(Part {
                ino: run.ino,
                content: run.content,
                offset,
                len: u32::try_from(stop - offset).expect("a chunk is small"),
                seq: run.seq,
                source: Source::Dirty(claim),
                held: Held::Inline(part),
            });
            offset = stop;
        }
    }
    parts
}
