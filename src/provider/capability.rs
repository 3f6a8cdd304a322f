//! The closed list of what a row can say, each with what we do without it. No provider's name.

use serde::Deserialize;
use serde::Serialize;

/// The OpenDAL service behind a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// The S3 protocol.
    S3,
    /// Google's JSON API.
    Gcs,
    /// Azure Blob Storage.
    Azblob,
    /// A directory.
    Fs,
    /// The process's memory; for tests.
    Memory,
}

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

/// How a store refuses to overwrite an existing object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConditionalCreate {
    /// `If-None-Match: *`.
    IfNoneMatch,
    /// `ifGenerationMatch=0`.
    GenerationMatch,
    /// A hard link from a finished temporary file (directories).
    HardLink,
    /// The in-memory service's own check.
    Native,
    /// Not at all; fencing reads back.
    None,
    /// The condition is accepted and ignored.
    SilentlyIgnored,
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
    CustomerKeyFile(std::path::PathBuf),
}

/// Where the store gives evidence of encryption.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SseProof {
    /// The answer to the write carries it.
    pub on_write: bool,
    /// The answer to a HEAD carries it.
    pub on_head: bool,
    /// The header that carries it, lower case, in the answer to a write.
    pub write_header: String,
    /// The header that carries it in the answer to a HEAD.
    pub head_header: String,
    /// The values that count when no mode was asked for (`AES256`, `aws:kms`, `true`, …).
    pub accept: Vec<String>,
}

/// An answer by which a store refuses encryption for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SseRefusal {
    /// The HTTP status.
    pub status: u16,
    /// The code in the error document, when it must match.
    pub code: Option<String>,
    /// The sentence for the user: why the store cannot encrypt.
    pub meaning: String,
    /// What to do about it.
    pub hint: String,
}
