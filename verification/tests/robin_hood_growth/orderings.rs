//! Which orderings of a growth the models need: each weakened alone, at its own call site.

use std::collections::BTreeSet;
use std::sync::Arc;

use shm_verification::{
    Budget, Engine, LoomEngine, Model, Mutation, Site, ViewEngine, Weakened, Weakening,
};

use crate::races::{TwoHelpers, TwoMovers};

/// Sites of the growth that a model makes.
fn sites<P: Model>(model: P) -> Vec<Site> {
    let weakening = Weakening::none();
    let weakened = Arc::new(Weakened::new(&Arc::new(model), &weakening));
    ViewEngine::default().run(&weakened, &Budget::executions(200)).expect_pass("as it is");
    let grow = weakening.sites("robin_hood/grow.rs");
    grow.into_iter().chain(weakening.sites("robin_hood/size.rs")).collect()
}

/// The model that fails on loom under a mutation, if it is this one.
fn killer<P: Model>(model: P, mutation: &Mutation, executions: u64) -> Option<String> {
    let name = model.name();
    let weakened = Arc::new(Weakened::new(&Arc::new(model), &Weakening::of(*mutation)));
    let outcome = LoomEngine.run(&weakened, &Budget::executions(executions).preemptions(2));
    outcome.failure.is_some().then_some(name)
}

#[test]
fn every_ordering_of_a_growth_is_needed_by_a_model() {
    let all: BTreeSet<_> = sites(TwoHelpers).iter().flat_map(Site::mutations).collect();
    let mut survivors = Vec::new();
    for mutation in &all {
        let killer =
            killer(TwoMovers, mutation, 3_000).or_else(|| killer(TwoHelpers, mutation, 40_000));
        println!("{mutation}: {killer:?}");
        if killer.is_none() {
            survivors.push(mutation.to_string());
        }
    }
    assert!(all.len() >= 5, "{all:#?}");
    assert!(survivors.is_empty(), "{survivors:#?}");
}
