//! A volume: bucket, metadata and blocks, opened together. (skeleton)

mod record;
mod header;
mod state;
mod policy;
mod host;
mod term;
mod exclusive;
mod create;
mod open;
mod delete;
mod budget;
mod content;
mod core;
mod dirty;
mod epoch;
mod flush;
mod register;
#[cfg(feature = "testing")]
pub mod sabotage;
mod sweep;
#[cfg(test)]
mod testing;
mod upkeep;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::ambient::Ambient;
use crate::config::VolumeConfig;
use crate::error::Result;
use crate::provider::SseMode;

/// How a volume is opened by a mount.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// The encryption this mount asks for; `None`: what the volume remembers.
    pub sse: Option<SseMode>,
    /// Fence a session that holds the volume.
    pub takeover: bool,
    /// Write nothing at all: no session, no probe object.
    pub read_only: bool,
    /// The bound on what the process keeps in memory, in bytes.
    pub memory_bytes: u64,
    /// How old an epoch may become.
    pub commit_interval: Duration,
    /// The largest read-ahead window in bytes.
    pub readahead_bytes: u64,
    /// Where it will be mounted, for the term record.
    pub mountpoint: PathBuf,
}

/// How a volume is made.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    /// The encryption every mount will ask for.
    pub sse: Option<SseMode>,
    /// Bytes of a block, 256 KiB to 64 MiB.
    pub block_bytes: u32,
}

/// What a volume's header and state tell, without opening its metadata.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The volume's id.
    pub id: crate::types::VolumeId,
    /// The format version.
    pub format: u32,
    /// Bytes of a block.
    pub block_bytes: u32,
    /// The encryption it remembers.
    pub sse: SseMode,
    /// `conditional-create` or `read-back`.
    pub fencing: String,
    /// The session that holds it, or held it last, as a sentence.
    pub holder: Option<String>,
    /// Whether a session holds it now, as far as its term record tells.
    pub held: bool,
}

/// What `status` tells of an open volume.
#[derive(Debug, Clone, Default)]
pub struct VolumeStatus {
    /// The encryption asked for (`none`, `aes256`, …).
    pub sse_asked: String,
    /// `strict` or `warn`.
    pub sse_verify: String,
    /// The last durable epoch.
    pub epoch_committed: u64,
    /// Seconds since it was committed.
    pub epoch_age_seconds: u64,
    /// Bytes that only memory holds.
    pub dirty_bytes: u64,
    /// The bound on memory, in bytes.
    pub memory_limit_bytes: u64,
    /// What is accounted against it.
    pub memory_used_bytes: u64,
    /// Requests and postures.
    pub counts: crate::object::Counts,
    /// Whether the store answers.
    pub store: crate::object::StoreState,
    /// Why nothing can be written any more, if so.
    pub broken: Option<String>,
    /// The session's number.
    pub session: u64,
}

/// An open volume.
pub struct Volume {}

impl Volume {
    /// Makes a volume, so that a crash leaves either none or a whole one.
    pub async fn create(_config: &VolumeConfig, _options: CreateOptions, _ambient: &Ambient) -> Result<Summary> { todo!() }
    /// Reads header, state and the newest term; writes nothing.
    pub async fn inspect(_config: &VolumeConfig) -> Result<Summary> { todo!() }
    /// Opens a volume for a mount: policy, probe, term, engine, recovery.
    pub async fn open(_config: &VolumeConfig, _options: OpenOptions, _ambient: Ambient) -> Result<Arc<Self>> { todo!() }
    /// Records another encryption mode; the only way to weaken a policy.
    pub async fn set_sse(_config: &VolumeConfig, _mode: SseMode) -> Result<()> { todo!() }
    /// Deletes every object of the volume; returns how many.
    pub async fn delete(_config: &VolumeConfig) -> Result<u64> { todo!() }
    /// Makes everything durable that was done before the call.
    pub async fn sync(&self) -> Result<()> { todo!() }
    /// Stores everything, closes the term, lets go. What could not be stored is in the error.
    pub async fn close(&self, _deadline: Duration) -> Result<()> { todo!() }
    /// What `status` tells.
    pub fn status(&self) -> VolumeStatus { todo!() }
    /// Resolves when the volume can never be written again (fenced, policy), with the reason.
    pub async fn broken(&self) -> crate::error::Error { todo!() }
    /// Deletes blocks that no metadata names; returns (blocks, bytes).
    pub async fn gc(&self) -> Result<(u64, u64)> { todo!() }
    /// Checks every invariant; each finding a sentence.
    pub async fn fsck(&self) -> Result<Vec<String>> { todo!() }
}
