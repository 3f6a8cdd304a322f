//! An engine in memory for tests that choose what happens while it answers. Compiled for tests
//! only; knows no key's meaning.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::Batch;
use super::Engine;
use super::Entry;
use super::Following;
use super::MemoryEngine;
use crate::error::Result;

type Choice = Box<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// A [`MemoryEngine`] that holds back the answer to one question, and may seem to follow a writer.
pub(crate) struct Staged {
    engine: Arc<MemoryEngine>,
    held: Mutex<Option<Choice>>,
    following: Mutex<Option<Following>>,
    asked: Semaphore,
    released: Semaphore,
}

impl Staged {
    pub(crate) fn over(engine: Arc<MemoryEngine>) -> Arc<Self> {
        let (asked, released) = (Semaphore::new(0), Semaphore::new(0));
        let (held, following) = (Mutex::default(), Mutex::default());
        Arc::new(Self { engine, held, following, asked, released })
    }

    /// From now on somebody else writes, and answers come from this state.
    pub(crate) fn follow(&self, state: u64) {
        let following = Following { state, settled: true, every: Duration::from_secs(60) };
        *self.following.lock() = Some(following);
    }

    /// The next question for a key that `choice` is true of is answered after [`Self::release`]:
    /// with what was true when it was asked.
    pub(crate) fn hold(&self, choice: impl Fn(&[u8]) -> bool + Send + Sync + 'static) {
        *self.held.lock() = Some(Box::new(choice));
    }

    /// Waits until the question was asked.
    pub(crate) async fn asked(&self) {
        self.asked.acquire().await.unwrap().forget();
    }

    /// Answers it.
    pub(crate) fn release(&self) {
        self.released.add_permits(1);
    }

    fn holds(&self, key: &[u8]) -> bool {
        let mut held = self.held.lock();
        let holds = held.as_ref().is_some_and(|choice| choice(key));
        if holds {
            *held = None;
        }
        holds
    }
}

#[async_trait]
impl Engine for Staged {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let value = self.engine.get(key).await;
        if self.holds(key) {
            self.asked.add_permits(1);
            self.released.acquire().await.unwrap().forget();
        }
        value
    }

    async fn scan(&self, range: Range<Bytes>, limit: usize) -> Result<Vec<Entry>> {
        self.engine.scan(range, limit).await
    }

    async fn commit(&self, batch: Batch) -> Result<()> {
        self.engine.commit(batch).await
    }

    fn following(&self) -> Option<Following> {
        *self.following.lock()
    }

    fn health(&self) -> Result<()> {
        self.engine.health()
    }

    async fn close(&self, deadline: Duration) -> Result<()> {
        self.engine.close(deadline).await
    }
}
