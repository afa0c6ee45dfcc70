//! Segments, blocks and participants in inter-process shared memory.

#![deny(unsafe_code)]

mod arena;
mod audit;
mod block;
mod boot;
mod clock;
mod counting;
mod environment;
mod error;
mod hash;
mod header;
mod heap;
mod layout;
mod lease;
mod liveness;
#[allow(unsafe_code, reason = "the one place where memory is mapped")]
mod mapped;
mod memory;
mod participant;
mod pool;
mod recover;
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
pub use lease::{Claimed, Intended, Lease, LeaseError, Located, NoBlock};
pub use liveness::{Liveness, OneProcess, RecordIndex, Verdict};
pub use mapped::{
    Access, AttachOptions, CreateOptions, Grant, MappedLiveness, MappedMemory, MappingOptions,
    MappingReport, Owner,
};
pub use memory::{Backoff, Fence, Load, Memory, Offset, Rmw, Store};
pub use participant::Identity;
pub use recover::Recovered;
