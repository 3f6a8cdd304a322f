//! A volume: bucket, metadata and blocks, opened together.
//!
//! Three tasks of an open volume do what nobody waits for: `epoch` closes epochs, `upkeep` tidies
//! after them, and uploads run as bytes become enough for a block. Knows neither files' names nor
//! the kernel.

mod header;
mod state;
mod policy;
mod host;
mod term;
mod session;
pub mod exclusive;
mod create;
mod open;
mod delete;
mod erase;
mod core;
mod budget;
mod segments;
mod dirty;
#[cfg(test)]
mod dirty_tests;
#[cfg(all(test, feature = "testing"))]
mod core_tests;
mod misses;
mod content;
mod contents;
mod flush;
mod register;
mod epoch;
mod upkeep;
mod sweep;
mod check;
mod pace;
mod census;
mod repair;
mod posture;
mod start;
#[cfg(feature = "testing")]
pub mod sabotage;
#[cfg(test)]
mod testing;

pub use census::Census;
pub use census::LostMetadata;
pub use content::Pattern;
pub use contents::CUTS_MAX;
pub use contents::Contents;
pub use contents::Written;
pub use delete::Deleted;
pub use pace::Pace;
pub use posture::FilePosture;
pub use repair::Nulls;
pub use repair::Rewrite;
pub use start::Parts;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinHandle;

use self::core::Core;
use self::host::Host;
use self::term::Claim;
use crate::ambient::Ambient;
use crate::config::SseVerify;
use crate::config::VolumeConfig;
use crate::crypto::NameKey;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::meta::Meta;
use crate::object::record;
use crate::object::tenure::Tenure;
use crate::provider::SseMode;
use crate::types::SessionId;

/// How a volume is opened by a mount.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// The encryption this mount asks for; `None`: what the volume remembers.
    pub sse: Option<SseMode>,
    /// It was asked for without a mode: any that the volume remembers will do.
    pub any_sse: bool,
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
    /// What the user should know of a volume that was just created, each a sentence.
    pub notices: Vec<String>,
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

/// Rounds of upkeep at the end, each with an epoch: garbage, its blocks, the reclaim keys.
const LAST_ROUNDS: usize = 4;

/// An open volume.
pub struct Volume {
    core: Arc<Core>,
    contents: Contents,
    identity: Identity,
    claim: Option<Claim>,
    /// Of a claim that has begun, where the store cannot refuse a second writer.
    tenure: Option<Arc<Tenure>>,
    /// What the user should know, once.
    notices: Vec<String>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// What does not change while a volume is open.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// The session, unless the volume is open read-only.
    session: Option<SessionId>,
    readahead_bytes: u64,
}

impl Volume {
    /// Makes a volume, so that a crash leaves either none or a whole one.
    pub async fn create(
        config: &VolumeConfig,
        options: CreateOptions,
        ambient: &Ambient,
    ) -> Result<Summary> {
        create::create(config, options, ambient).await
    }

    /// Reads header, state and the newest term; writes nothing.
    pub async fn inspect(config: &VolumeConfig) -> Result<Summary> {
        open::inspect(config).await
    }

    /// Records another encryption mode; the only way to weaken a policy.
    pub async fn set_sse(config: &VolumeConfig, mode: SseMode) -> Result<()> {
        open::set_sse(config, mode).await
    }

    /// The same, of a volume that this process has open: what it writes from now on is held to the
    /// mode.
    pub async fn set_own_sse(&self, config: &VolumeConfig, mode: SseMode) -> Result<()> {
        let (tenure, ambient) = (self.tenure.as_deref(), &self.core.meta.ambient);
        open::set_own_sse(config, mode, (&self.core.bucket, tenure), ambient).await
    }

    /// Deletes every object of the volume with all its versions, and looks that none is left.
    pub async fn delete(config: &VolumeConfig) -> Result<Deleted> {
        delete::delete(config).await
    }

    /// Opens a volume for a mount: policy, probe, term, engine, recovery.
    pub async fn open(
        config: &VolumeConfig,
        options: OpenOptions,
        ambient: Ambient,
    ) -> Result<Arc<Self>> {
        let prepared = open::prepare(config, &options, &ambient, &Host::this()?).await?;
        let (claim, tenure) = (prepared.claim, prepared.tenure);
        let bucket = prepared.bucket.clone();
        let parts = Parts {
            bucket: prepared.bucket,
            engine: prepared.engine,
            id: prepared.header.id,
            block_bytes: prepared.header.block_bytes,
            names: NameKey::new(*prepared.header.name_key.expose()),
            session: claim.as_ref().map(|claim| claim.session),
            memory_bytes: options.memory_bytes,
            commit_interval: options.commit_interval,
            readahead_bytes: options.readahead_bytes,
            ambient: ambient.clone(),
        };
        match Self::start_claimed(parts, claim, tenure, prepared.notices).await {
            Ok(volume) => {
                if !prepared.previous_was_clean {
                    volume.sweep_after_crash();
                }
                Ok(volume)
            }
            Err(error) => {
                if let Some(claim) = &claim {
                    session::abandon(&bucket, claim, &ambient).await;
                }
                Err(error)
            }
        }
    }

    /// Blocks that a crash left before their epoch landed go in the background.
    fn sweep_after_crash(self: &Arc<Self>) {
        let volume = self.clone();
        self.tasks.lock().push(tokio::spawn(async move {
            match volume.core.sweep(volume.identity.session).await {
                Ok((blocks, bytes)) => tracing::info!(blocks, bytes, "swept after a crash"),
                Err(error) => tracing::warn!(%error, "the sweep after a crash is left to gc"),
            }
        }));
    }

    /// What the user should know of this mount, each a sentence.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// The metadata.
    pub fn meta(&self) -> &Arc<Meta> {
        &self.core.meta
    }

    /// The bytes of files.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The largest read-ahead window in bytes. Less than was asked for where little memory is, so
    /// that the windows of a few streams do not push each other out before they are read.
    pub fn readahead_bytes(&self) -> u64 {
        self.identity.readahead_bytes.min(self.core.cache.capacity_bytes() as u64 / 4)
    }

    /// Whether nothing may be written.
    pub fn is_read_only(&self) -> bool {
        self.identity.session.is_none()
    }

    /// Whether nobody else has changed the volume since it was opened: of a read-only mount as far
    /// as it knows.
    pub fn is_as_opened(&self) -> bool {
        self.core.meta.store().is_as_opened()
    }

    /// Makes everything durable that was done before the call.
    pub async fn sync(&self) -> Result<()> {
        self.core.sync().await
    }

    /// Stores everything, closes the term, lets go. What could not be stored within `deadline` is
    /// in the error.
    pub async fn close(&self, deadline: Duration) -> Result<()> {
        let stored = match tokio::time::timeout(deadline, self.store_all()).await {
            Ok(stored) => stored,
            Err(_) => Err(self.not_stored()),
        };
        self.tasks.lock().drain(..).for_each(|task| task.abort());
        let engine = self.core.meta.store().engine();
        engine.close(deadline.min(Duration::from_secs(10))).await?;
        if let (Ok(()), Some(claim)) = (&stored, &self.claim) {
            session::close(&self.core.bucket, claim, &self.core.meta.ambient).await?;
        }
        stored
    }

    async fn store_all(&self) -> Result<()> {
        if self.is_read_only() {
            return Ok(());
        }
        self.core.closing.store(true, Ordering::Release);
        self.core.sync().await?;
        for _ in 0..LAST_ROUNDS {
            self.core.tidy_up().await?;
            self.core.sync().await?;
        }
        self.core.flush_inline().await
    }

    fn not_stored(&self) -> Error {
        let (dirty_bytes, state) = (self.core.budget.used(), self.core.bucket.state());
        let mut error = Error::new(Kind::Unavailable, "not everything could be stored in time")
            .with("dirty bytes", dirty_bytes)
            .hint("the store is away: start the volume again and copy what was written last");
        if let Some(last) = state.last_error {
            error = error.with("last error", last);
        }
        error
    }

    /// What `status` tells.
    pub fn status(&self) -> VolumeStatus {
        let core = &self.core;
        let obstacle = core.obstacle.borrow().as_ref().map(|(_, reason)| reason.clone());
        let policy = core.bucket.policy();
        let mut store = core.bucket.state();
        // On its own: a lock that is taken inside the answer is held until all of it is there, and
        // the gate comes before the dirty set.
        let dirty_bytes = core.dirty.lock().bytes();
        store.last_error = obstacle.or(core.writer.uploads().last_error).or(store.last_error);
        VolumeStatus {
            sse_asked: policy.as_ref().map_or("none".to_owned(), |policy| policy.mode.to_string()),
            sse_verify: match policy.map(|policy| policy.verify) {
                Some(SseVerify::Strict) => "strict".to_owned(),
                Some(SseVerify::Warn) | None => "warn".to_owned(),
            },
            epoch_committed: core.first_epoch + *core.committed.borrow(),
            epoch_age_seconds: core.committed_at.lock().elapsed().as_secs(),
            dirty_bytes,
            memory_limit_bytes: core.memory_bytes,
            memory_used_bytes: core.budget.used()
                + core.cache.used_bytes() as u64
                + core.meta.store().memory_bytes(),
            counts: core.bucket.counts(),
            store,
            broken: core.failure().map(|error| error.to_string()),
            session: self.identity.session.map_or(0, |session| session.0),
        }
    }

    /// Resolves when the volume can never be written again (fenced, policy), with the reason.
    pub async fn broken(&self) -> Error {
        let mut broken = self.core.broken.subscribe();
        if broken.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
        self.core.failure().expect("it was just set")
    }

    /// Deletes blocks of ended sessions that no metadata names; returns (blocks, bytes).
    pub async fn gc(&self) -> Result<(u64, u64)> {
        self.core.sync().await?;
        self.core.tidy_up().await?;
        self.core.sweep(self.identity.session).await
    }

    /// Checks every invariant; each finding a sentence.
    pub async fn fsck(&self) -> Result<Vec<String>> {
        if !self.is_read_only() {
            self.core.sync().await?;
        }
        self.core.check().await
    }
}
