//! How a volume ends: its state says so first, so that a half-deleted volume does not mount; its
//! header goes last, so that an interrupted deletion can be run again. Only objects under the
//! volume's own names are deleted.

use std::sync::Arc;

use futures::TryStreamExt;

use super::erase::Eraser;
use super::header;
use super::header::Header;
use super::host::Host;
use super::open;
use super::session;
use super::state;
use super::state::DELETING;
use super::state::Purpose;
use super::state::State;
use super::term::Claim;
use crate::ambient::Ambient;
use crate::config::VolumeConfig;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::object::Bucket;
use crate::object::Inspector;
use crate::object::Policy;
use crate::object::name;
use crate::object::tenure::Tenure;
use crate::provider::SseMode;

/// What a deletion did, and what it can say of the place afterwards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Objects deleted.
    pub objects: u64,
    /// Superseded versions and delete markers removed.
    pub versions: u64,
    /// Why nobody can say that no version is left; `None`: none is.
    pub unproven: Option<String>,
    /// Unfinished uploads below the prefix, which are not the volume's and stay.
    pub uploads: Vec<String>,
}

/// Deletes every object of the volume with all its versions, and looks that none is left.
/// [`Kind::Busy`]: somebody has it mounted.
pub async fn delete(config: &VolumeConfig) -> Result<Deleted> {
    let ambient = Ambient::system();
    let (header, state) = open::read_remains(config).await?;
    if let Some(state) = &state {
        state.check_features(&config.name, Purpose::Delete)?;
    }
    let bucket = writing(config, state.as_ref(), &ambient).await?;
    let mut deleted = remove(&bucket, &header, state, &Host::this()?, &ambient).await?;
    if let Some(inspector) = Inspector::open(config)? {
        match inspector.uploads(None).await {
            Ok((uploads, _)) => deleted.uploads = uploads.into_iter().map(|u| u.name).collect(),
            Err(error) => tracing::debug!(%error, "unfinished uploads are not told"),
        }
    }
    Ok(deleted)
}

/// A bucket that is held to what the volume demands. Where a deletion was interrupted after the
/// last state, nobody knows what that was: then as much as the store can do without a key's name.
async fn writing(
    config: &VolumeConfig,
    state: Option<&State>,
    ambient: &Ambient,
) -> Result<Bucket> {
    let held_to = async |mode: SseMode| {
        let policy = Policy { verify: config.verify(&mode), mode };
        open::policed(config, policy, ambient).await.map(|(bucket, _)| bucket)
    };
    match state.map(|state| &state.sse).or(config.sse.as_ref()) {
        Some(mode) => held_to(mode.clone()).await,
        None if config.provider.can_encrypt() => match held_to(SseMode::Aes256).await {
            Err(error) if error.kind() == Kind::Policy => held_to(SseMode::None).await,
            bucket => bucket,
        },
        None => held_to(SseMode::None).await,
    }
}

async fn remove(
    bucket: &Bucket,
    header: &Header,
    state: Option<State>,
    host: &Host,
    ambient: &Ambient,
) -> Result<Deleted> {
    let claim = open::claim_for_tool(bucket, header, host, ambient).await?;
    let tenure = session::begin(bucket, &claim, ambient).await?;
    let removed = remove_claimed(bucket, header, state, (&claim, tenure), ambient).await;
    if removed.is_err() {
        session::abandon(bucket, &claim, ambient).await;
    }
    removed
}

async fn remove_claimed(
    bucket: &Bucket,
    header: &Header,
    state: Option<State>,
    (claim, tenure): (&Claim, Option<Arc<Tenure>>),
    ambient: &Ambient,
) -> Result<Deleted> {
    if header::read(bucket).await?.is_none_or(|there| there.id != header.id) {
        return Err(Error::new(Kind::NotFound, "somebody else deleted the volume meanwhile"));
    }
    if let Some(state) = state.filter(|state| !state.features.incompat.contains(DELETING)) {
        let mut next = state.next(ambient);
        next.features.incompat.insert(DELETING.to_owned());
        state::create(bucket, tenure.as_deref(), &next).await?;
        tracing::warn!(volume = %header.id, "the volume is being deleted");
    }
    let own = session::own_records(claim);
    let mut eraser = Eraser::new(bucket).await?;
    eraser.erase(name::BLOCKS_PREFIX, |name| name::parse_block(name).is_ok()).await?;
    eraser.erase(name::ENGINE_PREFIX, |_| true).await?;
    eraser.erase(name::PROBE_PREFIX, |_| true).await?;
    let is_own = |name: &str| own.iter().any(|own| own == name);
    let is_record =
        |name: &str| name::parse_term(name).is_some() || name::parse_claim(name).is_some();
    let others = |name: &str| is_record(name) && !is_own(name);
    eraser.erase(name::TERMS_PREFIX, others).await?;
    // The state that says that the volume is being deleted goes last of them.
    let states: Vec<_> = bucket.list(name::STATE_PREFIX).try_collect().await?;
    let last = states.iter().filter_map(|state| name::state_number(&state.name)).max();
    let number = name::state_number;
    eraser.erase(name::STATE_PREFIX, |name| number(name).is_some_and(|n| Some(n) < last)).await?;
    eraser.erase(name::STATE_PREFIX, |name| number(name).is_some()).await?;
    eraser.erase(name::HEADER, |name| name == name::HEADER).await?;
    // Our own records kept others out until now.
    eraser.erase(name::TERMS_PREFIX, is_own).await?;
    Ok(eraser.deleted)
}
