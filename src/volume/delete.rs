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
use crate::object::Told;
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
    /// Unfinished uploads below the prefix, which are not the volume's and stay, [`NAMES_MAX`] at
    /// most; or why they are not told.
    pub uploads: Option<Told<Vec<String>>>,
    /// How many of them there are, as far as they were told.
    pub uploads_found: u64,
    /// Objects among the volume's that stay for their names' sake, [`NAMES_MAX`] at most.
    pub strange: Vec<String>,
    /// How many of them there are.
    pub strange_found: u64,
}

/// Names of each kind that a [`Deleted`] has.
pub const NAMES_MAX: usize = 100;

impl Deleted {
    /// Notes an object that stays.
    pub(super) fn leave(&mut self, name: String) {
        self.strange_found += 1;
        if self.strange.len() < NAMES_MAX {
            self.strange.push(name);
        }
    }
}

/// Deletes every object of the volume with all its versions, and looks that none is left.
/// [`Kind::Busy`]: somebody has it mounted; [`Kind::Denied`]: old versions may be there that the
/// keys may not see, and nothing was deleted.
pub async fn delete(config: &VolumeConfig) -> Result<Deleted> {
    let ambient = Ambient::system();
    let (header, state) = open::read_remains(config).await?;
    let inspector = Inspector::open(config)?;
    let versions = versions(config, inspector.as_ref()).await?;
    if let Some(state) = &state {
        state.check_features(&config.name, Purpose::Delete)?;
    }
    let bucket = writing(config, state.as_ref(), &ambient).await?;
    let mut deleted = remove(&bucket, &header, state, versions, &ambient).await?;
    if let Some(inspector) = inspector {
        deleted.uploads = Some(Told::of(uploads(&inspector, &mut deleted.uploads_found).await));
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

/// Whether the store tells versions. Who deletes without seeing them leaves all their bytes behind,
/// and nobody could go on afterwards: the header is gone then.
async fn versions(config: &VolumeConfig, inspector: Option<&Inspector>) -> Result<Told<()>> {
    let versions = Bucket::open(config, None)?.tells_versions().await?;
    let Told::Denied(why) = &versions else { return Ok(versions) };
    match inspector {
        Some(inspector) if inspector.versioning().await == Told::Yes("off".to_owned()) => {
            Ok(Told::No("its keys may not list them; the bucket's versioning is off".to_owned()))
        }
        Some(_) => Err(blind(why).hint(format!(
            "permit `s3:ListBucketVersions` (`cairnfs iam {}` prints all it takes), or, where the \
             bucket keeps no versions, `s3:GetBucketVersioning`; nothing was deleted",
            config.name
        ))),
        None => {
            Err(blind(why).hint("permit the keys to list versions of objects; nothing was deleted"))
        }
    }
}

fn blind(why: &str) -> Error {
    let message =
        "its keys may not list versions, so that old ones would stay with all their bytes";
    Error::new(Kind::Denied, format!("{message}: {why}"))
}

/// The names of unfinished uploads; `found` counts them all.
async fn uploads(inspector: &Inspector, found: &mut u64) -> Result<Vec<String>> {
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = inspector.uploads(after.as_ref()).await?;
        *found += page.len() as u64;
        let room = NAMES_MAX.saturating_sub(names.len());
        names.extend(page.into_iter().take(room).map(|upload| upload.name));
        if next.is_none() {
            return Ok(names);
        }
        after = next;
    }
}

async fn remove(
    bucket: &Bucket,
    header: &Header,
    state: Option<State>,
    versions: Told<()>,
    ambient: &Ambient,
) -> Result<Deleted> {
    let claim = open::claim_for_tool(bucket, header, &Host::this()?, ambient).await?;
    let tenure = session::begin(bucket, &claim, ambient).await?;
    let eraser = Eraser::new(bucket, versions);
    let removed = remove_claimed(eraser, bucket, header, state, (&claim, tenure), ambient).await;
    if removed.is_err() {
        session::abandon(bucket, &claim, ambient).await;
    }
    removed
}

async fn remove_claimed(
    mut eraser: Eraser<'_>,
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
