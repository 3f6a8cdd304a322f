//! Verified plain frames kept in memory, and one fetch per frame at a time however many readers
//! want it. Knows no files and no policy of its callers; a disk tier would lie below.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use foyer::Cache;
use foyer::CacheBuilder;
use foyer::LruConfig;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::block::FrameRef;
use crate::block::FrameSource;
use crate::block::repeat;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::types::BlockId;

/// What an entry costs besides its bytes, about.
const ENTRY_BYTES: usize = 192;

/// A cache of frames, bounded in bytes. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct FrameCache(Arc<Inner>);

struct Inner {
    frames: Cache<Key, Bytes>,
    flights: Mutex<Flights>,
    runtime: Handle,
}

/// A block, and the offset in it of a frame's stored bytes.
type Key = (BlockId, u32);

/// A fetch under way: `None` until it has landed.
type Outcome = Option<Result<Bytes, Arc<Error>>>;

struct Flight {
    landed: watch::Receiver<Outcome>,
    plain_bytes: usize,
}

/// All fetches under way, and their bytes.
#[derive(Default)]
struct Flights {
    table: HashMap<Key, Flight>,
    plain_bytes: usize,
}

impl Flights {
    fn insert(&mut self, key: Key, flight: Flight) {
        self.plain_bytes += flight.plain_bytes;
        let before = self.table.insert(key, flight);
        debug_assert!(before.is_none(), "a frame is fetched once at a time");
    }

    fn remove(&mut self, key: &Key) {
        self.plain_bytes -= self.table.remove(key).map_or(0, |flight| flight.plain_bytes);
    }
}

impl FrameCache {
    /// A cache that keeps at most `capacity_bytes`. Fetches run on the calling runtime, so that
    /// one that many wait for goes on when the first of them gives up.
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn new(capacity_bytes: usize) -> Self {
        // Plain LRU: what was read ahead must outlive what was read once already.
        let frames = CacheBuilder::new(capacity_bytes)
            .with_eviction_config(LruConfig::default())
            .with_weighter(|_: &Key, frame: &Bytes| frame.len() + ENTRY_BYTES)
            .build();
        Self(Arc::new(Inner { frames, flights: Mutex::default(), runtime: Handle::current() }))
    }

    /// The plain bytes of a frame, if they are here; never waits.
    pub fn peek(&self, block: BlockId, at: u32) -> Option<Bytes> {
        self.0.peek((block, at))
    }

    /// Whether a frame is here or on its way.
    pub fn knows(&self, block: BlockId, at: u32) -> bool {
        let key = (block, at);
        self.0.frames.contains(&key) || self.0.flights.lock().table.contains_key(&key)
    }

    /// The plain bytes of `frames` of `block`, in their order; what is not here comes from
    /// `source`. Fails as the source does, for every reader that waited for the frame.
    pub async fn read<S: FrameSource>(
        &self,
        source: &S,
        block: BlockId,
        frames: &[FrameRef],
    ) -> Result<Vec<Bytes>> {
        let wanted = self.begin(source, block, frames);
        let mut found = Vec::with_capacity(frames.len());
        for (frame, wanted) in frames.iter().zip(wanted) {
            found.push(match wanted {
                Wanted::Here(bytes) => bytes,
                Wanted::Flying(landed) => land(landed)
                    .await
                    .map_err(|error| error.unwrap_or_else(|| abandoned(block, frame)))?,
            });
        }
        Ok(found)
    }

    /// Fetches what is not here yet, without waiting for it, as long as what is under way takes
    /// half the cache at most: many readers of streams share that. A failure shows when the frame
    /// is read.
    pub fn prefetch<S: FrameSource>(&self, source: &S, block: BlockId, frames: &[FrameRef]) {
        let mut room = (self.capacity_bytes() / 2).saturating_sub(self.flying_bytes());
        let fits = |frame: &&FrameRef| {
            let left = room.checked_sub(frame.plain as usize);
            room = left.unwrap_or(0);
            left.is_some()
        };
        let count = frames.iter().take_while(fits).count();
        self.begin(source, block, &frames[..count]);
    }

    /// Keeps a frame that was just written. `bytes` should own no more than they show.
    pub fn insert(&self, block: BlockId, at: u32, bytes: Bytes) {
        self.0.frames.insert((block, at), bytes);
    }

    /// Bytes in the cache and in fetches under way.
    pub fn used_bytes(&self) -> usize {
        self.0.frames.usage() + self.flying_bytes()
    }

    /// Bytes in fetches under way.
    pub fn flying_bytes(&self) -> usize {
        self.0.flights.lock().plain_bytes
    }

    /// Bytes that the cache keeps at most.
    pub fn capacity_bytes(&self) -> usize {
        self.0.frames.capacity()
    }

    /// Finds each frame here or in a fetch, and starts one fetch for all the others.
    fn begin<S: FrameSource>(
        &self,
        source: &S,
        block: BlockId,
        frames: &[FrameRef],
    ) -> Vec<Wanted> {
        let mut wanted = Vec::with_capacity(frames.len());
        let mut departing = Departing::default();
        for frame in frames {
            let key = (block, frame.at);
            wanted.push(match self.0.peek(key) {
                Some(bytes) => Wanted::Here(bytes),
                None => self.0.board(key, frame, &mut departing),
            });
        }
        if !departing.frames.is_empty() {
            let landing = Landing { inner: Arc::clone(&self.0), block, departing };
            let source = source.clone();
            self.0.runtime.spawn(async move { landing.fetch(&source).await });
        }
        wanted
    }
}

impl Inner {
    fn peek(&self, key: Key) -> Option<Bytes> {
        self.frames.get(&key).map(|entry| entry.value().clone())
    }

    /// Joins the fetch of a frame, or adds the frame to the one that departs now.
    fn board(&self, key: Key, frame: &FrameRef, departing: &mut Departing) -> Wanted {
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.table.get(&key) {
            return Wanted::Flying(flight.landed.clone());
        }
        // A fetch enters the cache before it leaves the table, so one of the two has it.
        if let Some(bytes) = self.peek(key) {
            return Wanted::Here(bytes);
        }
        let (sender, landed) = watch::channel(None);
        let plain_bytes = frame.plain as usize;
        flights.insert(key, Flight { landed: landed.clone(), plain_bytes });
        departing.frames.push(*frame);
        departing.senders.push(sender);
        Wanted::Flying(landed)
    }
}

enum Wanted {
    Here(Bytes),
    Flying(watch::Receiver<Outcome>),
}

#[derive(Default)]
struct Departing {
    frames: Vec<FrameRef>,
    senders: Vec<watch::Sender<Outcome>>,
}

/// A fetch under way. Dropped, however that comes, it leaves no entry in the table.
struct Landing {
    inner: Arc<Inner>,
    block: BlockId,
    departing: Departing,
}

impl Landing {
    async fn fetch<S: FrameSource>(self, source: &S) {
        let Departing { frames, senders } = &self.departing;
        let land = |place: usize, answer: Result<Bytes>| {
            let key = (self.block, frames[place].at);
            if let Ok(bytes) = &answer {
                self.inner.frames.insert(key, bytes.clone());
            }
            self.inner.flights.lock().remove(&key);
            senders[place].send_replace(Some(answer.map_err(Arc::new)));
        };
        source.fetch(self.block, frames, &land).await;
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut flights = self.inner.flights.lock();
        for (frame, sender) in self.departing.frames.iter().zip(&self.departing.senders) {
            // What has landed was removed then, and may be flying again by now.
            if sender.borrow().is_none() {
                flights.remove(&(self.block, frame.at));
            }
        }
    }
}

/// Waits for a fetch. `Err(None)`: it ended without an answer.
async fn land(mut landed: watch::Receiver<Outcome>) -> Result<Bytes, Option<Error>> {
    let outcome = landed.wait_for(Option::is_some).await.map_err(|_| None)?;
    match outcome.as_ref().expect("`wait_for` saw it") {
        Ok(bytes) => Ok(bytes.clone()),
        Err(error) => Err(Some(repeat(error))),
    }
}

fn abandoned(block: BlockId, frame: &FrameRef) -> Error {
    Error::new(Kind::Internal, "a read was given up before it was answered")
        .with("block", block)
        .with("offset", frame.at)
}
