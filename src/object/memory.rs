//! The `memory` provider: objects in this process, with tags, times and attributes.
//! Contents live as long as a handle does, so that a test can restart a volume over them.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::OnceLock;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use parking_lot::Mutex;

use super::answer::Demand;
use super::answer::ObjectMeta;
use super::answer::Tag;
use super::body::Body;
use crate::ambient::Ambient;
use crate::ambient::Timestamp;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// Objects in memory. Clones share them.
#[derive(Clone)]
pub struct MemoryStore(Arc<Shelf>);

struct Shelf {
    ambient: Ambient,
    objects: Mutex<Objects>,
}

#[derive(Default)]
struct Objects {
    writes: u64,
    by_name: BTreeMap<String, Object>,
}

#[derive(Clone)]
struct Object {
    body: Bytes,
    tag: Tag,
    modified: Timestamp,
    attributes: Vec<(String, String)>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(Ambient::system())
    }
}

impl MemoryStore {
    /// Another store with the same objects.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn copy(&self) -> Self {
        let objects = self.0.objects.lock();
        let (writes, by_name) = (objects.writes, objects.by_name.clone());
        let objects = Mutex::new(Objects { writes, by_name });
        Self(Arc::new(Shelf { ambient: self.0.ambient.clone(), objects }))
    }

    /// An empty store that takes its times from `ambient`.
    pub fn new(ambient: Ambient) -> Self {
        Self(Arc::new(Shelf { ambient, objects: Mutex::default() }))
    }

    /// The store of a volume, the same for all who open it in this process.
    pub(super) fn of_volume(volume: &str) -> Self {
        static VOLUMES: OnceLock<Mutex<HashMap<String, MemoryStore>>> = OnceLock::new();
        let mut volumes = VOLUMES.get_or_init(Mutex::default).lock();
        volumes.entry(volume.to_owned()).or_default().clone()
    }

    pub(super) fn write(
        &self,
        name: &str,
        body: Body,
        demand: &Demand,
        attributes: &[(String, String)],
    ) -> Result<Option<Tag>> {
        let mut objects = self.0.objects.lock();
        let there = objects.by_name.get(name).map(|object| &object.tag);
        match demand {
            Demand::Absence if there.is_some() => {
                return Err(
                    Error::new(Kind::Exists, "the object exists already").with("object", name)
                );
            }
            Demand::Version(tag) if there != Some(tag) => {
                return Err(Error::new(Kind::Conflict, "the object is another version by now")
                    .with("object", name));
            }
            _ => {}
        }
        objects.writes += 1;
        let object = Object {
            // A copy: the store must not keep a larger buffer alive that the body is a part of.
            body: body.pieces().concat().into(),
            tag: Tag(objects.writes.to_string()),
            modified: self.0.ambient.now(),
            attributes: attributes.to_vec(),
        };
        let tag = object.tag.clone();
        objects.by_name.insert(name.to_owned(), object);
        Ok(Some(tag))
    }

    pub(super) fn get(
        &self,
        name: &str,
        range: Option<Range<u64>>,
        unless: Option<&Tag>,
    ) -> Result<Option<(Body, ObjectMeta)>> {
        let object = self.object(name)?;
        if unless == Some(&object.tag) {
            return Ok(None);
        }
        let meta = object.describe(name);
        let range = range.unwrap_or(0..meta.size);
        let fault = |_| short(name);
        let start = usize::try_from(range.start).map_err(fault)?;
        let end = usize::try_from(range.end).map_err(fault)?;
        if start > end || end > object.body.len() {
            return Err(short(name));
        }
        Ok(Some((object.body.slice(start..end).into(), meta)))
    }

    pub(super) fn head(&self, name: &str) -> Result<ObjectMeta> {
        Ok(self.object(name)?.describe(name))
    }

    pub(super) fn delete(&self, names: &[String]) {
        let mut objects = self.0.objects.lock();
        for name in names {
            objects.by_name.remove(name);
        }
    }

    pub(super) fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectMeta>> {
        let objects = self.0.objects.lock();
        let listed: Vec<_> = objects
            .by_name
            .range(prefix.to_owned()..)
            .take_while(|(name, _)| name.starts_with(prefix))
            .map(|(name, object)| {
                Ok(ObjectMeta { attributes: Vec::new(), ..object.describe(name) })
            })
            .collect();
        futures::stream::iter(listed).boxed()
    }

    fn object(&self, name: &str) -> Result<Object> {
        let objects = self.0.objects.lock();
        let object = objects.by_name.get(name).cloned();
        object.ok_or_else(|| Error::new(Kind::NotFound, "no such object").with("object", name))
    }
}

impl Object {
    fn describe(&self, name: &str) -> ObjectMeta {
        ObjectMeta {
            name: name.to_owned(),
            size: self.body.len() as u64,
            modified: Some(self.modified),
            tag: Some(self.tag.clone()),
            attributes: self.attributes.clone(),
        }
    }
}

fn short(name: &str) -> Error {
    Error::new(Kind::Corrupt, "the object is shorter than it should be").with("object", name)
}
