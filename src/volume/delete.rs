//! How a volume ends: its state says so first, so that a half-deleted volume does not mount; its
//! header goes last, so that an interrupted deletion can be run again. Only objects under the
//! volume's own names are deleted.

use futures::TryStreamExt;

use super::header;
use super::header::Header;
use super::host::Host;
use super::open;
use super::state;
use super::state::DELETING;
use super::state::Purpose;
use super::state::State;
use super::term;
use super::term::Claim;
use crate::ambient::Ambient;
use crate::config::VolumeConfig;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::object::Bucket;
use crate::object::ObjectMeta;
use crate::object::Policy;
use crate::object::name;
use crate::provider::SseMode;

/// Names that are deleted together, so that a volume of any size is deleted in little memory.
const NAMES_AT_ONCE: usize = 1_000;

/// Deletes every object of the volume; returns how many.
/// [`Kind::Busy`]: somebody has it mounted.
pub async fn delete(config: &VolumeConfig) -> Result<u64> {
    let ambient = Ambient::system();
    let (header, state) = open::read_remains(config).await?;
    if let Some(state) = &state {
        state.check_features(&config.name, Purpose::Delete)?;
    }
    let recorded = state.as_ref().map(|state| state.sse.clone());
    let mode = recorded.or(config.sse.clone()).unwrap_or(SseMode::None);
    let policy = Policy { mode, verify: config.verify() };
    let (bucket, _) = open::policed(config, policy, &ambient).await?;
    remove(&bucket, &header, state, &Host::this()?, &ambient).await
}

async fn remove(
    bucket: &Bucket,
    header: &Header,
    state: Option<State>,
    host: &Host,
    ambient: &Ambient,
) -> Result<u64> {
    let claim = open::claim_for_tool(bucket, header, host, ambient).await?;
    let removed = remove_claimed(bucket, header, state, &claim, ambient).await;
    // Our own term kept others out until the end.
    term::give_back(bucket, &claim).await;
    removed
}

async fn remove_claimed(
    bucket: &Bucket,
    header: &Header,
    state: Option<State>,
    claim: &Claim,
    ambient: &Ambient,
) -> Result<u64> {
    if header::read(bucket).await?.is_none_or(|there| there.id != header.id) {
        return Err(Error::new(Kind::NotFound, "somebody else deleted the volume meanwhile"));
    }
    if let Some(state) = state.filter(|state| !state.features.incompat.contains(DELETING)) {
        let mut next = state.next(ambient);
        next.features.incompat.insert(DELETING.to_owned());
        state::create(bucket, &next).await?;
        tracing::warn!(volume = %header.id, "the volume is being deleted");
    }
    let own = name::term(claim.session);
    let block = |object: &ObjectMeta| name::parse_block(&object.name).is_ok();
    let term = |object: &ObjectMeta| name::parse_term(&object.name).is_some();
    let state = |object: &ObjectMeta| name::parse_state(&object.name).is_some();
    let mut deleted = remove_all(bucket, name::BLOCKS_PREFIX, block).await?;
    deleted += remove_all(bucket, name::ENGINE_PREFIX, |_| true).await?;
    deleted += remove_all(bucket, name::PROBE_PREFIX, |_| true).await?;
    let others = |object: &ObjectMeta| object.name != own && term(object);
    deleted += remove_all(bucket, name::TERMS_PREFIX, others).await?;
    deleted += remove_all(bucket, name::STATE_PREFIX, state).await?;
    bucket.delete(&[name::HEADER.to_owned()]).await?;
    Ok(deleted + 1)
}

async fn remove_all(
    bucket: &Bucket,
    prefix: &str,
    ours: impl Fn(&ObjectMeta) -> bool,
) -> Result<u64> {
    let (mut objects, mut names) = (bucket.list(prefix), Vec::new());
    let mut deleted = 0;
    while let Some(object) = objects.try_next().await? {
        if !ours(&object) {
            tracing::debug!(object = object.name, "left alone");
            continue;
        }
        names.push(object.name);
        if names.len() == NAMES_AT_ONCE {
            bucket.delete(&std::mem::take(&mut names)).await?;
            deleted += NAMES_AT_ONCE as u64;
        }
    }
    bucket.delete(&names).await?;
    Ok(deleted + names.len() as u64)
}
