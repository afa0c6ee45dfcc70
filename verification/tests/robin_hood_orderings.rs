//! Which orderings of `robin_hood` the models need: each weakened alone, at its own call site.
//!
//! With `--nocapture` it prints a line for each, with the scenario that fails without it.
#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use shm_verification::scenario::{Order, RobinHoodSubject, ScenarioModel};
use shm_verification::{
    Budget, Engine, LoomEngine, Mutation, Outcome, ViewEngine, Weakened, Weakening,
};

/// Races in which the second of two keys moves, where there are two.
const SCENARIOS: [&str; 8] = [
    "insert a | get a",
    "put a : get a | remove a, insert a",
    "put a : get a, get a | replace a, replace a",
    "put a, put b : get b | remove a, insert a",
    "put a, put b : remove a, insert a | insert b, get a",
    "put a, put b : remove a, insert a | remove b, insert b",
    "put a, put b : get a, get b | remove a | remove b, insert b",
    "put a : replace a, take a | replace a, insert a",
];

fn model(text: &str) -> Arc<ScenarioModel<RobinHoodSubject>> {
    Arc::new(ScenarioModel::new(text.parse().expect("a scenario"), Order::HappensBefore))
}

fn weakened(text: &str, weakening: &Weakening) -> Arc<Weakened<ScenarioModel<RobinHoodSubject>>> {
    Arc::new(Weakened::new(&model(text), weakening))
}

/// Every mutation of every site of the design that any scenario comes by.
fn mutations() -> Vec<Mutation> {
    let mut sites = BTreeSet::new();
    for text in SCENARIOS {
        let weakening = Weakening::none();
        let outcome =
            ViewEngine::default().run(&weakened(text, &weakening), &Budget::executions(400));
        outcome.expect_pass(text);
        sites.extend(weakening.sites("src/robin_hood/"));
    }
    sites.iter().flat_map(|site| site.mutations()).collect()
}

/// The engine and the scenario that fail under a mutation, if any does.
fn killer(mutation: &Mutation) -> Option<(&'static str, &'static str)> {
    let failed = |outcome: &Outcome| outcome.failure.is_some();
    let loom = Budget { time: Duration::from_secs(20), ..Budget::executions(1_000).preemptions(2) };
    SCENARIOS.into_iter().find_map(|text| {
        let weakening = Weakening::of(*mutation);
        let model = weakened(text, &weakening);
        if failed(&LoomEngine.run(&model, &loom)) {
            return Some(("loom", text));
        }
        let view = ViewEngine::default().run(&model, &Budget::executions(500));
        failed(&view).then_some(("view", text))
    })
}

/// What no scenario here needs: it takes an update that moves entries while two others help, one of
/// them late. W1 and the loads of H2 are argued in the module's table; that a failed write acquires
/// covers the same.
const UNNEEDED: usize = 4;

#[test]
fn every_ordering_but_those_for_late_helpers_is_needed_by_a_scenario() {
    let mutations = mutations();
    let mut survivors = Vec::new();
    for mutation in &mutations {
        let killer = killer(mutation);
        println!("{mutation}: {killer:?}");
        if killer.is_none() {
            survivors.push(mutation.to_string());
        }
    }
    assert!(mutations.len() >= 13, "{mutations:#?}");
    assert_eq!(survivors.len(), UNNEEDED, "{survivors:#?}");
}
