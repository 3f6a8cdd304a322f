//! Versions: what a bucket keeps of an object besides its present bytes, and how an object is
//! written again under the policy without anybody noticing. Knows no block and no audit.

use futures::StreamExt;
use futures::TryStreamExt;
use futures::stream::BoxStream;
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
use super::counts::Access;
use super::document::Told;
use super::name;
use super::wire::Wire;
use super::witness::Seen;
use super::witness::Trust;
use super::witness::watched;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// What stores call the version of an object that was written without versioning.
pub const UNVERSIONED: &str = "null";

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
                Err(error) => return Ok(Told::No(error.to_string())),
            }
        }
    }

    /// Lists everything below a prefix: all versions where the store was seen to tell them
    /// ([`Bucket::tells_versions`]), the present objects elsewhere.
    pub fn list_all(
        &self,
        prefix: &str,
        versions: &Told<()>,
    ) -> BoxStream<'static, Result<Version>> {
        let current = |meta| Version { meta, id: None, standing: Standing::Current };
        match versions {
            Told::Yes(()) => self.list_versions(prefix),
            Told::No(_) => self.list(prefix).map_ok(current).boxed(),
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
    /// be anybody's.
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
        let start = (self.clone(), prefix.to_owned(), None);
        futures::stream::try_unfold(start, move |(wire, prefix, lister)| async move {
            let (result, seen) = watched(trust, wire.next_version(&prefix, lister)).await;
            let next =
                result.map_err(|cause| wire.versions_failure("list", &prefix, &cause, &seen))?;
            Ok(next.map(|(entry, lister)| (wire.version(&entry), (wire, prefix, Some(lister)))))
        })
        .try_filter_map(|version| async move { Ok(version) })
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

    /// An entry as a version; `None` for what stands for a directory.
    fn version(&self, entry: &Entry) -> Option<Version> {
        let meta = entry.metadata();
        if !meta.is_file() || entry.path().ends_with('/') {
            return None;
        }
        let standing = match (meta.is_deleted(), meta.is_current()) {
            (true, _) => Standing::Marker,
            (false, Some(false)) => Standing::Superseded,
            (false, Some(true) | None) => Standing::Current,
        };
        let id = meta.version().map(str::to_owned);
        Some(Version { meta: self.describe(entry.path(), meta), id, standing })
    }

    async fn examine(&self, trust: Trust, name: &str, version: Option<&str>) -> Result<Examined> {
        let options = StatOptions { version: version.map(str::to_owned), ..StatOptions::default() };
        let (result, seen) = watched(trust, self.operator.stat_options(name, options)).await;
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
