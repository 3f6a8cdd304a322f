//! What a bucket answers: postures, tags, descriptions of objects. No I/O.

use bytes::Bytes;

use crate::ambient::Timestamp;
use crate::config::SseVerify;
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

/// The store's name for one version of an object: an `ETag`, or a generation.
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

/// What a write demands of the object that stands there.
#[derive(Debug, Clone)]
pub(super) enum Demand {
    /// Whatever is there is replaced.
    Nothing,
    /// Nothing may be there.
    Absence,
    /// This version must be there.
    Version(Tag),
}
