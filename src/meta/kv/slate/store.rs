//! SlateDB's object store: its requests, put to the volume's [`Bucket`]. One PUT per object, so
//! that each carries its encryption and shows its proof. Knows nothing of what the objects hold.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::StreamExt;
use futures::TryStreamExt;
use futures::stream;
use futures::stream::BoxStream;
use object_store::Attribute;
use object_store::Attributes;
use object_store::CopyOptions;
use object_store::Extensions;
use object_store::GetOptions;
use object_store::GetRange;
use object_store::GetResult;
use object_store::GetResultPayload;
use object_store::ListResult;
use object_store::MultipartUpload;
use object_store::ObjectMeta as StoreMeta;
use object_store::ObjectStore;
use object_store::PutMode;
use object_store::PutMultipartOptions;
use object_store::PutOptions;
use object_store::PutPayload;
use object_store::PutResult;
use object_store::UploadPart;
use object_store::path::Path;
use tokio::runtime::Handle;

use super::fault::STORE;
use super::fault::Verdict;
use super::log::Created;
use super::names::Names;
use super::names::Place;
use crate::ambient::Timestamp;
use crate::ambient::system_time;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::object::Bucket;
use crate::object::ObjectMeta;
use crate::object::Tag;

type StoreResult<T> = object_store::Result<T>;

/// A bucket, as SlateDB wants to see it.
#[derive(Clone)]
pub(super) struct Store {
    bucket: Bucket,
    names: Names,
    created: Arc<Created>,
    verdict: Arc<Verdict>,
    /// Where requests run. The compactor computes on a thread of its own; a connection that its
    /// thread drove would stall whoever shares it.
    runtime: Handle,
}

impl Store {
    /// Must be called on the runtime that shall carry the requests.
    pub(super) fn new(bucket: Bucket, names: Names, verdict: Arc<Verdict>) -> Self {
        let (created, runtime) = (Arc::default(), Handle::current());
        Self { bucket, names, created, verdict, runtime }
    }

    pub(super) fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    pub(super) fn created(&self) -> &Created {
        &self.created
    }

    async fn run<T: Send + 'static>(
        &self,
        location: &Path,
        request: impl Future<Output = Result<T>> + Send + 'static,
    ) -> StoreResult<T> {
        let answer = if Handle::current().id() == self.runtime.id() {
            request.await
        } else {
            self.runtime.spawn(request).await.unwrap_or_else(|cause| {
                Err(Error::new(Kind::Unavailable, "a request was dropped").because(cause))
            })
        };
        answer.map_err(|error| self.verdict.of(location.as_ref(), error))
    }

    async fn put(
        &self,
        location: &Path,
        body: Bytes,
        options: PutOptions,
    ) -> StoreResult<Option<Tag>> {
        self.verdict.admit_write()?;
        let (bucket, name) = (self.bucket.clone(), location.to_string());
        let attributes = user_metadata(&options.attributes);
        let (names, created) = (self.names.clone(), self.created.clone());
        self.run(location, async move {
            match options.mode {
                PutMode::Overwrite => bucket.put(&name, body).await.map(|put| put.tag),
                PutMode::Create => {
                    let tag = names.create(&bucket, &name, body, &attributes).await?;
                    created.note(&name);
                    Ok(tag)
                }
                PutMode::Update(version) => match version.e_tag.or(version.version) {
                    Some(tag) => {
                        let put = bucket.update(&name, body, &Tag(tag), &attributes).await;
                        put.map(|put| put.tag)
                    }
                    None => Err(Error::new(Kind::Invalid, "an update names no version")
                        .with("object", &name)),
                },
            }
        })
        .await
    }

    async fn head(&self, location: &Path) -> StoreResult<ObjectMeta> {
        let (bucket, names, name) = (self.bucket.clone(), self.names.clone(), location.to_string());
        self.run(location, async move {
            match names.place(&name).await? {
                Place::At(name) => bucket.head(&name).await,
                Place::Known(meta) => Ok(meta),
                Place::Nowhere => Err(nowhere(&name)),
            }
        })
        .await
    }

    /// The bytes asked for, inside the object. SlateDB asks for bounded ranges only, and knows the
    /// size before it asks; the other forms cost a HEAD.
    async fn range(&self, location: &Path, range: GetRange) -> StoreResult<Range<u64>> {
        match range {
            GetRange::Bounded(range) => Ok(range),
            GetRange::Offset(start) => Ok(start..self.head(location).await?.size),
            GetRange::Suffix(length) => {
                let size = self.head(location).await?.size;
                Ok(size.saturating_sub(length)..size)
            }
        }
    }

    async fn read(&self, location: &Path, options: &GetOptions) -> StoreResult<GetResult> {
        let range = match options.range.clone() {
            Some(range) => Some(self.range(location, range).await?),
            None => None,
        };
        let start = range.as_ref().map_or(0, |range| range.start);
        let (bucket, names, name) = (self.bucket.clone(), self.names.clone(), location.to_string());
        let unless = options.if_none_match.clone().map(Tag);
        let request = async move {
            match names.place(&name).await? {
                Place::At(name) => bucket.get(&name, range, unless.as_ref()).await,
                Place::Known(meta) => bucket.get(&meta.name, range, unless.as_ref()).await,
                Place::Nowhere => Err(nowhere(&name)),
            }
        };
        let Some(got) = self.run(location, request).await? else {
            let source = "it is the version that is known".into();
            return Err(object_store::Error::NotModified { path: location.to_string(), source });
        };
        let range = start..start + got.body.len() as u64;
        Ok(result(location.clone(), got.meta, range, got.body))
    }
}

#[async_trait]
impl ObjectStore for Store {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> StoreResult<PutResult> {
        self.put(location, payload.into(), options).await.map(put_result)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        let (store, location) = (self.clone(), location.clone());
        Ok(Box::new(Upload { store, location, parts: Vec::new() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        let got = if options.head {
            let meta = self.head(location).await?;
            let range = 0..meta.size;
            result(location.clone(), meta, range, Bytes::new())
        } else {
            self.read(location, &options).await?
        };
        options.check_preconditions(&got.meta)?;
        Ok(got)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, StoreResult<Path>>,
    ) -> BoxStream<'static, StoreResult<Path>> {
        let store = self.clone();
        locations
            .and_then(move |location| {
                let store = store.clone();
                async move {
                    let (bucket, names) = (store.bucket.clone(), store.names.clone());
                    let name = location.to_string();
                    store.run(&location, async move { names.delete(&bucket, &name).await }).await?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<StoreMeta>> {
        let store = self.clone();
        let prefix = prefix.cloned().unwrap_or_default();
        let listing = async move {
            let (bucket, mut below) = (store.bucket.clone(), prefix.to_string());
            if !below.is_empty() {
                below.push('/');
            }
            let names = store.names.clone();
            let request = async move {
                match names.list(&below).await? {
                    Some(known) => Ok(known),
                    None => bucket.list(&below).try_collect::<Vec<_>>().await,
                }
            };
            let found = store.run(&prefix, request).await?;
            StoreResult::Ok(stream::iter(found).map(listed))
        };
        listing.into_stream().try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, _prefix: Option<&Path>) -> StoreResult<ListResult> {
        Err(unused("list_with_delimiter"))
    }

    async fn copy_opts(&self, _from: &Path, _to: &Path, _options: CopyOptions) -> StoreResult<()> {
        Err(unused("copy_opts"))
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STORE)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STORE)
    }
}

/// Parts that wait in memory to be written as one object: an SST, 32 MiB at most.
#[derive(Debug)]
struct Upload {
    store: Store,
    location: Path,
    parts: Vec<Bytes>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.extend(data);
        async { Ok(()) }.boxed()
    }

    async fn complete(&mut self) -> StoreResult<PutResult> {
        // The parts stay until they are stored: SlateDB may complete again after an error.
        let body = PutPayload::from_iter(self.parts.iter().cloned()).into();
        let tag = self.store.put(&self.location, body, PutOptions::default()).await?;
        self.parts.clear();
        Ok(put_result(tag))
    }

    async fn abort(&mut self) -> StoreResult<()> {
        self.parts.clear();
        Ok(())
    }
}

fn user_metadata(attributes: &Attributes) -> Vec<(String, String)> {
    let pairs = attributes.iter().filter_map(|(key, value)| match key {
        Attribute::Metadata(key) => Some((key.to_string(), value.to_string())),
        _ => None,
    });
    pairs.collect()
}

fn put_result(tag: Option<Tag>) -> PutResult {
    let e_tag = tag.map(|tag| tag.0);
    PutResult { e_tag, version: None, extensions: Extensions::new() }
}

fn result(location: Path, meta: ObjectMeta, range: Range<u64>, body: Bytes) -> GetResult {
    let pairs = meta.attributes.iter().cloned();
    let attributes =
        pairs.map(|(key, value)| (Attribute::Metadata(key.into()), value)).collect::<Attributes>();
    GetResult {
        payload: GetResultPayload::Stream(stream::once(async move { Ok(body) }).boxed()),
        meta: store_meta(location, meta),
        range,
        attributes,
        extensions: Extensions::new(),
    }
}

fn listed(meta: ObjectMeta) -> StoreResult<StoreMeta> {
    Ok(store_meta(Path::parse(&meta.name)?, meta))
}

/// An unknown age is no age: the garbage collector leaves the object alone.
fn store_meta(location: Path, meta: ObjectMeta) -> StoreMeta {
    let modified = meta.modified.map_or_else(system_time, wall_clock);
    StoreMeta {
        location,
        last_modified: modified.into(),
        size: meta.size,
        e_tag: meta.tag.map(|tag| tag.0),
        version: None,
    }
}

fn wall_clock(at: Timestamp) -> SystemTime {
    let since = Duration::new(at.seconds.unsigned_abs(), 0);
    let seconds = match at.seconds {
        0.. => SystemTime::UNIX_EPOCH.checked_add(since),
        _ => SystemTime::UNIX_EPOCH.checked_sub(since),
    };
    seconds.unwrap_or(SystemTime::UNIX_EPOCH) + Duration::from_nanos(at.nanoseconds.into())
}

fn nowhere(name: &str) -> Error {
    Error::new(Kind::NotFound, "no such object").with("object", name)
}

fn unused(operation: &str) -> object_store::Error {
    object_store::Error::NotImplemented {
        operation: operation.to_owned(),
        implementer: STORE.to_owned(),
    }
}
