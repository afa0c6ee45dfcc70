//! Updates as redo descriptors: one for each participant line, finished by whoever meets it.
//!
//! ```text
//! word 0   page + 1 of the update that the line is in, or 0; pages numbered through all sizes
//!      1   change │ first slot │ slots
//!      2   incoming entry, as the first slot's content
//!      3   outgoing block
//!  4 … 11  parities of the slots before, 64 a word, only as many as there are slots
//! 12 … 15  unused
//! ```
//!
//! A page's header names the line whose descriptor governs it. As long as it does, the line's owner
//! leaves the descriptor alone; so whoever copies one and then finds the header unchanged has a
//! whole one, and knows that every slot it looked at meanwhile belonged to that update.

use shm_arena::{Block, Fence, Lease, Load, Memory, Offset, Rmw, Store};

use super::RobinHood;
use super::word::{Change, Header, PARITY_WORDS, Plan, Slot};
use crate::contract::Error;

/// Words of a descriptor.
pub(super) const DESCRIPTOR_WORDS: u64 = 16;
/// Where the parities begin.
const PARITIES: u64 = 4;

/// Whether an update took effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(super) enum Begun {
    /// It did, and every slot is written.
    Finished,
    /// Another update came first.
    Lost,
}

impl<M: Memory> RobinHood<M> {
    #[inline(always)]
    fn descriptor(&self, line: u32) -> Offset {
        self.descriptors + u64::from(line) * DESCRIPTOR_WORDS
    }

    /// Finishes what the last lessee of this line left under way, if it died or unwound there: the
    /// descriptor must not be written before.
    #[inline(always)]
    pub(super) fn finish_own(&self, lease: &Lease<'_, M>) -> Result<(), Error> {
        let at = self.descriptor(lease.number());
        match self.memory().load(at, Load::Relaxed) {
            0 => Ok(()),
            named => self.finish_left(at, named - 1, lease.number()),
        }
    }

    #[cold]
    fn finish_left(&self, at: Offset, page: u64, line: u32) -> Result<(), Error> {
        if page >= self.pages.total() {
            return Err(Error::Corrupt { what: "descriptor's page", word: at.word() });
        }
        let header = Header::from_bits(self.memory().load(self.header_at(page), Load::Acquire));
        if header.is_busy() && header.line() == line {
            self.help(page, header)?;
        }
        self.memory().store(at, 0, Store::Release);
        Ok(())
    }

    /// Writes the descriptor, makes it the page's, and finishes the update.
    ///
    /// CRASH(begin): before the exchange nothing has happened; after it the update has, and anyone
    /// finishes it.
    #[inline(always)]
    pub(super) fn begin(&self, page: u64, header: Header, plan: &Plan, line: u32) -> Begun {
        let at = self.descriptor(line);
        // ORDERING(W1): release, pairs with H1: who sees a word of this descriptor also sees that
        // the page of the one before is no longer governed by it.
        self.memory().fence(Fence::Release);
        self.memory().store(at, page + 1, Store::Relaxed);
        self.memory().store(at + 1, plan.packed(), Store::Relaxed);
        self.memory().store(at + 2, plan.incoming.bits(), Store::Relaxed);
        self.memory().store(at + 3, plan.outgoing.unit().into(), Store::Relaxed);
        for (word, bits) in (0..plan.parity_words()).zip(&plan.parity) {
            self.memory().store(at + PARITIES + u64::from(word), *bits, Store::Relaxed);
        }
        let busy = header.begun_by(line);
        // ORDERING(W2): release, pairs with R1.
        let begun = self.memory().compare_exchange(
            self.header_at(page),
            header.bits(),
            busy.bits(),
            Rmw::Release,
            Load::Relaxed,
        );
        let outcome = match begun {
            Ok(_) => {
                self.apply(page, busy, plan);
                Begun::Finished
            }
            Err(_) => Begun::Lost,
        };
        // ORDERING(W5): release, after the page is governed by this descriptor no more: else a
        // death could leave the line for someone who rewrites what governs.
        self.memory().store(at, 0, Store::Release);
        outcome
    }

    /// Finishes the update that is under way in a page.
    #[cold]
    pub(super) fn help(&self, page: u64, header: Header) -> Result<(), Error> {
        if let Some(plan) = self.plan_of(page, header)? {
            self.apply(page, header, &plan);
        }
        Ok(())
    }

    /// The update that is under way in a page; `None` if it is not any more.
    pub(super) fn plan_of(&self, page: u64, header: Header) -> Result<Option<Plan>, Error> {
        let damaged = |what, at: Offset| Err(Error::Corrupt { what, word: at.word() });
        if !header.is_busy() || header.line() >= self.arena.geometry().lines {
            return damaged("page header", self.header_at(page));
        }
        let at = self.descriptor(header.line());
        let load = |word| self.memory().load(at + word, Load::Relaxed);
        let named = load(0);
        let mut plan = Plan::unpacked(load(1), self.slots());
        let (incoming, outgoing) = (Slot::from_bits(load(2)), load(3));
        if let Some(plan) = &mut plan {
            plan.incoming = incoming;
            plan.outgoing = Block::new(u32::try_from(outgoing).unwrap_or(0));
            for (word, bits) in (0..plan.parity_words()).zip(&mut plan.parity) {
                *bits = load(PARITIES + u64::from(word));
            }
        }
        // ORDERING(H1): acquire fence, pairs with W1: unchanged, so the copy is whole.
        if !self.is_unchanged(page, header) {
            return Ok(None);
        }
        match plan {
            Some(plan) if named == page + 1 => Ok(Some(plan)),
            _ => damaged("descriptor", at),
        }
    }

    /// Writes every slot that is not written yet, in the plan's order, and makes the page idle.
    /// Returns early if somebody else has.
    #[inline(always)]
    pub(super) fn apply(&self, page: u64, header: Header, plan: &Plan) {
        for turn in 0..plan.len {
            let index = plan.order(turn);
            let at = self.slot_at(page, plan.start + index);
            // ORDERING(H2): acquire, pairs with W3: what precedes this write is seen as well.
            let slot = Slot::from_bits(self.memory().load(at, Load::Acquire));
            if plan.is_done(index, slot) {
                continue;
            }
            let next = slot.with(self.content(page, plan, index));
            // ORDERING(H3): acquire fence. Unchanged, so both words were read while this plan
            // governed the page; a later exchange fails by the count.
            if !self.is_unchanged(page, header) {
                return;
            }
            // ORDERING(W3): release, pairs with R2 and H2. Failed: somebody else wrote the slot,
            // and W4 has to cover that write as well.
            let _ = self.memory().compare_exchange(
                at,
                slot.bits(),
                next.bits(),
                Rmw::Release,
                Load::Acquire,
            );
        }
        // ORDERING(W4): release, pairs with R1. Failed: somebody else was first.
        let _ = self.memory().compare_exchange(
            self.header_at(page),
            header.bits(),
            header.completed().bits(),
            Rmw::Release,
            Load::Relaxed,
        );
    }

    /// What a slot that is not written yet will hold. The neighbour that it comes from is written
    /// only after it.
    #[inline(always)]
    fn content(&self, page: u64, plan: &Plan, index: u32) -> Slot {
        let neighbour = |index| {
            let at = self.slot_at(page, plan.start + index);
            Slot::from_bits(self.memory().load(at, Load::Acquire))
        };
        match plan.change {
            Change::Insert if index > 0 => neighbour(index - 1).further(),
            Change::Insert | Change::Replace => plan.incoming,
            Change::Remove if index + 1 < plan.len => neighbour(index + 1).nearer(),
            Change::Remove => Slot::EMPTY,
        }
    }
}

const _: () = assert!(PARITIES + PARITY_WORDS as u64 <= DESCRIPTOR_WORDS);
