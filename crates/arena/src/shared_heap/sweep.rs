//! Freeing what the dead owned, and everything.

use super::word::{Holder, OwnerWord};
use super::{HeapError, SharedHeap};
use crate::arena::Index;
use crate::block::Block;
use crate::lease::Lease;
use crate::liveness::RecordIndex;
use crate::memory::{Load, Memory};
use crate::recover::Recovered;

/// What a recovery of a heap did.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct HeapRecovered {
    /// Dead processes whose records are free again.
    pub processes: u32,
    /// Blocks that went back to free.
    pub blocks: u32,
}

impl<M: Memory> SharedHeap<M> {
    /// Frees what dead processes owned, and finishes or undoes what they were doing. Anyone may
    /// call it at any time, while others work; it may be killed at any point and run again.
    pub fn recover(&self) -> Result<HeapRecovered, HeapError> {
        let lease = self.lease()?;
        Ok(self.recover_with(&lease))
    }

    pub(super) fn recover_with<'a>(&'a self, lease: &Lease<'a, M>) -> HeapRecovered {
        let recovered = self.arena.recover(lease, self);
        let begun_ns = self.arena.environment().clock.now_ns();
        let mut blocks = 0;
        for record in (0..self.arena.geometry().records).map(RecordIndex) {
            if let Some(incarnation) = self.arena.departed(record)
                && self.swept(record) != incarnation
            {
                blocks += self.free_all_of(record, lease, || self.arena.departed(record).is_some());
                // A successor may have begun meanwhile, which sees to the rest by itself.
                if self.arena.departed(record) == Some(incarnation) {
                    self.set_swept(record, incarnation);
                }
            }
        }
        if let Some(me) = self.arena.identity() {
            self.arena.count_recovery(me.record, Recovered { processes: 0, blocks }, begun_ns);
        }
        HeapRecovered { processes: recovered.processes, blocks: recovered.blocks + blocks }
    }

    /// What a process does first: frees what earlier ones left under its record.
    ///
    /// CRASH(begin): the bits go when what they name is free; until then recovery goes by them.
    pub(super) fn begin(&self) {
        let Some(me) = self.arena.identity() else { return };
        let before = me.incarnation.wrapping_sub(1);
        if self.swept(me.record) != before {
            let Ok(lease) = self.lease() else { return };
            let begun_ns = self.arena.environment().clock.now_ns();
            let blocks = self.free_all_of(me.record, &lease, || true);
            self.set_swept(me.record, before);
            let left = Recovered { processes: 0, blocks };
            self.arena.count_recovery(me.record, left, begun_ns);
        }
        self.forget_touched(me.record);
    }

    /// What a process does last: frees what it owns.
    pub(super) fn end(&self) {
        if let (Ok(me), Ok(lease)) = (self.arena.acting_identity(), self.lease()) {
            self.free_all_of(me.record, &lease, || true);
            self.set_swept(me.record, me.incarnation);
        }
    }

    /// Frees all that the processes of a record own. Whether one is at it is asked after each
    /// block's owner word was read, so a successor loses nothing: it writes another word.
    fn free_all_of<'a>(
        &'a self,
        record: RecordIndex,
        lease: &Lease<'a, M>,
        is_gone: impl Fn() -> bool,
    ) -> u32 {
        let mut freed = 0;
        self.visit_touched(record, |number| {
            let owner = self.owner(number);
            match owner.holder() {
                Holder::Process(of) if of == record && is_gone() => {
                    freed += u32::from(self.release(number, owner, lease));
                }
                Holder::Moving(of, root) if of == record && is_gone() => {
                    if self.is_hanging(root, number, owner) {
                        self.exchange_owner(number, owner, Holder::Root(root));
                    } else {
                        freed += u32::from(self.release(number, owner, lease));
                    }
                }
                _ => {}
            }
        });
        freed
    }

    /// Whether a block whose mover is gone is under the root that it was moved to or from.
    /// INVARIANT(I3): nobody but the mover changes that root while the block says so.
    fn is_hanging(&self, root: u32, number: u32, owner: OwnerWord) -> bool {
        let is_live = self.root_header().is_live(root);
        let there = self.hanging(root);
        is_live && there.is_some_and(|(at, seen)| at.number == number && seen == owner)
    }

    /// Frees every allocation and every root, whoever owns them. Not atomic: what others allocate
    /// meanwhile may or may not be freed. Handles to what was freed say so.
    pub fn reset(&self) -> Result<u32, HeapError> {
        let lease = self.lease()?;
        let mut freed = 0;
        for number in 0..self.blocks {
            let owner = self.owner(number);
            if !matches!(owner.holder(), Holder::Nobody | Holder::Damaged) {
                freed += u32::from(self.release(number, owner, &lease));
            }
        }
        // Each failed turn means that somebody changed the roots meanwhile.
        for _ in 0..1000 {
            let header = self.root_header();
            let live = (0..self.roots).filter(|&root| header.is_live(root));
            let dangling: Vec<u32> = live.filter(|&root| self.hanging(root).is_none()).collect();
            let next = dangling.iter().fold(header, |header, &root| header.with(root, false));
            if dangling.is_empty() || self.exchange_roots(header, next) {
                dangling.into_iter().for_each(|root| self.unclaim(root));
                break;
            }
        }
        Ok(freed)
    }
}

impl<M: Memory> Index for SharedHeap<M> {
    fn references(&self, block: Block) -> Option<bool> {
        let Some(number) = self.arena.number_of_block(block) else {
            return Some(false);
        };
        let word = self.arena.layout().numbered_block_word(number);
        let word = crate::block::BlockWord::from_bits(self.memory().load(word, Load::Acquire));
        let owner = self.owner(number);
        let is_same_life = owner.generation() == word.generation();
        Some(is_same_life && owner.holder() != Holder::Nobody)
    }

    fn forget(&self, _block: Block) {}
}
