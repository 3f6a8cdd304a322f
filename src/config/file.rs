//! The shape of the config file. Unknown keys are errors with their line; what the keys mean
//! together is `volume`'s business.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;

use super::Fencing;
use super::Size;
use super::Span;
use super::SseVerify;
use crate::error::Result;
use crate::provider::SseMode;
use crate::provider::toml_fault;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct RawConfig {
    pub(super) volumes: BTreeMap<String, Spanned<RawVolume>>,
    /// A file of more rows for the matrix, read before those of this file.
    pub(super) providers_file: Option<PathBuf>,
    /// Rows, read by the matrix.
    #[serde(rename = "providers")]
    _providers: IgnoredAny,
}

/// A file of rows only; the matrix reads them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawProviders {
    #[serde(rename = "providers")]
    _providers: IgnoredAny,
}

/// One `[volumes.NAME]` table.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct RawVolume {
    pub(super) provider: Option<Spanned<String>>,
    pub(super) bucket: Option<String>,
    pub(super) prefix: Option<String>,
    pub(super) path: Option<PathBuf>,
    pub(super) endpoint: Option<String>,
    pub(super) region: Option<String>,
    pub(super) account: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) plain_http: Option<bool>,
    pub(super) credentials: Option<RawCredentials>,
    pub(super) sse: Option<SseMode>,
    pub(super) sse_verify: Option<SseVerify>,
    pub(super) allow_unencrypted: Option<bool>,
    pub(super) metadata: RawMetadata,
    pub(super) memory: Option<Size>,
    pub(super) commit_interval: Option<Span>,
    pub(super) readahead: Option<Size>,
    pub(super) cache_dir: Option<PathBuf>,
    pub(super) cache_size: Option<Size>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawCredentials {
    Env(String),
    File(PathBuf),
    Command(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct RawMetadata {
    pub(super) engine: Option<Engine>,
    pub(super) fencing: Option<Fencing>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Engine {
    Bucket,
    Postgres,
}

/// Reads a text as `T`, or says where it does not fit.
pub(super) fn parse<T: for<'de> Deserialize<'de>>(text: &str, origin: &str) -> Result<T> {
    toml::from_str(text).map_err(|cause| toml_fault(text, origin, &cause))
}

/// `ORIGIN:LINE` of a part of the text.
pub(super) fn place<T>(text: &str, origin: &str, part: &Spanned<T>) -> String {
    let before = &text.as_bytes()[..part.span().start.min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    format!("{origin}:{line}")
}
