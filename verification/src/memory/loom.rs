//! Words under loom.

use std::fmt;
use std::sync::Arc;

use loom::sync::atomic::AtomicU64;
use shm_arena::{Backoff, Fence, Load, Memory, Offset, Rmw, Store};

use crate::engine::{Access, Ledger};
use crate::memory::checked::checked_memory;

checked_memory!(
    /// Words under loom, made afresh for each execution.
    LoomMemory,
    loom
);
