//! What the documents say about the arena is what the code does.
#![allow(missing_docs)]

use std::collections::BTreeSet;

/// The functions of OSSP mm 1.4.2, from its manual page; pool functions exist as `MM_` as well.
const MM_POOL: [&str; 14] = [
    "create",
    "permission",
    "reset",
    "destroy",
    "lock",
    "unlock",
    "malloc",
    "realloc",
    "free",
    "calloc",
    "strdup",
    "sizeof",
    "maxsize",
    "available",
];
const MM_OTHERS: [&str; 14] = [
    "mm_error",
    "MM_error",
    "mm_display_info",
    "mm_core_create",
    "mm_core_permission",
    "mm_core_delete",
    "mm_core_size",
    "mm_core_lock",
    "mm_core_unlock",
    "mm_core_maxsegsize",
    "mm_core_align2page",
    "mm_core_align2word",
    "mm_lib_error_set",
    "mm_lib_error_get",
];

/// The cells of each row of the tables of a page.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let is_row = |line: &&str| line.starts_with('|') && !line.starts_with("|---");
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect();
    let lines: Vec<&'static str> =
        page.lines().filter(is_row).map(|line| &*line.to_owned().leak()).collect();
    lines.into_iter().map(cells).collect()
}

/// Words in back quotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Functions of MM that a page has no row for, and rows for functions that MM does not have.
fn differences(page: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let pool = MM_POOL.iter().flat_map(|name| [format!("mm_{name}"), format!("MM_{name}")]);
    let others = MM_OTHERS.iter().map(|&name| name.to_owned());
    let wanted: BTreeSet<String> =
        pool.chain(others).chain(["mm_lib_version".to_owned()]).collect();
    let rows = rows(page);
    let answered =
        rows.iter().filter(|row| row.len() == 3 && row[1..].iter().all(|c| !c.is_empty()));
    let named: BTreeSet<String> = answered
        .flat_map(|row| quoted(row[0]))
        .filter(|name| name.starts_with("mm_") || name.starts_with("MM_"))
        .map(str::to_owned)
        .collect();
    (wanted.difference(&named).cloned().collect(), named.difference(&wanted).cloned().collect())
}

#[test]
fn every_function_of_mm_has_its_row() {
    let page = include_str!("../../../papers/mm.md");
    let (missing, unknown) = differences(page);
    assert!(missing.is_empty() && unknown.is_empty(), "missing {missing:?}, unknown {unknown:?}");
    // What the test would catch.
    let without = page.replace("`mm_calloc`", "");
    assert!(differences(&without).0.contains("mm_calloc"));
    let invented = page.replace("`mm_core_size`", "`mm_core_sized`");
    assert!(differences(&invented).1.contains("mm_core_sized"));
}
