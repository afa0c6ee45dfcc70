//! What a heap gives out, and why it refuses.

use std::fmt;

use crate::lease::LeaseError;

/// An allocated block, for as long as it is not freed: which block, which of its lives, and which
/// heap. Any process may hold it; as two words it may lie in shared memory itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Allocation {
    pub(super) number: u32,
    pub(super) heap: u32,
    pub(super) generation: u64,
}

impl Allocation {
    /// As two words, to be stored wherever one likes.
    pub const fn to_words(self) -> [u64; 2] {
        [(self.heap as u64) << 32 | self.number as u64, self.generation]
    }

    /// From two words. Takes any bit pattern: what is no allocation of a heap is refused there.
    #[expect(clippy::cast_possible_truncation, reason = "halves are taken apart")]
    pub const fn from_words([place, generation]: [u64; 2]) -> Self {
        Self { number: place as u32, heap: (place >> 32) as u32, generation }
    }
}

impl fmt::Debug for Allocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

impl fmt::Display for Allocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "allocation {}, generation {}", self.number, self.generation)
    }
}

/// Why a heap did not do what it was asked. Nothing changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeapError {
    /// No line could be leased: read-only, all in use, or a forked child's handle.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// Larger than the largest block.
    #[error("allocation of {bytes} bytes: at most {bytes_max} in one block of this heap")]
    TooLarge {
        /// Bytes asked for.
        bytes: u64,
        /// Bytes of the largest block.
        bytes_max: u64,
    },
    /// No block is free that holds so much.
    #[error("full: no free block of {bytes} bytes; {available} bytes are free in other sizes")]
    NoMemory {
        /// Bytes asked for.
        bytes: u64,
        /// Bytes in free blocks and in slabs without a class.
        available: u64,
    },
    /// The allocation is of another heap.
    #[error("{allocation} belongs to another heap")]
    OtherHeap {
        /// What was handed in.
        allocation: Allocation,
    },
    /// Nothing is allocated there, or something else is by now: freed already.
    #[error("{allocation} is freed: it is free, or another allocation by now")]
    Freed {
        /// What was handed in.
        allocation: Allocation,
    },
    /// The block belongs to another process, and is that one's to free, move or keep.
    #[error("{allocation} belongs to the process with record {record}")]
    NotOwner {
        /// What was handed in.
        allocation: Allocation,
        /// The owner's record.
        record: u32,
    },
    /// The block is kept or under a root: take or unhang it first.
    #[error("{allocation} is kept or under a root: take it first")]
    Kept {
        /// What was handed in.
        allocation: Allocation,
    },
    /// A place outside the allocation.
    #[error("bytes {at} to {end} lie outside an allocation of {size} bytes")]
    Outside {
        /// First byte.
        at: u64,
        /// Byte after the last.
        end: u64,
        /// Bytes allocated.
        size: u64,
    },
    /// Reads and writes start at a word.
    #[error("byte {at} is not the start of a word of 8 bytes")]
    Unaligned {
        /// First byte.
        at: u64,
    },
    /// Names have 1 to 47 bytes.
    #[error("root name of {bytes} bytes: names have 1 to {bytes_max} bytes")]
    RootName {
        /// Length of the name.
        bytes: usize,
        /// Longest name.
        bytes_max: usize,
    },
    /// There is no root of this name.
    #[error("no root is named {name:?}")]
    UnknownRoot {
        /// The name.
        name: String,
    },
    /// There is a root of this name already.
    #[error("a root is named {name:?} already: unhang it first")]
    RootTaken {
        /// The name.
        name: String,
    },
    /// Another process is moving this root.
    #[error("busy: the process with record {record} is moving root {name:?}")]
    RootBusy {
        /// The name.
        name: String,
        /// Who.
        record: u32,
    },
    /// All roots are taken.
    #[error("full: all {roots} roots are taken")]
    NoRoot {
        /// Roots of a heap.
        roots: u32,
    },
    /// Others changed the roots more often than the loop's budget allows.
    #[error("contended: the roots changed under each of {turns} attempts")]
    Contended {
        /// Attempts made.
        turns: u32,
    },
    /// A word in shared memory cannot be what a heap wrote.
    #[error("corrupt: {what} of block {number}")]
    Corrupt {
        /// What was read.
        what: &'static str,
        /// The block's number.
        number: u32,
    },
}
