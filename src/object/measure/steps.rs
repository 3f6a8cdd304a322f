//! The requests of a measurement, one after the other, and tidying up after them.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use futures::future::join_all;
use opendal::Buffer;
use opendal::options::ListOptions;
use opendal::options::WriteOptions;

use super::Asked;
use super::Measure;
use super::Measurement;
use super::tap::Ask;
use super::tap::Tap;
use crate::ambient::Ambient;
use crate::config::KeyPair;
use crate::config::VolumeConfig;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::object::name;
use crate::provider::Service;

const BODY: &[u8] = b"written by `cairnfs probe`, which deletes it again";
const CONTENDERS: usize = 8;
const WITHIN: Duration = Duration::from_secs(60);
const TIDYING_WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn run(
    volume: &VolumeConfig,
    measure: &Measure,
    ambient: &Ambient,
) -> Result<Measurement> {
    let keys = match volume.provider.service {
        Service::S3 | Service::Azblob => volume.credentials.resolve()?,
        Service::Gcs | Service::Fs | Service::Memory => None,
    };
    let mut token = [0; 8];
    ambient.fill(&mut token)?;
    let dir = format!("{}measure-{:016x}/", name::PROBE_PREFIX, u64::from_be_bytes(token));
    let mut steps = Steps {
        volume,
        keys: keys.as_ref(),
        tap: Tap::new(volume, keys.as_ref(), Ask::Nothing)?,
        dir,
        found: Measurement::default(),
    };
    let silent = || {
        Error::new(Kind::Unavailable, "the store does not answer in time")
            .hint("check the network and `endpoint`")
    };
    let all = tokio::time::timeout(WITHIN, steps.all(measure, ambient)).await;
    let outcome = all.unwrap_or_else(|_| Err(silent()));
    let tidied = tokio::time::timeout(TIDYING_WITHIN, steps.tidy()).await;
    outcome?;
    let mut found = steps.found;
    found.left_behind = tidied.unwrap_or_else(|_| Err(silent()))?;
    Ok(found)
}

struct Steps<'a> {
    volume: &'a VolumeConfig,
    keys: Option<&'a KeyPair>,
    /// Asks for nothing.
    tap: Tap,
    dir: String,
    found: Measurement,
}

impl Steps<'_> {
    async fn all(&mut self, measure: &Measure, ambient: &Ambient) -> Result<()> {
        let endpoint = self.volume.endpoint.as_deref().unwrap_or_default();
        self.found.plain_http = endpoint.starts_with("http://");
        self.first_write(ambient).await?;
        self.reads().await?;
        self.encryption(measure, ambient).await?;
        self.conditions().await?;
        for round in 0..measure.races {
            let winners = self.race(round).await?;
            self.found.race_winners.push(winners);
        }
        self.batch().await?;
        if self.volume.provider.service == Service::S3 {
            self.addressing().await?;
        }
        Ok(())
    }

    fn name(&self, tail: &str) -> String {
        format!("{}{tail}", self.dir)
    }

    /// The write on which all others rest; whatever is wrong with keys, clock or bucket shows here.
    async fn first_write(&mut self, ambient: &Ambient) -> Result<()> {
        let name = self.name("plain");
        let write = self.tap.operator.write(&name, BODY);
        let (reply, result, seen) = self.tap.call("write", &name, write).await?;
        if let Err(cause) = result {
            return Err(self.tap.why("write", &name, &cause, &seen));
        }
        let header = |header: &str| seen.headers.as_ref()?.get(header)?.to_str().ok();
        self.found.server = header("server").map(str::to_owned);
        let there =
            header("date").and_then(|date| opendal::raw::Timestamp::parse_rfc2822(date).ok());
        let here = ambient.now().seconds;
        self.found.clock_ahead_seconds = there.map(|there| there.into_inner().as_second() - here);
        self.found.plain =
            Asked { wanted: None, write: reply, head: self.head(&self.tap, &name).await? };
        Ok(())
    }

    async fn head(&self, tap: &Tap, name: &str) -> Result<Option<super::Reply>> {
        let (reply, result, _) = tap.call("describe", name, tap.operator.stat(name)).await?;
        Ok(result.is_ok().then_some(reply))
    }

    async fn reads(&mut self) -> Result<()> {
        let plain = self.name("plain");
        self.found.lists_at_once = self.listed().await?.contains(&plain);
        let read = self.tap.operator.read_with(&plain).range(3..9).into_future();
        let (reply, result, _) = self.tap.call("read", &plain, read).await?;
        self.found.ranges =
            reply.status == 206 && result.is_ok_and(|bytes| bytes.to_bytes() == BODY[3..9]);
        Ok(())
    }

    async fn listed(&self) -> Result<Vec<String>> {
        let options = ListOptions { recursive: true, ..ListOptions::default() };
        let list = async {
            let lister = self.tap.operator.lister_options(&self.dir, options).await?;
            lister.try_collect::<Vec<_>>().await
        };
        let (_, result, seen) = self.tap.call("list", &self.dir, list).await?;
        let entries = result.map_err(|cause| self.tap.why("list", &self.dir, &cause, &seen))?;
        let objects = entries.into_iter().filter(|entry| !entry.path().ends_with('/'));
        Ok(objects.map(|entry| entry.path().to_owned()).collect())
    }

    async fn encryption(&mut self, measure: &Measure, ambient: &Ambient) -> Result<()> {
        let mut key = [0; 32];
        ambient.fill(&mut key)?;
        let service = self.volume.provider.service;
        if service == Service::S3 {
            let named = &measure.kms_key;
            self.found.kms_key_named = named.is_some();
            let (aes256, copy) = self.aes256().await?;
            (self.found.aes256, self.found.copy) = (Some(aes256), copy);
            self.found.kms = Some(self.asked("kms", Ask::Kms(named.clone())).await?);
            self.found.dsse = Some(self.asked("dsse", Ask::Dsse(named.clone())).await?);
            let checked = self.asked("crc32c", Ask::Crc32c).await?;
            self.found.crc32c = Some(checked.write.accepted());
        }
        if service != Service::Gcs {
            let asked = self.asked("customer-key", Ask::CustomerKey(key)).await?;
            self.found.customer_key = Some(asked);
        }
        Ok(())
    }

    async fn asked(&self, tail: &str, ask: Ask) -> Result<Asked> {
        let tap = Tap::new(self.volume, self.keys, ask)?;
        self.write(&tap, &self.name(tail)).await
    }

    async fn write(&self, tap: &Tap, name: &str) -> Result<Asked> {
        let write = tap.operator.write(name, BODY);
        let (write, result, _) = tap.call("write", name, write).await?;
        let head = if result.is_ok() { self.head(tap, name).await? } else { None };
        Ok(Asked { wanted: tap.ask.wanted(tap.service), write, head })
    }

    async fn aes256(&self) -> Result<(Asked, Option<Asked>)> {
        let tap = Tap::new(self.volume, self.keys, Ask::Aes256)?;
        let (name, copied) = (self.name("aes256"), self.name("copy"));
        let asked = self.write(&tap, &name).await?;
        if !asked.confirmed() {
            return Ok((asked, None));
        }
        let copy = tap.operator.copy(&name, &copied);
        let (write, result, _) = tap.call("copy", &copied, copy).await?;
        let head = if result.is_ok() { self.head(&tap, &copied).await? } else { None };
        let wanted = tap.ask.wanted(tap.service);
        Ok((asked, Some(Asked { wanted, write, head })))
    }

    async fn conditions(&mut self) -> Result<()> {
        let (plain, operator) = (self.name("plain"), &self.tap.operator);
        let absent = WriteOptions { if_not_exists: true, ..WriteOptions::default() };
        let create = operator.write_options(&plain, BODY, absent);
        let (reply, _, _) = self.tap.call("create", &plain, create).await?;
        let (_, described, seen) = self.tap.call("describe", &plain, operator.stat(&plain)).await?;
        let meta = described.map_err(|cause| self.tap.why("describe", &plain, &cause, &seen))?;
        let by_generation = self.volume.provider.service == Service::Gcs;
        let tag = if by_generation { meta.version() } else { meta.etag() };
        let demanding = |tag: &str| match by_generation {
            true => WriteOptions { if_version_match: Some(tag.into()), ..WriteOptions::default() },
            false => WriteOptions { if_match: Some(tag.into()), ..WriteOptions::default() },
        };
        let mut done = Vec::new();
        // The second one demands a version that the first one has replaced.
        for (tag, body) in tag.iter().flat_map(|tag| [(tag, "another"), (tag, "a third")]) {
            let body = Buffer::from(Bytes::from(body));
            let write = operator.write_options(&plain, body, demanding(tag));
            done.push(self.tap.call("replace", &plain, write).await?.0.accepted());
        }
        self.found.conditional_update = done == [true, false];
        self.found.create_existing = reply;
        Ok(())
    }

    /// Eight creators of one object at once; how many were told that they won.
    async fn race(&self, round: usize) -> Result<usize> {
        let name = self.name(&format!("race-{round}"));
        let creates = (0..CONTENDERS).map(|_| {
            let absent = WriteOptions { if_not_exists: true, ..WriteOptions::default() };
            self.tap.call("create", &name, self.tap.operator.write_options(&name, BODY, absent))
        });
        let mut winners = 0;
        for outcome in join_all(creates).await {
            winners += usize::from(outcome?.0.accepted());
        }
        Ok(winners)
    }

    async fn batch(&mut self) -> Result<()> {
        let names = ["batch-1", "batch-2", "batch-3"].map(|tail| self.name(tail));
        for name in &names {
            self.write(&self.tap, name).await?;
        }
        let delete = self.tap.operator.delete_iter(names.clone());
        let (_, result, _) = self.tap.call("delete", &names[0], delete).await?;
        let left = self.listed().await?;
        self.found.batch_delete = result.is_ok() && !names.iter().any(|name| left.contains(name));
        Ok(())
    }

    async fn addressing(&mut self) -> Result<()> {
        let name = self.name("plain");
        let another = Tap::new(self.volume, self.keys, Ask::AnotherRegion)?;
        self.found.region_ignored = Some(self.head(&another, &name).await?.is_some());
        let endpoint = self.volume.endpoint.as_deref().unwrap_or_default();
        let host = endpoint.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
        let has_name = host.is_some_and(|host| {
            host.trim_matches(['[', ']']).parse::<IpAddr>().is_err() && host != "localhost"
        });
        if has_name && !self.volume.bucket.contains('.') {
            let tap = Tap::new(self.volume, self.keys, Ask::VirtualHost)?;
            // A name that does not resolve is an answer too.
            let found = self.head(&tap, &name).await.unwrap_or_default();
            self.found.virtual_host = Some(found.is_some());
        }
        Ok(())
    }

    /// Deletes everything, one by one; what is still listed then.
    async fn tidy(&self) -> Result<Vec<String>> {
        for name in self.listed().await? {
            let delete = self.tap.operator.delete(&name);
            let (_, result, seen) = self.tap.call("delete", &name, delete).await?;
            result.map_err(|cause| self.tap.why("delete", &name, &cause, &seen))?;
        }
        self.listed().await
    }
}
