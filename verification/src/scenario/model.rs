//! A scenario as a model: runs it on a table in an engine's world and asks every oracle.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shm_arena::{Backoff, Environment, Memory, SegmentError};
use shm_table::{
    Design, Entry, Error, Exchange, Insert, Put, Remove, RemoveIf, Replace, Table, Version,
};

use super::{Scenario, Step, Subject};
use crate::engine::{Execution, Model};
use crate::faulty_resizing::{FaultyResizing, ResizingFault};
use crate::history::{Log, Record, check_happens_before, check_real_time, check_values};
use crate::memory::{CrashMemory, Kill, Lost, WeakenMemory, Weakening};
use crate::spec::{Answer, Operation, Value, Verb};
use crate::world::{Ended, Place, World};

/// Bytes of every value in a scenario: the number, then its complement, so that a torn copy shows.
pub(super) const VALUE_BYTES: usize = 16;

/// Which order constrains the history of an execution.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Instants: for engines in which a store is visible at once.
    RealTime,
    /// What each participant does one after the other, what precedes their start and follows their
    /// end, and what an engine that keeps account of it knows to happen before: for engines in
    /// which stores become visible late.
    HappensBefore,
}

/// A scenario on a table, as a model for any engine.
///
/// Each participant is a process with a handle of its own. When all have ended, the model recovers
/// what a killed one left, reads every key, and fails the execution unless
///
/// - every value read is one that was stored, whole, with its metadata word, and taken once;
/// - some order of the operations explains all answers, a killed one having happened or not;
/// - no verb failed that its capabilities and the table's size do not allow to fail;
/// - the audit is clean: nothing lost, nothing owned twice; and unless somebody was killed, as many
///   entries were counted as there are.
///
/// That survivors finish is seen to by the engine's bound on the accesses of an execution.
pub struct ScenarioModel<S> {
    scenario: Scenario,
    order: Order,
    weakening: Option<Weakening>,
    fault: Option<ResizingFault>,
    is_in_order: bool,
    subject: PhantomData<S>,
}

/// The shared words as tables see them: some fault, some ordering weakened, then perhaps killed.
type Words<X> = FaultyResizing<WeakenMemory<CrashMemory<<X as Execution>::Memory>>>;

impl<S: Subject> ScenarioModel<S> {
    /// The model of a scenario whose history is constrained by this order.
    pub fn new(scenario: Scenario, order: Order) -> Self {
        let subject = PhantomData;
        Self { scenario, order, weakening: None, fault: None, is_in_order: false, subject }
    }

    /// The same over weakened memory, in which a kill may lose what a weakened release covered.
    #[must_use]
    pub fn weakened(self, weakening: &Weakening) -> Self {
        Self { weakening: Some(weakening.clone()), ..self }
    }

    /// The same on a `cas_bucket` whose participants change its size wrongly.
    #[must_use]
    pub fn faulty(self, fault: ResizingFault) -> Self {
        Self { fault: Some(fault), ..self }
    }

    /// The same with lines that are in order before anybody begins, of who begins inside.
    /// A process's first call that needs a line puts that in order, and may go another way for it.
    #[must_use]
    pub fn in_order(self) -> Self {
        Self { is_in_order: true, ..self }
    }

    /// The scenario.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    fn check(&self, journal: &Journal) {
        let records = journal.log.records();
        let marks = journal.marks();
        let result = check_values(&records).and_then(|()| match self.order {
            Order::RealTime => check_real_time(&records),
            Order::HappensBefore => check_happens_before(&records, |earlier, later| {
                marks[earlier].precedes(&marks[later], records[earlier].participant)
            }),
        });
        if let Err(violation) = result {
            panic!("{violation}\n{}", Transcript(&records));
        }
    }
}

/// When in an execution an operation is called: the phases are separated by starts and joins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Phase {
    Setup,
    Together,
    End,
}

/// Where an operation stands among those that happen before others.
#[derive(Clone, Debug)]
struct Marks {
    phase: Phase,
    /// Marks of each participant that happen before the call, if the engine knows.
    before_call: Option<Vec<u32>>,
    /// Marks that its participant had made when it returned, that one included.
    at_return: Option<u32>,
}

impl Marks {
    /// Whether this operation, of this participant, happens before the other one.
    fn precedes(&self, later: &Self, participant: u32) -> bool {
        let seen = || {
            let before = later.before_call.as_ref()?;
            Some(*before.get(participant as usize)? >= self.at_return?)
        };
        self.phase < later.phase || seen() == Some(true)
    }
}

/// The history of an execution, with what the engine knows of happens-before.
#[derive(Debug, Default)]
struct Journal {
    log: Log,
    marks: Mutex<Vec<Marks>>,
}

impl Journal {
    /// The list is whole whenever the lock is free, whoever panicked.
    fn lock(&self) -> MutexGuard<'_, Vec<Marks>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn marks(&self) -> Vec<Marks> {
        self.lock().clone()
    }
}

impl<S: Subject> Model for ScenarioModel<S> {
    fn run<X: Execution>(&self, execution: &X) {
        let options = S::options(&self.scenario);
        let words = S::Table::<Words<X>>::word_count(&options)
            .unwrap_or_else(|error| panic!("no table for {options:?}: {error}"));
        let world = World::new(execution, words);
        let home = self.seat(&world.place(0));
        let table = S::Table::create(home.memory.clone(), &options, &home.environment)
            .unwrap_or_else(|error| panic!("the table cannot be created: {error}"));
        let journal = Arc::new(Journal::default());
        let caller = |participant, phase, numbered| Caller {
            execution: execution.clone(),
            journal: Arc::clone(&journal),
            participant,
            phase,
            numbered,
            is_scarce: self.scenario.blocks.is_some(),
        };
        let mut setup = caller(0, Phase::Setup, 0);
        self.scenario.setup.iter().for_each(|step| setup.step(&table, *step));
        let mut numbered = self.scenario.setup.len();
        let (mut participants, mut waiting) = (Vec::new(), Vec::new());
        for (index, program) in (1..).zip(&self.scenario.programs) {
            let place = match self.scenario.kill {
                Some(kill) if kill.participant == index => {
                    let lost = if kill.lost == 0 { Lost::Nothing } else { Lost::Mask(kill.lost) };
                    world.mortal_place(index, Kill { after_accesses: kill.after_accesses, lost })
                }
                _ => world.place(index),
            };
            let mut seat = self.seat(&place);
            if program.first() != Some(&Step::Join) {
                seat.sit_down();
                if self.is_in_order {
                    seat.put_in_order();
                }
            }
            let caller = caller(index, Phase::Together, numbered);
            let program = program.clone();
            numbered += program.len();
            let run = move || seat.run(caller, &program);
            // A process keeps its handle until its end, which the model's join stands for.
            if self.is_in_order {
                waiting.push((index, place, run));
            } else {
                participants.push((index, world.spawn(&place, run)));
            }
        }
        for (index, place, run) in waiting {
            participants.push((index, world.spawn(&place, run)));
        }
        let mut seats = Vec::new();
        for (index, participant) in participants {
            match participant.join() {
                Ended::Finished(seat) => seats.push(seat),
                Ended::Killed => journal.log.died(index),
            }
        }
        self.finish(&table, caller(0, Phase::End, numbered));
        self.check(&journal);
        drop(seats);
    }

    fn name(&self) -> String {
        format!("{}: {}", S::NAME, self.scenario)
    }
}

impl<S: Subject> ScenarioModel<S> {
    fn seat<X: Execution>(&self, place: &Place<X>) -> Seat<S, Words<X>> {
        let memory = WeakenMemory::new(place.memory.clone(), self.weakening.as_ref());
        let memory = match self.fault {
            Some(fault) => FaultyResizing::new(memory, fault, &S::options(&self.scenario)),
            None => FaultyResizing::sound(memory),
        };
        Seat { memory, environment: place.environment.clone(), table: None }
    }

    /// What follows the participants: recovery, a look at every key, the audit.
    fn finish<X: Execution>(&self, table: &impl Table, mut caller: Caller<X>) {
        if self.scenario.kill.is_some() {
            caller.step(table, Step::Recover);
        }
        for key in 0..self.scenario.keys() {
            caller.step(table, Step::Call { verb: Verb::Get, key });
        }
        let audit = table.audit();
        if self.scenario.kill.is_none() {
            assert_eq!(table.len(), audit.entries, "the count of entries, when nobody writes");
        }
        if !audit.is_clean() {
            let mut dump = String::new();
            let written = table.dump(&mut dump);
            let dump = written.map_or("no dump".to_owned(), |()| dump);
            panic!(
                "the audit of a quiescent table: {} blocks lost; {}\n{dump}\n{}",
                audit.lost_blocks,
                audit.findings.join("; "),
                Transcript(&caller.journal.log.records()),
            );
        }
    }
}

impl<S: Subject> fmt::Debug for ScenarioModel<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ScenarioModel({}: {})", S::NAME, self.scenario)
    }
}

/// A process that is in the table or outside.
struct Seat<S: Subject, M: Memory + 'static> {
    memory: M,
    environment: Environment,
    table: Option<S::Table<M>>,
}

impl<S: Subject, M: Memory + Clone + 'static> Seat<S, M> {
    fn run<X: Execution>(mut self, mut caller: Caller<X>, program: &[Step]) -> Self {
        for step in program {
            match (step, self.table.take()) {
                (Step::Join, _) => self.sit_down(),
                (Step::Leave, table) => table.into_iter().for_each(Design::detach),
                (_, Some(table)) => {
                    caller.step(&table, *step);
                    self.table = Some(table);
                }
                (step, None) => panic!("{step} by a process that is not in the table"),
            }
        }
        self
    }

    /// Makes a call that changes nothing.
    fn put_in_order(&self) {
        let removed = self.table.as_ref().map(|table| table.remove(b"nobody's"));
        assert!(matches!(removed, Some(Ok(Remove::Absent))), "{removed:?}");
    }

    /// Joins the table as soon as there is a record: somebody has to leave or die where there are
    /// not enough. That it happens is seen to by the engine's bound on accesses.
    fn sit_down(&mut self) {
        let backoff = Backoff::new();
        self.table = loop {
            match S::Table::attach(self.memory.clone(), &self.environment) {
                Ok(table) => break Some(table),
                Err(SegmentError::NoRecord { .. }) => self.memory.spin(&backoff),
                Err(error) => panic!("a participant cannot attach: {error}"),
            }
        };
    }
}

/// Calls the steps of one participant and writes them into the journal.
struct Caller<X> {
    execution: X,
    journal: Arc<Journal>,
    participant: u32,
    phase: Phase,
    /// Steps of the scenario so far: numbers the values.
    numbered: usize,
    /// Blocks may run out.
    is_scarce: bool,
}

impl<X: Execution> Caller<X> {
    fn step(&mut self, table: &impl Table, step: Step) {
        self.numbered += 1;
        let Step::Call { verb, key } = step else {
            let outcome = match step {
                Step::Grow => table.adjust(Some(2)).map(|_| ()),
                Step::Shrink => table.adjust(Some(1)).map(|_| ()),
                _ => table.recover().map(|_| ()),
            };
            if let Err(error) = outcome {
                self.allow(table, Verb::Put, error);
            }
            return;
        };
        let value = Value::new(self.numbered as u64).expect("counted from one");
        let key_bytes = [b'a' + key];
        let witness = match verb {
            // What is exchanged or removed has been looked up before, as a call of its own.
            Verb::Exchange | Verb::RemoveIf => {
                let mut seen = None;
                let mut out = Vec::new();
                let found = self.record(table, Operation { verb: Verb::Get, value }, key, |_| {
                    seen = table.look_up(&key_bytes, &mut out)?;
                    Ok(found(seen.map(|seen| seen.metadata), &out))
                });
                let (Answer::Found(witness), Some(seen)) = (found, seen) else { return };
                Some((witness, seen.version))
            }
            _ => None,
        };
        self.record(table, Operation { verb, value }, key, |operation| match witness {
            Some(witness) => call_on(table, operation, key, witness),
            None => call(table, operation, key),
        });
    }

    /// Makes a call and writes it into the journal.
    fn record(
        &self,
        table: &impl Table,
        operation: Operation,
        key: u8,
        call: impl FnOnce(Operation) -> Result<Answer, Error>,
    ) -> Answer {
        let ticket = self.journal.log.call(self.participant, u32::from(key), operation);
        self.journal.lock().push(Marks {
            phase: self.phase,
            before_call: self.execution.mark(),
            at_return: None,
        });
        let answer = call(operation).unwrap_or_else(|error| {
            self.allow(table, operation.verb, error);
            Answer::Failed
        });
        self.journal.log.returned(ticket, answer);
        // The mark of the return is not before itself.
        let own = self
            .execution
            .mark()
            .map(|marks| marks.get(self.participant as usize).map_or(0, |before| *before) + 1);
        self.journal.lock()[ticket.index()].at_return = own;
        answer
    }

    /// Fails the execution if an error is not among those that the design may give.
    ///
    /// Unless the scenario says how many blocks there are, nothing is ever full: the table has room
    /// for every key and every participant. Only a design that waits for others may be busy.
    fn allow(&self, table: &impl Table, verb: Verb, error: Error) {
        let capabilities = table.capabilities();
        let progress = if verb == Verb::Get { capabilities.reads } else { capabilities.writes };
        let scarce = self.is_scarce && matches!(error, Error::NoBlock { .. });
        let allowed = scarce || progress.waits() && matches!(error, Error::Busy { .. });
        if !allowed {
            panic!(
                "participant {}: {verb} failed though it cannot: {error}\n{}",
                self.participant,
                Transcript(&self.journal.log.records()),
            );
        }
    }
}

/// The bytes of a value.
fn value_bytes(number: u64) -> [u8; VALUE_BYTES] {
    let mut bytes = [0; VALUE_BYTES];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes[8..].copy_from_slice(&(!number).to_le_bytes());
    bytes
}

/// One call that insists on a version in which a value was seen.
fn call_on(
    table: &impl Table,
    operation: Operation,
    key: u8,
    (witness, version): (Value, Version),
) -> Result<Answer, Error> {
    let number = operation.value.get();
    let (key, bytes) = ([b'a' + key], value_bytes(number));
    let entry = Entry { key: &key, value: &bytes, metadata: number };
    Ok(match operation.verb {
        Verb::Exchange => match table.compare_exchange(entry, version)? {
            Exchange::Exchanged => Answer::Exchanged(witness),
            Exchange::Changed => Answer::Changed(witness),
            Exchange::Absent => Answer::Absent,
        },
        _ => match table.remove_if(&key, version)? {
            RemoveIf::Removed => Answer::RemovedValue(witness),
            RemoveIf::Changed => Answer::Changed(witness),
            RemoveIf::Absent => Answer::Absent,
        },
    })
}

/// One call: the operation on the table, and what it answered.
fn call(table: &impl Table, operation: Operation, key: u8) -> Result<Answer, Error> {
    let number = operation.value.get();
    let (key, bytes) = ([b'a' + key], value_bytes(number));
    let entry = Entry { key: &key, value: &bytes, metadata: number };
    let mut out = Vec::new();
    Ok(match operation.verb {
        Verb::Get => found(table.get(&key, &mut out)?, &out),
        Verb::Take => found(table.take(&key, &mut out)?, &out),
        Verb::Insert => match table.insert(entry, &mut out)? {
            Insert::Inserted => Answer::Inserted,
            Insert::Exists { metadata } => found(Some(metadata), &out),
        },
        Verb::Put => match table.put(entry)? {
            Put::Inserted => Answer::Inserted,
            Put::Replaced => Answer::Replaced,
        },
        Verb::Replace => match table.replace(entry)? {
            Replace::Replaced => Answer::Replaced,
            Replace::Absent => Answer::Absent,
        },
        Verb::Remove => match table.remove(&key)? {
            Remove::Removed => Answer::Removed,
            Remove::Absent => Answer::Absent,
        },
        Verb::Exchange | Verb::RemoveIf => Answer::Absent,
    })
}

/// The value that a verb copied out. One that is torn, or that came with another entry's metadata
/// word, fails the execution.
fn found(metadata: Option<u64>, value: &[u8]) -> Answer {
    let Some(metadata) = metadata else {
        return Answer::Absent;
    };
    let words: Option<[u64; 2]> = match value.as_chunks() {
        ([first, second], []) => Some([u64::from_le_bytes(*first), u64::from_le_bytes(*second)]),
        _ => None,
    };
    match words {
        Some([number, complement]) if number == !complement && number == metadata => {
            Answer::Found(Value::new(number).expect("no value is 0: its complement would agree"))
        }
        _ => panic!("torn value {value:02x?} with metadata {metadata}"),
    }
}

/// A history as a list, for a person to read.
struct Transcript<'a>(&'a [Record]);

impl fmt::Display for Transcript<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for record in self.0 {
            writeln!(formatter, "  {record}")?;
        }
        Ok(())
    }
}
