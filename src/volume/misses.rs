//! Which blocks random readers miss frames of, and when it is worth to fetch what is left of one.
//! Pure; does not know what is cached.

use std::collections::VecDeque;

use crate::types::BlockId;

/// Blocks that are remembered: 2 GiB of the usual size.
const BLOCKS_MAX: usize = 512;

/// Misses in a block that show that its readers come back, when its frames push others out.
const MISSES_MIN: u32 = 3;

/// How much the cache holds, and could still take without losing anything, in whole blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) blocks_max: usize,
    pub(super) blocks_free: usize,
}

/// What to fetch after a miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fetch {
    /// What was asked for.
    Frames,
    /// All that the file has in the block.
    Block,
}

/// The blocks that were missed last.
#[derive(Debug, Default)]
pub(super) struct Misses {
    /// The newest last; each with its misses that were near each other.
    blocks: VecDeque<(BlockId, u32)>,
}

impl Misses {
    /// Takes note of a miss in `block` and says what to fetch.
    ///
    /// While there is room, the second miss brings the block: at worst that fills the cache once
    /// with bytes that nobody reads. A full cache would lose other frames for it. There it takes
    /// readers that come back before half a cache of other blocks was missed, so that the blocks
    /// they read fit together; a larger working set is served frame by frame.
    pub(super) fn note(&mut self, block: BlockId, room: Room) -> Fetch {
        let found = self.blocks.iter().rposition(|(seen, _)| *seen == block);
        let Some((_, misses)) = found.and_then(|at| self.blocks.remove(at)) else {
            if self.blocks.len() == BLOCKS_MAX {
                self.blocks.pop_front();
            }
            self.blocks.push_back((block, 1));
            return Fetch::Frames;
        };
        let others = self.blocks.len() - found.expect("it was found");
        let misses = if others <= room.blocks_max / 2 { misses + 1 } else { 1 };
        if room.blocks_free > 0 || misses >= MISSES_MIN {
            return Fetch::Block;
        }
        self.blocks.push_back((block, misses));
        Fetch::Frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::SessionId;

    const EMPTY: Room = Room { blocks_max: 8, blocks_free: 8 };
    const FULL: Room = Room { blocks_max: 8, blocks_free: 0 };

    fn block(n: usize) -> BlockId {
        let mut random = [0; 11];
        random[..8].copy_from_slice(&n.to_be_bytes());
        BlockId::new(SessionId(1), random)
    }

    fn fetched(blocks: impl Iterator<Item = usize>, room: Room) -> usize {
        let mut misses = Misses::default();
        blocks.filter(|n| misses.note(block(*n), room) == Fetch::Block).count()
    }

    #[test]
    fn a_second_miss_brings_the_block_while_there_is_room() {
        assert_eq!(fetched((0..100).chain(0..100), EMPTY), 100);
        // Counting begins anew, for by then its frames were pushed out.
        assert_eq!(fetched([1, 1, 1, 1].into_iter(), EMPTY), 2);
    }

    #[test]
    fn a_full_cache_takes_blocks_only_for_a_working_set_that_fits() {
        assert_eq!(fetched((0..4).cycle().take(12), FULL), 4);
        assert_eq!(fetched((0..100).cycle().take(1000), FULL), 0);
    }

    #[test]
    fn only_the_last_blocks_are_remembered() {
        assert_eq!(fetched((0..=BLOCKS_MAX).cycle().take(5 * BLOCKS_MAX), EMPTY), 0);
        let mut misses = Misses::default();
        (0..10 * BLOCKS_MAX).for_each(|n| assert_eq!(misses.note(block(n), FULL), Fetch::Frames));
        assert_eq!(misses.blocks.len(), BLOCKS_MAX);
    }
}
