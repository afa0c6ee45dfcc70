//! Running checks: one, or many side by side.

use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use shm_table::Kind;

use super::pins::Pins;
use super::replay::ReplayPoint;
use super::report::{Report, Row};
use super::{Check, EngineKind, Total, Victim};
use crate::engine::{
    Budget, DepthFirstEngine, Engine, Failure, FailureKind, LoomEngine, Outcome, Replay,
    ShuttleEngine, ViewEngine,
};
use crate::memory::{Names, explain};
use crate::scenario::{
    CasBucketSubject, ChainedSubject, RobinHoodSubject, Scenario, ScenarioModel, Subject,
};

/// Accesses after which a swept participant has to have ended.
const SWEEP_ACCESSES_MAX: u64 = 2_000;

/// Points in a row without a kill after which a sweep ends whose enumerations were cut off.
const CUT_OFF_POINTS: u32 = 8;

/// Runs a check.
pub fn run(check: &Check) -> Row {
    let started = Instant::now();
    let mut total = Total::new();
    match check.victim {
        None => explore(check, &check.scenario, &mut total),
        Some(victim) => run_sweep(check, victim, &mut total),
    }
    Row::new(check, total, started.elapsed())
}

/// Kills before each access in turn, until the participant has ended before every one of some.
fn run_sweep(check: &Check, victim: Victim, total: &mut Total) {
    let mut without_kill = 0;
    for access in 0..=SWEEP_ACCESSES_MAX {
        let scenario = check.scenario.killed(victim.participant, access, victim.lost);
        let kills = total.kills;
        explore(check, &scenario, total);
        if total.failure.is_some() {
            return;
        }
        without_kill = if total.kills == kills { without_kill + 1 } else { 0 };
        // An enumeration that was cut off may just not have come to the kill.
        let cut_off = check.engine.enumerates() && !total.complete;
        if without_kill >= if cut_off { CUT_OFF_POINTS } else { 1 } {
            return;
        }
    }
    let message =
        format!("participant {} makes more than {SWEEP_ACCESSES_MAX} accesses", victim.participant);
    let scenario = check.scenario.killed(victim.participant, SWEEP_ACCESSES_MAX, victim.lost);
    total.failure = Some((scenario, unexplored(check, message)));
}

fn explore(check: &Check, scenario: &Scenario, total: &mut Total) {
    let outcome = dispatch(check.table, check.engine, scenario, &check.budget(), None);
    total.add(scenario, &outcome);
}

fn unexplored(check: &Check, message: String) -> Failure {
    let engine = check.engine.name().to_owned();
    let replay = Replay { engine, seed: check.bound.seed, execution: 1 };
    Failure { kind: FailureKind::OverBudget, message, replay }
}

/// Explores a scenario, or replays one of its executions.
pub(super) fn dispatch(
    table: Kind,
    engine: EngineKind,
    scenario: &Scenario,
    budget: &Budget,
    replay: Option<&Replay>,
) -> Outcome {
    match table {
        Kind::Chained => on_table::<ChainedSubject>(engine, scenario, budget, replay),
        Kind::CasBucket => on_table::<CasBucketSubject>(engine, scenario, budget, replay),
        Kind::RobinHood => on_table::<RobinHoodSubject>(engine, scenario, budget, replay),
        other => panic!("table {}: name its subject in the suite", other.name()),
    }
}

fn on_table<S: Subject>(
    engine: EngineKind,
    scenario: &Scenario,
    budget: &Budget,
    replay: Option<&Replay>,
) -> Outcome {
    let model = Arc::new(ScenarioModel::<S>::new(scenario.clone(), engine.order()));
    match engine {
        EngineKind::Loom => on_engine(&LoomEngine, &model, budget, replay),
        EngineKind::DepthFirst => on_engine(&DepthFirstEngine, &model, budget, replay),
        EngineKind::View => on_engine(&ViewEngine::default(), &model, budget, replay),
        EngineKind::Shuttle => on_engine(&ShuttleEngine::RANDOM, &model, budget, replay),
        EngineKind::ShuttlePct => on_engine(&ShuttleEngine::PCT, &model, budget, replay),
    }
}

fn on_engine<S: Subject>(
    engine: &impl Engine,
    model: &Arc<ScenarioModel<S>>,
    budget: &Budget,
    replay: Option<&Replay>,
) -> Outcome {
    match replay {
        None => engine.run(model, budget),
        Some(replay) => engine.replay(model, budget, replay),
    }
}

/// Runs checks on this many threads, compares them with the pins, and tells `observe` of each row
/// as soon as it is there.
///
/// A check that panics outside its model is a failed row: nothing is ever dropped.
pub fn run_all(
    checks: Vec<Check>,
    threads: usize,
    pins: &Pins,
    mut observe: impl FnMut(&Row),
) -> Report {
    let started = Instant::now();
    let expected = checks.len();
    let queue = Arc::new(Mutex::new(checks.into_iter()));
    let (sender, receiver) = mpsc::channel();
    let workers: Vec<_> = (0..threads.max(1))
        .map(|_| {
            let (queue, sender) = (Arc::clone(&queue), sender.clone());
            thread::spawn(move || {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(check) = next else { break };
                    let row = panic::catch_unwind(AssertUnwindSafe(|| run(&check)));
                    let row = row.unwrap_or_else(|_| Row::panicked(&check));
                    // Nobody listens only if the caller's thread is gone.
                    let _ = sender.send(row);
                }
            })
        })
        .collect();
    drop(sender);
    let mut rows = Vec::with_capacity(expected);
    for mut row in receiver {
        row.compare(pins);
        observe(&row);
        rows.push(row);
    }
    for worker in workers {
        // Panics were caught one by one.
        let _ = worker.join();
    }
    assert_eq!(rows.len(), expected, "every check gives a row");
    Report::new(rows, started.elapsed())
}

/// Repeats one execution; a failing one comes with its accesses as a table.
pub(super) fn repeat(point: &ReplayPoint) -> (Outcome, Option<String>) {
    let budget = super::budget(point.bound(), &point.scenario);
    let ReplayPoint { table, scenario, engine, .. } = point;
    let outcome = dispatch(*table, *engine, scenario, &budget, Some(&point.replay()));
    let story = outcome.failure.as_ref().map(|failure| match table {
        Kind::Chained => story::<ChainedSubject>(*engine, scenario, &budget, failure),
        Kind::RobinHood => story::<RobinHoodSubject>(*engine, scenario, &budget, failure),
        _ => story::<CasBucketSubject>(*engine, scenario, &budget, failure),
    });
    (outcome, story)
}

fn story<S: Subject>(
    engine: EngineKind,
    scenario: &Scenario,
    budget: &Budget,
    failure: &Failure,
) -> String {
    let model = &Arc::new(ScenarioModel::<S>::new(scenario.clone(), engine.order()));
    let names: Names = Arc::new(|at| format!("word {}", at.word()));
    match engine {
        EngineKind::Loom => explain(&LoomEngine, model, budget, failure, names),
        EngineKind::DepthFirst => explain(&DepthFirstEngine, model, budget, failure, names),
        EngineKind::View => explain(&ViewEngine::default(), model, budget, failure, names),
        EngineKind::Shuttle => explain(&ShuttleEngine::RANDOM, model, budget, failure, names),
        EngineKind::ShuttlePct => explain(&ShuttleEngine::PCT, model, budget, failure, names),
    }
}
