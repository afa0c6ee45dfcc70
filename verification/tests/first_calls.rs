//! A process's first call puts its line in order and may go another way for it: `cas_bucket` writes
//! nothing ahead of its look at the bucket, `chained` does all of it under the lock. The suite has
//! lines in order from the beginning; here are first calls, and longer programs with deaths.
#![allow(missing_docs)]

use shm_verification::scenario::generate::shaped;
use shm_verification::scenario::{
    CasBucketSubject, ChainedSubject, Order, RobinHoodSubject, Scenario, ScenarioModel, Subject,
    catalogue,
};
use shm_verification::{
    Budget, DepthFirstEngine, Engine, LoomEngine, Lost, ShuttleEngine, ViewEngine, sweep,
};

fn budget(executions: u64) -> Budget {
    Budget { accesses: 6_000, ..Budget::executions(executions) }
}

/// Explores each scenario with lines that nobody has put in order.
fn explore<S: Subject, E: Engine>(
    scenarios: &[Scenario],
    (engine, order): (&E, Order),
    budget: &Budget,
) {
    let executions = scenarios.iter().map(|scenario| {
        let outcome = engine.run(&ScenarioModel::<S>::new(scenario.clone(), order).into(), budget);
        outcome.expect_pass(&format!("{}: {scenario}", engine.name()));
        outcome.executions
    });
    let executions: u64 = executions.sum();
    println!("{}: {} scenarios, {executions} executions", engine.name(), scenarios.len());
}

fn first_calls<S: Subject>() {
    let late = Order::HappensBefore;
    let (one, two) = (shaped(&[1, 1], 1), shaped(&[1, 1], 2));
    explore::<S, _>(&one, (&LoomEngine, late), &budget(1_000).preemptions(2));
    explore::<S, _>(&one, (&DepthFirstEngine, late), &budget(1_000).preemptions(1));
    explore::<S, _>(&two, (&ViewEngine::default(), late), &budget(100));
    let triples = shaped(&[1, 1, 1], 1);
    explore::<S, _>(&triples, (&ShuttleEngine::PCT, Order::RealTime), &budget(50));
    let known: Vec<_> = catalogue::KNOWN.iter().map(|known| known.scenario()).collect();
    explore::<S, _>(&known, (&ViewEngine::default(), late), &budget(200));
}

#[test]
fn first_calls_of_cas_bucket_are_explained() {
    first_calls::<CasBucketSubject>();
}

#[test]
fn first_calls_of_chained_are_explained() {
    first_calls::<ChainedSubject>();
}

#[test]
fn first_calls_of_robin_hood_are_explained() {
    first_calls::<RobinHoodSubject>();
}

/// Kills each participant of each scenario before each of its accesses, with every loss of stores.
fn kill<S: Subject, E: Engine>(
    scenarios: &[Scenario],
    (engine, order): (&E, Order),
    executions: u64,
) {
    let (mut places, mut kills) = (0, 0);
    for scenario in scenarios {
        for victim in (1..).take(scenario.programs.len()) {
            let sweep = sweep(engine, &budget(executions), true, |kill| {
                let lost = if let Lost::Mask(mask) = kill.lost { mask } else { 0 };
                let killed = scenario.killed(victim, kill.after_accesses, lost);
                ScenarioModel::<S>::new(killed, order).in_order()
            });
            assert!(sweep.failure.is_none(), "{scenario}, {victim}: {sweep}");
            places += sweep.kill_points;
            kills += sweep.kills;
        }
    }
    println!("{}: {places} places, {kills} kills with their losses", engine.name());
    assert!(places > 20 * scenarios.len() as u64, "a sweep over {places} places is no sweep");
}

fn deaths<S: Subject>() {
    // The second removal of a line drains what it unlinks, since the line has a spare by then.
    let texts = [
        "put a, put b : remove a, take b | get b, insert a",
        "put a, put b : take b, put a, remove a | recover, insert b",
        "put a : insert a, replace a | take a, put a",
        "put a, put b : remove a, remove b, insert c | recover, insert d",
        "put a, put b : remove a, put b | insert a in 4",
    ];
    let longer = texts.map(|text| text.parse().expect("a scenario"));
    kill::<S, _>(&longer, (&ViewEngine::default(), Order::HappensBefore), 4);
    kill::<S, _>(&longer, (&ShuttleEngine::RANDOM, Order::RealTime), 4);
}

#[test]
fn deaths_of_lines_in_order_lose_nothing_of_cas_bucket() {
    deaths::<CasBucketSubject>();
}

#[test]
fn deaths_ahead_of_the_lock_of_chained_and_behind_it_lose_nothing() {
    deaths::<ChainedSubject>();
}

#[test]
fn deaths_of_lines_in_order_lose_nothing_of_robin_hood() {
    deaths::<RobinHoodSubject>();
}
