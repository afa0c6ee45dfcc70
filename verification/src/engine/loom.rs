//! loom: enumerates interleavings and stale reads, with partial-order reduction.
//!
//! Its limits as measured: five threads with the model's own, seven stores of history a word, a few
//! executions missed (its issue 166) and a few impossible ones shown (389, 180); the litmus suite
//! has them on record. Its time-out returns as if all were explored, so executions are counted here
//! and an exploration that reached a limit is never called complete.

use std::sync::Arc;
use std::time::Instant;

use loom::model::Builder;

use super::ledger::Ledger;
use super::outcome::{Budget, Coverage, Outcome, Replay};
use super::participant::Participant;
use super::supervise::{confirmed, supervise};
use super::{Engine, Execution, Model};
use crate::memory::LoomMemory;

/// Threads that loom has, the model's own included.
const THREADS_MAX: usize = 5;

/// Executions between two looks at loom's limits, by which an exploration may overshoot.
const CHECKPOINT_INTERVAL: u64 = 500;

loom::thread_local! {
    static PARTICIPANT: std::cell::Cell<u32> = std::cell::Cell::new(0);
}

/// Explores with loom; see the module for its limits.
#[derive(Clone, Copy, Default, Debug)]
pub struct LoomEngine;

/// One execution under loom.
#[derive(Clone, Debug)]
pub struct LoomExecution {
    ledger: Ledger,
}

impl Engine for LoomEngine {
    fn name(&self) -> String {
        "loom".to_owned()
    }

    fn run<P: Model>(&self, model: &Arc<P>, budget: &Budget) -> Outcome {
        let body = Arc::clone(model);
        let outcome =
            supervise(&self.name(), budget, move |budget, ledger| explore(&body, budget, ledger));
        confirmed(self, model, budget, outcome)
    }

    /// loom enumerates in a fixed order, so the execution with this number is the same again.
    fn replay<P: Model>(&self, model: &Arc<P>, budget: &Budget, replay: &Replay) -> Outcome {
        let body = Arc::clone(model);
        let budget = Budget { executions: replay.execution.max(1), ..budget.clone() };
        supervise(&self.name(), &budget, move |budget, ledger| explore(&body, budget, ledger))
    }
}

fn explore<P: Model>(model: &Arc<P>, budget: &Budget, ledger: &Ledger) -> Coverage {
    let started = Instant::now();
    let mut builder = Builder::new();
    builder.max_threads = THREADS_MAX;
    // A spawn, a join and a yield are branches too, so an execution is cut by its accesses first.
    builder.max_branches = 4 * budget.accesses as usize + 100;
    builder.preemption_bound = budget.preemptions.map(|bound| bound as usize);
    builder.max_permutations = usize::try_from(budget.executions.saturating_add(1)).ok();
    builder.max_duration = Some(budget.time);
    builder.checkpoint_file = None;
    let interval = CHECKPOINT_INTERVAL.min(budget.executions.saturating_add(1));
    builder.checkpoint_interval = usize::try_from(interval).unwrap_or(usize::MAX);
    builder.location = false;
    builder.log = false;
    let (inner, body) = (ledger.clone(), Arc::clone(model));
    builder.check(move || {
        let execution = LoomExecution { ledger: inner.clone() };
        inner.start();
        body.run(&execution);
    });
    let executions = ledger.counts().executions;
    if executions >= budget.executions {
        let why = format!("limit of {} executions", budget.executions);
        Coverage::Bounded { why }
    } else if started.elapsed() >= budget.time {
        Coverage::Bounded { why: format!("time limit of {:?}", budget.time) }
    } else {
        Coverage::Complete { preemptions: budget.preemptions }
    }
}

impl Execution for LoomExecution {
    type Memory = LoomMemory;

    fn memory(&self, words: u64) -> LoomMemory {
        LoomMemory::new(words, &self.ledger)
    }

    fn spawn<T, F>(&self, body: F) -> Participant<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        Participant::start(&self.ledger, body, |index, body| {
            let thread = loom::thread::spawn(move || {
                PARTICIPANT.with(|participant| participant.set(index));
                body();
            });
            Box::new(move || drop(thread.join()))
        })
    }

    fn current(&self) -> u32 {
        PARTICIPANT.with(std::cell::Cell::get)
    }

    fn mark_kill(&self, unreleased_stores: u32) {
        self.ledger.mark_kill(unreleased_stores);
    }
}
