//! Walking the whole table: entries, counts, invariants.

use std::collections::BTreeMap;
use std::fmt;

use shm_arena::{Block, Memory};

use super::search::{Home, corrupt};
use super::word::{Header, REACH_MAX, Slot};
use super::{RobinHood, TURNS_MAX};
use crate::contract::{Audit, Cursor, Entry, Error, OwnedEntry, Resizing, Stats, Table, Version};
use crate::entry::EntryView;

impl<M: Memory> RobinHood<M> {
    /// The entries of one home at one instant, and the page in which they are: `at` says which one
    /// that is in each size. An entry never changes its home, so whoever looks at every home misses
    /// none that stays, however far it moves.
    fn copy_home(
        &self,
        home: u32,
        at: impl Fn(u32) -> u64,
        copied: &mut Vec<OwnedEntry>,
    ) -> Result<u64, Error> {
        // Each failed turn means that somebody changed this page.
        for _ in 0..TURNS_MAX {
            copied.clear();
            let page = at(self.size().exponent());
            let (page, header) = self.followed(page, self.load_header(page), &at)?;
            let Some(slots) = self.slots_of_home(page, home, header)? else {
                continue;
            };
            let mut damaged = None;
            for slot in slots {
                let block = slot.block();
                let entry = EntryView::shaped(&self.arena, block);
                let (Some((entry, shape)), Some(version)) = (entry, self.version(block)) else {
                    damaged = Some(block);
                    break;
                };
                copied.push(entry.copy_out(shape, version));
            }
            if self.still_holds(page, header) {
                return damaged.map_or(Ok(page), |block| Err(corrupt(block)));
            }
        }
        Err(Error::Contended { bucket: at(0), turns: TURNS_MAX })
    }

    /// The `scan` of the contract: the entries of one home. A cursor's position counts homes.
    pub(super) fn scan_home(
        &self,
        cursor: &mut Cursor,
        visit: &mut dyn FnMut(Entry<'_>, Version),
    ) -> Result<(), Error> {
        let Some(position) = cursor.position(self.identity)? else { return Ok(()) };
        let positions = self.pages.positions(self.slots());
        let mut copied = Vec::new();
        let mut next = positions;
        if position < positions {
            let (home, at) = self.pages.place(position, self.slots());
            let page = self.copy_home(home, at, &mut copied)?;
            next = self.pages.behind(position, self.pages.exponent_of(page));
        }
        cursor.move_to(Some(next).filter(|&next| next < positions));
        for entry in &copied {
            visit(entry.entry(), entry.version);
        }
        Ok(())
    }

    /// The pages that hold the truth; approximate while the table grows.
    fn pages_in_use(&self) -> impl Iterator<Item = u64> {
        let exponent = self.size().exponent();
        let pages = self.pages.start(exponent)..self.pages.start(exponent + 1);
        pages.flat_map(move |page| {
            let has_heirs = exponent < self.pages.exponent_max;
            match has_heirs && self.load_header(page).is_moved() {
                true => self.pages.heir(page)..self.pages.heir(page) + 2,
                false => page..page + 1,
            }
        })
    }

    fn slots_in_use(&self) -> impl Iterator<Item = (u64, u32)> {
        let slots = self.slots();
        self.pages_in_use().flat_map(move |page| (0..slots).map(move |slot| (page, slot)))
    }

    /// Entries by their distance from home; approximate while others write.
    pub fn distances(&self) -> Vec<u64> {
        let mut distances = vec![0; REACH_MAX as usize];
        for (page, position) in self.slots_in_use() {
            let slot = self.slot(page, position);
            if !slot.is_empty() {
                distances[slot.reach() as usize - 1] += 1;
            }
        }
        distances
    }

    /// The `stats` of the contract.
    pub(super) fn count_all(&self) -> Stats {
        let mut histogram = vec![0; self.slots() as usize + 1];
        let mut slots = 0;
        for page in self.pages_in_use() {
            slots += u64::from(self.slots());
            let full = (0..self.slots()).filter(|&position| !self.slot(page, position).is_empty());
            histogram[full.count()] += 1;
        }
        let geometry = self.arena.geometry();
        Stats {
            entries: self.len(),
            buckets: self.pages.count(self.size().exponent()),
            buckets_max: self.pages.count(self.pages.exponent_max),
            resizing: self.growth(),
            slots,
            bucket_histogram: histogram,
            probe_histogram: std::iter::once(0).chain(self.distances()).collect(),
            segment_bytes: self.memory().word_count() * 8,
            block_bytes_used: self.arena.bytes_used(),
            block_bytes: u64::from(geometry.slabs) * u64::from(geometry.slab_units) * 64,
            recoveries: self.arena.recoveries(),
        }
    }

    /// The `dump` of the contract: totals, then the first slots that hold anything.
    pub(super) fn write_dump(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        const SLOTS_SHOWN: usize = 256;
        let (entries, pages) = (self.len(), self.pages.count(self.size().exponent()));
        writeln!(out, "robin_hood: {entries} entries in {pages} pages")?;
        if let Some(Resizing { target, done, steps }) = self.growth() {
            writeln!(out, "growing to {target} pages: {done} of {steps} have moved on")?;
        }
        writeln!(out, "{:?}", self.arena)?;
        let mut distances = self.distances();
        let used = distances.iter().rposition(|&entries| entries != 0).map_or(0, |last| last + 1);
        distances.truncate(used);
        writeln!(out, "entries by distance from home: {distances:?}")?;
        let mut shown = None;
        let slots =
            self.slots_in_use().map(|(page, position)| (page, position, self.slot(page, position)));
        for (page, position, slot) in
            slots.filter(|(_, _, slot)| !slot.is_empty()).take(SLOTS_SHOWN)
        {
            if shown.replace(page) != Some(page) {
                writeln!(out, "page {page}: {:?}", self.load_header(page))?;
            }
            writeln!(out, "  slot {position}: {slot:?}")?;
        }
        Ok(())
    }

    /// The `audit` of the contract. Finishes what is under way, where it may write.
    pub(super) fn check_all(&self) -> Audit {
        let mut audit = Audit::default();
        let mut references: BTreeMap<Block, u64> = BTreeMap::new();
        for page in self.pages_in_use() {
            match self.settled_header(page) {
                Ok(header) => self.check_page(page, header, &mut audit, &mut references),
                Err(error) => audit.find(format!("page {page}: {error}")),
            }
        }
        let blocks = self.arena.audit_blocks(&references);
        audit.blocks = blocks.blocks;
        audit.lost_blocks = blocks.lost;
        for finding in blocks.findings {
            audit.find(finding);
        }
        audit
    }

    /// The header of a page in which nothing is under way, or what cannot be helped.
    fn settled_header(&self, page: u64) -> Result<Header, Error> {
        for _ in 0..TURNS_MAX {
            let header = self.load_header(page);
            if header.is_still() || !self.memory().is_writable() {
                return Ok(header);
            }
            self.help(page, header)?;
        }
        Err(Error::Contended { bucket: page, turns: TURNS_MAX })
    }

    fn check_page(
        &self,
        page: u64,
        header: Header,
        audit: &mut Audit,
        references: &mut BTreeMap<Block, u64>,
    ) {
        if !header.is_still() {
            return audit.find(format!("page {page}: {header:?}, which a reader cannot finish"));
        }
        let mut keys: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
        let mut before = self.slot(page, self.slots() - 1);
        for position in 0..self.slots() {
            let slot = self.slot(page, position);
            // INVARIANT(I2): Robin Hood order, all around the page.
            if slot.reach() > before.reach() + 1 || slot.reach() > self.reach_max {
                audit.find(format!("page {page} slot {position}: {slot:?} after {before:?}"));
            }
            before = slot;
            if slot.is_empty() {
                continue;
            }
            audit.entries += 1;
            *references.entry(slot.block()).or_default() += 1;
            match self.key_of(page, position, slot) {
                Ok(key) => {
                    if let Some(other) = keys.insert(key, position) {
                        audit.find(format!(
                            "page {page} slot {position}: the key is in slot {other} as well"
                        ));
                    }
                }
                Err(problem) => {
                    audit.find(format!("page {page} slot {position}: {problem}: {slot:?}"));
                }
            }
        }
    }

    /// The key of the entry in a slot, if it belongs there.
    fn key_of(&self, page: u64, position: u32, slot: Slot) -> Result<Vec<u8>, &'static str> {
        let (entry, shape) =
            EntryView::shaped(&self.arena, slot.block()).ok_or("it holds no entry")?;
        let home = Home::new(entry.hash());
        let is_home = self.wrapped(home.slot() + slot.reach() - 1) == position;
        let is_page = self.pages.page(home, self.pages.exponent_of(page)) == page;
        if !is_home || !is_page || home.tag() != slot.tag() {
            return Err("the entry belongs elsewhere");
        }
        let mut key = Vec::new();
        entry.read_key(shape, &mut key);
        let same = self.arena.hasher().hash(&key) == entry.hash();
        if same { Ok(key) } else { Err("the key has another hash") }
    }
}
