//! The dirty bytes of one content: an interval map. Pure. Knows no layer and no budget.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::dirty::Claim;
use crate::types::FileRange;
use crate::types::Ino;
use crate::types::WriteSeq;

/// Small writes that follow each other are joined up to this many bytes.
const JOIN_BYTES_MAX: usize = 128 * 1024;

/// Bytes that lie together, of one write or of several that followed each other.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) data: Bytes,
    pub(super) seq: WriteSeq,
    pub(super) claim: Option<Claim>,
}

impl Segment {
    pub(super) fn part(&self, from: u64, to: u64) -> Self {
        let index = |offset| usize::try_from(offset).expect("a segment is in memory");
        Self { data: self.data.slice(index(from)..index(to)), ..*self }
    }
}

/// Segments of a content by their first offset; none overlaps another.
#[derive(Debug)]
pub(super) struct Segments {
    pub(super) ino: Ino,
    pub(super) map: BTreeMap<u64, Segment>,
}

/// Appends to the segment that ends at `offset`, if it is small and nobody else looks at it.
pub(super) fn join(
    map: &mut BTreeMap<u64, Segment>,
    offset: u64,
    data: Bytes,
    seq: WriteSeq,
) -> Result<(), Bytes> {
    let Some((&at, last)) = map.range_mut(..offset).next_back() else { return Err(data) };
    let adjoins = at + last.data.len() as u64 == offset;
    if !adjoins || last.claim.is_some() || last.data.len() + data.len() > JOIN_BYTES_MAX {
        return Err(data);
    }
    match std::mem::take(&mut last.data).try_into_mut() {
        Ok(mut joined) => {
            joined.extend_from_slice(&data);
            last.data = joined.freeze();
            last.seq = seq;
            Ok(())
        }
        Err(shared) => {
            last.data = shared;
            Err(data)
        }
    }
}

pub(super) fn split_at(map: &mut BTreeMap<u64, Segment>, offset: u64) {
    let Some((&at, segment)) = map.range(..offset).next_back() else { return };
    let end = at + segment.data.len() as u64;
    if end > offset {
        let (head, tail) = (segment.part(0, offset - at), segment.part(offset - at, end - at));
        map.insert(at, head);
        map.insert(offset, tail);
    }
}

pub(super) fn from_first_overlap<'a>(
    map: &'a BTreeMap<u64, Segment>,
    range: &FileRange,
) -> impl Iterator<Item = (&'a u64, &'a Segment)> + use<'a> {
    let before = map
        .range(..range.start)
        .next_back()
        .filter(|(at, segment)| *at + segment.data.len() as u64 > range.start);
    let from = before.map_or(range.start, |(at, _)| *at);
    map.range(from..range.end.max(from))
}

pub(super) fn overlapping(segments: Option<&Segments>, range: &FileRange) -> Vec<(u64, Bytes)> {
    let Some(segments) = segments else { return Vec::new() };
    from_first_overlap(&segments.map, range)
        .map(|(&at, segment)| {
            let end = (at + segment.data.len() as u64).min(range.end);
            let start = at.max(range.start);
            (start, segment.part(start - at, end - at).data)
        })
        .collect()
}

pub(super) fn take_overlapping(
    map: &mut BTreeMap<u64, Segment>,
    range: &FileRange,
) -> Vec<(u64, Segment)> {
    let keys: Vec<_> = from_first_overlap(map, range).map(|(&at, _)| at).collect();
    keys.into_iter().filter_map(|at| Some((at, map.remove(&at)?))).collect()
}
