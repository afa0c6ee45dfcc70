//! The parts of the house style that a program can check, over every source of the workspace.
//!
//! The limits are a ratchet: they only go down, and an exemption that is no longer needed is a
//! finding too.

mod rules;
mod seeded;
mod source;

use std::path::Path;

use source::Source;

/// Names every finding of a rule, or passes.
fn expect_none(findings: Vec<String>) {
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

fn workspace() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let sources = source::collect(&root).expect("the workspace can be read");
    assert!(sources.len() > 10, "only {} sources below {}", sources.len(), root.display());
    sources
}

#[test]
fn files_functions_and_lines_keep_their_ceilings() {
    let findings = |source: &Source| rules::ceilings(source, &rules::DEBTS);
    expect_none(workspace().iter().flat_map(findings).collect());
}

#[test]
fn a_debt_that_shrank_is_lowered() {
    expect_none(rules::stale_debts(&workspace(), &rules::DEBTS));
}

#[test]
fn unsafe_code_stays_in_its_homes() {
    expect_none(rules::unsafe_homes(&workspace()));
}

#[test]
fn atomics_are_named_in_their_homes_only() {
    expect_none(rules::atomic_homes(&workspace()));
}

#[test]
fn sequential_consistency_is_a_fence_and_nothing_else() {
    expect_none(workspace().iter().flat_map(rules::sequential_consistency).collect());
}

#[test]
fn comments_carry_the_four_tags_and_no_others() {
    expect_none(workspace().iter().flat_map(rules::comment_tags).collect());
}

#[test]
fn every_table_explains_itself_under_the_eight_headings() {
    expect_none(rules::table_headings(&workspace()));
}

#[test]
fn every_ordering_in_code_has_its_row_and_every_row_its_code() {
    expect_none(rules::ordering_rows(&workspace()));
}
