//! Recovery: finishing or undoing what a participant left, by anyone, while others work.
//!
//! # Idea
//!
//! A dead process is known by its record, which whoever notices frees: that makes orphans of its
//! lines. An orphan is adopted by exchanging its owner word, so one participant alone settles what
//! it names; a death of the adopter makes it an orphan again. Each named block is settled by asking
//! the index whether readers reach it, and passes from the dead line to the reaper's by one
//! exchange, named in the reaper's own line first.

use std::fmt;

use crate::arena::{Arena, Index};
use crate::block::{Block, BlockState, BlockWord};
use crate::lease::Lease;
use crate::liveness::RecordIndex;
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

/// What all recoveries of a segment did, ever, whoever ran them; text for people.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Recoveries {
    /// Dead processes whose records were freed or taken over.
    pub processes: u64,
    /// Blocks of the dead, and of threads that unwound, that went back to free.
    pub blocks: u64,
    /// Nanoseconds that took, finding the dead included; of recoveries that found nothing, none.
    pub time_ns: u64,
}

impl fmt::Display for Recoveries {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processes, blocks, time_ns } = self;
        let us = time_ns / 1000;
        write!(formatter, "recovered {processes} dead processes, {blocks} blocks, in {us} us")
    }
}

impl<M: Memory> Arena<M> {
    /// What recoveries did so far: counters that a death in the middle of a recovery leaves short.
    pub fn recoveries(&self) -> Recoveries {
        let mut sum = Recoveries::default();
        for record in 0..self.geometry().records {
            let count =
                |word| self.memory().load(self.layout().record(record) + word, Load::Relaxed);
            sum.processes = sum.processes.wrapping_add(count(3));
            sum.blocks = sum.blocks.wrapping_add(count(4));
            sum.time_ns = sum.time_ns.wrapping_add(count(5));
        }
        sum
    }

    /// Counts what a recovery by this record's process did, if it did anything.
    pub(crate) fn count_recovery(&self, me: RecordIndex, recovered: Recovered, begun_ns: u64) {
        let Recovered { processes, blocks } = recovered;
        if processes == 0 && blocks == 0 {
            return;
        }
        let time_ns = self.environment().clock.now_ns().saturating_sub(begun_ns);
        for (word, count) in [(3, processes.into()), (4, blocks.into()), (5, time_ns)] {
            // Threads of the process may count at once.
            self.memory().fetch_add(self.layout().record(me.0) + word, count, Rmw::Relaxed);
        }
    }

    /// Frees the record of every dead process and settles every orphaned line. Idempotent; may be
    /// killed at any point and run again by another.
    pub fn recover(&self, lease: &Lease<'_, M>, index: &dyn Index) -> Recovered {
        let begun_ns = self.environment().clock.now_ns();
        let mut recovered = Recovered { processes: self.bury(), blocks: 0 };
        let Some(me) = self.identity() else {
            return recovered;
        };
        for number in self.left_behind() {
            self.settle_owned(number, None, lease, index, &mut recovered);
        }
        for number in 0..self.geometry().lines {
            let adopted = self.orphan(number).filter(|&owner| self.own(number, owner, me));
            if adopted.is_some() {
                self.settle_owned(number, adopted, lease, index, &mut recovered);
            }
        }
        self.count_recovery(me.record, recovered, begun_ns);
        recovered
    }

    /// Settles a line that this process owns and no thread leases, and gives it back. Where the
    /// index is damaged or will not stand still, it is its dead owner's again, or left behind.
    fn settle_owned(
        &self,
        number: u32,
        dead: Option<u64>,
        lease: &Lease<'_, M>,
        index: &dyn Index,
        recovered: &mut Recovered,
    ) {
        let mut adopted = Adopted { arena: self, number, is_left: true };
        let is_settled = lease.settle(number, index, recovered);
        let next = if is_settled { Some(0) } else { dead };
        adopted.is_left = next.is_none();
        if let (Some(next), Some(me)) = (next, self.identity()) {
            let at = Line(self.layout().line(number)).owner();
            let mine = me.owner_word();
            // Only this participant owns the line, so the exchange cannot fail.
            let _ = self.memory().compare_exchange(at, mine, next, Rmw::AcqRel, Load::Relaxed);
        }
    }
}

/// A line that a thread of this process settles. Should the thread unwind, the process remembers
/// it, privately, and its next recovery goes on.
struct Adopted<'a, M: Memory> {
    arena: &'a Arena<M>,
    number: u32,
    is_left: bool,
}

impl<M: Memory> Drop for Adopted<'_, M> {
    fn drop(&mut self) {
        if self.is_left {
            self.arena.leave_behind(self.number);
        }
    }
}

impl<M: Memory> Lease<'_, M> {
    /// Puts this line in order after a lessee that unwound in the middle of an operation.
    ///
    /// `false`: the index gave no answer. The line goes on naming what is unsettled and this lease
    /// must not be used any more; the next one has another line.
    #[must_use]
    pub fn settle_own(&self, index: &dyn Index) -> bool {
        let begun_ns = self.arena.environment().clock.now_ns();
        let mut recovered = Recovered::default();
        let is_settled = self.settle(self.number(), index, &mut recovered);
        if let Some(me) = self.arena.identity() {
            self.arena.count_recovery(me.record, recovered, begun_ns);
        }
        if is_settled {
            self.forget_private();
        } else {
            self.give_up();
        }
        is_settled
    }

    /// Settles every block that a line names; then the line names none. `false`: the index gave no
    /// answer, and the line still names what is unsettled.
    pub(crate) fn settle(&self, number: u32, index: &dyn Index, recovered: &mut Recovered) -> bool {
        let line = Line(self.layout().line(number));
        for at in line.names(self.layout().geometry().spares) {
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
                if at == line.new_block()
                    && let Some((slab, _)) = self.layout().slab_of(block)
                {
                    // The hint that was taken may speak of another block by now.
                    self.hint_at_all(slab);
                }
            }
            // ORDERING(B7): release, after the block is settled.
            self.memory().store(at, 0, Store::Release);
        }
        self.settle_reclassed(line, number);
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
                BlockState::Used => named || unlinked,
                BlockState::Drain => named,
                BlockState::Damaged => false,
            };
            if !due {
                return Settled::Kept;
            }
            if word.state() != BlockState::Drain {
                match index.references(block) {
                    None => return Settled::Unknown,
                    Some(true) => return Settled::Kept,
                    Some(false) => {}
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
