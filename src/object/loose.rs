//! A store as bad as read-back fencing allows: it never looks at `If-None-Match`, answers when it
//! likes, loses requests and answers, and applies writes and deletes long after their sender was
//! told that they failed, or was dropped. Each effect happens at one instant, and lists show what
//! was there at theirs; a list of two pages is read at two instants. One seed, one sequence.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use futures::TryStreamExt;
use futures::stream::BoxStream;

use super::answer::Demand;
use super::answer::ObjectMeta;
use super::answer::Tag;
use super::body::Body;
use super::fault;
use super::memory::MemoryStore;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// Of a thousand writes and deletes, so many are lost on the way there.
const LOST: u64 = 30;
/// So many arrive after their sender gave up.
const LATE: u64 = 60;
/// So many are applied at once, and their answer is lost.
const UNANSWERED: u64 = 40;
/// Of a thousand reads, so many fail.
const UNREAD: u64 = 20;

/// How long a sender waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The store. Clones share its objects.
#[derive(Clone)]
pub struct LooseStore {
    objects: MemoryStore,
    draws: Arc<AtomicU64>,
}

impl LooseStore {
    /// Over `objects`; `seed` decides everything that goes wrong.
    pub fn new(objects: MemoryStore, seed: u64) -> Self {
        Self { objects, draws: Arc::new(AtomicU64::new(seed << 32)) }
    }

    pub(super) async fn write(
        &self,
        name: &str,
        body: Body,
        attributes: &[(String, String)],
    ) -> Result<Option<Tag>> {
        let (objects, name) = (self.objects.clone(), name.to_owned());
        let attributes = attributes.to_vec();
        self.change(move || objects.write(&name, body, &Demand::Nothing, &attributes)).await?
    }

    pub(super) async fn delete(&self, names: &[String]) -> Result<()> {
        let (objects, names) = (self.objects.clone(), names.to_vec());
        self.change(move || objects.delete(&names)).await
    }

    pub(super) async fn get(
        &self,
        name: &str,
        range: Option<Range<u64>>,
        unless: Option<&Tag>,
    ) -> Result<Option<(Body, ObjectMeta)>> {
        self.read(|| self.objects.get(name, range, unless)).await?
    }

    pub(super) async fn head(&self, name: &str) -> Result<ObjectMeta> {
        self.read(|| self.objects.head(name)).await?
    }

    pub(super) async fn list(
        &self,
        prefix: &str,
    ) -> Result<BoxStream<'static, Result<ObjectMeta>>> {
        let all = || self.objects.list(prefix).try_collect::<Vec<_>>();
        let first = self.read(all).await?.await?;
        let turn = self.draw() % (first.len() as u64 + 1);
        let turn = usize::try_from(turn).expect("it is at most the length");
        let last = first[..turn].last().map(|object| object.name.clone());
        let second = self.read(all).await?.await?;
        let after = second.into_iter().filter(|object| Some(&object.name) > last.as_ref());
        let pages: Vec<_> = first[..turn].iter().cloned().chain(after).map(Ok).collect();
        Ok(futures::stream::iter(pages).boxed())
    }

    /// Runs a change at some instant, which may be after its sender has gone.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let fate = self.draw() % 1000;
        if fate < LOST {
            tokio::time::sleep(PATIENCE).await;
            return Err(unanswered());
        }
        let late = fate < LOST + LATE;
        let travel = if late { PATIENCE + 20 * self.delay() } else { self.delay() };
        // A task of its own: the request is on its way, whatever becomes of its sender.
        let applied = tokio::spawn(async move {
            tokio::time::sleep(travel).await;
            change()
        });
        if late || fate < LOST + LATE + UNANSWERED {
            tokio::time::sleep(PATIENCE).await;
            return Err(unanswered());
        }
        let answer = applied.await.map_err(|_| unanswered())?;
        tokio::time::sleep(self.delay()).await;
        Ok(answer)
    }

    async fn read<T>(&self, read: impl FnOnce() -> T) -> Result<T> {
        tokio::time::sleep(self.delay()).await;
        if self.draw() % 1000 < UNREAD {
            return Err(unanswered());
        }
        let answer = read();
        tokio::time::sleep(self.delay()).await;
        Ok(answer)
    }

    /// Mostly short; now and then as long as many other requests.
    fn delay(&self) -> Duration {
        let draw = self.draw();
        let micros = match draw % 16 {
            0 => draw % 3_000_000,
            1..4 => draw % 200_000,
            _ => draw % 20_000,
        };
        Duration::from_micros(1 + micros)
    }

    fn draw(&self) -> u64 {
        fault::mix(self.draws.fetch_add(1, Ordering::Relaxed))
    }
}

fn unanswered() -> Error {
    Error::new(Kind::Unavailable, "the store does not answer (a fault of the test)")
}
