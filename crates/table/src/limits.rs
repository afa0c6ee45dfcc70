//! The tables of what is finite, against the code.

#[path = "../../arena/src/limits/page.rs"]
mod page;

use std::collections::BTreeMap;

use shm_arena::Block;

use crate::contract::{KEY_BYTES_MAX, TURNS_MAX, Version};
use crate::entry::EntryShape;
use crate::{cas_bucket, chained, robin_hood};
use page::{table, unshown, wrong_bounds, wrong_counters};

const PAGE: &str = include_str!("limits.md");

/// The counters' bits as the code has them.
fn bits() -> BTreeMap<&'static str, u32> {
    let version = Version::new(0, Block::new(0), u64::MAX).generation().count_ones();
    let mut bits = BTreeMap::from([("generation in an entry's version", version)]);
    bits.extend(cas_bucket::limits::counters());
    bits.extend(robin_hood::limits::counters());
    bits.extend(chained::limits::counters());
    bits
}

/// The bounds as the code has them.
fn bounds() -> BTreeMap<&'static str, u64> {
    let mut bounds = BTreeMap::from([
        ("bytes of a key", KEY_BYTES_MAX as u64),
        ("bytes of a value that a length can say", EntryShape::VALUE_BYTES_MAX as u64),
        ("turns of a loop whose bucket or page changes each time", TURNS_MAX.into()),
    ]);
    bounds.extend(cas_bucket::limits::bounds());
    bounds.extend(robin_hood::limits::bounds());
    bounds.extend(chained::limits::bounds());
    bounds
}

#[test]
fn the_page_says_how_many_bits_each_counter_has_and_when_it_wraps() {
    assert_eq!(wrong_counters(PAGE, bits()), [""; 0]);
    for (from, to) in [("| 49 |", "| 48 |"), ("| 6 s |", "| 8 s |"), ("slot count", "count")] {
        assert_ne!(wrong_counters(&PAGE.replace(from, to), bits()), [""; 0], "{from}");
    }
}

#[test]
fn the_page_says_the_bounds_that_there_are() {
    assert_eq!(wrong_bounds(PAGE, bounds()), [""; 0]);
    for (from, to) in [("| 63 |", "| 64 |"), ("bytes of a key", "bytes")] {
        assert_ne!(wrong_bounds(&PAGE.replace(from, to), bounds()), [""; 0], "{from}");
    }
}

#[test]
fn each_thing_that_a_stopped_process_withholds_is_shown_by_a_test() {
    let sources = [include_str!("../tests/stopped.rs")];
    assert_eq!(unshown(PAGE, &sources), [""; 0]);
    assert!(table(PAGE, "What a stopped process may withhold").len() > 3);
    let wrong = PAGE.replace("a_process_stopped_in_chained", "nothing_of_the_kind");
    assert_eq!(unshown(&wrong, &sources).len(), 1);
}
