//! Sessions, whichever way a second writer is kept out: where the store refuses what exists, a
//! session is a term (`term`); where it replaces it, a claim that begins (`object::tenure`). Who
//! holds a volume is judged from the same record in both.

use std::sync::Arc;
use std::time::Duration;

use super::header::FencingMode;
use super::header::Header;
use super::host::Host;
use super::record;
use super::term;
use super::term::Claim;
use super::term::Claimant;
use super::term::Judgement;
use super::term::Newest;
use super::term::Term;
use crate::ambient::Ambient;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::object::Bucket;
use crate::object::name;
use crate::object::name::ClaimRecord;
use crate::object::tenure;
use crate::object::tenure::Claims;
use crate::object::tenure::Survey;
use crate::object::tenure::Tenure;
use crate::types::ClaimId;

/// Others may claim at the same time, so often at most.
const CLAIMS_MAX: usize = 16;

/// Two who gave way to each other come back after different times, shorter than this.
const JITTER_MILLIS: u64 = 500;

/// After a failure nobody waits longer than this for the store.
const GIVE_BACK_WITHIN: Duration = Duration::from_secs(3);

/// Who has the volume, or had it last, as far as the records tell.
pub(super) async fn newest(bucket: &Bucket, mode: FencingMode, host: &Host) -> Result<Newest> {
    match mode {
        FencingMode::ConditionalCreate => term::newest(bucket, &term::list(bucket).await?).await,
        FencingMode::ReadBack => newest_claim(bucket, &Claims::list(bucket).await?, host).await,
    }
}

/// Takes the next session. [`Kind::Busy`]: another session holds the volume.
pub(super) async fn claim(
    bucket: &Bucket,
    mode: FencingMode,
    claimant: &Claimant<'_>,
    ambient: &Ambient,
) -> Result<Claim> {
    match mode {
        FencingMode::ConditionalCreate => term::claim(bucket, claimant, ambient).await,
        FencingMode::ReadBack => claim_and_look(bucket, claimant, ambient).await,
    }
}

/// Begins a claim over what is there, where sessions begin. An error before the start was sent
/// gives the claim back; after it the claim is ended, since it can never be given back.
pub(super) async fn begin(
    bucket: &Bucket,
    claim: &Claim,
    ambient: &Ambient,
) -> Result<Option<Arc<Tenure>>> {
    let Some(id) = claim.id else { return Ok(None) };
    let survey = match Survey::of_successor(bucket, claim.volume, id).await {
        Ok(survey) => survey,
        Err(error) => {
            give_back(bucket, claim).await;
            return Err(error);
        }
    };
    match survey.begin(ambient.now()).await {
        Ok(tenure) => Ok(Some(Arc::new(tenure))),
        Err(error) => {
            abandon(bucket, claim, ambient).await;
            Err(error)
        }
    }
}

/// Records that a session ended cleanly: everything it acknowledged is durable.
pub(super) async fn close(bucket: &Bucket, claim: &Claim, ambient: &Ambient) -> Result<()> {
    match claim.id {
        None => term::close(bucket, claim, ambient).await,
        Some(id) => {
            let name = name::claim(id, ClaimRecord::Closed);
            bucket.put(&name, term::closed_record(claim, ambient)?).await.map(|_| ())
        }
    }
}

/// Gives back a session that has not begun and stored nothing.
pub(super) async fn give_back(bucket: &Bucket, claim: &Claim) {
    let Some(id) = claim.id else { return term::give_back(bucket, claim).await };
    if tokio::time::timeout(GIVE_BACK_WITHIN, tenure::withdraw(bucket, id)).await.is_err() {
        tracing::warn!("the claim stays open: the store does not answer");
    }
}

/// Ends a session that failed. If it had begun its record has to stay, and says that it ended.
pub(super) async fn abandon(bucket: &Bucket, claim: &Claim, ambient: &Ambient) {
    if claim.id.is_none() {
        return term::give_back(bucket, claim).await;
    }
    match tokio::time::timeout(GIVE_BACK_WITHIN, close(bucket, claim, ambient)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the claim stays open"),
        Err(_) => tracing::warn!("the claim stays open: the store does not answer"),
    }
}

/// The names of a session's own records.
pub(super) fn own_records(claim: &Claim) -> Vec<String> {
    match claim.id {
        None => vec![name::term(claim.session)],
        Some(id) => ClaimRecord::ALL.map(|record| name::claim(id, record)).to_vec(),
    }
}

/// A record of a mount that had the place where `header` is to be; or of a creation that was cut
/// short there, where its header could still arrive.
pub(super) async fn remains(bucket: &Bucket, header: &Header) -> Result<Option<String>> {
    let claims = Claims::list(bucket).await?;
    let terms = term::list(bucket).await?;
    match header.fencing {
        FencingMode::ConditionalCreate if claims.is_empty() => term::used(bucket, &terms).await,
        FencingMode::ReadBack if terms.is_empty() => used(bucket, &claims).await,
        FencingMode::ConditionalCreate | FencingMode::ReadBack => {
            Ok(Some(name::TERMS_PREFIX.to_owned()))
        }
    }
}

async fn used(bucket: &Bucket, claims: &Claims) -> Result<Option<String>> {
    for claim in claims.all() {
        let name = name::claim(claim, ClaimRecord::Opened);
        let cut_short = claims.has(claim, ClaimRecord::Started);
        if cut_short && !claims.has(claim, ClaimRecord::Closed) {
            return Ok(Some(name));
        }
        match read(bucket, claim).await {
            Ok(term) if !term.mountpoint.is_empty() => return Ok(Some(name)),
            Ok(_) => {}
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

async fn claim_and_look(
    bucket: &Bucket,
    claimant: &Claimant<'_>,
    ambient: &Ambient,
) -> Result<Claim> {
    for _ in 0..CLAIMS_MAX {
        let claims = Claims::list(bucket).await?;
        let newest = match newest_claim(bucket, &claims, claimant.host).await {
            Err(error) if error.kind() == Kind::NotFound => continue,
            newest => newest?,
        };
        term::admit(&newest, claimant)?;
        let session = term::usable(claims.next_session())?;
        let id = ClaimId { session, nonce: random(ambient)? };
        let nonce = format!("{:016x}", id.nonce);
        let term = record::encode(&Term::of(claimant, session, nonce, ambient))?;
        if tenure::raise(bucket, id, term).await? {
            let previous_was_clean = matches!(newest, Newest::None | Newest::Closed(_));
            let (volume, id) = (claimant.volume, Some(id));
            return Ok(Claim { volume, session, previous_was_clean, id });
        }
        let wait = random(ambient)? % JITTER_MILLIS;
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
    Err(Error::new(Kind::Busy, "others claim the volume at the same time").hint("try again"))
}

/// Of all claims that may still write, one that holds the volume; else the last.
/// [`Kind::NotFound`]: one was deleted meanwhile.
async fn newest_claim(bucket: &Bucket, claims: &Claims, host: &Host) -> Result<Newest> {
    let mut last = Newest::None;
    for claim in claims.standing() {
        let closed = claims.has(claim, ClaimRecord::Closed);
        last = match read(bucket, claim).await {
            Ok(term) if closed => Newest::Closed(Some(term)),
            Ok(term) => Newest::Open(term),
            Err(error) if closed && matches!(error.kind(), Kind::NotFound | Kind::Corrupt) => {
                Newest::Closed(None)
            }
            Err(error) if error.kind() == Kind::Corrupt => Newest::Unreadable(error),
            Err(error) => return Err(error),
        };
        if matches!(last.judge(host), Judgement::Held(_)) {
            break;
        }
    }
    Ok(last)
}

/// Reads who made a claim.
async fn read(bucket: &Bucket, claim: ClaimId) -> Result<Term> {
    let name = name::claim(claim, ClaimRecord::Opened);
    let got = bucket.get(&name, None, None).await?;
    let term: Term = record::decode(&name, &got.map(|got| got.body).unwrap_or_default())?;
    let own = term.session == claim.session && term.claim == format!("{:016x}", claim.nonce);
    if own { Ok(term) } else { Err(record::damaged::<Term>(&name)) }
}

fn random(ambient: &Ambient) -> Result<u64> {
    let mut bytes = [0; 8];
    ambient.fill(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}

#[cfg(all(test, feature = "testing"))]
#[path = "session_tests.rs"]
mod tests;
