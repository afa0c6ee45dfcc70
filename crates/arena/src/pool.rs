//! The private side of a process's participant lines: which thread has which, and what successive
//! lessees hand on.
//!
//! Private words, so that a lease costs one exchange to take and one store to give back, and what a
//! lessee hands on stays where it is instead of travelling with the lease.

use crate::block::SizeClass;
use crate::heap::HeapMemory;
use crate::memory::{Load, Memory, Offset, Rmw, Store};

/// Words of a place: a multiple of two cache lines, so that no two places share one.
const PLACE_WORDS: u64 = 64;

const TAKEN: u64 = 0;
const LINE: u64 = 1;
const UNSETTLED: u64 = 2;
const ADDED: u64 = 3;
const REMOVED: u64 = 4;
const SPARE: u64 = 5;
const SCANNED: u64 = 9;
const HOMES: u64 = 16;

const _: () = assert!(HOMES + SizeClass::COUNT as u64 <= PLACE_WORDS);

/// Places for as many lines as a process may own.
#[derive(Debug)]
pub(crate) struct Pool {
    words: HeapMemory,
    places: u64,
}

impl Pool {
    /// A power of two of places, at most this many and at least one.
    pub(crate) fn new(places_max: u32) -> Self {
        let places = 1 << places_max.max(1).ilog2();
        Self { words: HeapMemory::new(places * PLACE_WORDS), places }
    }

    /// How many places there are.
    pub(crate) const fn places(&self) -> u64 {
        self.places
    }

    /// Takes a place for this thread, if no other has it.
    #[inline(always)]
    pub(crate) fn take(&self, place: u64) -> Option<Hold<'_>> {
        let at = Offset::new((place & (self.places - 1)) * PLACE_WORDS);
        let taken =
            self.words.compare_exchange(at + TAKEN, 0, 1, Rmw::Acquire, Load::Relaxed).is_ok();
        taken.then_some(Hold { words: &self.words, at })
    }
}

/// A place held by one thread. Dropping it gives it back; a holder that unwinds leaves a mark.
#[derive(Debug)]
pub(crate) struct Hold<'a> {
    words: &'a HeapMemory,
    at: Offset,
}

/// The words that describe a spare block; all zero for none.
pub(crate) type SpareWords = [u64; 4];

impl Hold<'_> {
    #[inline(always)]
    fn load(&self, word: u64) -> u64 {
        self.words.load(self.at + word, Load::Relaxed)
    }

    #[inline(always)]
    fn store(&self, word: u64, value: u64) {
        self.words.store(self.at + word, value, Store::Relaxed);
    }

    /// The line of the segment, once there is one.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a line and 1 was stored there")]
    pub(crate) fn line(&self) -> Option<u32> {
        (self.load(LINE) as u32).checked_sub(1)
    }

    /// Gives the place a line, with what its lessees have counted so far.
    pub(crate) fn set_line(&self, line: u32, added: u64, removed: u64) {
        self.store(LINE, u64::from(line) + 1);
        self.store(ADDED, added);
        self.store(REMOVED, removed);
    }

    /// Whether a holder unwound in the middle of an operation.
    #[inline(always)]
    pub(crate) fn is_unsettled(&self) -> bool {
        self.load(UNSETTLED) != 0
    }

    /// What the line names has to be settled.
    pub(crate) fn set_unsettled(&self) {
        self.store(UNSETTLED, 1);
    }

    /// The line is in order.
    pub(crate) fn set_settled(&self) {
        self.store(UNSETTLED, 0);
    }

    /// Counts; gives the new total.
    #[inline(always)]
    pub(crate) fn count_added(&self, entries: u64) -> u64 {
        let total = self.load(ADDED).wrapping_add(entries);
        self.store(ADDED, total);
        total
    }

    /// Counts; gives the new total.
    #[inline(always)]
    pub(crate) fn count_removed(&self, entries: u64) -> u64 {
        let total = self.load(REMOVED).wrapping_add(entries);
        self.store(REMOVED, total);
        total
    }

    /// The spare block's words.
    #[inline(always)]
    pub(crate) fn spare(&self) -> SpareWords {
        std::array::from_fn(|index| self.load(SPARE + index as u64))
    }

    /// Whether there is a spare block.
    #[inline(always)]
    pub(crate) fn has_spare(&self) -> bool {
        self.load(SPARE) != 0
    }

    /// The first word of the spare's.
    #[inline(always)]
    pub(crate) fn spare_name(&self) -> u64 {
        self.load(SPARE)
    }

    /// Keeps a spare block.
    #[inline(always)]
    pub(crate) fn set_spare(&self, spare: SpareWords) {
        for (index, word) in (0..).zip(spare) {
            self.store(SPARE + index, word);
        }
    }

    /// Keeps none.
    #[inline(always)]
    pub(crate) fn clear_spare(&self) {
        self.store(SPARE, 0);
    }

    /// The slab where a block of this class was found last.
    #[expect(clippy::cast_possible_truncation, reason = "a slab was stored there")]
    pub(crate) fn home(&self, class: SizeClass) -> u32 {
        self.load(HOMES + class.index() as u64) as u32
    }

    /// Remembers where a block of this class was found.
    pub(crate) fn set_home(&self, class: SizeClass, slab: u32) {
        self.store(HOMES + class.index() as u64, slab.into());
    }

    /// The slab at which a scan of block words goes on.
    #[expect(clippy::cast_possible_truncation, reason = "a slab was stored there")]
    pub(crate) fn scanned(&self) -> u32 {
        self.load(SCANNED) as u32
    }

    /// Remembers where a scan of block words goes on.
    pub(crate) fn set_scanned(&self, slab: u32) {
        self.store(SCANNED, slab.into());
    }
}

impl Drop for Hold<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.store(UNSETTLED, 1);
        }
        self.words.store(self.at + TAKEN, 0, Store::Release);
    }
}
