//! A block: the allocator's unit, and the packed word that tells its state.
//!
//! # Block word
//!
//! ```text
//! 63                    24 23   20 19        8 7      0
//! ┌───────────────────────┬───────┬───────────┬────────┐
//! │ generation (40)       │ state │ owner (12)│ start  │
//! └───────────────────────┴───────┴───────────┴────────┘
//! ```
//!
//! Zero is free, generation 0. There is one word for each *granule*, the size of the smallest
//! block, in a side array, at an address that is never anything else; a block has that of the
//! granule in which it starts. So the word follows from where the block starts, whatever class its
//! slab serves, and `start` says how many units into the granule that is. Legal steps, each one
//! compare-exchange, or a store by whoever leaves use under a lock that recovery needs too:
//!
//! ```text
//! FREE ──► USED(owner) ──► DRAIN(owner), generation + 1 ──► FREE
//!          │ ▲    ▲              └──► DRAIN(other) once the owner is dead
//!          │ │    └── kept as a spare by who drains it
//!          └─┘ USED(other), generation + 1, at once where whoever unlinked it keeps it as a spare
//! ```
//!
//! Whether a used block is published, the index alone tells: publication changes no block word. So
//! its word goes on naming the line that claimed it, which has no right to it any more: whoever
//! unlinks it takes it out of use.
//!
//! Until it is published, only the owner that the word names plainly stores into a block. A word
//! *beside* that of a block, where a table has asked for side words, is the table's own.

#![expect(clippy::cast_possible_truncation, reason = "fields are masked to their widths")]

use std::fmt;

use crate::memory::Offset;

/// Words in a unit of 64 bytes, the granularity of blocks.
pub const UNIT_WORDS: u64 = 8;

/// A block, by the distance of its first byte from the start of the segment in units of 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block(u32);

impl Block {
    /// The block that starts at this unit.
    #[inline]
    pub const fn new(unit: u32) -> Self {
        Self(unit)
    }

    /// The unit at which it starts.
    #[inline]
    pub const fn unit(self) -> u32 {
        self.0
    }

    /// Where its words start.
    #[inline]
    pub const fn offset(self) -> Offset {
        Offset::new(self.0 as u64 * UNIT_WORDS)
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "block {}", self.0)
    }
}

/// What a block is in the middle of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockState {
    /// Nobody's.
    Free,
    /// Claimed. The owner's to publish or give back; once published, that of whoever unlinks it.
    Used,
    /// Unlinked or abandoned; the owner wipes and frees it.
    Drain,
    /// A pattern that no participant writes.
    Damaged,
}

impl BlockState {
    const fn bits(self) -> u64 {
        match self {
            Self::Free => 0,
            Self::Used => 1,
            Self::Drain => 2,
            Self::Damaged => 15,
        }
    }
}

/// The packed word of a block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BlockWord(u64);

impl BlockWord {
    /// Bits of the generation.
    pub const GENERATION_BITS: u32 = 40;
    /// Largest owner: a participant line.
    pub const OWNER_MAX: u32 = 4095;
    /// Bits of the start: a granule has at most as many units as it can tell apart.
    pub const START_BITS: u32 = 8;

    const STATE_SHIFT: u32 = 20;
    const OWNER_SHIFT: u32 = 8;
    const GENERATION_SHIFT: u32 = 24;
    const GENERATION_MASK: u64 = (1 << Self::GENERATION_BITS) - 1;
    const START_MASK: u64 = (1 << Self::START_BITS) - 1;

    /// Packs, with start 0; the generation wraps at 40 bits.
    pub const fn new(generation: u64, state: BlockState, owner: u32) -> Self {
        Self(
            (generation & Self::GENERATION_MASK) << Self::GENERATION_SHIFT
                | state.bits() << Self::STATE_SHIFT
                | ((owner & Self::OWNER_MAX) as u64) << Self::OWNER_SHIFT,
        )
    }

    /// Reads what is in shared memory, whatever it is.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The word.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// How often the block has left use, modulo 2^40.
    pub const fn generation(self) -> u64 {
        self.0 >> Self::GENERATION_SHIFT
    }

    /// Its state.
    pub const fn state(self) -> BlockState {
        match (self.0 >> Self::STATE_SHIFT) & 15 {
            0 => BlockState::Free,
            1 => BlockState::Used,
            2 => BlockState::Drain,
            _ => BlockState::Damaged,
        }
    }

    /// The participant line that owns it; meaningful where the state has an owner.
    pub const fn owner(self) -> u32 {
        ((self.0 >> Self::OWNER_SHIFT) & Self::OWNER_MAX as u64) as u32
    }

    /// Units between the start of the granule and that of the block, where the state is not free.
    pub const fn start(self) -> u32 {
        (self.0 & Self::START_MASK) as u32
    }

    /// Claimed by this line, as a block that starts so many units into its granule.
    pub const fn claimed_by(self, owner: u32, start: u32) -> Self {
        let word = Self::new(self.generation(), BlockState::Used, owner);
        Self(word.0 | start as u64 & Self::START_MASK)
    }

    /// Kept by this line for its next claim.
    pub const fn kept_by(self, owner: u32) -> Self {
        self.with(BlockState::Used, owner)
    }

    /// Out of use, to be wiped and freed by this line; no earlier observation matches any more.
    pub const fn drained_by(self, owner: u32) -> Self {
        // What a generation has too much leaves the word: it is the upper end.
        Self(self.0.wrapping_add(1 << Self::GENERATION_SHIFT)).with(BlockState::Drain, owner)
    }

    /// Taken from the free blocks by this line, which does not use it and lets it go.
    pub const fn withheld_by(self, owner: u32) -> Self {
        self.with(BlockState::Drain, owner)
    }

    /// Handed from a dead owner to this line.
    pub const fn inherited_by(self, owner: u32) -> Self {
        self.with(BlockState::Drain, owner)
    }

    /// Nobody's, and no block's: the granule may start another one.
    pub const fn free(self) -> Self {
        Self::new(self.generation(), BlockState::Free, 0)
    }

    const fn with(self, state: BlockState, owner: u32) -> Self {
        let kept = Self::GENERATION_MASK << Self::GENERATION_SHIFT | Self::START_MASK;
        Self(self.0 & kept | Self::new(0, state, owner).0)
    }
}

impl fmt::Debug for BlockWord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} generation {}", self.state(), self.generation())?;
        match self.state() {
            BlockState::Used | BlockState::Drain => write!(formatter, " line {}", self.owner()),
            _ => Ok(()),
        }
    }
}

/// Size class: the block sizes that there are.
///
/// 64, 128, 192 and 256 bytes, then four sizes per doubling up to 64 KiB: at most 63 bytes are
/// wasted below 256 and at most a fifth of the block above.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SizeClass(u8);

impl SizeClass {
    /// Number of classes.
    pub const COUNT: usize = 36;
    /// Units of the largest class: 64 KiB.
    pub const UNITS_MAX: u32 = 1024;

    /// The smallest class that holds this many units, if there is one.
    #[inline]
    pub const fn holding(units: u32) -> Option<Self> {
        if units > Self::UNITS_MAX {
            return None;
        }
        if units <= 4 {
            return Some(Self(units.saturating_sub(1) as u8));
        }
        let below = units - 1;
        let exponent = below.ilog2();
        let quarter = (below >> (exponent - 2)) & 3;
        Some(Self((4 + (exponent - 2) * 4 + quarter) as u8))
    }

    /// The class with this index, if there is one.
    pub const fn from_index(index: u64) -> Option<Self> {
        if index < Self::COUNT as u64 { Some(Self(index as u8)) } else { None }
    }

    /// Index of the class, below [`COUNT`](Self::COUNT).
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Units of a block of this class.
    #[inline(always)]
    pub const fn units(self) -> u32 {
        UNITS[self.0 as usize] as u32
    }
}

/// Units of each class.
const UNITS: [u16; SizeClass::COUNT] = {
    let mut units = [0; SizeClass::COUNT];
    let mut class = 0;
    while class < units.len() {
        units[class] = match class.checked_sub(4) {
            None => class + 1,
            Some(above) => (above % 4 + 5) << (above / 4),
        } as u16;
        class += 1;
    }
    units
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_class_holds_its_own_size_and_wastes_at_most_a_fifth_above_256_bytes() {
        for index in 0..SizeClass::COUNT as u64 {
            let class = SizeClass::from_index(index).unwrap();
            assert_eq!(SizeClass::holding(class.units()), Some(class));
        }
        for units in 1..=SizeClass::UNITS_MAX {
            let block = SizeClass::holding(units).unwrap().units();
            assert!(block >= units);
            assert!(units <= 4 && block == units || (block - units) * 5 <= block, "{units}");
        }
        assert_eq!(SizeClass::holding(SizeClass::UNITS_MAX + 1), None);
        assert_eq!(SizeClass::from_index(SizeClass::COUNT as u64), None);
    }

    proptest! {
        #[test]
        fn a_block_word_keeps_its_fields(
            generation in 0..1_u64 << 40, state in 0..3_usize, owner in 0..=4095_u32,
            start in 0..256_u32,
        ) {
            let states = [BlockState::Free, BlockState::Used, BlockState::Drain];
            let word = BlockWord::new(generation, states[state], owner);
            prop_assert_eq!(word.generation(), generation);
            prop_assert_eq!(word.state(), states[state]);
            prop_assert_eq!(word.owner(), owner);
            prop_assert_eq!(word.drained_by(owner).generation(), (generation + 1) % (1 << 40));
            let claimed = word.claimed_by(owner, start);
            for step in [claimed, claimed.drained_by(1), claimed.kept_by(2)] {
                prop_assert_eq!(step.start(), start);
            }
            prop_assert_eq!(claimed.free().bits(), generation << 24);
        }
    }
}
