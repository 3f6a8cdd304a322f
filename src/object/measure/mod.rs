//! What a live bucket does, measured by small objects below the probe's own prefix: what it says
//! of each kind of encryption, how it creates what exists, lists, reads and deletes. Compares that
//! with the provider's row, and makes a row of it. Leaves nothing behind.

mod compare;
mod row;
mod steps;
mod tap;
#[cfg(test)]
mod tests;

pub use compare::Finding;
pub use compare::Verdict;

use serde::Serialize;

use crate::ambient::Ambient;
use crate::config::VolumeConfig;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::provider::Service;
use crate::provider::SseMode;

/// How much is measured.
#[derive(Debug, Clone, Default)]
pub struct Measure {
    /// The name of a key of the store's key service, to ask for.
    pub kms_key: Option<String>,
    /// Rounds of the create race: what one round shows may be luck.
    pub races: usize,
}

/// One answer of the store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The code in an error document.
    pub code: Option<String>,
    /// The sentence in an error document.
    pub message: Option<String>,
    /// What it says of the object's encryption, in the words of its header.
    pub told: Option<String>,
}

impl Reply {
    /// Whether the store did it.
    pub fn accepted(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether asking again may be answered otherwise. 501 is for good; a 500 may be either, since
    /// some stores refuse encryption so.
    fn may_pass(&self) -> bool {
        self.status == 429 || ((500..600).contains(&self.status) && self.status != 501)
    }

    /// Whether it tells of the moment only, however often it is repeated: nothing is measured then.
    fn is_trouble(&self) -> bool {
        matches!(self.status, 429 | 502 | 503 | 504)
    }

    /// Whether it is how a create is told that it has lost.
    fn is_conflict(&self) -> bool {
        matches!(self.status, 409 | 412)
    }
}

/// What came of writing one object, with encryption asked for or not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// What the header says when the store did as it was asked.
    pub wanted: Option<&'static str>,
    /// The answer to the write.
    pub write: Reply,
    /// The answer to a HEAD of it, if there is such an object.
    pub head: Option<Reply>,
}

impl Asked {
    /// Whether the store took the write and confirmed what was asked.
    pub fn confirmed(&self) -> bool {
        self.write.accepted() && (self.told_on_write() || self.told_on_head())
    }

    fn told_on_write(&self) -> bool {
        self.is_wanted(self.write.told.as_deref())
    }

    fn told_on_head(&self) -> bool {
        self.is_wanted(self.head.as_ref().and_then(|head| head.told.as_deref()))
    }

    /// Where nothing was asked, any word of encryption is one.
    fn is_wanted(&self, told: Option<&str>) -> bool {
        match self.wanted {
            Some(wanted) => told == Some(wanted),
            None => told.is_some_and(|told| !matches!(told, "" | "false")),
        }
    }
}

/// What was measured of a bucket. `None`: not measured, or the service has no such thing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Measurement {
    /// How the server calls itself.
    pub server: Option<String>,
    /// Whether it was reached in the clear.
    pub plain_http: bool,
    /// The store's clock minus ours.
    pub clock_ahead_seconds: Option<i64>,
    /// Whether a signature for any region will do.
    pub region_ignored: Option<bool>,
    /// Whether the bucket answers in the host name.
    pub virtual_host: Option<bool>,
    /// A write that asks for nothing. Where a policy of the bucket refuses it, all else is measured
    /// with encryption asked for.
    pub plain: Asked,
    /// SSE-S3.
    pub aes256: Option<Asked>,
    /// A copy that asks for SSE-S3, of an object that has it.
    pub copy: Option<Asked>,
    /// SSE-KMS.
    pub kms: Option<Asked>,
    /// Whether a key was named for it.
    pub kms_key_named: bool,
    /// DSSE-KMS.
    pub dsse: Option<Asked>,
    /// SSE-C, or Azure's customer-provided key.
    pub customer_key: Option<Asked>,
    /// The answer to the creation of what exists.
    pub create_existing: Reply,
    /// Winners of each race of eight creators for one object.
    pub race_winners: Vec<usize>,
    /// Whether a replacement on condition of the version is done, and refused for another one.
    pub conditional_update: Option<bool>,
    /// Whether a listing shows at once what was written.
    pub lists_at_once: bool,
    /// Whether a part of an object can be read.
    pub ranges: Option<bool>,
    /// Whether many objects can be deleted by one request.
    pub batch_delete: Option<bool>,
    /// Whether a write may carry `x-amz-checksum-crc32c`.
    pub crc32c: Option<bool>,
    /// What could not be deleted again.
    pub left_behind: Vec<String>,
}

impl Measurement {
    /// Measures the bucket of `volume`, within seconds. An error: it cannot be written at all, and
    /// why, as a mount would say it.
    pub async fn of(volume: &VolumeConfig, measure: &Measure, ambient: &Ambient) -> Result<Self> {
        match volume.provider.service {
            Service::S3 | Service::Azblob | Service::Gcs => {}
            Service::Fs | Service::Memory => {
                let message = format!("{} is not behind a network", volume.provider.title);
                return Err(Error::new(Kind::Unsupported, message)
                    .hint("`cairnfs volume create` measures what it needs of a directory"));
            }
        }
        let mut measure = measure.clone();
        if let (None, Some(SseMode::Kms(key) | SseMode::Dsse(key))) =
            (&measure.kms_key, &volume.sse)
        {
            measure.kms_key = Some(key.clone());
        }
        steps::run(volume, &measure, ambient).await
    }

    /// Whether the store refuses to create what exists, and lets one of many win.
    pub fn creates_exclusively(&self) -> Option<bool> {
        let existing = &self.create_existing;
        if existing.is_trouble() || (existing.is_conflict() && self.race_winners.is_empty()) {
            return None;
        }
        Some(existing.is_conflict() && self.race_winners.iter().all(|winners| *winners == 1))
    }
}
