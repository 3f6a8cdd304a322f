//! The bytes of an object in the pieces in which they came or were made, so that streams are not
//! copied only to lie together. No I/O.

use bytes::Bytes;

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
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        let mut body = Self::default();
        body.push(bytes);
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_passed_on_as_they_came_and_joined_when_asked() {
        let piece = Bytes::from(vec![7; 100]);
        let mut body = Body::from(piece.clone());
        body.push(Bytes::new());
        assert_eq!((body.len(), body.pieces()), (100, &[piece.clone()][..]));
        assert!(std::ptr::eq(&body.clone().into_bytes()[..], &piece[..]));
        assert!(std::ptr::eq(&body.clone().into_pieces()[0][..], &piece[..]));
        body.push("stones".into());
        assert_eq!((body.len(), body.pieces().len()), (106, 2));
        assert_eq!(body.into_bytes(), [&piece[..], b"stones"].concat());
        assert!(Body::default().is_empty() && Body::default().into_bytes().is_empty());
    }
}
