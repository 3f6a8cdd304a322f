//! Versions: what a bucket keeps of an object besides its present bytes, and how an object is
//! written again under the policy without anybody noticing. Knows no block and no audit.

use futures::FutureExt;
use futures::StreamExt;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use http::header::CONTENT_LENGTH;
use opendal::Entry;
use opendal::Lister;
use opendal::options::DeleteOptions;
use opendal::options::ListOptions;
use opendal::options::StatOptions;

use super::Bucket;
use super::Store;
use super::answer::Demand;
use super::answer::Got;
use super::answer::ObjectMeta;
use super::answer::Posture;
use super::answer::Put;
use super::answered::Lap;
use super::counts::Access;
use super::document::Told;
use super::layers;
use super::name;
use super::wire::Wire;
use super::witness::Seen;
use super::witness::Trust;
use super::witness::watched;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::provider::Service;

/// What stores call the version of an object that was written without versioning.
pub const UNVERSIONED: &str = "null";

/// Sizes that are asked for at once.
const WEIGHED_AT_ONCE: usize = 16;

/// What a version is to its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// What a read returns.
    Current,
    /// Kept, but replaced or deleted.
    Superseded,
    /// That the object was deleted; it has no bytes.
    Marker,
}

/// One version of an object, as a listing tells it.
#[derive(Debug, Clone)]
pub struct Version {
    /// The object's description.
    pub meta: ObjectMeta,
    /// The version's id; `None` where the store keeps no versions.
    pub id: Option<String>,
    /// What it is to its object.
    pub standing: Standing,
}

/// What a HEAD tells of a version.
#[derive(Debug, Clone)]
pub struct Examined {
    /// The object's description.
    pub meta: ObjectMeta,
    /// The version's id, where the store tells one.
    pub version: Option<String>,
    /// What is known of its encryption.
    pub posture: Posture,
}

impl Bucket {
    fn has_versions(&self) -> bool {
        match &self.store {
            Store::Wire(wire) => wire.operator.info().capability().list_with_versions,
            Store::Local(_) | Store::Memory(_) => false,
            #[cfg(any(test, feature = "testing"))]
            Store::Loose(_) => false,
        }
    }

    /// Whether the store lists versions; if not, why. A store that ignores the question would list
    /// none at all, so the volume's header must be among them.
    pub async fn tells_versions(&self) -> Result<Told<()>> {
        if !self.has_versions() {
            return Ok(Told::No("the store keeps no versions that it tells of".to_owned()));
        }
        let mut listing = self.list_versions(name::HEADER);
        loop {
            match listing.try_next().await {
                Ok(Some(version)) if version.meta.name == name::HEADER => return Ok(Told::Yes(())),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(Told::No("the store does not list versions".to_owned())),
                Err(error) if error.kind() == Kind::Unavailable => return Err(error),
                Err(error) => return Ok(Told::of(Err(error))),
            }
        }
    }

    /// Lists everything below a prefix: all versions where the store was seen to tell them
    /// ([`Bucket::tells_versions`]), the present objects elsewhere. Names are anybody's: also such
    /// as nobody can be asked about, and such as end with `/` and have bytes all the same.
    pub fn list_all(
        &self,
        prefix: &str,
        versions: &Told<()>,
    ) -> BoxStream<'static, Result<Version>> {
        let current = |meta| Version { meta, id: None, standing: Standing::Current };
        let listing = match versions {
            Told::Yes(()) => self.list_versions(prefix),
            Told::No(_) | Told::Denied(_) => self.list_named(prefix).map_ok(current).boxed(),
        };
        let bucket = self.clone();
        listing
            .map(move |version| {
                let bucket = bucket.clone();
                async move { bucket.weighed(version?).await }.boxed()
            })
            .buffered(WEIGHED_AT_ONCE)
            .try_filter_map(|version| async move { Ok(version) })
            .boxed()
    }

    /// A version whose name ends with `/` with its size, which a listing does not tell; `None`:
    /// it has no bytes and stands for a directory.
    async fn weighed(&self, version: Version) -> Result<Option<Version>> {
        let name = &version.meta.name;
        let (true, Store::Wire(wire)) = (name.ends_with('/'), &self.store) else {
            return Ok(Some(version));
        };
        if wire.row.service != Service::S3 || version.standing == Standing::Marker {
            return Ok(None);
        }
        match wire.weigh(name, version.id.as_deref()).await {
            Ok(0) => Ok(None),
            Ok(size) => Ok(Some(Version { meta: ObjectMeta { size, ..version.meta }, ..version })),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) if error.kind() == Kind::Unavailable => Err(error),
            // Whoever asks about it is told why it cannot be described.
            Err(_) => Ok(Some(version)),
        }
    }

    fn list_versions(&self, prefix: &str) -> BoxStream<'static, Result<Version>> {
        match (&self.store, name::check_prefix(prefix)) {
            (Store::Wire(wire), Ok(())) => wire.list_versions(self.trust, prefix),
            (_, Err(error)) => futures::stream::iter([Err(error)]).boxed(),
            (_, Ok(())) => futures::stream::empty().boxed(),
        }
    }

    /// Describes a version of an object, or the object as it is, with its encryption. The name may
    /// be anybody's; [`Kind::Invalid`]: one that a request would turn into another.
    pub async fn examine(&self, name: &str, version: Option<&str>) -> Result<Examined> {
        match &self.store {
            Store::Wire(wire) => {
                self.request(Access::Describe, 0, wire.examine(self.trust, name, version)).await
            }
            _ => {
                let (meta, posture) = self.describe(name).await?;
                Ok(Examined { meta, version: None, posture })
            }
        }
    }

    /// Removes one version, or one delete marker, for good.
    pub async fn delete_version(&self, name: &str, version: &str) -> Result<()> {
        self.writable(name)?;
        match &self.store {
            Store::Wire(wire) => {
                let delete = wire.delete_version(self.trust, name, version);
                self.request(Access::Delete, 0, delete).await
            }
            _ => Err(Error::new(Kind::Unsupported, "the store keeps no versions")),
        }
    }

    /// Writes an object again as it was read, under the policy. Where the store compares versions
    /// it must still be the one that was read: [`Kind::Conflict`] or [`Kind::NotFound`] otherwise.
    pub async fn rewrite(&self, got: &Got) -> Result<Put> {
        let demand = match &got.meta.tag {
            Some(tag) if self.shared.row.conditional_update => Demand::Version(tag.clone()),
            _ => Demand::Nothing,
        };
        self.write(&got.meta.name, got.body.clone().into(), demand, &got.meta.attributes).await
    }
}

impl Wire {
    fn list_versions(&self, trust: Trust, prefix: &str) -> BoxStream<'static, Result<Version>> {
        let start = (self.clone(), prefix.to_owned(), None, Lap::default());
        futures::stream::try_unfold(start, move |(wire, prefix, lister, mut lap)| async move {
            let (result, seen) = watched(trust, wire.next_version(&prefix, lister)).await;
            let next = result.map_err(|cause| {
                let error = wire.versions_failure("list", &prefix, &cause, &seen);
                not_permitted_or_not_there(error, &seen)
            })?;
            let Some((entry, lister)) = next else { return Ok(None) };
            let id = entry.metadata().version().unwrap_or_default();
            lap.pass(&format!("{id} {}", entry.path()), &prefix)?;
            Ok(Some((wire.version(&entry), (wire, prefix, Some(lister), lap))))
        })
        .boxed()
    }

    async fn next_version(
        &self,
        prefix: &str,
        lister: Option<Lister>,
    ) -> opendal::Result<Option<(Entry, Lister)>> {
        let mut lister = match lister {
            Some(lister) => lister,
            None => {
                let options = ListOptions {
                    recursive: true,
                    versions: true,
                    deleted: true,
                    ..ListOptions::default()
                };
                self.operator.lister_options(prefix, options).await?
            }
        };
        Ok(lister.try_next().await?.map(|entry| (entry, lister)))
    }

    fn version(&self, entry: &Entry) -> Version {
        let meta = entry.metadata();
        let standing = match (meta.is_deleted(), meta.is_current()) {
            (true, _) => Standing::Marker,
            (false, Some(false)) => Standing::Superseded,
            (false, Some(true) | None) => Standing::Current,
        };
        let id = meta.version().map(str::to_owned);
        Version { meta: self.describe(entry.path(), meta), id, standing }
    }

    /// Bytes of an object, also where OpenDAL takes the name for a directory's.
    async fn weigh(&self, name: &str, version: Option<&str>) -> Result<u64> {
        self.askable(name)?;
        let options = StatOptions { version: version.map(str::to_owned), ..StatOptions::default() };
        // A measurement gets the headers.
        let exact = layers::exact(&self.operator);
        let (result, seen) = watched(Trust::Measure, exact.stat_options(name, options)).await;
        result.map_err(|cause| self.versions_failure("describe", name, &cause, &seen))?;
        let length = seen.headers.as_ref().and_then(|headers| headers.get(CONTENT_LENGTH));
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        length.ok_or_else(|| {
            Error::new(Kind::Internal, "the store does not tell its size").with("object", name)
        })
    }

    /// Whether a request for a name of anybody's is for that very name.
    fn askable(&self, name: &str) -> Result<()> {
        let of_prefix = name == "/" && self.operator.info().root() != "/";
        if of_prefix || name::is_exact(name) {
            return Ok(());
        }
        let sentence = "a request would turn its name into another, so that it cannot be described";
        Err(Error::new(Kind::Invalid, sentence).with("object", format!("{}{name}", self.place)))
    }

    async fn examine(&self, trust: Trust, name: &str, version: Option<&str>) -> Result<Examined> {
        self.askable(name)?;
        let options = StatOptions { version: version.map(str::to_owned), ..StatOptions::default() };
        let operator = match name.ends_with('/') {
            true => layers::exact(&self.operator),
            false => self.operator.clone(),
        };
        let (result, seen) = watched(trust, operator.stat_options(name, options)).await;
        let meta =
            result.map_err(|cause| self.versions_failure("describe", name, &cause, &seen))?;
        Ok(Examined {
            meta: self.describe(name, &meta),
            version: meta.version().map(str::to_owned),
            posture: seen.posture.unwrap_or(Posture::Unconfirmed),
        })
    }

    async fn delete_version(&self, trust: Trust, name: &str, version: &str) -> Result<()> {
        let options =
            DeleteOptions { version: Some(version.to_owned()), ..DeleteOptions::default() };
        let (result, seen) = watched(trust, self.operator.delete_options(name, options)).await;
        result.map_err(|cause| {
            self.versions_failure("delete", name, &cause, &seen).with("version", version)
        })
    }

    fn versions_failure(
        &self,
        verb: &'static str,
        name: &str,
        cause: &opendal::Error,
        seen: &Seen,
    ) -> Error {
        self.failure(verb, name, &Demand::Nothing, cause, seen)
    }
}

/// A store that has no such call may say so in the words of a bad request.
fn not_permitted_or_not_there(error: Error, seen: &Seen) -> Error {
    let without = matches!(
        seen.code.as_deref(),
        Some("InvalidArgument" | "InvalidRequest" | "MethodNotAllowed" | "NotImplemented")
    );
    match seen.status {
        Some(405) => Error::new(Kind::Unsupported, "the store does not list versions"),
        Some(400) if without => Error::new(Kind::Unsupported, "the store does not list versions"),
        _ => return error,
    }
    .because(error)
}
