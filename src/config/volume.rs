//! One volume's table of the config file. (skeleton)

use std::path::PathBuf;
use std::sync::Arc;

use super::Secret;
use crate::error::Result;
use crate::provider::Provider;
use crate::provider::SseMode;

/// What happens when a write is not confirmed encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SseVerify { /// The write fails.
 Strict, /// It is counted and logged.
 Warn }

/// How a volume keeps a second writer out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fencing { /// Measured when the volume is created.
 Auto, /// The store refuses to create what exists.
 ConditionalCreate, /// Each create is read back.
 ReadBack }

/// Where keys come from.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// The provider's own chain (environment, profile, instance or workload identity).
    Chain,
    /// `$PREFIX_ACCESS_KEY_ID`, `$PREFIX_SECRET_ACCESS_KEY`, `$PREFIX_SESSION_TOKEN`.
    Environment(String),
    /// A file of keys, refused when others can read it.
    File(PathBuf),
    /// A command that prints the keys as JSON.
    Command(String),
}

/// A key pair, read.
#[derive(Debug, Clone)]
pub struct KeyPair {
    /// The access key id (for Azure: the account's name).
    pub access_key_id: String,
    /// The secret (for Azure: the account's key).
    pub secret_access_key: Secret,
    /// A session token, with temporary keys.
    pub session_token: Option<Secret>,
}

impl Credentials {
    /// Reads the keys; `None`: use the provider's own chain.
    pub fn resolve(&self) -> Result<Option<KeyPair>> { todo!() }
}

/// One volume as the config file describes it, checked against its provider's row.
#[derive(Debug, Clone)]
pub struct VolumeConfig {
    /// The volume's name.
    pub name: String,
    /// The row.
    pub provider: Arc<Provider>,
    /// The bucket or container; empty for `local` and `memory`.
    pub bucket: String,
    /// The prefix inside the bucket; empty or ending in `/`.
    pub prefix: String,
    /// The directory of a `local` volume.
    pub path: Option<PathBuf>,
    /// The endpoint, filled in from the row's template when the file has none.
    pub endpoint: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// Azure's storage account.
    pub account: Option<String>,
    /// Allow `http://` to hosts other than loopback.
    pub plain_http: bool,
    /// Where keys come from.
    pub credentials: Credentials,
    /// The encryption the file asks for; `None`: it does not say.
    pub sse: Option<SseMode>,
    /// What an unconfirmed write means; `None`: strict where the row gives evidence.
    pub sse_verify: Option<SseVerify>,
    /// How a second writer is kept out.
    pub fencing: Fencing,
}
