//! One suite of tests for every table behind the contract of `shm-table`, yours included.
//!
//! A [`Fixture`] makes tables; [`CHECKS`] are what a table has to pass. No check knows a table's
//! name: what designs may differ in is in their
//! [`Capabilities`](shm_table::Capabilities).
//!
//! ```no_run
//! // tests/conformance.rs of your crate
//! use shm_table_conformance::{Heap, Mapped, conformance_tests};
//!
//! conformance_tests! {
//!     mod on_the_heap = Heap::<shm_table::Chained<_>>::new();
//!     mod in_files = Mapped::<shm_table::Chained<_>>::new();
//! }
//! # fn main() {}
//! ```
//!
//! A check fails by a panic that says what the table answered and what it had to. Tests named
//! `worker` are the processes that others kill; called directly they do nothing.
#![forbid(unsafe_code)]

mod attaching;
mod bad_input;
mod bounds;
mod collisions;
mod exhaustion;
mod fixture;
mod forks;
mod processes;
mod reference;
mod saving;
mod sequential;
mod threads;
mod versions;
mod walks;

pub use fixture::{Fixture, Heap, Mapped, Tables, tiny};
pub use processes::{work, worker_segment};
pub use reference::{Reference, ReferenceTable};

/// A check: panics if a table does not pass.
pub type Check = fn(&dyn Fixture);

/// Every check, by name.
pub const CHECKS: [(&str, Check); 24] = [
    ("sequential", sequential::every_verb_answers_as_the_model_does),
    ("wrapping_counters", sequential::counters_wrap_unnoticed),
    ("keys_and_values_at_their_bounds", bounds::keys_and_values_at_their_bounds_come_back),
    ("every_length", bounds::every_length_comes_back),
    ("bad_keys_and_values", bad_input::bad_keys_and_values_are_named_and_change_nothing),
    ("short_buffers", bad_input::short_buffers_learn_the_length_and_change_nothing),
    ("foreign_versions_and_cursors", bad_input::foreign_versions_and_cursors_change_nothing),
    ("equal_tags", collisions::keys_with_equal_tags_stay_apart),
    ("equal_hashes", collisions::keys_with_equal_hashes_stay_apart),
    ("full_table", exhaustion::a_full_table_says_so_and_loses_nothing),
    ("reservations_run_out", exhaustion::reservations_run_out_with_an_error_and_come_back),
    ("constant_population", exhaustion::constant_population_never_fails_and_leaks_nothing),
    ("versions", versions::a_version_matches_one_life_and_no_other),
    ("dead_entries", versions::what_counts_as_dead_is_absent),
    ("reservations", versions::a_reservation_shows_nothing_before_its_end),
    ("walks", walks::walks_listings_and_batches_agree),
    ("changes_beside_a_walk", walks::a_walk_misses_nothing_that_stays),
    ("emptying", walks::delete_first_and_clear_empty_the_table),
    ("saving", saving::what_is_saved_is_loaded_and_damage_changes_nothing),
    ("takers", threads::threads_agree_on_who_takes_what),
    ("exchangers", threads::exchanges_on_a_version_count_right),
    ("attaching", attaching::a_newcomer_recovers_what_the_dead_left),
    ("read_only", processes::a_read_only_handle_reads_or_refuses),
    ("forked_children", forks::a_forked_child_reads_or_is_refused),
];

/// Makes a module with one test for each of [`CHECKS`], and for processes that are killed.
#[macro_export]
macro_rules! conformance_tests {
    ($(mod $module:ident = $fixture:expr;)*) => {$(
        mod $module {
            #[allow(unused_imports)]
            use super::*;
            use $crate::Fixture as _;

            $crate::conformance_tests!(@checks $fixture;
                sequential wrapping_counters keys_and_values_at_their_bounds every_length
                bad_keys_and_values short_buffers foreign_versions_and_cursors equal_tags
                equal_hashes full_table
                reservations_run_out constant_population versions dead_entries reservations walks
                changes_beside_a_walk emptying saving takers exchangers attaching read_only
                forked_children);

            #[test]
            fn kills() {
                let worker = concat!(stringify!($module), "::worker");
                $crate::kills(&$fixture, worker);
            }

            /// The process that `kills` kills.
            #[test]
            fn worker() {
                $crate::work(&$fixture);
            }
        }
    )*};
    (@checks $fixture:expr; $($check:ident)*) => {$(
        #[test]
        fn $check() {
            $crate::run(stringify!($check), &$fixture);
        }
    )*};
}

/// Runs the check of this name.
///
/// # Panics
///
/// If the table does not pass, or if there is no such check.
pub fn run(name: &str, fixture: &dyn Fixture) {
    let check = CHECKS.iter().find(|(other, _)| *other == name);
    let (_, check) = check.unwrap_or_else(|| panic!("no check is called {name}"));
    check(fixture);
}

pub use processes::kills;

/// The entry that most checks store.
pub(crate) const fn entry<'a>(
    key: &'a [u8],
    value: &'a [u8],
    metadata: u64,
) -> shm_table::Entry<'a> {
    shm_table::Entry { key, value, metadata }
}

/// What a call beside other threads answers, made again while the table is busy, if it is one that
/// waits: on a loaded machine the owner of a lock may not run for long.
pub(crate) fn patiently<T>(
    table: &dyn shm_table::Table,
    mut call: impl FnMut() -> Result<T, shm_table::Error>,
) -> Result<T, shm_table::Error> {
    let waits = table.capabilities().writes.waits();
    for _ in 0..100 {
        match call() {
            Err(shm_table::Error::Busy { .. }) if waits => {}
            answer => return answer,
        }
    }
    call()
}

/// Whether an error says that room is short.
pub(crate) const fn is_full(error: &shm_table::Error) -> bool {
    matches!(error, shm_table::Error::NoBlock { .. } | shm_table::Error::BucketFull { .. })
}

/// Fails unless a quiescent table is sound and holds as many entries as it says.
#[track_caller]
pub(crate) fn expect_sound(table: &dyn shm_table::Table) {
    let audit = table.audit();
    assert!(audit.is_clean(), "{} blocks lost: {:?}", audit.lost_blocks, audit.findings);
    assert_eq!(audit.entries, table.len(), "entries counted and kept");
}
