//! Checking an open volume: every invariant of its durable metadata, and its blocks against the
//! bucket. Writes nothing.

use std::collections::HashMap;

use futures::FutureExt;
use futures::TryStreamExt;

use super::core::Core;
use crate::error::Result;
use crate::meta::check;
use crate::meta::key;
use crate::meta::kv::View;
use crate::object::name;
use crate::types::BlockId;
use crate::types::SessionId;

impl Core {
    /// Each finding a sentence. No epoch lands meanwhile.
    pub(super) async fn check(&self) -> Result<Vec<String>> {
        let _turn = self.epoch_turn.lock().await;
        let report = check::check(self.meta.store(), &self.meta.names, View::Frozen).await?;
        let mut findings = report.findings;
        let mut stored = HashMap::new();
        let mut objects = self.bucket.list(name::BLOCKS_PREFIX);
        while let Some(object) = objects.try_next().await? {
            match name::parse_block(&object.name) {
                Ok(id) => drop(stored.insert(id, object.size)),
                Err(_) => findings.push(format!("`{}` is no block of this volume", object.name)),
            }
        }
        for (id, record) in &report.blocks {
            match stored.get(id) {
                None => findings.push(format!("block {id} is missing from the bucket")),
                Some(size) if *size != record.stored => findings.push(format!(
                    "block {id} has {size} bytes in the bucket, {} in the metadata",
                    record.stored
                )),
                Some(_) => {}
            }
        }
        Ok(findings)
    }

    /// Deletes blocks of earlier sessions that no metadata names: a crash left them before their
    /// epoch landed. This session's own are left to its epochs. Returns (blocks, bytes).
    pub(super) async fn sweep(&self, session: Option<SessionId>) -> Result<(u64, u64)> {
        let Some(own) = session else { return Ok((0, 0)) };
        let issued = |id: BlockId| id.session() == own;
        let known = |id: BlockId| self.is_known(id).boxed();
        let swept = super::sweep::sweep(&self.bucket, own, issued, known).await?;
        for foreign in &swept.foreign {
            tracing::warn!(object = %foreign, "an object among the blocks is not this volume's");
        }
        Ok((swept.blocks, swept.bytes))
    }

    /// Whether metadata names a block, or is about to delete it.
    pub(super) async fn is_known(&self, id: BlockId) -> Result<bool> {
        // In this order: a block that loses its record meanwhile is among the reclaims by then.
        if self.meta.store().get(&key::block(id)).await?.is_some() {
            return Ok(true);
        }
        Ok(self.reclaims.lock().iter().any(|(_, block)| *block == id))
    }
}
