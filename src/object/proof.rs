//! What is made of a write's proof: it is asked for once more, counted, told, and held against the
//! policy. Sends a HEAD at most.

use http::HeaderMap;

use super::Bucket;
use super::Store;
use super::answer::Policy;
use super::answer::Posture;
use super::answer::Put;
#[cfg(any(test, feature = "testing"))]
use super::fault;
use super::sse;
use super::sse::Evidence;
use crate::config::SseVerify;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::provider::SseMode;
use crate::telemetry;

impl Bucket {
    /// Gives an unconfirmed write its second chance, counts it, and applies the policy.
    pub(super) async fn settle(&self, name: &str, policy: &Policy, mut put: Put) -> Result<Put> {
        let proof = self.shared.row.proof.as_ref();
        if put.posture == Posture::Unconfirmed && proof.is_some_and(|proof| proof.on_head) {
            // Whatever keeps the HEAD from answering, nothing is confirmed then.
            put.posture = self.posture(name).await.unwrap_or(Posture::Unconfirmed);
        }
        #[cfg(any(test, feature = "testing"))]
        if self.faults.as_ref().is_some_and(fault::FaultControl::unconfirmed) {
            put.posture = Posture::Unconfirmed;
        }
        let is_first = self.shared.counters.posture(name, &put.posture);
        if put.posture == Posture::Unconfirmed {
            let object = self.full_name(name);
            let sentence = "the store does not confirm that an object is encrypted";
            if is_first {
                telemetry::posture(format_args!(
                    "{sentence}, the first since the start: `{object}`"
                ));
            } else {
                tracing::warn!(object, "{sentence}");
            }
            if policy.verify == SseVerify::Strict {
                return Err(Error::new(
                    Kind::Policy,
                    "the store does not confirm that the object is encrypted",
                )
                .with("object", object)
                .hint("see `cairnfs providers show`; `sse-verify = \"warn\"` accepts it"));
            }
        }
        Ok(put)
    }

    /// A create that met an object may have met its own, whose answer was lost: then the caller
    /// takes it for stored, so its proof is owed here.
    pub(super) async fn prove_existing(&self, name: &str, policy: &Policy) -> Result<()> {
        let told = self.shared.row.proof.as_ref().is_some_and(|proof| proof.on_head);
        if !told || policy.mode == SseMode::None {
            return Ok(());
        }
        // Another writer's object is not counted among what this one wrote.
        if self.posture(name).await.is_ok_and(|posture| posture != Posture::Unconfirmed) {
            return Ok(());
        }
        let unproved = Put { tag: None, posture: Posture::Unconfirmed };
        self.settle(name, policy, unproved).await.map(|_| ())
    }

    /// The posture of a store that has no headers. The memory of tests confirms what is asked.
    pub(super) fn posture_of_silence(&self, policy: &Policy) -> Posture {
        match (&self.store, &policy.mode) {
            (Store::Memory(_), mode) if *mode != SseMode::None => {
                Posture::Confirmed { mode: "AES256".to_owned(), key: None }
            }
            _ => sse::judge(&self.shared.row, &policy.mode, Evidence::Write, &HeaderMap::new()),
        }
    }
}
