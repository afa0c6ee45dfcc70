//! Recovery: finishing or undoing what a participant left, by anyone, while others work.
//!
//! # Idea
//!
//! A dead process is known by its record, which whoever notices frees: that makes orphans of its
//! lines. An orphan is adopted by exchanging its owner word, so one participant alone settles what
//! it names; a death of the adopter makes it an orphan again. Each named block is settled by asking
//! the index whether readers reach it, and passes from the dead line to the reaper's by one
//! exchange, named in the reaper's own line first.

use crate::arena::{Arena, Index};
use crate::block::{Block, BlockState, BlockWord};
use crate::lease::Lease;
use crate::memory::{Load, Memory, Rmw, Store};
use crate::participant::Line;

/// What a recovery did.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// Dead processes whose records are free again.
    pub processes: u32,
    /// Blocks that went back to free.
    pub blocks: u32,
}

impl<M: Memory> Arena<M> {
    /// Frees the record of every dead process and settles every orphaned line. Idempotent; may be
    /// killed at any point and run again by another.
    pub fn recover(&self, lease: &Lease<'_, M>, index: &dyn Index) -> Recovered {
        let mut recovered = Recovered { processes: self.bury(), blocks: 0 };
        let Some(me) = self.identity() else {
            return recovered;
        };
        for number in 0..self.geometry().lines {
            let Some(owner) = self.orphan(number).filter(|&owner| self.own(number, owner, me))
            else {
                continue;
            };
            // Where the index is damaged or will not stand still, the line is an orphan again.
            let is_settled = lease.settle(number, index, &mut recovered);
            let next = if is_settled { 0 } else { owner };
            let at = Line(self.layout().line(number)).owner();
            let mine = me.owner_word();
            // Only this participant owns the line, so the exchange cannot fail.
            let _ = self.memory().compare_exchange(at, mine, next, Rmw::AcqRel, Load::Relaxed);
        }
        recovered
    }
}

impl<M: Memory> Lease<'_, M> {
    /// Puts this line in order after a lessee that unwound in the middle of an operation. Where the
    /// index gives no answer, the line goes on naming what is unsettled.
    pub fn settle_own(&self, index: &dyn Index) {
        let number = self.number();
        let mut recovered = Recovered::default();
        if self.settle(number, index, &mut recovered) {
            self.forget_private();
        }
    }

    /// Settles every block that a line names; then the line names none. `false`: the index gave no
    /// answer, and the line still names what is unsettled.
    pub(crate) fn settle(&self, number: u32, index: &dyn Index, recovered: &mut Recovered) -> bool {
        let line = Line(self.layout().line(number));
        for at in [line.reaped_block(), line.old_block(), line.spare_block(), line.new_block()] {
            let named = self.memory().load(at, Load::Acquire);
            let block = Block::new(u32::try_from(named).unwrap_or(0));
            if block.unit() != 0 {
                let generation = self.memory().load(line.old_generation(), Load::Relaxed);
                let old = (at == line.old_block()).then_some(generation);
                match self.settle_block(block, number, old, index) {
                    Settled::Freed => recovered.blocks += 1,
                    Settled::Kept => {}
                    Settled::Unknown => return false,
                }
            }
            // ORDERING(B7): release, after the block is settled.
            self.memory().store(at, 0, Store::Release);
        }
        true
    }

    fn settle_block(
        &self,
        block: Block,
        number: u32,
        old_generation: Option<u64>,
        index: &dyn Index,
    ) -> Settled {
        // Each failed turn means that another participant took the block a step further; a block
        // has at most four steps before it is somebody else's.
        for _ in 0..8 {
            let Some(word) = self.word_of(block) else {
                return Settled::Kept;
            };
            let named = word.owner() == number;
            let unlinked = old_generation == Some(word.generation());
            let due = match word.state() {
                BlockState::Free => {
                    self.hint_at(block);
                    return Settled::Kept;
                }
                BlockState::Pending => named || unlinked,
                BlockState::Live => unlinked,
                BlockState::Drain => named,
                BlockState::Damaged => false,
            };
            if !due {
                return Settled::Kept;
            }
            if word.state() != BlockState::Drain {
                match index.references(block) {
                    None => return Settled::Unknown,
                    Some(false) => {}
                    Some(true) if word.state() == BlockState::Live || !named => {
                        return Settled::Kept;
                    }
                    Some(true) => {
                        if self.step_of(block, word, word.live()) {
                            return Settled::Kept;
                        }
                        continue;
                    }
                }
            }
            if self.reap_block(block, word, index) {
                return Settled::Freed;
            }
        }
        Settled::Kept
    }

    /// Takes an unreferenced block over and frees it.
    fn reap_block(&self, block: Block, word: BlockWord, index: &dyn Index) -> bool {
        let reaped = Line(self.layout().line(self.number())).reaped_block();
        let me = self.number();
        self.memory().store(reaped, block.unit().into(), Store::Relaxed);
        let drained = if word.state() == BlockState::Drain {
            word.inherited_by(me)
        } else {
            word.drained_by(me)
        };
        // A block that this very line drains is its own already.
        let mine = drained == word || self.step_of(block, word, drained);
        if mine {
            index.forget(block);
            self.wipe_and_free(block, drained);
        }
        self.memory().store(reaped, 0, Store::Release);
        mine
    }
}

/// What became of a named block.
enum Settled {
    /// It was nobody's entry and is free.
    Freed,
    /// It is somebody's, or free already.
    Kept,
    /// The index gave no answer.
    Unknown,
}
