//! What comes before the first epoch: who the volume is, what it demands, whether the store can do
//! it, whose it is, and its metadata. In that order, so that whatever cannot work ends the mount
//! with one sentence before anything was changed. Knows no epoch.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::OpenOptions;
use super::Summary;
use super::header;
use super::header::FencingMode;
use super::header::Header;
use super::host::Host;
use super::policy;
use super::record;
use super::session;
use super::state;
use super::state::Purpose;
use super::state::State;
use super::term;
use super::term::Claim;
use super::term::Claimant;
use super::term::Judgement;
use super::term::Newest;
use crate::ambient::Ambient;
use crate::config::VolumeConfig;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::meta::kv::Engine;
use crate::meta::kv::SlateEngine;
use crate::meta::kv::SlateOptions;
use crate::meta::kv::SlateReader;
use crate::object::Bucket;
use crate::object::Policy;
use crate::object::tenure::Tenure;
use crate::provider::SseMode;
use crate::telemetry;

/// The first answers of the store must be here by then: a wrong endpoint ends a mount soon.
const IDENTITY_WITHIN: Duration = Duration::from_millis(4_500);

/// The metadata must be open by then: the log of a crashed session is replayed first.
const ENGINE_WITHIN: Duration = Duration::from_secs(60);

/// What a mount costs more where each create is read back; said at every start.
const READS_BACK: &str = "the store replaces what exists, so each commit is read back: \
                          one LIST more per fsync";

/// A volume, ready for its first epoch.
pub(super) struct Prepared {
    /// The bucket, held to the volume's policy; of a read-only mount it cannot write.
    pub(super) bucket: Bucket,
    /// The header.
    pub(super) header: Header,
    /// The session; `None` for a read-only mount.
    pub(super) claim: Option<Claim>,
    /// The session that has begun, where the store cannot refuse a second writer.
    pub(super) tenure: Option<Arc<Tenure>>,
    /// The metadata.
    pub(super) engine: Arc<dyn Engine>,
    /// What the user should know, in sentences.
    pub(super) notices: Vec<String>,
    /// Whether the session before was closed.
    pub(super) previous_was_clean: bool,
}

/// Reads header, state and the newest term; writes nothing.
pub async fn inspect(config: &VolumeConfig) -> Result<Summary> {
    let (header, state) = read_identity(config).await?;
    let bucket = reading(config, &state.sse)?;
    let host = Host::this()?;
    let newest = within(&bucket, session::newest(&bucket, header.fencing, &host)).await?;
    let held = matches!(newest.judge(&host), Judgement::Held(_));
    let holder = match newest {
        Newest::None | Newest::Closed(None) => None,
        Newest::Closed(Some(term)) | Newest::Open(term) => Some(term.holder()),
        Newest::Unreadable(error) => Some(error.to_string()),
    };
    Ok(summary(&header, &state, holder, held))
}

/// Records another encryption mode, which every mount from now on asks for.
/// [`Kind::Busy`]: somebody holds the volume.
pub async fn set_sse(config: &VolumeConfig, mode: SseMode) -> Result<()> {
    let ambient = Ambient::system();
    let Some((bucket, header, state)) = changing(config, &mode, None, &ambient).await? else {
        return Ok(());
    };
    let claim = claim_for_tool(&bucket, &header, &Host::this()?, &ambient).await?;
    let tenure = session::begin(&bucket, &claim, &ambient).await?;
    let recorded = record_mode(&bucket, tenure.as_deref(), (&config.name, &state), mode, &ambient);
    let recorded = recorded.await;
    session::abandon(&bucket, &claim, &ambient).await;
    recorded.map(|_| ())
}

/// The same, by the process that holds the volume and writes by `own`, which is held to the mode
/// from then on.
pub(super) async fn set_own_sse(
    config: &VolumeConfig,
    mode: SseMode,
    (own, tenure): (&Bucket, Option<&Tenure>),
    ambient: &Ambient,
) -> Result<()> {
    let held = own.policy().map(|policy| policy.mode);
    let changing = changing(config, &mode, held.as_ref(), ambient).await?;
    let Some((bucket, _, state)) = changing else { return Ok(()) };
    // Whatever could fail comes before the record.
    let next = own.successor(config, &bucket)?;
    if state.sse != mode {
        record_mode(&bucket, tenure, (&config.name, &state), mode, ambient).await?;
    }
    own.follow(next);
    Ok(())
}

/// What a change to `mode` starts from; `None`: it is the mode already, also of who holds the
/// volume and writes as `held`. A record whose answer was lost may be there without its change.
async fn changing(
    config: &VolumeConfig,
    mode: &SseMode,
    held: Option<&SseMode>,
    ambient: &Ambient,
) -> Result<Option<(Bucket, Header, State)>> {
    let (header, state) = read_identity(config).await?;
    header.check_fencing(config.fencing)?;
    state.check_features(&config.name, Purpose::Write)?;
    if state.sse == *mode && held.is_none_or(|held| held == mode) {
        return Ok(None);
    }
    config.check_mode(mode)?;
    policy::check_change(&config.name, &state.sse, mode)?;
    // A key under another path must be the same key: then it opens what is there.
    let reader = reading(config, mode)?;
    within(&reader, header::read(&reader)).await?;
    let policy = Policy { mode: mode.clone(), verify: config.verify(mode) };
    let (bucket, _) = policed(config, policy, ambient).await?;
    Ok(Some((bucket, header, state)))
}

/// Who the volume is. [`Kind::NotFound`]: there is no volume of that name; what the store refuses
/// comes back within five seconds. Features are not judged.
pub(super) async fn read_identity(config: &VolumeConfig) -> Result<(Header, State)> {
    let (header, state) = read_remains(config).await?;
    let state = state.ok_or_else(|| {
        let message = format!("volume `{}` has a header and no state", config.name);
        Error::new(Kind::Corrupt, message).hint(format!(
            "if its deletion was interrupted, run `cairnfs volume delete {}` again",
            config.name
        ))
    })?;
    Ok((header, state))
}

/// As [`read_identity`], of a volume that may be half deleted.
pub(super) async fn read_remains(config: &VolumeConfig) -> Result<(Header, Option<State>)> {
    let bucket = Bucket::open(config, None)?;
    let reading = within(&bucket, async {
        let Some(header) = header::read(&bucket).await? else { return Ok(None) };
        let state = state::latest(&bucket, &header).await?;
        Ok(Some((header, state)))
    });
    reading.await?.ok_or_else(|| {
        let name = &config.name;
        Error::new(Kind::NotFound, format!("volume `{name}` does not exist"))
            .hint(format!("create it: `cairnfs volume create {name}`"))
    })
}

/// Makes a volume ready for a mount. [`Kind::Busy`]: another session holds it; [`Kind::Policy`]:
/// its encryption cannot be had; [`Kind::Fenced`]: another session took it at the same time.
pub(super) async fn prepare(
    config: &VolumeConfig,
    options: &OpenOptions,
    ambient: &Ambient,
    host: &Host,
) -> Result<Prepared> {
    let (header, state) = read_identity(&with_key(config, options.sse.as_ref())).await?;
    let purpose = if options.read_only { Purpose::Read } else { Purpose::Write };
    state.check_features(&config.name, purpose)?;
    let any = options.any_sse && state.sse != SseMode::None;
    let asked = if any { Some(&state.sse) } else { options.sse.as_ref() };
    let decision = policy::decide(config, &state.sse, asked, purpose)?;
    if let Some(mode) = &decision.raise {
        policy::check_change(&config.name, &state.sse, mode)?;
    }
    let mut notices = decision.notices;
    if options.read_only {
        let bucket = reading(config, &state.sse)?;
        let engine = Arc::new(match header.fencing {
            FencingMode::ConditionalCreate => SlateReader::open(bucket.clone()).await?,
            FencingMode::ReadBack => SlateReader::open_following(bucket.clone(), header.id).await?,
        });
        let (claim, tenure, previous_was_clean) = (None, None, true);
        return Ok(Prepared { bucket, header, claim, tenure, engine, notices, previous_was_clean });
    }
    header.check_fencing(config.fencing)?;
    let (bucket, omitted) = policed(config, decision.policy, ambient).await?;
    notices.extend(omitted);
    let claimant = Claimant {
        volume: header.id,
        host,
        mountpoint: &options.mountpoint,
        takeover: options.takeover,
    };
    if header.fencing == FencingMode::ReadBack {
        notices.push(READS_BACK.to_owned());
    }
    let claim = session::claim(&bucket, header.fencing, &claimant, ambient).await?;
    let previous_was_clean = claim.previous_was_clean;
    let taking = Taking { config, bucket: &bucket, header: &header, claim: &claim };
    let tenure = taking.begin(&state, ambient).await?;
    let seen = (state, decision.raise);
    match taking.take(seen, tenure.clone(), options.memory_bytes, ambient).await {
        Ok(engine) => {
            let claim = Some(claim);
            Ok(Prepared { bucket, header, claim, tenure, engine, notices, previous_was_clean })
        }
        Err(error) => {
            session::abandon(&bucket, &claim, ambient).await;
            Err(error)
        }
    }
}

/// A bucket that is held to `policy`, after the store was seen to meet it; and what to tell the
/// user when it is met without asking.
pub(super) async fn policed(
    config: &VolumeConfig,
    policy: Policy,
    ambient: &Ambient,
) -> Result<(Bucket, Option<String>)> {
    let bucket = Bucket::open(config, Some(policy.clone()))?;
    let token = record::token(ambient)?;
    match bucket.probe(&token).await {
        Ok(report) => {
            tracing::debug!(?report, "the store was probed");
            Ok((bucket, None))
        }
        Err(error)
            if error.kind() == Kind::Policy
                && config.provider.omit_on_refusal
                && policy.mode == SseMode::Aes256 =>
        {
            tracing::warn!(%error, "the store encrypts anyway; the header is not sent");
            let bucket = Bucket::open_without_header(config, policy)?;
            bucket.probe(&token).await?;
            let omitted = policy::omitted(config);
            telemetry::posture(format_args!("volume `{}`: {omitted}", config.name));
            Ok((bucket, Some(omitted)))
        }
        Err(error) => Err(error),
    }
}

/// Takes a session for a tool that mounts nothing.
pub(super) async fn claim_for_tool(
    bucket: &Bucket,
    header: &Header,
    host: &Host,
    ambient: &Ambient,
) -> Result<Claim> {
    let (volume, mountpoint) = (header.id, Path::new(""));
    let claimant = Claimant { volume, host, mountpoint, takeover: false };
    session::claim(bucket, header.fencing, &claimant, ambient).await
}

/// What header and state tell.
pub(super) fn summary(
    header: &Header,
    state: &State,
    holder: Option<String>,
    held: bool,
) -> Summary {
    Summary {
        id: header.id,
        format: header.format,
        block_bytes: header.block_bytes,
        sse: state.sse.clone(),
        fencing: header.fencing.name().to_owned(),
        holder,
        held,
        notices: Vec::new(),
    }
}

/// Runs the first requests to a store, which may not exist at all.
pub(super) async fn within<T>(
    bucket: &Bucket,
    requests: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::time::timeout(IDENTITY_WITHIN, requests).await.unwrap_or_else(|_| {
        let seconds = IDENTITY_WITHIN.as_secs();
        let message = format!("the store did not answer within {seconds} seconds");
        let error = Error::new(Kind::Unavailable, message).hint("check the network and `endpoint`");
        Err(match bucket.state().last_error {
            Some(last) => error.with("its last error:", last),
            None => error,
        })
    })
}

/// The config with the customer's key that this mount names, without which nothing can be read.
fn with_key(config: &VolumeConfig, asked: Option<&SseMode>) -> VolumeConfig {
    match asked {
        Some(key @ SseMode::CustomerKeyFile(_)) => {
            VolumeConfig { sse: Some(key.clone()), ..config.clone() }
        }
        _ => config.clone(),
    }
}

/// A bucket that cannot write.
fn reading(config: &VolumeConfig, mode: &SseMode) -> Result<Bucket> {
    // Objects under a customer's key cannot be read without it, whether the config names it or not.
    let config = VolumeConfig { sse: Some(mode.clone()), ..config.clone() };
    Bucket::open(&config, None)
}

async fn record_mode(
    bucket: &Bucket,
    tenure: Option<&Tenure>,
    (name, state): (&str, &State),
    mode: SseMode,
    ambient: &Ambient,
) -> Result<State> {
    let next = State { sse: mode, ..state.next(ambient) };
    let (before, after) = (&state.sse, &next.sse);
    match state::create(bucket, tenure, &next).await {
        Ok(()) => telemetry::posture(format_args!(
            "volume `{name}` asks for `{after}` now, no more `{before}`"
        )),
        Err(error) if error.kind() == Kind::Conflict => return Err(error),
        Err(error) => {
            // The store may have taken it all the same.
            telemetry::posture(format_args!(
                "volume `{name}` may ask for `{after}` now, no more `{before}`: {error}"
            ));
            let unsure =
                format!("volume `{name}` may ask for `{after}` now, or still for `{before}`");
            return Err(error.while_doing(unsure));
        }
    }
    Ok(next)
}

/// A session that was claimed, on its way to the metadata.
struct Taking<'a> {
    config: &'a VolumeConfig,
    bucket: &'a Bucket,
    header: &'a Header,
    claim: &'a Claim,
}

impl Taking<'_> {
    /// What was decided rests on the state; from now on only this session changes it.
    async fn begin(&self, seen: &State, ambient: &Ambient) -> Result<Option<Arc<Tenure>>> {
        let unchanged = match state::latest(self.bucket, self.header).await {
            Ok(latest) if latest.as_ref() == Some(seen) => Ok(()),
            Ok(_) => {
                let message = format!("volume `{}` was changed meanwhile", self.config.name);
                Err(Error::new(Kind::Conflict, message).hint("try again"))
            }
            Err(error) => Err(error),
        };
        if let Err(error) = unchanged {
            session::give_back(self.bucket, self.claim).await;
            return Err(error);
        }
        session::begin(self.bucket, self.claim, ambient).await
    }

    async fn take(
        &self,
        (seen, raise): (State, Option<SseMode>),
        tenure: Option<Arc<Tenure>>,
        memory_bytes: u64,
        ambient: &Ambient,
    ) -> Result<Arc<dyn Engine>> {
        if let Some(mode) = raise {
            let state = (self.config.name.as_str(), &seen);
            record_mode(self.bucket, tenure.as_deref(), state, mode, ambient).await?;
        }
        let owned = tenure.is_some();
        let engine = self.open_engine(tenure, engine_options(memory_bytes)).await?;
        // A claim that came after ours would find its engine fenced by an older session.
        if !owned && term::is_superseded(self.bucket, self.claim.session).await? {
            engine.close(ENGINE_WITHIN).await?;
            return Err(taken());
        }
        Ok(Arc::new(engine))
    }

    async fn open_engine(
        &self,
        tenure: Option<Arc<Tenure>>,
        options: SlateOptions,
    ) -> Result<SlateEngine> {
        let opened = match tenure {
            None => SlateEngine::open(self.bucket.clone(), options, ENGINE_WITHIN).await,
            Some(tenure) => SlateEngine::open_owned(tenure, options, ENGINE_WITHIN).await,
        };
        match opened {
            Err(error) if error.kind() == Kind::Fenced => Err(taken()),
            opened => opened,
        }
    }
}

fn taken() -> Error {
    Error::new(Kind::Fenced, "another session took the volume at the same time")
        .hint("see `cairnfs volume show` for who has it now")
}

/// What of a mount's memory the metadata engine gets: an eighth, within bounds.
fn engine_options(memory_bytes: u64) -> SlateOptions {
    let memtable = (memory_bytes / 64).clamp(4 << 20, 16 << 20);
    SlateOptions {
        cache_bytes: (memory_bytes / 16).clamp(8 << 20, 256 << 20),
        memtable_bytes: usize::try_from(memtable).unwrap_or(usize::MAX),
    }
}

#[cfg(all(test, feature = "testing"))]
#[path = "open_tests.rs"]
mod tests;
