//! What a handle needs to know of the world outside the words: who is alive and what time it is.

use std::sync::Arc;

use crate::boot::boot_id;
use crate::clock::{BootClock, Clock, SystemClock};
use crate::error::SegmentError;
use crate::liveness::{Liveness, OneProcess};
use crate::mapped::{MappedLiveness, MappedMemory};
use crate::memory::Memory;

/// The outside world of a handle. Cloned into each handle; models substitute their own.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Tells who is dead.
    pub liveness: Arc<dyn Liveness>,
    /// Tells the time, for bounded waits and creation times.
    pub clock: Arc<dyn Clock>,
    /// The present boot of the machine: content from another boot is refused.
    pub boot: [u64; 2],
}

impl Environment {
    /// The outside world of a mapped segment: beacons in its file, the time since boot, this boot.
    ///
    /// # Errors
    ///
    /// Those of [`MappedLiveness::new`]. A mapping that is only read needs no beacon and gets none.
    pub fn mapped(memory: &MappedMemory) -> Result<Self, SegmentError> {
        let liveness: Arc<dyn Liveness> = if memory.is_writable() {
            Arc::new(MappedLiveness::new(memory.clone())?)
        } else {
            Arc::new(OneProcess)
        };
        Ok(Self { liveness, clock: Arc::new(BootClock), boot: boot_id() })
    }
}

impl Default for Environment {
    /// One process, wall clock: right for a memory on the heap.
    fn default() -> Self {
        Self { liveness: Arc::new(OneProcess), clock: Arc::new(SystemClock), boot: [0; 2] }
    }
}
