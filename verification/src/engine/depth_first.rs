//! The weak-memory machine, enumerated: every choice of who runs and of which value a load takes.
//!
//! # Reduction
//!
//! Two ideas keep executions apart that no participant could tell apart:
//!
//! - *Private words.* A switch matters only before an access to a word that several participants
//!   use and that somebody writes. Which words those are is learned while exploring: when an
//!   execution shows a word to be shared that was taken for private, the exploration starts again.
//!   Private accesses, fences but the sequentially consistent ones, starts and joins are made at
//!   once, in the order of the participants.
//! - *Sleep sets* (Godefroid). What was explored first at a choice stays asleep in the later
//!   branches until somebody makes an access that depends on it. Two accesses depend on each other
//!   if they touch one word and one of them may write, or are both sequentially consistent fences.
//!   A store does not wake up for a load: the load, made after the store, could still take the old
//!   value. With a bound on preemptions this second idea is off, because it may trade an execution
//!   within the bound for an equal one beyond it.
//!
//! # Limits
//!
//! A participant that called `spin` is not run again before another one writes, unless nobody else
//! can run; after a few such waits in a row it reads newest values alone. Executions that differ
//! from the explored ones only in useless turns of a wait are not shown.

use std::sync::Arc;

use super::lockstep::{Chooser, STALE_WAITS, Status, Step, Task, Turn};
use super::outcome::{Budget, Coverage, Outcome, Replay};
use super::supervise::{confirmed, supervise};
use super::view::{Stop, drive};
use super::{Engine, Model};

/// Explores the weak-memory machine depth first, up to a bound on preemptions if there is one.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct DepthFirstEngine;

impl Engine for DepthFirstEngine {
    fn name(&self) -> String {
        "depth-first".to_owned()
    }

    fn run<P: Model>(&self, model: &Arc<P>, budget: &Budget) -> Outcome {
        let outcome = explore(&self.name(), model, budget);
        confirmed(self, model, budget, outcome)
    }

    /// The order of the enumeration is fixed, so the execution with this number is the same again.
    fn replay<P: Model>(&self, model: &Arc<P>, budget: &Budget, replay: &Replay) -> Outcome {
        let budget = Budget { executions: replay.execution.max(1), ..budget.clone() };
        explore(&self.name(), model, &budget)
    }
}

fn explore<P: Model>(name: &str, model: &Arc<P>, budget: &Budget) -> Outcome {
    let model = Arc::clone(model);
    supervise(name, budget, move |budget, ledger| {
        let chooser = Box::new(Tree::new(budget.preemptions));
        match drive(&model, budget, ledger, chooser, 1) {
            Stop::Exhausted => Coverage::Complete { preemptions: budget.preemptions },
            Stop::Executions => {
                Coverage::Bounded { why: format!("limit of {} executions", budget.executions) }
            }
            Stop::Time => Coverage::Bounded { why: format!("time limit of {:?}", budget.time) },
        }
    })
}

/// The tree of all executions, as the path to the current one.
#[derive(Debug)]
struct Tree {
    preemptions: Option<u32>,
    path: Vec<Choice>,
    /// Place in the path during an execution.
    depth: usize,
    /// Tasks whose next step was explored before.
    asleep: u64,
    preempted: u32,
    /// Who made the last access to a shared word.
    last: usize,
    /// Who used each word in any execution so far.
    words: Vec<Usage>,
    learned: bool,
    diverged: bool,
}

/// One choice that was made.
#[derive(Debug)]
enum Choice {
    Task {
        /// The alternatives not yet explored to the end, the current one last.
        left: Vec<usize>,
        /// Tasks whose next step need not be explored from here.
        asleep: u64,
        /// Who could move.
        eligible: u64,
    },
    Value {
        now: usize,
        options: usize,
    },
}

/// What is known of a word.
#[derive(Clone, Copy, Default, Debug)]
struct Usage {
    users: u64,
    written: bool,
    /// Used by several and written: a switch before an access to it matters. Set between
    /// executions only.
    shared: bool,
}

impl Tree {
    fn new(preemptions: Option<u32>) -> Self {
        Self {
            preemptions,
            path: Vec::new(),
            depth: 0,
            asleep: 0,
            preempted: 0,
            last: 0,
            words: Vec::new(),
            learned: false,
            diverged: false,
        }
    }

    /// Remembers who uses which word. Once all others have been joined, an access comes after all
    /// of theirs.
    fn learn(&mut self, current: usize, tasks: &[Task]) {
        let after_all = (0..).zip(tasks).all(|(index, task)| index == current || task.joined);
        let (word, writes) = match tasks[current].step {
            Step::Load { word } => (word, false),
            Step::Store { word } | Step::Rmw { word } => (word, true),
            Step::Local | Step::Fence | Step::SequentialFence => return,
        };
        if after_all || tasks[current].status != Status::Ready {
            return;
        }
        if self.words.len() <= word {
            self.words.resize(word + 1, Usage::default());
        }
        let usage = &mut self.words[word];
        usage.users |= 1 << current;
        usage.written |= writes;
        self.learned |= usage.is_shared() && !usage.shared;
    }

    /// Whether no other participant can notice when this step is made.
    fn is_private(&self, step: Step) -> bool {
        match step {
            Step::Local | Step::Fence => true,
            Step::SequentialFence => false,
            Step::Load { word } | Step::Store { word } | Step::Rmw { word } => {
                !self.words.get(word).is_some_and(|usage| usage.shared)
            }
        }
    }

    /// Whether the bound leaves this task alone to move.
    fn is_bound_to(&self, last: u64) -> bool {
        last != 0 && self.preemptions.is_some_and(|bound| self.preempted >= bound)
    }

    /// The alternatives of a new choice, the first to explore last.
    fn alternatives(&self, eligible: u64, tasks: &[Task]) -> Vec<usize> {
        let last = eligible & 1 << self.last;
        let candidates = if self.is_bound_to(last) { last } else { eligible } & !self.asleep;
        let mut left: Vec<_> = members(candidates).collect();
        let sleeps = self.preemptions.is_none();
        left.sort_by_key(|&task| {
            let loads = sleeps && matches!(tasks[task].step, Step::Load { .. });
            (!loads, task == self.last)
        });
        left
    }

    fn enter(&mut self, chosen: usize, asleep: u64, eligible: u64, tasks: &[Task]) -> Turn {
        if eligible & 1 << self.last != 0 && chosen != self.last {
            self.preempted += 1;
        }
        self.last = chosen;
        self.asleep = 0;
        if self.preemptions.is_none() {
            for sleeper in members(asleep & !(1 << chosen)) {
                if !wakes(&tasks[sleeper], &tasks[chosen]) {
                    self.asleep |= 1 << sleeper;
                }
            }
        }
        Turn::Task(chosen)
    }
}

impl Chooser for Tree {
    fn start(&mut self, _execution: u64) {
        self.depth = 0;
        self.asleep = 0;
        self.preempted = 0;
        self.last = 0;
    }

    fn advance(&mut self) -> bool {
        if self.learned {
            self.learned = false;
            self.path.clear();
            for usage in &mut self.words {
                usage.shared = usage.is_shared();
            }
            return true;
        }
        self.path.truncate(self.depth);
        while let Some(choice) = self.path.last_mut() {
            match choice {
                Choice::Task { left, asleep, .. } => {
                    *asleep |= left.pop().map_or(0, |explored| 1 << explored);
                    if !left.is_empty() {
                        return true;
                    }
                }
                Choice::Value { now, options } => {
                    *now += 1;
                    if now < options {
                        return true;
                    }
                }
            }
            self.path.pop();
        }
        false
    }

    fn task(&mut self, current: usize, tasks: &[Task]) -> Turn {
        if self.diverged {
            return Turn::Divergent;
        }
        self.learn(current, tasks);
        let eligible = eligible(tasks);
        let mut private = members(eligible).filter(|&task| self.is_private(tasks[task].step));
        if let Some(task) = private.next() {
            return Turn::Task(task);
        }
        if eligible.count_ones() == 1 {
            let only = eligible.trailing_zeros() as usize;
            if self.asleep & eligible != 0 {
                return Turn::Redundant;
            }
            return self.enter(only, self.asleep, eligible, tasks);
        }
        if self.depth == self.path.len() {
            let left = self.alternatives(eligible, tasks);
            self.path.push(Choice::Task { left, asleep: self.asleep, eligible });
        }
        let Choice::Task { left, asleep, eligible: before } = &self.path[self.depth] else {
            return Turn::Divergent;
        };
        if *before != eligible {
            return Turn::Divergent;
        }
        let Some(&chosen) = left.last() else {
            return Turn::Redundant;
        };
        let asleep = *asleep;
        self.depth += 1;
        self.enter(chosen, asleep, eligible, tasks)
    }

    fn value(&mut self, options: usize) -> usize {
        if self.depth == self.path.len() {
            self.path.push(Choice::Value { now: 0, options });
        }
        let Choice::Value { now, options: before } = self.path[self.depth] else {
            self.diverged = true;
            return 0;
        };
        self.diverged |= before != options;
        self.depth += 1;
        if self.diverged { 0 } else { now }
    }
}

impl Usage {
    const fn is_shared(self) -> bool {
        self.written && self.users.count_ones() > 1
    }
}

/// Whether a sleeping task's step may have another effect after this one.
fn wakes(sleeper: &Task, chosen: &Task) -> bool {
    match (sleeper.step, chosen.step) {
        (Step::SequentialFence, Step::SequentialFence) => true,
        // The load could have taken the same value after the store.
        (Step::Store { word }, Step::Load { word: other }) => {
            word == other && chosen.waits >= STALE_WAITS
        }
        (Step::Load { .. }, Step::Load { .. }) => false,
        (
            Step::Load { word } | Step::Store { word } | Step::Rmw { word },
            Step::Load { word: other } | Step::Store { word: other } | Step::Rmw { word: other },
        ) => word == other,
        _ => false,
    }
}

/// Who can move: those that wait for a store come last.
fn eligible(tasks: &[Task]) -> u64 {
    let set = |waits: bool| {
        (0..).zip(tasks).fold(0, |set, (index, task)| {
            let ready = task.status == Status::Ready && (waits || !task.waiting);
            set | u64::from(ready) << index
        })
    };
    match set(false) {
        0 => set(true),
        eager => eager,
    }
}

/// The elements of a set of tasks.
fn members(set: u64) -> impl Iterator<Item = usize> {
    (0..64).filter(move |index| set >> index & 1 == 1)
}
