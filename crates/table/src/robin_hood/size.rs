//! How many pages there are, where each size has its own, and which of them a key is in.
//!
//! Pages are numbered through all sizes: those of the smallest one first, then those of the next,
//! which has twice as many, and so on. So the number of a page says which size it belongs to.

use shm_arena::{HEADER_WORDS, Load, Memory, Offset};

use super::RobinHood;
use super::search::Home;
use super::word::Header;
use crate::contract::Error;

/// The word that says with which size an operation begins.
///
/// ```text
/// 63            1         0
/// ┌───────────────┬────────┐
/// │ exponent (63) │growing │
/// └───────────────┴────────┘
/// ```
///
/// There are the smallest number of pages times two to the exponent. Growing, some of them may have
/// moved on to the next size. Each step adds one: the word never holds the same twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Size(u64);

impl Size {
    /// With which every table begins, and some stay.
    const SMALLEST: Self = Self(0);

    /// Reads any bit pattern; no exponent is above this one, and the largest size does not grow.
    #[inline(always)]
    pub(super) const fn from_bits(bits: u64, exponent_max: u32) -> Self {
        let largest = (exponent_max as u64) << 1;
        Self(if bits < largest { bits } else { largest })
    }

    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "no exponent is above 32")]
    pub(super) const fn exponent(self) -> u32 {
        (self.0 >> 1) as u32
    }

    #[inline(always)]
    pub(super) const fn is_growing(self) -> bool {
        self.0 & 1 == 1
    }

    /// The next step: growing, or the next size.
    pub(super) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The pages of all sizes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pages {
    first: u64,
    pub(super) exponent_max: u32,
}

impl Pages {
    /// Pages that a size can have: as many as half a hash tells apart.
    pub(super) const MAX: u64 = 1 << 32;

    /// From so many pages up to so many; `None` if doubling does not lead from one to the other.
    pub(super) const fn new(first: u64, last: u64) -> Option<Self> {
        if first == 0 || last > Self::MAX || !last.is_multiple_of(first) {
            return None;
        }
        let times = last / first;
        if !times.is_power_of_two() {
            return None;
        }
        Some(Self { first, exponent_max: times.trailing_zeros() })
    }

    /// Pages of this size.
    #[inline(always)]
    pub(super) const fn count(self, exponent: u32) -> u64 {
        self.first << exponent
    }

    /// The first page of this size.
    #[inline(always)]
    pub(super) const fn start(self, exponent: u32) -> u64 {
        self.count(exponent) - self.first
    }

    /// Pages of all sizes together.
    pub(super) const fn total(self) -> u64 {
        self.start(self.exponent_max + 1)
    }

    /// The page of a home in this size.
    #[inline(always)]
    pub(super) const fn page(self, home: Home, exponent: u32) -> u64 {
        self.start(exponent) + home.page(self.count(exponent))
    }

    /// The size that a page belongs to.
    pub(super) const fn exponent_of(self, page: u64) -> u32 {
        (page / self.first + 1).ilog2()
    }

    /// The first of the two pages to which a page moves on.
    pub(super) const fn heir(self, page: u64) -> u64 {
        let exponent = self.exponent_of(page);
        self.start(exponent + 1) + 2 * (page - self.start(exponent))
    }

    /// The smallest size with so many pages, or the largest.
    pub(super) fn exponent_for(self, pages: u64) -> u32 {
        let times = pages.div_ceil(self.first).clamp(1, 1 << self.exponent_max);
        times.next_power_of_two().trailing_zeros()
    }

    /// Places at which a cursor can be: every home of every page of the largest size.
    pub(super) const fn positions(self, slots: u32) -> u64 {
        self.count(self.exponent_max) * slots as u64
    }

    /// The home at which a cursor is, and in each size the page. Pages to which one page of the
    /// smallest size moves on are visited together, home by home, so growing disturbs no order.
    #[expect(clippy::cast_possible_truncation, reason = "a page has 512 slots at most")]
    pub(super) fn place(self, position: u64, slots: u32) -> (u32, impl Fn(u32) -> u64) {
        let (high, low) = (position >> self.exponent_max, position & self.low_mask());
        let (page, home) = (high / u64::from(slots), high % u64::from(slots));
        let at = move |exponent| {
            self.start(exponent) + (page << exponent) + (low >> (self.exponent_max - exponent))
        };
        (home as u32, at)
    }

    /// The first position behind those of this home in a page of this size.
    pub(super) const fn behind(self, position: u64, exponent: u32) -> u64 {
        let step = 1 << (self.exponent_max - exponent);
        (position & !(step - 1)).saturating_add(step)
    }

    const fn low_mask(self) -> u64 {
        (1 << self.exponent_max) - 1
    }
}

impl<M: Memory> RobinHood<M> {
    /// The root: the size with which operations begin.
    pub(super) const ROOT: Offset = Offset::new(HEADER_WORDS);

    /// The size with which an operation begins. A table that has one size only pays nothing.
    #[inline(always)]
    pub(super) fn size(&self) -> Size {
        if self.pages.exponent_max == 0 {
            return Size::SMALLEST;
        }
        // ORDERING(R5): acquire, pairs with G4.
        Size::from_bits(self.memory().load(Self::ROOT, Load::Acquire), self.pages.exponent_max)
    }

    /// The page with which a look for a key begins.
    #[inline(always)]
    pub(super) fn page(&self, home: Home) -> u64 {
        self.pages.page(home, self.size().exponent())
    }

    /// The page that a key is in, and its header as it was then.
    #[inline(always)]
    pub(super) fn governing(&self, home: Home) -> Result<(u64, Header), Error> {
        let page = self.page(home);
        let header = self.load_header(page);
        if header.is_idle() {
            return Ok((page, header));
        }
        self.followed(page, header, |exponent| self.pages.page(home, exponent))
    }

    /// Where the entries of a page are, if it has moved on: `at` is where they are in each size.
    #[cold]
    pub(super) fn followed(
        &self,
        mut page: u64,
        mut header: Header,
        at: impl Fn(u32) -> u64,
    ) -> Result<(u64, Header), Error> {
        for exponent in self.pages.exponent_of(page) + 1..=self.pages.exponent_max {
            if !header.is_moved() {
                break;
            }
            page = at(exponent);
            header = self.load_header(page);
        }
        match header.is_moved() {
            false => Ok((page, header)),
            true => Err(Error::Corrupt { what: "header", word: self.header_at(page).word() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_page_moves_on_to_two_that_hold_its_keys_and_no_others(
            first in 1..1_000_u64, doublings in 1..12_u32, hash in any::<u64>(),
        ) {
            let pages = Pages::new(first, first << doublings).unwrap();
            let home = Home::new(hash);
            prop_assert_eq!(pages.start(0), 0);
            for exponent in 0..doublings {
                let page = pages.page(home, exponent);
                prop_assert!((pages.start(exponent)..pages.start(exponent + 1)).contains(&page));
                prop_assert_eq!(pages.exponent_of(page), exponent);
                let next = pages.page(home, exponent + 1);
                prop_assert!((pages.heir(page)..pages.heir(page) + 2).contains(&next));
                prop_assert_eq!(pages.exponent_for(pages.count(exponent)), exponent);
            }
            prop_assert!(pages.page(home, doublings) < pages.total());
        }

        /// Each home of each page of the largest size is visited once, whatever the sizes.
        #[test]
        fn a_cursor_visits_every_home_once_however_the_table_grows(
            first in 1..5_u64, doublings in 0..4_u32,
            growths in prop::collection::vec(0..100_u32, 4),
        ) {
            const SLOTS: u32 = 4;
            let pages = Pages::new(first, first << doublings).unwrap();
            let mut visited = vec![0; usize::try_from(pages.positions(SLOTS)).unwrap()];
            let (mut position, mut steps) = (0, 0_u32);
            while position < pages.positions(SLOTS) {
                let grown = growths.iter().filter(|&&growth| growth <= steps).count();
                let exponent = u32::try_from(grown).unwrap().min(doublings);
                let (home, at) = pages.place(position, SLOTS);
                let number = at(exponent) - pages.start(exponent);
                let below = 1 << (doublings - exponent);
                for number in number * below..(number + 1) * below {
                    visited[usize::try_from(number * 4 + u64::from(home)).unwrap()] += 1;
                }
                position = pages.behind(position, exponent);
                steps += 1;
            }
            prop_assert!(visited.iter().all(|&times| times == 1), "{visited:?}");
        }
    }

    #[test]
    fn a_size_reads_any_word() {
        assert_eq!(Size::from_bits(u64::MAX, 3), Size(6));
        assert_eq!(Size::from_bits(5, 3), Size(5));
        assert_eq!(Size(5).exponent(), 2);
        assert!(Size(5).is_growing() && !Size(5).next().is_growing());
        assert_eq!(Pages::new(3, 5), None);
        assert_eq!(Pages::new(3, 9), None);
        assert_eq!(Pages::new(0, 0), None);
        assert_eq!(Pages::new(1, 1 << 33), None);
        assert_eq!(Pages::new(3, 12).map(Pages::total), Some(21));
    }
}
