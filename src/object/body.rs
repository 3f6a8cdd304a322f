//! The bytes of an object in the pieces in which they came or were made, so that streams are not
//! copied only to lie together. No I/O.

use bytes::Bytes;
use bytes::BytesMut;

/// Bytes in a row of pieces. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Body {
    pieces: Vec<Bytes>,
    len: usize,
}

impl Body {
    /// Adds bytes at the end, without copying them.
    pub fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push(piece);
        }
    }

    /// Bytes of all pieces.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces, none of which is empty.
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// The pieces, given away.
    pub fn into_pieces(self) -> Vec<Bytes> {
        self.pieces
    }

    /// All bytes in one piece; copied unless there is only one.
    pub fn into_bytes(mut self) -> Bytes {
        if self.pieces.len() > 1 {
            return self.pieces.concat().into();
        }
        self.pieces.pop().unwrap_or_default()
    }

    /// A copy of `length` bytes from `at` on, which keeps no other bytes in memory; `None` if
    /// there are fewer.
    pub fn copy_of(&self, at: usize, length: usize) -> Option<Bytes> {
        if at.checked_add(length)? > self.len {
            return None;
        }
        let mut copy = BytesMut::with_capacity(length);
        let mut skip = at;
        for piece in &self.pieces {
            let from = skip.min(piece.len());
            skip -= from;
            let take = (length - copy.len()).min(piece.len() - from);
            copy.extend_from_slice(&piece[from..from + take]);
            if copy.len() == length {
                break;
            }
        }
        Some(copy.freeze())
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        let mut body = Self::default();
        body.push(bytes);
        body
    }
}

impl FromIterator<Bytes> for Body {
    fn from_iter<T: IntoIterator<Item = Bytes>>(pieces: T) -> Self {
        let mut body = Self::default();
        pieces.into_iter().for_each(|piece| body.push(piece));
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_the_same_however_the_bytes_are_cut() {
        let bytes = Bytes::from_static(b"a pile of stones");
        for cut in 1..bytes.len() {
            let body: Body = bytes.chunks(cut).map(Bytes::copy_from_slice).collect();
            assert_eq!(body.len(), bytes.len());
            for (at, length) in [(0, 16), (0, 0), (16, 0), (2, 4), (9, 7), (15, 1)] {
                assert_eq!(body.copy_of(at, length).unwrap(), bytes[at..at + length]);
            }
            assert!(body.copy_of(9, 8).is_none() && body.copy_of(usize::MAX, 1).is_none());
            assert_eq!(body.into_bytes(), bytes);
        }
    }

    #[test]
    fn pieces_are_passed_on_as_they_came() {
        let piece = Bytes::from(vec![7; 100]);
        let body: Body = [Bytes::new(), piece.clone(), Bytes::new()].into_iter().collect();
        assert_eq!(body.pieces(), [piece.clone()]);
        assert!(std::ptr::eq(&body.clone().into_bytes()[..], &piece[..]));
        assert!(std::ptr::eq(&body.into_pieces()[0][..], &piece[..]));
        assert!(Body::default().is_empty() && Body::default().into_bytes().is_empty());
    }
}
