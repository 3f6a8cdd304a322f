//! Terms: who has, or had, each session of a volume. A session's number is taken by creating its
//! term exclusively, and a clean stop closes it. Drawn in `docs/format.md`, "Records".
//!
//! A term is judged by equality only; no clock of another machine is consulted. That a judgement
//! is wrong (a machine that was copied with its id) costs the holder its mount, not data: the
//! metadata engine fences.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use serde::Deserialize;
use serde::Serialize;

use super::host;
use super::host::Host;
use super::host::Process;
use super::record;
use super::record::Record;
use crate::ambient::Ambient;
use crate::ambient::Timestamp;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::object::Bucket;
use crate::object::name;
use crate::object::name::TermRecord;
use crate::provider::Day;
use crate::types::ClaimId;
use crate::types::SessionId;
use crate::types::VolumeId;

/// Others may take the number we want, so often at most.
const CLAIMS_MAX: usize = 16;

/// After a failure nobody waits longer than this for the store.
const GIVE_BACK_WITHIN: Duration = Duration::from_secs(3);

/// Who has, or had, a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Term {
    /// The volume's id.
    #[serde(with = "record::text")]
    pub(super) volume: VolumeId,
    /// The session.
    #[serde(with = "record::session")]
    pub(super) session: SessionId,
    /// Random digits: two claims are never the same, whoever makes them.
    pub(super) claim: String,
    /// The machine's name.
    pub(super) host: String,
    /// `/etc/machine-id`.
    pub(super) machine_id: String,
    /// The id of the machine's boot.
    pub(super) boot_id: String,
    /// The namespace that `pid` counts in.
    pub(super) pid_namespace: String,
    /// The process.
    pub(super) pid: u32,
    /// Its start, in clock ticks after the boot.
    pub(super) start_time: u64,
    /// Where it is mounted; empty for a tool that mounts nothing.
    pub(super) mountpoint: String,
    /// Since when, in seconds since 1970.
    pub(super) opened: i64,
}

impl Record for Term {
    const MAGIC: &'static str = "cairnfs.term";
    const VERSION: u64 = 1;
    const WHAT: &'static str = "term";
}

/// That a session ended cleanly.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Closed {
    #[serde(with = "record::text")]
    volume: VolumeId,
    #[serde(with = "record::session")]
    session: SessionId,
    closed: i64,
}

impl Record for Closed {
    const MAGIC: &'static str = "cairnfs.term.closed";
    const VERSION: u64 = 1;
    const WHAT: &'static str = "closed term";
}

impl Term {
    /// The record of a claim that is made now.
    pub(super) fn of(
        claimant: &Claimant<'_>,
        session: SessionId,
        claim: String,
        ambient: &Ambient,
    ) -> Self {
        let host = claimant.host.clone();
        Self {
            volume: claimant.volume,
            session,
            claim,
            host: host.name,
            machine_id: host.machine_id,
            boot_id: host.boot_id,
            pid_namespace: host.pid_namespace,
            pid: host.pid,
            start_time: host.start_time,
            mountpoint: claimant.mountpoint.to_string_lossy().into_owned(),
            opened: ambient.now().seconds,
        }
    }

    /// Who holds the volume, as a sentence.
    pub(super) fn holder(&self) -> String {
        let at = Timestamp { seconds: self.opened, nanoseconds: 0 };
        let (hours, minutes) = (self.opened.div_euclid(3_600), self.opened.div_euclid(60));
        let clock = format!("{:02}:{:02}", hours.rem_euclid(24), minutes.rem_euclid(60));
        let since = format!("since {} {clock} UTC", Day::of(at));
        let Self { host, pid, mountpoint, .. } = self;
        if mountpoint.is_empty() {
            format!("a tool works on it, process {pid} on host `{host}`, {since}")
        } else {
            format!("host `{host}` has it mounted at `{mountpoint}`, process {pid}, {since}")
        }
    }
}

/// Whether a session still has the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It has ended, for this reason.
    Free(&'static str),
    /// As far as can be told it has not.
    Held(String),
}

/// Judges a term, seen from `host`. `process` looks for a process of this boot and namespace.
pub(super) fn judge(
    term: &Term,
    record: TermRecord,
    host: &Host,
    process: impl FnOnce(u32) -> Process,
) -> Judgement {
    if record == TermRecord::Closed {
        return Judgement::Free("it was closed");
    }
    let same_machine = !host.machine_id.is_empty() && term.machine_id == host.machine_id;
    if term.boot_id != host.boot_id {
        return match same_machine {
            true => Judgement::Free("this machine was started again since"),
            false => Judgement::Held(term.holder()),
        };
    }
    let other_machine = !term.machine_id.is_empty() && term.machine_id != host.machine_id;
    if other_machine || term.pid_namespace != host.pid_namespace {
        return Judgement::Held(term.holder());
    }
    match process(term.pid) {
        Process::Gone => Judgement::Free("its process has ended"),
        Process::Running(Some(start)) if start != term.start_time => {
            Judgement::Free("its process has ended, and another has its number")
        }
        Process::Running(_) => Judgement::Held(term.holder()),
    }
}

/// The newest term of a volume.
#[derive(Debug)]
pub(super) enum Newest {
    /// No session ever had it.
    None,
    /// The last one was closed.
    Closed(Option<Term>),
    /// The last one is open.
    Open(Term),
    /// The last one is open, and its record cannot be read.
    Unreadable(Error),
}

impl Newest {
    /// Whether the volume is free for `host`; if not, who holds it.
    pub(super) fn judge(&self, host: &Host) -> Judgement {
        match self {
            Self::None | Self::Closed(_) => Judgement::Free("it was closed"),
            Self::Open(term) => judge(term, TermRecord::Opened, host, host::process),
            Self::Unreadable(error) => {
                Judgement::Held(format!("the record of who holds it cannot be read: {error}"))
            }
        }
    }
}

/// The sessions of which there is a record, and which.
pub(super) type Terms = BTreeMap<SessionId, Vec<TermRecord>>;

/// Lists all terms.
pub(super) async fn list(bucket: &Bucket) -> Result<Terms> {
    let mut terms = Terms::new();
    let mut objects = bucket.list(name::TERMS_PREFIX);
    while let Some(object) = objects.try_next().await? {
        match name::parse_term(&object.name) {
            Some((session, record)) => terms.entry(session).or_default().push(record),
            None if name::parse_claim(&object.name).is_some() => {}
            None => tracing::warn!(object = object.name, "a foreign object among the terms"),
        }
    }
    Ok(terms)
}

/// Reads the newest of `terms`. [`Kind::NotFound`]: it was deleted meanwhile.
pub(super) async fn newest(bucket: &Bucket, terms: &Terms) -> Result<Newest> {
    let Some((&session, records)) = terms.last_key_value() else { return Ok(Newest::None) };
    let closed = records.contains(&TermRecord::Closed);
    match read(bucket, session).await {
        Ok(term) if closed => Ok(Newest::Closed(Some(term))),
        Ok(term) => Ok(Newest::Open(term)),
        Err(error) if closed && matches!(error.kind(), Kind::NotFound | Kind::Corrupt) => {
            Ok(Newest::Closed(None))
        }
        Err(error) if error.kind() == Kind::Corrupt => Ok(Newest::Unreadable(error)),
        Err(error) => Err(error),
    }
}

/// Reads the term of a session.
pub(super) async fn read(bucket: &Bucket, session: SessionId) -> Result<Term> {
    let name = name::term(session);
    let got = bucket.get(&name, None, None).await?;
    let term: Term = record::decode(&name, &got.map(|got| got.body).unwrap_or_default())?;
    if term.session == session { Ok(term) } else { Err(record::damaged::<Term>(&name)) }
}

/// Who wants a session, and what for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claimant<'a> {
    /// The volume's id.
    pub(super) volume: VolumeId,
    /// This process.
    pub(super) host: &'a Host,
    /// Where it will be mounted; empty for a tool.
    pub(super) mountpoint: &'a Path,
    /// Fence whoever holds the volume.
    pub(super) takeover: bool,
}

/// A session that is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    /// The volume's id.
    pub(super) volume: VolumeId,
    /// The session.
    pub(super) session: SessionId,
    /// Whether the session before it was closed.
    pub(super) previous_was_clean: bool,
    /// Which claim of the session, where the store cannot keep two apart.
    pub(super) id: Option<ClaimId>,
}

/// Takes the next session. [`Kind::Busy`]: another session holds the volume.
pub(super) async fn claim(
    bucket: &Bucket,
    claimant: &Claimant<'_>,
    ambient: &Ambient,
) -> Result<Claim> {
    for _ in 0..CLAIMS_MAX {
        let terms = list(bucket).await?;
        let newest = match newest(bucket, &terms).await {
            Err(error) if error.kind() == Kind::NotFound => continue,
            newest => newest?,
        };
        admit(&newest, claimant)?;
        let before = terms.last_key_value().map_or(0, |(session, _)| session.0);
        let session = usable(SessionId(before + 1))?;
        if !create(bucket, claimant, session, ambient).await? {
            continue;
        }
        // Whoever was slower than two others may have taken a number that was deleted already.
        if list(bucket).await?.last_key_value().is_some_and(|(last, _)| *last != session) {
            bucket.delete(&[name::term(session)]).await?;
            continue;
        }
        forget(bucket, &terms, SessionId(before)).await;
        let previous_was_clean = matches!(newest, Newest::None | Newest::Closed(_));
        return Ok(Claim { volume: claimant.volume, session, previous_was_clean, id: None });
    }
    Err(Error::new(Kind::Busy, "others claim the volume at the same time").hint("try again"))
}

/// `session`, if a block's id has room for it.
pub(super) fn usable(session: SessionId) -> Result<SessionId> {
    if session > SessionId::MAX {
        return Err(Error::new(Kind::Invalid, "the volume has used up its session numbers"));
    }
    Ok(session)
}

/// The term of a mount among `terms`, if there is one: others are of tools.
pub(super) async fn used(bucket: &Bucket, terms: &Terms) -> Result<Option<String>> {
    for session in terms.keys() {
        match read(bucket, *session).await {
            Ok(term) if !term.mountpoint.is_empty() => return Ok(Some(name::term(*session))),
            Ok(_) => {}
            // The creator before tidies up, or has crashed while it did.
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Whether a later session was claimed than `session`.
pub(super) async fn is_superseded(bucket: &Bucket, session: SessionId) -> Result<bool> {
    Ok(list(bucket).await?.last_key_value().is_some_and(|(last, _)| *last > session))
}

/// Records that a session ended cleanly: everything it acknowledged is durable.
pub(super) async fn close(bucket: &Bucket, claim: &Claim, ambient: &Ambient) -> Result<()> {
    let closed = closed_record(claim, ambient)?;
    match bucket.create(&name::term_closed(claim.session), closed, &[]).await {
        Err(error) if error.kind() == Kind::Exists => Ok(()),
        created => created.map(|_| ()),
    }
}

/// The record that a session ended cleanly.
pub(super) fn closed_record(claim: &Claim, ambient: &Ambient) -> Result<Bytes> {
    let Claim { volume, session, .. } = *claim;
    record::encode(&Closed { volume, session, closed: ambient.now().seconds })
}

/// Gives back a session in which nothing was stored: its term goes, so that the one before tells
/// again how the volume was left. If the store does not let us, the end of this process tells.
pub(super) async fn give_back(bucket: &Bucket, claim: &Claim) {
    let own = [name::term(claim.session)];
    match tokio::time::timeout(GIVE_BACK_WITHIN, bucket.delete(&own)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the term stays open"),
        Err(_) => tracing::warn!("the term stays open: the store does not answer"),
    }
}

/// Whether the volume is free for `claimant`, or is taken over.
pub(super) fn admit(newest: &Newest, claimant: &Claimant<'_>) -> Result<()> {
    match newest.judge(claimant.host) {
        Judgement::Free(reason) => {
            tracing::debug!(reason, "the last session has ended");
            Ok(())
        }
        Judgement::Held(holder) if claimant.takeover => {
            tracing::warn!(holder, "taking the volume over");
            Ok(())
        }
        Judgement::Held(holder) => {
            let error = Error::new(Kind::Busy, format!("the volume is in use: {holder}"));
            Err(match claimant.mountpoint.as_os_str().is_empty() {
                true => error.hint("stop it there first"),
                false => error.hint("stop it there, or fence it with `--takeover`"),
            })
        }
    }
}

/// Whether `session` is ours now.
async fn create(
    bucket: &Bucket,
    claimant: &Claimant<'_>,
    session: SessionId,
    ambient: &Ambient,
) -> Result<bool> {
    let term = Term::of(claimant, session, record::token(ambient)?, ambient);
    match bucket.create(&name::term(session), record::encode(&term)?, &[]).await {
        // After a lost answer it may be ours.
        Err(error) if error.kind() == Kind::Exists => match read(bucket, session).await {
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Corrupt) => Ok(false),
            there => Ok(there? == term),
        },
        created => created.map(|_| true),
    }
}

/// Deletes the terms before `kept`, the newest before ours: while a term stands, no number up to
/// it is given out again.
async fn forget(bucket: &Bucket, terms: &Terms, kept: SessionId) {
    let old = terms.range(..kept).flat_map(|(session, records)| {
        records.iter().map(|record| match record {
            TermRecord::Opened => name::term(*session),
            TermRecord::Closed => name::term_closed(*session),
        })
    });
    if let Err(error) = bucket.delete(&old.collect::<Vec<_>>()).await {
        tracing::debug!(%error, "old terms stay until the next session");
    }
}

#[cfg(test)]
#[path = "term_tests.rs"]
mod tests;
