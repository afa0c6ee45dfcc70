//! Growing: each page moves on to two pages of the next size, and anyone moves it.
//!
//! ```text
//! root       exponent │ growing      one page more for each: 2e, then 2e + 1, then 2e + 2, …
//! frontier   pages, numbered through all sizes, that were seen to have moved
//!
//! page       idle ⇄ busy, then frozen, then moved
//! ```
//!
//! A frozen page never changes again, nor does what it names, so everyone who moves it works out
//! the same two pages. All that they hold is written before the page says that it has moved; only
//! then does anybody look there, update there and recycle a block. So whoever works them out too
//! late learns it from the header, and whoever writes too late finds no slot as it expects it.
//!
//! Homes inside a page stay the same, and an heir gets a part of the entries in the same order.
//! Counted from a place that no run crosses, each lies where it lay or nearer to its home: it goes
//! to its home, or behind the entry before it, which lies no further on than it did. So whatever a
//! page held fits, and no distance grows.

use shm_arena::{Load, Memory, Offset, Rmw};

use super::search::{Home, corrupt};
use super::size::Size;
use super::word::{Header, Slot};
use super::{RobinHood, TURNS_MAX, entries_per_page};
use crate::contract::{Error, Resizing};
use crate::entry::EntryView;

/// Every so many versions of a page an insertion looks at how full it is.
const VERSIONS_PER_LOOK: u64 = 32;
/// A page is crowded above so many of its slots in eight.
const CROWDED_EIGHTHS: u32 = 7;
/// Pages that an update which helps looks at, at most, for one to move.
const PAGES_PER_HELP: u64 = 64;
/// Updates that help at once begin at so many different pages.
const PAGES_APART: u64 = 8;

impl<M: Memory> RobinHood<M> {
    /// The frontier: pages that were seen to have moved, of all sizes, without a gap.
    const FRONTIER: Offset = Offset::new(Self::ROOT.word() + 1);

    /// Lets a page be updated that is not idle: finishes what is under way, or moves it on.
    #[cold]
    pub(super) fn make_way(&self, page: u64, header: Header) -> Result<(), Error> {
        if header.is_frozen() { self.move_on(page) } else { self.help(page, header) }
    }

    /// Moves a page on to the next size, whatever its state; afterwards it has moved.
    #[cold]
    pub(super) fn move_on(&self, page: u64) -> Result<(), Error> {
        // Each failed turn means that somebody changed this page.
        for _ in 0..TURNS_MAX {
            let header = self.load_header(page);
            if header.is_moved() {
                return Ok(());
            }
            if page >= self.pages.start(self.pages.exponent_max) {
                // No participant freezes a page of the largest size.
                return Err(Error::Corrupt { what: "header", word: self.header_at(page).word() });
            }
            if header.is_idle() {
                // ORDERING(G1): relaxed, it publishes nothing. Failed: the page has changed.
                let _ = self.memory().compare_exchange(
                    self.header_at(page),
                    header.bits(),
                    header.frozen().bits(),
                    Rmw::Relaxed,
                    Load::Relaxed,
                );
            } else if header.is_frozen() {
                // Whoever was first is met with the next load, which acquires the heirs.
                self.spread(page, header)?;
            } else {
                self.help(page, header)?;
            }
        }
        Err(Error::Contended { bucket: page, turns: TURNS_MAX })
    }

    /// Fills both pages to which a frozen one moves on, and says that it has moved.
    ///
    /// CRASH(move): until it says so the frozen page holds the truth, and anyone goes on from here.
    fn spread(&self, page: u64, header: Header) -> Result<(), Error> {
        let heirs = self.heirs_of(page);
        if !self.is_unchanged(page, header) {
            // It has moved meanwhile, so what was read may come from recycled blocks.
            return Ok(());
        }
        for (heir, slots) in (self.pages.heir(page)..).zip(heirs?) {
            let full = (0..).zip(slots).filter(|(_, content)| !content.is_empty());
            for (position, content) in full {
                // ORDERING(G2): relaxed, G3 publishes it. Failed: somebody else wrote the slot, and
                // who comes by G3 finds that word, because it was read before.
                //
                // INVARIANT(I4): it is virgin but once.
                let _ = self.memory().compare_exchange(
                    self.slot_at(heir, position),
                    Slot::EMPTY.bits(),
                    Slot::EMPTY.with(content).bits(),
                    Rmw::Relaxed,
                    Load::Relaxed,
                );
            }
        }
        // ORDERING(G3): release, pairs with R1. Failed: somebody else was first.
        let _ = self.memory().compare_exchange(
            self.header_at(page),
            header.bits(),
            header.moved().bits(),
            Rmw::Release,
            Load::Relaxed,
        );
        Ok(())
    }

    /// What the two heirs of a frozen page hold; true if the page is still frozen.
    fn heirs_of(&self, page: u64) -> Result<[Vec<Slot>; 2], Error> {
        let damaged = |what| Error::Corrupt { what, word: self.slot_at(page, 0).word() };
        let slots = self.slots();
        let held: Vec<Slot> = (0..slots).map(|position| self.slot(page, position)).collect();
        for slot in held.iter().filter(|slot| !slot.is_empty()) {
            if EntryView::new(&self.arena, slot.block()).is_some() {
                self.memory().prefetch(slot.block().offset(), 1);
            }
        }
        // No run crosses into a slot that is empty or whose entry is at home; even a full page has
        // one, as the last free slot that it had was filled from before.
        let start = held.iter().position(|slot| slot.reach() <= 1);
        let start = start.ok_or_else(|| damaged("page without a start"))?;
        let heir = self.pages.heir(page);
        let exponent = self.pages.exponent_of(heir);
        let mut heirs = [vec![Slot::EMPTY; held.len()], vec![Slot::EMPTY; held.len()]];
        let mut ends = [0, 0];
        for (step, slot) in (0..).zip(held[start..].iter().chain(&held[..start])) {
            if slot.is_empty() {
                continue;
            }
            let block = slot.block();
            let entry = EntryView::new(&self.arena, block).ok_or_else(|| corrupt(block))?;
            let side = self.pages.page(Home::new(entry.hash()), exponent).wrapping_sub(heir);
            let side = usize::try_from(side).ok().filter(|&side| side < 2);
            let (Some(side), Some(home)) = (side, (step + 1_u32).checked_sub(slot.reach())) else {
                return Err(corrupt(block));
            };
            let place = home.max(ends[side]);
            ends[side] = place + 1;
            let at = self.wrapped(u32::try_from(start).unwrap_or(0) + place) as usize;
            heirs[side][at] = Slot::new(place - home + 1, slot.tag(), block);
        }
        Ok(heirs)
    }

    /// Takes a step of the size; somebody else may have taken it.
    fn step_size(&self, size: Size) {
        // ORDERING(G4): release, pairs with R5: who begins with the next size finds it filled.
        let _ = self.memory().compare_exchange(
            Self::ROOT,
            size.bits(),
            size.next().bits(),
            Rmw::Release,
            Load::Relaxed,
        );
    }

    /// Helps with a growth that is under way: moves one page, or sees that many have moved. So as
    /// many helping updates as there are pages end it, whoever else is stopped.
    ///
    /// A damaged page is left to those who need it: then the growth does not end, and every other
    /// key is served.
    #[cold]
    pub(super) fn help_growing(&self, size: Size, line: u32) {
        let exponent = size.exponent();
        let (start, end) = (self.pages.start(exponent), self.pages.start(exponent + 1));
        // ORDERING(G5): acquire and release, pairs with each other: G4 covers what was seen.
        let seen = self.memory().load(Self::FRONTIER, Load::Acquire);
        let mut frontier = seen.clamp(start, end);
        let is_moved = |page| self.load_header(page).is_moved();
        let most = end.min(frontier + PAGES_PER_HELP);
        while frontier < most && is_moved(frontier) {
            frontier += 1;
        }
        if frontier < most {
            let other = frontier + u64::from(line) % PAGES_APART;
            let page = if other < end && !is_moved(other) { other } else { frontier };
            let moved = self.move_on(page);
            frontier += u64::from(moved.is_ok() && page == frontier);
        }
        if frontier > seen {
            self.pass(seen, frontier);
        }
        if frontier == end {
            self.step_size(size);
        }
    }

    /// Moves the frontier, if it is where it was seen.
    fn pass(&self, seen: u64, frontier: u64) {
        // ORDERING(G5): release, likewise; what others released before stays covered, as exchanges
        // alone write the word. Failed: somebody else is further, or as far.
        let _ = self.memory().compare_exchange(
            Self::FRONTIER,
            seen,
            frontier,
            Rmw::Release,
            Load::Relaxed,
        );
    }

    /// Moves every page that has not moved, and ends the growth.
    fn finish_growing(&self, size: Size) -> Result<(), Error> {
        let exponent = size.exponent();
        for page in self.pages.start(exponent)..self.pages.start(exponent + 1) {
            self.move_on(page)?;
            self.pass(page, page + 1);
        }
        self.step_size(size);
        Ok(())
    }

    /// Begins to grow if a page that an insertion has changed is crowded; looks at it seldom.
    #[inline(always)]
    pub(super) fn grow_if_crowded(&self, page: u64, header: Header) {
        if self.adjusts && header.version().is_multiple_of(VERSIONS_PER_LOOK) {
            self.grow_from_crowded(page);
        }
    }

    #[cold]
    fn grow_from_crowded(&self, page: u64) {
        let size = self.size();
        let taken = (0..self.slots()).filter(|&position| !self.slot(page, position).is_empty());
        if !size.is_growing()
            && size.exponent() == self.pages.exponent_of(page)
            && size.exponent() < self.pages.exponent_max
            && taken.count() * 8 > (self.slots() * CROWDED_EIGHTHS) as usize
        {
            self.step_size(size);
        }
    }

    /// After an insertion found a page full: moves it on, if the table may grow or does so already.
    pub(super) fn has_made_room(&self, page: u64) -> Result<bool, Error> {
        let exponent = self.pages.exponent_of(page);
        let size = self.size();
        if size.exponent() < exponent {
            // The page is an heir. All others have to arrive before the next size can begin.
            self.finish_growing(size)?;
        } else if size.exponent() == exponent && !size.is_growing() {
            if !self.adjusts || exponent == self.pages.exponent_max {
                return Ok(false);
            }
            self.step_size(size);
        } else {
            self.move_on(page)?;
        }
        Ok(true)
    }

    /// The `adjust` of the contract: grows up to so many pages, and never shrinks.
    pub(super) fn grow_to(&self, buckets: Option<u64>) -> Result<u64, Error> {
        // A handle that may not write, or a parent's, is told so.
        let _lease = self.lease()?;
        let entries = self.arena.balance();
        let wanted = buckets.unwrap_or_else(|| entries.div_ceil(entries_per_page(self.slots())));
        let exponent = self.pages.exponent_for(wanted);
        // Each size takes two turns, one to begin and one to end it.
        for _ in 0..=2 * self.pages.exponent_max {
            let size = self.size();
            if size.is_growing() {
                self.finish_growing(size)?;
            } else if size.exponent() < exponent {
                self.step_size(size);
            } else {
                break;
            }
        }
        Ok(self.pages.count(self.size().exponent()))
    }

    /// How far a growth is, if one is under way: as far as the frontier.
    pub(super) fn growth(&self) -> Option<Resizing> {
        let size = self.size();
        if !size.is_growing() {
            return None;
        }
        let (exponent, steps) = (size.exponent(), self.pages.count(size.exponent()));
        let frontier = self.memory().load(Self::FRONTIER, Load::Relaxed);
        let done = frontier.saturating_sub(self.pages.start(exponent)).min(steps);
        Some(Resizing { target: self.pages.count(exponent + 1), done, steps })
    }
}
