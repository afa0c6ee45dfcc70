//! Words of the weak-memory machine.

use std::fmt;
use std::sync::Arc;

use shm_arena::{Backoff, Fence, Load, Memory, Offset, Rmw, Store};

use crate::engine::{Access, Ledger, Shared, Step};

/// Words of the weak-memory machine, made afresh for each execution.
#[derive(Clone)]
pub struct ViewMemory {
    shared: Shared,
    first: usize,
    words: usize,
    _token: Arc<()>,
}

impl ViewMemory {
    pub(crate) fn new(words: u64, shared: &Shared, ledger: &Ledger) -> Self {
        let words = usize::try_from(words).expect("a model's memory is small");
        let first = shared.lock().machine.allocate(words);
        Self { shared: shared.clone(), first, words, _token: ledger.memory() }
    }

    #[track_caller]
    fn word(&self, at: Offset) -> usize {
        self.first + crate::memory::index(at, self.words)
    }

    fn modify(&self, at: Offset, order: Rmw, new: impl FnOnce(u64) -> u64) -> u64 {
        let word = self.word(at);
        let found = self.shared.access(Step::Rmw { word }, |run, me| {
            let gaps = run.machine.gaps(me, word);
            let age = gaps[run.age(me, gaps.len())];
            let found = run.machine.modify(me, word, age, order, new);
            run.changed();
            run.note(Access::Rmw, word, found);
            found
        });
        found.unwrap_or(0)
    }
}

impl fmt::Debug for ViewMemory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ViewMemory({} words)", self.words)
    }
}

impl Memory for ViewMemory {
    fn word_count(&self) -> u64 {
        self.words as u64
    }

    #[track_caller]
    fn load(&self, at: Offset, order: Load) -> u64 {
        let word = self.word(at);
        let value = self.shared.access(Step::Load { word }, |run, me| {
            let reach = run.machine.reach(me, word);
            let age = run.age(me, reach);
            let value = run.machine.load(me, word, age, order);
            run.note(Access::Load, word, value);
            value
        });
        value.unwrap_or(0)
    }

    #[track_caller]
    fn store(&self, at: Offset, value: u64, order: Store) {
        let word = self.word(at);
        self.shared.access(Step::Store { word }, |run, me| {
            let gaps = run.machine.gaps(me, word);
            let age = gaps[run.age(me, gaps.len())];
            run.machine.store(me, word, value, age, order);
            run.changed();
            run.note(Access::Store, word, value);
        });
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
        let word = self.word(at);
        let result = self.shared.access(Step::Rmw { word }, |run, me| {
            let ways = run.machine.exchange(me, word, current);
            let (age, succeeds) = ways[run.age(me, ways.len())];
            let result = if succeeds {
                run.changed();
                Ok(run.machine.modify(me, word, age, success, |_| new))
            } else {
                Err(run.machine.load(me, word, age, failure))
            };
            run.note(Access::Rmw, word, result.unwrap_or_else(|found| !found));
            result
        });
        result.unwrap_or(Ok(current))
    }

    #[track_caller]
    fn fetch_add(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        self.modify(at, order, |found| found.wrapping_add(value))
    }

    #[track_caller]
    fn fetch_and(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        self.modify(at, order, |found| found & value)
    }

    #[track_caller]
    fn fetch_or(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        self.modify(at, order, |found| found | value)
    }

    #[track_caller]
    fn fence(&self, order: Fence) {
        let step = if order == Fence::SeqCst { Step::SequentialFence } else { Step::Fence };
        self.shared.access(step, |run, me| {
            run.machine.fence(me, order);
            run.note(Access::Fence, 0, 0);
        });
    }

    fn spin(&self, _backoff: &Backoff) {
        self.shared.wait();
    }
}
