//! Reads what counts without a claim, for those who only read.

use parking_lot::Mutex;

use super::Claims;
use super::Element;
use super::Index;
use super::Lineage;
use super::survey;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::object::Bucket;
use crate::object::name;
use crate::object::name::Sequence;
use crate::types::ClaimId;
use crate::types::VolumeId;

/// A claim may begin, and delete the start of the one before, between two requests of ours.
const TRIES_MAX: usize = 8;

/// Follows the objects that count.
pub struct Follower {
    bucket: Bucket,
    volume: VolumeId,
    sequences: &'static [Sequence],
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    start: Option<(ClaimId, Lineage)>,
    index: Index,
}

impl Follower {
    /// Follows some sequences of a volume; sends nothing before the first [`Self::refresh`].
    pub fn new(bucket: Bucket, volume: VolumeId, sequences: &'static [Sequence]) -> Self {
        Self { bucket, volume, sequences, seen: Mutex::default() }
    }

    /// The bucket it reads.
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Looks at what counts now. [`Kind::Stale`]: what was seen before does not count any more,
    /// since a writer was fenced before it had acknowledged it.
    pub async fn refresh(&self) -> Result<()> {
        for _ in 0..TRIES_MAX {
            let Some(last) = Claims::list(&self.bucket).await?.last_started() else {
                return Ok(());
            };
            let known = self.seen.lock().start.clone().filter(|(claim, _)| *claim == last);
            let lineage = match known {
                Some((_, lineage)) => Some(lineage),
                None => survey::lineage(&self.bucket, self.volume, last).await?,
            };
            let Some(lineage) = lineage else { continue };
            let (index, _) = survey::look(&self.bucket, &lineage, self.sequences).await?;
            let mut seen = self.seen.lock();
            if seen.index.is_contradicted_by(&lineage) {
                let message = "the volume was taken over while it was read";
                return Err(Error::new(Kind::Stale, message).hint("mount it again"));
            }
            *seen = Seen { start: Some((last, lineage)), index };
            return Ok(());
        }
        Err(Error::new(Kind::Busy, "the volume changes hands again and again").hint("try again"))
    }

    /// The object of that number, as of the last look, under the name it is stored by.
    pub fn find(&self, sequence: Sequence, number: u64) -> Option<(String, Element)> {
        let element = self.seen.lock().index.get(sequence, number)?;
        Some((name::claimed(sequence, number, element.claim), element))
    }

    /// The numbers and objects of a sequence, as of the last look.
    pub fn all(&self, sequence: Sequence) -> Vec<(u64, Element)> {
        let seen = self.seen.lock();
        seen.index.all(sequence).iter().map(|(number, element)| (*number, *element)).collect()
    }
}
