//! The packed words of a bucket.

#![expect(clippy::cast_possible_truncation, reason = "fields are masked to their widths")]

use std::fmt;

use shm_arena::Block;

/// Slots that a bucket has at most: as many as its header has bits for, beside the version.
pub(super) const SLOTS_MAX: u32 = 24;
/// Slots that a bucket has at most whose header has a mode too.
pub(super) const MODED_SLOTS_MAX: u32 = 21;
/// Slots beside the header, in the bucket's first line.
pub(super) const FIRST_SLOTS: u32 = 7;

/// What a bucket is good for at the moment.
///
/// ```text
/// Fresh ──┐
///         ├──→ Open ←──→ Capped ──→ Frozen ──→ Done ──→ Ready ──→ Open, in its next life
///         │      └────────────────────↑
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    /// Never used.
    Fresh,
    /// Cleaned for its next life, and not open yet.
    Ready,
    /// Fixed: its entries are being moved. What it held is so until an heir is open.
    Frozen,
    /// Its entries are elsewhere.
    Done,
    /// In use.
    Open,
    /// In use, and bound to half of what a bucket may hold.
    Capped,
}

/// The word that decides what is in a bucket.
///
/// ```text
/// 63                     24 23  21 20              0
/// ┌────────────────────────┬──────┬─────────────────┐
/// │ version (40)           │ mode │ live, one a slot│   up to 21 slots
/// ├────────────────────────┼──────┴─────────────────┤
/// │ version (40)           │ live, one a slot       │   22 to 24 slots: always in use
/// └────────────────────────┴────────────────────────┘
/// ```
///
/// Modes 0 to 3 are those of a bucket out of use, in the order of [`Mode`]; with the upper bit, it
/// is in use, with the lowest one too, capped. [`Slots`] knows which of the two a table has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Header(u64);

impl Header {
    const VERSION_SHIFT: u32 = SLOTS_MAX;
    const MODE_SHIFT: u32 = MODED_SLOTS_MAX;
    const OPEN: u64 = 4 << Self::MODE_SHIFT;
    const CAPPED: u64 = 5 << Self::MODE_SHIFT;

    /// A bucket that was never used.
    pub(super) const FRESH: Self = Self(1 << Self::VERSION_SHIFT);

    /// The same bucket, so many versions before they wrap.
    pub(super) const fn before_wrap(self, versions: u64) -> Self {
        let mode_and_live = self.0 & ((1 << Self::VERSION_SHIFT) - 1);
        Self(versions.wrapping_neg() << Self::VERSION_SHIFT | mode_and_live)
    }

    #[inline]
    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    #[inline]
    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    /// The words of the first line whose slots are live, of a bucket that fills it: bit `i` speaks
    /// of word `i`.
    #[inline(always)]
    pub(super) const fn live_words(self) -> u32 {
        (self.0 as u32) << 1 & 0xfe
    }

    /// How many changes the bucket has seen, modulo 2^40.
    pub(super) const fn version(self) -> u64 {
        self.0 >> Self::VERSION_SHIFT
    }

    /// What the bucket is good for, where headers have a mode.
    pub(super) const fn mode(self) -> Mode {
        match self.0 >> Self::MODE_SHIFT & 7 {
            0 => Mode::Fresh,
            1 => Mode::Ready,
            2 => Mode::Frozen,
            3 => Mode::Done,
            4 | 6 => Mode::Open,
            _ => Mode::Capped,
        }
    }

    /// Whether the bucket is bound to half of what it may hold, where headers have a mode.
    #[inline(always)]
    pub(super) const fn is_capped(self) -> bool {
        self.0 & Self::CAPPED == Self::CAPPED
    }

    /// The next version, in which of these slots those hold entries that did not.
    #[inline(always)]
    pub(super) const fn flipped(self, live_bits: u32) -> Self {
        Self(self.0.wrapping_add(1 << Self::VERSION_SHIFT) ^ live_bits as u64)
    }

    /// The next version, in another mode.
    pub(super) const fn with_mode(self, mode: Mode) -> Self {
        let mode: u64 = match mode {
            Mode::Fresh => 0,
            Mode::Ready => 1,
            Mode::Frozen => 2,
            Mode::Done => 3,
            Mode::Open => 4,
            Mode::Capped => 5,
        };
        let next = self.flipped(0).0;
        Self(next & !(7 << Self::MODE_SHIFT) | mode << Self::MODE_SHIFT)
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode_and_live = self.0 & ((1 << Self::VERSION_SHIFT) - 1);
        write!(formatter, "version {} mode and live {mode_and_live:024b}", self.version())
    }
}

/// Of how many slots the buckets of one table are, and so how their headers are to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slots {
    pub(super) count: u32,
    /// The live bits of all slots.
    pub(super) all: u32,
    /// Bits that are the same in each header of a bucket in use.
    fixed: u64,
    /// What they are.
    in_use: u64,
}

impl Slots {
    /// The same of 1 to [`SLOTS_MAX`] slots.
    pub(super) const fn new(count: u32) -> Self {
        let all = (1 << count) - 1;
        let (live_bits, in_use) = match count {
            ..=MODED_SLOTS_MAX => (MODED_SLOTS_MAX, Header::OPEN),
            _ => (SLOTS_MAX, 0),
        };
        let unused = ((1 << live_bits) - 1) & !(all as u64);
        Self { count, all, fixed: unused | in_use, in_use }
    }

    /// A bucket in use that holds nothing.
    pub(super) const fn empty(self) -> Header {
        Header(1 << Header::VERSION_SHIFT | self.in_use)
    }

    /// Which slots hold entries: bit `i` speaks of slot `i`.
    #[inline(always)]
    pub(super) const fn live(self, header: Header) -> u32 {
        header.0 as u32 & self.all
    }

    /// Whether the bucket is in use, and no live bit set of a slot that it has not.
    #[inline(always)]
    pub(super) const fn is_open(self, header: Header) -> bool {
        header.0 & self.fixed == self.in_use
    }

    /// Whether the bucket's entries are being moved, and no live bit set of a slot that it has not.
    pub(super) const fn is_frozen(self, header: Header) -> bool {
        matches!(header.mode(), Mode::Frozen) && header.0 & self.fixed & !self.in_use == 0
    }
}

/// The slots whose bits are set, in order.
pub(super) fn slots_of(mut live_bits: u32) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let slot = live_bits.trailing_zeros();
        live_bits &= live_bits.wrapping_sub(1);
        (slot < u32::BITS).then_some(slot)
    })
}

/// How the slots of one bucket are written for one key: the tag under the epoch of the bucket's
/// life in the upper half, the epoch in the lower.
///
/// The epoch is exclusive-ored into the tag: the word of an entry in one life of an area is never
/// its word in another one, and no step of a helper that overslept a life fits the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp(u64);

impl Stamp {
    #[inline(always)]
    pub(super) const fn new(tag: u32, epoch: u32) -> Self {
        Self(((tag ^ epoch) as u64) << 32 | epoch as u64)
    }

    /// The upper half of a slot's word.
    #[inline(always)]
    pub(super) const fn tag(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline(always)]
    pub(super) const fn epoch(self) -> u32 {
        self.0 as u32
    }
}

/// The word of a slot: a tag in the upper half, where eight are matched at once, and a block.
///
/// A vacant slot names a unit of the segment's header, where no block is: 0 if it was emptied, 1 if
/// it was cleaned for the life of an epoch, which stands in place of the tag; 2 if it was never
/// used. So no word of one life reads as a vacant slot of another one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot(u64);

impl Slot {
    /// No entry ever.
    pub(super) const FRESH: Self = Self(2);

    /// No entry any more.
    #[inline(always)]
    pub(super) const fn empty(epoch: u32) -> Self {
        Self((epoch as u64) << 32)
    }

    /// No entry yet, in the life that begins in an epoch.
    pub(super) const fn virgin(epoch: u32) -> Self {
        Self((epoch as u64) << 32 | 1)
    }

    #[inline]
    pub(super) const fn new(stamp: Stamp, block: Block) -> Self {
        Self((stamp.tag() as u64) << 32 | block.unit() as u64)
    }

    #[inline]
    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    #[inline]
    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    /// The upper half.
    pub(super) const fn stamped_tag(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The tag of an entry whose word was written in an epoch.
    pub(super) const fn tag(self, epoch: u32) -> u32 {
        self.stamped_tag() ^ epoch
    }

    /// The word of the same entry in the next epoch.
    pub(super) const fn in_next_epoch(self, epoch: u32) -> Self {
        let change = epoch ^ epoch.wrapping_add(1);
        Self(self.0 ^ (change as u64) << 32)
    }

    #[inline]
    pub(super) const fn block(self) -> Block {
        Block::new(self.0 as u32)
    }

    /// Whether it held nothing yet in the life that began in an epoch.
    #[inline(always)]
    pub(super) fn is_unused_in(self, epoch: u32) -> bool {
        self == Self::virgin(epoch) || self == Self::FRESH
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.block().unit() {
            0 => write!(formatter, "empty in epoch {}", self.stamped_tag()),
            1 => write!(formatter, "cleaned for epoch {}", self.stamped_tag()),
            2 => write!(formatter, "never used"),
            _ => write!(formatter, "tag {:08x} {:?}", self.stamped_tag(), self.block()),
        }
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
            let slots = Slots::new(21);
            let header = Header::from_bits(version << 24 | 4 << 21 | u64::from(live));
            prop_assert_eq!((header.version(), slots.live(header)), (version, live));
            let changed = header.flipped(live ^ next);
            prop_assert_eq!(slots.live(changed), next);
            prop_assert_eq!(changed.version(), (version + 1) % (1 << 40));
            prop_assert!(slots.is_open(header) && slots.is_open(changed));
            prop_assert!(!header.is_capped());
            for mode in
                [Mode::Fresh, Mode::Ready, Mode::Frozen, Mode::Done, Mode::Open, Mode::Capped]
            {
                let other = header.with_mode(mode);
                prop_assert_eq!((other.mode(), slots.live(other)), (mode, live));
                prop_assert_eq!(other.version(), changed.version());
                prop_assert_eq!(slots.is_open(other), matches!(mode, Mode::Open | Mode::Capped));
                prop_assert_eq!(slots.is_frozen(other), mode == Mode::Frozen);
                prop_assert_eq!(other.is_capped(), mode == Mode::Capped);
                prop_assert_eq!(other.flipped(next).mode(), mode);
            }
        }

        #[test]
        fn a_header_without_a_mode_has_bits_for_more_slots(
            version in 0..(1_u64 << 40), count in 22..=24_u32, live in any::<u32>(),
        ) {
            let slots = Slots::new(count);
            let header = Header::from_bits(version << 24 | u64::from(live & slots.all));
            prop_assert!(slots.is_open(header));
            prop_assert_eq!((header.version(), slots.live(header)), (version, live & slots.all));
            let emptied = header.flipped(live & slots.all);
            prop_assert_eq!((slots.live(emptied), slots.is_open(emptied)), (0, true));
            prop_assert_eq!(emptied.version(), (version + 1) % (1 << 40));
        }

        #[test]
        fn a_bit_of_a_slot_that_no_bucket_has_is_seen(count in 1..24_u32, more in 0..24_u32) {
            let slots = Slots::new(count);
            let bit = count + more % (if count > 21 { 24 } else { 21 } - count).max(1);
            prop_assume!(bit != 21);
            let damaged = slots.empty().flipped(1 << bit);
            prop_assert!(slots.is_open(slots.empty()) && !slots.is_open(damaged));
            if count <= 21 {
                let frozen = |header: Header| header.with_mode(Mode::Frozen);
                let [sound, damaged] = [frozen(slots.empty()), frozen(damaged)];
                prop_assert!(slots.is_frozen(sound) && !slots.is_frozen(damaged));
            }
        }

        #[test]
        fn live_bits_name_their_slots_in_order(live in any::<u32>()) {
            let named: Vec<_> = slots_of(live).collect();
            let expected: Vec<_> = (0..32).filter(|slot| live >> slot & 1 == 1).collect();
            prop_assert_eq!(named, expected);
        }

        #[test]
        fn a_slot_keeps_its_fields_and_differs_in_each_epoch(
            tag in any::<u32>(), unit in 3..=u32::MAX, epoch in any::<u32>(),
        ) {
            let slot = Slot::new(Stamp::new(tag, epoch), Block::new(unit));
            prop_assert_eq!((slot.tag(epoch), slot.block()), (tag, Block::new(unit)));
            let next = slot.in_next_epoch(epoch);
            let stamp = Stamp::new(tag, epoch.wrapping_add(1));
            prop_assert_eq!(next, Slot::new(stamp, Block::new(unit)));
            prop_assert_eq!(stamp.tag(), next.stamped_tag());
            prop_assert_eq!(stamp.epoch(), epoch.wrapping_add(1));
            prop_assert!(next != slot && !slot.is_unused_in(epoch));
        }

        #[test]
        fn a_vacant_slot_says_of_which_life(epoch in any::<u32>(), other in any::<u32>()) {
            let vacant = [Slot::empty(epoch), Slot::virgin(epoch), Slot::FRESH];
            prop_assert!(vacant[0] != vacant[1] && vacant[0] != vacant[2]);
            prop_assert_eq!(vacant.map(|slot| slot.is_unused_in(epoch)), [false, true, true]);
            let is_same = epoch == other;
            prop_assert_eq!(vacant.map(|slot| slot.is_unused_in(other)), [false, is_same, true]);
        }
    }
}
