//! What a handle needs to know of the world outside the words: who is alive and what time it is.

use std::sync::Arc;

use crate::clock::{Clock, SystemClock};
use crate::liveness::{Liveness, OneProcess};

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

impl Default for Environment {
    /// One process, wall clock: right for a memory on the heap.
    fn default() -> Self {
        Self {
            liveness: Arc::new(OneProcess),
            clock: Arc::new(SystemClock),
            boot: [0; 2],
        }
    }
}
