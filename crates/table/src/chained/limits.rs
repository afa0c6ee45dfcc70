//! What is finite in this design, for the test of the page that says so.

use shm_arena::{Identity, RecordIndex};

use super::LOCK_WAIT_MS_MAX;

/// Bits of each counter.
pub(crate) fn counters() -> Vec<(&'static str, u32)> {
    // The lock's word has the whole incarnation in its upper half.
    let Identity { incarnation, .. } = Identity { record: RecordIndex(0), incarnation: u32::MAX };
    vec![("`chained`: incarnation in the lock", incarnation.count_ones())]
}

/// Each bound.
pub(crate) fn bounds() -> Vec<(&'static str, u64)> {
    vec![("`chained`: ms that a verb waits for the lock", LOCK_WAIT_MS_MAX)]
}
