//! Claims: who wants to write, or wrote. A claim is put and then looked for; of two that are made
//! at once at least one sees the other, and gives way. Knows no record's contents and no clock.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::TryStreamExt;

use crate::error::Result;
use crate::object::Bucket;
use crate::object::name;
use crate::object::name::ClaimRecord;
use crate::types::ClaimId;
use crate::types::SessionId;

/// The claims of a volume, and which records there are of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims(BTreeMap<ClaimId, Vec<ClaimRecord>>);

impl Claims {
    /// Lists them.
    pub async fn list(bucket: &Bucket) -> Result<Self> {
        let mut claims = Self::default();
        let mut objects = bucket.list(name::TERMS_PREFIX);
        while let Some(object) = objects.try_next().await? {
            match name::parse_claim(&object.name) {
                Some((claim, record)) => claims.0.entry(claim).or_default().push(record),
                None if name::parse_term(&object.name).is_some() => {}
                None => tracing::warn!(object = object.name, "a foreign object among the terms"),
            }
        }
        Ok(claims)
    }

    /// Whether there is a record of `claim`.
    pub fn has(&self, claim: ClaimId, record: ClaimRecord) -> bool {
        self.0.get(&claim).is_some_and(|records| records.contains(&record))
    }

    /// Whether there is none at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = ClaimId> {
        self.0.keys().copied()
    }

    /// The session that nobody claimed yet.
    pub fn next_session(&self) -> SessionId {
        SessionId(self.0.last_key_value().map_or(0, |(last, _)| last.session.0) + 1)
    }

    /// The claim that began last.
    pub fn last_started(&self) -> Option<ClaimId> {
        self.0.keys().rev().copied().find(|claim| self.has(*claim, ClaimRecord::Started))
    }

    /// The claims that may still write or come to write: the one that began last, and those of
    /// higher sessions. All others have lost.
    pub fn standing(&self) -> Vec<ClaimId> {
        let last = self.last_started();
        let stands = |claim: &ClaimId| match last {
            Some(last) => *claim == last || claim.session > last.session,
            None => true,
        };
        self.0.keys().copied().filter(stands).collect()
    }

    /// Whether another claim is as late as `claim`, or later.
    fn contests(&self, claim: ClaimId) -> bool {
        self.0.keys().any(|other| *other != claim && other.session >= claim.session)
    }

    /// Whether `claim` is there and none is later.
    pub(super) fn leaves_alone(&self, claim: ClaimId) -> bool {
        let later = self.0.keys().any(|other| other.session > claim.session);
        self.has(claim, ClaimRecord::Opened) && !later
    }

    /// The names of all records of lower sessions.
    pub(super) fn names_before(&self, claim: ClaimId) -> Vec<String> {
        let before = self.0.iter().filter(|(other, _)| other.session < claim.session);
        before
            .flat_map(|(other, records)| records.iter().map(|record| name::claim(*other, *record)))
            .collect()
    }
}

/// Makes a claim. Returns whether it stands: if another one was made at the same time it is
/// withdrawn again. After an error it may still come to stand, as a claim that never begins.
pub async fn raise(bucket: &Bucket, claim: ClaimId, record: Bytes) -> Result<bool> {
    let raised = put_and_look(bucket, claim, record).await;
    if !matches!(raised, Ok(true)) {
        withdraw(bucket, claim).await;
    }
    raised
}

async fn put_and_look(bucket: &Bucket, claim: ClaimId, record: Bytes) -> Result<bool> {
    bucket.put(&name::claim(claim, ClaimRecord::Opened), record).await?;
    let claims = Claims::list(bucket).await?;
    Ok(claims.has(claim, ClaimRecord::Opened) && !claims.contests(claim))
}

/// Gives a claim back that has not begun, and never will.
pub async fn withdraw(bucket: &Bucket, claim: ClaimId) {
    let name = name::claim(claim, ClaimRecord::Opened);
    if let Err(error) = bucket.delete(&[name]).await {
        tracing::warn!(%error, %claim, "the claim stays open");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(session: u64, nonce: u64) -> ClaimId {
        ClaimId { session: SessionId(session), nonce }
    }

    fn claims(entries: &[(ClaimId, ClaimRecord)]) -> Claims {
        let mut claims = Claims::default();
        for (claim, record) in entries {
            claims.0.entry(*claim).or_default().push(*record);
        }
        claims
    }

    #[test]
    fn a_claim_that_lost_stands_no_more() {
        let (lost, won, next) = (claim(2, 9), claim(2, 1), claim(3, 5));
        let (opened, started) = (ClaimRecord::Opened, ClaimRecord::Started);
        let before = claims(&[(claim(1, 1), opened), (claim(1, 1), started), (won, opened)]);
        assert_eq!(before.standing(), [claim(1, 1), won]);
        let after = claims(&[(lost, opened), (won, opened), (won, started), (next, opened)]);
        assert_eq!(after.standing(), [won, next]);
        assert_eq!(after.next_session(), SessionId(4));
    }

    #[test]
    fn a_writer_is_alone_until_a_later_claim_is_there_or_its_own_is_gone() {
        let opened = ClaimRecord::Opened;
        let own = claim(2, 1);
        assert!(claims(&[(own, opened), (claim(2, 9), opened)]).leaves_alone(own));
        assert!(!claims(&[(own, opened), (claim(3, 9), opened)]).leaves_alone(own));
        assert!(!claims(&[(claim(1, 1), opened)]).leaves_alone(own));
        assert!(claims(&[(own, opened), (claim(2, 9), opened)]).contests(own));
    }
}
