//! Participants as coroutines of one thread that move one access at a time.
//!
//! A participant gives up control before each shared access, with the access it is about to make on
//! record; who makes the next one is a [`Chooser`]'s decision, and so is which value a load takes.
//! The same choices give the same execution.

use std::any::Any;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use generator::{Generator, Gn};

use super::ledger::{Access, Defect, mix, over_budget};
use super::outcome::FailureKind;
use crate::memory::Machine;

/// Stack of a participant, in words. Only what is used takes memory.
const STACK_WORDS: usize = 1 << 16;

/// Participants of one execution, so that a word holds a set of them.
const TASKS_MAX: usize = 64;

/// Waits after which a participant reads newest values alone, until it next writes: any wait for a
/// value that is there must end, but not before stale values had their chance.
pub(crate) const STALE_WAITS: u32 = 3;

/// What a participant is about to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Run from its start, or on from a join: nothing that others could notice.
    Local,
    Load {
        word: usize,
    },
    Store {
        word: usize,
    },
    Rmw {
        word: usize,
    },
    Fence,
    SequentialFence,
}

/// Whether a participant can move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Status {
    Ready,
    /// Waits for the end of another.
    Joining(usize),
    Ended,
}

/// One participant, as a chooser sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task {
    pub(crate) status: Status,
    pub(crate) step: Step,
    /// It waits for somebody else's store, and none was made since.
    pub(crate) waiting: bool,
    /// It ended, and somebody knows.
    pub(crate) joined: bool,
    /// Waits since its last write.
    pub(crate) waits: u32,
}

/// Who is next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    /// The ready task with this index.
    Task(usize),
    /// Nobody: nothing new can come of this execution.
    Redundant,
    /// Nobody: the model did something else after the same choices.
    Divergent,
}

/// Makes the choices of an execution.
pub(crate) trait Chooser: Send {
    /// The execution with this number starts.
    fn start(&mut self, execution: u64);

    /// Moves on to the next execution; `false` if there is none left.
    fn advance(&mut self) -> bool;

    /// Who makes the next access. `tasks` has a ready one; `current` made the access before.
    fn task(&mut self, current: usize, tasks: &[Task]) -> Turn;

    /// A number below `options`, which is at least 2; 0 stands for the newest value.
    fn value(&mut self, options: usize) -> usize;
}

/// The choices and the state of one execution.
pub(crate) struct Run {
    pub(crate) machine: Machine,
    pub(crate) chooser: Box<dyn Chooser>,
    tasks: Vec<Task>,
    bodies: Vec<Option<Body>>,
    current: usize,
    end: End,
    accesses: u32,
    accesses_max: u32,
    fingerprint: u64,
}

/// What a participant runs.
pub(crate) type Body = Box<dyn FnOnce() + Send>;

/// Why an execution goes on or does not.
enum End {
    NotYet,
    /// The chooser saw that nothing new comes of it.
    Redundant,
    Failed(Box<dyn Any + Send>),
}

/// Unwinds a participant of an execution that is over.
struct Over;

/// The state of an execution, shared by the driver and the model's memory. Never locked across a
/// switch.
pub(crate) struct Shared(Arc<Mutex<Run>>);

impl Clone for Shared {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("lock-step execution")
    }
}

/// What one execution was.
pub(crate) struct Ran {
    pub(crate) accesses: u32,
    pub(crate) fingerprint: u64,
    /// It ended early because nothing new could come of it.
    pub(crate) redundant: bool,
}

impl Shared {
    pub(crate) fn new(chooser: Box<dyn Chooser>, accesses_max: u32) -> Self {
        Self(Arc::new(Mutex::new(Run {
            machine: Machine::default(),
            chooser,
            tasks: Vec::new(),
            bodies: Vec::new(),
            current: 0,
            end: End::NotYet,
            accesses: 0,
            accesses_max,
            fingerprint: 0,
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Run> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one execution of `body` to its end; a panic in it goes on to the caller.
    pub(crate) fn execute(&self, crew: &mut Crew, body: Body) -> Ran {
        let mut run = self.lock();
        run.reset();
        run.add(body);
        drop(run);
        while let Some(task) = self.next_task() {
            if let Some(body) = self.take_body(task) {
                let shared = self.clone();
                crew.start(task, move || shared.play(task, body));
            }
            crew.resume(task);
        }
        let mut run = self.lock();
        let ran = Ran {
            accesses: run.accesses,
            fingerprint: run.fingerprint,
            redundant: matches!(run.end, End::Redundant),
        };
        match std::mem::replace(&mut run.end, End::NotYet) {
            End::Failed(payload) => {
                drop(run);
                panic::resume_unwind(payload)
            }
            End::NotYet | End::Redundant => ran,
        }
    }

    /// Starts another participant; gives its index.
    pub(crate) fn spawn(&self, body: Body) -> usize {
        self.lock().add(body)
    }

    /// Waits for a participant's end and learns what it knew.
    pub(crate) fn join(&self, other: usize) {
        let mut run = self.lock();
        let me = run.current;
        if run.tasks[other].status != Status::Ended {
            run.tasks[me].status = Status::Joining(other);
            run.tasks[me].step = Step::Local;
            run = self.switch(run);
        }
        run.machine.join(me, other);
        run.tasks[other].joined = true;
    }

    /// Makes an access when its turn has come. `None`: the execution is over and the participant is
    /// unwinding.
    pub(crate) fn access<T>(
        &self,
        step: Step,
        act: impl FnOnce(&mut Run, usize) -> T,
    ) -> Option<T> {
        let mut run = self.lock();
        // A participant that unwinds may not give up control: others would seem to panic.
        if std::thread::panicking() {
            if !matches!(run.end, End::NotYet) {
                return None;
            }
            let me = run.current;
            return Some(act(&mut run, me));
        }
        let me = run.current;
        run.tasks[me].step = step;
        run = self.switch(run);
        run.count(step);
        if !matches!(run.end, End::NotYet) {
            drop(run);
            panic::resume_unwind(Box::new(Over));
        }
        Some(act(&mut run, me))
    }

    /// A turn of a wait: the others go first.
    pub(crate) fn wait(&self) {
        let mut run = self.lock();
        let me = run.current;
        run.tasks[me].waiting = true;
        run.tasks[me].waits += 1;
        run.count(Step::Local);
        if !matches!(run.end, End::NotYet) && !std::thread::panicking() {
            drop(run);
            panic::resume_unwind(Box::new(Over));
        }
    }

    pub(crate) fn current(&self) -> usize {
        self.lock().current
    }

    /// Lets whoever is chosen move until it is this participant's turn again.
    fn switch<'a>(&'a self, mut run: MutexGuard<'a, Run>) -> MutexGuard<'a, Run> {
        let me = run.current;
        run.choose();
        if run.current != me || run.tasks[me].status != Status::Ready {
            drop(run);
            give_way();
            run = self.lock();
        }
        if !matches!(run.end, End::NotYet) {
            drop(run);
            panic::resume_unwind(Box::new(Over));
        }
        run
    }

    /// The life of a participant.
    fn play(&self, task: usize, body: Body) {
        let result = panic::catch_unwind(AssertUnwindSafe(body));
        let mut run = self.lock();
        run.ended(task, result.err());
    }

    /// Who is to be resumed; `None` when all have ended.
    fn next_task(&self) -> Option<usize> {
        let mut run = self.lock();
        let ended = |task: &Task| task.status == Status::Ended;
        if run.tasks.iter().all(ended) {
            return None;
        }
        if !matches!(run.end, End::NotYet) {
            // The rest unwind one after the other.
            run.current = run.tasks.iter().position(|task| !ended(task)).unwrap_or(0);
        }
        Some(run.current)
    }

    /// The body of a task that has not started. One of an execution that is over does nothing.
    fn take_body(&self, task: usize) -> Option<Body> {
        let mut run = self.lock();
        let body = run.bodies[task].take()?;
        if matches!(run.end, End::NotYet) {
            return Some(body);
        }
        Some(Box::new(move || drop(body)))
    }
}

impl Run {
    fn reset(&mut self) {
        self.machine.reset();
        self.tasks.clear();
        self.bodies.clear();
        self.current = 0;
        self.end = End::NotYet;
        self.accesses = 0;
        self.fingerprint = 0;
    }

    pub(crate) fn current(&self) -> usize {
        self.current
    }

    fn add(&mut self, body: Body) -> usize {
        let index = self.tasks.len();
        if index == TASKS_MAX {
            let message = format!("more than {TASKS_MAX} participants, the model's own included");
            Defect::raise(FailureKind::TooManyParticipants, message);
        }
        if index > 0 {
            self.machine.spawn(self.current);
        }
        self.tasks.push(Task {
            status: Status::Ready,
            step: Step::Local,
            waiting: false,
            joined: false,
            waits: 0,
        });
        self.bodies.push(Some(body));
        index
    }

    /// Decides who is next.
    fn choose(&mut self) {
        if !matches!(self.end, End::NotYet) {
            return;
        }
        if !self.tasks.iter().any(|task| task.status == Status::Ready) {
            let waiting: Vec<_> = self.tasks.iter().enumerate().filter_map(describe_join).collect();
            if !waiting.is_empty() {
                let message = format!("nobody can move: {}", waiting.join(", "));
                self.fail(FailureKind::Deadlock, message);
            }
            return;
        }
        match self.chooser.task(self.current, &self.tasks) {
            Turn::Task(task) => self.current = task,
            Turn::Redundant => self.end = End::Redundant,
            Turn::Divergent => self.fail(FailureKind::Divergent, divergent()),
        }
    }

    fn ended(&mut self, task: usize, payload: Option<Box<dyn Any + Send>>) {
        self.tasks[task].status = Status::Ended;
        for other in &mut self.tasks {
            if other.status == Status::Joining(task) {
                other.status = Status::Ready;
            }
        }
        match payload {
            Some(payload) if !payload.is::<Over>() => {
                if matches!(self.end, End::NotYet) {
                    self.end = End::Failed(payload);
                }
            }
            _ => self.choose(),
        }
    }

    fn fail(&mut self, kind: FailureKind, message: String) {
        self.end = End::Failed(Box::new(Defect { kind, message }));
    }

    /// Counts a step against the budget.
    fn count(&mut self, step: Step) {
        self.accesses += 1;
        if self.accesses > self.accesses_max && matches!(self.end, End::NotYet) {
            self.fail(FailureKind::OverBudget, over_budget(self.accesses_max));
        }
        if step != Step::Local {
            self.tasks[self.current].waiting = false;
        }
    }

    /// A word changed: whoever waits for that may look again.
    pub(crate) fn changed(&mut self) {
        self.tasks[self.current].waits = 0;
        for task in &mut self.tasks {
            task.waiting = false;
        }
    }

    /// Which of the values in reach a load takes.
    pub(crate) fn age(&mut self, task: usize, reach: usize) -> usize {
        if reach < 2 || self.tasks[task].waits >= STALE_WAITS {
            return 0;
        }
        self.chooser.value(reach)
    }

    /// Mixes an access into the fingerprint of the execution.
    pub(crate) fn note(&mut self, access: Access, word: usize, value: u64) {
        let what = (access as u64) << 56 ^ (word as u64) << 40 ^ (self.current as u64) << 36;
        self.fingerprint = mix(self.fingerprint ^ what ^ value);
    }
}

/// What to say of a model that cannot be repeated.
pub(crate) fn divergent() -> String {
    "the same choices led to different accesses: a model may depend on nothing but its memory's \
     values"
        .to_owned()
}

fn describe_join((index, task): (usize, &Task)) -> Option<String> {
    match task.status {
        Status::Joining(other) => Some(format!("{index} waits for the end of {other}")),
        Status::Ready | Status::Ended => None,
    }
}

/// Gives control to whoever resumed this coroutine.
#[expect(deprecated, reason = "the scoped form would have to reach every access")]
fn give_way() {
    generator::yield_with(());
}

/// Coroutines, kept from one execution to the next.
#[derive(Default)]
pub(crate) struct Crew {
    members: Vec<Option<Generator<'static, (), ()>>>,
}

/// Crews between explorations: a sweep explores thousands of times, each with few executions.
static IDLE: Mutex<Vec<Crew>> = Mutex::new(Vec::new());

impl Crew {
    /// One that was dismissed, or a new one.
    pub(crate) fn hire() -> Self {
        IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Keeps the stacks of a crew whose execution is over for the next exploration.
    pub(crate) fn dismiss(self) {
        IDLE.lock().unwrap_or_else(PoisonError::into_inner).push(self);
    }

    fn start(&mut self, member: usize, body: impl FnOnce() + Send + 'static) {
        if self.members.len() <= member {
            self.members.resize_with(member + 1, || None);
        }
        match &mut self.members[member] {
            Some(idle) => idle.init_code(body),
            none => *none = Some(Gn::new_opt(STACK_WORDS, body)),
        }
    }

    fn resume(&mut self, member: usize) {
        if let Some(member) = &mut self.members[member] {
            member.resume();
        }
    }
}
