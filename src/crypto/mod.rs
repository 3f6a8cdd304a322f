//! (skeleton: replaced by branch w-d)

use crate::types::FileName;
use crate::types::Ino;

/// The key of the hash of names.
#[derive(Clone)]
pub struct NameKey([u8; 32]);

impl NameKey {
    /// Wraps a key.
    pub fn new(key: [u8; 32]) -> Self { Self(key) }
    /// 56 bits.
    pub fn hash(&self, parent: Ino, name: &FileName) -> u64 {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&parent.0.to_be_bytes());
        hasher.update(name.as_bytes());
        let mut wide = [0; 8];
        wide[1..].copy_from_slice(&hasher.finalize().as_bytes()[..7]);
        u64::from_be_bytes(wide)
    }
}
