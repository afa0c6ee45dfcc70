//! A memory that breaks a table's protocol in one named way, for whoever checks the checks.
//!
//! The table's source is not touched: what each fault does wrong is done to its accesses.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use shm_arena::{Backoff, Fence, Load, Memory, Offset, Rmw, Store};

/// What is done wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing.
    None,
    /// The exchange of a bucket's header applies its change to whatever header is there.
    PublishWithoutVersion,
    /// The second look at the header sees what the first one saw.
    NoHeaderRecheck,
    /// A remover empties the slot before the header says that it is clear, and whether or not it
    /// ever will.
    SlotEmptiedBlindly,
    /// A remover wipes the entry before the header says that it is gone.
    WipeBeforeUnlink,
    /// The first word of the index is never stored to: whoever is told so names another word there.
    StoreOmitted,
    /// A store to a head of `chained` leaves the signature as it was.
    BitsForgotten,
    /// One that changes no bit of the signature takes all bits away: a removal that clears.
    BitsCleared,
    /// A store to a node of `chained` leaves the tag as it was.
    TagForgotten,
    /// One that changes no bit of the tag takes all bits away: a removal that clears.
    TagCleared,
    /// A block is taken out of use by a store, whether or not somebody else took it before.
    TakenBlindly,
    /// A word that buckets share is claimed whoever has it.
    SharedWordSeized,
    /// The store by which `chained` takes a block out of use comes as late as the wipe, behind the
    /// lock.
    TakenLate,
    /// An entry of `chained` is wiped as soon as a line names it, before it is unlinked.
    WipedEarly,
    /// A line names an unlinked entry no longer while that is wiped.
    WithdrawnEarly,
    /// A line does not name what it keeps back.
    SpareUnnamed,
    /// Waits give nobody else a turn: not wrong by itself, but it brings out thefts of locks.
    Impatient,
}

/// Where a tiny table has its buckets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Buckets {
    /// First word of the index.
    pub index: Offset,
    /// Buckets.
    pub buckets: u64,
    /// Slots in each, at most seven; more are behind all first lines.
    pub slots: u64,
    /// Words of blocks right before the index, in whole cache lines; in `chained` every other one
    /// is a node.
    pub block_words: u64,
    /// First word of the participants' lines.
    pub first_line: Offset,
    /// Lines.
    pub lines: u64,
}

/// A memory through which one participant commits a fault.
#[derive(Clone)]
pub struct Faulty<M> {
    memory: M,
    fault: Fault,
    at: Buckets,
    seen: Arc<Mutex<BTreeMap<Offset, u64>>>,
    /// What is stored before the next fence.
    late: Arc<Mutex<Vec<(Offset, u64)>>>,
}

const LIVE: u64 = (1 << 21) - 1;
const VERSION: u64 = 1 << 24;
const EMPTY: u64 = 1 << 32;
const BLOCK_GENERATION: u32 = 24;
const LINE_WORDS: u64 = 16;
const OLD_BLOCK: u64 = 2;
const FIRST_SPARE: u64 = 8;

impl Buckets {
    /// For a table without such buckets.
    pub const NONE: Self = Self {
        index: Offset::new(0),
        buckets: 0,
        slots: 0,
        block_words: 0,
        first_line: Offset::new(0),
        lines: 0,
    };
}

impl<M: Memory> Faulty<M> {
    /// Wraps the memory of one participant.
    pub fn new(memory: M, fault: Fault, at: Buckets) -> Self {
        Self { memory, fault, at, seen: Arc::default(), late: Arc::default() }
    }

    fn is_header(&self, at: Offset) -> bool {
        let words = (self.at.slots + 1).next_power_of_two();
        let within = at.word().wrapping_sub(self.at.index.word());
        within < self.at.buckets * words && within.is_multiple_of(words)
    }

    /// Whether a word of the index is behind the first lines of all buckets.
    fn is_shared(&self, at: Offset) -> bool {
        let first = self.at.buckets * (self.at.slots + 1).next_power_of_two();
        at >= self.at.index + first
    }

    fn is_of_blocks(&self, at: Offset) -> bool {
        (1..=self.at.block_words).contains(&self.at.index.word().wrapping_sub(at.word()))
    }

    /// What a store to a head or a node of `chained` stores, whose signature or tag is its lower
    /// half.
    fn halved(&self, at: Offset, value: u64) -> u64 {
        const LOWER: u64 = u32::MAX as u64;
        let is_head = at.word().wrapping_sub(self.at.index.word()) < self.at.buckets;
        let is_node = self.is_of_blocks(at) && !at.word().is_multiple_of(2);
        let is_meant = match self.fault {
            Fault::BitsForgotten | Fault::BitsCleared => is_head,
            Fault::TagForgotten | Fault::TagCleared => is_node,
            _ => false,
        };
        if !is_meant {
            return value;
        }
        let there = self.memory.load(at, Load::Relaxed);
        let is_same = (there ^ value) & LOWER == 0;
        match self.fault {
            Fault::BitsForgotten | Fault::TagForgotten => value & !LOWER | there & LOWER,
            _ if is_same => value & !LOWER,
            _ => value,
        }
    }

    /// Which word of a line this is.
    fn word_of_line(&self, at: Offset) -> Option<u64> {
        let within = at.word().wrapping_sub(self.at.first_line.word());
        (within < self.at.lines * LINE_WORDS).then_some(within % LINE_WORDS)
    }

    /// Whether a store is one by which a line names a block as about to be unlinked.
    fn is_intent(&self, at: Offset, value: u64) -> bool {
        value != 0 && self.word_of_line(at) == Some(OLD_BLOCK)
    }

    /// Whether a store is left out.
    fn is_omitted(&self, at: Offset) -> bool {
        match self.fault {
            Fault::StoreOmitted => at == self.at.index,
            Fault::SpareUnnamed => self.word_of_line(at).is_some_and(|word| word >= FIRST_SPARE),
            _ => false,
        }
    }

    /// Does what a fault of `chained` does to a store between naming a block and its wipe; `true`:
    /// the store is held back.
    fn store_late(&self, at: Offset, value: u64) -> bool {
        let late = || self.late.lock().unwrap_or_else(PoisonError::into_inner);
        match self.fault {
            Fault::TakenLate if self.is_of_blocks(at) && at.word().is_multiple_of(2) => {
                let there = self.memory.load(at, Load::Relaxed);
                let is_held = there >> BLOCK_GENERATION != value >> BLOCK_GENERATION;
                if is_held {
                    late().push((at, value));
                }
                is_held
            }
            Fault::WipedEarly if self.is_intent(at, value) => {
                self.memory.store(at, value, Store::Release);
                self.memory.write_zeros(Offset::new(value * 8 + 3), 5);
                true
            }
            Fault::WithdrawnEarly if self.is_intent(at, value) => {
                late().push((at, 0));
                false
            }
            _ => false,
        }
    }

    /// The words of slots whose bits an exchange clears without setting another.
    fn cleared(&self, header: Offset, current: u64, new: u64) -> impl Iterator<Item = Offset> {
        let cleared = current & !new & LIVE;
        (0..self.at.slots)
            .filter(move |slot| cleared >> slot & 1 == 1)
            .map(move |slot| header + (slot + 1))
    }

    fn exchange_header(&self, at: Offset, current: u64, new: u64) -> Option<Result<u64, u64>> {
        match self.fault {
            Fault::PublishWithoutVersion => {
                let change = (current ^ new) & LIVE;
                for _ in 0..16 {
                    let there = self.memory.load(at, Load::Acquire);
                    let next = (there ^ change).wrapping_add(VERSION);
                    let outcome =
                        self.memory.compare_exchange(at, there, next, Rmw::AcqRel, Load::Relaxed);
                    if outcome.is_ok() {
                        return Some(Ok(current));
                    }
                }
                Some(Err(current))
            }
            Fault::SlotEmptiedBlindly => {
                for slot in self.cleared(at, current, new) {
                    let word = self.memory.load(slot, Load::Relaxed);
                    let _ =
                        self.memory.compare_exchange(slot, word, EMPTY, Rmw::AcqRel, Load::Relaxed);
                }
                None
            }
            Fault::WipeBeforeUnlink => {
                for slot in self.cleared(at, current, new) {
                    let unit = self.memory.load(slot, Load::Relaxed) & u64::from(u32::MAX);
                    self.memory.write_zeros(Offset::new(unit * 8 + 3), 5);
                }
                None
            }
            _ => None,
        }
    }
}

impl<M: Memory> Memory for Faulty<M> {
    fn word_count(&self) -> u64 {
        self.memory.word_count()
    }

    #[track_caller]
    fn load(&self, at: Offset, order: Load) -> u64 {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if self.fault == Fault::NoHeaderRecheck && self.is_header(at) {
            if order == Load::Relaxed
                && let Some(first) = seen.get(&at)
            {
                return *first;
            }
            drop(seen);
            let first = self.memory.load(at, order);
            seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.insert(at, first);
            return first;
        }
        drop(seen);
        self.memory.load(at, order)
    }

    #[track_caller]
    fn store(&self, at: Offset, value: u64, order: Store) {
        if !self.is_omitted(at) && !self.store_late(at, value) {
            self.memory.store(at, self.halved(at, value), order);
        }
    }

    #[track_caller]
    fn compare_exchange(
        &self,
        at: Offset,
        current: u64,
        new: u64,
        success: Rmw,
        failure: Load,
    ) -> Result<u64, u64> {
        if self.is_header(at)
            && let Some(outcome) = self.exchange_header(at, current, new)
        {
            return outcome;
        }
        let leaves_use = current >> BLOCK_GENERATION != new >> BLOCK_GENERATION;
        if self.fault == Fault::TakenBlindly && self.is_of_blocks(at) && leaves_use {
            self.memory.store(at, new, Store::Release);
            return Ok(current);
        }
        if self.fault == Fault::SharedWordSeized && self.is_shared(at) {
            self.memory.store(at, new, Store::Release);
            return Ok(current);
        }
        self.memory.compare_exchange(at, current, new, success, failure)
    }

    #[track_caller]
    fn fetch_add(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        self.memory.fetch_add(at, value, order)
    }

    #[track_caller]
    fn fetch_and(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        self.memory.fetch_and(at, value, order)
    }

    #[track_caller]
    fn fetch_or(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        self.memory.fetch_or(at, value, order)
    }

    #[track_caller]
    fn fence(&self, order: Fence) {
        let late = std::mem::take(&mut *self.late.lock().unwrap_or_else(PoisonError::into_inner));
        for (at, value) in late {
            self.memory.store(at, value, Store::Release);
        }
        self.memory.fence(order);
    }

    #[track_caller]
    fn spin(&self, backoff: &Backoff) {
        if self.fault != Fault::Impatient {
            self.memory.spin(backoff);
        }
    }
}

impl<M> fmt::Debug for Faulty<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Faulty")
            .field("fault", &self.fault)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}
