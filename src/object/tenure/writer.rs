//! The one writer of a volume: creates numbered objects exclusively on a store that cannot.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use parking_lot::Mutex;

use super::Claims;
use super::Element;
use super::Index;
use super::lineage::Firsts;
use crate::ambient::Ambient;
use crate::crypto;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::object::Bucket;
use crate::object::name;
use crate::object::name::Sequence;
use crate::types::ClaimId;

/// A claim that has begun.
pub struct Tenure {
    bucket: Bucket,
    claim: ClaimId,
    index: Mutex<Index>,
    /// One create at a time in each sequence.
    turns: [tokio::sync::Mutex<Turn>; 4],
    looks: Looks,
    lost: AtomicBool,
}

/// What a sequence waits for.
struct Turn {
    /// Numbers below were given out.
    next: u64,
    /// Sent, but not known to be stored: whoever sent it may have given up, or been dropped. The
    /// request may still arrive, so no other bytes may ever be sent under its name.
    pending: Option<(u64, Bytes)>,
    /// What one create left pending and another one stored: number and checksum. The first one may
    /// still ask again, and has succeeded.
    stored_by_another: Option<(u64, [u8; 32])>,
}

/// Looks at the claims are shared: one serves all who asked before it began.
#[derive(Default)]
struct Looks {
    begun: AtomicU64,
    /// The number of the last look that found us alone.
    last: tokio::sync::Mutex<u64>,
}

impl Tenure {
    pub(super) fn new(bucket: Bucket, claim: ClaimId, index: Index, owns: Firsts) -> Self {
        let turns = Sequence::ALL
            .map(|sequence| Turn {
                next: owns.of(sequence),
                pending: None,
                stored_by_another: None,
            })
            .map(tokio::sync::Mutex::new);
        let (looks, lost) = (Looks::default(), AtomicBool::new(false));
        Self { bucket, claim, index: Mutex::new(index), turns, looks, lost }
    }

    /// The claim.
    pub fn claim(&self) -> ClaimId {
        self.claim
    }

    /// The bucket it writes to.
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// The object of that number, under the name it is stored by.
    pub fn find(&self, sequence: Sequence, number: u64) -> Option<(String, Element)> {
        let element = self.index.lock().get(sequence, number)?;
        Some((name::claimed(sequence, number, element.claim), element))
    }

    /// The numbers and objects of a sequence.
    pub fn all(&self, sequence: Sequence) -> Vec<(u64, Element)> {
        let index = self.index.lock();
        index.all(sequence).iter().map(|(number, element)| (*number, *element)).collect()
    }

    /// Creates object `number` of a sequence. It is durable, and nobody else's, when this returns.
    /// [`Kind::Exists`]: the number was given out; [`Kind::Fenced`]: a later claim is there.
    pub async fn create(&self, sequence: Sequence, number: u64, body: Bytes) -> Result<()> {
        let mut turn = self.turns[sequence as usize].lock().await;
        let again = turn.pending.as_ref().is_some_and(|(n, bytes)| (*n, bytes) == (number, &body));
        if !again {
            let before = turn.pending.clone();
            self.settle(sequence, &mut turn).await?;
            if let Some((number, bytes)) = before {
                turn.stored_by_another = Some((number, crypto::checksum(&bytes)));
            }
            let stored = turn.stored_by_another.filter(|(stored, _)| *stored == number);
            if stored.is_some_and(|(_, checksum)| checksum == crypto::checksum(&body)) {
                return Ok(());
            }
            if number < turn.next {
                return Err(Error::new(Kind::Exists, "the object exists already")
                    .with("object", name::numbered(sequence, number)));
            }
            turn.pending = Some((number, body));
        }
        self.settle(sequence, &mut turn).await
    }

    /// Whether this claim is still the last: seen in a list that begins after the call.
    /// [`Kind::Fenced`] if not, now and for ever.
    pub async fn confirm(&self) -> Result<()> {
        #[cfg(feature = "testing")]
        if crate::object::sabotage::read_back_is_off() {
            return Ok(());
        }
        let begun = self.looks.begun.load(Ordering::SeqCst);
        let mut last = self.looks.last.lock().await;
        if self.lost.load(Ordering::SeqCst) {
            return Err(lost(self.claim));
        }
        if *last > begun {
            return Ok(());
        }
        let number = self.looks.begun.fetch_add(1, Ordering::SeqCst) + 1;
        if !Claims::list(&self.bucket).await?.leaves_alone(self.claim) {
            self.lost.store(true, Ordering::SeqCst);
            return Err(lost(self.claim));
        }
        *last = number;
        Ok(())
    }

    /// How many times the claims were looked at.
    pub fn looks(&self) -> u64 {
        self.looks.begun.load(Ordering::SeqCst)
    }

    /// Deletes an object, if it is there. [`Kind::Fenced`]: a later claim is there.
    pub async fn delete(&self, sequence: Sequence, number: u64) -> Result<()> {
        let Some((name, _)) = self.find(sequence, number) else { return Ok(()) };
        self.confirm().await?;
        self.bucket.delete(&[name]).await?;
        self.index.lock().remove(sequence, number);
        Ok(())
    }

    /// Stores what waits in a sequence.
    async fn settle(&self, sequence: Sequence, turn: &mut Turn) -> Result<()> {
        let Some((number, body)) = turn.pending.clone() else { return Ok(()) };
        if self.lost.load(Ordering::SeqCst) {
            return Err(lost(self.claim));
        }
        let size = body.len() as u64;
        self.bucket.put(&name::claimed(sequence, number, self.claim), body).await?;
        self.confirm().await?;
        let modified = Some(Ambient::system().now());
        let element = Element { claim: self.claim, size, modified };
        self.index.lock().insert(sequence, number, element);
        turn.next = number + 1;
        turn.pending = None;
        Ok(())
    }

    /// Deletes what is void, and the records of lower sessions: while this claim stands, none of
    /// them can come back. What cannot be deleted is left to the next claim.
    pub(super) async fn tidy(&self, mut names: Vec<String>) {
        let tidied = async {
            names.extend(Claims::list(&self.bucket).await?.names_before(self.claim));
            self.bucket.delete(&names).await
        };
        if let Err(error) = tidied.await {
            tracing::debug!(%error, "what is void stays until the next session");
        }
    }
}

/// The error of a claim that a later one has overtaken.
pub(super) fn lost(claim: ClaimId) -> Error {
    Error::new(Kind::Fenced, "another session owns the volume now")
        .with("session", claim.session)
        .hint("unmount; what was not synced before is lost")
}
