//! Robin Hood hashing in pages: the fullest index at a bounded probe distance, whose updates
//! anyone can finish and whose look-ups write nothing.
//!
//! # Idea
//!
//! *Redo under one version.* Entries of a page lie in the order of their homes, each as near to
//! its own as that order allows, so a search ends early even in a full page; the price is that
//! updates move entries. All that an update will do to its page is written into a descriptor first,
//! then one exchange of the page's header makes it happen: from that instant on the page *is* as it
//! will be, and whoever comes by, owner or not, brings its slots into that state. A look-up is
//! justified by the header alone, wherever entries moved meanwhile. A run never leaves its page, so
//! there is no border between two versions at which an entry could slip through
//! (`papers/kelly-robin-hood.md` shows what happens at such borders).
//!
//! Growing is the same idea once more: a page is frozen, both pages that take its place are filled
//! by whoever comes by, and one exchange of its header makes it so.
//!
//! # Layout
//!
//! ```text
//! index: headers, a cache line each │ slots, 512 a page │ descriptors, 16 words a line
//!        of the pages of every size, the smallest first, each twice as many as the one before
//! control 0  root: exponent 63 │ growing 1      see `size`
//!         1  frontier: pages that have moved    see `grow`
//!
//! header: busy 1 │ mode 2 │ line 12 │ version 49        mode: 0, frozen 1, moved on 2
//! slot:   reach 6 │ tag 4 │ count 26 │ block 28        reach = distance from home + 1, 0 empty
//! descriptor: see `descriptor`                          entry: see `entry`
//! ```
//!
//! The upper half of the hash, scaled to the number of pages, gives the page; twice as many pages
//! make two of each. The lower half gives home and tag, which no growth changes. The last slot is
//! followed by the first. At the default fill of 75 % a page holds 384 entries on average; one that
//! would hold more than 512 is full: P(Poisson(384) > 512) = 2.1·10⁻¹⁰. An entry lies at most 62
//! slots from its home; at that fill the probability of a distance falls by e^−0.55 a slot, and
//! that of 62 is below 10⁻¹⁴. An entry takes 11 bytes of index; in a table that may grow, up to
//! twice as many at its largest size, as every size has pages of its own, reserved at creation and
//! used once.
//!
//! # Operations
//!
//! *get*: load the root, unless the table has one size only, and the header of the page that its
//! size gives; from the key's home on, compare reach and tag of each slot, and the key where they
//! agree; end at a slot whose reach is shorter than the key's would be there; copy the value,
//! fence, and load the header again: equal means that all of it was there at one instant. If an
//! update is under way, read its descriptor too, and take the page as it is after it. After 16
//! failures look only at the slots that concern the key, twice, instead of the page.
//!
//! *remove*: find as get does, in an idle page; name the block in this line's intent; plan to move
//! each entry behind it that is not at home one slot back; write the descriptor; exchange the
//! header for one that names this line: removed. Then write the slots, make the page idle, retire
//! the block. *take* is remove that copies the value before.
//!
//! *put*: write the entry into a claimed block, while the page is on its way; find as get does;
//! plan to move everything from its place up to the next empty slot one slot on, or, if the key is
//! there, to change its slot alone; go on as remove does. *insert* stops where the key is present,
//! *replace* where it is absent; they write when they have found.
//!
//! *help*: copy the descriptor that the header names; see that the header is unchanged; write each
//! slot that is not written yet, in the order of the plan, each after another look at the header;
//! make the page idle. Whether a slot is written shows by the parity of its count.
//!
//! *grow*: an insertion that finds its page full, or, looking at every 32nd version, more than
//! seven eighths of it taken, exchanges the root for one that says *growing*. Then each update of
//! one key in thirty-two moves one page: freezes an idle page by one exchange of its header, after
//! which nothing in it changes; reads from the entries which of the two pages that take its place
//! each one belongs to; writes it into a virgin slot there, at its home or behind the entry before
//! it; and exchanges the header for one that says *moved on*. Until then the frozen page is read as
//! it is, by readers too; any update that needs it moves it. From then on everybody goes to the
//! page of the next size. Who sees the last page moved exchanges the root for the next size.
//! *adjust* does all of it at once.
//!
//! # Invariants
//!
//! - I1: a busy header is governed by the descriptor of the line that it names, which does not
//!   change as long as it does.
//! - I2: in an idle page the reach of a slot exceeds that of the slot before by one at most.
//! - I3: slots change only by the update that the header names, each of its slots once, in order,
//!   or, while the page that moves on to theirs is frozen, from virgin to what that page gives
//!   them.
//! - I4: a slot never holds the same word twice.
//! - I5: a key has at most one entry.
//! - I6: a block is free, or named by one slot or the descriptor under way, or by its owner's line;
//!   slots of a page that has moved on, or is yet to be moved to, do not count.
//! - I7: a page is frozen, then moved on, for good; a key is in the first page, by size, that has
//!   not moved on.
//!
//! # Orderings
//!
//! | id | site | order | pairs with | why no weaker | model that exercises it |
//! |---|---|---|---|---|---|
//! | R1 | header load | acquire | W2, W4 | descriptor, slots and entries it speaks of must be visible | insert ‖ get |
//! | R2 | fence, then header again | acquire | W3, B2, B5 | slots and bytes of a later state must not pass as this one's | remove ‖ get |
//! | R3 | fence, then header, then slots again | acquire | W3 | the header must not be older than the slots | remove, insert ‖ get |
//! | R4 | first of the two looks at a slot | acquire | W3 | the entry must be as visible as its slot, which no header covers yet | put, get ‖ remove, insert |
//! | R5 | root load | acquire | G4 | the headers must say that the pages before have moved, or what came to them | adjust ‖ adjust ‖ get |
//! | W1 | fence before a descriptor is written | release | H1 | a helper must not take it for the one before | remove, insert ‖ insert |
//! | W2 | header, idle → busy | release | R1 | descriptor and entry must be visible before | insert ‖ get |
//! | W3 | slot → next | release | R2, H2 | who sees the slot must see the header that ordered it | remove ‖ get |
//! | W4 | header, busy → idle | release | R1 | every slot must be written before | remove ‖ insert |
//! | W5 | descriptor given up | release | the next lessee | a death must not show it given up and the page busy | kills |
//! | H1 | fence, then header, after copying a descriptor | acquire | W1 | a descriptor of a later update must not pass as this one's | remove, insert ‖ insert |
//! | H2 | slot load while an update is under way | acquire | W3 | where an entry has left one slot, its other one must be seen | remove ‖ insert |
//! | H3 | fence, then header, before a slot is written | acquire | W1, W3 | a slot of a later update must not be written by this one | remove, insert ‖ insert |
//! | G1 | header, idle → frozen | relaxed | – | it publishes nothing; what W4 did stays visible through it | – |
//! | G2 | slot of an heir, virgin → word | relaxed | – | G3 publishes it; of a slot that another wrote, its word was read before G3, so nobody who comes by G3 reads an older one | – |
//! | G3 | header, frozen → moved | release | R1 | both heirs must be filled before | adjust ‖ adjust ‖ get |
//! | G4 | root → next | release | R5 | every page must have moved before | adjust ‖ adjust ‖ get |
//! | G5 | frontier, load and exchange | acquire, release | G5 | who ends the growth relies on what others saw moved | take ‖ put ‖ get, growing |
//!
//! Whoever finds that somebody else has moved a page learns it from R1 once more before it goes on:
//! R2 alone would not show it what the heirs hold.
//!
//! B2, B5 and the order of block states are in the arena's `lease` module.
//!
//! # Crash
//!
//! | dies after | left behind | what others see | repaired by |
//! |---|---|---|---|
//! | the block is claimed or written | a pending block, named | nothing | recovery frees it |
//! | W1, the descriptor | a descriptor that no header names | nothing | the line's next lessee gives it up |
//! | W2 | a busy page; blocks, named | the update | whoever updates the page next, or recovery, finishes it |
//! | W3, some slots | the same | the update | the same |
//! | root → growing | a growth that nobody works at | nothing | updates of one key in thirty-two |
//! | G1, G2 | a frozen page, heirs filled in part | the frozen page | whoever updates it, or helps |
//! | G3 | a page that has moved; the growth goes on | its heirs | the same |
//! | W4, W5 | a pending block that is linked, or one that is unlinked and named | the update | recovery, or the next deleter |
//!
//! # Limits
//!
//! `get`: lock-free; stores nothing, also where a writer or grower died in the middle. Updates:
//! lock-free; a page that is full at the largest size, or in a table that does not adjust, is an
//! error. While the table grows, one update in thirty-two moves a page, of up to 512 entries; so
//! does any that finds its own frozen or full; one that finds a page full which has been moved to
//! already moves all that are left. A stopped process withholds nothing: others finish its update.
//! A loop that finds the page changed 65,536 times in a row gives *contended*. The version wraps
//! after 2^49 updates of one page, 65 days at 10 ns each. A slot's count wraps after 2^26 writes of
//! it, at 100 ns each in 7 s: a helper that sleeps between its last look at the header and its
//! exchange through an exact multiple of that, and then finds the same block as near to its home,
//! writes an old word over it; one that moves a page and sleeps as long between its look at the
//! header and its exchange does the same to a slot that is empty again. A segment has at most 2^28
//! units, 16 GiB. A table grows by doubling, from the fewest to the most pages for which it was
//! made, and never shrinks; by default the two are equal. A growth does not end while a page is
//! damaged.
//!
//! # Source
//!
//! `papers/robin-hood.md`. From Celis: the order, and the bound that follows. Different: pages with
//! a version, updates as redo descriptors, backward shift instead of tombstones; growth.

mod descriptor;
mod grow;
mod inspect;
#[cfg(test)]
pub(crate) mod limits;
mod search;
mod size;
mod update;
mod word;

use std::fmt;

use shm_arena::{
    Arena, Geometry, Layout, Lease, Memory, Offset, SegmentError, Store, structure_fingerprint,
};

use crate::capabilities::Capabilities;
use crate::contract::{
    ArenaDesign, Audit, Copied, Cursor, Effect, Entry, Error, Lookup, Recovery, Remove, Resizing,
    Rule, Seen, Stats, Table, Unlinked, Version,
};
use crate::entry::{Near, check_key, identity_of};
use crate::kind::Kind;
use crate::options::{TableOptions, TableShape};
use descriptor::DESCRIPTOR_WORDS;
use search::Home;
use size::{Pages, Size};
use word::{Header, REACH_MAX, SLOTS_MAX, Slot, UNITS_MAX};

/// A table of Robin Hood pages. See the module for how it works.
pub struct RobinHood<M> {
    arena: Arena<M>,
    pages: Pages,
    /// Whether insertions begin to grow it.
    adjusts: bool,
    slot_mask: u32,
    /// Slots that a search looks at, at most.
    reach_max: u32,
    /// Where the headers, the slots and the descriptors start.
    headers: Offset,
    first_slot: Offset,
    descriptors: Offset,
    identity: u64,
}

/// Words of a page's header: a cache line, so that no two pages share one.
const HEADER_WORDS: u64 = 8;

/// Entries of a page on average for which the default shape is made: three quarters of its slots.
const fn entries_per_page(slots: u32) -> u64 {
    slots as u64 * 3 / 4
}

/// Attempts before an operation gives up on a page that changes under each of them.
const TURNS_MAX: u32 = 1 << 16;

/// Look-ups whose cache misses overlap.
const BATCH: usize = 16;

const CAPABILITIES: Capabilities =
    Capabilities { bounded_buckets: true, adjusts: true, ..Capabilities::LOCK_FREE };

const _: () = assert!(Header::NEW.is_idle() && Slot::EMPTY.is_empty());

impl<M: Memory> RobinHood<M> {
    fn shape(options: &TableOptions) -> Result<TableShape, SegmentError> {
        let shape = match options.shape {
            Some(shape) => shape,
            None => TableShape {
                buckets: options.entries.div_ceil(entries_per_page(SLOTS_MAX)),
                slots: SLOTS_MAX,
                ..options.shape(entries_per_page(SLOTS_MAX))?
            },
        };
        for (quantity, value, fits) in [
            ("pages", shape.buckets, (1..=1 << 32).contains(&shape.buckets)),
            ("slots", shape.slots.into(), Self::has_slots(shape.slots.into())),
        ] {
            if !fits {
                let problem = "not 1 to 2^32, or not a power of two from 2 to 512".to_owned();
                return Err(SegmentError::Size { quantity, value, problem });
            }
        }
        Ok(shape)
    }

    fn has_slots(slots: u64) -> bool {
        slots.is_power_of_two() && (2..=SLOTS_MAX.into()).contains(&slots)
    }

    /// Pages with which a table begins and up to which it may grow. Where neither is told, as many
    /// as the entries ask for, and no more. They need not be powers of two: it begins with the
    /// fewest from which doubling leads to the most, both rounded up.
    fn bounds(options: &TableOptions, pages: u64) -> Result<Pages, SegmentError> {
        let (fewest, most) = match (options.buckets_min, options.buckets_max) {
            (None, None) => (pages, pages),
            (Some(fewest), None) => (fewest, pages.max(fewest)),
            (None, Some(most)) => (pages.min(most), most),
            (Some(fewest), Some(most)) => (fewest, most),
        };
        let wrong =
            |quantity, value, problem: String| Err(SegmentError::Size { quantity, value, problem });
        if most == 0 || most > Pages::MAX {
            return wrong("most pages", most, "not 1 to 2^32".to_owned());
        }
        if fewest == 0 || fewest > most {
            return wrong("fewest pages", fewest, format!("not 1 to the most, {most}"));
        }
        let doublings = (most / fewest).ilog2();
        let first = most.div_ceil(1 << doublings);
        let most = first << doublings;
        match Pages::new(first, most) {
            Some(pages) => Ok(pages),
            None => wrong("most pages", most, "more than 2^32".to_owned()),
        }
    }

    /// Words of the index.
    fn index_words(pages: Pages, slots: u32, lines: u32) -> u64 {
        pages.total() * (HEADER_WORDS + u64::from(slots)) + u64::from(lines) * DESCRIPTOR_WORDS
    }

    /// The arena underneath.
    pub const fn arena(&self) -> &Arena<M> {
        &self.arena
    }

    #[inline(always)]
    fn memory(&self) -> &M {
        self.arena.memory()
    }

    const fn slots(&self) -> u32 {
        self.slot_mask + 1
    }

    /// A place in a page, counted on from the last slot to the first.
    #[inline(always)]
    const fn wrapped(&self, position: u32) -> u32 {
        position & self.slot_mask
    }

    /// The header of a page; pages are numbered through all sizes.
    #[inline(always)]
    fn header_at(&self, page: u64) -> Offset {
        self.headers + page * HEADER_WORDS
    }

    /// The word of a slot; positions wrap, so every offset lies in the page.
    #[inline(always)]
    fn slot_at(&self, page: u64, position: u32) -> Offset {
        self.first_slot + (page * u64::from(self.slots()) + u64::from(self.wrapped(position)))
    }

    /// Brings what a verb looks at first near.
    #[inline(always)]
    fn approach(&self, home: Home, size: Size, near: Near) {
        let page = self.pages.page(home, size.exponent());
        near.bring(self.memory(), self.header_at(page), 1);
        near.bring(self.memory(), self.slot_at(page, home.slot()), 1);
    }

    #[inline(always)]
    fn lease(&self) -> Result<Lease<'_, M>, Error> {
        let lease = self.arena.lease()?;
        self.finish_own(&lease)?;
        if lease.is_unsettled() { self.settled(lease) } else { Ok(lease) }
    }

    /// Has an update of one key in thirty-two take part in a growth that is under way, of one in
    /// sixteen where pages are smaller than 512 slots: moving a page takes as long as many updates,
    /// and the others go on meanwhile.
    #[inline(always)]
    fn help_if_growing(&self, size: Size, home: Home, lease: &Lease<'_, M>) {
        if size.is_growing() && home.rest() & (self.slot_mask >> 4 | 15) == 0 {
            self.help_growing(size, lease.number());
        }
    }

    /// Puts the line of a lessee that unwound in order. Where the index is damaged, the line stays
    /// behind, and the next lessee has another.
    #[cold]
    fn settled<'a>(&'a self, lease: Lease<'a, M>) -> Result<Lease<'a, M>, Error> {
        let what = "page of an unsettled line";
        match lease.settle_own(self) {
            true => Ok(lease),
            false => Err(Error::Corrupt { what, word: self.arena.layout().index().word() }),
        }
    }
}

impl<M: Memory> ArenaDesign<M> for RobinHood<M> {
    const DESIGN: Kind = Kind::RobinHood;
    const FINGERPRINT: u64 = structure_fingerprint(
        "robin_hood 2: root exponent:63|growing:1, frontier; \
         header busy:1|mode:2|line:12|version:49; slot reach:6|tag:4|count:26|block:28; \
         headers of 8 words, slots, descriptors of 16; \
         entry hash, key:8|value:24|0:32, metadata, key, value; \
         numbers pages slots pages_max adjusts",
    );

    fn numbers(options: &TableOptions) -> Result<([u64; 4], Geometry), SegmentError> {
        let shape = Self::shape(options)?;
        let pages = Self::bounds(options, shape.buckets)?;
        let words = Self::index_words(pages, shape.slots, options.lines);
        let geometry = options.geometry(shape, words);
        let units = Layout::new(geometry)?.word_count().div_ceil(8);
        if units > UNITS_MAX {
            let problem = format!("more than a slot can name, {UNITS_MAX}: choose cas_bucket");
            return Err(SegmentError::Size { quantity: "segment units", value: units, problem });
        }
        let (first, last) = (pages.count(0), pages.count(pages.exponent_max));
        Ok(([first, shape.slots.into(), last, options.adjusts.into()], geometry))
    }

    fn over(arena: Arena<M>) -> Result<Self, SegmentError> {
        let [first, slots, last, adjusts] = arena.header().table_numbers;
        let geometry = arena.geometry();
        let pages = Pages::new(first, last).filter(|_| Self::has_slots(slots));
        let slots = u32::try_from(slots).unwrap_or(SLOTS_MAX);
        let words = pages.map(|pages| Self::index_words(pages, slots, geometry.lines));
        let Some(pages) = pages.filter(|_| words == Some(geometry.index_words)) else {
            let found = format!("{first} to {last} pages of {slots} slots");
            let expected = format!("{} index words", geometry.index_words);
            return Err(SegmentError::header("pages and slots", found, expected));
        };
        let headers = arena.layout().index();
        let first_slot = headers + pages.total() * HEADER_WORDS;
        Ok(Self {
            pages,
            adjusts: adjusts != 0 && pages.exponent_max > 0,
            slot_mask: slots - 1,
            reach_max: slots.min(REACH_MAX),
            headers,
            first_slot,
            descriptors: first_slot + pages.total() * u64::from(slots),
            identity: identity_of(&arena),
            arena,
        })
    }

    fn format(&self, wraps_after: Option<u64>) {
        let header = wraps_after.map_or(Header::NEW, Header::new_before_wrap);
        // A virgin slot is empty, and the root says that the table has its smallest size.
        for page in 0..self.pages.total() {
            self.memory().store(self.header_at(page), header.bits(), Store::Relaxed);
        }
    }

    fn into_arena(self) -> Arena<M> {
        self.arena
    }
}

crate::design_in_arena!(RobinHood);

impl<M: Memory> Table for RobinHood<M> {
    fn kind(&self) -> Kind {
        Self::DESIGN
    }

    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn identity(&self) -> u64 {
        self.identity
    }

    #[inline]
    fn get(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<u64>, Error> {
        self.read(key, value)
    }

    fn look_up(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<Seen>, Error> {
        self.read_versioned(key, value)
    }

    fn get_into(&self, key: &[u8], buffer: &mut [u8]) -> Result<Option<Copied>, Error> {
        self.read_into(key, buffer)
    }

    /// Asks for all pages of a batch, then looks each key up.
    fn get_many(&self, keys: &[&[u8]], found: &mut Vec<Lookup>) -> Result<(), Error> {
        found.resize_with(keys.len(), Lookup::default);
        for (keys, found) in keys.chunks(BATCH).zip(found.chunks_mut(BATCH)) {
            let size = self.size();
            for key in keys {
                check_key(key)?;
                self.approach(Home::new(self.arena.hasher().hash(key)), size, Near::ToRead);
            }
            for (key, lookup) in keys.iter().zip(found) {
                lookup.metadata = self.read(key, &mut lookup.value)?;
            }
        }
        Ok(())
    }

    fn update(&self, entry: Entry<'_>, rule: Rule<'_>) -> Result<Effect, Error> {
        self.update_by_rule(entry, rule)
    }

    fn unlink(
        &self,
        key: &[u8],
        only: Option<Version>,
        value: Option<&mut Vec<u8>>,
    ) -> Result<Unlinked, Error> {
        self.unlink_key(key, only, value)
    }

    fn remove_version(&self, version: Version) -> Result<Remove, Error> {
        self.unlink_version(version)
    }

    fn scan(
        &self,
        cursor: &mut Cursor,
        visit: &mut dyn FnMut(Entry<'_>, Version),
    ) -> Result<(), Error> {
        self.scan_home(cursor, visit)
    }

    fn len(&self) -> u64 {
        self.arena.balance()
    }

    fn stats(&self) -> Stats {
        self.count_all()
    }

    fn dump(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        self.write_dump(out)
    }

    fn audit(&self) -> Audit {
        self.check_all()
    }

    fn recover(&self) -> Result<Recovery, Error> {
        let lease = self.lease()?;
        Ok(self.arena.recover(&lease, self).into())
    }

    fn resizing(&self) -> Option<Resizing> {
        self.growth()
    }

    /// Finishes a growth that is under way, then doubles the pages until there are so many, or the
    /// most. The table never shrinks.
    fn adjust(&self, buckets: Option<u64>) -> Result<u64, Error> {
        self.grow_to(buckets)
    }
}

impl<M: Memory> fmt::Debug for RobinHood<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RobinHood")
            .field("pages", &self.pages)
            .field("slots", &self.slots())
            .field("arena", &self.arena)
            .finish()
    }
}
