//! A memory that breaks the protocol of `robin_hood` in one named way, or takes the right to write,
//! for whoever checks the checks.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use shm_arena::{Backoff, Fence, HEADER_WORDS, Load, Memory, Offset, Rmw, Store};

/// What is done wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageFault {
    /// Nothing.
    None,
    /// The second look at an idle header sees what the first one saw.
    NoHeaderRecheck,
    /// A helper that met a busy header goes on seeing it, whatever its descriptor says by then.
    HelperWithoutCheck,
    /// A slot's count has one bit, just enough to tell whether a slot was written.
    OneBitCounts,
    /// The operations of this participant go by a header of their own, though its runs reach into
    /// the slots of the others: a run that crosses the border of what one version covers.
    RunAcrossPages,
    /// Whoever met a frozen header goes on seeing it, though the page may have moved on since.
    MoverWithoutCheck,
    /// A page says that it has moved on before its heirs hold anything.
    MovedBeforeFilled,
    /// The size says that a growth has ended as soon as it begins.
    GrownBeforeMoved,
    /// Not wrong: the memory is mapped without write permission, and a store panics.
    ReadOnly,
}

/// Where a table that begins with one page has its words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Page {
    /// The page's header.
    pub header: Offset,
    /// The first of the slots that a fault concerns: its own, or those of its heirs.
    pub slots: Offset,
    /// How many there are.
    pub slot_count: u64,
}

/// A memory through which one participant commits a fault.
#[derive(Clone)]
pub struct FaultyPages<M> {
    memory: M,
    fault: PageFault,
    at: Page,
    seen: Arc<Mutex<BTreeMap<Offset, u64>>>,
    /// Slots that are written too late, with what.
    late: Arc<Mutex<Vec<(Offset, u64)>>>,
}

const BUSY: u64 = 1 << 63;
const FROZEN: u64 = 1 << 61;
const MOVED: u64 = 1 << 62;
/// The count in a slot, and all of it but its lowest bit.
const COUNT_SHIFT: u32 = 28;
const COUNT_HIGH: u64 = ((1 << 26) - 2) << COUNT_SHIFT;

impl Page {
    /// For a table that is not there yet.
    pub const NONE: Self = Self { header: Offset::new(0), slots: Offset::new(0), slot_count: 0 };
}

impl<M: Memory> FaultyPages<M> {
    /// Wraps the memory of one participant.
    pub fn new(memory: M, fault: PageFault, at: Page) -> Self {
        Self { memory, fault, at, seen: Arc::default(), late: Arc::default() }
    }

    fn is_header(&self, at: Offset) -> bool {
        self.at.slot_count > 0 && at == self.at.header
    }

    fn is_slot(&self, at: Offset) -> bool {
        at.word().wrapping_sub(self.at.slots.word()) < self.at.slot_count
    }

    /// Whether the size begins to grow, where that is done wrong.
    fn is_growth(&self, current: u64, new: u64) -> bool {
        self.fault == PageFault::GrownBeforeMoved && new == current + 1 && new % 2 == 1
    }

    /// The header that this participant goes by: the words after a header are unused.
    fn redirected(&self, at: Offset) -> Offset {
        let other = self.fault == PageFault::RunAcrossPages && self.is_header(at);
        if other { at + 1 } else { at }
    }

    /// What a second look at a header sees, if it is not allowed to see the truth.
    fn remembered(&self, at: Offset) -> Option<u64> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(&at).copied()?;
        let is_busy = seen & BUSY != 0;
        match self.fault {
            PageFault::NoHeaderRecheck => (!is_busy).then_some(seen),
            PageFault::HelperWithoutCheck => is_busy.then_some(seen),
            PageFault::MoverWithoutCheck => (seen & FROZEN != 0).then_some(seen),
            _ => None,
        }
    }

    /// Keeps a write of a virgin slot for later, and makes those that were kept when the page says
    /// that it has moved.
    #[track_caller]
    fn exchange_late(
        &self,
        at: Offset,
        current: u64,
        new: u64,
        success: Rmw,
        failure: Load,
    ) -> Result<u64, u64> {
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_slot(at) && current == 0 {
            late.push((at, new));
            return Ok(current);
        }
        let kept = match self.is_header(at) && new & MOVED != 0 {
            true => std::mem::take(&mut *late),
            false => Vec::new(),
        };
        drop(late);
        let exchanged = self.memory.compare_exchange(at, current, new, success, failure);
        for (at, new) in kept {
            let _ = self.memory.compare_exchange(at, 0, new, Rmw::Release, Load::Acquire);
        }
        exchanged
    }

    fn check_writable(&self, at: Offset) {
        assert!(self.is_writable(), "a store to {at:?} of a memory without write permission");
    }
}

impl<M: Memory> Memory for FaultyPages<M> {
    fn word_count(&self) -> u64 {
        self.memory.word_count()
    }

    fn is_writable(&self) -> bool {
        self.fault != PageFault::ReadOnly && self.memory.is_writable()
    }

    #[track_caller]
    fn load(&self, at: Offset, order: Load) -> u64 {
        let at = self.redirected(at);
        if !self.is_header(at) {
            return self.memory.load(at, order);
        }
        if order == Load::Relaxed
            && let Some(seen) = self.remembered(at)
        {
            return seen;
        }
        let value = self.memory.load(at, order);
        if order == Load::Acquire {
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(at, value);
        }
        value
    }

    #[track_caller]
    fn store(&self, at: Offset, value: u64, order: Store) {
        self.check_writable(at);
        self.memory.store(at, value, order);
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
        self.check_writable(at);
        if self.fault == PageFault::MovedBeforeFilled {
            return self.exchange_late(at, current, new, success, failure);
        }
        let is_begin = at == Offset::new(HEADER_WORDS) && self.is_growth(current, new);
        let new = if is_begin { new + 1 } else { new };
        let one_bit = self.fault == PageFault::OneBitCounts && self.is_slot(at);
        let new = if one_bit { new & !COUNT_HIGH } else { new };
        self.memory.compare_exchange(self.redirected(at), current, new, success, failure)
    }

    #[track_caller]
    fn fetch_add(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        self.check_writable(at);
        self.memory.fetch_add(at, value, order)
    }

    #[track_caller]
    fn fetch_and(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        self.check_writable(at);
        self.memory.fetch_and(at, value, order)
    }

    #[track_caller]
    fn fetch_or(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        self.check_writable(at);
        self.memory.fetch_or(at, value, order)
    }

    #[track_caller]
    fn fence(&self, order: Fence) {
        self.memory.fence(order);
    }

    #[track_caller]
    fn spin(&self, backoff: &Backoff) {
        self.memory.spin(backoff);
    }
}

impl<M> fmt::Debug for FaultyPages<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("FaultyPages")
            .field("fault", &self.fault)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}
