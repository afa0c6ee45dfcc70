//! What is finite in this design, for the test of the page that says so.

use super::TURNS_MAX;
use super::root::Root;
use super::word::{Header, MODED_SLOTS_MAX, SLOTS_MAX};

/// Bits of each counter.
pub(crate) fn counters() -> Vec<(&'static str, u32)> {
    let version = Header::from_bits(u64::MAX).version().count_ones();
    let root = Root::from_bits(u64::MAX);
    vec![
        ("`cas_bucket`: bucket version", version),
        ("`cas_bucket`: epoch", root.epoch().count_ones()),
        ("`cas_bucket`: step of the root", root.step().count_ones()),
    ]
}

/// Each bound.
pub(crate) fn bounds() -> Vec<(&'static str, u64)> {
    assert_eq!(TURNS_MAX, crate::contract::TURNS_MAX);
    vec![
        ("`cas_bucket`: slots of a bucket", SLOTS_MAX.into()),
        ("`cas_bucket`: the same where the size changes", MODED_SLOTS_MAX.into()),
        ("`cas_bucket`: exponent of the number of buckets", Root::EXPONENT_MAX.into()),
    ]
}
