//! Finding an entry, and reading it out.

use shm_arena::{Block, Fence, Index, Load, Memory};

use super::word::{Change, Header, Plan, REACH_MAX, Slot};
use super::{RobinHood, TURNS_MAX};
use crate::contract::{Copied, Error, Seen, Version};
use crate::entry::{EntryShape, EntryView, Near, check_key};

/// A look-up that failed once for every so many slots of the page watches the slots that concern it
/// and not the whole page.
const SLOTS_PER_TURN: u32 = 32;

/// An entry as a search saw it: true if the header is still the one that the search began with.
#[derive(Debug)]
pub(super) struct Found<'a, M> {
    /// Its slot's place in the page.
    pub(super) position: u32,
    pub(super) slot: Slot,
    pub(super) shape: EntryShape,
    pub(super) entry: EntryView<'a, M>,
}

/// What a search saw.
#[derive(Debug)]
pub(super) enum Search<'a, M> {
    Found(Found<'a, M>),
    /// The key's entry would be in this slot, so far from its home.
    Absent {
        position: u32,
        reach: u32,
    },
    /// Something that no participant writes, if the header is still the same.
    Damaged {
        word: u64,
    },
}

/// An entry that a reader is shown: true if the page is still as it was.
#[derive(Debug)]
pub(super) struct Linked<'a, M> {
    entry: EntryView<'a, M>,
    shape: EntryShape,
    block: Block,
}

/// What a reader makes of an entry or of its absence; what it gives counts only if the page is
/// unchanged afterwards, else it is asked again.
trait Read<M, T>: FnMut(Option<Linked<'_, M>>) -> Result<T, Error> {}

impl<M, T, F: FnMut(Option<Linked<'_, M>>) -> Result<T, Error>> Read<M, T> for F {}

/// What one look at a page gave.
enum Look<T> {
    /// What the reader made of the page at one instant.
    Seen(T),
    /// Somebody changed the page meanwhile.
    Changed,
}

/// A key's place, all of it from its hash: page, slot, tag.
#[derive(Clone, Copy, Debug)]
pub(super) struct Home(u64);

impl Home {
    #[inline(always)]
    pub(super) const fn new(hash: u64) -> Self {
        Self(hash)
    }

    /// The slot at which a search begins, to be masked.
    #[inline(always)]
    pub(super) const fn slot(self) -> u32 {
        (self.0 & 0xffff) as u32
    }

    /// Four bits that neither slot nor page depend on.
    #[inline(always)]
    pub(super) const fn tag(self) -> u32 {
        (self.0 >> 16 & 15) as u32
    }

    /// Sixteen bits that neither slot nor page depend on, the tag first.
    #[inline(always)]
    pub(super) const fn rest(self) -> u32 {
        (self.0 >> 16 & 0xffff) as u32
    }

    /// The page, of so many: the upper half of the hash, scaled.
    #[inline(always)]
    pub(super) const fn page(self, pages: u64) -> u64 {
        ((self.0 >> 32) * pages) >> 32
    }
}

impl<M: Memory> RobinHood<M> {
    /// The header of a page.
    #[inline(always)]
    pub(super) fn load_header(&self, page: u64) -> Header {
        // ORDERING(R1): acquire, pairs with W2 and W4.
        Header::from_bits(self.memory().load(self.header_at(page), Load::Acquire))
    }

    /// Whether everything read since `header` was loaded was there at one instant.
    #[inline(always)]
    pub(super) fn is_unchanged(&self, page: u64, header: Header) -> bool {
        // ORDERING(R2): acquire fence, pairs with W3 and with the arena's B2 and B5.
        self.memory().fence(Fence::Acquire);
        self.memory().load(self.header_at(page), Load::Relaxed) == header.bits()
    }

    /// The word of a slot, at any instant.
    #[inline(always)]
    pub(super) fn slot(&self, page: u64, position: u32) -> Slot {
        Slot::from_bits(self.memory().load(self.slot_at(page, position), Load::Relaxed))
    }

    /// Looks for a key in an idle page: from its home on, until a slot is empty or holds an entry
    /// that is nearer to its own home than the key would be.
    #[inline(always)]
    pub(super) fn search(
        &self,
        page: u64,
        (home, key): (Home, &[u8]),
        near: Near,
    ) -> Search<'_, M> {
        let mut position = home.slot();
        let mut reach = 1;
        while reach <= self.reach_max {
            let slot = self.slot(page, position);
            if slot.lead() == Slot::lead_of(reach, home.tag()) {
                match self.try_slot((page, position), slot, key, near) {
                    Search::Absent { .. } => {}
                    seen => return seen,
                }
            } else if slot.reach() < reach {
                break;
            }
            position += 1;
            reach += 1;
        }
        Search::Absent { position, reach }
    }

    /// Compares the key with that of the entry which a slot names, having asked for what will be
    /// wanted of it.
    #[inline(always)]
    fn try_slot(
        &self,
        (page, position): (u64, u32),
        slot: Slot,
        key: &[u8],
        near: Near,
    ) -> Search<'_, M> {
        let Some(entry) = EntryView::new(&self.arena, slot.block()) else {
            return Search::Damaged { word: self.slot_at(page, position).word() };
        };
        near.bring_entry(self.memory(), slot.block());
        if let (Near::ToWrite, Some(at)) = (near, self.arena.layout().block_word(slot.block())) {
            near.bring(self.memory(), at, 1);
        }
        let Some(shape) = entry.shape() else {
            return Search::Damaged { word: slot.block().offset().word() };
        };
        if !entry.has_key(shape, key) {
            return Search::Absent { position, reach: 0 };
        }
        // The same length, but known before the entry's first line has come: where the value starts
        // does not wait for it.
        let shape = EntryShape::new(key.len(), shape.value_bytes);
        Search::Found(Found { position, slot, shape, entry })
    }

    /// The `get` of the contract.
    #[inline]
    pub(super) fn read(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<u64>, Error> {
        self.read_with(key, |seen| {
            let Some(Linked { entry, shape, .. }) = seen else {
                value.clear();
                return Ok(None);
            };
            let metadata = entry.metadata();
            entry.read_value(shape, value);
            Ok(Some(metadata))
        })
    }

    /// The `look_up` of the contract.
    pub(super) fn read_versioned(
        &self,
        key: &[u8],
        value: &mut Vec<u8>,
    ) -> Result<Option<Seen>, Error> {
        self.read_with(key, |seen| {
            let Some(Linked { entry, shape, block }) = seen else {
                value.clear();
                return Ok(None);
            };
            let version = self.version(block).ok_or_else(|| corrupt(block))?;
            entry.read_value(shape, value);
            Ok(Some(Seen { metadata: entry.metadata(), version }))
        })
    }

    /// The `get_into` of the contract.
    pub(super) fn read_into(&self, key: &[u8], buffer: &mut [u8]) -> Result<Option<Copied>, Error> {
        self.read_with(key, |seen| {
            let Some(Linked { entry, shape, .. }) = seen else { return Ok(None) };
            let bytes = entry.read_value_into(shape, buffer)?;
            Ok(Some(Copied { bytes, metadata: entry.metadata() }))
        })
    }

    /// The version of the entry in a block; `None` if the block is not in use. True if the block
    /// stayed linked meanwhile.
    pub(super) fn version(&self, block: Block) -> Option<Version> {
        let generation = self.arena.generation(block)?;
        Some(Version::new(self.identity, block, generation))
    }

    /// What `read` makes of a key's entry, or of its absence, at one instant.
    #[inline(always)]
    fn read_with<T>(&self, key: &[u8], mut read: impl Read<M, T>) -> Result<T, Error> {
        check_key(key)?;
        let home = Home::new(self.arena.hasher().hash(key));
        match self.look_once(home, key, &mut read) {
            Ok(Look::Changed) => self.look_again(home, key, &mut read),
            Ok(Look::Seen(seen)) => Ok(seen),
            Err(error) => Err(error),
        }
    }

    /// Repeats a look at a page that changed.
    #[cold]
    fn look_again<T>(
        &self,
        home: Home,
        key: &[u8],
        read: &mut impl Read<M, T>,
    ) -> Result<T, Error> {
        // Each failed turn means that somebody changed this page; after some, that somebody changed
        // the slots that concern this key, or was just about to change the page.
        for turn in 0..TURNS_MAX {
            let look = if turn < self.slots() / SLOTS_PER_TURN {
                self.look_once(home, key, read)?
            } else {
                self.look_closely(home, key, read)?
            };
            if let Look::Seen(seen) = look {
                return Ok(seen);
            }
        }
        Err(self.contended(home))
    }

    #[inline(always)]
    fn look_once<T>(
        &self,
        home: Home,
        key: &[u8],
        read: &mut impl Read<M, T>,
    ) -> Result<Look<T>, Error> {
        let page = self.page(home);
        let header = self.load_header(page);
        if !header.is_idle() {
            return self.look_through(home, (page, header), key, read);
        }
        self.look_at(home, (page, header), key, read)
    }

    /// Looks at a page that is idle or frozen.
    #[inline(always)]
    fn look_at<T>(
        &self,
        home: Home,
        (page, header): (u64, Header),
        key: &[u8],
        read: &mut impl Read<M, T>,
    ) -> Result<Look<T>, Error> {
        let seen = match self.search(page, (home, key), Near::ToRead) {
            Search::Found(found) => {
                let Found { slot, shape, entry, .. } = found;
                read(Some(Linked { entry, shape, block: slot.block() }))
            }
            Search::Absent { .. } => read(None),
            Search::Damaged { word } => Err(Error::Corrupt { what: "linked block", word }),
        };
        if self.is_unchanged(page, header) { seen.map(Look::Seen) } else { Ok(Look::Changed) }
    }

    /// Looks at a page that is not idle: where it has moved to, and, if an update is under way
    /// there, as it is after that update.
    #[cold]
    fn look_through<T>(
        &self,
        home: Home,
        (page, header): (u64, Header),
        key: &[u8],
        read: &mut impl Read<M, T>,
    ) -> Result<Look<T>, Error> {
        let at = |exponent| self.pages.page(home, exponent);
        let (page, header) = self.followed(page, header, at)?;
        if header.is_still() {
            return self.look_at(home, (page, header), key, read);
        }
        let Some(slots) = self.slots_of_home(page, home.slot(), header)? else {
            return Ok(Look::Changed);
        };
        let mut linked = Ok(None);
        for slot in slots.into_iter().filter(|slot| slot.tag() == home.tag()) {
            linked = self.linked(slot, key);
            if !matches!(linked, Ok(None)) {
                break;
            }
        }
        let seen = linked.and_then(read);
        if self.still_holds(page, header) { seen.map(Look::Seen) } else { Ok(Look::Changed) }
    }

    /// What a slot names, if it has this key.
    fn linked(&self, slot: Slot, key: &[u8]) -> Result<Option<Linked<'_, M>>, Error> {
        let block = slot.block();
        let shaped = EntryView::shaped(&self.arena, block);
        let (entry, shape) = shaped.ok_or_else(|| corrupt(block))?;
        Ok(entry.has_key(shape, key).then_some(Linked { entry, shape, block }))
    }

    /// Looks at the slots that concern a key, twice, and at the header between: the same words, and
    /// no update under way, so the page was like that at the instant of the header. What goes on in
    /// the rest of the page does not matter. A page in which somebody is stopped is looked through.
    ///
    /// INVARIANT(I4): no slot has the same word twice, so nothing came and went in between.
    #[cold]
    fn look_closely<T>(
        &self,
        home: Home,
        key: &[u8],
        read: &mut impl Read<M, T>,
    ) -> Result<Look<T>, Error> {
        let (page, header) = self.governing(home)?;
        if !header.is_idle() {
            return self.look_through(home, (page, header), key, read);
        }
        let mut first = [Slot::EMPTY; REACH_MAX as usize];
        let mut looked = 0;
        let mut linked = Ok(None);
        for (reach, kept) in (1..=self.reach_max).zip(&mut first) {
            let at = self.slot_at(page, home.slot() + reach - 1);
            // ORDERING(R4): acquire, pairs with W3: the slot may be newer than the header before,
            // and what it names must then be as visible as it is.
            let slot = Slot::from_bits(self.memory().load(at, Load::Acquire));
            *kept = slot;
            looked += 1;
            if slot.lead() == Slot::lead_of(reach, home.tag()) {
                linked = self.linked(slot, key);
                if !matches!(linked, Ok(None)) {
                    break;
                }
            } else if slot.reach() < reach {
                break;
            }
        }
        let seen = linked.and_then(read);
        // ORDERING(R3): acquire fence, pairs with W3: the header is not older than those slots.
        self.memory().fence(Fence::Acquire);
        let is_idle = self.load_header(page).is_idle();
        let same = (0..looked)
            .zip(&first)
            .all(|(step, slot)| self.slot(page, home.slot() + step) == *slot);
        if is_idle && same { seen.map(Look::Seen) } else { Ok(Look::Changed) }
    }

    /// Whether a page is as it is after the update that was under way in `header`, finished or not;
    /// of an idle or frozen page, whether it is unchanged.
    pub(super) fn still_holds(&self, page: u64, header: Header) -> bool {
        self.memory().fence(Fence::Acquire);
        let bits = self.memory().load(self.header_at(page), Load::Relaxed);
        let finished = header.is_busy() && bits == header.completed().bits();
        bits == header.bits() || finished
    }

    /// The slots whose entries have this home, in whatever state the page is: those that readers
    /// reach if [`still_holds`](Self::still_holds) afterwards. `None`: the page has changed.
    pub(super) fn slots_of_home(
        &self,
        page: u64,
        home: u32,
        header: Header,
    ) -> Result<Option<Vec<Slot>>, Error> {
        if !header.is_still() {
            let Some(plan) = self.plan_of(page, header)? else {
                return Ok(None);
            };
            return Ok(Some(self.slots_through(page, home, &plan)));
        }
        let mut slots = Vec::new();
        for reach in 1..=self.reach_max {
            let slot = self.slot(page, home + reach - 1);
            if slot.reach() < reach {
                break;
            }
            if slot.reach() == reach {
                slots.push(slot);
            }
        }
        Ok(Some(slots))
    }

    /// The same while a plan is under way. An entry that moves is in one of two slots, or both; the
    /// slots are looked at in the direction in which it moves, so it cannot slip past.
    fn slots_through(&self, page: u64, home: u32, plan: &Plan) -> Vec<Slot> {
        let mut slots: Vec<Slot> = Vec::new();
        for step in 0..self.reach_max {
            let reach = match plan.change {
                Change::Insert | Change::Replace => step + 1,
                Change::Remove => self.reach_max - step,
            };
            let at = self.slot_at(page, home + reach - 1);
            // ORDERING(H2): acquire, pairs with W3: an old slot already written over was copied to
            // the new one before, which the next load then sees.
            let slot = Slot::from_bits(self.memory().load(at, Load::Acquire));
            let is_twice = slots.iter().any(|seen| seen.block() == slot.block());
            if slot.reach() == reach && slot.block() != plan.outgoing && !is_twice {
                slots.push(slot);
            }
        }
        let incoming = plan.incoming;
        let is_home = !incoming.is_empty()
            && self.wrapped(plan.start + self.slots() + 1 - incoming.reach()) == self.wrapped(home);
        if is_home && slots.iter().all(|slot| slot.block() != incoming.block()) {
            slots.push(incoming);
        }
        slots
    }

    pub(super) fn contended(&self, home: Home) -> Error {
        Error::Contended { bucket: self.page(home), turns: TURNS_MAX }
    }

    /// Where the word of a slot that names this block is, if the page of its key has one: decided
    /// on an idle page.
    fn is_linked(&self, block: Block) -> Option<bool> {
        let home = Home::new(EntryView::new(&self.arena, block)?.hash());
        // Each failed turn means that somebody changed this page, or moved it on.
        for _ in 0..TURNS_MAX {
            let (page, header) = self.governing(home).ok()?;
            if !header.is_idle() {
                self.make_way(page, header).ok()?;
                continue;
            }
            let is_linked = (0..self.reach_max)
                .any(|step| self.slot(page, home.slot() + step).block() == block);
            if self.is_unchanged(page, header) {
                return Some(is_linked);
            }
        }
        None
    }
}

pub(super) const fn corrupt(block: Block) -> Error {
    Error::Corrupt { what: "linked block", word: block.offset().word() }
}

impl<M: Memory> Index for RobinHood<M> {
    fn references(&self, block: Block) -> Option<bool> {
        // A block that is in no slab is in no page either.
        if EntryView::new(&self.arena, block).is_none() {
            return Some(false);
        }
        self.is_linked(block)
    }

    /// No slot names a block that readers do not reach: what an update writes is reached from the
    /// exchange on that precedes its first write.
    fn forget(&self, _block: Block) {}
}
