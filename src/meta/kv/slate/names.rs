//! Under which names SlateDB's objects are stored. Where the store creates exclusively, under
//! their own. Where it cannot, SlateDB's numbered objects (log, manifests, compactions) go through
//! a tenure, which answers from its index what is there, without a request.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::object::Bucket;
use crate::object::ObjectMeta;
use crate::object::Tag;
use crate::object::name;
use crate::object::name::ENGINE_PREFIX;
use crate::object::name::Sequence;
use crate::object::tenure::Element;
use crate::object::tenure::Follower;
use crate::object::tenure::Tenure;

/// SlateDB keeps here how far it has collected manifests, where the store compares versions. The
/// index knows that better: no number is given out twice.
const BOUNDARIES: &str = "gc/";

/// How names are found.
#[derive(Clone)]
pub(super) enum Names {
    /// As SlateDB has them.
    Plain,
    /// By a claim that has begun.
    Owned(Arc<Tenure>),
    /// By what counts, for a reader.
    Followed(Arc<Follower>),
}

/// Where an object is.
pub(super) enum Place {
    /// Under this name, if anywhere.
    At(String),
    /// There, as described under its stored name.
    Known(ObjectMeta),
    /// Nowhere.
    Nowhere,
}

impl Names {
    /// Where the object is that SlateDB calls `name`.
    pub(super) async fn place(&self, name: &str) -> Result<Place> {
        let (numbered, boundary) = (name::parse_numbered(name), is_boundary(name));
        let found = match (self, numbered) {
            (Self::Plain, _) => return Ok(Place::At(name.to_owned())),
            _ if boundary => return Ok(Place::Nowhere),
            (_, None) => return Ok(Place::At(name.to_owned())),
            (Self::Owned(tenure), Some((sequence, number))) => tenure.find(sequence, number),
            (Self::Followed(follower), Some((sequence, number))) => {
                let known = follower.find(sequence, number);
                // A reader asks for the next manifest to see whether there is anything new.
                if known.is_none() && sequence == Sequence::Manifest {
                    follower.refresh().await?;
                    follower.find(sequence, number)
                } else {
                    known
                }
            }
        };
        Ok(found.map_or(Place::Nowhere, |(name, element)| Place::Known(meta(name, element))))
    }

    /// Creates an object exclusively.
    pub(super) async fn create(
        &self,
        bucket: &Bucket,
        name: &str,
        body: Bytes,
        attributes: &[(String, String)],
    ) -> Result<Option<Tag>> {
        match (self, name::parse_numbered(name)) {
            (Self::Plain, _) => bucket.create(name, body, attributes).await.map(|put| put.tag),
            (Self::Owned(tenure), Some((sequence, number))) => {
                tenure.create(sequence, number, body).await.map(|()| None)
            }
            (Self::Owned(_) | Self::Followed(_), _) => {
                Err(Error::new(Kind::Internal, "nobody owns an object that is to be created")
                    .with("object", name))
            }
        }
    }

    /// Deletes an object.
    pub(super) async fn delete(&self, bucket: &Bucket, name: &str) -> Result<()> {
        match (self, name::parse_numbered(name)) {
            (Self::Owned(tenure), Some((sequence, number))) => {
                tenure.delete(sequence, number).await
            }
            (Self::Owned(tenure), None) => {
                tenure.confirm().await?;
                bucket.delete(&[name.to_owned()]).await
            }
            (Self::Plain | Self::Followed(_), _) => bucket.delete(&[name.to_owned()]).await,
        }
    }

    /// The objects below `prefix`, if they need not be listed.
    pub(super) async fn list(&self, prefix: &str) -> Result<Option<Vec<ObjectMeta>>> {
        let sequence = Sequence::ALL.into_iter().find(|sequence| sequence.prefix() == prefix);
        let Some(sequence) = sequence else { return Ok(None) };
        let all = match self {
            Self::Plain => return Ok(None),
            Self::Owned(tenure) => tenure.all(sequence),
            Self::Followed(follower) => {
                follower.refresh().await?;
                follower.all(sequence)
            }
        };
        let listed = all
            .into_iter()
            .map(|(number, element)| meta(name::numbered(sequence, number), element));
        Ok(Some(listed.collect()))
    }

    /// The name under which the object of that number is stored.
    pub(super) fn stored(&self, sequence: Sequence, number: u64) -> String {
        let found = match self {
            Self::Plain => None,
            Self::Owned(tenure) => tenure.find(sequence, number),
            Self::Followed(follower) => follower.find(sequence, number),
        };
        found.map_or_else(|| name::numbered(sequence, number), |(name, _)| name)
    }

    /// The sequence and number of what is stored under this name, if it counts.
    pub(super) fn number_of(&self, name: &str) -> Option<(Sequence, u64)> {
        let (sequence, number) = match self {
            Self::Plain => name::parse_numbered(name)?,
            Self::Owned(_) | Self::Followed(_) => {
                name::parse_claimed(name).map(|(sequence, number, _)| (sequence, number))?
            }
        };
        (self.stored(sequence, number) == name).then_some((sequence, number))
    }

    /// The numbers of a sequence that the bucket has now.
    pub(super) async fn present(
        &self,
        bucket: &Bucket,
        sequence: Sequence,
    ) -> Result<BTreeSet<u64>> {
        if let Self::Followed(follower) = self {
            follower.refresh().await?;
        }
        let mut present = BTreeSet::new();
        let mut objects = bucket.list(sequence.prefix());
        while let Some(object) = objects.try_next().await? {
            let number = self.number_of(&object.name).filter(|(its, _)| *its == sequence);
            present.extend(number.map(|(_, number)| number));
        }
        Ok(present)
    }
}

fn is_boundary(name: &str) -> bool {
    name.strip_prefix(ENGINE_PREFIX).is_some_and(|rest| rest.starts_with(BOUNDARIES))
}

fn meta(name: String, element: Element) -> ObjectMeta {
    let Element { size, modified, .. } = element;
    ObjectMeta { name, size, modified, tag: None, attributes: Vec::new() }
}
