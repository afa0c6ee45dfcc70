//! Segments, blocks and participants in inter-process shared memory.

#![deny(unsafe_code)]

mod clock;
mod environment;
mod error;
mod heap;
mod liveness;
#[allow(unsafe_code, reason = "the one place where memory is mapped")]
mod mapped;
mod memory;
mod words;

pub use clock::{Clock, SystemClock};
pub use environment::Environment;
pub use error::SegmentError;
pub use heap::HeapMemory;
pub use liveness::{Liveness, OneProcess, RecordIndex, Verdict};
pub use mapped::{
    Access, AttachOptions, CreateOptions, Grant, MappedMemory, MappingOptions, MappingReport, Owner,
};
pub use memory::{Backoff, Fence, Load, Memory, Offset, Rmw, Store};
