//! The names and numbers that all layers share. No I/O, no stored encodings.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// Bytes of file data in one frame, at most; frames are cut at multiples of it in the file.
pub const FRAME_BYTES: u32 = 128 * 1024;

/// Bytes of the tag that follows each frame in a block.
pub const TAG_BYTES: u32 = 16;

/// The largest size of a file in bytes: what `off_t` and the kernel's page cache can address.
pub const FILE_SIZE_MAX: u64 = i64::MAX as u64;

/// An inode number, which is also the FUSE node id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ino(pub u64);

impl Ino {
    /// The root directory of every volume.
    pub const ROOT: Ino = Ino(1);
}

impl fmt::Display for Ino {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names the bytes of a file; unlink and truncate-to-zero swap it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentId(pub u64);

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The order of writes in a volume; newer is larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteSeq(pub u64);

/// The number of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// The number of a session: one mount of a volume. 40 bits in a block's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

impl SessionId {
    /// The largest session number that fits a block's id.
    pub const MAX: SessionId = SessionId((1 << 40) - 1);
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One claim of a session, where a store cannot keep two claims of one number apart: the session
/// and eight random bytes. Written `000000000007-0123456789abcdef`; the order is that of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimId {
    /// The session that is claimed.
    pub session: SessionId,
    /// Who claims it.
    pub nonce: u64,
}

impl fmt::Display for ClaimId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012}-{:016x}", self.session.0, self.nonce)
    }
}

impl FromStr for ClaimId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fault = || Error::new(Kind::Invalid, "not a claim of a session").with("claim", text);
        let (session, nonce) = text.split_once('-').ok_or_else(fault)?;
        let session = SessionId(session.parse().map_err(|_| fault())?);
        let nonce = u64::from_str_radix(nonce, 16).map_err(|_| fault())?;
        let claim = Self { session, nonce };
        if session <= SessionId::MAX && claim.to_string() == text {
            Ok(claim)
        } else {
            Err(fault())
        }
    }
}

/// Sixteen random bytes that name a volume for its whole life.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct VolumeId(pub [u8; 16]);

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The name of a block: spread (8 bits) · session (40) · random (80), big-endian.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub [u8; 16]);

impl BlockId {
    /// Makes an id of `session` from eleven random bytes: one of spread, ten of identity.
    pub fn new(session: SessionId, random: [u8; 11]) -> Self {
        assert!(session <= SessionId::MAX, "session numbers fit 40 bits");
        let mut id = [0; 16];
        id[0] = random[0];
        id[1..6].copy_from_slice(&session.0.to_be_bytes()[3..]);
        id[6..].copy_from_slice(&random[1..]);
        Self(id)
    }

    /// The session that made the block.
    pub fn session(&self) -> SessionId {
        let mut wide = [0; 8];
        wide[3..].copy_from_slice(&self.0[1..6]);
        SessionId(u64::from_be_bytes(wide))
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BlockId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse_hex(text).map(Self)
    }
}

impl FromStr for VolumeId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse_hex(text).map(Self)
    }
}

/// The name of a directory entry: 1 to 255 bytes without `/` and NUL, not `.` or `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(Box<[u8]>);

impl FileName {
    /// The longest name in bytes (POSIX NAME_MAX as every Linux file system has it).
    pub const BYTES_MAX: usize = 255;

    /// Checks a name as it comes from outside.
    pub fn new(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > Self::BYTES_MAX {
            return Err(Error::new(Kind::NameTooLong, "a name is longer than 255 bytes"));
        }
        let reserved = bytes.is_empty() || bytes == b"." || bytes == b"..";
        if reserved || bytes.iter().any(|byte| matches!(byte, 0 | b'/')) {
            return Err(Error::new(Kind::Invalid, "a name is empty, reserved, or has `/` or NUL"));
        }
        Ok(Self(bytes.into()))
    }

    /// The bytes of the name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// A range of file offsets in bytes, half open.
pub type FileRange = Range<u64>;

/// Who owns a frame's bytes: enough for `salvage` to rebuild a file without metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The inode when the frame was written.
    pub ino: Ino,
    /// The content the bytes belong to.
    pub content: ContentId,
    /// Where in the file the frame's first byte belongs, in bytes.
    pub offset: u64,
    /// The newest write in the frame.
    pub seq: WriteSeq,
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn parse_hex(text: &str) -> Result<[u8; 16]> {
    let fault =
        || Error::new(Kind::Invalid, "not 32 lower-case hexadecimal digits").with("id", text);
    let digits = text.as_bytes();
    if digits.len() != 32 || !digits.iter().all(|d| matches!(d, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(fault());
    }
    let mut bytes = [0; 16];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| fault())?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_id_tells_its_session_and_survives_its_text() {
        let id = BlockId::new(SessionId(0x01_0203_0405), [7; 11]);
        assert_eq!(id.session(), SessionId(0x01_0203_0405));
        assert_eq!(id.to_string().parse::<BlockId>().unwrap(), id);
        assert!("zz".parse::<BlockId>().is_err());
        assert!("+1".repeat(16).parse::<BlockId>().is_err());
    }

    #[test]
    fn a_claim_survives_its_text_and_no_other_form_is_taken() {
        let claim = ClaimId { session: SessionId(7), nonce: 0xab };
        assert_eq!(claim.to_string(), "000000000007-00000000000000ab");
        assert_eq!(claim.to_string().parse::<ClaimId>().unwrap(), claim);
        let forms = ["7-ab", "000000000007-00000000000000AB", "000000000007", "000000000007-", "-"];
        for foreign in forms {
            assert!(foreign.parse::<ClaimId>().is_err(), "{foreign}");
        }
    }

    #[test]
    fn names_that_posix_forbids_are_refused() {
        for bad in [&b""[..], b".", b"..", b"a/b", b"a\0b", &[b'x'; 256]] {
            assert!(FileName::new(bad).is_err());
        }
        assert!(FileName::new(&[0xff; 255]).is_ok());
    }
}
