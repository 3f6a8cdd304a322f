//! The probe of a mount: one small object is written, described, listed, read and deleted the way
//! the mount will do it, so that what cannot work ends the mount with one sentence, soon.

use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;

use super::Bucket;
use super::ObjectMeta;
use super::answer::Posture;
use super::name;
use super::witness::Trust;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// All steps together. A refusal ends the probe at once; this is for a store that is slow to begin
/// (SeaweedFS grows its first volumes for seconds) or does not answer at all.
const STEPS_WITHIN: Duration = Duration::from_secs(12);
const TIDYING_WITHIN: Duration = Duration::from_millis(900);

/// What the probe learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeReport {
    /// What is known of the encryption of what was written.
    pub posture: Posture,
    /// Whether listings tell when an object was modified.
    pub lists_times: bool,
}

impl Bucket {
    /// Tries the store once, with an object of its own below [`name::PROBE_PREFIX`]; a refusal ends
    /// it at once, silence within thirteen seconds. [`Kind::Policy`]: encryption is refused or not
    /// confirmed; [`Kind::Denied`]: wrong bucket, keys, permissions or clock;
    /// [`Kind::Unavailable`]: the endpoint does not answer.
    pub async fn probe(&self, session_name: &str) -> Result<ProbeReport> {
        let name = format!("{}{session_name}", name::PROBE_PREFIX);
        let prober = self.trusting(Trust::Probe);
        let steps = tokio::time::timeout(STEPS_WITHIN, prober.steps(&name)).await;
        let outcome = steps.unwrap_or_else(|_| {
            Err(Error::new(Kind::Unavailable, "the store does not answer within twelve seconds")
                .with("object", self.full_name(&name))
                .hint("check the network and `endpoint`"))
        });
        if outcome.is_err() && self.policy().is_some() {
            // The failure above is what the user must read; this may fail for the same reason.
            let names = [name];
            let _ = tokio::time::timeout(TIDYING_WITHIN, prober.delete(&names)).await;
        }
        outcome
    }

    async fn steps(&self, name: &str) -> Result<ProbeReport> {
        self.sweep().await?;
        let body = Bytes::from(format!("probe of {name}"));
        let put = self.put(name, body.clone()).await?;
        let differs = |what: &'static str| {
            Error::new(Kind::Unsupported, what)
                .with("object", self.full_name(name))
                .hint("the store, or a cache before it, does not show what was just written")
        };
        // One round trip for all three: a distant store is to be mounted soon as well.
        let (described, listed, got) =
            tokio::try_join!(self.head(name), self.listed(name), self.get(name, None, None))?;
        if described.size != body.len() as u64 {
            return Err(differs("the store describes another object than was written"));
        }
        let Some(found) = listed else {
            return Err(differs("the store does not list what was just written"));
        };
        if got.is_none_or(|got| got.body != body) {
            return Err(differs("the store returns other bytes than were written"));
        }
        self.delete(&[name.to_owned()]).await?;
        Ok(ProbeReport { posture: put.posture, lists_times: found.modified.is_some() })
    }

    /// The probe's object, if it is listed.
    async fn listed(&self, name: &str) -> Result<Option<ObjectMeta>> {
        let mut listed = self.list(name::PROBE_PREFIX);
        while let Some(object) = listed.try_next().await? {
            if object.name == name {
                return Ok(Some(object));
            }
        }
        Ok(None)
    }
}
