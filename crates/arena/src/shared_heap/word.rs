//! The packed words that say whose a block is and how many of its bytes are in use.
//!
//! ```text
//! owner word    63            24 23    20 19      12 11       0
//!              │ generation 40  │ kind 4 │ root 8   │ record 12 │
//! size word    63            24 23                          0
//!              │ generation 40  │ bytes 24                   │
//! root header  63            24 23                          0
//!              │ version 40     │ live 24, a bit a root      │
//! ```
//!
//! The generation is that of the block's own word, so a stale exchange on either can only fail. The
//! version counts changes of the set of roots.

use std::fmt;

use crate::block::BlockWord;
use crate::liveness::RecordIndex;

/// Named roots of a heap, at most: one bit each beside the version.
pub const ROOTS_MAX: u32 = 24;

const GENERATION_SHIFT: u32 = 24;
const GENERATION_MASK: u64 = (1 << BlockWord::GENERATION_BITS) - 1;
const LOW_MASK: u64 = (1 << GENERATION_SHIFT) - 1;

/// Whose a block is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holder {
    /// Nobody's: it is not allocated.
    Nobody,
    /// Of the process with this record, and free when that is dead.
    Process(RecordIndex),
    /// On its way to or from a root, moved by this process; the root's header says where it is.
    Moving(RecordIndex, u32),
    /// Under a named root, whoever lives.
    Root(u32),
    /// Kept until somebody frees it, whoever lives.
    Kept,
    /// A pattern that no participant writes.
    Damaged,
}

/// The word that says whose a block is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct OwnerWord(u64);

impl OwnerWord {
    pub(super) const fn new(generation: u64, holder: Holder) -> Self {
        let (kind, root, record) = match holder {
            Holder::Nobody => (0, 0, 0),
            Holder::Process(record) => (1, 0, record.0),
            Holder::Moving(record, root) => (2, root, record.0),
            Holder::Root(root) => (3, root, 0),
            Holder::Kept => (4, 0, 0),
            Holder::Damaged => (15, 0, 0),
        };
        let low = kind << 20 | ((root & 0xff) as u64) << 12 | (record & 0xfff) as u64;
        Self((generation & GENERATION_MASK) << GENERATION_SHIFT | low)
    }

    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    pub(super) const fn generation(self) -> u64 {
        self.0 >> GENERATION_SHIFT
    }

    pub(super) const fn holder(self) -> Holder {
        let (root, record) = (((self.0 >> 12) & 0xff) as u32, RecordIndex((self.0 & 0xfff) as u32));
        match (self.0 >> 20) & 15 {
            0 => Holder::Nobody,
            1 => Holder::Process(record),
            2 if root < ROOTS_MAX => Holder::Moving(record, root),
            3 if root < ROOTS_MAX => Holder::Root(root),
            4 => Holder::Kept,
            _ => Holder::Damaged,
        }
    }

    /// Whether this is the word of a block in this life that a process of this record owns.
    #[inline(always)]
    pub(super) const fn is_of(self, generation: u64, record: RecordIndex) -> bool {
        let holder = Self::new(0, Holder::Process(record)).0;
        self.generation() == generation && self.0 & LOW_MASK == holder
    }

    /// The same life of the block in other hands.
    pub(super) const fn held_by(self, holder: Holder) -> Self {
        Self::new(self.generation(), holder)
    }
}

impl fmt::Debug for OwnerWord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} generation {}", self.holder(), self.generation())
    }
}

/// The word that says how many bytes of a block are in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SizeWord(u64);

impl SizeWord {
    pub(super) const fn new(generation: u64, bytes: u64) -> Self {
        Self((generation & GENERATION_MASK) << GENERATION_SHIFT | bytes & LOW_MASK)
    }

    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    pub(super) const fn generation(self) -> u64 {
        self.0 >> GENERATION_SHIFT
    }

    pub(super) const fn bytes(self) -> u64 {
        self.0 & LOW_MASK
    }
}

/// The word that says which roots there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RootHeader(u64);

impl RootHeader {
    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    pub(super) const fn is_live(self, root: u32) -> bool {
        self.0 >> root & 1 == 1
    }

    /// The next version, with this root there or not.
    pub(super) const fn with(self, root: u32, is_live: bool) -> Self {
        let low = self.0 & LOW_MASK & !(1 << root) | (is_live as u64) << root;
        Self((self.0 & !LOW_MASK).wrapping_add(1 << GENERATION_SHIFT) | low)
    }
}

/// Bits of an owner's generation, of the root header's version, and of the generation in a root.
#[cfg(test)]
pub(crate) fn bits() -> [u32; 3] {
    let generation = OwnerWord::new(u64::MAX, Holder::Nobody).generation();
    let version = RootHeader(0).with(0, false).bits();
    [generation.count_ones(), u64::BITS - version.trailing_zeros(), u32::BITS]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn owner_and_size_words_keep_their_fields(
            generation in 0..1_u64 << 40, record in 0..4096_u32, root in 0..ROOTS_MAX,
            bytes in 0..1_u64 << 24,
        ) {
            let record = RecordIndex(record);
            for holder in [
                Holder::Nobody, Holder::Process(record), Holder::Moving(record, root),
                Holder::Root(root), Holder::Kept, Holder::Damaged,
            ] {
                let word = OwnerWord::new(generation, holder);
                prop_assert_eq!((word.generation(), word.holder()), (generation, holder));
            }
            let size = SizeWord::new(generation, bytes);
            prop_assert_eq!((size.generation(), size.bytes()), (generation, bytes));
        }

        #[test]
        fn a_root_header_changes_one_bit_and_always_its_version(
            bits in any::<u64>(), root in 0..ROOTS_MAX, is_live in any::<bool>(),
        ) {
            let before = RootHeader::from_bits(bits);
            let after = before.with(root, is_live);
            prop_assert_eq!(after.is_live(root), is_live);
            prop_assert_ne!(after.bits() >> 24, before.bits() >> 24);
            let others = (0..ROOTS_MAX).filter(|&other| other != root);
            prop_assert!(others.into_iter().all(|at| before.is_live(at) == after.is_live(at)));
        }
    }
}
