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
use super::Reply;
use super::tap::Ask;
use super::tap::Tap;
use crate::ambient::Ambient;
use crate::config::KeyPair;
use crate::config::VolumeConfig;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::object::name;
use crate::object::witness::Seen;
use crate::provider::Service;

const BODY: &[u8] = b"written by `cairnfs probe`, which deletes it again";
const CONTENDERS: usize = 8;
const WITHIN: Duration = Duration::from_secs(60);
const TIDYING_WITHIN: Duration = Duration::from_secs(10);
/// The waits before a request that met passing trouble is sent again.
const WAITS: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_millis(400), Duration::from_millis(800)];

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
        tap: Tap::new(volume, keys.as_ref(), Vec::new())?,
        base: None,
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
    /// Asks for nothing; where a policy of the bucket refuses such writes, for `base`.
    tap: Tap,
    base: Option<Ask>,
    dir: String,
    found: Measurement,
}

impl Steps<'_> {
    async fn all(&mut self, measure: &Measure, ambient: &Ambient) -> Result<()> {
        let endpoint = self.volume.endpoint.as_deref().unwrap_or_default();
        self.found.plain_http = endpoint.starts_with("http://");
        self.first_write(measure, ambient).await?;
        self.reads().await?;
        self.encryption(measure, ambient).await?;
        self.conditions().await?;
        for round in 0..measure.races {
            let winners = self.race(round).await?;
            self.found.race_winners.extend(winners);
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
    async fn first_write(&mut self, measure: &Measure, ambient: &Ambient) -> Result<()> {
        let name = self.name("plain");
        let write = || self.tap.operator.write(&name, BODY);
        let (reply, result, seen) = self.call(&self.tap, "write", &name, write).await?;
        let header = |header: &str| seen.headers.as_ref()?.get(header)?.to_str().ok();
        self.found.server = header("server").map(str::to_owned);
        let there =
            header("date").and_then(|date| opendal::raw::Timestamp::parse_rfc2822(date).ok());
        let here = ambient.now().seconds;
        self.found.clock_ahead_seconds = there.map(|there| there.into_inner().as_second() - here);
        let status = reply.status;
        self.found.plain = Asked { wanted: None, write: reply, head: None };
        let Err(cause) = result else {
            let head = self.head(&self.tap, &name).await?;
            self.found.plain.head = Some(head).filter(Reply::accepted);
            return Ok(());
        };
        let why = self.tap.why("write", &name, &cause, &seen);
        if status != 403 || self.volume.provider.service != Service::S3 {
            return Err(why);
        }
        if self.write_with_encryption(measure, ambient, &name).await? { Ok(()) } else { Err(why) }
    }

    /// What refuses a plain write may be a policy that demands encryption: finds out which, and
    /// goes on with it. Whether any was taken.
    async fn write_with_encryption(
        &mut self,
        measure: &Measure,
        ambient: &Ambient,
        name: &str,
    ) -> Result<bool> {
        let mut key = [0; 32];
        ambient.fill(&mut key)?;
        let named = measure.kms_key.clone().map(|key| Ask::Kms(Some(key)));
        for ask in [Some(Ask::Aes256), named, Some(Ask::CustomerKey(key))].into_iter().flatten() {
            let tap = Tap::new(self.volume, self.keys, vec![ask.clone()])?;
            let asked = self.write(&tap, name).await?;
            if asked.is_some_and(|asked| asked.write.accepted()) {
                (self.tap, self.base) = (tap, Some(ask));
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sends a request, and again where trouble may pass. An error: nobody answered.
    async fn call<T, F: Future<Output = opendal::Result<T>>>(
        &self,
        tap: &Tap,
        verb: &'static str,
        name: &str,
        request: impl Fn() -> F,
    ) -> Result<(Reply, opendal::Result<T>, Seen)> {
        for wait in WAITS {
            let answer = tap.call(verb, name, request()).await?;
            if !answer.0.may_pass() {
                return Ok(answer);
            }
            tokio::time::sleep(wait).await;
        }
        tap.call(verb, name, request()).await
    }

    async fn head(&self, tap: &Tap, name: &str) -> Result<Reply> {
        let head = || tap.operator.stat(name);
        Ok(self.call(tap, "describe", name, head).await?.0)
    }

    async fn reads(&mut self) -> Result<()> {
        let plain = self.name("plain");
        self.found.lists_at_once = self.listed().await?.contains(&plain);
        let read = || self.tap.operator.read_with(&plain).range(3..9).into_future();
        let (reply, result, _) = self.call(&self.tap, "read", &plain, read).await?;
        let right = result.is_ok_and(|bytes| bytes.to_bytes() == BODY[3..9]);
        self.found.ranges = (!reply.is_trouble()).then_some(reply.status == 206 && right);
        Ok(())
    }

    async fn listed(&self) -> Result<Vec<String>> {
        let options = ListOptions { recursive: true, ..ListOptions::default() };
        let list = || async {
            let lister = self.tap.operator.lister_options(&self.dir, options.clone()).await?;
            lister.try_collect::<Vec<_>>().await
        };
        let (_, result, seen) = self.call(&self.tap, "list", &self.dir, list).await?;
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
            (self.found.aes256, self.found.copy) = self.aes256().await?;
            self.found.kms = self.asked("kms", Ask::Kms(named.clone())).await?;
            self.found.dsse = self.asked("dsse", Ask::Dsse(named.clone())).await?;
            let tap = self.tap_that_also(Ask::Crc32c)?;
            let checked = self.write(&tap, &self.name("crc32c")).await?;
            self.found.crc32c = checked.map(|checked| checked.write.accepted());
        }
        if service != Service::Gcs {
            self.found.customer_key = self.asked("customer-key", Ask::CustomerKey(key)).await?;
        }
        Ok(())
    }

    /// What asks for this beside what all writes here must ask for.
    fn tap_that_also(&self, ask: Ask) -> Result<Tap> {
        let asks = self.base.iter().cloned().chain([ask]).collect();
        Tap::new(self.volume, self.keys, asks)
    }

    async fn asked(&self, tail: &str, ask: Ask) -> Result<Option<Asked>> {
        let tap = Tap::new(self.volume, self.keys, vec![ask])?;
        let asked = self.write(&tap, &self.name(tail)).await?;
        // Where a policy demands one kind of encryption, it is the policy that refuses another.
        Ok(asked.filter(|asked| self.base.is_none() || asked.write.status != 403))
    }

    /// Writes and describes; `None`: trouble kept the store from saying.
    async fn write(&self, tap: &Tap, name: &str) -> Result<Option<Asked>> {
        let write = || tap.operator.write(name, BODY);
        let (write, ..) = self.call(tap, "write", name, write).await?;
        self.described(tap, name, write).await
    }

    async fn described(&self, tap: &Tap, name: &str, write: Reply) -> Result<Option<Asked>> {
        if write.is_trouble() {
            return Ok(None);
        }
        let mut asked = Asked { wanted: tap.wanted(), write, head: None };
        if asked.write.accepted() {
            let head = self.head(tap, name).await?;
            if head.may_pass() {
                return Ok(None);
            }
            asked.head = Some(head).filter(Reply::accepted);
        }
        Ok(Some(asked))
    }

    async fn aes256(&self) -> Result<(Option<Asked>, Option<Asked>)> {
        let (name, copied) = (self.name("aes256"), self.name("copy"));
        let asked = self.asked("aes256", Ask::Aes256).await?;
        if !asked.as_ref().is_some_and(Asked::confirmed) {
            return Ok((asked, None));
        }
        let tap = Tap::new(self.volume, self.keys, vec![Ask::Aes256])?;
        let copy = || tap.operator.copy(&name, &copied);
        let (write, ..) = self.call(&tap, "copy", &copied, copy).await?;
        let copy = self.described(&tap, &copied, write).await?;
        Ok((asked, copy))
    }

    async fn conditions(&mut self) -> Result<()> {
        let plain = self.name("plain");
        let create = || self.tap.operator.write_options(&plain, BODY, absent());
        let (reply, ..) = self.call(&self.tap, "create", &plain, create).await?;
        self.found.create_existing = reply;
        self.found.conditional_update = self.update(&plain).await?;
        Ok(())
    }

    /// Whether versions are compared on writes. A replacement that met trouble may have been done,
    /// so that all begins anew then.
    async fn update(&self, plain: &str) -> Result<Option<bool>> {
        let mut replies = self.replaced_twice(plain, 0).await?;
        for (wait, again) in WAITS.into_iter().zip(1..) {
            if replies.iter().any(Reply::may_pass) {
                tokio::time::sleep(wait).await;
                replies = self.replaced_twice(plain, again).await?;
            }
        }
        let done: Vec<_> = replies.iter().map(Reply::accepted).collect();
        Ok((!replies.iter().any(Reply::is_trouble)).then_some(done == [true, false]))
    }

    /// Replaces a version twice; the second one demands what the first one has replaced. Each body
    /// is another one, since a version may be named by its bytes.
    async fn replaced_twice(&self, plain: &str, attempt: u32) -> Result<Vec<Reply>> {
        let operator = &self.tap.operator;
        let stat = || operator.stat(plain);
        let (_, described, seen) = self.call(&self.tap, "describe", plain, stat).await?;
        let meta = described.map_err(|cause| self.tap.why("describe", plain, &cause, &seen))?;
        let by_generation = self.volume.provider.service == Service::Gcs;
        let tag = if by_generation { meta.version() } else { meta.etag() };
        let demanding = |tag: &str| match by_generation {
            true => WriteOptions { if_version_match: Some(tag.into()), ..WriteOptions::default() },
            false => WriteOptions { if_match: Some(tag.into()), ..WriteOptions::default() },
        };
        let mut replies = Vec::new();
        for (tag, body) in tag.iter().flat_map(|tag| [(tag, "another"), (tag, "a third")]) {
            let body = Buffer::from(Bytes::from(format!("{body} {attempt}")));
            let write = operator.write_options(plain, body, demanding(tag));
            replies.push(self.tap.call("replace", plain, write).await?.0);
        }
        Ok(replies)
    }

    /// Eight creators of one object at once; how many were told that they won. A round in which
    /// one met trouble shows nothing, and another is run.
    async fn race(&self, round: usize) -> Result<Option<usize>> {
        let mut replies = self.raced(&format!("race-{round}")).await?;
        for (again, wait) in WAITS.into_iter().enumerate() {
            if replies.iter().any(Reply::may_pass) {
                tokio::time::sleep(wait).await;
                replies = self.raced(&format!("race-{round}-{again}")).await?;
            }
        }
        let winners = replies.iter().filter(|reply| reply.accepted()).count();
        Ok((!replies.iter().any(Reply::is_trouble)).then_some(winners))
    }

    async fn raced(&self, tail: &str) -> Result<Vec<Reply>> {
        let name = self.name(tail);
        let creates = (0..CONTENDERS).map(|_| {
            self.tap.call("create", &name, self.tap.operator.write_options(&name, BODY, absent()))
        });
        join_all(creates).await.into_iter().map(|outcome| Ok(outcome?.0)).collect()
    }

    async fn batch(&mut self) -> Result<()> {
        let names = ["batch-1", "batch-2", "batch-3"].map(|tail| self.name(tail));
        for name in &names {
            self.write(&self.tap, name).await?;
        }
        let delete = || self.tap.operator.delete_iter(names.clone());
        let (reply, result, _) = self.call(&self.tap, "delete", &names[0], delete).await?;
        let left = self.listed().await?;
        let gone = result.is_ok() && !names.iter().any(|name| left.contains(name));
        self.found.batch_delete = (!reply.is_trouble()).then_some(gone);
        Ok(())
    }

    async fn addressing(&mut self) -> Result<()> {
        let name = self.name("plain");
        let found = |reply: Reply| (!reply.may_pass()).then_some(reply.accepted());
        let another = self.tap_that_also(Ask::AnotherRegion)?;
        self.found.region_ignored = found(self.head(&another, &name).await?);
        let endpoint = self.volume.endpoint.as_deref().unwrap_or_default();
        let host = endpoint.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
        let has_name = host.is_some_and(|host| {
            host.trim_matches(['[', ']']).parse::<IpAddr>().is_err() && host != "localhost"
        });
        if has_name && !self.volume.bucket.contains('.') {
            let tap = self.tap_that_also(Ask::VirtualHost)?;
            // A name that does not resolve is an answer too.
            self.found.virtual_host = self.head(&tap, &name).await.map_or(Some(false), found);
        }
        Ok(())
    }

    /// Deletes everything, one by one; what is still listed then.
    async fn tidy(&self) -> Result<Vec<String>> {
        for name in self.listed().await? {
            let delete = || self.tap.operator.delete(&name);
            let (_, result, seen) = self.call(&self.tap, "delete", &name, delete).await?;
            result.map_err(|cause| self.tap.why("delete", &name, &cause, &seen))?;
        }
        self.listed().await
    }
}

fn absent() -> WriteOptions {
    WriteOptions { if_not_exists: true, ..WriteOptions::default() }
}
