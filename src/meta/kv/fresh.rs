//! Which keys the engine cannot have, told without asking it: keys that only this session could
//! have made, and did not. Knows no key's meaning.

use std::hash::BuildHasher;
use std::hash::RandomState;

/// A Bloom filter of so many bits: 2 MiB. With 1.4 million keys one question in fifty is passed on
/// to the engine in vain; after ever more keys every question is.
const BITS: u64 = 1 << 24;

const PROBES: usize = 3;

type Ours = Box<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// Keys of which the engine had none when it was opened, and which of them were written since.
pub struct Fresh {
    ours: Ours,
    written: Box<[u64]>,
    hasher: RandomState,
}

impl Fresh {
    /// Nothing is known to be absent.
    pub fn nothing() -> Self {
        Self::of(|_| false)
    }

    /// The engine has no key that `ours` is true of, and nobody else gives it one.
    pub fn of(ours: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Self {
        let words = usize::try_from(BITS / 64).expect("it is small");
        let written = vec![0; words].into_boxed_slice();
        Self { ours: Box::new(ours), written, hasher: RandomState::new() }
    }

    /// The key was written, so the engine may have it from now on.
    pub(super) fn note(&mut self, key: &[u8]) {
        if (self.ours)(key) {
            for bit in self.bits(key) {
                self.written[bit / 64] |= 1 << (bit % 64);
            }
        }
    }

    /// Whether the engine certainly does not have the key.
    pub(super) fn lacks(&self, key: &[u8]) -> bool {
        (self.ours)(key)
            && self.bits(key).into_iter().any(|bit| self.written[bit / 64] & 1 << (bit % 64) == 0)
    }

    fn bits(&self, key: &[u8]) -> [usize; PROBES] {
        let hash = self.hasher.hash_one(key);
        // Two halves make as many positions as are wanted (Kirsch and Mitzenmacher, 2006).
        let (first, step) = (hash & u64::from(u32::MAX), hash >> 32 | 1);
        std::array::from_fn(|probe| {
            let position = first.wrapping_add(step.wrapping_mul(probe as u64)) % BITS;
            usize::try_from(position).expect("it is below the number of bits")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_never_lacking_and_little_else_is_passed_on() {
        let mut fresh = Fresh::of(|key| key[0] == b'n');
        let key = |tag: u8, number: u32| [&[tag], &number.to_be_bytes()[..]].concat();
        for number in 0..10_000 {
            assert!(fresh.lacks(&key(b'n', number)) || number > 0);
            fresh.note(&key(b'n', number));
            assert!(!fresh.lacks(&key(b'n', number)));
            assert!(!fresh.lacks(&key(b'o', number)));
        }
        let passed_on = (10_000..20_000).filter(|number| !fresh.lacks(&key(b'n', *number)));
        assert!(passed_on.count() < 10);
    }
}
