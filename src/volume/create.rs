//! How a volume comes about. Its header is created last, and a volume exists if and only if its
//! header does: so a crash leaves either none or a whole one. Two creators keep out of each
//! other's way as two mounts do: each first takes a session.

use std::sync::Arc;
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
use super::session;
use super::state;
use super::state::Purpose;
use super::state::State;
use super::term::Claim;
use crate::ambient::Ambient;
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
use crate::object::tenure::Survey;
use crate::object::tenure::Tenure;
use crate::provider::SseMode;
use crate::types::ClaimId;
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
    let decision = policy::decide(config, &SseMode::None, options.sse.as_ref(), Purpose::Write)?;
    check_options(&options)?;
    let reader = Bucket::open(config, None)?;
    open::within(&reader, absent(&reader, &config.name)).await?;
    let mode = decision.policy.mode.clone();
    let (bucket, omitted) = open::policed(config, decision.policy, ambient).await?;
    let notices = decision.notices.into_iter().chain(omitted).collect();
    let fencing = exclusive::choose(&bucket, config.fencing, ambient).await?;
    let host = Host::this()?;
    let plan = Plan {
        name: &config.name,
        block_bytes: options.block_bytes,
        mode,
        fencing,
        host: &host,
        engine_within: ENGINE_WITHIN,
    };
    let summary = plan.carry_out(&bucket, ambient).await?;
    Ok(Summary { notices, ..summary })
}

fn check_options(options: &CreateOptions) -> Result<()> {
    let bytes = options.block_bytes;
    if !(BLOCK_BYTES_MIN..=BLOCK_BYTES_MAX).contains(&bytes) {
        return Err(Error::new(Kind::Usage, format!("a block cannot have {bytes} bytes"))
            .hint("give `--block-size` between 256KiB and 64MiB"));
    }
    Ok(())
}

/// A volume to be made in a bucket.
struct Plan<'a> {
    name: &'a str,
    block_bytes: u32,
    mode: SseMode,
    fencing: FencingMode,
    host: &'a Host,
    engine_within: Duration,
}

impl Plan<'_> {
    async fn carry_out(&self, bucket: &Bucket, ambient: &Ambient) -> Result<Summary> {
        let header = self.header(ambient)?;
        absent(bucket, self.name).await?;
        no_remains(bucket, self.name, &header).await?;
        let claim = open::claim_for_tool(bucket, &header, self.host, ambient).await?;
        let made = match claim.id {
            Some(id) => self.found(bucket, &header, (&claim, id), ambient).await,
            None => {
                let made = self.fill(bucket, &header, None, ambient).await;
                let made = match made {
                    Ok(state) => header::create(bucket, &header).await.map(|()| state),
                    Err(error) => Err(error),
                };
                session::give_back(bucket, &claim).await;
                made
            }
        };
        made.map(|state| open::summary(&header, &state, None, false))
    }

    /// Makes the volume where the store replaces what exists. A header that was sent may arrive at
    /// any time and replace another one: so after a failure to send it the claim stays open, and
    /// tells the next creator that this place is not free.
    async fn found(
        &self,
        bucket: &Bucket,
        header: &Header,
        (claim, id): (&Claim, ClaimId),
        ambient: &Ambient,
    ) -> Result<State> {
        // Another creator may have finished before this session was claimed.
        let survey = match absent(bucket, self.name).await {
            Ok(()) => Survey::of_founder(bucket, header.id, id).await,
            Err(error) => Err(error),
        };
        let survey = match survey {
            Ok(survey) => survey,
            Err(error) => {
                session::give_back(bucket, claim).await;
                return Err(error);
            }
        };
        let made = match survey.begin(ambient.now()).await {
            Ok(tenure) => {
                let tenure = Arc::new(tenure);
                let state = self.fill(bucket, header, Some(tenure.clone()), ambient).await;
                state.map(|state| (tenure, state))
            }
            Err(error) => Err(error),
        };
        let (tenure, state) = match made {
            Ok(made) => made,
            Err(error) => {
                session::abandon(bucket, claim, ambient).await;
                return Err(error);
            }
        };
        header::create(bucket, header).await?;
        tenure.confirm().await?;
        session::close(bucket, claim, ambient).await?;
        Ok(state)
    }

    fn header(&self, ambient: &Ambient) -> Result<Header> {
        let mut id = [0; 16];
        ambient.fill(&mut id)?;
        Ok(Header {
            format: FORMAT,
            id: VolumeId(id),
            block_bytes: self.block_bytes,
            fencing: self.fencing,
            name_key: NameKey::generate(ambient)?,
            created: ambient.now().seconds,
        })
    }

    /// Makes everything but the header.
    async fn fill(
        &self,
        bucket: &Bucket,
        header: &Header,
        tenure: Option<Arc<Tenure>>,
        ambient: &Ambient,
    ) -> Result<State> {
        // Another creator may have finished before this session began.
        absent(bucket, self.name).await?;
        remove_leftovers(bucket).await?;
        self.make_metadata(bucket, tenure.clone(), ambient).await?;
        let state = State::first(header.id, self.mode.clone(), ambient);
        state::create(bucket, tenure.as_deref(), &state).await?;
        Ok(state)
    }

    async fn make_metadata(
        &self,
        bucket: &Bucket,
        tenure: Option<Arc<Tenure>>,
        ambient: &Ambient,
    ) -> Result<()> {
        let (within, options) = (self.engine_within, SlateOptions::default());
        let engine = match tenure {
            Some(tenure) => SlateEngine::open_owned(tenure, options, within).await?,
            None => SlateEngine::open(bucket.clone(), options, within).await?,
        };
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
async fn no_remains(bucket: &Bucket, volume: &str, header: &Header) -> Result<()> {
    let block = bucket.list(name::BLOCKS_PREFIX).try_next().await?.map(|block| block.name);
    let remains = match block {
        Some(block) => Some(block),
        None => session::remains(bucket, header).await?,
    };
    let Some(object) = remains else { return Ok(()) };
    let message = format!("remains of another volume are where `{volume}` would be");
    Err(Error::new(Kind::Exists, message)
        .with("object", object)
        .hint("choose another prefix; or, if nobody needs them, delete all objects below it"))
}

/// Removes what crashed creators left; nobody else works here, since the session is ours.
async fn remove_leftovers(bucket: &Bucket) -> Result<()> {
    let engine = bucket.list(name::ENGINE_PREFIX).map_ok(|object| object.name);
    let mut leftovers: Vec<_> = engine.try_collect().await?;
    let mut states = bucket.list(name::STATE_PREFIX).map_ok(|object| object.name);
    while let Some(state) = states.try_next().await? {
        leftovers.extend(name::state_number(&state).map(|_| state));
    }
    if !leftovers.is_empty() {
        tracing::info!(objects = leftovers.len(), "removing what an interrupted create left");
    }
    bucket.delete(&leftovers).await
}

#[cfg(all(test, feature = "testing"))]
#[path = "create_tests.rs"]
mod tests;
