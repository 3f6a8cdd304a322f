//! An idle writer's look for later claims. Where the store refuses what exists, SlateDB's own look
//! at the manifest does this; here a later claim writes other names, which only a list shows.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::fault::Verdict;
use super::settings::OWNERSHIP_POLL;
use crate::error::Kind;
use crate::object::tenure::Tenure;

/// Looks until it is dropped.
pub(super) struct Watch(JoinHandle<()>);

impl Watch {
    pub(super) fn start(tenure: Arc<Tenure>, verdict: Arc<Verdict>) -> Self {
        Self(tokio::spawn(async move {
            loop {
                let looks = tenure.looks();
                tokio::time::sleep(OWNERSHIP_POLL).await;
                if tenure.looks() > looks {
                    // A write has looked.
                    continue;
                }
                match tenure.confirm().await {
                    Err(error) if error.kind() == Kind::Fenced => return verdict.fence(error),
                    Err(error) => tracing::debug!(%error, "a look for later claims failed"),
                    Ok(()) => {}
                }
            }
        }))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}
