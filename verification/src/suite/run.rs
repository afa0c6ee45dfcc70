//! Running checks: one, or many side by side.

use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use shm_table::Kind;

use super::pins::Pins;
use super::replay::ReplayPoint;
use super::report::{Report, Row};
use super::{Check, EngineKind, Losses, Total, Victim};
use crate::engine::{
    Budget, DepthFirstEngine, Engine, Failure, FailureKind, LoomEngine, Model, Outcome, Replay,
    ShuttleEngine, ViewEngine,
};
use crate::memory::{Names, Weakening, explain};
use crate::scenario::{
    CasBucketSubject, ChainedSubject, RobinHoodSubject, Scenario, ScenarioModel, Subject,
};
use crate::subsets;

/// Accesses after which a swept participant has to have ended.
const SWEEP_ACCESSES_MAX: u64 = 2_000;

/// Points in a row without a kill after which a sweep ends whose enumerations were cut off.
const CUT_OFF_POINTS: u32 = 8;

/// Runs a check.
pub fn run(check: &Check) -> Row {
    let started = Instant::now();
    let mut total = Total::new();
    match check.victim {
        None => {
            explore(check, &check.scenario, &mut total);
        }
        Some(victim) => run_sweep(check, victim, &mut total),
    }
    Row::new(check, total, started.elapsed())
}

/// Stores of which every subset is lost.
const LOST_ENUMERATED_MAX: u32 = 4;

/// Subsets that are drawn of more stores, beside all of them at once.
const LOST_RANDOM: u64 = 7;

/// Kills before each access in turn, until the participant has ended before every one of some.
fn run_sweep(check: &Check, victim: Victim, total: &mut Total) {
    let mut without_kill = 0;
    for access in 0..=SWEEP_ACCESSES_MAX {
        let kill = |lost| check.scenario.killed(victim.participant, access, lost);
        let first = if let Losses::Mask(mask) = victim.losses { mask } else { 0 };
        let (kills, stores) = (total.kills, explore(check, &kill(first), total));
        if total.failure.is_none() && victim.losses == Losses::Subsets {
            for mask in lost_subsets(stores, check.bound.seed ^ access) {
                explore(check, &kill(mask), total);
            }
        }
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
    let scenario = check.scenario.killed(victim.participant, SWEEP_ACCESSES_MAX, 0);
    total.failure = Some((scenario, unexplored(check, message)));
}

fn lost_subsets(stores: u32, seed: u64) -> Vec<u64> {
    let mut masks = subsets(stores, LOST_ENUMERATED_MAX, LOST_RANDOM, seed);
    if stores > LOST_ENUMERATED_MAX {
        masks.push(u64::MAX);
    }
    masks
}

/// Explores one scenario; gives the most stores that a kill in it could lose.
fn explore(check: &Check, scenario: &Scenario, total: &mut Total) -> u32 {
    let budget = &check.budget();
    let Check { table, engine, .. } = *check;
    let exploration =
        Exploration { table, engine, scenario, budget, weakening: None, replay: None };
    let outcome = exploration.run();
    total.add(scenario, &outcome);
    outcome.unreleased_stores_max
}

fn unexplored(check: &Check, message: String) -> Failure {
    let engine = check.engine.name().to_owned();
    let replay = Replay { engine, seed: check.bound.seed, execution: 1 };
    Failure { kind: FailureKind::OverBudget, message, replay }
}

/// One exploration of one scenario, or one of its executions again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exploration<'a> {
    pub(crate) table: Kind,
    pub(crate) engine: EngineKind,
    pub(crate) scenario: &'a Scenario,
    pub(crate) budget: &'a Budget,
    /// An ordering that is weaker than the source says.
    pub(crate) weakening: Option<&'a Weakening>,
    pub(crate) replay: Option<&'a Replay>,
}

impl Exploration<'_> {
    /// Runs it.
    pub(crate) fn run(&self) -> Outcome {
        match self.table {
            Kind::Chained => self.on_table::<ChainedSubject>(),
            Kind::CasBucket => self.on_table::<CasBucketSubject>(),
            Kind::RobinHood => self.on_table::<RobinHoodSubject>(),
            other => panic!("table {}: name its subject in the suite", other.name()),
        }
    }

    fn on_table<S: Subject>(&self) -> Outcome {
        let model = ScenarioModel::<S>::new(self.scenario.clone(), self.engine.order());
        // Weakened accesses are looked for in what puts lines in order as well.
        let model = Arc::new(match self.weakening {
            Some(weakening) => model.weakened(weakening),
            None => model.in_order(),
        });
        match self.engine {
            EngineKind::Loom => self.on_engine(&LoomEngine, &model),
            EngineKind::DepthFirst => self.on_engine(&DepthFirstEngine, &model),
            EngineKind::View => self.on_engine(&ViewEngine::default(), &model),
            EngineKind::Shuttle => self.on_engine(&ShuttleEngine::RANDOM, &model),
            EngineKind::ShuttlePct => self.on_engine(&ShuttleEngine::PCT, &model),
        }
    }

    fn on_engine(&self, engine: &impl Engine, model: &Arc<impl Model>) -> Outcome {
        match self.replay {
            None => engine.run(model, self.budget),
            Some(replay) => engine.replay(model, self.budget, replay),
        }
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
    observe: impl FnMut(&Row),
) -> Report {
    run_within(checks, threads, pins, None, observe)
}

/// The same, but no check is started once this time is over: the report says how many were not.
pub fn run_within(
    checks: Vec<Check>,
    threads: usize,
    pins: &Pins,
    time: Option<Duration>,
    mut observe: impl FnMut(&Row),
) -> Report {
    let started = Instant::now();
    let is_over = move || time.is_some_and(|time| started.elapsed() >= time);
    let planned = checks.len();
    let queue = Arc::new(Mutex::new(checks.into_iter()));
    let (sender, receiver) = mpsc::channel();
    let workers: Vec<_> = (0..threads.max(1))
        .map(|_| {
            let (queue, sender) = (Arc::clone(&queue), sender.clone());
            thread::spawn(move || {
                loop {
                    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
                    let next = if is_over() { None } else { queue.next() };
                    drop(queue);
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
    let mut rows = Vec::with_capacity(planned);
    for mut row in receiver {
        row.compare(pins);
        observe(&row);
        rows.push(row);
    }
    for worker in workers {
        // Panics were caught one by one.
        let _ = worker.join();
    }
    let left = queue.lock().unwrap_or_else(PoisonError::into_inner).len();
    assert_eq!(rows.len() + left, planned, "every check that was started gives a row");
    Report::new(rows, left, started.elapsed())
}

/// Repeats one execution; a failing one comes with its accesses as a table.
pub(super) fn repeat(point: &ReplayPoint) -> (Outcome, Option<String>) {
    let budget = super::budget(point.bound(), &point.scenario);
    let ReplayPoint { table, scenario, engine, .. } = point;
    let replay = &point.replay();
    let exploration = Exploration {
        table: *table,
        engine: *engine,
        scenario,
        budget: &budget,
        weakening: None,
        replay: Some(replay),
    };
    let outcome = exploration.run();
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
    let model = &Arc::new(ScenarioModel::<S>::new(scenario.clone(), engine.order()).in_order());
    let names: Names = Arc::new(|at| format!("word {}", at.word()));
    match engine {
        EngineKind::Loom => explain(&LoomEngine, model, budget, failure, names),
        EngineKind::DepthFirst => explain(&DepthFirstEngine, model, budget, failure, names),
        EngineKind::View => explain(&ViewEngine::default(), model, budget, failure, names),
        EngineKind::Shuttle => explain(&ShuttleEngine::RANDOM, model, budget, failure, names),
        EngineKind::ShuttlePct => explain(&ShuttleEngine::PCT, model, budget, failure, names),
    }
}
