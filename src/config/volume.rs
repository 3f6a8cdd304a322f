//! One volume as the config describes it, checked against its provider's row. A key that means
//! nothing to the row is an error, since a setting that is silently ignored is believed in.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use super::Credentials;
use super::MountConfig;
use super::endpoint;
use super::endpoint::Places;
use super::endpoint::PlainHttp;
use super::file::Engine;
use super::file::RawCredentials;
use super::file::RawVolume;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::provider::Api;
use crate::provider::Provider;
use crate::provider::RegionRule;
use crate::provider::Service;
use crate::provider::SseMode;

/// What happens when a write is not confirmed encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SseVerify {
    /// The write fails.
    Strict,
    /// It is counted and logged.
    Warn,
}

/// How a volume keeps a second writer out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fencing {
    /// Measured when the volume is created.
    Auto,
    /// The store refuses to create what exists.
    ConditionalCreate,
    /// Each create is read back.
    ReadBack,
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
    /// The directory of a `local` volume; absolute.
    pub path: Option<PathBuf>,
    /// The endpoint, filled in from the row's template when the file has none; without a slash
    /// at its end. `None` for `local` and `memory`.
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
    /// The volume's own settings for mounts, over the defaults.
    pub mount: MountConfig,
}

impl VolumeConfig {
    /// What an unconfirmed write under `mode` means, with the default filled in: the documentation
    /// is trusted where a store proves nothing, but never for a key of the user's own.
    pub fn verify(&self, mode: &SseMode) -> SseVerify {
        let own_key = !matches!(mode, SseMode::None | SseMode::Aes256);
        self.sse_verify.unwrap_or(match &self.provider.proof {
            None if !own_key => SseVerify::Warn,
            _ => SseVerify::Strict,
        })
    }

    /// Whether writes can be held to `mode` here; if not, why, and what to do.
    pub fn check_mode(&self, mode: &SseMode) -> Result<()> {
        self.provider.check_mode(mode)?;
        let exposed = self.endpoint.as_deref().is_some_and(endpoint::is_exposed);
        if exposed && self.provider.mode_requires_tls(mode) {
            let title = &self.provider.title;
            return Err(Error::new(Kind::Policy, format!("{title} takes `{mode}` over TLS only"))
                .hint("use an https:// endpoint"));
        }
        if self.sse_verify == Some(SseVerify::Strict)
            && self.provider.proof.is_none()
            && *mode == SseMode::Aes256
        {
            let title = &self.provider.title;
            let message =
                format!("`sse-verify = \"strict\"` cannot be met: {title} proves nothing");
            return Err(Error::new(Kind::Policy, message)
                .hint("remove the key: what the provider documents is trusted then, and counted"));
        }
        Ok(())
    }

    /// The mode that `mount` asks for here: what it names, else what the file says. `None`: nobody
    /// asked. Where encryption cannot be had and `mount` allows that, nothing is asked.
    pub fn asked_mode(&self, mount: &MountConfig) -> Option<SseMode> {
        let asked = mount.asked_mode(self.sse.as_ref());
        if self.goes_unencrypted(mount) { Some(SseMode::None) } else { asked }
    }

    /// What a person who mounts should know although it stops nothing, each a sentence.
    pub fn notices(&self, mount: &MountConfig) -> Vec<String> {
        let said = mount.notices().into_iter().map(str::to_owned);
        said.chain(self.unencrypted_notice(mount)).chain(self.provider.cost_notices()).collect()
    }

    /// That `mount` goes on without the encryption it asks for, if it does.
    pub fn unencrypted_notice(&self, mount: &MountConfig) -> Option<String> {
        let why = self.provider.cannot_encrypt();
        self.goes_unencrypted(mount)
            .then(|| format!("{why}: as allowed, nothing is encrypted at rest"))
    }

    /// Whether `mount` asks for encryption that cannot be had here, and allows that.
    fn goes_unencrypted(&self, mount: &MountConfig) -> bool {
        let asked = mount.asked_mode(self.sse.as_ref());
        mount.allow_unencrypted && asked == Some(SseMode::Aes256) && !self.provider.can_encrypt()
    }

    /// Checks what the file says of volume `name` against its row. `standard_region` is what the
    /// environment says for Amazon's tools.
    pub(super) fn build(
        name: &str,
        raw: RawVolume,
        row: Arc<Provider>,
        standard_region: Option<&str>,
    ) -> Result<Self> {
        if let Some(reason) = &row.not_yet {
            let message = format!("{} cannot hold a volume yet: {reason}", row.title);
            return Err(Error::new(Kind::Unsupported, message)
                .hint("choose another provider, see `cairnfs providers`"));
        }
        foreign_keys(&raw, &row)?;
        absolute_paths(&raw)?;
        if raw.metadata.engine == Some(Engine::Postgres) {
            return Err(Error::new(Kind::Unsupported, "engine `postgres` is not available yet")
                .hint(
                    "use `engine = \"bucket\"`: one machine writes, metadata lies in the bucket",
                ));
        }
        let fencing = raw.metadata.fencing.unwrap_or(Fencing::Auto);
        if fencing == Fencing::ConditionalCreate && !row.conditional_create.works() {
            let message = format!("{} does not refuse to create what exists", row.title);
            return Err(Error::new(Kind::Config, message).hint("use `fencing = \"read-back\"`"));
        }
        let region = region(raw.region.as_deref(), &row, standard_region)?;
        let plain_http = raw.plain_http.unwrap_or(false);
        let volume = Self {
            name: name.to_owned(),
            bucket: bucket(raw.bucket.as_deref(), &row)?,
            prefix: prefix(raw.prefix.as_deref().unwrap_or_default())?,
            path: path(raw.path.as_ref(), &row)?,
            endpoint: endpoint_of(&raw, &row, region.as_deref())?,
            mount: mount(&raw)?,
            account: raw.account,
            region,
            plain_http,
            credentials: match raw.credentials {
                None => Credentials::Chain,
                Some(RawCredentials::Env(prefix)) => Credentials::Environment(prefix),
                Some(RawCredentials::File(path)) => Credentials::File(path),
                Some(RawCredentials::Command(command)) => Credentials::Command(command),
            },
            sse: raw.sse,
            sse_verify: raw.sse_verify,
            fencing,
            provider: row,
        };
        match &volume.sse {
            None => {}
            // Refused or allowed when it is mounted.
            Some(SseMode::Aes256) if !volume.provider.can_encrypt() => {}
            Some(mode) => volume.check_mode(mode)?,
        }
        Ok(volume)
    }
}

fn is_remote(row: &Provider) -> bool {
    match row.service {
        Service::S3 | Service::Gcs | Service::Azblob => true,
        Service::Fs | Service::Memory => false,
    }
}

fn foreign_keys(raw: &RawVolume, row: &Provider) -> Result<()> {
    let remote = is_remote(row);
    let template = |place| row.endpoint.as_deref().is_some_and(|text| text.contains(place));
    let azure = row.service == Service::Azblob;
    let keys = [
        ("bucket", raw.bucket.is_some(), remote),
        ("path", raw.path.is_some(), row.service == Service::Fs),
        ("endpoint", raw.endpoint.is_some(), remote),
        ("region", raw.region.is_some(), row.access.region_rule != RegionRule::None),
        ("account", raw.account.is_some(), azure || template("{account}")),
        ("namespace", raw.namespace.is_some(), template("{namespace}")),
        ("plain-http", raw.plain_http.is_some(), remote),
        ("credentials", raw.credentials.is_some(), remote),
    ];
    match keys.iter().find(|(_, given, means)| *given && !means) {
        Some((key, ..)) => {
            let message = format!("`{key}` means nothing for provider `{}`", row.name);
            Err(Error::new(Kind::Config, message).hint("remove the key"))
        }
        None => Ok(()),
    }
}

/// A daemon works in `/`, wherever it was started.
fn absolute_paths(raw: &RawVolume) -> Result<()> {
    let keys = match &raw.credentials {
        Some(RawCredentials::File(path)) => Some(path),
        Some(RawCredentials::Env(_) | RawCredentials::Command(_)) | None => None,
    };
    let customer_key = match &raw.sse {
        Some(SseMode::CustomerKeyFile(path)) => Some(path),
        _ => None,
    };
    let paths = [raw.path.as_ref(), keys, customer_key, raw.cache_dir.as_ref()];
    match paths.into_iter().flatten().find(|path| !path.is_absolute()) {
        Some(path) => {
            let message = format!("path `{}` is not absolute", path.display());
            Err(Error::new(Kind::Config, message).hint("write it from `/` on"))
        }
        None => Ok(()),
    }
}

fn region(given: Option<&str>, row: &Provider, standard: Option<&str>) -> Result<Option<String>> {
    let native = row.service == Service::S3 && row.api == Api::Native;
    let standard = standard.filter(|_| native);
    let region = given.or(standard).or(row.region.as_deref()).map(str::to_owned);
    if region.is_none() && row.access.region_rule == RegionRule::Required {
        return Err(Error::new(Kind::Config, "it does not say `region`")
            .hint("add the bucket's region, as in `region = \"eu-central-1\"`"));
    }
    Ok(region)
}

fn bucket(given: Option<&str>, row: &Provider) -> Result<String> {
    match given {
        None | Some("") if is_remote(row) => {
            Err(Error::new(Kind::Config, "it does not say `bucket`")
                .hint("add the name of a bucket that exists, as in `bucket = \"acme-photos\"`"))
        }
        Some(bucket) if bucket.contains(['/', ' ']) => {
            let message = format!("`{bucket}` is no bucket's name");
            Err(Error::new(Kind::Config, message)
                .hint("what follows the bucket goes into `prefix`"))
        }
        Some(bucket) if row.virtual_host && bucket.contains('.') => {
            let message =
                format!("bucket `{bucket}` has a dot, so it cannot be part of a host name");
            Err(Error::new(Kind::Config, message).hint("use a bucket without dots"))
        }
        bucket => Ok(bucket.unwrap_or_default().to_owned()),
    }
}

fn prefix(given: &str) -> Result<String> {
    let inner = given.trim_matches('/');
    if inner.is_empty() {
        return Ok(String::new());
    }
    if inner.split('/').any(|part| matches!(part, "" | "." | "..")) {
        let message = format!("`{given}` is no prefix: a part is empty, `.` or `..`");
        return Err(Error::new(Kind::Config, message).hint("write it as `prefix = \"cairn/\"`"));
    }
    Ok(format!("{inner}/"))
}

fn path(given: Option<&PathBuf>, row: &Provider) -> Result<Option<PathBuf>> {
    let example = "add a directory, as in `path = \"/var/lib/cairnfs/scratch\"`";
    match given {
        None if row.service == Service::Fs => {
            Err(Error::new(Kind::Config, "it does not say `path`").hint(example))
        }
        path => Ok(path.cloned()),
    }
}

fn endpoint_of(raw: &RawVolume, row: &Provider, region: Option<&str>) -> Result<Option<String>> {
    if !is_remote(row) {
        return Ok(None);
    }
    let (account, namespace) = (raw.account.as_deref(), raw.namespace.as_deref());
    let given = match &raw.endpoint {
        Some(endpoint) => endpoint.clone(),
        None => endpoint::fill(row, Places { region, account, namespace })?,
    };
    if row.access.tls_required && given.starts_with("http://") {
        let message = format!("{} answers over TLS only", row.title);
        return Err(Error::new(Kind::Config, message).hint("use an https:// endpoint"));
    }
    let plain_http = match raw.plain_http {
        Some(true) => PlainHttp::Allowed,
        Some(false) | None => PlainHttp::LoopbackOnly,
    };
    endpoint::check(&given, plain_http).map(Some)
}

fn mount(raw: &RawVolume) -> Result<MountConfig> {
    let default = MountConfig::default();
    let mount = MountConfig {
        memory_bytes: raw.memory.map_or(default.memory_bytes, |size| size.0),
        commit_interval: raw.commit_interval.map_or(default.commit_interval, |span| span.0),
        readahead_bytes: raw.readahead.map_or(default.readahead_bytes, |size| size.0),
        cache_dir: raw.cache_dir.clone(),
        cache_size_bytes: raw.cache_size.map(|size| size.0),
        allow_unencrypted: raw.allow_unencrypted.unwrap_or(false),
        ..default
    };
    mount.check()?;
    Ok(mount)
}
