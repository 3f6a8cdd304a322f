//! How a volume comes about. Its header is created last, and a volume exists if and only if its
//! header does: so a crash leaves either none or a whole one. Two creators keep out of each
//! other's way as two mounts do: each first takes a session.

use std::time::Duration;

use futures::TryStreamExt;

use super::CreateOptions;
use super::Summary;
use super::exclusive;
use super::header;
use super::header::FORMAT;
use super::header::FencingMode;
use super::header::Header;
use super::host::Host;
use super::open;
use super::policy;
use super::state;
use super::state::State;
use super::term;
use crate::ambient::Ambient;
use crate::config::Fencing;
use crate::config::VolumeConfig;
use crate::crypto::NameKey;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::meta::kv::Engine;
use crate::meta::kv::SlateEngine;
use crate::meta::kv::SlateOptions;
use crate::meta::root_batch;
use crate::object::Bucket;
use crate::object::name;
use crate::provider::SseMode;
use crate::types::VolumeId;

/// Bytes of a block that a new volume may have. Smaller ones cost requests, larger ones memory.
const BLOCK_BYTES_MIN: u32 = 256 * 1024;
const BLOCK_BYTES_MAX: u32 = 64 << 20;

/// Each step with the new metadata must be done by then.
const ENGINE_WITHIN: Duration = Duration::from_secs(30);

/// Makes a volume, so that a crash leaves either none or a whole one.
/// [`Kind::Exists`]: there is one; [`Kind::Unsupported`]: the store could not keep a second
/// writer out of it.
pub async fn create(
    config: &VolumeConfig,
    options: CreateOptions,
    ambient: &Ambient,
) -> Result<Summary> {
    check_options(config, &options)?;
    let reader = Bucket::open(config, None)?;
    open::within(&reader, absent(&reader, &config.name)).await?;
    let decision = policy::decide(config, &SseMode::None, options.sse.as_ref())?;
    let mode = decision.policy.mode.clone();
    let (bucket, omitted) = open::policed(config, decision.policy, ambient).await?;
    for notice in decision.notices.into_iter().chain(omitted) {
        tracing::warn!(volume = config.name, "{notice}");
    }
    exclusive::measure(&bucket, ambient).await?;
    let host = Host::this()?;
    let plan = Plan {
        name: &config.name,
        block_bytes: options.block_bytes,
        mode,
        host: &host,
        engine_within: ENGINE_WITHIN,
    };
    plan.carry_out(&bucket, ambient).await
}

fn check_options(config: &VolumeConfig, options: &CreateOptions) -> Result<()> {
    let bytes = options.block_bytes;
    if !(BLOCK_BYTES_MIN..=BLOCK_BYTES_MAX).contains(&bytes) {
        return Err(Error::new(Kind::Usage, format!("a block cannot have {bytes} bytes"))
            .hint("give `--block-size` between 256KiB and 64MiB"));
    }
    if config.fencing == Fencing::ReadBack {
        return Err(header::read_back_is_missing());
    }
    if !config.provider.conditional_create.works() {
        let title = &config.provider.title;
        let message = format!("{title} does not refuse to create what exists");
        return Err(Error::new(Kind::Unsupported, message).hint(
            "choose a store that does, see `cairnfs providers`; \
             `fencing = \"read-back\"` is not available yet",
        ));
    }
    Ok(())
}

/// A volume to be made in a bucket.
struct Plan<'a> {
    name: &'a str,
    block_bytes: u32,
    mode: SseMode,
    host: &'a Host,
    engine_within: Duration,
}

impl Plan<'_> {
    async fn carry_out(&self, bucket: &Bucket, ambient: &Ambient) -> Result<Summary> {
        let header = self.header(ambient)?;
        absent(bucket, self.name).await?;
        no_remains(bucket, self.name).await?;
        let claim = open::claim_for_tool(bucket, &header, self.host, ambient).await?;
        let made = self.fill(bucket, &header, ambient).await;
        term::give_back(bucket, &claim).await;
        made.map(|state| open::summary(&header, &state, None, false))
    }

    fn header(&self, ambient: &Ambient) -> Result<Header> {
        let mut id = [0; 16];
        ambient.fill(&mut id)?;
        Ok(Header {
            format: FORMAT,
            id: VolumeId(id),
            block_bytes: self.block_bytes,
            fencing: FencingMode::ConditionalCreate,
            name_key: NameKey::generate(ambient)?,
            created: ambient.now().seconds,
        })
    }

    async fn fill(&self, bucket: &Bucket, header: &Header, ambient: &Ambient) -> Result<State> {
        // Another creator may have finished before this session began.
        absent(bucket, self.name).await?;
        remove_leftovers(bucket).await?;
        self.make_metadata(bucket, ambient).await?;
        let state = State::first(header.id, self.mode.clone(), ambient);
        state::create(bucket, &state).await?;
        header::create(bucket, header).await?;
        Ok(state)
    }

    async fn make_metadata(&self, bucket: &Bucket, ambient: &Ambient) -> Result<()> {
        let within = self.engine_within;
        let engine = SlateEngine::open(bucket.clone(), SlateOptions::default(), within).await?;
        let user = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let batch = root_batch(ambient, user.0, user.1);
        let committed = tokio::time::timeout(within, engine.commit(batch)).await;
        engine.close(within).await?;
        committed.unwrap_or_else(|_| {
            Err(Error::new(Kind::Unavailable, "the store does not take the volume's metadata")
                .hint("try again"))
        })
    }
}

async fn absent(bucket: &Bucket, volume: &str) -> Result<()> {
    match header::read(bucket).await? {
        Some(header) => Err(Error::new(Kind::Exists, format!("volume `{volume}` exists already"))
            .with("id", header.id)
            .hint(format!("mount it, or delete it: `cairnfs volume delete {volume}`"))),
        None => Ok(()),
    }
}

/// What a volume that was in use leaves behind when its header is lost is not thrown away here.
async fn no_remains(bucket: &Bucket, volume: &str) -> Result<()> {
    let remains = |object: String| {
        let message = format!("remains of another volume are where `{volume}` would be");
        Err(Error::new(Kind::Exists, message)
            .with("object", object)
            .hint("choose another prefix; or, if nobody needs them, delete all objects below it"))
    };
    if let Some(block) = bucket.list(name::BLOCKS_PREFIX).try_next().await? {
        return remains(block.name);
    }
    for session in term::list(bucket).await?.into_keys() {
        match term::read(bucket, session).await {
            Ok(term) if !term.mountpoint.is_empty() => return remains(name::term(session)),
            Ok(_) => {}
            // The creator before tidies up, or has crashed while it did.
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Removes what crashed creators left; nobody else works here, since the session is ours.
async fn remove_leftovers(bucket: &Bucket) -> Result<()> {
    let engine = bucket.list(name::ENGINE_PREFIX).map_ok(|object| object.name);
    let mut leftovers: Vec<_> = engine.try_collect().await?;
    leftovers.extend(state::numbers(bucket).await?.into_iter().map(name::state));
    if !leftovers.is_empty() {
        tracing::info!(objects = leftovers.len(), "removing what an interrupted create left");
    }
    bucket.delete(&leftovers).await
}

#[cfg(all(test, feature = "testing"))]
#[path = "create_tests.rs"]
mod tests;
