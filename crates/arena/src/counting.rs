//! A memory that counts: what an operation costs, in accesses and cache lines.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::memory::{Backoff, Fence, Load, Memory, Offset, Rmw, Store};

/// Words of one cache line.
const LINE_WORDS: u64 = 8;

/// A memory that passes everything on and counts it.
///
/// Bulk methods count one access a word.
#[derive(Debug)]
pub struct CountingMemory<M> {
    memory: M,
    counts: Mutex<Counts>,
}

/// Accesses since the last reset.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct AccessCounts {
    /// Words read.
    pub loads: u64,
    /// Words written.
    pub stores: u64,
    /// Read-modify-writes, failed compare-exchanges included.
    pub rmws: u64,
    /// Fences.
    pub fences: u64,
    /// Distinct 64-byte lines touched.
    pub lines: u64,
}

#[derive(Default, Debug)]
struct Counts {
    counts: AccessCounts,
    lines: BTreeSet<u64>,
}

impl<M: Memory> CountingMemory<M> {
    /// Counts the accesses to this memory.
    pub fn new(memory: M) -> Self {
        Self { memory, counts: Mutex::default() }
    }

    /// What was counted since the last reset.
    pub fn snapshot(&self) -> AccessCounts {
        let counts = self.lock();
        AccessCounts { lines: counts.lines.len() as u64, ..counts.counts }
    }

    /// Starts again from nothing.
    pub fn reset(&self) {
        *self.lock() = Counts::default();
    }

    /// The memory beneath, whose accesses are not counted.
    pub fn inner(&self) -> &M {
        &self.memory
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self, at: Offset, count: fn(&mut AccessCounts) -> &mut u64) {
        let mut counts = self.lock();
        *count(&mut counts.counts) += 1;
        counts.lines.insert(at.word() / LINE_WORDS);
    }
}

impl<M: Memory> Memory for CountingMemory<M> {
    fn word_count(&self) -> u64 {
        self.memory.word_count()
    }

    fn is_writable(&self) -> bool {
        self.memory.is_writable()
    }

    #[track_caller]
    fn load(&self, at: Offset, order: Load) -> u64 {
        self.touch(at, |counts| &mut counts.loads);
        self.memory.load(at, order)
    }

    #[track_caller]
    fn store(&self, at: Offset, value: u64, order: Store) {
        self.touch(at, |counts| &mut counts.stores);
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
        self.touch(at, |counts| &mut counts.rmws);
        self.memory.compare_exchange(at, current, new, success, failure)
    }

    #[track_caller]
    fn fetch_add(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        self.touch(at, |counts| &mut counts.rmws);
        self.memory.fetch_add(at, value, order)
    }

    #[track_caller]
    fn fetch_and(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        self.touch(at, |counts| &mut counts.rmws);
        self.memory.fetch_and(at, value, order)
    }

    #[track_caller]
    fn fetch_or(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        self.touch(at, |counts| &mut counts.rmws);
        self.memory.fetch_or(at, value, order)
    }

    #[track_caller]
    fn fence(&self, order: Fence) {
        self.lock().counts.fences += 1;
        self.memory.fence(order);
    }

    #[track_caller]
    fn spin(&self, backoff: &Backoff) {
        self.memory.spin(backoff);
    }

    fn prefetch(&self, at: Offset, words: u64) {
        self.memory.prefetch(at, words);
    }

    fn prefetch_to_write(&self, at: Offset, words: u64) {
        self.memory.prefetch_to_write(at, words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HeapMemory;

    #[test]
    fn each_kind_of_access_and_each_line_is_counted_once() {
        let memory = CountingMemory::new(HeapMemory::new(32));
        memory.load(Offset::new(0), Load::Relaxed);
        memory.load(Offset::new(7), Load::Relaxed);
        memory.store(Offset::new(8), 1, Store::Release);
        memory.fetch_or(Offset::new(8), 2, Rmw::AcqRel);
        let failed = memory.compare_exchange(Offset::new(9), 5, 6, Rmw::AcqRel, Load::Relaxed);
        assert_eq!(failed, Err(0));
        memory.fence(Fence::Acquire);
        let counts = AccessCounts { loads: 2, stores: 1, rmws: 2, fences: 1, lines: 2 };
        assert_eq!(memory.snapshot(), counts);
        memory.reset();
        assert_eq!(memory.snapshot(), AccessCounts::default());
    }

    #[test]
    fn a_bulk_copy_counts_its_words() {
        let memory = CountingMemory::new(HeapMemory::new(32));
        memory.write_bytes(Offset::new(4), &[7; 41]);
        let mut out = [0; 41];
        memory.read_bytes(Offset::new(4), &mut out);
        assert_eq!(out, [7; 41]);
        let counts = AccessCounts { loads: 6, stores: 6, lines: 2, ..AccessCounts::default() };
        assert_eq!(memory.snapshot(), counts);
    }
}
