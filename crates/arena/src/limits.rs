//! The tables of what is finite, against the code.

mod page;

use std::collections::BTreeMap;

use crate::arena::{LEASE_TURNS_MAX, POOL_LINES_MAX};
use crate::block::{BlockWord, SizeClass};
use crate::claim::SCAN_BLOCKS_MAX;
use crate::layout::{Geometry, Layout};
use crate::liveness::RecordIndex;
use crate::notice::ASKED_MAX;
use crate::participant::Identity;
use crate::shared_heap::{ROOTS_MAX, counter_bits};
use page::{table, unshown, wrong_bounds, wrong_counters};

const PAGE: &str = include_str!("limits.md");

/// The page's sizes that are not those of the code, in order.
fn wrong_sizes(page: &str) -> Vec<(u64, u64)> {
    let sizes = table(page, "Block sizes");
    let said = sizes.iter().flat_map(|row| row[2].split(", ")).map(|size| size.parse().unwrap());
    let classes = (0..SizeClass::COUNT as u64).filter_map(SizeClass::from_index);
    let bytes: Vec<u64> = classes.map(|class| u64::from(class.units()) * 64).collect();
    let said: Vec<u64> = said.chain([0]).collect();
    bytes.into_iter().chain([0]).zip(said).filter(|(bytes, said)| bytes != said).collect()
}

/// The counters' bits as the code has them.
fn bits() -> BTreeMap<&'static str, u32> {
    let identity = Identity { record: RecordIndex(0), incarnation: u32::MAX };
    let incarnation = (identity.owner_word() >> 32).count_ones();
    let [owner, version, root] = counter_bits();
    BTreeMap::from([
        ("block generation", BlockWord::GENERATION_BITS),
        ("heap owner's generation", owner),
        ("heap root version", version),
        ("generation in a root", root),
        ("record incarnation", incarnation),
        ("entries added, removed", u64::BITS),
    ])
}

/// The largest number that a geometry may have in one place.
fn largest(up_to: u32, set: impl Fn(&mut Geometry, u32)) -> u64 {
    let (mut fits, mut exceeds) = (1, up_to);
    while exceeds - fits > 1 {
        let number = fits + (exceeds - fits) / 2;
        let mut geometry = Geometry {
            index_words: 1,
            records: 1,
            lines: 1,
            slabs: 1,
            slab_units: 1,
            block_units_min: 1,
            side_words: 0,
            spares: 1,
        };
        set(&mut geometry, number);
        if Layout::new(geometry).is_ok() { fits = number } else { exceeds = number }
    }
    fits.into()
}

/// The bounds as the code has them.
fn bounds() -> BTreeMap<&'static str, u64> {
    BTreeMap::from([
        ("process records", largest(1 << 20, |geometry, number| geometry.records = number)),
        ("participant lines", largest(1 << 20, |geometry, number| geometry.lines = number)),
        ("slabs", largest(u32::MAX, |geometry, number| geometry.slabs = number)),
        ("bytes of a block", u64::from(SizeClass::UNITS_MAX) * 64),
        ("lines of one process", POOL_LINES_MAX.into()),
        ("turns of a thread that waits for a line", LEASE_TURNS_MAX.into()),
        ("block words that an allocation looks at in the end", SCAN_BLOCKS_MAX.into()),
        ("processes after which a newcomer asks", ASKED_MAX.into()),
        ("named roots of a heap", ROOTS_MAX.into()),
    ])
}

#[test]
fn the_page_says_the_block_sizes_that_there_are() {
    assert_eq!(wrong_sizes(PAGE), []);
    assert_ne!(wrong_sizes(&PAGE.replace("448", "440")), []);
}

#[test]
fn the_page_says_how_many_bits_each_counter_has_and_when_it_wraps() {
    assert_eq!(wrong_counters(PAGE, bits()), [""; 0]);
    for (from, to) in [("| 40 |", "| 41 |"), ("15 h", "16 h"), ("| block generation", "| block")] {
        assert_ne!(wrong_counters(&PAGE.replacen(from, to, 1), bits()), [""; 0], "{from}");
    }
}

#[test]
fn the_page_says_the_bounds_that_there_are() {
    assert_eq!(wrong_bounds(PAGE, bounds()), [""; 0]);
    for (from, to) in [("| 4095 |", "| 4094 |"), ("| slabs |", "| slab |")] {
        assert_ne!(wrong_bounds(&PAGE.replace(from, to), bounds()), [""; 0], "{from}");
    }
}

#[test]
fn each_thing_that_a_stopped_process_withholds_is_shown_by_a_test() {
    let sources = [
        include_str!("mapped/liveness_tests.rs"),
        include_str!("mapped/process_tests.rs"),
        include_str!("../tests/shared_heap.rs"),
        include_str!("../../../verification/tests/shared_heap.rs"),
    ];
    assert_eq!(unshown(PAGE, &sources), [""; 0]);
    assert!(table(PAGE, "What a stopped process may withhold").len() > 5);
    let wrong = PAGE.replacen("`a_stopped_process_is_alive`", "`nothing_of_the_kind`", 1);
    assert_eq!(unshown(&wrong, &sources).len(), 1);
}
