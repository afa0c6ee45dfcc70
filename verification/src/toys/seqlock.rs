//! A sequence lock: one writer, readers that write nothing.

use shm_arena::{Fence, Load, Memory, Offset, Store};

use crate::engine::{Execution, Model};

/// Two words behind a version, which is odd while they are written.
#[derive(Clone, Debug)]
pub struct Seqlock<M> {
    memory: M,
    fences: Fences,
}

/// Which fences there are; both are needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fences {
    /// Between making the version odd and the first word.
    pub writer: bool,
    /// Between the last word and the second look at the version.
    pub reader: bool,
}

const VERSION: Offset = Offset::new(0);
const FIRST: Offset = Offset::new(1);
const SECOND: Offset = Offset::new(2);

impl<M: Memory> Seqlock<M> {
    /// A sequence lock in the first three words.
    pub fn new(memory: M, fences: Fences) -> Self {
        Self { memory, fences }
    }

    /// Writes both words. One writer at a time.
    pub fn write(&self, values: [u64; 2]) {
        let version = self.memory.load(VERSION, Load::Relaxed);
        self.memory.store(VERSION, version + 1, Store::Relaxed);
        if self.fences.writer {
            self.memory.fence(Fence::Release);
        }
        self.memory.store(FIRST, values[0], Store::Relaxed);
        self.memory.store(SECOND, values[1], Store::Relaxed);
        self.memory.store(VERSION, version + 2, Store::Release);
    }

    /// Reads both words; `None` if they were being written.
    pub fn read(&self) -> Option<[u64; 2]> {
        let before = self.memory.load(VERSION, Load::Acquire);
        let first = self.memory.load(FIRST, Load::Relaxed);
        let second = self.memory.load(SECOND, Load::Relaxed);
        if self.fences.reader {
            self.memory.fence(Fence::Acquire);
        }
        let after = self.memory.load(VERSION, Load::Relaxed);
        (before == after && before.is_multiple_of(2)).then_some([first, second])
    }
}

/// A writer of two equal words, and a reader that must never see two different ones.
#[derive(Clone, Copy, Debug)]
pub struct Snapshots {
    /// The fences that there are.
    pub fences: Fences,
}

impl Model for Snapshots {
    fn run<X: Execution>(&self, execution: &X) {
        let memory = execution.memory(3);
        let writer = Seqlock::new(memory.clone(), self.fences);
        let reader = Seqlock::new(memory, self.fences);
        let writing = execution.spawn(move || writer.write([1, 1]));
        let reading = execution.spawn(move || {
            if let Some([first, second]) = reader.read() {
                assert_eq!(first, second, "a torn read was accepted");
            }
        });
        writing.join();
        reading.join();
    }
}
