//! BLAKE3 in its three uses: tags that bind bytes to their place, the hash of names, checksums.
//! The inputs are drawn in `docs/format.md`; this file does not know what is bound.

use std::fmt;

use blake3::Hasher;
use zeroize::Zeroizing;

use crate::ambient::Ambient;
use crate::error::Result;
use crate::types::FileName;
use crate::types::Ino;
use crate::types::VolumeId;

/// The length of a tag in bytes.
pub const TAG_BYTES: usize = 16;

const TAG_CONTEXT: &str = "cairnfs frame tag v1";

/// The key of a volume's tags. It follows from the volume's id.
#[derive(Clone)]
pub struct TagKey {
    volume: VolumeId,
    key: Zeroizing<[u8; 32]>,
}

impl TagKey {
    /// The key of `volume`.
    pub fn new(volume: VolumeId) -> Self {
        Self { volume, key: Zeroizing::new(blake3::derive_key(TAG_CONTEXT, &volume.0)) }
    }

    /// The volume whose tags these are.
    pub fn volume(&self) -> VolumeId {
        self.volume
    }

    /// The tag of `bytes` in the place that `binding` describes. A binding's last byte is its
    /// domain, and all bindings of a domain have one length.
    pub fn tag(&self, bytes: &[u8], binding: &[u8]) -> [u8; TAG_BYTES] {
        self.tag_pieces(std::iter::once(bytes), binding)
    }

    /// [`Self::tag`] of bytes that do not lie together. Long pieces: short ones are hashed slowly.
    pub fn tag_pieces<'a>(
        &self,
        pieces: impl Iterator<Item = &'a [u8]>,
        binding: &[u8],
    ) -> [u8; TAG_BYTES] {
        let mut hasher = Hasher::new_keyed(&self.key);
        // The bytes first: so they lie on the hash's chunks, and it can take many at once.
        pieces.for_each(|piece| {
            hasher.update(piece);
        });
        let hash = hasher.update(binding).finalize();
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&hash.as_bytes()[..TAG_BYTES]);
        tag
    }
}

impl fmt::Debug for TagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[tag key of volume {}]", self.volume)
    }
}

/// The secret key of a volume's name hash.
#[derive(Clone)]
pub struct NameKey(Zeroizing<[u8; 32]>);

impl NameKey {
    /// A key as it was stored.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A new key for a new volume.
    pub fn generate(ambient: &Ambient) -> Result<Self> {
        let mut key = Zeroizing::new([0; 32]);
        ambient.fill(&mut *key)?;
        Ok(Self(key))
    }

    /// The key itself, for the one place that stores it.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for NameKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[name key]")
    }
}

/// The 56-bit hash under which `parent` files `name`.
pub fn name_hash(key: &NameKey, parent: Ino, name: &FileName) -> u64 {
    let hash = Hasher::new_keyed(key.expose())
        .update(&parent.0.to_be_bytes())
        .update(name.as_bytes())
        .finalize();
    let mut wide = [0; 8];
    wide[1..].copy_from_slice(&hash.as_bytes()[..7]);
    u64::from_be_bytes(wide)
}

/// The checksum of a record: BLAKE3 without a key.
pub fn checksum(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_depends_on_volume_bytes_and_binding() {
        let key = TagKey::new(VolumeId([1; 16]));
        let tag = key.tag(b"bytes", b"place");
        assert_eq!(tag, TagKey::new(VolumeId([1; 16])).tag(b"bytes", b"place"));
        assert_ne!(tag, TagKey::new(VolumeId([2; 16])).tag(b"bytes", b"place"));
        assert_ne!(tag, key.tag(b"Bytes", b"place"));
        assert_ne!(tag, key.tag(b"bytes", b"Place"));
        assert_eq!(tag, key.tag_pieces([&b"by"[..], b"", b"tes"].into_iter(), b"place"));
    }

    #[test]
    fn the_stored_hashes_never_change() {
        let tag = TagKey::new(VolumeId([7; 16])).tag(b"cairn", b"here");
        assert_eq!(u128::from_be_bytes(tag), 237_011_276_512_109_901_545_011_646_014_427_991_799);
        let name = FileName::new(b"cairn").unwrap();
        assert_eq!(name_hash(&NameKey::new([7; 32]), Ino::ROOT, &name), 38_819_349_074_380_163);
    }

    #[test]
    fn a_name_hash_has_56_bits_and_depends_on_key_parent_and_name() {
        let (key, name) = (NameKey::new([1; 32]), FileName::new(b"a").unwrap());
        let hash = name_hash(&key, Ino(1), &name);
        assert!(hash < 1 << 56);
        assert_ne!(hash, name_hash(&NameKey::new([2; 32]), Ino(1), &name));
        assert_ne!(hash, name_hash(&key, Ino(2), &name));
        assert_ne!(hash, name_hash(&key, Ino(1), &FileName::new(b"b").unwrap()));
    }

    #[test]
    fn keys_do_not_print() {
        let key = NameKey::generate(&Ambient::seeded(1)).unwrap();
        assert_eq!(format!("{key:?}"), "[name key]");
        assert!(!format!("{:?}", TagKey::new(VolumeId([1; 16]))).contains('{'));
    }
}
