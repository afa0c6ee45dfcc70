//! The packed words of a page: its header, its slots, and what an update is about to do.

#![expect(clippy::cast_possible_truncation, reason = "fields are masked to their widths")]

use std::fmt;

use shm_arena::Block;

/// Slots that a page has at most.
pub(super) const SLOTS_MAX: u32 = 512;
/// Slots that a search looks at, at most: the distance from home is bounded by one less.
pub(super) const REACH_MAX: u32 = 63;
/// Blocks that a slot can name: a segment has at most this many units of 64 bytes.
pub(super) const UNITS_MAX: u64 = 1 << Slot::BLOCK_BITS;

/// The word that decides what is in a page.
///
/// ```text
/// 63   62  61 60        49 48                         0
/// ┌────┬─────┬────────────┬────────────────────────────┐
/// │busy│mode │ line (12)  │ version (49)               │
/// └────┴─────┴────────────┴────────────────────────────┘
/// ```
///
/// Idle, the slots are as the version says. Busy, they are as that version says after the update
/// that the line's descriptor holds, whose slots may or may not be written yet. In mode 1 the page
/// is frozen: as the version says, for good. In mode 2 it has moved on to pages of the next size.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Header(u64);

impl Header {
    const BUSY: u64 = 1 << 63;
    const LINE_SHIFT: u32 = 49;
    const LINE: u64 = 0xfff;
    const VERSION: u64 = (1 << Self::LINE_SHIFT) - 1;
    const MODE: u64 = 3 << 61;
    const FROZEN: u64 = 1 << 61;
    const MOVED: u64 = 2 << 61;

    /// A page that no update has touched.
    pub(super) const NEW: Self = Self(1);

    /// The same, so many versions before they wrap.
    pub(super) const fn new_before_wrap(versions: u64) -> Self {
        Self(versions.wrapping_neg() & Self::VERSION)
    }

    #[inline(always)]
    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    #[inline(always)]
    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    /// Whether no update is under way: nothing but a version.
    #[inline(always)]
    pub(super) const fn is_idle(self) -> bool {
        self.0 <= Self::VERSION
    }

    /// Whether an update is under way, in a word that a participant can have written.
    pub(super) const fn is_busy(self) -> bool {
        self.0 & (Self::BUSY | Self::MODE) == Self::BUSY
    }

    /// Whether the page holds the truth and will never change.
    pub(super) const fn is_frozen(self) -> bool {
        self.0 & !Self::VERSION == Self::FROZEN
    }

    /// Whether the truth is in pages of a later size.
    #[inline(always)]
    pub(super) const fn is_moved(self) -> bool {
        self.0 & !Self::VERSION == Self::MOVED
    }

    /// Whether the slots are what is in the page: it is idle or frozen.
    pub(super) const fn is_still(self) -> bool {
        self.is_idle() || self.is_frozen()
    }

    /// An idle page, frozen.
    pub(super) const fn frozen(self) -> Self {
        Self(Self::FROZEN | self.version())
    }

    /// A frozen page, moved on.
    pub(super) const fn moved(self) -> Self {
        Self(Self::MOVED | self.version())
    }

    /// How many updates the page has seen, modulo 2^49.
    pub(super) const fn version(self) -> u64 {
        self.0 & Self::VERSION
    }

    /// The line whose descriptor says what is under way.
    pub(super) const fn line(self) -> u32 {
        (self.0 >> Self::LINE_SHIFT & Self::LINE) as u32
    }

    /// The same version with this line's update under way.
    #[inline(always)]
    pub(super) const fn begun_by(self, line: u32) -> Self {
        Self(Self::BUSY | (line as u64 & Self::LINE) << Self::LINE_SHIFT | self.version())
    }

    /// After the update that is under way.
    #[inline(always)]
    pub(super) const fn completed(self) -> Self {
        Self(self.version().wrapping_add(1) & Self::VERSION)
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "version {}", self.version())?;
        match self {
            _ if self.is_idle() => Ok(()),
            _ if self.is_frozen() => formatter.write_str(", frozen"),
            _ if self.is_moved() => formatter.write_str(", moved on"),
            _ => write!(formatter, ", an update of line {} under way", self.line()),
        }
    }
}

/// The word of a slot.
///
/// ```text
/// 63      58 57   54 53            28 27            0
/// ┌─────────┬───────┬────────────────┬───────────────┐
/// │reach (6)│tag (4)│ count (26)     │ block (28)    │
/// └─────────┴───────┴────────────────┴───────────────┘
/// ```
///
/// The *reach* is how many slots a search looks at before it has found the entry: one more than the
/// distance from its home, 0 in an empty slot. The count moves on with each write of the slot, so
/// that no late helper finds the word that it expects.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot(u64);

impl Slot {
    const BLOCK_BITS: u32 = 28;
    const COUNT_SHIFT: u32 = Self::BLOCK_BITS;
    const LEAD_SHIFT: u32 = 54;
    const TAG_BITS: u32 = 4;
    const REACH_SHIFT: u32 = Self::LEAD_SHIFT + Self::TAG_BITS;
    const BLOCK: u64 = (1 << Self::BLOCK_BITS) - 1;
    const COUNT: u64 = ((1 << Self::LEAD_SHIFT) - 1) & !Self::BLOCK;

    /// No entry, written never.
    pub(super) const EMPTY: Self = Self(0);

    /// An entry as it would be in a slot that was never written.
    #[inline(always)]
    pub(super) const fn new(reach: u32, tag: u32, block: Block) -> Self {
        Self(Self::lead_of(reach, tag) << Self::LEAD_SHIFT | block.unit() as u64 & Self::BLOCK)
    }

    #[inline(always)]
    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    #[inline(always)]
    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    /// What a search compares: reach and tag.
    #[inline(always)]
    pub(super) const fn lead(self) -> u64 {
        self.0 >> Self::LEAD_SHIFT
    }

    /// The lead of an entry with this tag so far from its home.
    #[inline(always)]
    pub(super) const fn lead_of(reach: u32, tag: u32) -> u64 {
        (reach as u64) << Self::TAG_BITS | tag as u64 & 15
    }

    #[inline(always)]
    pub(super) const fn reach(self) -> u32 {
        (self.0 >> Self::REACH_SHIFT) as u32
    }

    pub(super) const fn tag(self) -> u32 {
        self.lead() as u32 & 15
    }

    #[inline(always)]
    pub(super) const fn is_empty(self) -> bool {
        self.reach() == 0
    }

    #[inline(always)]
    pub(super) const fn block(self) -> Block {
        Block::new((self.0 & Self::BLOCK) as u32)
    }

    /// Whether the slot was written an odd number of times.
    #[inline(always)]
    pub(super) const fn is_odd(self) -> bool {
        self.0 >> Self::COUNT_SHIFT & 1 == 1
    }

    /// This slot written once more, with the content of another word.
    #[inline(always)]
    pub(super) const fn with(self, content: Self) -> Self {
        let count = self.0.wrapping_add(1 << Self::COUNT_SHIFT) & Self::COUNT;
        Self(content.0 & !Self::COUNT | count)
    }

    /// The content one slot further from its home.
    #[inline(always)]
    pub(super) const fn further(self) -> Self {
        Self(self.0.wrapping_add(1 << Self::REACH_SHIFT))
    }

    /// The content one slot nearer to its home.
    #[inline(always)]
    pub(super) const fn nearer(self) -> Self {
        Self(self.0.wrapping_sub(1 << Self::REACH_SHIFT))
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = (self.0 & Self::COUNT) >> Self::COUNT_SHIFT;
        if self.is_empty() {
            return write!(formatter, "empty, count {count}");
        }
        let (reach, tag, block) = (self.reach(), self.tag(), self.block());
        write!(formatter, "reach {reach} tag {tag:x} count {count} {block:?}")
    }
}

/// Words of parities in a descriptor: one bit for each slot that an update can write.
pub(super) const PARITY_WORDS: usize = SLOTS_MAX as usize / 64;

/// What an update does with the slots that it writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// Moves all of them but the last, which is empty, one slot on; the first takes the new entry.
    Insert,
    /// Moves all of them but the first one slot back over it; the last becomes empty.
    Remove,
    /// Puts the new entry in place of the one in the only slot.
    Replace,
}

/// An update as a redo descriptor: enough for anyone to finish it from any point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) change: Change,
    /// First of the slots that are written.
    pub(super) start: u32,
    /// How many there are, at least one.
    pub(super) len: u32,
    /// The entry that comes, as the first slot's content; empty for a removal.
    pub(super) incoming: Slot,
    /// The block that goes, or block 0.
    pub(super) outgoing: Block,
    /// Bit `i`: whether slot `start + i` was odd before.
    pub(super) parity: [u64; PARITY_WORDS],
}

impl Plan {
    /// A plan that writes no slot yet.
    #[inline(always)]
    pub(super) const fn new(change: Change, start: u32, incoming: Slot, outgoing: Block) -> Self {
        Self { change, start, len: 0, incoming, outgoing, parity: [0; PARITY_WORDS] }
    }

    /// Adds the next slot, as it is before the update.
    #[inline(always)]
    pub(super) fn add(&mut self, slot: Slot) {
        let index = self.len as usize;
        self.parity[index / 64 % PARITY_WORDS] |= u64::from(slot.is_odd()) << (index % 64);
        self.len += 1;
    }

    /// Change, start and length in one word.
    #[inline(always)]
    pub(super) const fn packed(&self) -> u64 {
        let change = match self.change {
            Change::Insert => 1,
            Change::Remove => 2,
            Change::Replace => 3,
        };
        change << 32 | (self.start as u64) << 16 | self.len as u64
    }

    /// The reverse, without entries and parities; `None` for what no participant writes.
    pub(super) const fn unpacked(word: u64, slots: u32) -> Option<Self> {
        let change = match word >> 32 {
            1 => Change::Insert,
            2 => Change::Remove,
            3 => Change::Replace,
            _ => return None,
        };
        let mut plan = Self::new(change, word as u32 >> 16, Slot::EMPTY, Slot::EMPTY.block());
        plan.len = word as u32 & 0xffff;
        if plan.start >= slots || plan.len == 0 || plan.len > slots {
            return None;
        }
        Some(plan)
    }

    /// Words of parities that the descriptor holds.
    #[inline(always)]
    pub(super) const fn parity_words(&self) -> u32 {
        self.len.div_ceil(64)
    }

    /// Which slot is written in this turn, counted from `start`. An insertion begins at its end, a
    /// removal at its start: what moves is written to its new slot before its old one is.
    #[inline(always)]
    pub(super) const fn order(&self, turn: u32) -> u32 {
        match self.change {
            Change::Insert => self.len - 1 - turn,
            Change::Remove | Change::Replace => turn,
        }
    }

    /// Whether a slot, counted from `start`, has been written, seen as it is.
    #[inline(always)]
    pub(super) const fn is_done(&self, index: u32, slot: Slot) -> bool {
        let word = self.parity[index as usize / 64 % PARITY_WORDS];
        (word >> (index % 64) & 1 == 1) != slot.is_odd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_header_is_idle_or_names_the_line_of_the_update_under_way(
            version in 0..(1_u64 << 49), line in 0..=4095_u32,
        ) {
            let idle = Header::from_bits(version);
            prop_assert!(idle.is_idle() && !idle.is_busy());
            let busy = idle.begun_by(line);
            prop_assert!(busy.is_busy() && !busy.is_idle());
            prop_assert_eq!((busy.version(), busy.line()), (version, line));
            prop_assert_eq!(busy.completed().version(), (version + 1) % (1 << 49));
            prop_assert!(busy.completed().is_idle());
            let (frozen, moved) = (idle.frozen(), idle.frozen().moved());
            prop_assert!(frozen.is_frozen() && frozen.is_still() && !frozen.is_moved());
            prop_assert!(moved.is_moved() && !moved.is_still() && !moved.is_frozen());
            prop_assert!([frozen, moved].iter().all(|page| !page.is_idle() && !page.is_busy()));
            prop_assert_eq!((frozen.version(), moved.version()), (version, version));
        }

        #[test]
        fn a_slot_keeps_its_content_and_counts_its_writes(
            reach in 1..=62_u32, tag in 0..16_u32, unit in 0..(1_u32 << 28),
            count in 0..(1_u64 << 26), other in any::<u64>(),
        ) {
            let content = Slot::new(reach, tag, Block::new(unit));
            let slot = Slot::from_bits(other & !Slot::COUNT | count << 28).with(content);
            prop_assert_eq!((slot.reach(), slot.tag(), slot.block().unit()), (reach, tag, unit));
            prop_assert_eq!(slot.lead(), Slot::lead_of(reach, tag));
            prop_assert_eq!((slot.bits() & Slot::COUNT) >> 28, (count + 1) % (1 << 26));
            prop_assert_eq!(slot.further().reach(), reach + 1);
            prop_assert_eq!(slot.further().nearer(), slot);
        }

        #[test]
        fn a_plan_says_which_slots_are_written(
            start in 0..512_u32, counts in prop::collection::vec(0..4_u64, 1..512),
        ) {
            let mut plan = Plan::new(Change::Insert, start, Slot::EMPTY, Block::new(0));
            for &count in &counts {
                plan.add(Slot::from_bits(count << 28));
            }
            let again = Plan::unpacked(plan.packed(), 512).unwrap();
            prop_assert_eq!((again.change, again.start, again.len), (plan.change, start, plan.len));
            for (index, &count) in (0..).zip(&counts) {
                let slot = Slot::from_bits(count << 28);
                prop_assert!(!plan.is_done(index, slot));
                prop_assert!(plan.is_done(index, slot.with(Slot::EMPTY)));
            }
        }
    }

    #[test]
    fn a_word_that_is_no_plan_is_refused() {
        for word in [0, 1 << 32, 4 << 32 | 1, 1 << 32 | 8 << 16 | 1, 1 << 32 | 9, u64::MAX] {
            assert!(Plan::unpacked(word, 8).is_none(), "{word:x}");
        }
    }
}
