//! `robin_hood` while it grows, under the engines: beside every verb, with several who grow it,
//! with late helpers, with deaths, and the faults that these models must catch.
#![allow(missing_docs)]

mod deaths;
mod orderings;
mod races;
mod stage;

use std::sync::Arc;

use shm_verification::{
    Budget, DepthFirstEngine, Engine, LoomEngine, Model, Outcome, ShuttleEngine, ViewEngine,
};

fn passes<P: Model>(model: P, preemptions: u32) {
    let model = Arc::new(model);
    let budget = Budget::executions(1_500).preemptions(preemptions);
    for (name, outcome) in [
        ("loom", LoomEngine.run(&model, &budget)),
        ("depth-first", DepthFirstEngine.run(&model, &budget)),
        ("view", ViewEngine::default().run(&model, &Budget::executions(500))),
        ("shuttle", ShuttleEngine::RANDOM.run(&model, &Budget::executions(500))),
        ("pct", ShuttleEngine::PCT.run(&model, &Budget::executions(500))),
    ] {
        println!("{} on {name}: {outcome}", model.name());
        outcome.expect_pass(name);
    }
}

/// The engines that find the fault within the bounds, for the reason that makes it a fault.
fn catchers<P: Model>(model: P, reasons: &[&str]) -> Vec<&'static str> {
    let model = Arc::new(model);
    let budget = Budget::executions(50_000).preemptions(2);
    let outcomes: [(&str, Outcome); 3] = [
        ("loom", LoomEngine.run(&model, &budget)),
        ("depth-first", DepthFirstEngine.run(&model, &budget)),
        ("pct", ShuttleEngine::PCT.run(&model, &Budget::executions(5_000))),
    ];
    for (name, outcome) in &outcomes {
        println!("{} on {name}: {outcome}", model.name());
    }
    let caught = |outcome: &Outcome| {
        let message = outcome.failure.as_ref().map(|failure| &failure.message);
        message.is_some_and(|text| reasons.iter().any(|reason| text.contains(reason)))
    };
    outcomes.iter().filter(|(_, outcome)| caught(outcome)).map(|(name, _)| *name).collect()
}
