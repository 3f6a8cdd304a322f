//! A provider's row and a volume's config become an OpenDAL operator, one function per scheme.
//! Knows nothing of layers and of what is sent.

use std::net::IpAddr;

use opendal::Operator;
use opendal::services::Azblob;
use opendal::services::Gcs;
use opendal::services::S3;
use reqsign_core::ProvideCredentialChain;

use crate::config;
use crate::config::Credentials;
use crate::config::KeyPair;
use crate::config::VolumeConfig;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::object::renewal::Renewal;
use crate::object::sse;
use crate::provider::Checksum;
use crate::provider::ListVersion;
use crate::provider::SseMode;
use crate::provider::SseRequest;

/// The region that signs requests to a store that has none.
pub(super) const REGION_OF_NONE: &str = "us-east-1";

/// S3, and everything that speaks it.
pub(super) fn s3(
    volume: &VolumeConfig,
    mode: &SseMode,
    keys: Option<&KeyPair>,
) -> Result<Operator> {
    let row = &volume.provider;
    let builder = s3_builder(volume, keys)?;
    let sends_header = matches!(row.sse_request, SseRequest::Header | SseRequest::CompatHeader);
    let builder = match mode {
        SseMode::Aes256 if sends_header => builder.server_side_encryption_with_s3_key(),
        SseMode::None | SseMode::Aes256 => builder,
        SseMode::Kms(key) => builder.server_side_encryption_with_customer_managed_kms_key(key),
        SseMode::Dsse(key) => builder
            .server_side_encryption("aws:kms:dsse")
            .server_side_encryption_aws_kms_key_id(key),
        SseMode::CustomerKeyFile(path) => {
            let key = sse::customer_key(path)?;
            builder.server_side_encryption_with_customer_key("AES256", &key)
        }
    };
    build(volume, builder)
}

/// An S3 service that asks for no encryption yet.
pub(super) fn s3_builder(volume: &VolumeConfig, keys: Option<&KeyPair>) -> Result<S3> {
    let row = &volume.provider;
    let region = volume.region.as_deref().or(row.region.as_deref()).unwrap_or(REGION_OF_NONE);
    let mut builder = S3::default()
        .root(&volume.prefix)
        .bucket(&volume.bucket)
        .region(region)
        .endpoint(endpoint(volume)?.ok_or_else(|| missing(volume, "endpoint"))?);
    if row.virtual_host {
        builder = builder.enable_virtual_host_style();
    }
    if row.list_version == ListVersion::V1 {
        builder = builder.disable_list_objects_v2();
    }
    builder = match row.checksum {
        Checksum::None => builder,
        Checksum::Crc32c => builder.checksum_algorithm("crc32c"),
        Checksum::Md5 => builder.checksum_algorithm("md5"),
    };
    if let Some(keys) = keys {
        // Nothing from the environment may mix with keys that the volume names.
        builder = with_keys(builder.disable_config_load(), volume, keys);
    }
    Ok(builder)
}

fn with_keys(builder: S3, volume: &VolumeConfig, keys: &KeyPair) -> S3 {
    if let Some(renewal) = Renewal::of(&volume.credentials, keys) {
        let chain = ProvideCredentialChain::new().push(renewal);
        return builder.credential_provider_chain(chain);
    }
    let builder = builder
        .access_key_id(&keys.access_key_id)
        .secret_access_key(keys.secret_access_key.expose());
    match &keys.session_token {
        Some(token) => builder.session_token(token.expose()),
        None => builder,
    }
}

/// Google's JSON API.
pub(super) fn gcs(volume: &VolumeConfig) -> Result<Operator> {
    let mut builder = Gcs::default().root(&volume.prefix).bucket(&volume.bucket);
    if let Some(endpoint) = endpoint(volume)? {
        builder = builder.endpoint(endpoint);
    }
    builder = match &volume.credentials {
        Credentials::Chain => builder,
        Credentials::File(path) => {
            config::open_private(path).map_err(|error| {
                error.while_doing("cannot read the keys").with("file", path.display())
            })?;
            builder.credential_path(&path.to_string_lossy())
        }
        Credentials::Environment(_) | Credentials::Command(_) => {
            return Err(Error::new(Kind::Config, "key pairs do not open Google's JSON API")
                .with("volume", &volume.name)
                .hint("name a service account's file, or use the provider `gcs` with HMAC keys"));
        }
    };
    build(volume, builder)
}

/// Azure Blob Storage.
pub(super) fn azblob(
    volume: &VolumeConfig,
    mode: &SseMode,
    keys: Option<&KeyPair>,
) -> Result<Operator> {
    let mut builder = azblob_builder(volume, keys)?;
    if let SseMode::CustomerKeyFile(path) = mode {
        builder = builder.server_side_encryption_with_customer_key(&sse::customer_key(path)?);
    }
    build(volume, builder)
}

/// An Azure service that asks for no encryption of its own.
pub(super) fn azblob_builder(volume: &VolumeConfig, keys: Option<&KeyPair>) -> Result<Azblob> {
    let mut builder = Azblob::default()
        .root(&volume.prefix)
        .container(&volume.bucket)
        .endpoint(endpoint(volume)?.ok_or_else(|| missing(volume, "endpoint"))?);
    let named = keys.map(|keys| keys.access_key_id.as_str());
    if let Some(account) = volume.account.as_deref().or(named) {
        builder = builder.account_name(account);
    }
    if let Some(keys) = keys {
        builder = builder.account_key(keys.secret_access_key.expose());
    }
    Ok(builder)
}

/// Checks that a volume's settings fit together.
pub(super) fn build(volume: &VolumeConfig, builder: impl opendal::Builder) -> Result<Operator> {
    Operator::new(builder).map_err(|cause| {
        Error::new(Kind::Config, "the volume's settings do not fit together")
            .with("volume", &volume.name)
            .because(cause)
    })
}

/// The endpoint, unless secrets and data would go over the network unprotected.
fn endpoint(volume: &VolumeConfig) -> Result<Option<&str>> {
    let Some(endpoint) = volume.endpoint.as_deref() else { return Ok(None) };
    let uri: http::Uri = endpoint.parse().map_err(|cause| {
        Error::new(Kind::Config, "the endpoint is not a URL")
            .with("endpoint", endpoint)
            .because(cause)
    })?;
    let plain = uri.scheme_str() == Some("http");
    if plain && !volume.plain_http && !uri.host().is_some_and(is_loopback) {
        return Err(Error::new(Kind::Config, "the endpoint is not encrypted (`http://`)")
            .with("volume", &volume.name)
            .with("endpoint", endpoint)
            .hint("use `https://`, or set `plain-http = true` in the volume's config"));
    }
    Ok(Some(endpoint))
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn missing(volume: &VolumeConfig, what: &str) -> Error {
    Error::new(Kind::Config, format!("the volume has no `{what}`"))
        .with("volume", &volume.name)
        .hint(format!("set `{what}` in the volume's config"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::rows;

    #[test]
    fn http_goes_to_loopback_only_unless_the_config_says_so() {
        for (at, plain_http, fine) in [
            ("http://127.0.0.1:9000", false, true),
            ("http://localhost:9000", false, true),
            ("http://[::1]:9000", false, true),
            ("http://store.example", false, false),
            ("http://store.example", true, true),
            ("https://store.example", false, true),
            ("http://localhost.example", false, false),
        ] {
            let volume = VolumeConfig {
                endpoint: Some(at.to_owned()),
                plain_http,
                ..rows::volume(rows::minio())
            };
            assert_eq!(endpoint(&volume).is_ok(), fine, "{at}");
        }
    }
}
