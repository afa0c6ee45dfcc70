//! Seeded violations: each rule finds what it is for, and only that.

use crate::rules;
use crate::source::Source;

fn finds(findings: &[String], what: &str) {
    assert!(
        findings.iter().any(|finding| finding.contains(what)),
        "no finding says {what:?}: {findings:?}"
    );
}

fn ceilings(source: &Source) -> Vec<String> {
    rules::ceilings(source, &[])
}

fn finds_nothing(findings: &[String]) {
    assert!(findings.is_empty(), "{findings:?}");
}

#[test]
fn a_line_of_one_hundred_and_one_columns_is_found() {
    let line = |columns: usize| format!("//{}\n", "x".repeat(columns - 2));
    finds(&ceilings(&Source::new("a.rs", &line(101))), "a.rs:1: 101 columns");
    finds_nothing(&ceilings(&Source::new("a.rs", &line(100))));
}

#[test]
fn a_function_of_seventy_one_lines_is_found() {
    let function = |lines: usize| {
        let short = "impl X {\nfn short() -> fn(u8) { call('{', \"{\") }\n";
        let body = "    let _ = [0_u8; 2];\n".repeat(lines - 3);
        format!("{short}fn long(\n) {{\n{body}}}\n}}\n")
    };
    finds(&ceilings(&Source::new("a.rs", &function(71))), "a.rs:3: fn long has 71 lines");
    finds_nothing(&ceilings(&Source::new("a.rs", &function(70))));
}

#[test]
fn a_file_of_six_hundred_and_one_lines_is_found() {
    finds(&ceilings(&Source::new("a.rs", &"\n".repeat(601))), "601 lines");
    finds_nothing(&ceilings(&Source::new("a.rs", &"\n".repeat(600))));
}

#[test]
fn a_debt_that_grew_or_shrank_or_was_paid_is_found() {
    let debts = [("a.rs", "", 700), ("a.rs", "f", 80)];
    let file = |lines: usize, body: usize| {
        let function = format!("fn f() {{\n{}}}\n", "\n".repeat(body - 2));
        Source::new("a.rs", &format!("{function}{}", "\n".repeat(lines - body)))
    };
    let both = |lines, body| {
        let source = file(lines, body);
        [rules::ceilings(&source, &debts), rules::stale_debts(&[source], &debts)].concat()
    };
    finds_nothing(&both(700, 80));
    finds(&both(701, 80), "a.rs has 701 lines, at most 700");
    finds(&both(700, 81), "fn f has 81 lines, at most 80");
    finds(&both(699, 80), "a.rs : the debt of 700 lines shrank");
    finds(&both(700, 79), "a.rs f: the debt of 80 lines shrank");
    finds(&rules::stale_debts(&[], &debts), "a.rs : the debt of 700 lines shrank");
}

#[test]
fn rows_and_drawings_in_documentation_may_be_wide() {
    let row = format!("//! | {} |", "x".repeat(120));
    finds_nothing(&ceilings(&Source::new("a.rs", &row)));
    let box_drawing = format!("//! ┌{}┐", "─".repeat(120));
    finds_nothing(&ceilings(&Source::new("a.rs", &box_drawing)));
}

#[test]
fn unsafe_outside_its_homes_is_found_and_in_words_is_not() {
    let at = |path, text| rules::unsafe_homes(&[Source::new(path, text)]);
    finds(&at("crates/table/src/a.rs", "fn f() { unsafe { g() } }"), "a.rs:1: unsafe");
    finds(&at("crates/x/src/lib.rs", "pub mod a;"), "no #![forbid(unsafe_code)]");
    finds(&at("crates/x/src/lib.rs", "#![deny(unsafe_code)]"), "no #![forbid(unsafe_code)]");
    finds_nothing(&at("crates/arena/src/mapped/a.rs", "fn f() { unsafe { g() } }"));
    finds_nothing(&at("crates/arena/src/lib.rs", "#![deny(unsafe_code)]\npub mod a;"));
    let harmless = "// unsafe\nconst A: &str = \"unsafe\"; const B: &str = r#\"unsafe \" \"#;\n\
                    /* unsafe /* twice */ unsafe */ #[expect(unsafe_code)] const C: char = '\"';";
    finds_nothing(&at("crates/table/src/a.rs", harmless));
}

#[test]
fn an_atomic_outside_its_homes_and_a_home_without_one_are_found() {
    let homes = |text: &str| {
        rules::ATOMIC_HOMES.map(|path| Source::new(path, text)).into_iter().collect::<Vec<_>>()
    };
    let with = |path, text| {
        let mut sources = homes("use std::sync::atomic::AtomicU64;");
        sources.push(Source::new(path, text));
        rules::atomic_homes(&sources)
    };
    finds(&with("crates/table/src/a.rs", "use core::sync::atomic;"), "a.rs:1: atomic outside");
    finds(&with("benches/src/a.rs", "static A: AtomicBool = x;"), "a.rs:1: atomic outside");
    finds_nothing(&with("crates/table/src/a.rs", "struct Atomic; // AtomicU64"));
    finds(&rules::atomic_homes(&homes("")), "words.rs: names no atomic");
    finds(&rules::atomic_homes(&[]), "words.rs: is gone");
}

#[test]
fn a_sequentially_consistent_access_is_found_and_a_fence_is_not() {
    let at = |path, text| rules::sequential_consistency(&Source::new(path, text));
    finds(&at("a.rs", "memory.load(at, Ordering::SeqCst);"), "a.rs:1: sequentially consistent");
    finds(&at("a.rs", "SeqCst,"), "sequentially consistent");
    finds(&at("a.rs", "f(Fence::SeqCst, Ordering::SeqCst)"), "sequentially consistent");
    finds_nothing(&at("a.rs", "memory.fence(Fence::SeqCst);"));
    finds_nothing(&at("a.rs", "Fence::SeqCst => Ordering::SeqCst,"));
    finds_nothing(&at("crates/arena/src/memory.rs", "    SeqCst,"));
}

#[test]
fn other_tags_banners_and_unfinished_work_are_found() {
    let at = |text| rules::comment_tags(&Source::new("a.rs", text));
    for (text, what) in [
        ("// NOTE: this", "not one of the four"),
        ("let a = 1; // NOTE(a): this", "not one of the four"),
        ("// TODO later", "belongs in an issue"),
        ("// ---------", "banner"),
        ("// ORDERING: none", "tags are"),
        ("// SAFETY(a): none", "tags are"),
    ] {
        finds(&at(text), what);
    }
    finds_nothing(&at("// SAFETY: it is.\n// ORDERING(W1): it is.\n// CRASH(C1): it is.\n\
         // INVARIANT(I1): it is.\n// CAS loop: it ends.\n\
         /// NOTE: documentation\nconst A: &str = \"// TODO\";"));
}

fn table(doc: &str, code: &str) -> Vec<Source> {
    let text = format!("{doc}\nimpl<M: Memory> Design<M> for X<M> {{}}\n{code}");
    vec![Source::new("crates/table/src/x.rs", &text)]
}

const HEADINGS: &str = "//! X.\n//! # Idea\n//! # Layout\n//! # Operations\n//! # Invariants\n\
                        //! # Orderings\n//! # Crash\n//! # Limits\n//! # Source";

#[test]
fn a_table_without_a_heading_or_with_two_swapped_is_found() {
    finds_nothing(&rules::table_headings(&table(HEADINGS, "")));
    let missing = HEADINGS.replace("//! # Crash\n", "");
    finds(&rules::table_headings(&table(&missing, "")), "x.rs: the headings are");
    let swapped = HEADINGS.replace("# Idea", "# A").replace("# Layout", "# Idea");
    let swapped = swapped.replace("# A", "# Layout");
    finds(&rules::table_headings(&table(&swapped, "")), "x.rs: the headings are");
    finds_nothing(&rules::table_headings(&[Source::new("crates/table/src/y.rs", "//! Y.")]));
}

#[test]
fn a_table_in_a_folder_is_explained_by_the_folder_s_module() {
    let code = "impl<M> Design<M> for X<M> {}";
    let mut sources = vec![Source::new("crates/table/src/x/handle.rs", code)];
    finds(&rules::table_headings(&sources), "x/mod.rs: a table's module has no such file");
    sources.push(Source::new("crates/table/src/x/mod.rs", "//! X."));
    finds(&rules::table_headings(&sources), "x/mod.rs: the headings are ,");
    sources[1] = Source::new("crates/table/src/x/mod.rs", HEADINGS);
    finds_nothing(&rules::table_headings(&sources));
}

#[test]
fn an_ordering_without_a_row_and_a_row_without_code_are_found() {
    let doc = "//! X.\n//! # Orderings\n//! | id | order |\n//! |---|---|\n//! | W1 | Release |\n\
               //! | `R1`, R2 | Acquire |\n//! # Crash\n//! | a | b |";
    let with = |code: &str| rules::ordering_rows(&[Source::new("x.rs", &format!("{doc}\n{code}"))]);
    let all = "// ORDERING(W1): a.\nf(); // ORDERING(R1, R2): b.\n";
    finds_nothing(&with(all));
    finds(&with(&format!("{all}// ORDERING(W9): c.")), "ORDERING(W9) has no row");
    finds(&with("// ORDERING(W1): a.\n// ORDERING(R1): b."), "cites the row R2");
    let elsewhere = Source::new("y.rs", "// ORDERING(W1): a.");
    finds(&rules::ordering_rows(&[elsewhere]), "no module doc above");
    let folder = [
        Source::new("s/x/mod.rs", doc),
        Source::new("s/x/part.rs", "// ORDERING(W1): a.\n// ORDERING(R1, R2): b."),
    ];
    finds_nothing(&rules::ordering_rows(&folder));
}
