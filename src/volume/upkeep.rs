//! What is done after an epoch, in small steps: extents of dropped contents, extents behind cuts,
//! blocks without a live byte. Everything here may be interrupted at any point and done again.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::core::Core;
use super::register::Changes;
use super::register::Records;
use super::register::block_writes;
use crate::error::Result;
use crate::meta::extent::BlockChanges;
use crate::meta::extent::Chunk;
use crate::meta::key;
use crate::meta::key::CHUNK_BYTES;
use crate::meta::kv::Txn;
use crate::meta::kv::UsageChange;
use crate::meta::kv::View;
use crate::meta::transact;
use crate::meta::value::Cut;
use crate::meta::value::Inode;
use crate::object::name;
use crate::types::ContentId;
use crate::types::Epoch;
use crate::types::Ino;

/// Keys changed in one step (DESIGN §5).
const STEP_KEYS: usize = 1_000;

impl Core {
    /// Does what is to be done whenever an epoch has landed.
    pub(super) async fn run_upkeep(self: Arc<Self>) {
        loop {
            self.upkeep.notified().await;
            if let Err(error) = self.tidy_up().await {
                tracing::warn!(%error, "upkeep is put off to the next epoch");
            }
        }
    }

    /// One round of upkeep.
    pub(super) async fn tidy_up(&self) -> Result<()> {
        self.collect_garbage().await?;
        self.apply_cuts().await?;
        self.reclaim().await
    }

    /// Fills the queues from what an earlier session left to do.
    pub(super) async fn find_upkeep(&self) -> Result<()> {
        let store = self.meta.store();
        let mut range = key::garbage_all();
        loop {
            let page = store.scan(View::Live, range.clone(), STEP_KEYS).await?;
            let last = page.last().and_then(|(key, _)| key::garbage_of(key));
            let Some(content) = last else { break };
            let found = page.iter().filter_map(|(key, _)| key::garbage_of(key));
            self.garbage.lock().extend(found);
            range.start = key::garbage(ContentId(content.0 + 1));
        }
        let mut range = key::reclaims();
        loop {
            let page = store.scan(View::Live, range.clone(), STEP_KEYS).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            self.reclaims.lock().extend(page.iter().filter_map(|(key, _)| key::reclaim_of(key)));
            range.start = [last.as_ref(), &[0]].concat().into();
        }
    }

    /// Keeps others from changing extents, at a time when no epoch waits for its data.
    async fn quiet(&self) -> tokio::sync::MutexGuard<'_, ()> {
        let mut data_phase = self.data_phase.subscribe();
        loop {
            let registrar = self.registrar.lock().await;
            if !*data_phase.borrow_and_update() {
                return registrar;
            }
            drop(registrar);
            if data_phase.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    async fn collect_garbage(&self) -> Result<()> {
        loop {
            let run = first_run(&self.garbage.lock());
            if run.is_empty() {
                return Ok(());
            }
            for collected in self.collect_step(&run).await? {
                self.garbage.lock().remove(&collected);
            }
        }
    }

    /// Deletes up to a step of the extents of dropped contents, whose ids are consecutive. Returns
    /// the contents that have none left.
    async fn collect_step(&self, run: &[ContentId]) -> Result<Vec<ContentId>> {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(Vec::new()) };
        let _registrar = self.quiet().await;
        let range = key::chunk(*first, 0)..key::chunks_from(*last, 0).end;
        let page = self.meta.store().scan(View::Live, range, STEP_KEYS).await?;
        let (mut changes, mut records) = (BlockChanges::new(), Records::new());
        let (mut writes, mut bytes) = (Changes::new(), 0);
        for (key, value) in &page {
            let mut chunk = Chunk::decode(value)?;
            self.fetch_records(View::Live, &chunk, &mut records).await?;
            bytes += chunk.remove(0..u32::MAX, &mut changes);
            writes.push((key.clone(), None));
        }
        // The page may have ended inside the last content that it shows.
        let cut_off =
            page.last().and_then(|(key, _)| key::chunk_of(key)).map(|(content, _)| content);
        let whole = |content: &&ContentId| cut_off.is_none_or(|cut_off| **content < cut_off);
        let collected: Vec<_> = run.iter().filter(whole).copied().collect();
        writes.extend(collected.iter().map(|content| (key::garbage(*content), None)));
        self.change(writes, &mut records, changes, bytes);
        Ok(collected)
    }

    /// Brings the extents of inodes up to their cuts.
    pub(super) async fn apply_cuts(&self) -> Result<()> {
        let inodes = self.cut_inodes.lock().clone();
        for ino in inodes {
            // Before the look, so that a cut that is made meanwhile comes next.
            self.cut_inodes.lock().remove(&ino);
            if let Err(error) = self.apply_cuts_of(ino).await {
                self.cut_inodes.lock().insert(ino);
                return Err(error);
            }
        }
        Ok(())
    }

    async fn apply_cuts_of(&self, ino: Ino) -> Result<()> {
        let Some(inode) = self.inode(ino).await? else { return Ok(()) };
        if inode.cuts.is_empty() {
            return Ok(());
        }
        for cut in &inode.cuts {
            self.apply_cut(inode.content, cut).await?;
        }
        self.drop_cuts(ino, &inode).await
    }

    async fn inode(&self, ino: Ino) -> Result<Option<Inode>> {
        let value = self.meta.store().get(&key::inode(ino)).await?;
        value.map(|value| Inode::decode(&value)).transpose()
    }

    async fn apply_cut(&self, content: ContentId, cut: &Cut) -> Result<()> {
        let mut range = key::chunks_from(content, cut.start / CHUNK_BYTES);
        loop {
            let _registrar = self.quiet().await;
            let page = self.meta.store().scan(View::Live, range.clone(), STEP_KEYS).await?;
            let (mut changes, mut records) = (BlockChanges::new(), Records::new());
            let (mut writes, mut bytes) = (Changes::new(), 0);
            for (key, value) in &page {
                let Some((_, index)) = key::chunk_of(key) else { continue };
                let base = index * CHUNK_BYTES;
                range.start = key::chunk(content, index + 1);
                let mut chunk = Chunk::decode(value)?;
                self.fetch_records(View::Live, &chunk, &mut records).await?;
                let removed = chunk.apply_cuts(base, std::slice::from_ref(cut), &mut changes);
                if removed > 0 {
                    bytes += removed;
                    writes.push((key.clone(), (!chunk.0.is_empty()).then(|| chunk.encode())));
                }
                if base >= cut.end {
                    range.start = range.end.clone();
                    break;
                }
            }
            self.change(writes, &mut records, changes, bytes);
            if page.is_empty() || range.start >= range.end {
                return Ok(());
            }
        }
    }

    /// The cuts that were applied are no longer needed, unless the inode has other bytes by now.
    async fn drop_cuts(&self, ino: Ino, seen: &Inode) -> Result<()> {
        let _registrar = self.quiet().await;
        let store = self.meta.store();
        // A freeze takes the registrar before it makes room.
        transact!(store, store.begin_without_room(), |txn| drop_cuts(txn, ino, seen).await)
    }

    fn change(
        &self,
        mut writes: Changes,
        records: &mut Records,
        changes: BlockChanges,
        bytes: u64,
    ) {
        self.meta.store().apply(View::Live, || {
            let death = self.epoch_of(View::Live);
            writes.extend(block_writes(records, changes, death));
            self.queue_reclaims(&writes);
            let usage = UsageChange { inodes: 0, bytes: -bytes.cast_signed() };
            (writes, usage, ())
        });
    }

    /// Remembers the blocks that these changes leave without a live byte.
    pub(super) fn queue_reclaims(&self, writes: &Changes) {
        let dead = writes.iter().filter(|(_, value)| value.is_some());
        self.reclaims.lock().extend(dead.filter_map(|(key, _)| {
            (key.first() == Some(&b'r')).then(|| key::reclaim_of(key)).flatten()
        }));
    }

    /// Deletes blocks whose death is durable, then forgets them.
    async fn reclaim(&self) -> Result<()> {
        let durable = Epoch(self.first_epoch + *self.committed.borrow());
        loop {
            let _nobody_rewrites = self.deletions.write().await;
            let step: Vec<_> = {
                let mut queue = self.reclaims.lock();
                let (now, later) = std::mem::take(&mut *queue)
                    .into_iter()
                    .partition::<Vec<_>, _>(|(death, _)| *death <= durable);
                *queue = later;
                now
            };
            if step.is_empty() {
                return Ok(());
            }
            let names: Vec<_> = step.iter().map(|(_, block)| name::block(*block)).collect();
            if let Err(error) = self.bucket.delete(&names).await {
                self.reclaims.lock().extend(step);
                return Err(error);
            }
            let _registrar = self.quiet().await;
            self.meta.store().apply(View::Live, || {
                let gone = step.iter().map(|&(death, id)| (key::reclaim(death, id), None));
                (gone.collect(), UsageChange::default(), ())
            });
        }
    }
}

/// The first contents with consecutive ids: files that were made together often go together, and
/// one scan then finds the extents of all of them.
fn first_run(garbage: &BTreeSet<ContentId>) -> Vec<ContentId> {
    let Some(first) = garbage.first() else { return Vec::new() };
    let consecutive = (first.0..).zip(garbage.iter().take(STEP_KEYS));
    consecutive.map_while(|(id, content)| (content.0 == id).then_some(*content)).collect()
}

async fn drop_cuts(txn: &mut Txn, ino: Ino, seen: &Inode) -> Result<()> {
    let key = key::inode(ino);
    let Some(value) = txn.get(&key).await? else { return Ok(()) };
    let mut inode = Inode::decode(&value)?;
    if inode.content == seen.content {
        inode.cuts.retain(|cut| !seen.cuts.contains(cut));
        txn.put(key, inode.encode());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_contents_of_consecutive_ids_go_together() {
        let run = |ids: &[u64]| {
            let garbage = ids.iter().map(|id| ContentId(*id)).collect();
            first_run(&garbage).iter().map(|content| content.0).collect::<Vec<_>>()
        };
        assert_eq!(run(&[]), [0; 0]);
        assert_eq!(run(&[7, 4, 5, 8]), [4, 5]);
        assert_eq!(run(&(0..5_000).collect::<Vec<_>>()).len(), STEP_KEYS);
    }
}
