//! A bucket: all that upper layers may ask of storage, through one OpenDAL operator. (skeleton)

pub mod name;
#[cfg(feature = "testing")]
pub mod fault;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;

use crate::ambient::Timestamp;
use crate::config::SseVerify;
use crate::config::VolumeConfig;
use crate::error::Result;
use crate::provider::Provider;
use crate::provider::SseMode;

/// The encryption policy of a volume's operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What every write must carry.
    pub mode: SseMode,
    /// What an unconfirmed write means.
    pub verify: SseVerify,
}

/// What is known of a stored object's encryption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Posture {
    /// The store said so.
    Confirmed {
        /// `AES256`, `aws:kms`, `true`.
        mode: String,
        /// The key's name where one was used.
        key: Option<String>,
    },
    /// The provider encrypts everything and gives no evidence.
    ProviderDefault,
    /// Asked for, but the store did not confirm.
    Unconfirmed,
    /// Not asked for.
    Absent,
}

/// The store's name for one version of an object: an ETag, or a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag(pub String);

/// An object's description.
#[derive(Debug, Clone)]
pub struct ObjectMeta {
    /// The name inside the volume (without bucket and prefix).
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// When it was last modified, if the store tells.
    pub modified: Option<Timestamp>,
    /// Its version tag, if the store tells.
    pub tag: Option<Tag>,
    /// User metadata, if the store keeps any.
    pub attributes: Vec<(String, String)>,
}

/// The answer to a write.
#[derive(Debug, Clone)]
pub struct Put {
    /// The new version's tag, if the store tells.
    pub tag: Option<Tag>,
    /// What the witness saw.
    pub posture: Posture,
}

/// The answer to a read.
#[derive(Debug, Clone)]
pub struct Got {
    /// The bytes of the range.
    pub body: Bytes,
    /// The object they belong to (size is the whole object's).
    pub meta: ObjectMeta,
}

/// Counts since the bucket was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// PUT and POST requests that create objects.
    pub put: u64,
    /// GET requests of objects.
    pub get: u64,
    /// HEAD requests.
    pub head: u64,
    /// LIST requests.
    pub list: u64,
    /// DELETE requests.
    pub delete: u64,
    /// Bytes sent in bodies.
    pub bytes_sent: u64,
    /// Bytes received in bodies.
    pub bytes_received: u64,
    /// Writes that the store confirmed encrypted.
    pub confirmed: u64,
    /// Writes to a provider that encrypts by default and gives no evidence.
    pub provider_default: u64,
    /// Writes that were asked to be encrypted and are not confirmed.
    pub unconfirmed: u64,
    /// Writes for which nothing was asked.
    pub absent: u64,
    /// The first object that was not confirmed.
    pub first_unconfirmed: Option<String>,
}

/// Whether the store answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreState {
    /// `None`: the last request was answered; otherwise since when the store has been away.
    pub away_since: Option<Timestamp>,
    /// The last error, as a sentence.
    pub last_error: Option<String>,
}

/// A volume's bucket. Cheap to clone; all clones share counters and policy.
#[derive(Clone)]
pub struct Bucket {
    _inner: Arc<()>,
}

impl Bucket {
    /// Builds the operator of `volume` with its layers and the witness.
    /// No request is sent. `policy: None` gives an operator that cannot write at all.
    pub fn open(_volume: &VolumeConfig, _policy: Option<Policy>) -> Result<Self> { todo!() }

    /// Wraps a bucket in the seeded fault layer; for tests.
    #[cfg(feature = "testing")]
    pub fn memory_with_faults(_faults: fault::Faults) -> Self { todo!() }

    /// The provider's row.
    pub fn provider(&self) -> &Provider { todo!() }

    /// The policy writes are held to; `None`: cannot write.
    pub fn policy(&self) -> Option<&Policy> { todo!() }

    /// Writes an object with one request, whatever was there. Durable when it returns.
    pub async fn put(&self, _name: &str, _body: Bytes) -> Result<Put> { todo!() }

    /// Creates an object exclusively and durably: `Kind::Exists` if it was there.
    /// `attributes` are stored as user metadata where the store keeps any.
    pub async fn create(&self, _name: &str, _body: Bytes, _attributes: &[(String, String)]) -> Result<Put> { todo!() }

    /// Replaces version `tag` of an object: `Kind::Conflict` if it is another version by now.
    pub async fn update(&self, _name: &str, _body: Bytes, _tag: &Tag, _attributes: &[(String, String)]) -> Result<Put> { todo!() }

    /// Reads an object, or a range of it. `Ok(None)`: it still is version `unless`.
    pub async fn get(&self, _name: &str, _range: Option<Range<u64>>, _unless: Option<&Tag>) -> Result<Option<Got>> { todo!() }

    /// Describes an object.
    pub async fn head(&self, _name: &str) -> Result<ObjectMeta> { todo!() }

    /// What the store says of an object's encryption, by a HEAD.
    pub async fn posture(&self, _name: &str) -> Result<Posture> { todo!() }

    /// Lists the objects below a prefix, in no particular order, without directories.
    pub fn list(&self, _prefix: &str) -> BoxStream<'static, Result<ObjectMeta>> { todo!() }

    /// Deletes objects, as many per request as the row allows; a missing one is no error.
    pub async fn delete(&self, _names: &[String]) -> Result<()> { todo!() }

    /// Counts since the bucket was opened.
    pub fn counts(&self) -> Counts { todo!() }

    /// Whether the store answers.
    pub fn state(&self) -> StoreState { todo!() }
}
