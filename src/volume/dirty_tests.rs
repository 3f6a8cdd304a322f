//! Dirty bytes against plain arrays: what is there, whose it is, and how much of it.

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;
use rand::Rng;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::dirty::Claim;
use super::dirty::Dirty;
use super::dirty::Run;
use crate::meta::kv::View;
use crate::meta::value::Cut;
use crate::types::ContentId;
use crate::types::Ino;
use crate::types::WriteSeq;

const FILE: Ino = Ino(5);
const CONTENT: ContentId = ContentId(9);
const SIZE: usize = 64;
const WINDOW: usize = 16;

type Cell = Option<(u8, Option<Claim>)>;

fn dirty() -> Dirty {
    Dirty::new(ContentId(1))
}

fn write(dirty: &mut Dirty, offset: u64, bytes: &[u8], seq: u64) -> u64 {
    dirty.write(FILE, CONTENT, offset, Bytes::copy_from_slice(bytes), WriteSeq(seq))
}

fn read(dirty: &Dirty, cuts: &[Cut]) -> Vec<(u64, Vec<u8>)> {
    let pieces = dirty.read(CONTENT, &(0..SIZE as u64), cuts);
    pieces.into_iter().map(|(at, bytes)| (at, bytes.to_vec())).collect()
}

fn bytes_of(run: &Run) -> Vec<u8> {
    run.pieces.concat()
}

#[test]
fn what_is_overwritten_while_it_is_uploaded_is_not_settled() {
    let mut dirty = dirty();
    assert_eq!(write(&mut dirty, 0, b"aaaaaaaa", 1), 0);
    let (claim, runs) = dirty.claim_all(View::Live).unwrap();
    assert_eq!((runs.len(), bytes_of(&runs[0])), (1, b"aaaaaaaa".to_vec()));
    assert_eq!(write(&mut dirty, 2, b"bb", 2), 0, "the upload still holds them");
    assert_eq!(dirty.claimed(claim, CONTENT, &(0..8)), [0..2, 4..8]);
    assert_eq!(dirty.settle(claim, CONTENT, &(0..8)), 6);
    assert_eq!(dirty.finish(claim), 2);
    assert_eq!(read(&dirty, &[]), [(2, b"bb".to_vec())]);
    assert_eq!((dirty.bytes(), dirty.unclaimed_bytes()), (2, 2));
}

#[test]
fn a_claim_follows_its_bytes_into_the_frozen_epoch() {
    let mut dirty = dirty();
    write(&mut dirty, 0, b"aaaa", 1);
    let (early, _) = dirty.claim_all(View::Live).unwrap();
    assert_eq!(dirty.view_of(early), View::Live);
    write(&mut dirty, 8, b"bbbb", 2);
    dirty.freeze(ContentId(10));
    assert_eq!((dirty.view_of(early), dirty.unclaimed_bytes()), (View::Frozen, 0));
    let (own, runs) = dirty.claim_all(View::Frozen).unwrap();
    assert_eq!((runs.len(), runs[0].offset, runs[0].seq), (1, 8, WriteSeq(2)));
    write(&mut dirty, 0, b"cc", 3);
    assert_eq!(
        read(&dirty, &[]),
        [(0, b"cc".to_vec()), (2, b"aa".to_vec()), (8, b"bbbb".to_vec())]
    );
    assert_eq!(dirty.settle(early, CONTENT, &(0..4)), 4);
    assert_eq!(dirty.finish(early), 0);
    assert!(dirty.frozen_is_claimed());
    dirty.settle(own, CONTENT, &(8..12));
    assert_eq!(dirty.finish(own), 0);
    assert!(!dirty.frozen_is_claimed());
    assert_eq!((read(&dirty, &[]), dirty.bytes()), (vec![(0, b"cc".to_vec())], 2));
    dirty.freeze(ContentId(10));
}

#[test]
fn a_cut_hides_frozen_bytes_that_are_older() {
    let mut dirty = dirty();
    write(&mut dirty, 0, b"aaaaaaaa", 1);
    dirty.freeze(ContentId(10));
    write(&mut dirty, 6, b"bb", 5);
    let cut = |seq| [Cut { start: 2, end: u64::MAX, seq: WriteSeq(seq) }];
    assert_eq!(read(&dirty, &cut(3)), [(0, b"aa".to_vec()), (6, b"bb".to_vec())]);
    assert_eq!(read(&dirty, &cut(0)).len(), 2);
}

#[test]
fn a_block_is_sent_early_only_when_it_is_whole_and_free() {
    let mut dirty = dirty();
    write(&mut dirty, 2, &[1; 20], 1);
    assert!(dirty.claim_full(CONTENT, 0..16).is_none());
    write(&mut dirty, 0, &[2; 2], 2);
    let (claim, run) = dirty.claim_full(CONTENT, 0..16).unwrap();
    assert_eq!((run.offset, run.len(), run.seq), (0, 16, WriteSeq(2)));
    assert_eq!(dirty.unclaimed_bytes(), 6);
    assert!(dirty.claim_full(CONTENT, 0..16).is_none());
    assert_eq!(dirty.release(claim), 0);
    assert_eq!(dirty.unclaimed_bytes(), 22);
    assert!(dirty.claim_full(CONTENT, 0..16).is_some());
}

#[test]
fn a_content_is_untouched_until_an_upload_or_a_freeze_takes_of_it() {
    let mut dirty = Dirty::new(CONTENT);
    assert!(!dirty.is_untouched(ContentId(8)));
    write(&mut dirty, 0, b"a", 1);
    assert!(dirty.is_untouched(CONTENT));
    let (claim, _) = dirty.claim_all(View::Live).unwrap();
    assert!(!dirty.is_untouched(CONTENT));
    assert_eq!(dirty.release(claim), 0);
    assert!(!dirty.is_untouched(CONTENT));
    dirty.freeze(ContentId(10));
    assert!(!dirty.is_untouched(CONTENT) && dirty.is_untouched(ContentId(10)));
}

/// The same as `Dirty`, a byte a cell.
struct Plain {
    live: [Cell; SIZE],
    frozen: [Cell; SIZE],
    claims: Vec<(Claim, View)>,
    orphans: HashMap<Claim, u64>,
}

impl Plain {
    fn layer(&mut self, view: View) -> &mut [Cell; SIZE] {
        match view {
            View::Live => &mut self.live,
            View::Frozen => &mut self.frozen,
        }
    }

    /// Replaces live bytes. Returns how many of them nothing holds any more.
    fn replace(&mut self, range: Range<usize>, cell: Cell) -> u64 {
        let mut freed = 0;
        for (_, claim) in self.live[range.clone()].iter().flatten() {
            match claim {
                None => freed += 1,
                Some(claim) => *self.orphans.entry(*claim).or_default() += 1,
            }
        }
        self.live[range].fill(cell);
        freed
    }

    fn take(&mut self, claim: Claim, view: View, run: &Run) {
        for (at, byte) in (run.offset..).zip(bytes_of(run)) {
            let cell = &mut self.layer(view)[usize::try_from(at).unwrap()];
            assert_eq!(*cell, Some((byte, None)), "taken bytes are free and true");
            *cell = Some((byte, Some(claim)));
        }
    }

    fn compare(&self, dirty: &Dirty) {
        let count = |cells: &[Cell], fits: fn(&Cell) -> bool| {
            cells.iter().filter(|cell| fits(cell)).count() as u64
        };
        let held = count(&self.live, Option::is_some) + count(&self.frozen, Option::is_some);
        assert_eq!(dirty.bytes(), held);
        let free = count(&self.live, |cell| matches!(cell, Some((_, None))));
        assert_eq!(dirty.unclaimed_bytes(), free);
        assert_eq!(dirty.live_segments(), dirty.counted_segments());
        let mut seen = [None; SIZE];
        for (at, bytes) in read(dirty, &[]) {
            let at = usize::try_from(at).unwrap();
            for (cell, byte) in seen[at..].iter_mut().zip(bytes) {
                assert!(cell.replace(byte).is_none(), "pieces do not overlap");
            }
        }
        for (at, seen) in seen.into_iter().enumerate() {
            let cell = self.live[at].or(self.frozen[at]);
            assert_eq!(seen, cell.map(|(byte, _)| byte), "at {at}");
        }
    }
}

fn step(rng: &mut StdRng, dirty: &mut Dirty, plain: &mut Plain, seq: u64) {
    let start = rng.random_range(0..SIZE - 1);
    let end = rng.random_range(start + 1..=SIZE.min(start + 24));
    let range = start as u64..end as u64;
    let held = |cells: &[Cell]| cells.iter().filter(|cell| cell.is_some()).count() as u64;
    match rng.random_range(0..20) {
        0..=8 => {
            let byte = rng.random();
            let freed = write(dirty, range.start, &vec![byte; end - start], seq);
            assert_eq!(freed, plain.replace(start..end, Some((byte, None))));
        }
        9 | 10 => {
            assert_eq!(dirty.remove(CONTENT, range), plain.replace(start..end, None));
        }
        11 | 12 => {
            let at = start / WINDOW * WINDOW;
            let whole = |cells: &[Cell]| cells.iter().all(|cell| matches!(cell, Some((_, None))));
            let full = dirty.claim_full(CONTENT, at as u64..(at + WINDOW) as u64);
            assert_eq!(full.is_some(), whole(&plain.live[at..at + WINDOW]));
            if let Some((claim, run)) = full {
                plain.take(claim, View::Live, &run);
                plain.claims.push((claim, View::Live));
            }
        }
        13 | 14 => {
            let view = [View::Live, View::Frozen][rng.random_range(0..2)];
            if let Some((claim, runs)) = dirty.claim_all(view) {
                runs.iter().for_each(|run| plain.take(claim, view, run));
                plain.claims.push((claim, view));
            }
        }
        15 if held(&plain.frozen) == 0 && plain.claims.iter().all(|(_, v)| *v == View::Live) => {
            dirty.freeze(ContentId(10));
            plain.frozen = std::mem::replace(&mut plain.live, [None; SIZE]);
            plain.claims.iter_mut().for_each(|(_, view)| *view = View::Frozen);
        }
        _ => end_a_claim(rng, dirty, plain),
    }
}

/// An upload ends: it is registered, or it failed.
fn end_a_claim(rng: &mut StdRng, dirty: &mut Dirty, plain: &mut Plain) {
    if plain.claims.is_empty() {
        return;
    }
    let (claim, view) = plain.claims.swap_remove(rng.random_range(0..plain.claims.len()));
    assert_eq!(dirty.view_of(claim), view);
    let fails = rng.random_bool(0.3);
    let mut left = 0;
    for cell in plain.layer(view).iter_mut().filter(|cell| cell.is_some_and(|c| c.1 == Some(claim)))
    {
        left += 1;
        *cell = cell.filter(|_| fails).map(|(byte, _)| (byte, None));
    }
    let orphans = plain.orphans.remove(&claim).unwrap_or(0);
    if fails {
        assert_eq!(dirty.release(claim), orphans);
        return;
    }
    let whole = 0..SIZE as u64;
    assert_eq!(dirty.has_claimed(claim, CONTENT, whole.clone()), left > 0);
    let claimed = dirty.claimed(claim, CONTENT, &whole);
    assert_eq!(claimed.iter().map(|range| range.end - range.start).sum::<u64>(), left);
    assert_eq!(dirty.settle(claim, CONTENT, &whole), left);
    assert_eq!(dirty.finish(claim), orphans);
}

#[test]
fn dirty_bytes_agree_with_plain_arrays() {
    for seed in 0..200 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut dirty = dirty();
        let (live, frozen) = ([None; SIZE], [None; SIZE]);
        let mut plain = Plain { live, frozen, claims: Vec::new(), orphans: HashMap::new() };
        for seq in 0..200 {
            step(&mut rng, &mut dirty, &mut plain, seq);
            plain.compare(&dirty);
        }
    }
}
