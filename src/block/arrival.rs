//! An answer is cut into frames while it arrives, so that the first can be used before the last is
//! there, and no answer is in memory as a whole. Pure; verifies nothing.

use bytes::Bytes;
use bytes::BytesMut;

use super::frame::FrameRef;

/// The frames that one answer brings, and how far it has come.
pub(super) struct Arrival<'a> {
    frames: &'a [FrameRef],
    /// Places of the frames that are still to come, in the order of their offsets.
    coming: std::slice::Iter<'a, usize>,
    /// Places of frames that began before the one in front of them had ended.
    passed: Vec<usize>,
    /// The offset in the block of the next byte.
    at: u64,
    /// What is there of the next frame and its tag, in memory of its own.
    sealed: BytesMut,
}

impl<'a> Arrival<'a> {
    /// An answer that begins at `start` and brings the `members` of `frames`, which are in the
    /// order of their offsets.
    pub(super) fn new(frames: &'a [FrameRef], members: &'a [usize], start: u64) -> Self {
        let (coming, passed, sealed) = (members.iter(), Vec::new(), BytesMut::new());
        Self { frames, coming, passed, at: start, sealed }
    }

    /// Takes the answer's next bytes, and gives `whole` each frame that is whole with them.
    pub(super) fn take(&mut self, mut bytes: &[u8], mut whole: impl FnMut(usize, Bytes)) {
        while let Some(&place) = self.coming.as_slice().first() {
            let frame = &self.frames[place];
            let Some(gap) = (u64::from(frame.at) + self.sealed.len() as u64).checked_sub(self.at)
            else {
                self.passed.push(place);
                self.coming.next();
                continue;
            };
            let skipped = usize::try_from(gap).map_or(bytes.len(), |gap| gap.min(bytes.len()));
            let missing = frame.sealed_bytes() - self.sealed.len();
            let taken = missing.min(bytes.len() - skipped);
            if self.sealed.is_empty() && taken > 0 {
                self.sealed.reserve(missing);
            }
            self.sealed.extend_from_slice(&bytes[skipped..skipped + taken]);
            self.at += (skipped + taken) as u64;
            bytes = &bytes[skipped + taken..];
            if taken < missing {
                return;
            }
            self.coming.next();
            whole(place, std::mem::take(&mut self.sealed).freeze());
        }
    }

    /// Places of the frames that the answer did not bring whole.
    pub(super) fn missing(mut self) -> Vec<usize> {
        self.passed.extend(self.coming);
        self.passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Codec;

    fn frame(at: u32, stored: u32) -> FrameRef {
        FrameRef { at, stored, plain: stored, codec: Codec::None, index: 0 }
    }

    /// The frames that are whole after `answer` came in pieces, and those that are missing.
    fn cut(frames: &[FrameRef], answer: &[u8], piece: usize) -> (Vec<(usize, Bytes)>, Vec<usize>) {
        let mut members: Vec<_> = (0..frames.len()).collect();
        members.sort_by_key(|&place| frames[place].at);
        let mut arrival = Arrival::new(frames, &members, 100);
        let mut whole = Vec::new();
        for piece in answer.chunks(piece) {
            arrival.take(piece, |place, sealed| whole.push((place, sealed)));
        }
        (whole, arrival.missing())
    }

    #[test]
    fn frames_are_whole_however_the_answer_is_cut() {
        let answer: Vec<u8> = (0..200).collect();
        let frames = [frame(180, 30), frame(100, 10), frame(126, 14)];
        for piece in 1..=200 {
            let (whole, missing) = cut(&frames, &answer, piece);
            let expected = [(1, 0..26), (2, 26..56), (0, 80..126)];
            assert!(whole.iter().map(|(place, _)| place).eq(expected.iter().map(|(at, _)| at)));
            for ((_, sealed), (_, range)) in whole.iter().zip(expected) {
                assert_eq!(sealed, &answer[range]);
            }
            assert!(missing.is_empty());
        }
    }

    #[test]
    fn what_is_cut_off_or_overlaps_is_missing() {
        let answer: Vec<u8> = (0..200).collect();
        let frames = [frame(100, 84), frame(110, 1), frame(200, 84), frame(300, 1)];
        for piece in 1..=200 {
            let (whole, missing) = cut(&frames, &answer, piece);
            assert_eq!(whole.len(), 2);
            assert_eq!(missing, [1, 3]);
        }
        assert_eq!(cut(&frames, &[], 1).1, [0, 1, 2, 3]);
    }
}
