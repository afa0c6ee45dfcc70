//! A memory under which a call ends before its k-th access, by unwinding.

use std::sync::{Arc, Mutex, PoisonError};

use shm_arena::{Backoff, Fence, HeapMemory, Load, Memory, Offset, Rmw, Store};

/// A memory whose k-th access panics, once.
#[derive(Clone, Debug)]
pub(crate) struct Fragile {
    memory: Arc<HeapMemory>,
    /// Accesses that are left before the panic.
    left: Arc<Mutex<Option<u32>>>,
}

impl Fragile {
    pub(crate) fn new(words: u64) -> Self {
        Self { memory: Arc::new(HeapMemory::new(words)), left: Arc::default() }
    }

    /// Panics before the access after so many, or never.
    pub(crate) fn arm(&self, accesses: Option<u32>) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = accesses;
    }

    fn access(&self) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        match *left {
            None => {}
            Some(0) => {
                *left = None;
                drop(left);
                std::panic::resume_unwind(Box::new("as told"));
            }
            Some(more) => *left = Some(more - 1),
        }
    }
}

impl Memory for Fragile {
    fn word_count(&self) -> u64 {
        self.memory.word_count()
    }

    fn load(&self, at: Offset, order: Load) -> u64 {
        self.access();
        self.memory.load(at, order)
    }

    fn store(&self, at: Offset, value: u64, order: Store) {
        self.access();
        self.memory.store(at, value, order);
    }

    fn compare_exchange(
        &self,
        at: Offset,
        current: u64,
        new: u64,
        success: Rmw,
        failure: Load,
    ) -> Result<u64, u64> {
        self.access();
        self.memory.compare_exchange(at, current, new, success, failure)
    }

    fn fetch_add(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        self.access();
        self.memory.fetch_add(at, value, order)
    }

    fn fetch_and(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        self.access();
        self.memory.fetch_and(at, value, order)
    }

    fn fetch_or(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        self.access();
        self.memory.fetch_or(at, value, order)
    }

    fn fence(&self, order: Fence) {
        self.memory.fence(order);
    }

    fn spin(&self, backoff: &Backoff) {
        self.memory.spin(backoff);
    }
}
