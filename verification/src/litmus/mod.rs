//! Classic small shapes of concurrent programs, and what each engine shows of them.
//!
//! Every shape asks for one outcome. C11 allows or forbids it, and each engine shows it or never
//! does. Where an engine differs from C11 it is wrong in one direction or the other, and the table
//! is where that is on record: it checks the checkers, and a new version of one that behaves
//! differently is seen.

mod shapes;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use shm_arena::{Fence, Load, Memory, Offset, Rmw, Store};

use crate::engine::{
    Budget, DepthFirstEngine, Engine, Execution, FailureKind, LoomEngine, Model, Outcome,
    ShuttleEngine, ViewEngine,
};

pub use shapes::shapes;

/// One access or fence of a shape. Loads and read-modify-writes append what they read to the
/// registers of their thread.
#[derive(Clone, Copy, Debug)]
pub enum Instruction {
    /// Reads a word.
    Load(u64, Load),
    /// Writes a value to a word.
    Store(u64, u64, Store),
    /// Adds to a word.
    Add(u64, u64, Rmw),
    /// Replaces a value by another, if it is there.
    Exchange(u64, [u64; 2], Rmw, Load),
    /// A fence.
    Order(Fence),
}

/// What a shape's execution read: registers by thread, and the words in the end.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Registers {
    /// What each thread read, in order.
    pub threads: Vec<Vec<u64>>,
    /// The words after all threads have ended.
    pub words: Vec<u64>,
}

/// Whether an engine produces the outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Some execution has the outcome.
    Shown,
    /// No explored execution has it.
    Never,
}

/// A shape, the outcome asked for, and who shows it.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Name, as the literature has it, and the orders used.
    pub name: &'static str,
    /// The threads; the last one is the model's own.
    pub threads: &'static [&'static [Instruction]],
    /// The outcome, in words.
    pub asked: &'static str,
    /// The outcome, as a predicate.
    pub is_asked: fn(&Registers) -> bool,
    /// Whether C11 allows it.
    pub allowed: bool,
    /// What loom, shuttle, the random machine and the enumerated one do, in the order of
    /// [`ENGINES`].
    pub verdicts: [Verdict; 4],
}

/// The engines of the table, in the order of its columns.
pub const ENGINES: [&str; 4] = ["loom", "shuttle", "view", "depth-first"];

/// Words that a shape may use.
const WORDS: u64 = 3;

/// What a shape's model panics with when the outcome is there.
const ASKED: &str = "the asked outcome";

/// Executions of the engines that choose at random.
const RANDOM_EXECUTIONS: u64 = 4_000;

impl Shape {
    /// Runs the shape on one engine of the table. An engine that enumerates has to finish, and a
    /// defect other than the outcome is an error.
    pub fn verdict(&self, engine: usize) -> Result<(Verdict, Outcome), String> {
        let model = Arc::new(ShapeModel(*self));
        let complete = Budget::default();
        let random = Budget::executions(RANDOM_EXECUTIONS);
        let outcome = match engine {
            0 => LoomEngine.run(&model, &complete),
            1 => ShuttleEngine::RANDOM.run(&model, &random),
            2 => ViewEngine::default().run(&model, &random),
            _ => DepthFirstEngine.run(&model, &complete),
        };
        let verdict = match &outcome.failure {
            Some(failure)
                if failure.kind == FailureKind::Panic && failure.message.contains(ASKED) =>
            {
                Verdict::Shown
            }
            Some(failure) => return Err(format!("{}: {failure}", self.name)),
            None => Verdict::Never,
        };
        let enumerates = matches!(engine, 0 | 3);
        if enumerates && verdict == Verdict::Never && !outcome.is_complete() {
            return Err(format!("{}: not explored to the end: {outcome}", self.name));
        }
        Ok((verdict, outcome))
    }
}

/// Every outcome of a shape that an engine shows, and in how many executions. Panics if the engine
/// reports a defect.
pub fn outcomes<E: Engine>(
    shape: &Shape,
    engine: &E,
    budget: &Budget,
) -> (BTreeSet<Registers>, u64) {
    let collector = Arc::new(Collector { shape: *shape, seen: Mutex::default() });
    let outcome = engine.run(&collector, budget);
    outcome.expect_pass(shape.name);
    let seen = collector.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    (seen, outcome.executions)
}

#[derive(Debug)]
struct Collector {
    shape: Shape,
    seen: Mutex<BTreeSet<Registers>>,
}

impl Model for Collector {
    fn run<X: Execution>(&self, execution: &X) {
        let registers = self.shape.execute(execution);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(registers);
    }
}

#[derive(Debug)]
struct ShapeModel(Shape);

impl Model for ShapeModel {
    fn run<X: Execution>(&self, execution: &X) {
        let registers = self.0.execute(execution);
        assert!(!(self.0.is_asked)(&registers), "{ASKED}");
    }

    fn name(&self) -> String {
        self.0.name.to_owned()
    }
}

impl Shape {
    fn execute<X: Execution>(&self, execution: &X) -> Registers {
        let memory = execution.memory(WORDS);
        let (own, others) = self.threads.split_last().expect("a shape has threads");
        let started: Vec<_> = others
            .iter()
            .map(|&program| {
                let memory = memory.clone();
                execution.spawn(move || interpret(&memory, program))
            })
            .collect();
        let own = interpret(&memory, own);
        let mut threads: Vec<_> = started.into_iter().map(|thread| thread.join()).collect();
        threads.push(own);
        let words = (0..WORDS).map(|word| memory.load(Offset::new(word), Load::Relaxed)).collect();
        Registers { threads, words }
    }
}

fn interpret<M: Memory>(memory: &M, program: &[Instruction]) -> Vec<u64> {
    let mut registers = Vec::new();
    for instruction in program {
        match *instruction {
            Instruction::Load(word, order) => {
                registers.push(memory.load(Offset::new(word), order));
            }
            Instruction::Store(word, value, order) => {
                memory.store(Offset::new(word), value, order);
            }
            Instruction::Add(word, value, order) => {
                registers.push(memory.fetch_add(Offset::new(word), value, order));
            }
            Instruction::Exchange(word, [current, new], success, failure) => {
                let at = Offset::new(word);
                let found = memory.compare_exchange(at, current, new, success, failure);
                registers.push(found.unwrap_or_else(|found| found));
            }
            Instruction::Order(order) => memory.fence(order),
        }
    }
    registers
}

/// The table of all shapes, as it is on record.
#[derive(Clone, Copy, Debug)]
pub struct Table;

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:<44} {:<26} {:<9}", "shape", "outcome", "C11")?;
        for engine in ENGINES {
            write!(formatter, " {engine:<13}")?;
        }
        writeln!(formatter)?;
        for shape in shapes() {
            let allowed = if shape.allowed { "allowed" } else { "forbidden" };
            write!(formatter, "{:<44} {:<26} {allowed:<9}", shape.name, shape.asked)?;
            for verdict in shape.verdicts {
                write!(formatter, " {:<13}", describe(verdict, shape.allowed))?;
            }
            writeln!(formatter)?;
        }
        Ok(())
    }
}

/// A verdict beside what C11 says.
const fn describe(verdict: Verdict, allowed: bool) -> &'static str {
    match (verdict, allowed) {
        (Verdict::Shown, true) => "shown",
        (Verdict::Never, false) => "never",
        (Verdict::Shown, false) => "IMPOSSIBLE",
        (Verdict::Never, true) => "missed",
    }
}
