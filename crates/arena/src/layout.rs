//! Where everything lies in a segment, computed from the few numbers that its header records.
//!
//! ```text
//! word 0        64         80            80+8R              …          multiple of 8 each
//! ┌────────────┬──────────┬─────────────┬──────────────────┬─────────┬─────────┬─────────┬─────────┬────────┐
//! │ header     │ control  │ process     │ participant      │ slab    │ hint    │ block   │ index   │ slabs  │
//! │ 64 words   │ 16 words │ records R×8 │ lines L×16       │ words S │ words   │ words   │         │        │
//! └────────────┴──────────┴─────────────┴──────────────────┴─────────┴─────────┴─────────┴─────────┴────────┘
//! ```
//!
//! Where the geometry asks for *side words*, each block word is followed by a word of the table's.
//!
//! A process keeps its own copy of the layout from the moment it attaches: whatever later happens
//! to the header cannot lead an access astray.

use crate::block::{Block, BlockWord, SizeClass, UNIT_WORDS};
use crate::error::SegmentError;
use crate::memory::Offset;
use crate::participant::SPARES_MAX;

/// Words of the segment header.
pub const HEADER_WORDS: u64 = 64;
/// Words that a table has for its own shared variables.
pub const CONTROL_WORDS: u64 = 16;
/// Words of a process record.
pub const RECORD_WORDS: u64 = 8;
/// Words of a participant line: two cache lines, so that no two lines share one.
pub const LINE_WORDS: u64 = 16;

/// The numbers that a layout follows from, recorded in the header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    /// Words of the table's index.
    pub index_words: u64,
    /// Process records: processes that may be attached at once.
    pub records: u32,
    /// Participant lines: threads that may be in the middle of an update at once.
    pub lines: u32,
    /// Slabs.
    pub slabs: u32,
    /// Units of 64 bytes in a slab, a power of two.
    pub slab_units: u32,
    /// Units of the smallest block, a power of two up to 256: one granule, which has one block
    /// word.
    pub block_units_min: u32,
    /// Words of the table's own beside each block word: 0 or 1.
    pub side_words: u32,
    /// Blocks that a line may keep back for its next claims: 1 to 8. Of more than 2 KiB, one.
    pub spares: u32,
}

/// Offsets and counts of a segment, range-checked once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    geometry: Geometry,
    records: Offset,
    lines: Offset,
    slab_words: Offset,
    hints: Offset,
    block_words: Offset,
    index: Offset,
    slabs: Offset,
    slab_shift: u32,
    granule_shift: u32,
    /// Granules of a slab, less one.
    granule_mask: u32,
    /// Half of them, by its exponent.
    fold_shift: u32,
    /// Words from one block word to the next, by their exponent.
    side_shift: u32,
    first_unit: u32,
    units: u32,
    word_count: u64,
}

impl Layout {
    /// Computes the layout. Errors name the number that no segment can have.
    pub fn new(geometry: Geometry) -> Result<Self, SegmentError> {
        let within = |quantity, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) {
                return Ok(());
            }
            let problem = format!("outside {min} to {max}");
            Err(SegmentError::Size { quantity, value, problem })
        };
        within("index words", geometry.index_words, 1, 1 << 40)?;
        within("process records", geometry.records.into(), 1, 4096)?;
        within("participant lines", geometry.lines.into(), 1, BlockWord::OWNER_MAX.into())?;
        within("slabs", geometry.slabs.into(), 1, 1 << 26)?;
        within("slab units", geometry.slab_units.into(), 1, 1 << 16)?;
        within("side words", geometry.side_words.into(), 0, 1)?;
        within("spares", geometry.spares.into(), 1, SPARES_MAX.into())?;
        let granule_max = 1 << BlockWord::START_BITS;
        within("smallest block units", geometry.block_units_min.into(), 1, granule_max)?;
        for (quantity, value) in [
            ("slab units", geometry.slab_units),
            ("smallest block units", geometry.block_units_min),
        ] {
            if !value.is_power_of_two() {
                let problem = "not a power of two".to_owned();
                return Err(SegmentError::Size { quantity, value: value.into(), problem });
            }
        }
        within(
            "smallest block units",
            geometry.block_units_min.into(),
            1,
            geometry.slab_units.into(),
        )?;

        let lined = |words: u64| words.next_multiple_of(UNIT_WORDS);
        let blocks = u64::from(geometry.slabs) * Self::slab_blocks_max(geometry);
        let records = Offset::new(HEADER_WORDS + CONTROL_WORDS);
        let lines = records + u64::from(geometry.records) * RECORD_WORDS;
        let slab_words = lines + u64::from(geometry.lines) * LINE_WORDS;
        let hints = slab_words + lined(geometry.slabs.into());
        let block_words = hints + lined(u64::from(geometry.slabs) * Self::slab_hints(geometry));
        let index = block_words + lined(blocks << geometry.side_words);
        let slabs = index + lined(geometry.index_words);
        let data_units = u64::from(geometry.slabs) * u64::from(geometry.slab_units);
        let word_count = slabs.word() + data_units * UNIT_WORDS;
        within("segment words", word_count, 1, u64::from(u32::MAX) * UNIT_WORDS)?;
        let slab_shift = geometry.slab_units.trailing_zeros();
        Ok(Self {
            geometry,
            records,
            lines,
            slab_words,
            hints,
            block_words,
            index,
            slabs,
            slab_shift,
            granule_shift: geometry.block_units_min.trailing_zeros(),
            granule_mask: geometry.slab_units / geometry.block_units_min - 1,
            fold_shift: (geometry.slab_units / geometry.block_units_min).ilog2().saturating_sub(1),
            side_shift: geometry.side_words,
            first_unit: u32::try_from(slabs.word() / UNIT_WORDS).unwrap_or(u32::MAX),
            units: u32::try_from(data_units).unwrap_or(0),
            word_count,
        })
    }

    const fn slab_blocks_max(geometry: Geometry) -> u64 {
        (geometry.slab_units / geometry.block_units_min) as u64
    }

    const fn slab_hints(geometry: Geometry) -> u64 {
        Self::slab_blocks_max(geometry).div_ceil(64)
    }

    /// The numbers that it follows from.
    pub const fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Words of the whole segment.
    pub const fn word_count(&self) -> u64 {
        self.word_count
    }

    /// First word of the table's own variables.
    pub const fn control(&self) -> Offset {
        Offset::new(HEADER_WORDS)
    }

    /// First word of the table's index.
    #[inline]
    pub const fn index(&self) -> Offset {
        self.index
    }

    /// First word of a process record.
    pub fn record(&self, record: u32) -> Offset {
        self.records + u64::from(record) * RECORD_WORDS
    }

    /// First word of a participant line.
    #[inline]
    pub fn line(&self, line: u32) -> Offset {
        self.lines + u64::from(line) * LINE_WORDS
    }

    /// The word that says which size class a slab serves.
    #[inline]
    pub fn slab_word(&self, slab: u32) -> Offset {
        self.slab_words + u64::from(slab)
    }

    /// The hint word that covers a block of a slab.
    #[inline]
    pub(crate) fn hint(&self, slab: u32, hint: u64) -> Offset {
        self.hints + (u64::from(slab) * Self::slab_hints(self.geometry) + hint)
    }

    /// Hint words of all slabs together: their first, and how many.
    pub(crate) fn all_hints(&self) -> (Offset, u64) {
        (self.hints, u64::from(self.geometry.slabs) * Self::slab_hints(self.geometry))
    }

    /// The word of the block that starts here; `None` if none can. Takes any bit pattern.
    #[inline(always)]
    pub fn block_word(&self, block: Block) -> Option<Offset> {
        self.granule(block).map(|granule| self.numbered_block_word(granule))
    }

    /// The table's own word beside that of the block that starts here, in the same cache line;
    /// `None` if no block can start here, or there are no such words. Takes any bit pattern.
    ///
    /// Nobody but the table reads or writes it; it is zero at first and keeps what it holds when
    /// its block is freed.
    #[inline(always)]
    pub fn side_word(&self, block: Block) -> Option<Offset> {
        let beside = |at: Offset| at + 1;
        self.block_word(block).filter(|_| self.side_shift != 0).map(beside)
    }

    /// The number of the granule in which a block starts, and of its word. Takes any bit pattern.
    #[inline(always)]
    pub(crate) fn granule(&self, block: Block) -> Option<u32> {
        let unit = block.unit().wrapping_sub(self.first_unit);
        (unit < self.units).then_some(unit >> self.granule_shift)
    }

    /// Units between the start of a granule and that of a block in it. Takes any bit pattern.
    #[inline(always)]
    pub const fn start_in_granule(&self, block: Block) -> u32 {
        block.unit().wrapping_sub(self.first_unit) & (self.geometry.block_units_min - 1)
    }

    /// Block words of all slabs together.
    #[expect(clippy::cast_possible_truncation, reason = "there are no more than units")]
    pub(crate) const fn block_word_count(&self) -> u32 {
        (self.geometry.slabs as u64 * Self::slab_blocks_max(self.geometry)) as u32
    }

    /// The block word with this number over all slabs.
    ///
    /// Those of a slab's even granules come first, then those of its odd ones: the words of blocks
    /// that have two granules each lie close together, and twice as many of them in a cache line.
    #[inline(always)]
    pub(crate) fn numbered_block_word(&self, number: u32) -> Offset {
        let within = number & self.granule_mask;
        let folded = within >> 1 | (within & 1) << self.fold_shift;
        self.block_words + (u64::from(number - within + folded) << self.side_shift)
    }

    /// The block that starts so many units into the granule with this number; `None` where none
    /// can. Takes any start.
    #[inline(always)]
    pub(crate) fn block_in(&self, number: u32, start: u32) -> Option<Block> {
        let unit = self.first_unit.wrapping_add((number << self.granule_shift) + start);
        (start < self.geometry.block_units_min).then_some(Block::new(unit))
    }

    /// The slab that the granule of a block word lies in, and the units before it in that slab.
    pub(crate) const fn granule_at(&self, number: u32) -> (u32, u32) {
        let unit = number << self.granule_shift;
        (unit >> self.slab_shift, unit & (self.geometry.slab_units - 1))
    }

    /// The block words of a slab.
    pub(crate) fn slab_block_words(&self, slab: u32) -> impl Iterator<Item = Offset> {
        let (words, shift) = (Self::slab_blocks_max(self.geometry), self.side_shift);
        let first = self.block_words + ((u64::from(slab) * words) << shift);
        (0..words).map(move |word| first + (word << shift))
    }

    /// The hint words of a slab.
    pub(crate) fn slab_hint_words(&self, slab: u32) -> impl Iterator<Item = Offset> {
        let words = Self::slab_hints(self.geometry);
        let first = self.hint(slab, 0);
        (0..words).map(move |word| first + word)
    }

    /// Bytes of all slabs together.
    pub(crate) const fn block_bytes_all(&self) -> u64 {
        self.geometry.slabs as u64 * self.geometry.slab_units as u64 * UNIT_WORDS * 8
    }

    /// The class that a slab's word says, if this segment can have it.
    #[inline]
    pub(crate) fn served_class(&self, served: u64) -> Option<SizeClass> {
        let class = SizeClass::from_index(served.checked_sub(1)?)?;
        let units = self.geometry.block_units_min..=self.geometry.slab_units;
        units.contains(&class.units()).then_some(class)
    }

    /// Blocks of a class in one slab.
    #[inline]
    pub const fn slab_blocks(&self, class: SizeClass) -> u32 {
        self.geometry.slab_units / class.units()
    }

    /// The block with this number in a slab of a class.
    #[inline]
    pub fn block(&self, slab: u32, class: SizeClass, number: u32) -> Block {
        Block::new(self.first_unit + (slab << self.slab_shift) + number * class.units())
    }

    /// The slab that a block lies in, and the units before it in that slab; `None` if there is no
    /// such unit. Takes any bit pattern.
    #[inline]
    pub fn slab_of(&self, block: Block) -> Option<(u32, u32)> {
        let unit = block.unit().wrapping_sub(self.first_unit);
        (unit < self.units)
            .then_some((unit >> self.slab_shift, unit & (self.geometry.slab_units - 1)))
    }

    /// Whether a block can start here, which then has at least one unit. Takes any bit pattern.
    #[inline(always)]
    pub const fn is_block_start(&self, block: Block) -> bool {
        block.unit().wrapping_sub(self.first_unit) < self.units
    }

    /// The class that holds this many words in this segment, if there is one.
    #[inline]
    pub fn class_for(&self, words: u64) -> Option<SizeClass> {
        let units = u32::try_from(words.div_ceil(UNIT_WORDS)).ok()?;
        let class = SizeClass::holding(units.max(self.geometry.block_units_min))?;
        (class.units() <= self.geometry.slab_units).then_some(class)
    }

    /// Words of the largest block that this segment can have.
    pub const fn block_words_max(&self) -> u64 {
        let units = self.geometry.slab_units;
        (if units < SizeClass::UNITS_MAX { units } else { SizeClass::UNITS_MAX }) as u64
            * UNIT_WORDS
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    fn geometry() -> impl Strategy<Value = Geometry> {
        (1..5000_u64, 1..80_u32, 1..300_u32, 1..50_u32, 0..11_u32, (0..9_u32, 0..2_u32)).prop_map(
            |(index_words, records, lines, slabs, slab, (least, side_words))| Geometry {
                spares: 1,
                index_words,
                records,
                lines,
                slabs,
                slab_units: 1 << slab.max(least),
                block_units_min: 1 << least,
                side_words,
            },
        )
    }

    proptest! {
        #[test]
        fn every_block_lies_in_its_slab_and_inside_the_segment(geometry in geometry()) {
            let layout = Layout::new(geometry).unwrap();
            for index in 0..SizeClass::COUNT as u64 {
                let class = SizeClass::from_index(index).unwrap();
                if class.units() < geometry.block_units_min || class.units() > geometry.slab_units {
                    continue;
                }
                let last = layout.slab_blocks(class) - 1;
                let slab = geometry.slabs - 1;
                let block = layout.block(slab, class, last);
                prop_assert_eq!(layout.slab_of(block), Some((slab, last * class.units())));
                let end = block.offset().word() + u64::from(class.units()) * UNIT_WORDS;
                prop_assert!(end <= layout.word_count());
                let words: Vec<_> = (0..=last)
                    .map(|number| layout.block_word(layout.block(slab, class, number)))
                    .collect();
                let distinct: BTreeSet<_> = words.iter().collect();
                prop_assert_eq!(distinct.len(), words.len(), "no two share a word");
                let of_slab: Vec<_> = layout.slab_block_words(slab).collect();
                prop_assert!(words.iter().all(|&at| at.is_some_and(|at| of_slab.contains(&at))));
                prop_assert!(words.iter().all(|&at| at.is_some_and(|at| at < layout.index())));
                let side = |number| layout.side_word(layout.block(slab, class, number));
                for (number, &at) in (0..=last).zip(&words) {
                    let beside = at.map(|at| at + 1).filter(|_| geometry.side_words == 1);
                    prop_assert_eq!(side(number), beside);
                    prop_assert!(beside.is_none_or(|at| at < layout.index()));
                    prop_assert!(!words.contains(&beside) || beside.is_none(), "a word of its own");
                }
            }
            prop_assert_eq!(layout.index().word() % UNIT_WORDS, 0);
        }

        #[test]
        fn no_bit_pattern_reaches_past_the_segment(geometry in geometry(), unit in any::<u32>()) {
            let layout = Layout::new(geometry).unwrap();
            let block = Block::new(unit);
            let is_inside = block.offset().word() + UNIT_WORDS <= layout.word_count();
            prop_assert!(!layout.is_block_start(block) || is_inside);
            prop_assert_eq!(layout.is_block_start(block), layout.slab_of(block).is_some());
            prop_assert_eq!(layout.is_block_start(block), layout.block_word(block).is_some());
        }
    }

    #[test]
    fn the_words_of_blocks_of_two_granules_lie_side_by_side() {
        let geometry = Geometry {
            index_words: 8,
            records: 1,
            lines: 1,
            slabs: 2,
            slab_units: 64,
            block_units_min: 2,
            side_words: 1,
            spares: 1,
        };
        let layout = Layout::new(geometry).unwrap();
        let class = SizeClass::holding(4).unwrap();
        let first = layout.block_word(layout.block(1, class, 0)).unwrap();
        for number in 0..layout.slab_blocks(class) {
            let at = layout.block_word(layout.block(1, class, number));
            assert_eq!(at, Some(first + 2 * u64::from(number)));
        }
    }

    #[test]
    fn impossible_geometries_are_named() {
        let geometry = Geometry {
            index_words: 8,
            records: 1,
            lines: 1,
            slabs: 1,
            slab_units: 4,
            block_units_min: 1,
            side_words: 0,
            spares: 1,
        };
        assert!(Layout::new(geometry).is_ok());
        for wrong in [
            Geometry { index_words: 0, ..geometry },
            Geometry { records: 0, ..geometry },
            Geometry { lines: 4096, ..geometry },
            Geometry { slabs: 0, ..geometry },
            Geometry { slab_units: 3, ..geometry },
            Geometry { block_units_min: 8, ..geometry },
            Geometry { side_words: 2, ..geometry },
            Geometry { spares: 0, ..geometry },
            Geometry { spares: 9, ..geometry },
            Geometry { slabs: 1 << 26, slab_units: 1 << 16, ..geometry },
        ] {
            assert!(matches!(Layout::new(wrong), Err(SegmentError::Size { .. })), "{wrong:?}");
        }
    }
}
