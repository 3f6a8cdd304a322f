//! The closed list of what a row can say of a store apart from encryption (that is `sse`).
//! No provider's name.

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

/// Whether a row speaks the provider's own protocol or a compatibility layer of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Api {
    /// The protocol the provider defined.
    Native,
    /// Somebody else's protocol, as far as the provider follows it.
    Compat,
}

/// Where the bucket's name stands in a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Addressing {
    /// In the path.
    Path,
    /// In the host name.
    VirtualHost,
    /// Either; we use the path, which also works for names with dots and for doubles on loopback.
    Both,
    /// There is no URL.
    None,
}

/// What a store does with the region in a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegionRule {
    /// It must be the bucket's; without a default the config must say it.
    Required,
    /// Any will do; the row's default is sent.
    Ignored,
    /// Not part of the protocol.
    None,
}

/// How requests are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signature {
    /// AWS Signature Version 4.
    Sigv4,
    /// An OAuth bearer token.
    Oauth,
    /// Azure's shared key or a SAS token.
    SharedKey,
    /// Not at all.
    None,
}

/// Whether the signature covers the body. OpenDAL always sends `UNSIGNED-PAYLOAD`, so a store
/// that insists on more cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PayloadSigning {
    /// `UNSIGNED-PAYLOAD` is accepted.
    Unsigned,
    /// The protocol does not sign bodies.
    None,
}

/// The language in which a store is told what a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Permissions {
    /// Amazon's policies, for users and for buckets.
    Amazon,
    /// The same with the actions that MinIO knows: an unknown one spoils the whole document.
    Minio,
    /// The same with what Ceph RGW knows of it.
    Ceph,
    /// Google's roles.
    Google,
    /// Azure's roles.
    Azure,
    /// Oracle's policy statements.
    Oracle,
    /// None that is known here: its own console, or files of the server.
    None,
}

impl Permissions {
    /// What a row that does not say speaks. Who speaks S3 need not know Amazon's policies.
    pub fn of(service: Service) -> Self {
        match service {
            Service::Gcs => Self::Google,
            Service::Azblob => Self::Azure,
            Service::S3 | Service::Fs | Service::Memory => Self::None,
        }
    }

    /// Whether a store of this service can have it.
    pub fn fits(self, service: Service) -> bool {
        match self {
            Self::Amazon | Self::Minio | Self::Ceph | Self::Oracle => service == Service::S3,
            Self::Google => matches!(service, Service::S3 | Service::Gcs),
            Self::Azure => service == Service::Azblob,
            Self::None => true,
        }
    }
}

/// How a store is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Access {
    /// Where the bucket's name stands.
    pub addressing: Addressing,
    /// What the region means.
    pub region_rule: RegionRule,
    /// How requests are signed.
    pub signature: Signature,
    /// Whether bodies are signed.
    pub payload_signing: PayloadSigning,
    /// Whether `http://` is refused by the store.
    pub tls_required: bool,
    /// How a key is permitted something.
    pub permissions: Permissions,
}

/// The checksum a store wants on writes beyond TLS and Content-MD5 on batch deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Checksum {
    /// None is sent.
    None,
    /// `x-amz-checksum-crc32c`.
    Crc32c,
    /// `Content-MD5`.
    Md5,
}

/// Which LIST request a store answers well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListVersion {
    /// ListObjects.
    V1,
    /// ListObjectsV2.
    V2,
    /// The service's only one.
    Native,
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

impl ConditionalCreate {
    /// Whether a create that loses is told so.
    pub fn works(self) -> bool {
        match self {
            Self::IfNoneMatch | Self::GenerationMatch | Self::HardLink | Self::Native => true,
            Self::None | Self::SilentlyIgnored => false,
        }
    }
}

/// What a store's sizes are bounded by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Objects larger than this cannot be written with one PUT (bytes).
    pub single_put_max_bytes: u64,
    /// The smallest part but the last of a multipart upload (bytes); `None`: no multipart.
    pub part_min_bytes: Option<u64>,
    /// The most parts of one upload; `None`: no multipart.
    pub parts_max: Option<u32>,
    /// Whether all parts but the last must have one size.
    pub equal_parts: bool,
    /// Whether a part can be copied from another object.
    pub part_copy: bool,
}

/// What a store charges, in US dollars, at its list price for standard storage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Costs {
    /// A million PUT requests.
    pub usd_per_million_puts: f64,
    /// A million GET requests.
    pub usd_per_million_gets: f64,
    /// A GiB for a month.
    pub usd_per_gib_month: f64,
    /// Days that every object is charged for at least, also when it is deleted sooner.
    pub minimum_days: u32,
    /// Days that a deleted object is kept and charged for, unless the bucket is set otherwise.
    #[serde(default)]
    pub soft_delete_days: u32,
    /// A deleted object stays as a hidden version and is charged for until a rule of the bucket
    /// removes it.
    #[serde(default)]
    pub hides_deleted: bool,
}
