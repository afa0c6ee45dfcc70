//! The private side of a process's participant lines: which thread has which, and what successive
//! lessees hand on.
//!
//! Private words, so that a lease costs one exchange to take and one store to give back, and what a
//! lessee hands on stays where it is instead of travelling with the lease.
//!
//! A forked child has a copy of these words, and no right to the lines: it gets none.

use crate::block::SizeClass;
use crate::mapped::ForkEpoch;
use crate::participant::SPARES_MAX;
use crate::words::{Word, give_back, load_relaxed, store_relaxed, take};

/// The words of one line. Two cache lines apart, so that no two places share one.
#[derive(Debug)]
#[repr(align(128))]
struct Place {
    taken: Word,
    line: Word,
    unsettled: Word,
    added: Word,
    removed: Word,
    /// Which spares there may be, and which there are: bit `i` speaks of number `i`.
    spares: Word,
    kept: Word,
    spare: [[Word; 2]; SPARES_MAX as usize],
    scanned: Word,
    homes: [Word; SizeClass::COUNT],
}

impl Place {
    fn new(spares: u32) -> Self {
        let word = || Word::new(0);
        Self {
            taken: word(),
            line: word(),
            unsettled: word(),
            added: word(),
            removed: word(),
            spares: Word::new((1 << spares) - 1),
            kept: word(),
            spare: std::array::from_fn(|_| [word(), word()]),
            scanned: word(),
            homes: std::array::from_fn(|_| word()),
        }
    }
}

/// Places for as many lines as a process may own.
#[derive(Debug)]
pub(crate) struct Pool {
    places: Box<[Place]>,
    maker: ForkEpoch,
}

impl Pool {
    /// A power of two of places, at most this many and at least one, each for so many spares.
    pub(crate) fn new(places_max: u32, spares: u32) -> Self {
        let places = 1 << places_max.max(1).ilog2();
        let places = (0..places).map(|_| Place::new(spares)).collect();
        Self { places, maker: ForkEpoch::here() }
    }

    /// Whether this is a forked child's copy of its parent's.
    #[inline(always)]
    pub(crate) fn is_inherited(&self) -> bool {
        self.maker.is_inherited()
    }

    /// How many places there are.
    pub(crate) const fn places(&self) -> u64 {
        self.places.len() as u64
    }

    /// Takes a place for this thread, if no other has it and this process made the pool.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "masked to the number of places")]
    pub(crate) fn take(&self, place: u64) -> Option<Hold<'_>> {
        let place = &self.places[place as usize & (self.places.len() - 1)];
        // Lazily: a hold that is made and dropped gives the place back, whoever has it.
        (!self.is_inherited() && take(&place.taken)).then(|| Hold(place))
    }
}

/// A place held by one thread. Dropping it gives it back; a holder that unwinds leaves a mark.
#[derive(Debug)]
pub(crate) struct Hold<'a>(&'a Place);

/// The words that describe a spare block; the first has its units in bits 32 to 47.
pub(crate) type SpareWords = [u64; 2];

/// Units of a block, at most, of which a line keeps more than one.
const MANY_UNITS_MAX: u32 = 32;

impl Hold<'_> {
    /// Another name of the same hold, which is not to be dropped.
    #[inline(always)]
    pub(crate) fn aside(&self) -> Self {
        Self(self.0)
    }

    /// The line of the segment, once there is one.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a line and 1 was stored there")]
    pub(crate) fn line(&self) -> Option<u32> {
        (load_relaxed(&self.0.line) as u32).checked_sub(1)
    }

    /// Gives the place a line, with what its lessees have counted so far.
    pub(crate) fn set_line(&self, line: u32, added: u64, removed: u64) {
        store_relaxed(&self.0.line, u64::from(line) + 1);
        store_relaxed(&self.0.added, added);
        store_relaxed(&self.0.removed, removed);
    }

    /// Takes the line away: the next holder gets another.
    pub(crate) fn clear_line(&self) {
        store_relaxed(&self.0.line, 0);
    }

    /// Whether a holder unwound in the middle of an operation.
    #[inline(always)]
    pub(crate) fn is_unsettled(&self) -> bool {
        load_relaxed(&self.0.unsettled) != 0
    }

    /// What the line names has to be settled.
    pub(crate) fn set_unsettled(&self) {
        store_relaxed(&self.0.unsettled, 1);
    }

    /// The line is in order.
    pub(crate) fn set_settled(&self) {
        store_relaxed(&self.0.unsettled, 0);
    }

    /// Counts; gives the new total.
    #[inline(always)]
    pub(crate) fn count_added(&self, entries: u64) -> u64 {
        let total = load_relaxed(&self.0.added).wrapping_add(entries);
        store_relaxed(&self.0.added, total);
        total
    }

    /// Counts; gives the new total.
    #[inline(always)]
    pub(crate) fn count_removed(&self, entries: u64) -> u64 {
        let total = load_relaxed(&self.0.removed).wrapping_add(entries);
        store_relaxed(&self.0.removed, total);
        total
    }

    /// A spare of so many units.
    #[inline(always)]
    pub(crate) fn spare_of(&self, units: u32) -> Option<SpareWords> {
        let mut kept = load_relaxed(&self.0.kept);
        while kept != 0 {
            let spare = self.words(kept.trailing_zeros());
            let name = load_relaxed(&spare[0]);
            if name >> 32 & 0xffff == u64::from(units) {
                return Some([name, load_relaxed(&spare[1])]);
            }
            kept &= kept - 1;
        }
        None
    }

    /// Any spare, and its number.
    pub(crate) fn any_spare(&self) -> Option<(u32, SpareWords)> {
        let kept = load_relaxed(&self.0.kept);
        let number = (kept != 0).then(|| kept.trailing_zeros())?;
        let [name, word] = self.words(number);
        Some((number, [load_relaxed(name), load_relaxed(word)]))
    }

    /// The first number under which a block of so many units can be kept.
    #[inline(always)]
    pub(crate) fn room_for(&self, units: u32) -> Option<u32> {
        let spares = load_relaxed(&self.0.spares);
        let spares = if units > MANY_UNITS_MAX { spares & 1 } else { spares };
        let room = spares & !load_relaxed(&self.0.kept);
        (room != 0).then(|| room.trailing_zeros())
    }

    /// Keeps a spare under a number.
    #[inline(always)]
    pub(crate) fn set_spare(&self, number: u32, spare: SpareWords) {
        let [name, word] = self.words(number);
        store_relaxed(name, spare[0]);
        store_relaxed(word, spare[1]);
        store_relaxed(&self.0.kept, load_relaxed(&self.0.kept) | 1 << number);
    }

    /// Keeps none under this number.
    #[inline(always)]
    pub(crate) fn clear_spare(&self, number: u32) {
        store_relaxed(&self.0.kept, load_relaxed(&self.0.kept) & !(1 << number));
    }

    /// Keeps none at all.
    pub(crate) fn clear_spares(&self) {
        store_relaxed(&self.0.kept, 0);
    }

    #[inline(always)]
    fn words(&self, number: u32) -> &[Word; 2] {
        &self.0.spare[number as usize % SPARES_MAX as usize]
    }

    /// The slab where a block of this class was found last.
    #[expect(clippy::cast_possible_truncation, reason = "a slab was stored there")]
    pub(crate) fn home(&self, class: SizeClass) -> u32 {
        load_relaxed(&self.0.homes[class.index()]) as u32
    }

    /// Remembers where a block of this class was found.
    pub(crate) fn set_home(&self, class: SizeClass, slab: u32) {
        store_relaxed(&self.0.homes[class.index()], slab.into());
    }

    /// The slab at which a scan of block words goes on.
    #[expect(clippy::cast_possible_truncation, reason = "a slab was stored there")]
    pub(crate) fn scanned(&self) -> u32 {
        load_relaxed(&self.0.scanned) as u32
    }

    /// Remembers where a scan of block words goes on.
    pub(crate) fn set_scanned(&self, slab: u32) {
        store_relaxed(&self.0.scanned, slab.into());
    }
}

impl Drop for Hold<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if std::thread::panicking() {
            store_relaxed(&self.0.unsettled, 1);
        }
        give_back(&self.0.taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_taken_stays_taken_whoever_tries() {
        let pool = Pool::new(1, 1);
        let hold = pool.take(0).expect("nobody has it");
        for _ in 0..3 {
            assert!(pool.take(0).is_none(), "an attempt gave another's place back");
        }
        drop(hold);
        assert!(pool.take(0).is_some());
    }
}
