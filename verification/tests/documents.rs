//! What this crate's page says of its tests: each that it names exists.
#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every source of the workspace below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Names of all tests.
fn tests() -> BTreeSet<String> {
    let mut files = Vec::new();
    for folder in ["../crates", "."] {
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut files);
    }
    let mut names = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a source");
        for below in text.split("#[test]").skip(1) {
            let name = below.split("fn ").nth(1).and_then(|rest| rest.split('(').next());
            names.extend(name.map(str::to_owned));
        }
    }
    names
}

/// Names in back quotes in the table of hard points that are none of these tests, row by row.
fn strangers(page: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let table = page.split("| hard point | rests on |").nth(1).expect("the table is there");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut strangers = Vec::new();
    for row in rows {
        let named: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            strangers.push(format!("nothing in {row}"));
        }
        let unknown = named.into_iter().filter(|&name| !tests.contains(name));
        strangers.extend(unknown.map(str::to_owned));
    }
    strangers
}

#[test]
fn each_hard_point_of_the_arena_rests_on_tests_that_exist() {
    let (page, tests) = (include_str!("../README.md"), tests());
    assert_eq!(strangers(page, &tests), [""; 0]);
    let wrong = page.replace("`leaving_out_the_wipe_is_caught`", "`nothing_of_the_kind`");
    assert_eq!(strangers(&wrong, &tests), ["nothing_of_the_kind"]);
    assert_eq!(strangers(&page.replace("`leaving_out_the_wipe_is_caught`", ""), &tests).len(), 1);
}
