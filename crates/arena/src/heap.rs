//! A memory on the process's own heap: for tests, benches and single-process use.

use crate::memory::{Fence, Load, Memory, Offset, Rmw, Store};
use crate::words::{Word, word_methods};

/// Zeroed words on the heap, shared by threads of one process.
#[derive(Debug)]
pub struct HeapMemory {
    words: Box<[Word]>,
}

impl HeapMemory {
    /// Allocates this many zeroed words.
    pub fn new(word_count: u64) -> Self {
        Self { words: (0..word_count).map(|_| Word::new(0)).collect() }
    }

    #[inline(always)]
    fn words(&self) -> &[Word] {
        &self.words
    }
}

impl Memory for HeapMemory {
    word_methods!();
}
