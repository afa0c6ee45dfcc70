//! A table of one word for each key, right or with a seeded fault, through every oracle: each fault
//! is caught by the engines that can see it, and the right table passes on all of them.

mod toy;

use std::sync::Arc;

use shm_verification::scenario::{Order, Scenario, ScenarioModel};
use shm_verification::{
    Budget, DepthFirstEngine, Engine, FailureKind, LoomEngine, Outcome, ShuttleEngine, ViewEngine,
};
use toy::{Fault, Toy};

/// What the engines say of a scenario on the table with this fault: loom, the weak-memory machine
/// enumerated and drawn, shuttle.
fn outcomes<const FAULT: u8>(text: &str) -> [Outcome; 4] {
    let scenario: Scenario = text.parse().expect("a scenario");
    let model = |order| Arc::new(ScenarioModel::<Toy<FAULT>>::new(scenario.clone(), order));
    let late = model(Order::HappensBefore);
    let budget = Budget::executions(5_000).preemptions(3);
    [
        LoomEngine.run(&late, &budget),
        DepthFirstEngine.run(&late, &budget),
        ViewEngine::default().run(&late, &budget),
        ShuttleEngine::RANDOM.run(&model(Order::RealTime), &budget),
    ]
}

/// Every engine finds this in a scenario with the fault, and nothing without.
fn all_catch<const FAULT: u8>(text: &str, what: &str) {
    for outcome in outcomes::<FAULT>(text) {
        let failure = outcome.expect_failure(text);
        assert!(failure.message.contains(what), "{failure}");
    }
    all_pass(text);
}

fn all_pass(text: &str) {
    for outcome in outcomes::<{ Fault::NONE }>(text) {
        outcome.expect_pass(text);
    }
}

#[test]
fn a_take_that_loads_and_stores_gives_a_value_twice() {
    all_catch::<{ Fault::TAKE_STORES }>("put a : take a | take a", "taken twice");
}

#[test]
fn an_insert_that_loads_and_stores_succeeds_twice() {
    all_catch::<{ Fault::INSERT_STORES }>("insert a | insert a", "no order explains");
}

#[test]
fn a_replace_that_loads_and_stores_brings_a_removed_key_back() {
    all_catch::<{ Fault::REPLACE_STORES }>("put a : replace a | remove a", "no order explains");
}

#[test]
fn a_value_published_too_early_is_torn_and_only_weak_engines_see_it() {
    let text = "insert a | get a";
    let [loom, depth_first, view, shuttle] = outcomes::<{ Fault::PUBLISHES_RELAXED }>(text);
    for outcome in [loom, depth_first, view] {
        let failure = outcome.expect_failure(text);
        assert!(failure.message.contains("torn value"), "{failure}");
    }
    shuttle.expect_pass(text);
    all_pass(text);
}

#[test]
fn an_error_that_the_capabilities_exclude_is_a_failure() {
    all_catch::<{ Fault::BUSY }>("put a | get a", "failed though it cannot");
}

#[test]
fn a_claim_that_recovery_forgets_is_a_lost_block() {
    for access in [2, 3] {
        let text = format!("insert a | insert b ! 1@{access}");
        all_catch::<{ Fault::FORGETS_CLAIM }>(&text, "lost");
    }
}

#[test]
fn a_survivor_that_waits_for_the_dead_never_finishes() {
    let text = "put a | put a ! 1@3";
    for outcome in outcomes::<{ Fault::WAITS_FOR_DEAD }>(text) {
        let failure = outcome.expect_failure(text);
        assert_eq!(failure.kind, FailureKind::OverBudget, "{failure}");
    }
    all_pass(text);
}

#[test]
fn a_write_that_is_repeated_by_recovery_is_explained_by_nothing() {
    let text = "put a : take a | take a, recover, get a ! 1@5";
    let found = outcomes::<{ Fault::RECOVERY_RESURRECTS }>(text)
        .iter()
        .filter(|outcome| outcome.failure.is_some())
        .count();
    assert_eq!(found, 4);
    all_pass(text);
}

#[test]
fn a_stale_hit_after_synchronisation_is_seen_where_happens_before_is_kept() {
    let text = "put a, put b : replace a, replace b | get b, get a";
    let [loom, depth_first, view, shuttle] = outcomes::<{ Fault::READS_STALE }>(text);
    loom.expect_pass("loom does not say what happens before");
    for outcome in [depth_first, view, shuttle] {
        let failure = outcome.expect_failure(text);
        assert!(failure.message.contains("no order explains"), "{failure}");
    }
    all_pass(text);
}
