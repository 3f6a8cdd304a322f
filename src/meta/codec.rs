//! How numbers and bytes are written inside stored values: LEB128 varints, zigzag for signed
//! numbers, length before bytes. Pure; knows no value.

use bytes::Bytes;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// Writes one value; the first byte is the value's version.
pub struct Writer(Vec<u8>);

impl Writer {
    /// Begins a value of `version`.
    pub fn new(version: u8) -> Self {
        let mut bytes = Vec::with_capacity(64);
        bytes.push(version);
        Self(bytes)
    }

    /// One byte.
    pub fn byte(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    /// An unsigned number: seven bits a byte, lowest first, the high bit says that more follow.
    pub fn number(&mut self, mut value: u64) -> &mut Self {
        loop {
            let low = value.to_le_bytes()[0] & 0x7f;
            value >>= 7;
            if value == 0 {
                self.0.push(low);
                return self;
            }
            self.0.push(low | 0x80);
        }
    }

    /// A signed number, zigzag.
    pub fn signed(&mut self, value: i64) -> &mut Self {
        self.number(((value << 1) ^ (value >> 63)).cast_unsigned())
    }

    /// Bytes of a length that the reader knows.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Bytes after their length.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.number(bytes.len() as u64).raw(bytes)
    }

    /// The finished value.
    pub fn finish(self) -> Bytes {
        self.0.into()
    }
}

/// Reads one value; whatever does not fit is [`Kind::Corrupt`].
pub struct Reader<'a> {
    what: &'static str,
    value: &'a Bytes,
    /// Plain bytes: a `Bytes` would count its references anew for every byte read.
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Begins to read a value called `what`, of exactly `version`.
    pub fn new(what: &'static str, value: &'a Bytes, version: u8) -> Result<Self> {
        match value.split_first() {
            Some((&found, rest)) if found == version => Ok(Self { what, value, rest }),
            Some((&found, _)) => Err(Error::new(
                Kind::Corrupt,
                format!("a stored {what} has version {found}, this program knows {version}"),
            )
            .hint("use the version of cairnfs that wrote the volume")),
            None => Err(Error::new(Kind::Corrupt, format!("a stored {what} is empty"))),
        }
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8> {
        let Some((&byte, rest)) = self.rest.split_first() else { return Err(self.fault()) };
        self.rest = rest;
        Ok(byte)
    }

    /// An unsigned number.
    pub fn number(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let low = u64::from(byte & 0x7f);
            if shift == 63 && low > 1 {
                break;
            }
            value |= low << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.fault())
    }

    /// An unsigned number that fits 32 bits.
    pub fn small(&mut self) -> Result<u32> {
        u32::try_from(self.number()?).map_err(|_| self.fault())
    }

    /// A signed number.
    pub fn signed(&mut self) -> Result<i64> {
        let value = self.number()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// `length` bytes.
    pub fn raw(&mut self, length: usize) -> Result<&'a [u8]> {
        let (raw, rest) = self.rest.split_at_checked(length).ok_or_else(|| self.fault())?;
        self.rest = rest;
        Ok(raw)
    }

    /// `length` bytes that stay when the value goes, without a copy.
    pub fn kept(&mut self, length: usize) -> Result<Bytes> {
        Ok(self.value.slice_ref(self.raw(length)?))
    }

    /// Bytes after their length.
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.small()? as usize;
        self.raw(length)
    }

    /// A count of things that each take at least one byte, so that no length can be a lie.
    pub fn count(&mut self) -> Result<usize> {
        let count = self.small()? as usize;
        if count > self.rest.len() { Err(self.fault()) } else { Ok(count) }
    }

    /// Ends the value: nothing may follow.
    pub fn finish(self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.fault()) }
    }

    /// The error for a value that does not make sense.
    pub fn fault(&self) -> Error {
        Error::new(Kind::Corrupt, format!("a stored {} does not decode", self.what))
            .hint("run `cairnfs fsck` on the volume")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_the_round_trip() {
        for value in [0, 1, 127, 128, 1 << 32, u64::MAX] {
            let mut writer = Writer::new(1);
            writer.number(value).signed(value.cast_signed()).bytes(b"xy");
            let written = writer.finish();
            let mut reader = Reader::new("test", &written, 1).unwrap();
            assert_eq!(reader.number().unwrap(), value);
            assert_eq!(reader.signed().unwrap(), value.cast_signed());
            assert_eq!(reader.bytes().unwrap(), b"xy");
            reader.finish().unwrap();
        }
    }

    #[test]
    fn what_does_not_fit_is_corrupt_and_never_panics() {
        fn read<T>(
            value: &'static [u8],
            read: impl FnOnce(&mut Reader<'_>) -> Result<T>,
        ) -> Option<T> {
            read(&mut Reader::new("test", &Bytes::from_static(value), 1).ok()?).ok()
        }
        assert!(read(b"", |_| Ok(())).is_none());
        assert!(read(b"\x02", |_| Ok(())).is_none());
        assert!(read(b"\x01", |reader| reader.byte()).is_none());
        assert!(
            read(b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", |reader| reader.number())
                .is_none()
        );
        assert!(read(b"\x01\x05ab", |reader| reader.bytes().map(<[u8]>::len)).is_none());
        let value = Bytes::from_static(b"\x01x");
        assert!(Reader::new("test", &value, 1).unwrap().finish().is_err());
        assert_eq!(read(b"\x01abc", |reader| reader.kept(2)).unwrap(), Bytes::from_static(b"ab"));
    }
}
