//! The weak-memory machine with random choices: who runs, and which value a load takes.
//!
//! At shuttle's scale with loom's eyes: no bound on participants or stores, stale reads, stale
//! failed compare-exchanges, release sequences, fences. Each execution has a seed of its own, so
//! that a failing one is had again without those before it. Blind to load buffering; see
//! [`ViewMemory`] for the machine.

use std::sync::Arc;
use std::time::Instant;

use super::ledger::{Ledger, mix};
use super::lockstep::{Chooser, Crew, Shared, Status, Task, Turn};
use super::outcome::{Budget, Coverage, Outcome, Replay};
use super::participant::Participant;
use super::supervise::{confirmed, supervise};
use super::{Engine, Execution, Model};
use crate::memory::ViewMemory;

/// How the random machine chooses who runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheduling {
    /// Any ready participant with the same chance at each access.
    Uniform,
    /// Random priorities, changed at this many random accesses: long stretches without a switch.
    Priorities {
        /// Changes in an execution.
        changes: u32,
    },
}

/// Explores the weak-memory machine at random.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ViewEngine {
    /// Who runs next.
    pub scheduling: Scheduling,
    /// Loads in a hundred that take any value in reach with the same chance; the others take the
    /// newest.
    pub stale_percent: u32,
}

impl Default for ViewEngine {
    /// Uniform scheduling, 40 % of the loads choose.
    fn default() -> Self {
        Self { scheduling: Scheduling::Uniform, stale_percent: 40 }
    }
}

/// One execution of the weak-memory machine.
#[derive(Clone, Debug)]
pub struct ViewExecution {
    shared: Shared,
    ledger: Ledger,
}

impl Engine for ViewEngine {
    fn name(&self) -> String {
        match self.scheduling {
            Scheduling::Uniform => "view".to_owned(),
            Scheduling::Priorities { changes } => format!("view-priorities{changes}"),
        }
    }

    fn run<P: Model>(&self, model: &Arc<P>, budget: &Budget) -> Outcome {
        let outcome = self.from(model, budget, 1);
        confirmed(self, model, budget, outcome)
    }

    fn replay<P: Model>(&self, model: &Arc<P>, budget: &Budget, replay: &Replay) -> Outcome {
        let budget = Budget { executions: 1, seed: replay.seed, ..budget.clone() };
        self.from(model, &budget, replay.execution.max(1))
    }
}

impl ViewEngine {
    fn from<P: Model>(&self, model: &Arc<P>, budget: &Budget, first: u64) -> Outcome {
        let (engine, model) = (*self, Arc::clone(model));
        supervise(&self.name(), budget, move |budget, ledger| {
            let chooser = Box::new(Random::new(engine, budget.seed));
            let why = match drive(&model, budget, ledger, chooser, first) {
                Stop::Time => format!("time limit of {:?}", budget.time),
                Stop::Executions | Stop::Exhausted => {
                    format!("{} random executions", budget.executions)
                }
            };
            Coverage::Bounded { why }
        })
    }
}

/// What ended an exploration.
pub(super) enum Stop {
    /// The chooser has no more.
    Exhausted,
    Executions,
    Time,
}

/// Runs executions until the chooser has no more or the budget is spent.
pub(super) fn drive<P: Model>(
    model: &Arc<P>,
    budget: &Budget,
    ledger: &Ledger,
    chooser: Box<dyn Chooser>,
    first: u64,
) -> Stop {
    let started = Instant::now();
    let shared = Shared::new(chooser, budget.accesses);
    let mut crew = Crew::hire();
    let mut execution = first;
    let stop = loop {
        if ledger.executions() >= budget.executions {
            break Stop::Executions;
        }
        if started.elapsed() >= budget.time {
            break Stop::Time;
        }
        ledger.start();
        shared.lock().chooser.start(execution);
        let context = ViewExecution { shared: shared.clone(), ledger: ledger.clone() };
        let body = Arc::clone(model);
        let ran = shared.execute(&mut crew, Box::new(move || body.run(&context)));
        ledger.ran(ran.accesses, ran.fingerprint);
        if ran.redundant {
            ledger.discard();
        }
        execution += 1;
        if !shared.lock().chooser.advance() {
            break Stop::Exhausted;
        }
    };
    crew.dismiss();
    stop
}

impl Execution for ViewExecution {
    type Memory = ViewMemory;

    fn memory(&self, words: u64) -> ViewMemory {
        ViewMemory::new(words, &self.shared, &self.ledger)
    }

    fn spawn<T, F>(&self, body: F) -> Participant<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        Participant::start(&self.ledger, body, |_, body| {
            let shared = self.shared.clone();
            let task = shared.spawn(body);
            Box::new(move || shared.join(task))
        })
    }

    fn current(&self) -> u32 {
        u32::try_from(self.shared.current()).unwrap_or(u32::MAX)
    }

    fn mark_kill(&self, unreleased_stores: u32) {
        self.ledger.mark_kill(unreleased_stores);
    }

    fn mark(&self) -> Option<Vec<u32>> {
        let mut run = self.shared.lock();
        let me = run.current();
        Some(run.machine.mark(me))
    }
}

/// Random choices, seeded for each execution.
struct Random {
    engine: ViewEngine,
    seed: u64,
    state: u64,
    /// Rank of each participant; the lowest ready one runs.
    ranks: Vec<u64>,
    steps: u64,
    /// Steps at which the running participant becomes the last in rank.
    changes: Vec<u64>,
}

/// Accesses among which changes of priority are spread.
const CHANGE_SPAN: u64 = 200;

impl Random {
    fn new(engine: ViewEngine, seed: u64) -> Self {
        Self { engine, seed, state: 0, ranks: Vec::new(), steps: 0, changes: Vec::new() }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(1);
        mix(self.state)
    }

    /// A number below `options`.
    fn below(&mut self, options: usize) -> usize {
        let product = u128::from(self.next()) * options as u128;
        usize::try_from(product >> 64).unwrap_or(0)
    }
}

impl Chooser for Random {
    fn start(&mut self, execution: u64) {
        self.state = mix(self.seed ^ mix(execution));
        self.ranks.clear();
        self.steps = 0;
        self.changes.clear();
        if let Scheduling::Priorities { changes } = self.engine.scheduling {
            // Spans of several lengths, so that short executions have changes too.
            let span = CHANGE_SPAN >> (self.next() % 5);
            for _ in 0..changes {
                let change = self.next() % span;
                self.changes.push(change);
            }
        }
    }

    fn advance(&mut self) -> bool {
        true
    }

    fn task(&mut self, current: usize, tasks: &[Task]) -> Turn {
        let ready = |task: &Task| task.status == Status::Ready;
        let eager = tasks.iter().filter(|task| ready(task) && !task.waiting).count();
        let eligible = |task: &Task| ready(task) && (eager == 0 || !task.waiting);
        let mut indices = (0..tasks.len()).filter(|&index| eligible(&tasks[index]));
        if self.engine.scheduling == Scheduling::Uniform {
            let count = indices.clone().count();
            let choice = if count < 2 { 0 } else { self.below(count) };
            return indices.nth(choice).map_or(Turn::Redundant, Turn::Task);
        }
        while self.ranks.len() < tasks.len() {
            let rank = self.next() >> 1;
            self.ranks.push(rank);
        }
        self.steps += 1;
        if self.changes.contains(&self.steps) {
            self.ranks[current] = u64::MAX / 2 + self.steps;
        }
        indices.min_by_key(|&index| self.ranks[index]).map_or(Turn::Redundant, Turn::Task)
    }

    fn value(&mut self, options: usize) -> usize {
        if self.next() % 100 < u64::from(self.engine.stale_percent) {
            self.below(options)
        } else {
            0
        }
    }
}
