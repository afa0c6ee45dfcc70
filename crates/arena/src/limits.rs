//! The tables of what is finite, against the code.

use std::collections::BTreeMap;

use crate::block::{BlockWord, SizeClass};
use crate::liveness::RecordIndex;
use crate::participant::Identity;
use crate::shared_heap::counter_bits;

const PAGE: &str = include_str!("limits.md");

/// Rows of the table below a heading, without its head.
fn table<'a>(page: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let below = page.split(&format!("# {heading}\n")).nth(1).expect("the heading is there");
    let rows = below.lines().skip_while(|line| !line.starts_with('|'));
    let rows = rows.take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

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

/// How long a counter takes to wrap, in the largest unit of which it is at least three.
fn wraps_after(bits: u32, step_ns: u64) -> String {
    let seconds = 2_f64.powi(bits.cast_signed()) * step_ns as f64 / 1e9;
    let units = [("y", 31_557_600.0), ("d", 86_400.0), ("h", 3_600.0), ("s", 1.0)];
    let is_long = |&&(_, unit): &&(&str, f64)| seconds / unit >= 3.0;
    let (name, unit) = units.iter().find(is_long).unwrap_or(&("s", 1.0));
    format!("{:.0} {name}", (seconds / unit).floor())
}

/// What a row says wrong of the code.
fn wrong_counters(page: &str) -> Vec<String> {
    let mut bits = bits();
    let mut findings = Vec::new();
    for row in table(page, "Counters that wrap") {
        let (name, said) = (row[0], row[1].parse::<u32>().unwrap());
        match bits.remove(name) {
            Some(found) if found == said => {}
            found => findings.push(format!("{name}: {said} bits, in the code {found:?}")),
        }
        let wraps = wraps_after(said, row[3].parse().unwrap());
        if wraps != row[4] {
            findings.push(format!("{name}: wraps after {}, which is {wraps}", row[4]));
        }
        if row[5].is_empty() {
            findings.push(format!("{name}: no consequence"));
        }
    }
    findings.extend(bits.into_keys().map(|name| format!("{name}: no row")));
    findings
}

#[test]
fn the_page_says_the_block_sizes_that_there_are() {
    assert_eq!(wrong_sizes(PAGE), []);
    assert_ne!(wrong_sizes(&PAGE.replace("448", "440")), []);
}

#[test]
fn the_page_says_how_many_bits_each_counter_has_and_when_it_wraps() {
    assert_eq!(wrong_counters(PAGE), [""; 0]);
    for (from, to) in [("| 40 |", "| 41 |"), ("15 h", "16 h"), ("| block generation", "| block")] {
        assert_ne!(wrong_counters(&PAGE.replacen(from, to, 1)), [""; 0], "{from}");
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
    let rows = table(PAGE, "What a stopped process may withhold");
    assert!(rows.len() > 5 && rows.iter().all(|row| row.len() == 4));
    let is_test = |name: &str| {
        let function = format!("fn {name}()");
        sources.iter().any(|source| source.contains(&function))
    };
    for row in rows {
        let name = row[3].trim_matches('`');
        assert!(is_test(name), "{}: there is no test {name}", row[0]);
    }
    assert!(!is_test("nothing_of_the_kind"));
}
