//! Segments, blocks and participants in inter-process shared memory.

mod clock;
mod counting;
mod environment;
mod error;
mod heap;
mod liveness;
mod memory;
mod words;

pub use clock::{Clock, SystemClock};
pub use counting::{AccessCounts, CountingMemory};
pub use environment::Environment;
pub use error::SegmentError;
pub use heap::HeapMemory;
pub use liveness::{Liveness, OneProcess, RecordIndex, Verdict};
pub use memory::{Backoff, Fence, Load, Memory, Offset, Rmw, Store};
