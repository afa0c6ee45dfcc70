//! The packed words of a bucket.

#![expect(clippy::cast_possible_truncation, reason = "fields are masked to their widths")]

use std::fmt;

use shm_arena::Block;

/// Slots that a bucket has at most.
pub(super) const SLOTS_MAX: u32 = 21;
/// Slots beside the header, in the bucket's first line.
pub(super) const FIRST_SLOTS: u32 = 7;

/// The word that decides what is in a bucket.
///
/// ```text
/// 63                     24 23  21 20              0
/// ┌────────────────────────┬──────┬─────────────────┐
/// │ version (40)           │ mode │ live, one a slot│
/// └────────────────────────┴──────┴─────────────────┘
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Header(u64);

impl Header {
    const LIVE: u64 = (1 << SLOTS_MAX) - 1;
    const MODE_SHIFT: u32 = SLOTS_MAX;
    const VERSION_SHIFT: u32 = Self::MODE_SHIFT + 3;

    /// A bucket in use that holds nothing.
    pub(super) const EMPTY: Self = Self(1 << Self::VERSION_SHIFT | 1 << Self::MODE_SHIFT);

    /// The same, so many versions before they wrap.
    pub(super) const fn empty_before_wrap(versions: u64) -> Self {
        Self(versions.wrapping_neg() << Self::VERSION_SHIFT | 1 << Self::MODE_SHIFT)
    }

    #[inline]
    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    #[inline]
    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    /// Which slots hold entries: bit `i` speaks of slot `i`.
    #[inline]
    pub(super) const fn live(self) -> u32 {
        (self.0 & Self::LIVE) as u32
    }

    /// How many membership changes the bucket has seen, modulo 2^40.
    pub(super) const fn version(self) -> u64 {
        self.0 >> Self::VERSION_SHIFT
    }

    /// Whether the bucket is in the only mode of a table of fixed size.
    #[inline]
    pub(super) const fn is_normal(self) -> bool {
        self.0 >> Self::MODE_SHIFT & 7 == 1
    }

    /// Whether the bucket is in use and none of these live bits, of slots that it has not, is set.
    #[inline(always)]
    pub(super) const fn is_sound(self, dead_bits: u64) -> bool {
        self.0 & (7 << Self::MODE_SHIFT | dead_bits) == 1 << Self::MODE_SHIFT
    }

    /// The live bits that a bucket of so many slots never sets.
    pub(super) const fn dead_bits(slots: u32) -> u64 {
        Self::LIVE & !((1 << slots) - 1)
    }

    /// The next version, in which exactly these slots hold entries.
    #[inline]
    pub(super) const fn with_live(self, live: u32) -> Self {
        let next = self.0.wrapping_add(1 << Self::VERSION_SHIFT);
        Self(next & !Self::LIVE | live as u64 & Self::LIVE)
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let normal = if self.is_normal() { "" } else { " in an unknown mode" };
        write!(formatter, "version {} live {:021b}{normal}", self.version(), self.live())
    }
}

/// The word of a slot: a tag in the upper half, where eight are matched at once, and a block.
///
/// An empty slot has block 0, where the segment header is, and the epoch of its table instead of a
/// tag, so that no word of an old table ever reads as an empty slot of a new one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot(u64);

impl Slot {
    /// No entry, in the table's first epoch.
    pub(super) const EMPTY: Self = Self(1 << 32);

    #[inline]
    pub(super) const fn new(tag: u32, block: Block) -> Self {
        Self((tag as u64) << 32 | block.unit() as u64)
    }

    #[inline]
    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    #[inline]
    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    pub(super) const fn tag(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline]
    pub(super) const fn block(self) -> Block {
        Block::new(self.0 as u32)
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.block().unit() == 0 {
            return write!(formatter, "empty in epoch {}", self.tag());
        }
        write!(formatter, "tag {:08x} {:?}", self.tag(), self.block())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_header_counts_each_change_and_keeps_its_mode(
            version in 0..(1_u64 << 40), live in 0..(1_u32 << 21), next in 0..(1_u32 << 21),
        ) {
            let header = Header::from_bits(version << 24 | 1 << 21 | u64::from(live));
            prop_assert_eq!((header.version(), header.live()), (version, live));
            let changed = header.with_live(next);
            prop_assert_eq!(changed.live(), next);
            prop_assert_eq!(changed.version(), (version + 1) % (1 << 40));
            prop_assert!(header.is_normal() && changed.is_normal());
        }

        #[test]
        fn a_slot_keeps_its_fields(tag in any::<u32>(), unit in any::<u32>()) {
            let slot = Slot::new(tag, Block::new(unit));
            prop_assert_eq!((slot.tag(), slot.block()), (tag, Block::new(unit)));
        }
    }
}
