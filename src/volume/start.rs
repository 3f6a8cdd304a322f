//! From what `open` prepared to a running volume: memory is shared out, numbers are reserved,
//! what a crash left behind is found, and the tasks start.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::watch;

use super::Contents;
use super::Identity;
use super::Volume;
use super::budget::Budget;
use super::budget::Shares;
use super::core::Core;
use super::dirty::Dirty;
use super::flush::DIRTY_BYTES_MIN;
use super::term::Claim;
use crate::ambient::Ambient;
use crate::ambient::instant;
use crate::block::BlockReader;
use crate::block::BlockWriter;
use crate::cache::FrameCache;
use crate::crypto::NameKey;
use crate::crypto::TagKey;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::meta::Ids;
use crate::meta::Meta;
use crate::meta::key;
use crate::meta::kv::Engine;
use crate::meta::kv::Fresh;
use crate::meta::kv::Store;
use crate::meta::kv::Usage;
use crate::meta::value::Superblock;
use crate::object::Bucket;
use crate::object::tenure::Tenure;
use crate::types::ContentId;
use crate::types::Ino;
use crate::types::SessionId;
use crate::types::VolumeId;

/// Blocks sent at once.
const UPLOADS_AT_ONCE: usize = 8;

/// Everything that a running volume is made of.
pub struct Parts {
    /// The bucket, held to the volume's policy.
    pub bucket: Bucket,
    /// The metadata engine.
    pub engine: Arc<dyn Engine>,
    /// The volume's id.
    pub id: VolumeId,
    /// Bytes of a block.
    pub block_bytes: u32,
    /// The key of the names' hash.
    pub names: NameKey,
    /// The session; `None` opens read-only.
    pub session: Option<SessionId>,
    /// The bound on memory, in bytes.
    pub memory_bytes: u64,
    /// How old an epoch may become.
    pub commit_interval: Duration,
    /// The largest read-ahead window in bytes.
    pub readahead_bytes: u64,
    /// Time and randomness.
    pub ambient: Ambient,
}

impl Volume {
    /// Starts a volume from its parts.
    pub async fn start(parts: Parts) -> Result<Arc<Self>> {
        Self::start_claimed(parts, None, None, Vec::new()).await
    }

    /// The same, with the claim to close at the end.
    pub(super) async fn start_claimed(
        parts: Parts,
        claim: Option<Claim>,
        tenure: Option<Arc<Tenure>>,
        notices: Vec<String>,
    ) -> Result<Arc<Self>> {
        let superblock = superblock(&*parts.engine).await?;
        let core = Arc::new(core(&parts, &superblock));
        let mut tasks = Vec::new();
        if parts.session.is_some() {
            reserve_numbers(&core, &superblock).await?;
            core.find_upkeep().await?;
            tasks.push(tokio::spawn(core.clone().run_epochs(parts.commit_interval)));
            tasks.push(tokio::spawn(core.clone().run_upkeep()));
            core.upkeep.notify_one();
        } else {
            core.meta.store().refuse(Kind::ReadOnly, "the volume is mounted read-only".to_owned());
        }
        let identity = Identity { session: parts.session, readahead_bytes: parts.readahead_bytes };
        let contents = Contents::new(core.clone());
        let tasks = Mutex::new(tasks);
        Ok(Arc::new(Self { core, contents, identity, claim, tenure, notices, tasks }))
    }
}

async fn superblock(engine: &dyn Engine) -> Result<Superblock> {
    let value = engine.get(&key::superblock()).await?;
    let value = value.ok_or_else(|| {
        Error::new(Kind::Corrupt, "the volume's metadata has no superblock")
            .hint("the volume's creation was cut short; delete it and create it again")
    })?;
    Superblock::decode(&value)
}

/// The numbers of this session are the store's before the first is given out.
async fn reserve_numbers(core: &Core, old: &Superblock) -> Result<()> {
    let (ino_limit, content_limit, seq_limit) = core.meta.ids.limits();
    let superblock = Superblock { ino_limit, content_limit, seq_limit, ..*old };
    let batch = vec![(key::superblock(), Some(superblock.encode()))];
    core.meta.store().engine().commit(batch).await
}

fn core(parts: &Parts, superblock: &Superblock) -> Core {
    let memory = parts.memory_bytes;
    let usage = Usage { inodes: superblock.inodes, bytes: superblock.bytes };
    let (ino, content) = (Ino(superblock.ino_limit), ContentId(superblock.content_limit));
    let fresh = match parts.session {
        Some(_) => Fresh::of(move |key| key::is_of_session(key, ino, content)),
        // Whoever writes the volume may give these numbers out.
        None => Fresh::nothing(),
    };
    let store = Store::new(parts.engine.clone(), usage, fresh, memory / 16);
    let ids = Ids::from(superblock);
    let (names, ambient) = (parts.names.clone(), parts.ambient.clone());
    let key = TagKey::new(parts.id);
    let bucket = parts.bucket.clone();
    let session = parts.session.unwrap_or(SessionId(0));
    let Shares { dirty_bytes_max, frame_bytes } = Shares::of(memory);
    let frame_bytes = usize::try_from(frame_bytes).unwrap_or(usize::MAX);
    Core {
        meta: Arc::new(Meta::new(store, ids, names, ambient.clone())),
        first_epoch: superblock.epoch.0,
        block_bytes: parts.block_bytes,
        memory_bytes: memory,
        dirty: Mutex::new(Dirty::new(ContentId(superblock.content_limit))),
        budget: Budget::new(DIRTY_BYTES_MIN.min(dirty_bytes_max)),
        writer: BlockWriter::new(bucket.clone(), key.clone(), session, ambient, UPLOADS_AT_ONCE),
        reader: BlockReader::new(bucket.clone(), key),
        cache: FrameCache::new(frame_bytes),
        misses: Mutex::default(),
        bucket,
        runtime: tokio::runtime::Handle::current(),
        inline: Mutex::default(),
        registrar: tokio::sync::Mutex::new(()),
        epoch_turn: tokio::sync::Mutex::new(()),
        data_phase: watch::Sender::new(false),
        frozen: Mutex::new(0),
        committed: watch::Sender::new(0),
        kick: Notify::new(),
        settled: Notify::new(),
        obstacle: watch::Sender::new(None),
        garbage: Mutex::default(),
        cut_inodes: Mutex::default(),
        reclaims: Mutex::default(),
        deletions: tokio::sync::RwLock::new(()),
        upkeep: Notify::new(),
        closing: false.into(),
        moves_inline: false.into(),
        committed_at: Mutex::new(instant()),
        broken: watch::Sender::new(None),
    }
}
