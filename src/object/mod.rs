//! A bucket: all that upper layers may ask of storage. The operator of a volume is built here,
//! with its layers and the witness, so that there is one place where encryption is decided.
//! Knows no block, no metadata and no file.

mod answer;
mod answered;
mod body;
mod counts;
#[cfg(test)]
mod double;
mod explain;
#[cfg(any(test, feature = "testing"))]
pub mod fault;
mod layers;
mod local;
#[cfg(any(test, feature = "testing"))]
mod loose;
mod measure;
mod memory;
#[cfg(feature = "testing")]
pub mod sabotage;
pub mod name;
pub mod record;
pub mod tenure;
mod open;
mod operator;
mod renewal;
mod probe;
mod proof;
#[cfg(any(test, feature = "testing"))]
mod rows;
mod rules;
mod sse;
mod versions;
mod inspect;
mod document;
mod denials;
#[cfg(test)]
mod tests;
mod wire;
#[cfg(test)]
mod wire_tests;
#[cfg(test)]
mod odd_tests;
mod witness;

pub use answer::Got;
pub use answer::ObjectMeta;
pub use answer::Policy;
pub use answer::Posture;
pub use answer::Put;
pub use answer::Tag;
pub use body::Body;
pub use counts::Counts;
pub use counts::Refusals;
pub use counts::StoreState;
pub use document::BucketFacts;
pub use document::Told;
pub use document::Upload;
pub use inspect::Inspector;
#[cfg(any(test, feature = "testing"))]
pub use loose::LooseStore;
pub use measure::Asked;
pub use measure::Finding;
pub use measure::Measure;
pub use measure::Measurement;
pub use measure::Reply;
pub use measure::Verdict;
pub use memory::MemoryStore;
pub use probe::ProbeReport;
pub use sse::meets;
pub use versions::Examined;
pub use versions::Standing;
pub use versions::UNVERSIONED;
pub use versions::Version;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use parking_lot::RwLock;

use self::answer::Demand;
use self::counts::Access;
use self::counts::Counters;
use self::counts::Health;
use self::local::LocalStore;
use self::wire::Wire;
use self::witness::Trust;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::provider::ConditionalCreate;
use crate::provider::Provider;

/// Takes the pieces of an object as they arrive.
pub type Take<'a> = dyn FnMut(Bytes) + Send + 'a;

/// A volume's bucket. Cheap to clone; all clones share counters and policy.
#[derive(Clone)]
pub struct Bucket {
    shared: Arc<Shared>,
    store: Store,
    trust: Trust,
    #[cfg(any(test, feature = "testing"))]
    faults: Option<fault::FaultControl>,
}

struct Shared {
    row: Arc<Provider>,
    policy: Option<Policy>,
    /// Who writes instead, since the policy was changed.
    successor: RwLock<Option<Bucket>>,
    /// What stands before a name so that a person finds the object.
    place: String,
    counters: Arc<Counters>,
    health: Arc<Health>,
}

#[derive(Clone)]
enum Store {
    Wire(Wire),
    Local(LocalStore),
    Memory(MemoryStore),
    #[cfg(any(test, feature = "testing"))]
    Loose(LooseStore),
}

impl Bucket {
    /// The provider's row.
    pub fn provider(&self) -> &Provider {
        &self.shared.row
    }

    /// The policy writes are held to; `None`: cannot write.
    pub fn policy(&self) -> Option<Policy> {
        match &*self.shared.successor.read() {
            Some(next) => next.shared.policy.clone(),
            None => self.shared.policy.clone(),
        }
    }

    /// Writes an object with one request, whatever was there. Durable when it returns.
    pub async fn put(&self, name: &str, body: Bytes) -> Result<Put> {
        self.put_pieces(name, body.into()).await
    }

    /// [`Self::put`] for bytes that do not lie together, which are not copied on their way.
    pub async fn put_pieces(&self, name: &str, body: Body) -> Result<Put> {
        self.write(name, body, Demand::Nothing, &[]).await
    }

    /// Creates an object exclusively and durably: [`Kind::Exists`] if it was there, which after
    /// a lost answer may be this very call's object: `attributes` tell, where the store keeps any.
    pub async fn create(
        &self,
        name: &str,
        body: Bytes,
        attributes: &[(String, String)],
    ) -> Result<Put> {
        let row = &self.shared.row;
        match row.conditional_create {
            ConditionalCreate::None | ConditionalCreate::SilentlyIgnored => {
                Err(Error::new(Kind::Unsupported, "the provider cannot create exclusively")
                    .with("provider", &row.name)
                    .with("object", self.full_name(name)))
            }
            ConditionalCreate::IfNoneMatch
            | ConditionalCreate::GenerationMatch
            | ConditionalCreate::HardLink
            | ConditionalCreate::Native => {
                self.write(name, body.into(), Demand::Absence, attributes).await
            }
        }
    }

    /// Replaces version `tag` of an object: [`Kind::Conflict`] if it is another version by now.
    pub async fn update(
        &self,
        name: &str,
        body: Bytes,
        tag: &Tag,
        attributes: &[(String, String)],
    ) -> Result<Put> {
        if !self.shared.row.conditional_update {
            return Err(Error::new(Kind::Unsupported, "the provider cannot compare versions")
                .with("provider", &self.shared.row.name)
                .with("object", self.full_name(name)));
        }
        self.write(name, body.into(), Demand::Version(tag.clone()), attributes).await
    }

    /// Reads an object, or a range of it. `Ok(None)`: it still is version `unless`.
    /// [`Kind::Corrupt`] if the object ends before the range does.
    pub async fn get(
        &self,
        name: &str,
        range: Option<Range<u64>>,
        unless: Option<&Tag>,
    ) -> Result<Option<Got>> {
        let mut body = Body::default();
        let meta = self.fetch(name, range, unless, &mut |piece| body.push(piece)).await?;
        Ok(meta.map(|meta| Got { body: body.into_bytes(), meta }))
    }

    /// Reads a range of an object and gives its bytes to `take` in the pieces in which they arrive,
    /// which may keep more memory than they show. [`Kind::Corrupt`] if the object ends before the
    /// range does; `take` may have got some of it then.
    pub async fn get_pieces(
        &self,
        name: &str,
        range: Range<u64>,
        take: &mut Take<'_>,
    ) -> Result<()> {
        match self.fetch(name, Some(range), None, take).await? {
            Some(_) => Ok(()),
            None => Err(Error::new(Kind::Internal, "the store answered a question nobody asked")
                .with("object", self.full_name(name))),
        }
    }

    async fn fetch(
        &self,
        name: &str,
        range: Option<Range<u64>>,
        unless: Option<&Tag>,
        take: &mut Take<'_>,
    ) -> Result<Option<ObjectMeta>> {
        name::check(name)?;
        if range.as_ref().is_some_and(Range::is_empty) {
            return Ok(Some(self.head(name).await?));
        }
        let mut bytes = 0;
        let mut counted = |piece: Bytes| {
            bytes += piece.len();
            take(piece);
        };
        let got = self
            .request(Access::Read, 0, async {
                match &self.store {
                    Store::Wire(wire) => {
                        wire.get(self.trust, name, range, unless, &mut counted).await
                    }
                    Store::Local(local) => {
                        let got = local.get(name, range, unless).await?;
                        Ok(got.map(|got| given(got, &mut counted)))
                    }
                    Store::Memory(memory) => {
                        let got = memory.get(name, range, unless)?;
                        Ok(got.map(|got| given(got, &mut counted)))
                    }
                    #[cfg(any(test, feature = "testing"))]
                    Store::Loose(loose) => {
                        let got = loose.get(name, range, unless).await?;
                        Ok(got.map(|got| given(got, &mut counted)))
                    }
                }
            })
            .await?;
        if got.is_some() {
            self.received(bytes).await;
        }
        Ok(got)
    }

    /// Describes an object.
    pub async fn head(&self, name: &str) -> Result<ObjectMeta> {
        Ok(self.describe(name).await?.0)
    }

    /// What the store says of an object's encryption, by a HEAD.
    pub async fn posture(&self, name: &str) -> Result<Posture> {
        Ok(self.describe(name).await?.1)
    }

    /// Lists the objects below a prefix, in no particular order, without directories.
    pub fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectMeta>> {
        let named = |object: &ObjectMeta| std::future::ready(!object.name.ends_with('/'));
        self.list_named(prefix).try_filter(named).boxed()
    }

    /// The same with the names that end with `/`.
    fn list_named(&self, prefix: &str) -> BoxStream<'static, Result<ObjectMeta>> {
        if let Err(error) = name::check_prefix(prefix) {
            return futures::stream::iter([Err(error)]).boxed();
        }
        let (bucket, prefix) = (self.clone(), prefix.to_owned());
        let opened = async move {
            let listing = bucket
                .request(Access::List, 0, async {
                    Ok(match &bucket.store {
                        Store::Wire(wire) => wire.list(bucket.trust, &prefix),
                        Store::Local(local) => local.list(&prefix),
                        Store::Memory(memory) => memory.list(&prefix),
                        #[cfg(any(test, feature = "testing"))]
                        Store::Loose(loose) => loose.list(&prefix).await?,
                    })
                })
                .await;
            match listing {
                Ok(objects) => {
                    let note = move |o: &_| bucket.shared.health.note(Access::List, o);
                    objects.inspect(note).boxed()
                }
                Err(error) => futures::stream::iter([Err(error)]).boxed(),
            }
        };
        futures::stream::once(opened).flatten().boxed()
    }

    /// Deletes objects, as many per request as the row allows; a missing one is no error.
    pub async fn delete(&self, names: &[String]) -> Result<()> {
        names.iter().try_for_each(|name| name::check(name))?;
        let Some(first) = names.first() else { return Ok(()) };
        self.writable(first)?;
        self.request(Access::Delete, 0, async {
            match &self.store {
                Store::Wire(wire) => wire.delete(self.trust, names).await,
                Store::Local(local) => local.delete(names).await,
                Store::Memory(memory) => {
                    memory.delete(names);
                    Ok(())
                }
                #[cfg(any(test, feature = "testing"))]
                Store::Loose(loose) => loose.delete(names).await,
            }
        })
        .await
    }

    /// Counts since the bucket was opened.
    pub fn counts(&self) -> Counts {
        self.shared.counters.snapshot()
    }

    /// Whether the store answers.
    pub fn state(&self) -> StoreState {
        self.shared.health.snapshot()
    }

    /// What the store refuses from now on, for who waits behind somebody who tries again.
    pub fn refusals(&self) -> Refusals {
        self.shared.health.refusals()
    }

    /// The same bucket, which reads server errors in another way.
    fn trusting(&self, trust: Trust) -> Self {
        Self { trust, ..self.clone() }
    }

    /// Removes what crashed writers left behind, where that is ours to do.
    async fn sweep(&self) -> Result<()> {
        match &self.store {
            Store::Local(local) => local.sweep_temporaries().await,
            Store::Wire(_) | Store::Memory(_) => Ok(()),
            #[cfg(any(test, feature = "testing"))]
            Store::Loose(_) => Ok(()),
        }
    }

    fn full_name(&self, name: &str) -> String {
        format!("{}{name}", self.shared.place)
    }

    fn writable(&self, name: &str) -> Result<&Policy> {
        self.shared.policy.as_ref().ok_or_else(|| {
            Error::new(Kind::Policy, "this operator may only read")
                .with("object", self.full_name(name))
        })
    }

    async fn write(
        &self,
        name: &str,
        body: Body,
        demand: Demand,
        attributes: &[(String, String)],
    ) -> Result<Put> {
        let next = self.shared.successor.read().clone();
        let next = next.map(|next| Self {
            trust: self.trust,
            #[cfg(any(test, feature = "testing"))]
            faults: self.faults.clone(),
            ..next
        });
        next.as_ref().unwrap_or(self).write_under_policy(name, body, demand, attributes).await
    }

    async fn write_under_policy(
        &self,
        name: &str,
        body: Body,
        demand: Demand,
        attributes: &[(String, String)],
    ) -> Result<Put> {
        name::check(name)?;
        let policy = self.writable(name)?;
        let size = body.len();
        if size as u64 > self.shared.row.single_put_max {
            return Err(Error::new(Kind::Invalid, "the object is too large for one request")
                .with("object", self.full_name(name))
                .with("bytes", size)
                .with("bytes-max", self.shared.row.single_put_max));
        }
        let put = self
            .request(Access::Write, size, async {
                match &self.store {
                    Store::Wire(wire) => {
                        wire.write(self.trust, name, body, &demand, attributes).await
                    }
                    Store::Local(local) => {
                        let tag = local.write(name, body, &demand).await?;
                        Ok(Put { tag, posture: self.posture_of_silence(policy) })
                    }
                    Store::Memory(memory) => {
                        let tag = memory.write(name, body, &demand, attributes)?;
                        Ok(Put { tag, posture: self.posture_of_silence(policy) })
                    }
                    #[cfg(any(test, feature = "testing"))]
                    Store::Loose(loose) => {
                        let tag = loose.write(name, body, attributes).await?;
                        Ok(Put { tag, posture: self.posture_of_silence(policy) })
                    }
                }
            })
            .await;
        if let (Err(error), Demand::Absence) = (&put, &demand)
            && error.kind() == Kind::Exists
        {
            self.prove_existing(name, policy).await?;
        }
        self.settle(name, policy, put?).await
    }

    async fn describe(&self, name: &str) -> Result<(ObjectMeta, Posture)> {
        name::check(name)?;
        let silent = || self.policy().map_or(Posture::Absent, |p| self.posture_of_silence(&p));
        self.request(Access::Describe, 0, async {
            match &self.store {
                Store::Wire(wire) => wire.head(self.trust, name).await,
                Store::Local(local) => Ok((local.head(name).await?, silent())),
                Store::Memory(memory) => Ok((memory.head(name)?, silent())),
                #[cfg(any(test, feature = "testing"))]
                Store::Loose(loose) => Ok((loose.head(name).await?, silent())),
            }
        })
        .await
    }

    /// Runs one request: counted where no witness counts, and through the faults of a test.
    async fn request<T>(
        &self,
        access: Access,
        bytes: usize,
        run: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        if !matches!(self.store, Store::Wire(_)) {
            self.shared.counters.request(access);
            self.shared.counters.sent(bytes);
        }
        #[cfg(any(test, feature = "testing"))]
        let outcome = match &self.faults {
            Some(faults) => faults.through(access, bytes, run).await,
            None => run.await,
        };
        #[cfg(not(any(test, feature = "testing")))]
        let outcome = run.await;
        self.shared.health.note(access, &outcome);
        outcome
    }

    async fn received(&self, bytes: usize) {
        if !matches!(self.store, Store::Wire(_)) {
            self.shared.counters.received(bytes);
        }
        #[cfg(any(test, feature = "testing"))]
        if let Some(faults) = &self.faults {
            faults.received(bytes).await;
        }
    }
}

/// Gives away what a store without a wire answers at once.
fn given((body, meta): (Body, ObjectMeta), take: &mut Take<'_>) -> ObjectMeta {
    body.into_pieces().into_iter().for_each(take);
    meta
}
