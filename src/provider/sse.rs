//! What a row can say of encryption at rest: what is asked, what proves it, what refuses it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use serde::Serialize;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::provider::nearest::unknown;

/// What a write request carries when server-side encryption is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SseRequest {
    /// `x-amz-server-side-encryption`.
    Header,
    /// The same header through the provider's S3-compatibility API.
    CompatHeader,
    /// Nothing: every object is encrypted anyway.
    Default,
    /// Nothing, and the store does not encrypt: asking for encryption is an error.
    Unsupported,
}

/// Whether objects are encrypted at rest when nothing is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AtRest {
    /// Every object, always.
    Always,
    /// By the bucket's own setting.
    BucketDefault,
    /// By the server's configuration.
    ServerConfig,
    /// Never.
    Never,
    /// Nobody has measured it.
    Unknown,
}

/// Which encryption is asked of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SseMode {
    /// Nothing is asked.
    None,
    /// SSE-S3: the store's own keys, `AES256`.
    Aes256,
    /// SSE-KMS with the named key.
    Kms(String),
    /// DSSE-KMS with the named key.
    Dsse(String),
    /// SSE-C with the key in the named file.
    CustomerKeyFile(PathBuf),
}

impl SseMode {
    /// The mode without its key; `None` where nothing is asked.
    pub fn name(&self) -> Option<ModeName> {
        match self {
            Self::None => None,
            Self::Aes256 => Some(ModeName::Aes256),
            Self::Kms(_) => Some(ModeName::Kms),
            Self::Dsse(_) => Some(ModeName::Dsse),
            Self::CustomerKeyFile(_) => Some(ModeName::CustomerKey),
        }
    }
}

/// As a person types it after `--sse=`: `none`, `aes256`, `kms:KEY`, `dsse:KEY`,
/// `customer-key-file:PATH` (an `=` serves for the colon).
impl FromStr for SseMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (mode, key) = match text.split_once([':', '=']) {
            Some((mode, key)) => (mode, Some(key).filter(|key| !key.is_empty())),
            None => (text, None),
        };
        let keyed = |make: fn(String) -> Self| match key {
            Some(key) => Ok(make(key.to_owned())),
            None => Err(Error::new(Kind::Config, format!("encryption mode `{mode}` needs a key"))
                .hint(format!("write `{mode}:KEY`"))),
        };
        match mode {
            "none" if key.is_none() => Ok(Self::None),
            "aes256" if key.is_none() => Ok(Self::Aes256),
            "none" | "aes256" => {
                Err(Error::new(Kind::Config, format!("encryption mode `{mode}` takes no key")))
            }
            "kms" => keyed(Self::Kms),
            "dsse" => keyed(Self::Dsse),
            "customer-key-file" => keyed(|path| Self::CustomerKeyFile(path.into())),
            _ => {
                let known = ["none", "aes256", "kms", "dsse", "customer-key-file"];
                Err(unknown("encryption mode", mode, &known))
            }
        }
    }
}

impl fmt::Display for SseMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Aes256 => f.write_str("aes256"),
            Self::Kms(key) => write!(f, "kms:{key}"),
            Self::Dsse(key) => write!(f, "dsse:{key}"),
            Self::CustomerKeyFile(path) => write!(f, "customer-key-file:{}", path.display()),
        }
    }
}

/// What it means when the store gives no evidence where the row promises some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnMissing {
    /// The write is not confirmed.
    Fail,
    /// It is counted and logged.
    Warn,
    /// The provider's documentation stands for it.
    TrustDocumentation,
}

/// Where the store gives evidence of encryption.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SseProof {
    /// The answer to the write carries it.
    pub on_write: bool,
    /// The answer to a HEAD carries it.
    pub on_head: bool,
    /// The header that carries it, lower case, in the answer to a write; empty when none does.
    pub write_header: String,
    /// The header that carries it in the answer to a HEAD; empty when none does.
    pub head_header: String,
    /// The values that count when no mode was asked for (`AES256`, `aws:kms`, `true`, …).
    pub accept: Vec<String>,
    /// What a missing header means.
    pub on_missing: OnMissing,
}

/// When an answer counts as a refusal of encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalScope {
    /// Whenever a write asked for encryption.
    #[default]
    Always,
    /// Only while the volume is probed: later the same answer is an ordinary, passing fault.
    Probe,
}

/// A mode without its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModeName {
    /// SSE-S3.
    Aes256,
    /// SSE-KMS.
    Kms,
    /// DSSE-KMS.
    Dsse,
    /// SSE-C.
    CustomerKey,
}

/// An answer that is no success, to a write that asked for encryption.
#[derive(Debug, Clone, Copy)]
pub struct Refused<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The code in the error document; empty if there is none.
    pub code: &'a str,
    /// The message in the error document; empty if there is none.
    pub message: &'a str,
    /// Whether the write was the probe's.
    pub scope: RefusalScope,
    /// What was asked for.
    pub mode: &'a SseMode,
}

/// An answer by which a store refuses encryption for good: retrying is pointless.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SseRefusal {
    /// The HTTP status.
    pub status: u16,
    /// The code in the error document, when it must match.
    pub code: Option<String>,
    /// A part of the message in the error document, when it must match.
    pub message: Option<String>,
    /// When the answer counts.
    #[serde(default)]
    pub scope: RefusalScope,
    /// The one mode that it refuses; `None`: any.
    pub mode: Option<ModeName>,
    /// The sentence for the user: why the store cannot encrypt.
    pub meaning: String,
    /// What to do about it.
    pub hint: String,
}

impl SseRefusal {
    /// Whether an answer is this refusal.
    pub fn matches(&self, answer: Refused<'_>) -> bool {
        self.status == answer.status
            && self.code.as_deref().is_none_or(|expected| expected == answer.code)
            && self.message.as_deref().is_none_or(|part| answer.message.contains(part))
            && (self.scope == RefusalScope::Always || answer.scope == RefusalScope::Probe)
            && self.mode.is_none_or(|mode| answer.mode.name() == Some(mode))
    }
}

/// An operation of the S3 protocol, by its name there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the protocol's")]
pub enum Operation {
    PutObject,
    CreateMultipartUpload,
    UploadPart,
    UploadPartCopy,
    CompleteMultipartUpload,
    CopyObject,
    GetObject,
    HeadObject,
}

/// What happens to a multipart upload when encryption is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MultipartWithSse {
    /// It works.
    Ok,
    /// The store refuses it.
    Rejected,
    /// The store takes it, but OpenDAL puts the header on requests that must not carry it.
    ClientBug,
    /// There is none, or nobody has measured it.
    Unknown,
}

/// Which requests may carry the encryption header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SseOperations {
    /// Those that may, and on which it has its effect.
    pub allowed: Vec<Operation>,
    /// Those that the store refuses with it.
    pub forbidden: Vec<Operation>,
    /// Whether OpenDAL's multipart uploads work with it.
    pub multipart: MultipartWithSse,
}

/// Whether a copy made with the header is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CopyKeeps {
    /// It is, and the answer says so.
    Yes,
    /// It is, but only a HEAD says so.
    WithoutEcho,
    /// It is not.
    No,
    /// Nobody has measured it.
    Unknown,
}

/// Whether a store knows a mode of encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Support {
    /// It does.
    Yes,
    /// It does once the bucket or server is set up for it.
    OptIn,
    /// It does not.
    No,
    /// Nobody has measured it: a mode is not offered on a guess.
    Unknown,
}

/// Whether a request must name the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyId {
    /// The store refuses a request without a key.
    Required,
    /// The store has a default key.
    Optional,
    /// The mode has no key name.
    None,
}

/// What a store, and OpenDAL before it, do with a mode beyond `AES256`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KeySupport {
    /// Whether the store knows the mode.
    pub support: Support,
    /// Whether it takes the mode over TLS only.
    pub requires_tls: bool,
    /// Whether the key must be named.
    pub key_id: KeyId,
    /// Whether OpenDAL can ask for it.
    pub settable: bool,
}
