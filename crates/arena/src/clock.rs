//! What time it is, as a trait, so that models decide when something expires.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// A clock that all participants of a segment agree on.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Milliseconds since a point that all participants share. Never goes back by design; a caller
    /// tolerates it when it does.
    fn now_ms(&self) -> u64;
}

/// Milliseconds of the system's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            })
    }
}
