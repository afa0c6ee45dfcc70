//! Histories of real processes on one mapped table, some killed and some stopped at any
//! instruction, checked in real time.
//!
//! Nothing here is a model: this is the shipped code on the machine's own memory. What the models
//! enumerate for a few calls, this samples for hundreds of thousands.

mod journal;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use journal::{Journal, now};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rustix::process::{Pid, Signal, getpid, kill_process};
use shm_arena::{AttachOptions, CreateOptions};
use shm_table::{
    Entry, Error, Exchange, Insert, Kind, Put, Remove, RemoveIf, Replace, SharedTable, Table,
    TableOptions, Version,
};
use shm_verification::history::{Record, Violation, check_real_time, check_values};
use shm_verification::spec::{Answer, Operation, Value, Verb};
use tempfile::TempDir;

/// Where a worker finds the table, and beside it its journal.
const FOLDER: &str = "SHM_VERIFICATION_TEST_FOLDER";
/// Number of the worker's life; names its journal and its values, and seeds its choices.
const LIFE: &str = "SHM_VERIFICATION_TEST_LIFE";
/// The worker takes by a look-up and a removal: the seeded fault.
const FAULT: &str = "SHM_VERIFICATION_TEST_FAULT";

const WORKERS: usize = 3;
const KEYS: u32 = 6;
const CALLS_MAX: u64 = 50_000;

/// A value of some words, all of them its number, so that a torn one shows.
fn bytes(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(usize::try_from(number % 31).unwrap() + 1)
}

/// What a verb copied out; torn or with another's metadata word, it fails the worker.
fn found(metadata: Option<u64>, out: &[u8]) -> Answer {
    metadata.map_or(Answer::Absent, |number| {
        assert_eq!(out, bytes(number), "a value that nobody stored");
        Answer::Found(Value::new(number).expect("numbers start at one"))
    })
}

/// A worker's calls.
struct Caller {
    table: SharedTable,
    journal: Journal,
    out: Vec<u8>,
    life: u64,
    calls: u64,
    is_faulty: bool,
}

impl Caller {
    fn act(&mut self, random: &mut SmallRng) {
        self.calls += 1;
        let value = Value::new(self.life << 32 | self.calls).expect("counted from one");
        let key = random.random_range(0..KEYS);
        let verb = Verb::EVERY[random.random_range(0..Verb::EVERY.len())];
        let Self { table, journal, out, is_faulty, .. } = self;
        let mut witness = None;
        if matches!(verb, Verb::Exchange | Verb::RemoveIf) {
            // What is exchanged or removed is looked up before, as a call of its own.
            let look_up = Operation { verb: Verb::Get, value };
            let answer = journal.record(key, look_up, || {
                let seen = table.look_up(&key.to_le_bytes(), out).map(|seen| {
                    witness = seen.map(|seen| seen.version);
                    found(seen.map(|seen| seen.metadata), out)
                });
                answered(seen)
            });
            let (Answer::Found(seen), Some(version)) = (answer, witness) else { return };
            if !journal.is_full() {
                let operation = Operation { verb, value };
                let call = || answered(call_on(table, operation, key, (seen, version)));
                let _ = journal.record(key, operation, call);
            }
            return;
        }
        let operation = Operation { verb, value };
        let call = || answered(call(table, operation, key, out, *is_faulty));
        let _ = journal.record(key, operation, call);
    }
}

/// A stopped or dying owner of a lock may make a table busy, which changes nothing.
fn answered(result: Result<Answer, Error>) -> Answer {
    match result {
        Ok(answer) => answer,
        Err(Error::Busy { .. }) => Answer::Failed,
        Err(error) => panic!("{error}"),
    }
}

fn call(
    table: &SharedTable,
    operation: Operation,
    key: u32,
    out: &mut Vec<u8>,
    is_faulty: bool,
) -> Result<Answer, Error> {
    let number = operation.value.get();
    let (key, value) = (&key.to_le_bytes(), &bytes(number));
    let entry = Entry { key, value, metadata: number };
    Ok(match operation.verb {
        Verb::Get => found(table.get(key, out)?, out),
        Verb::Take if is_faulty => {
            let seen = table.get(key, out)?;
            match table.remove(key)? {
                Remove::Removed => found(seen, out),
                Remove::Absent => Answer::Absent,
            }
        }
        Verb::Take => found(table.take(key, out)?, out),
        Verb::Insert => match table.insert(entry, out)? {
            Insert::Inserted => Answer::Inserted,
            Insert::Exists { metadata } => found(Some(metadata), out),
        },
        Verb::Put => match table.put(entry)? {
            Put::Inserted => Answer::Inserted,
            Put::Replaced => Answer::Replaced,
        },
        Verb::Replace => match table.replace(entry)? {
            Replace::Replaced => Answer::Replaced,
            Replace::Absent => Answer::Absent,
        },
        Verb::Remove => match table.remove(key)? {
            Remove::Removed => Answer::Removed,
            Remove::Absent => Answer::Absent,
        },
        Verb::Exchange | Verb::RemoveIf => unreachable!("they have a call of their own"),
    })
}

/// A call that insists on the version in which a value was seen.
fn call_on(
    table: &SharedTable,
    operation: Operation,
    key: u32,
    (witness, version): (Value, Version),
) -> Result<Answer, Error> {
    let number = operation.value.get();
    let (key, value) = (&key.to_le_bytes(), &bytes(number));
    Ok(match operation.verb {
        Verb::Exchange => {
            match table.compare_exchange(Entry { key, value, metadata: number }, version)? {
                Exchange::Exchanged => Answer::Exchanged(witness),
                Exchange::Changed => Answer::Changed(witness),
                Exchange::Absent => Answer::Absent,
            }
        }
        _ => match table.remove_if(key, version)? {
            RemoveIf::Removed => Answer::RemovedValue(witness),
            RemoveIf::Changed => Answer::Changed(witness),
            RemoveIf::Absent => Answer::Absent,
        },
    })
}

/// One life: calls until a thread beside it kills the process, whatever instruction it is at. Does
/// nothing unless another test started it.
#[test]
fn worker() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    let life: u64 = std::env::var(LIFE).unwrap().parse().unwrap();
    let table = SharedTable::attach_file(&folder.join("table"), &AttachOptions::default()).unwrap();
    let journal = Journal::open(&folder.join(format!("life-{life}")));
    let is_faulty = std::env::var_os(FAULT).is_some();
    let mut caller = Caller { table, journal, out: Vec::new(), life, calls: 0, is_faulty };
    let mut random = SmallRng::seed_from_u64(life);
    let last_ns = random.random_range(0..5_000_000);
    thread::spawn(move || {
        thread::sleep(Duration::from_nanos(last_ns));
        kill_process(getpid(), Signal::KILL).unwrap();
    });
    while !caller.journal.is_full() {
        caller.act(&mut random);
    }
    thread::park();
}

/// The processes of a storm and what they wrote.
struct Storm {
    folder: TempDir,
    is_faulty: bool,
    lives: u64,
    records: Vec<Record>,
}

impl Storm {
    fn start(&mut self) -> (u64, Child) {
        self.lives += 1;
        let life = self.lives;
        Journal::create(&self.path(life), CALLS_MAX);
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "worker", "--nocapture"]).stdout(Stdio::null());
        command.env(FOLDER, self.folder.path()).env(LIFE, life.to_string());
        if self.is_faulty {
            command.env(FAULT, "1");
        }
        (life, command.spawn().unwrap())
    }

    fn path(&self, life: u64) -> PathBuf {
        self.folder.path().join(format!("life-{life}"))
    }

    fn journal(&self, life: u64) -> Journal {
        Journal::open(&self.path(life))
    }

    /// Waits until one of the workers is dead.
    fn wait(&self, workers: &mut [(u64, Child)]) -> usize {
        loop {
            let dead = |(_, worker): &mut (u64, Child)| worker.try_wait().unwrap().is_some();
            if let Some(dead) = workers.iter_mut().position(dead) {
                return dead;
            }
            thread::sleep(Duration::from_micros(50));
        }
    }

    /// Waits for a worker's end, settles what it left and reads what it wrote.
    fn end(&mut self, (life, mut worker): (u64, Child), table: &SharedTable) {
        let ended = worker.wait().unwrap();
        assert_eq!(ended.code(), None, "a worker ended by itself: see its panic");
        while let Err(error) = table.recover() {
            assert!(matches!(error, Error::Busy { .. }), "{error}");
        }
        let participant = u32::try_from(life).unwrap();
        self.records.extend(self.journal(life).read(participant, now()));
        std::fs::remove_file(self.path(life)).unwrap();
    }
}

fn signal(worker: &Child, signal: Signal) {
    kill_process(Pid::from_child(worker), signal).unwrap();
}

/// The history of processes of which one after the other is killed, or stopped for a while.
fn history(kind: Kind, turns: u64, is_faulty: bool) -> Vec<Record> {
    let shared_memory = Path::new("/dev/shm");
    let folder =
        if shared_memory.is_dir() { TempDir::new_in(shared_memory) } else { TempDir::new() };
    let mut storm = Storm { folder: folder.unwrap(), is_faulty, lives: 0, records: Vec::new() };
    // Few records and lines: the dead have to make room for the living.
    // Lines that keep back more than one block, of which some are of other sizes.
    let base = TableOptions { spares: Some(8), ..TableOptions::default() };
    let options = TableOptions { entries: 64, processes: 6, lines: 6, ..base };
    let path = storm.folder.path().join("table");
    let table = SharedTable::create_file(&path, kind, &options, &CreateOptions::default()).unwrap();
    let mut random = SmallRng::seed_from_u64(kind.id());
    let mut workers: Vec<_> = (0..WORKERS).map(|_| storm.start()).collect();
    for turn in 0..turns {
        let ended = storm.wait(&mut workers);
        let successor = storm.start();
        let ended = std::mem::replace(&mut workers[ended], successor);
        storm.end(ended, &table);
        if turn % 2 == 0 {
            let stopped = &workers[random.random_range(0..WORKERS)].1;
            signal(stopped, Signal::STOP);
            thread::sleep(Duration::from_micros(random.random_range(0..20_000)));
            signal(stopped, Signal::CONT);
        }
    }
    for worker in workers {
        storm.end(worker, &table);
    }
    let audit = table.audit();
    assert!(audit.is_clean(), "{:?}", audit.findings);
    table.detach();
    storm.records
}

fn check(records: &[Record]) -> Result<(), Violation> {
    check_values(records)?;
    let started = Instant::now();
    let checked = check_real_time(records)?;
    println!("{checked:?} in {:?}", started.elapsed());
    Ok(())
}

/// Some order of the calls that respects real time explains every answer.
fn explain(kind: Kind) {
    let records = history(kind, 100, false);
    let answered = records.iter().filter(|record| record.answer().is_some()).count();
    println!(
        "{}: {} calls, {} of them killed",
        kind.name(),
        records.len(),
        records.len() - answered
    );
    assert!(answered > 1_000, "the workers hardly ran: {answered} calls");
    check(&records).unwrap_or_else(|violation| panic!("{violation}"));
}

#[test]
fn processes_that_are_killed_and_stopped_leave_a_linearizable_history_of_cas_bucket() {
    explain(Kind::CasBucket);
}

#[test]
fn processes_that_are_killed_and_stopped_leave_a_linearizable_history_of_chained() {
    explain(Kind::Chained);
}

#[test]
fn processes_that_are_killed_and_stopped_leave_a_linearizable_history_of_robin_hood() {
    explain(Kind::RobinHood);
}

/// The seeded fault: two processes may look the same entry up before one of them removes it.
#[test]
fn a_take_of_two_steps_is_found_out() {
    let found = (0..20).any(|_| check(&history(Kind::CasBucket, 6, true)).is_err());
    assert!(found, "20 histories of a take that is not atomic were explained");
}
