//! shuttle: random schedules of sequentially consistent executions.
//!
//! Blind to every ordering: a load gives the newest store and a fence does nothing. Finds races of
//! logic, with kills, growth, many participants and long runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shuttle::scheduler::{PctScheduler, Schedule, Scheduler, Task, TaskId};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

use super::ledger::{Ledger, mix};
use super::outcome::{Budget, Coverage, Outcome, Replay};
use super::participant::Participant;
use super::supervise::{confirmed, supervise};
use super::{Engine, Execution, Model};
use crate::memory::ShuttleMemory;

/// Stack of a participant, in bytes.
const STACK_BYTES: usize = 256 << 10;

/// How shuttle chooses who runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shuttle {
    /// Any runnable participant with the same chance at each access.
    Random,
    /// Probabilistic concurrency testing: priorities, changed at this many points less one.
    Pct {
        /// Number of ordering constraints that a defect may need; at least 1.
        depth: u32,
    },
}

/// Explores with shuttle; see the module for its limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShuttleEngine {
    /// Who runs next.
    pub choice: Shuttle,
}

/// One execution under shuttle.
#[derive(Clone, Debug)]
pub struct ShuttleExecution {
    ledger: Ledger,
}

impl ShuttleEngine {
    /// Random schedules.
    pub const RANDOM: Self = Self { choice: Shuttle::Random };

    /// Probabilistic concurrency testing with depth 3.
    pub const PCT: Self = Self { choice: Shuttle::Pct { depth: 3 } };

    fn explore<P: Model>(
        self,
        model: &Arc<P>,
        budget: &Budget,
        from: u64,
        ledger: &Ledger,
    ) -> Coverage {
        let started = Instant::now();
        let scheduler: Box<dyn Scheduler + Send> = match self.choice {
            Shuttle::Random => Box::new(Seeded { seed: budget.seed, next: from, state: 0 }),
            Shuttle::Pct { depth } => Box::new(PctScheduler::new_from_seed(
                budget.seed,
                depth.max(1) as usize,
                usize::MAX,
            )),
        };
        let scheduler = Limited {
            inner: scheduler,
            left: budget.executions,
            chosen: false,
            started: false,
            until: (started, budget.time),
        };
        let (inner, body) = (ledger.clone(), Arc::clone(model));
        Runner::new(scheduler, configuration(budget)).run(move || {
            let execution = ShuttleExecution { ledger: inner.clone() };
            inner.start();
            body.run(&execution);
        });
        let why = if ledger.counts().executions >= budget.executions {
            format!("{} random executions", budget.executions)
        } else if started.elapsed() < budget.time {
            "one execution, in which no two participants could run at once".to_owned()
        } else {
            format!("time limit of {:?}", budget.time)
        };
        Coverage::Bounded { why }
    }
}

impl Engine for ShuttleEngine {
    fn name(&self) -> String {
        match self.choice {
            Shuttle::Random => "shuttle-random".to_owned(),
            Shuttle::Pct { depth } => format!("shuttle-pct{depth}"),
        }
    }

    fn run<P: Model>(&self, model: &Arc<P>, budget: &Budget) -> Outcome {
        let (engine, body) = (*self, Arc::clone(model));
        let outcome = supervise(&self.name(), budget, move |budget, ledger| {
            engine.explore(&body, budget, 1, ledger)
        });
        confirmed(self, model, budget, outcome)
    }

    fn replay<P: Model>(&self, model: &Arc<P>, budget: &Budget, replay: &Replay) -> Outcome {
        let execution = replay.execution.max(1);
        // A random execution has a seed of its own; the priorities of the other kind depend on the
        // executions before.
        let (from, executions) = match self.choice {
            Shuttle::Random => (execution, 1),
            Shuttle::Pct { .. } => (1, execution),
        };
        let budget = Budget { executions, seed: replay.seed, ..budget.clone() };
        let (engine, body) = (*self, Arc::clone(model));
        supervise(&self.name(), &budget, move |budget, ledger| {
            engine.explore(&body, budget, from, ledger)
        })
    }
}

fn configuration(budget: &Budget) -> Config {
    let mut configuration = Config::new();
    configuration.stack_size = STACK_BYTES;
    configuration.failure_persistence = FailurePersistence::None;
    // Spawns and joins are steps too, so an execution is cut by its accesses first.
    configuration.max_steps = MaxSteps::FailAfter(4 * budget.accesses as usize + 100);
    configuration.silence_warnings = true;
    configuration
}

/// One execution of nothing, so that shuttle has its panic hook installed.
pub(super) fn run_nothing() {
    let inner = Box::new(Seeded { seed: 1, next: 1, state: 0 });
    let until = (Instant::now(), Duration::MAX);
    let scheduler = Limited { inner, left: 1, chosen: false, started: false, until };
    Runner::new(scheduler, configuration(&Budget::default())).run(|| {});
}

impl Execution for ShuttleExecution {
    type Memory = ShuttleMemory;

    fn memory(&self, words: u64) -> ShuttleMemory {
        ShuttleMemory::new(words, &self.ledger)
    }

    fn spawn<T, F>(&self, body: F) -> Participant<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        Participant::start(&self.ledger, body, |_, body| {
            let thread = shuttle::thread::spawn(body);
            Box::new(move || drop(thread.join()))
        })
    }

    /// shuttle numbers its tasks in the order in which they are started, as participants are.
    fn current(&self) -> u32 {
        u32::try_from(usize::from(shuttle::current::me())).unwrap_or(u32::MAX)
    }

    fn mark_kill(&self, unreleased_stores: u32) {
        self.ledger.mark_kill(unreleased_stores);
    }
}

/// Any runnable participant with the same chance, with a seed of its own for each execution, so
/// that one can be had again without those before it.
#[derive(Debug)]
struct Seeded {
    seed: u64,
    next: u64,
    state: u64,
}

impl Scheduler for Seeded {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.state = mix(self.seed ^ mix(self.next));
        self.next += 1;
        Some(Schedule::new(self.state))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        _current: Option<TaskId>,
        _is_yielding: bool,
    ) -> Option<TaskId> {
        let choice = self.next_u64() % runnable.len() as u64;
        runnable.get(usize::try_from(choice).ok()?).map(|task| task.id())
    }

    fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(1);
        mix(self.state)
    }
}

/// Ends the exploration when the budget is spent.
struct Limited {
    inner: Box<dyn Scheduler + Send>,
    left: u64,
    /// Whether any execution so far had a choice: the scheduler with priorities panics without.
    chosen: bool,
    started: bool,
    until: (Instant, Duration),
}

impl Scheduler for Limited {
    fn new_execution(&mut self) -> Option<Schedule> {
        let idle = self.started && !self.chosen;
        if self.left == 0 || idle || self.until.0.elapsed() >= self.until.1 {
            return None;
        }
        self.started = true;
        self.left -= 1;
        self.inner.new_execution()
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        self.chosen |= runnable.len() > 1;
        self.inner.next_task(runnable, current, is_yielding)
    }

    fn next_u64(&mut self) -> u64 {
        self.inner.next_u64()
    }
}
