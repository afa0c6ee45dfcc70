//! What is finite in this design, for the test of the page that says so.

use super::TURNS_MAX;
use super::size::Pages;
use super::word::{Header, REACH_MAX, SLOTS_MAX, Slot, UNITS_MAX};

/// Bits of each counter.
pub(crate) fn counters() -> Vec<(&'static str, u32)> {
    let version = Header::from_bits(u64::MAX).version().count_ones();
    // What a write of the slot with its own content changes in the end: the whole count.
    let full = Slot::from_bits(u64::MAX);
    let count = (full.bits() ^ full.with(full).bits()).count_ones();
    vec![("`robin_hood`: page version", version), ("`robin_hood`: slot count", count)]
}

/// Each bound.
pub(crate) fn bounds() -> Vec<(&'static str, u64)> {
    assert_eq!(TURNS_MAX, crate::contract::TURNS_MAX);
    vec![
        ("`robin_hood`: pages", Pages::MAX),
        ("`robin_hood`: slots of a page", SLOTS_MAX.into()),
        ("`robin_hood`: slots that a search looks at", REACH_MAX.into()),
        ("`robin_hood`: units of 64 bytes in a segment", UNITS_MAX),
    ]
}
