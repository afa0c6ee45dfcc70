//! Segments, blocks and participants in inter-process shared memory, over a trait of 64-bit words.
//!
//! This is the ground that tables stand on. It knows words, blocks and processes, and nothing of
//! keys.
//!
//! - [`Memory`] is the one way to shared state. [`MappedMemory`] ships, [`HeapMemory`] serves one
//!   process, model checkers bring their own; what is above cannot tell them apart.
//! - A [`SegmentHeader`] says what a segment is and is checked field by field; a [`Layout`] follows
//!   from it and says where everything lies. Offsets are relative: nothing stored is a pointer.
//! - An [`Arena`] is a process's handle on a segment. A thread takes a [`Lease`] on a participant
//!   line for the length of one update, and through it claims, publishes and retires [`Block`]s.
//!   Whatever a lease holds is named in its line first.
//! - [`Liveness`] tells who is dead; [`Arena::recover`] finishes or undoes what the dead were
//!   doing, by anyone, while others work. It asks the table, through [`Index`], which blocks
//!   readers reach.
//!
//! # A block's life
//!
//! ```
//! use shm_arena::{
//!     Arena, ArenaOptions, Environment, Geometry, HashKind, HeapMemory, Layout, Memory,
//!     SegmentHeader, structure_fingerprint,
//! };
//!
//! let geometry = Geometry {
//!     index_words: 8,
//!     records: 2,
//!     lines: 2,
//!     slabs: 1,
//!     slab_units: 16,
//!     block_units_min: 1,
//!     side_words: 0,
//!     spares: 1,
//! };
//! let header = SegmentHeader {
//!     table_kind: 77,
//!     table_fingerprint: structure_fingerprint("example 1: index of heads"),
//!     table_numbers: [0; 4],
//!     geometry,
//!     hash: HashKind::Rapid,
//!     created_ms: 0,
//!     boot: [0; 2],
//! };
//! let memory = HeapMemory::new(Layout::new(geometry)?.word_count());
//! let options = ArenaOptions { header, secret: None, wraps_after: None };
//! let arena = Arena::create(memory, &options, &Environment::default())?;
//!
//! let mut lease = arena.lease()?;
//! let class = arena.class_for(2).expect("two words fit the smallest block");
//! let claimed = lease.claim(class).expect("all blocks are free");
//! arena.memory().write_bytes(claimed.block().offset(), b"a private draft");
//! // Nobody published it: it is drained, wiped, and kept for the line's next claim.
//! lease.abandon(claimed, 2, || {});
//! drop(lease);
//! arena.detach();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is trusted
//!
//! All unsafe code of the product is in the private module `mapped`; the statement at the head of
//! `src/mapped/mod.rs` is what it rests on. In short:
//!
//! - the kernel keeps mappings of one file coherent, and drops a process's locks when its memory
//!   goes;
//! - the file keeps its size: memory descriptors are sealed, and whoever may write a file with a
//!   path is trusted not to truncate it;
//! - other processes may write anything into the words at any time. They can cause wrong answers
//!   and errors, never undefined behaviour: all access is by atomic words or by assembly, every bit
//!   pattern is a valid word, and whatever is read is range-checked before it leads anywhere.
//!
//! # What is not promised
//!
//! A record or line of a dead process is free again after a recovery; attaching takes a dead
//! process's record where none is free, and a lease an orphaned line. Whoever attaches a table or a
//! heap asks after 32 processes at most and recovers where one is dead. Through a handle from
//! before a fork the child reads; whatever else it tries is refused with [`LeaseError::Forked`].
//! Calls are not for signal handlers, nor for the child of a `vfork`.
//!
//! What is finite, with the consequences, is in [`finite`].

#![deny(unsafe_code)]

mod arena;
mod audit;
mod block;
mod boot;
mod claim;
mod clock;
mod counting;
mod environment;
mod error;
mod generation;
mod hash;
mod header;
mod heap;
mod layout;
mod lease;
#[cfg(test)]
mod limits;
mod line;
mod liveness;
#[allow(unsafe_code, reason = "the one place where memory is mapped")]
mod mapped;
mod memory;
mod notice;
mod participant;
mod pool;
mod reclass;
mod recover;
mod shared_heap;
mod words;

pub use arena::{Arena, ArenaOptions, Index};
pub use audit::BlockAudit;
pub use block::{Block, BlockState, BlockWord, SizeClass, UNIT_WORDS};
pub use boot::boot_id;
pub use clock::{BootClock, Clock, SystemClock};
pub use counting::{AccessCounts, CountingMemory};
pub use environment::Environment;
pub use error::SegmentError;
pub use hash::{HashKind, KeyHasher, random_secret};
pub use header::{Expected, FORMAT_VERSION, MAGIC, SegmentHeader, structure_fingerprint};
pub use heap::HeapMemory;
pub use layout::{CONTROL_WORDS, Geometry, HEADER_WORDS, LINE_WORDS, Layout, RECORD_WORDS};
pub use lease::{Claimed, Intended, Lease, LeaseError, Located, NoBlock, Retired};
pub use liveness::{Liveness, OneProcess, RecordIndex, Verdict};
pub use mapped::{
    Access, AttachOptions, CreateOptions, ForkEpoch, Grant, MappedLiveness, MappedMemory,
    MappingOptions, MappingReport, Owner,
};
#[doc = include_str!("limits.md")]
pub mod finite {}
pub use line::{Line, LineToWrite};
pub use memory::{Backoff, Fence, Load, Memory, Offset, Rmw, Store};
pub use participant::Identity;
pub use recover::{Recovered, Recoveries};
pub use shared_heap::{
    Allocation, ClassUse, HeapError, HeapOptions, HeapRecovered, HeapState, Holder, ROOTS_MAX,
    RootUse, SharedHeap,
};
