//! One bucket with one slot, blocks from a free list, readers that write nothing.
//!
//! All that the real tables do with orderings is in here once: allocation, fill, publication,
//! validated copies, unlinking, recycling. It is right; the ordering mutants of it are the measure
//! of the engines.
//!
//! The slot is `generation: 56 | block + 1: 8`, 0 in the low part is empty, and every removal moves
//! the generation on.

use shm_arena::{Fence, Load, Memory, Offset, Rmw, Store};

use super::free_list::{FreeList, Tags};
use crate::engine::{Execution, Model};

/// The table.
#[derive(Clone, Debug)]
pub struct ToyTable<M> {
    memory: M,
    blocks: FreeList<M>,
}

const SLOT: Offset = Offset::new(0);
const FREE: Offset = Offset::new(1);
const BLOCKS: u64 = 3;
/// Two words a block: a key and a value.
const PAYLOAD: Offset = Offset::new(2 + BLOCKS);
const WORDS: u64 = 2 + BLOCKS + 2 * BLOCKS;

impl<M: Memory + Clone> ToyTable<M> {
    /// An empty table in fresh memory.
    pub fn create(memory: M) -> Self {
        let table = Self::attach(memory);
        for block in 0..BLOCKS {
            table.blocks.push(block);
        }
        table
    }

    /// Joins the table in a memory.
    pub fn attach(memory: M) -> Self {
        let blocks = FreeList::new(memory.clone(), FREE, Tags::Counted);
        Self { memory, blocks }
    }

    /// Adds an entry if the slot is empty.
    pub fn insert(&self, value: u64) -> bool {
        let slot = self.memory.load(SLOT, Load::Relaxed);
        if slot & 0xff != 0 {
            return false;
        }
        let Some(block) = self.blocks.pop() else {
            return false;
        };
        // A reader that sees one of the words below also sees that the block had left its slot.
        self.memory.fence(Fence::Release);
        self.memory.store(payload(block), value, Store::Relaxed);
        self.memory.store(payload(block) + 1, !value, Store::Relaxed);
        let full = slot | (block + 1);
        let done = self.memory.compare_exchange(SLOT, slot, full, Rmw::Release, Load::Relaxed);
        if done.is_err() {
            self.blocks.push(block);
        }
        done.is_ok()
    }

    /// Removes the entry.
    pub fn remove(&self) -> bool {
        let slot = self.memory.load(SLOT, Load::Relaxed);
        let Some(block) = (slot & 0xff).checked_sub(1) else {
            return false;
        };
        let empty = ((slot >> 8) + 1) << 8;
        let done = self.memory.compare_exchange(SLOT, slot, empty, Rmw::Acquire, Load::Relaxed);
        if done.is_ok() {
            self.blocks.push(block);
        }
        done.is_ok()
    }

    /// Copies the entry out; `None` if there is none or it changed meanwhile.
    pub fn get(&self) -> Option<[u64; 2]> {
        let slot = self.memory.load(SLOT, Load::Acquire);
        let block = (slot & 0xff).checked_sub(1)?;
        let first = self.memory.load(payload(block), Load::Relaxed);
        let second = self.memory.load(payload(block) + 1, Load::Relaxed);
        self.memory.fence(Fence::Acquire);
        (self.memory.load(SLOT, Load::Relaxed) == slot).then_some([first, second])
    }
}

fn payload(block: u64) -> Offset {
    PAYLOAD + 2 * block
}

/// What a participant of a workload does in turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Inserts a value of its own.
    Insert,
    /// Removes what is there.
    Remove,
    /// Reads, and checks that the copy is whole.
    Get,
}

/// Participants that work on a table that starts with one entry if `filled`.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Whether there is an entry at the start.
    pub filled: bool,
    /// What each participant does.
    pub participants: &'static [&'static [Change]],
}

impl Model for Workload {
    fn run<X: Execution>(&self, execution: &X) {
        let memory = execution.memory(WORDS);
        let table = ToyTable::create(memory.clone());
        if self.filled {
            assert!(table.insert(1), "an empty table takes an entry");
        }
        let working: Vec<_> = (2_u64..)
            .zip(self.participants)
            .map(|(value, &changes)| {
                let memory = memory.clone();
                execution.spawn(move || work(&ToyTable::attach(memory), value * 16, changes))
            })
            .collect();
        for participant in working {
            participant.join();
        }
        audit(&table);
    }
}

fn work<M: Memory + Clone>(table: &ToyTable<M>, value: u64, changes: &[Change]) {
    for (turn, change) in (0..).zip(changes) {
        match change {
            Change::Insert => {
                table.insert(value + turn);
            }
            Change::Remove => {
                table.remove();
            }
            Change::Get => {
                if let Some([first, second]) = table.get() {
                    assert_eq!(second, !first, "an accepted copy is whole");
                    assert_ne!(first, 0, "an accepted copy was filled");
                }
            }
        }
    }
}

/// Every block is either in the slot or free, once.
fn audit<M: Memory + Clone>(table: &ToyTable<M>) {
    work(table, 0, &[Change::Get]);
    let slot = table.memory.load(SLOT, Load::Relaxed) & 0xff;
    let mut blocks: Vec<_> = slot.checked_sub(1).into_iter().collect();
    blocks.extend((0..=BLOCKS).map_while(|_| table.blocks.pop()));
    blocks.sort_unstable();
    assert_eq!(blocks, [0, 1, 2], "each block has one owner");
}
