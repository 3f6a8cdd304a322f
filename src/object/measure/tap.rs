//! An operator that asks for one kind of encryption and shows every answer as it came: no retries,
//! no policy.

use std::sync::Arc;

use http::HeaderMap;
use opendal::Operator;
use opendal::services::S3;

use super::Reply;
use crate::config::KeyPair;
use crate::config::SseVerify;
use crate::config::VolumeConfig;
use crate::error::Error;
use crate::error::Result;
use crate::object::answer::Demand;
use crate::object::answer::Policy;
use crate::object::explain::Doing;
use crate::object::explain::explain;
use crate::object::layers;
use crate::object::operator;
use crate::object::sse;
use crate::object::witness::Seen;
use crate::object::witness::Trust;
use crate::object::witness::Witness;
use crate::object::witness::watched;
use crate::provider::Service;
use crate::provider::SseMode;

const AZURE_WRITE: &str = "x-ms-request-server-encrypted";
const AZURE_HEAD: &str = "x-ms-server-encrypted";
const AZURE_KEY: &str = "x-ms-encryption-key-sha256";
/// A region that no store has.
const NOWHERE: &str = "cairnfs-nowhere-1";

/// What the writes of an operator ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    Aes256,
    Kms(Option<String>),
    Dsse(Option<String>),
    CustomerKey([u8; 32]),
    /// No encryption, but a checksum.
    Crc32c,
    /// No encryption, signed for another region.
    AnotherRegion,
    /// No encryption, with the bucket in the host name.
    VirtualHost,
}

impl Ask {
    /// What an answer says when the store did it.
    fn wanted(&self, service: Service) -> Option<&'static str> {
        match self {
            Self::CustomerKey(_) if service == Service::Azblob => None,
            Self::Aes256 | Self::CustomerKey(_) => Some("AES256"),
            Self::Kms(_) => Some("aws:kms"),
            Self::Dsse(_) => Some("aws:kms:dsse"),
            Self::Crc32c | Self::AnotherRegion | Self::VirtualHost => None,
        }
    }
}

/// The operator, and what its answers are read by.
pub(super) struct Tap {
    pub(super) operator: Operator,
    asks: Vec<Ask>,
    service: Service,
    place: String,
}

impl Tap {
    /// An operator that asks for all of `asks`, of which one at most is a kind of encryption.
    pub(super) fn new(
        volume: &VolumeConfig,
        keys: Option<&KeyPair>,
        asks: Vec<Ask>,
    ) -> Result<Self> {
        let row = &volume.provider;
        let operator = match row.service {
            Service::S3 => {
                let builder = operator::s3_builder(volume, keys)?;
                operator::build(volume, asks.iter().fold(builder, s3_that_asks))?
            }
            Service::Azblob => {
                let builder = operator::azblob_builder(volume, keys)?;
                let builder = asks.iter().fold(builder, |builder, ask| match ask {
                    Ask::CustomerKey(key) => builder.server_side_encryption_with_customer_key(key),
                    _ => builder,
                });
                operator::build(volume, builder)?
            }
            _ => operator::gcs(volume)?,
        };
        // Nothing is demanded of a measurement, so nothing is held back.
        let policy = Policy { mode: SseMode::None, verify: SseVerify::Warn };
        let endpoint = volume.endpoint.as_deref();
        let witness = Witness::new(row.clone(), Some(policy), endpoint, Arc::default())?;
        let operator = layers::watched(operator, witness)?;
        let place = format!("{}/{}", volume.bucket, volume.prefix);
        Ok(Self { operator, asks, service: row.service, place })
    }

    /// What an answer says when the store did as it was asked.
    pub(super) fn wanted(&self) -> Option<&'static str> {
        self.asks.iter().find_map(|ask| ask.wanted(self.service))
    }

    /// Runs one call. An error: nobody answered.
    pub(super) async fn call<T>(
        &self,
        verb: &'static str,
        name: &str,
        call: impl Future<Output = opendal::Result<T>>,
    ) -> Result<(Reply, opendal::Result<T>, Seen)> {
        let (result, seen) = watched(Trust::Measure, call).await;
        let Some(status) = seen.status else {
            let why = match &result {
                Err(cause) => self.why(verb, name, cause, &seen),
                Ok(_) => Error::new(crate::error::Kind::Internal, "a call sent no request"),
            };
            return Err(why);
        };
        let told = seen.headers.as_ref().and_then(|headers| self.told(headers));
        let (code, message) = (seen.code.clone(), seen.message.clone());
        // OpenDAL takes a 200 with an error document for the error it is.
        let status = if result.is_err() && status < 300 { 500 } else { status };
        Ok((Reply { status, code, message, told }, result, seen))
    }

    /// The sentence for a call that failed, as a mount would say it.
    pub(super) fn why(
        &self,
        verb: &'static str,
        name: &str,
        cause: &opendal::Error,
        seen: &Seen,
    ) -> Error {
        let object = format!("{}{name}", self.place);
        let demand = &Demand::Nothing;
        explain(Doing { verb, object: &object, demand, conflicts: &[] }, cause, seen)
    }

    fn told(&self, headers: &HeaderMap) -> Option<String> {
        let own_key = self.asks.iter().any(|ask| matches!(ask, Ask::CustomerKey(_)));
        let names: &[&str] = match (self.service, own_key) {
            (Service::S3, true) => &[sse::SSE_C_ALGORITHM],
            (Service::S3, false) => &[sse::SSE],
            (Service::Azblob, true) => &[AZURE_KEY],
            (Service::Azblob, false) => &[AZURE_WRITE, AZURE_HEAD],
            _ => &[],
        };
        let found = names.iter().find_map(|name| headers.get(*name))?;
        found.to_str().ok().map(str::to_owned)
    }
}

fn s3_that_asks(builder: S3, ask: &Ask) -> S3 {
    match ask {
        Ask::Aes256 => builder.server_side_encryption_with_s3_key(),
        Ask::Kms(Some(key)) => builder.server_side_encryption_with_customer_managed_kms_key(key),
        Ask::Kms(None) => builder.server_side_encryption_with_aws_managed_kms_key(),
        Ask::Dsse(Some(key)) => builder
            .server_side_encryption("aws:kms:dsse")
            .server_side_encryption_aws_kms_key_id(key),
        Ask::Dsse(None) => builder.server_side_encryption("aws:kms:dsse"),
        Ask::CustomerKey(key) => builder.server_side_encryption_with_customer_key("AES256", key),
        Ask::Crc32c => builder.checksum_algorithm("crc32c"),
        Ask::AnotherRegion => builder.region(NOWHERE),
        Ask::VirtualHost => builder.enable_virtual_host_style(),
    }
}
