//! Words under shuttle.

use std::fmt;
use std::sync::Arc;

use shm_arena::{Backoff, Fence, Load, Memory, Offset, Rmw, Store};
use shuttle::sync::atomic::AtomicU64;

use crate::engine::{Access, Ledger};
use crate::memory::checked::checked_memory;

checked_memory!(
    /// Words under shuttle, made afresh for each execution.
    ShuttleMemory,
    shuttle
);
