//! Objects behind OpenDAL: each operation as one call that the witness watches.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use futures::StreamExt;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use opendal::Buffer;
use opendal::BytesRange;
use opendal::Entry;
use opendal::ErrorKind;
use opendal::Lister;
use opendal::Metadata;
use opendal::Operator;
use opendal::Reader;
use opendal::options::ListOptions;
use opendal::options::ReaderOptions;
use opendal::options::WriteOptions;

use super::Take;
use super::answer::Demand;
use super::answer::ObjectMeta;
use super::answer::Posture;
use super::answer::Put;
use super::answer::Tag;
use super::answered::Lap;
use super::body::Body;
use super::explain::Doing;
use super::explain::explain;
use super::witness::Seen;
use super::witness::Trust;
use super::witness::watched;
use crate::ambient::Timestamp;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::provider::Provider;
use crate::provider::Service;

/// Single deletes under way at once, where a store has no batches.
const DELETES_AT_ONCE: usize = 8;

/// A bucket's objects below a prefix, at a store that OpenDAL reaches.
#[derive(Clone)]
pub(super) struct Wire {
    pub operator: Operator,
    /// `bucket/prefix/`: what a person needs to find an object.
    pub place: Arc<str>,
    /// Where the store answers; `None`: the service's own default.
    pub endpoint: Option<Arc<str>>,
    pub row: Arc<Provider>,
    /// The key that the policy names.
    pub kms_key: Option<Arc<str>>,
}

impl Wire {
    pub(super) async fn write(
        &self,
        trust: Trust,
        name: &str,
        body: Body,
        demand: &Demand,
        attributes: &[(String, String)],
    ) -> Result<Put> {
        let mut options = WriteOptions::default();
        match demand {
            Demand::Nothing => {}
            Demand::Absence => options.if_not_exists = true,
            Demand::Version(tag) if self.by_generation() => {
                options.if_version_match = Some(tag.0.clone());
            }
            Demand::Version(tag) => options.if_match = Some(tag.0.clone()),
        }
        if self.operator.info().capability().write_with_user_metadata && !attributes.is_empty() {
            options.user_metadata = Some(attributes.iter().cloned().collect::<HashMap<_, _>>());
        }
        // One buffer and no chunk size: OpenDAL then sends one PutObject, whatever the size.
        let call =
            self.operator.write_options(name, Buffer::from_iter(body.into_pieces()), options);
        let (result, seen) = watched(trust, call).await;
        let meta = result.map_err(|cause| self.failure("write", name, demand, &cause, &seen))?;
        let posture = seen.posture.unwrap_or(Posture::Unconfirmed);
        Ok(Put { tag: self.tag(&meta), posture })
    }

    pub(super) async fn get(
        &self,
        trust: Trust,
        name: &str,
        range: Option<Range<u64>>,
        unless: Option<&Tag>,
        take: &mut Take<'_>,
    ) -> Result<Option<ObjectMeta>> {
        let mut options = ReaderOptions::default();
        let unless = unless.map(|tag| tag.0.clone());
        if self.by_generation() {
            options.if_version_not_match = unless;
        } else {
            options.if_none_match = unless;
        }
        let bytes: BytesRange = range.clone().map_or_else(|| (..).into(), Into::into);
        let call = async {
            match self.operator.reader_options(name, options).await {
                Ok(reader) => (pass_on(&reader, bytes, take).await, reader.metadata().cloned()),
                Err(cause) => (Err(cause), None),
            }
        };
        let ((result, meta), seen) = watched(trust, call).await;
        let size = meta.as_ref().map(Metadata::content_length);
        let sent = match result {
            Ok(sent) => sent,
            Err(cause) if cause.kind() == ErrorKind::ConditionNotMatch => return Ok(None),
            // OpenDAL takes an answer that ends with the object for one that broke off.
            Err(_) if range.as_ref().is_some_and(|range| size.is_some_and(|s| s < range.end)) => {
                return Err(Error::new(Kind::Corrupt, "the object is shorter than it should be")
                    .with("object", self.object(name)));
            }
            Err(cause) => {
                return Err(self.failure("read", name, &Demand::Nothing, &cause, &seen));
            }
        };
        let meta = meta.ok_or_else(|| {
            Error::new(Kind::Internal, "the store's answer describes no object")
                .with("object", self.object(name))
        })?;
        let meta = self.describe(name, &meta);
        let wanted = range.map_or(meta.size, |range| range.end - range.start);
        if sent != wanted {
            return Err(Error::new(Kind::Corrupt, "the store sent another number of bytes")
                .with("object", self.object(name))
                .with("wanted", wanted)
                .with("sent", sent));
        }
        Ok(Some(meta))
    }

    pub(super) async fn head(&self, trust: Trust, name: &str) -> Result<(ObjectMeta, Posture)> {
        let (result, seen) = watched(trust, self.operator.stat(name)).await;
        match result {
            Ok(meta) => {
                let posture = seen.posture.unwrap_or(Posture::Unconfirmed);
                Ok((self.describe(name, &meta), posture))
            }
            Err(cause) => Err(self.failure("describe", name, &Demand::Nothing, &cause, &seen)),
        }
    }

    pub(super) async fn delete(&self, trust: Trust, names: &[String]) -> Result<()> {
        let failed = |name: &str, cause: &opendal::Error, seen: &Seen| {
            self.failure("delete", name, &Demand::Nothing, cause, seen)
        };
        if self.row.delete_batch <= 1 {
            // Owned names: the future is used where it must be `Send` for any lifetime.
            return futures::stream::iter(names.to_vec())
                .map(|name: String| async move {
                    let (result, seen) = watched(trust, self.operator.delete(&name)).await;
                    result.map_err(|cause| failed(&name, &cause, &seen))
                })
                .buffer_unordered(DELETES_AT_ONCE)
                .try_collect()
                .await;
        }
        for batch in names.chunks(self.row.delete_batch) {
            let call = self.operator.delete_iter(batch.iter().cloned());
            let (result, seen) = watched(trust, call).await;
            result.map_err(|cause| failed(&batch[0], &cause, &seen))?;
        }
        Ok(())
    }

    /// Everything below a prefix. A name that ends with `/` stands for a directory, or for an
    /// object whose size is not told.
    pub(super) fn list(
        &self,
        trust: Trust,
        prefix: &str,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let start = (self.clone(), prefix.to_owned(), None, Lap::default());
        futures::stream::try_unfold(start, move |(wire, prefix, lister, mut lap)| async move {
            let (result, seen) = watched(trust, next(&wire.operator, &prefix, lister)).await;
            let next = result
                .map_err(|cause| wire.failure("list", &prefix, &Demand::Nothing, &cause, &seen))?;
            let Some((entry, lister)) = next else { return Ok(None) };
            lap.pass(entry.path(), &prefix)?;
            let object = wire.describe(entry.path(), entry.metadata());
            Ok(Some((object, (wire, prefix, Some(lister), lap))))
        })
        .boxed()
    }

    pub(super) fn describe(&self, name: &str, meta: &Metadata) -> ObjectMeta {
        let attributes = meta.user_metadata().map(|attributes| {
            attributes
                .into_iter()
                .map(|(name, value): (&str, &str)| (name.to_owned(), value.to_owned()))
                .collect()
        });
        let mut attributes: Vec<_> = attributes.unwrap_or_default();
        attributes.sort();
        ObjectMeta {
            name: name.to_owned(),
            size: meta.content_length(),
            modified: meta.last_modified().map(timestamp),
            tag: self.tag(meta),
            attributes,
        }
    }

    fn tag(&self, meta: &Metadata) -> Option<Tag> {
        let tag = if self.by_generation() { meta.version() } else { meta.etag() };
        tag.map(|tag| Tag(tag.to_owned()))
    }

    /// Google's JSON API compares generations; all others compare `ETag`s.
    fn by_generation(&self) -> bool {
        self.row.service == Service::Gcs
    }

    fn object(&self, name: &str) -> String {
        format!("{}{name}", self.place)
    }

    pub(super) fn failure(
        &self,
        verb: &'static str,
        name: &str,
        demand: &Demand,
        cause: &opendal::Error,
        seen: &Seen,
    ) -> Error {
        let (object, conflicts) = (self.object(name), &self.row.conflict_statuses);
        let error = explain(Doing { verb, object: &object, demand, conflicts }, cause, seen);
        match &self.endpoint {
            Some(endpoint) if seen.status.is_none() => error.with("endpoint", endpoint),
            _ => match &self.kms_key {
                Some(key) if seen.is_of_the_key_service() => error.with("KMS key", key),
                _ => error,
            },
        }
    }
}

/// Gives away what a reader answers, piece by piece, and says how many bytes that were.
async fn pass_on(reader: &Reader, range: BytesRange, take: &mut Take<'_>) -> opendal::Result<u64> {
    let mut pieces = reader.clone().into_stream(range).await?;
    let mut bytes = 0;
    while let Some(buffer) = pieces.try_next().await? {
        bytes += buffer.len() as u64;
        Iterator::for_each(buffer, &mut *take);
    }
    Ok(bytes)
}

/// The next entry below a prefix, of a listing that the first call begins.
async fn next(
    operator: &Operator,
    prefix: &str,
    lister: Option<Lister>,
) -> opendal::Result<Option<(Entry, Lister)>> {
    let mut lister = match lister {
        Some(lister) => lister,
        None => {
            let options = ListOptions { recursive: true, ..ListOptions::default() };
            operator.lister_options(prefix, options).await?
        }
    };
    Ok(lister.try_next().await?.map(|entry| (entry, lister)))
}

fn timestamp(time: opendal::raw::Timestamp) -> Timestamp {
    let time = time.into_inner();
    let nanoseconds = time.subsec_nanosecond();
    // Stores tell times after 1970, of which the parts are positive.
    Timestamp {
        seconds: time.as_second(),
        nanoseconds: u32::try_from(nanoseconds).unwrap_or_default(),
    }
}
