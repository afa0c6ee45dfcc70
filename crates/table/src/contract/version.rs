//! Which life of an entry a caller has seen.

use std::fmt;

use shm_arena::{Block, BlockWord};

/// One life of one entry: what `compare_exchange` and `remove_if` insist on.
///
/// Opaque: the block that holds the entry, the block's 40-bit generation, and 32 bits that name the
/// table. It means the same in every process that is attached to the table. In another table it
/// matches nothing, but for one chance in 2^32. After 2^40 lives of one block, 30 hours at one per
/// 100 ns, it would match a later life.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version {
    table: u32,
    block: u32,
    generation: u64,
}

impl Version {
    /// The version of the entry in a block, for whoever implements a table. `table` is the table's
    /// [`identity`](super::Table::identity), of whose bits the upper half is kept.
    #[inline]
    pub const fn new(table: u64, block: Block, generation: u64) -> Self {
        let generation = generation & ((1 << BlockWord::GENERATION_BITS) - 1);
        Self { table: (table >> 32) as u32, block: block.unit(), generation }
    }

    /// The block that held the entry.
    #[inline]
    pub const fn block(self) -> Block {
        Block::new(self.block)
    }

    /// The generation of the block in that life.
    #[inline]
    pub const fn generation(self) -> u64 {
        self.generation
    }

    /// Whether the version was given out by the table of this identity.
    #[inline]
    pub const fn is_of(self, table: u64) -> bool {
        self.table == (table >> 32) as u32
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, block, generation } = self;
        write!(formatter, "block {block} generation {generation} of table {table:08x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_version_keeps_its_fields(
            table in any::<u64>(), unit in any::<u32>(), generation in 0..1_u64 << 40,
        ) {
            let version = Version::new(table, Block::new(unit), generation);
            prop_assert_eq!(version.block(), Block::new(unit));
            prop_assert_eq!(version.generation(), generation);
            prop_assert!(version.is_of(table));
            prop_assert!(!version.is_of(table ^ 1 << 32));
            prop_assert_eq!(version, Version::new(table, Block::new(unit), generation | 1 << 40));
        }
    }
}
