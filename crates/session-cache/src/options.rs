//! What a server chooses for its cache, and what cannot be chosen.

use crate::metadata::TTL_MS_MAX;

/// What a server chooses for its cache. Processes that share a table may choose differently.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CacheOptions {
    /// Life of a session in milliseconds, from its `put`: 1 to [`TTL_MS_MAX`]. Default 300 s.
    pub ttl_ms: u64,
    /// Least time in milliseconds between two sweeps that this handle makes because the table is
    /// full, or `None` to leave all sweeping to [`sweep`](crate::SessionCache::sweep). Default
    /// 10 s.
    pub sweep_interval_ms: Option<u64>,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self { ttl_ms: 300_000, sweep_interval_ms: Some(10_000) }
    }
}

/// Why a cache could not be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// The life of a session is out of range.
    #[error("ttl of {ttl_ms} ms: choose 1 to {TTL_MS_MAX} ms")]
    Ttl {
        /// What was asked for.
        ttl_ms: u64,
    },
}
