//! A stack of free blocks, with the tag that keeps a stale head from being taken for a new one.

use shm_arena::{Load, Memory, Offset, Rmw, Store};

use crate::engine::{Execution, Model};

/// Blocks 0 and up, linked through a word each. The head is `tag: 56 | block + 1: 8`.
#[derive(Clone, Debug)]
pub struct FreeList<M> {
    memory: M,
    head: Offset,
    tags: Tags,
}

/// Whether the head counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tags {
    /// Every pop makes a head that never was.
    Counted,
    /// A head that comes back looks like one that never went.
    None,
}

/// Attempts of one verb: a failed one means that somebody else's succeeded.
const ATTEMPTS: u32 = 64;

impl<M: Memory> FreeList<M> {
    /// A list at this word, with the link of block `i` in the `i`-th word after it.
    pub fn new(memory: M, head: Offset, tags: Tags) -> Self {
        Self { memory, head, tags }
    }

    /// Takes a block; `None` if there is none.
    pub fn pop(&self) -> Option<u64> {
        let mut head = self.memory.load(self.head, Load::Acquire);
        for _ in 0..ATTEMPTS {
            let block = (head & 0xff).checked_sub(1)?;
            let next = self.memory.load(self.head + 1 + block, Load::Relaxed);
            let tag = match self.tags {
                Tags::Counted => (head >> 8) + 1,
                Tags::None => 0,
            };
            let new = tag << 8 | next;
            match self.memory.compare_exchange(self.head, head, new, Rmw::Acquire, Load::Acquire) {
                Ok(_) => return Some(block),
                Err(found) => head = found,
            }
        }
        None
    }

    /// Gives a block back.
    pub fn push(&self, block: u64) {
        let mut head = self.memory.load(self.head, Load::Relaxed);
        for _ in 0..ATTEMPTS {
            self.memory.store(self.head + 1 + block, head & 0xff, Store::Relaxed);
            let new = (head >> 8) << 8 | (block + 1);
            match self.memory.compare_exchange(self.head, head, new, Rmw::Release, Load::Relaxed) {
                Ok(_) => return,
                Err(found) => head = found,
            }
        }
    }
}

/// `pop` beside `pop; pop; push`: without tags the first one's stale link revives a taken block.
#[derive(Clone, Copy, Debug)]
pub struct Recycling {
    /// Whether the head counts.
    pub tags: Tags,
}

impl Model for Recycling {
    fn run<X: Execution>(&self, execution: &X) {
        let list = FreeList::new(execution.memory(4), Offset::new(0), self.tags);
        for block in 0..3 {
            list.push(block);
        }
        let (one, other) = (list.clone(), list.clone());
        let popping = execution.spawn(move || one.pop());
        let recycling = execution.spawn(move || {
            let (first, second) = (other.pop(), other.pop());
            if let Some(first) = first {
                other.push(first);
            }
            second
        });
        let mut blocks: Vec<_> = [popping.join(), recycling.join()].into_iter().flatten().collect();
        // Bounded, because a broken list may have a circle.
        blocks.extend((0..4).map_while(|_| list.pop()));
        blocks.sort_unstable();
        assert_eq!(blocks, [0, 1, 2], "each block has one owner");
    }
}
