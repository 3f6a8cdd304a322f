//! Bytes that were written and are not stored yet: an interval map per content, in two layers like
//! the metadata's (`live`, and `frozen` for the epoch on its way). Pure: no lock, no I/O.
//!
//! A **claim** marks bytes that an upload has taken. They stay readable here until the upload's
//! extents are registered; what was overwritten meanwhile has lost its claim, and registration
//! sees only what is left. The upload holds the others (**orphans**) in memory until it ends, so
//! only then they are given back.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::HashSet;

use bytes::Bytes;

use super::segments::Segment;
use super::segments::Segments;
use super::segments::from_first_overlap;
use super::segments::join;
use super::segments::overlapping;
use super::segments::split_at;
use super::segments::take_overlapping;
use crate::meta::kv::View;
use crate::meta::value::Cut;
use crate::types::ContentId;
use crate::types::FileRange;
use crate::types::Ino;
use crate::types::WriteSeq;

/// Names one upload's hold on dirty bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim(u64);

type Layer = HashMap<ContentId, Segments>;

/// Consecutive dirty bytes of one content that an upload takes.
#[derive(Debug, Clone)]
pub struct Run {
    /// The inode.
    pub ino: Ino,
    /// The content.
    pub content: ContentId,
    /// Offset of the first byte in the file.
    pub offset: u64,
    /// The bytes, in pieces.
    pub pieces: Vec<Bytes>,
    /// The newest write among them.
    pub seq: WriteSeq,
}

impl Run {
    /// Bytes of the run.
    pub fn len(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len() as u64).sum()
    }

    /// The offset after the last byte.
    pub fn end(&self) -> u64 {
        self.offset + self.len()
    }
}

/// All dirty bytes of a volume.
#[derive(Debug)]
pub struct Dirty {
    live: Layer,
    frozen: Layer,
    live_bytes: u64,
    frozen_bytes: u64,
    unclaimed_bytes: u64,
    live_segments: usize,
    next_claim: u64,
    outstanding: BTreeSet<Claim>,
    /// No content from this one on existed when the last epoch was frozen.
    young: ContentId,
    /// Young contents that an upload has taken bytes of.
    taken: HashSet<ContentId>,
    /// Claims on frozen bytes: those made before the freeze, and the epoch's own.
    frozen_claims: BTreeSet<Claim>,
    /// Bytes that were overwritten or cut after an upload took them.
    orphans: HashMap<Claim, u64>,
}

impl Dirty {
    /// Nothing is dirty yet; `young` is the first content that will be given out.
    pub fn new(young: ContentId) -> Self {
        Self {
            live: Layer::new(),
            frozen: Layer::new(),
            live_bytes: 0,
            frozen_bytes: 0,
            unclaimed_bytes: 0,
            live_segments: 0,
            next_claim: 0,
            outstanding: BTreeSet::new(),
            young,
            taken: HashSet::new(),
            frozen_claims: BTreeSet::new(),
            orphans: HashMap::new(),
        }
    }

    /// Whether nothing of a content was ever frozen or taken, so that no extent of it can exist.
    pub fn is_untouched(&self, content: ContentId) -> bool {
        content >= self.young && !self.taken.contains(&content)
    }

    /// Bytes in both layers.
    pub fn bytes(&self) -> u64 {
        self.live_bytes + self.frozen_bytes
    }

    /// Bytes of the live layer that no upload has taken.
    pub fn unclaimed_bytes(&self) -> u64 {
        self.unclaimed_bytes
    }

    /// Pieces that the live layer's bytes are in.
    pub fn live_segments(&self) -> usize {
        self.live_segments
    }

    /// Whether nothing was written since the last freeze.
    pub fn live_is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Dirty bytes of one content in both layers, as far as cuts do not hide them; about.
    pub fn bytes_of(&self, content: ContentId) -> u64 {
        [&self.live, &self.frozen]
            .into_iter()
            .filter_map(|layer| layer.get(&content))
            .flat_map(|segments| segments.map.values())
            .map(|segment| segment.data.len() as u64)
            .sum()
    }

    /// The first dirty offset at or after `from` in either layer.
    pub fn next_offset(&self, content: ContentId, from: u64) -> Option<u64> {
        [&self.live, &self.frozen]
            .into_iter()
            .filter_map(|layer| layer.get(&content))
            .filter_map(|segments| {
                let first = from_first_overlap(&segments.map, &(from..u64::MAX)).next()?;
                Some(from.max(*first.0))
            })
            .min()
    }

    /// Puts bytes over whatever was there. Returns how many dirty bytes that replaced that nothing
    /// holds any more.
    pub fn write(
        &mut self,
        ino: Ino,
        content: ContentId,
        offset: u64,
        data: Bytes,
        seq: WriteSeq,
    ) -> u64 {
        let length = data.len() as u64;
        let freed = self.remove(content, offset..offset + length);
        self.live_bytes += length;
        self.unclaimed_bytes += length;
        let segments =
            self.live.entry(content).or_insert_with(|| Segments { ino, map: BTreeMap::new() });
        segments.ino = ino;
        if let Err(data) = join(&mut segments.map, offset, data, seq) {
            segments.map.insert(offset, Segment { data, seq, claim: None });
            self.live_segments += 1;
        }
        freed
    }

    /// Forgets live bytes of a range: it was cut, or is overwritten. Returns how many nothing holds
    /// any more; those that an upload has taken come back when it ends.
    pub fn remove(&mut self, content: ContentId, range: FileRange) -> u64 {
        let Some(segments) = self.live.get_mut(&content) else { return 0 };
        let (mut removed, mut freed) = (0, 0);
        let before = segments.map.len();
        for (at, segment) in take_overlapping(&mut segments.map, &range) {
            let end = at + segment.data.len() as u64;
            let (from, to) = (at.max(range.start), end.min(range.end));
            removed += to - from;
            match segment.claim {
                None => freed += to - from,
                Some(claim) => *self.orphans.entry(claim).or_default() += to - from,
            }
            if at < from {
                segments.map.insert(at, segment.part(0, from - at));
            }
            if to < end {
                segments.map.insert(to, segment.part(to - at, end - at));
            }
        }
        self.live_segments = self.live_segments + segments.map.len() - before;
        if segments.map.is_empty() {
            self.live.remove(&content);
        }
        self.live_bytes -= removed;
        self.unclaimed_bytes -= freed;
        freed
    }

    /// What is dirty of a range: pieces in order that do not overlap. Frozen bytes that a later
    /// cut hides are left out.
    pub fn read(&self, content: ContentId, range: &FileRange, cuts: &[Cut]) -> Vec<(u64, Bytes)> {
        let mut pieces = Vec::new();
        let mut at = range.start;
        let live: Vec<_> = overlapping(self.live.get(&content), range);
        for (start, bytes) in &live {
            self.read_frozen(content, at..*start, cuts, &mut pieces);
            pieces.push((*start, bytes.clone()));
            at = start + bytes.len() as u64;
        }
        self.read_frozen(content, at..range.end, cuts, &mut pieces);
        pieces
    }

    fn read_frozen(
        &self,
        content: ContentId,
        range: FileRange,
        cuts: &[Cut],
        pieces: &mut Vec<(u64, Bytes)>,
    ) {
        let Some(segments) = self.frozen.get(&content) else { return };
        if range.is_empty() {
            return;
        }
        for (&at, segment) in from_first_overlap(&segments.map, &range) {
            let end = (at + segment.data.len() as u64).min(range.end);
            let hiding = cuts.iter().filter(|cut| segment.seq <= cut.seq);
            for part in without(at.max(range.start)..end, hiding) {
                pieces.push((part.start, segment.part(part.start - at, part.end - at).data));
            }
        }
    }

    /// Closes the live layer; the frozen one must be empty. `young` is the first content that will
    /// be given out from now on.
    pub fn freeze(&mut self, young: ContentId) {
        self.young = young;
        self.taken.clear();
        assert!(self.frozen.is_empty(), "at most one frozen epoch is in flight");
        self.frozen = std::mem::take(&mut self.live);
        self.frozen_bytes = std::mem::take(&mut self.live_bytes);
        self.unclaimed_bytes = 0;
        self.live_segments = 0;
        self.frozen_claims = self.outstanding.clone();
    }

    /// Which layer a claim's bytes are in.
    pub fn view_of(&self, claim: Claim) -> View {
        if self.frozen_claims.contains(&claim) { View::Frozen } else { View::Live }
    }

    /// Whether any upload is under way.
    pub fn is_uploading(&self) -> bool {
        !self.outstanding.is_empty()
    }

    /// Whether uploads of frozen bytes are still under way.
    pub fn frozen_is_claimed(&self) -> bool {
        !self.frozen_claims.is_empty()
    }

    /// Takes the unclaimed bytes of a whole block, if `window` of `content` is full of them.
    pub fn claim_full(&mut self, content: ContentId, window: FileRange) -> Option<(Claim, Run)> {
        let segments = self.live.get(&content)?;
        let mut at = window.start;
        for (&start, segment) in from_first_overlap(&segments.map, &window) {
            if start > at || segment.claim.is_some() {
                return None;
            }
            at = start + segment.data.len() as u64;
        }
        if at < window.end {
            return None;
        }
        let claim = self.new_claim();
        let segments = self.live.get_mut(&content)?;
        let before = segments.map.len();
        split_at(&mut segments.map, window.start);
        split_at(&mut segments.map, window.end);
        self.live_segments += segments.map.len() - before;
        let mut run = empty_run(segments.ino, content, window.start);
        for (_, segment) in segments.map.range_mut(window.clone()) {
            segment.claim = Some(claim);
            run.seq = run.seq.max(segment.seq);
            run.pieces.push(segment.data.clone());
        }
        self.unclaimed_bytes -= window.end - window.start;
        self.taken.insert(content);
        Some((claim, run))
    }

    /// Takes all unclaimed bytes of a layer, sorted by inode and offset.
    pub fn claim_all(&mut self, view: View) -> Option<(Claim, Vec<Run>)> {
        let claim = Claim(self.next_claim);
        let layer = match view {
            View::Live => &mut self.live,
            View::Frozen => &mut self.frozen,
        };
        let mut runs: Vec<Run> = Vec::new();
        for (&content, segments) in layer {
            let mut open = false;
            for (&at, segment) in &mut segments.map {
                if segment.claim.is_some() {
                    open = false;
                    continue;
                }
                segment.claim = Some(claim);
                if !open || runs.last().is_none_or(|run| run.end() != at) {
                    runs.push(empty_run(segments.ino, content, at));
                }
                open = true;
                let run = runs.last_mut().expect("one was just pushed");
                run.seq = run.seq.max(segment.seq);
                run.pieces.push(segment.data.clone());
            }
        }
        if runs.is_empty() {
            return None;
        }
        runs.sort_by_key(|run| (run.ino, run.content, run.offset));
        self.new_claim();
        match view {
            View::Live => {
                self.unclaimed_bytes = 0;
                self.taken.extend(runs.iter().map(|run| run.content));
            }
            View::Frozen => {
                self.frozen_claims.insert(claim);
            }
        }
        Some((claim, runs))
    }

    /// What is left of a claim's bytes in a range.
    pub fn claimed(&self, claim: Claim, content: ContentId, range: &FileRange) -> Vec<FileRange> {
        let layer = self.layer(self.view_of(claim));
        let Some(segments) = layer.get(&content) else { return Vec::new() };
        from_first_overlap(&segments.map, range)
            .filter(|(_, segment)| segment.claim == Some(claim))
            .map(|(&at, segment)| {
                at.max(range.start)..(at + segment.data.len() as u64).min(range.end)
            })
            .collect()
    }

    /// Whether anything is left of a claim's bytes in a range.
    pub fn has_claimed(&self, claim: Claim, content: ContentId, range: FileRange) -> bool {
        let segments = self.layer(self.view_of(claim)).get(&content);
        segments.is_some_and(|segments| {
            from_first_overlap(&segments.map, &range).any(|(_, held)| held.claim == Some(claim))
        })
    }

    /// Forgets a claim's bytes in a range: extents have taken their place. Returns how many.
    pub fn settle(&mut self, claim: Claim, content: ContentId, range: &FileRange) -> u64 {
        let view = self.view_of(claim);
        let (layer, bytes) = match view {
            View::Live => (&mut self.live, &mut self.live_bytes),
            View::Frozen => (&mut self.frozen, &mut self.frozen_bytes),
        };
        let Some(segments) = layer.get_mut(&content) else { return 0 };
        let (mut settled, before) = (0, segments.map.len());
        for (at, segment) in take_overlapping(&mut segments.map, range) {
            let end = at + segment.data.len() as u64;
            if segment.claim != Some(claim) {
                segments.map.insert(at, segment);
                continue;
            }
            let (from, to) = (at.max(range.start), end.min(range.end));
            settled += to - from;
            if at < from {
                segments.map.insert(at, segment.part(0, from - at));
            }
            if to < end {
                segments.map.insert(to, segment.part(to - at, end - at));
            }
        }
        if view == View::Live {
            self.live_segments = self.live_segments + segments.map.len() - before;
        }
        if segments.map.is_empty() {
            layer.remove(&content);
        }
        *bytes -= settled;
        settled
    }

    /// Ends a claim: everything of it is settled. Returns how many orphans go with the upload.
    #[must_use]
    pub fn finish(&mut self, claim: Claim) -> u64 {
        self.outstanding.remove(&claim);
        self.frozen_claims.remove(&claim);
        self.orphans.remove(&claim).unwrap_or(0)
    }

    /// Gives a claim's bytes back: its upload failed. Returns how many orphans go with it.
    #[must_use]
    pub fn release(&mut self, claim: Claim) -> u64 {
        for (view, layer) in [(View::Live, &mut self.live), (View::Frozen, &mut self.frozen)] {
            for segment in layer.values_mut().flat_map(|segments| segments.map.values_mut()) {
                if segment.claim == Some(claim) {
                    segment.claim = None;
                    if view == View::Live {
                        self.unclaimed_bytes += segment.data.len() as u64;
                    }
                }
            }
        }
        self.finish(claim)
    }

    #[cfg(test)]
    pub(super) fn counted_segments(&self) -> usize {
        self.live.values().map(|segments| segments.map.len()).sum()
    }

    fn layer(&self, view: View) -> &Layer {
        match view {
            View::Live => &self.live,
            View::Frozen => &self.frozen,
        }
    }

    fn new_claim(&mut self) -> Claim {
        let claim = Claim(self.next_claim);
        self.next_claim += 1;
        self.outstanding.insert(claim);
        claim
    }
}

fn empty_run(ino: Ino, content: ContentId, offset: u64) -> Run {
    Run { ino, content, offset, pieces: Vec::new(), seq: WriteSeq(0) }
}

/// What cuts leave of a range, in order.
fn without<'a>(range: FileRange, cuts: impl Iterator<Item = &'a Cut>) -> Vec<FileRange> {
    let mut left: Vec<FileRange> = std::iter::once(range).collect();
    for cut in cuts {
        let halves = |part: FileRange| {
            [part.start..part.end.min(cut.start), part.start.max(cut.end)..part.end]
        };
        left = left.into_iter().flat_map(halves).filter(|part| part.start < part.end).collect();
    }
    left
}
