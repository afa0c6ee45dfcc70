//! A memory that records every access, and the failing execution as a table for a person to read.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shm_arena::{Backoff, Fence, Load, Memory, Offset, Rmw, Store};

use crate::engine::{Budget, Engine, Execution, Failure, Model, Participant};

/// Names the words of a model's first memory. Accesses to a word whose name is empty are left out:
/// a model that packs several things into one word remarks on them instead ([`Execution::note`]).
pub type Names = Arc<dyn Fn(Offset) -> String + Send + Sync>;

/// Repeats a failing execution and gives its accesses as a table: a row an access in the order of
/// execution, a column a participant, words by name. A load that did not give the newest value says
/// which one that was.
pub fn explain<E: Engine, P: Model>(
    engine: &E,
    model: &Arc<P>,
    budget: &Budget,
    failure: &Failure,
    names: Names,
) -> String {
    let log = Log::new(names);
    let traced = Arc::new(Traced { model: Arc::clone(model), log: log.clone() });
    let outcome = engine.replay(&traced, budget, &failure.replay);
    let ending = match outcome.failure {
        Some(again) => again.to_string(),
        None => format!("no failure on replay; the first time: {failure}"),
    };
    format!("{} on {}\n{}{ending}\n", model.name(), engine.name(), log.table())
}

/// A model that runs over recorded memory.
#[derive(Debug)]
struct Traced<P> {
    model: Arc<P>,
    log: Log,
}

/// An execution whose memory is recorded.
#[derive(Clone, Debug)]
pub struct TraceExecution<X> {
    execution: X,
    log: Log,
}

/// A memory that records every access.
#[derive(Clone)]
pub struct TraceMemory<M> {
    memory: M,
    /// Which of the execution's memories this is.
    index: usize,
    who: Arc<dyn Fn() -> u32 + Send + Sync>,
    log: Log,
}

/// The accesses of one execution.
#[derive(Clone)]
struct Log {
    record: Arc<Mutex<Record>>,
    names: Names,
}

#[derive(Default)]
struct Record {
    memories: usize,
    rows: Vec<(u32, String)>,
    /// Last value stored to each word.
    newest: BTreeMap<(usize, u64), u64>,
}

impl Log {
    fn new(names: Names) -> Self {
        Self { record: Arc::default(), names }
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self, index: usize, at: Offset) -> String {
        match index {
            0 => (self.names)(at),
            _ => format!("memory{index}[{}]", at.word()),
        }
    }

    fn table(&self) -> String {
        let record = self.lock();
        let columns = record.rows.iter().map(|(who, _)| who + 1).max().unwrap_or(0) as usize;
        let mut widths = vec!["participant 0".len(); columns];
        for (who, text) in &record.rows {
            let width = &mut widths[*who as usize];
            *width = (*width).max(text.chars().count());
        }
        let mut head = format!("{:>5}", "");
        for (who, width) in widths.iter().enumerate() {
            let _ = write!(head, "  {:<width$}", format!("participant {who}"));
        }
        let mut table = format!("{}\n", head.trim_end());
        for (row, (who, text)) in record.rows.iter().enumerate() {
            let mut line = format!("{row:>5}");
            for (column, width) in widths.iter().enumerate() {
                let cell = if column == *who as usize { text } else { "" };
                let _ = write!(line, "  {cell:<width$}");
            }
            let _ = writeln!(table, "{}", line.trim_end());
        }
        table
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Log of {} accesses", self.lock().rows.len())
    }
}

impl<P: Model> Model for Traced<P> {
    fn run<X: Execution>(&self, execution: &X) {
        *self.log.lock() = Record::default();
        self.model.run(&TraceExecution { execution: execution.clone(), log: self.log.clone() });
    }

    fn name(&self) -> String {
        self.model.name()
    }
}

impl<X: Execution> Execution for TraceExecution<X> {
    type Memory = TraceMemory<X::Memory>;

    fn memory(&self, words: u64) -> Self::Memory {
        let memory = self.execution.memory(words);
        let mut record = self.log.lock();
        let index = record.memories;
        record.memories += 1;
        drop(record);
        let execution = self.execution.clone();
        let who = Arc::new(move || execution.current());
        TraceMemory { memory, index, who, log: self.log.clone() }
    }

    fn spawn<T, F>(&self, body: F) -> Participant<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.execution.spawn(body)
    }

    fn current(&self) -> u32 {
        self.execution.current()
    }

    fn mark_kill(&self, unreleased_stores: u32) {
        self.log.lock().rows.push((self.current(), "KILLED".to_owned()));
        self.execution.mark_kill(unreleased_stores);
    }

    fn note(&self, remark: impl FnOnce() -> String) {
        self.log.lock().rows.push((self.current(), remark()));
    }

    fn mark(&self) -> Option<Vec<u32>> {
        self.execution.mark()
    }
}

impl<M: Memory> TraceMemory<M> {
    fn row(&self, text: String) {
        let who = (self.who)();
        self.log.lock().rows.push((who, text));
    }

    /// A row about an access to a word, unless the word has no name.
    fn tell(&self, at: Offset, text: impl FnOnce(&str) -> String) {
        let name = self.log.name(self.index, at);
        if !name.is_empty() {
            self.row(text(&name));
        }
    }

    /// Says which value is the newest, if it is not this one.
    fn age(&self, at: Offset, value: u64) -> String {
        let newest = self.log.lock().newest.get(&(self.index, at.word())).copied().unwrap_or(0);
        if newest == value { String::new() } else { format!(" (newest {newest:#x})") }
    }

    fn wrote(&self, at: Offset, value: u64) {
        self.log.lock().newest.insert((self.index, at.word()), value);
    }

    fn modified(&self, verb: &str, at: Offset, values: [u64; 3], order: Rmw) {
        let [found, operand, new] = values;
        self.wrote(at, new);
        self.tell(at, |name| {
            format!("{name} {verb} {operand:#x}: {found:#x} -> {new:#x} {order:?}")
        });
    }
}

impl<M: fmt::Debug> fmt::Debug for TraceMemory<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TraceMemory").field("memory", &self.memory).finish_non_exhaustive()
    }
}

impl<M: Memory> Memory for TraceMemory<M> {
    fn word_count(&self) -> u64 {
        self.memory.word_count()
    }

    fn is_writable(&self) -> bool {
        self.memory.is_writable()
    }

    #[track_caller]
    fn load(&self, at: Offset, order: Load) -> u64 {
        let value = self.memory.load(at, order);
        let age = self.age(at, value);
        self.tell(at, |name| format!("{name} reads {value:#x}{age} {order:?}"));
        value
    }

    #[track_caller]
    fn store(&self, at: Offset, value: u64, order: Store) {
        self.memory.store(at, value, order);
        self.wrote(at, value);
        self.tell(at, |name| format!("{name} := {value:#x} {order:?}"));
    }

    #[track_caller]
    fn compare_exchange(
        &self,
        at: Offset,
        current: u64,
        new: u64,
        success: Rmw,
        failure: Load,
    ) -> Result<u64, u64> {
        let result = self.memory.compare_exchange(at, current, new, success, failure);
        match result {
            Ok(_) => {
                self.wrote(at, new);
                self.tell(at, |name| format!("{name}: {current:#x} -> {new:#x} {success:?}"));
            }
            Err(found) => {
                let age = self.age(at, found);
                self.tell(at, |name| {
                    format!("{name}: {current:#x} -/-> {new:#x}: reads {found:#x}{age}")
                });
            }
        }
        result
    }

    #[track_caller]
    fn fetch_add(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        let found = self.memory.fetch_add(at, value, order);
        self.modified("+=", at, [found, value, found.wrapping_add(value)], order);
        found
    }

    #[track_caller]
    fn fetch_and(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        let found = self.memory.fetch_and(at, value, order);
        self.modified("&=", at, [found, value, found & value], order);
        found
    }

    #[track_caller]
    fn fetch_or(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        let found = self.memory.fetch_or(at, value, order);
        self.modified("|=", at, [found, value, found | value], order);
        found
    }

    #[track_caller]
    fn fence(&self, order: Fence) {
        self.memory.fence(order);
        self.row(format!("fence {order:?}"));
    }

    #[track_caller]
    fn spin(&self, backoff: &Backoff) {
        self.row("spins".to_owned());
        self.memory.spin(backoff);
    }
}
