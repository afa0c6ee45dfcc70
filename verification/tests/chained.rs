//! `chained` under the engines: its lock in the hands of the living, the stopped and the dead.
#![allow(missing_docs)]

use std::sync::Arc;

use shm_arena::{Environment, Liveness, RecordIndex, Verdict};
use shm_table::{Chained, Design, Entry, Error, Insert, Remove, Table, TableOptions, TableShape};
use shm_verification::faulty::{Buckets, Fault, Faulty};
use shm_verification::{
    Budget, CrashMemory, Ended, Engine, Execution, Kill, LoomEngine, Lost, Model, Outcome, Place,
    ShuttleEngine, World,
};

fn options() -> TableOptions {
    let shape = TableShape { buckets: 1, slots: 15, slabs: 1, slab_units: 4, block_units_min: 1 };
    TableOptions {
        processes: 4,
        lines: 4,
        hash_secret: Some([1, 2]),
        shape: Some(shape),
        ..TableOptions::default()
    }
}

type Shared<X> = Faulty<CrashMemory<<X as Execution>::Memory>>;

/// A world with a table that holds key 1.
fn stage<X: Execution>(execution: &X) -> (World<X>, Chained<Shared<X>>) {
    let options = options();
    let words = Chained::<Shared<X>>::word_count(&options).expect("tiny shape");
    let world = World::new(execution, words);
    let place = world.place(0);
    let table = Chained::create(faulty(&place, Fault::None), &options, &place.environment);
    let table = table.expect("zeroed memory");
    assert_eq!(insert(&table, 1, 10), Ok(None));
    (world, table)
}

fn faulty<X: Execution>(place: &Place<X>, fault: Fault) -> Shared<X> {
    Faulty::new(place.memory.clone(), fault, Buckets::NONE)
}

fn join_at<X: Execution>(
    place: &Place<X>,
    fault: Fault,
    environment: &Environment,
) -> Chained<Shared<X>> {
    Chained::attach(faulty(place, fault), environment).expect("a table is there")
}

fn get<T: Table>(table: &T, key: u8) -> Result<Option<u8>, Error> {
    let mut bytes = Vec::new();
    let read = table.get(&[key], &mut bytes)?;
    Ok(read.map(|metadata| {
        assert!(bytes.iter().all(|&byte| u64::from(byte) == metadata), "torn: {bytes:?}");
        bytes[0]
    }))
}

fn insert<T: Table>(table: &T, key: u8, mark: u8) -> Result<Option<u64>, Error> {
    let mut bytes = Vec::new();
    let entry = Entry { key: &[key], value: &[mark; 16], metadata: mark.into() };
    Ok(match table.insert(entry, &mut bytes)? {
        Insert::Inserted => None,
        Insert::Exists { metadata } => Some(metadata),
    })
}

/// insert(2) ‖ insert(2): one wins. With `is_lying`, each takes the lock from the living other.
struct InsertInsert {
    is_lying: bool,
}

/// Calls everybody else dead.
#[derive(Debug)]
struct Liar(Arc<dyn Liveness>);

impl Liveness for Liar {
    fn hold(&self, record: RecordIndex) -> bool {
        self.0.hold(record)
    }

    fn release(&self, record: RecordIndex) {
        self.0.release(record);
    }

    fn verdict(&self, _record: RecordIndex) -> Verdict {
        Verdict::Dead
    }
}

impl Model for InsertInsert {
    fn run<X: Execution>(&self, execution: &X) {
        let (world, table) = stage(execution);
        let others: Vec<_> = (1..=2_u8)
            .map(|mark| {
                let place = world.place(mark.into());
                let mut environment = place.environment.clone();
                let mut fault = Fault::None;
                if self.is_lying {
                    fault = Fault::Impatient;
                    environment.liveness = Arc::new(Liar(environment.liveness));
                }
                let table = join_at(&place, fault, &environment);
                world.spawn(&place, move || insert(&table, 2, mark))
            })
            .collect();
        let outcomes: Vec<_> = others.into_iter().map(|other| other.join().finished()).collect();
        let inserted = outcomes.iter().filter(|outcome| **outcome == Some(Ok(None))).count();
        assert_eq!(inserted, 1, "one insertion wins: {outcomes:?}");
        let audit = table.audit();
        assert!(audit.is_clean(), "{:?}", audit.findings);
        assert_eq!(audit.entries, 2);
    }
}

#[derive(Clone, Copy, Debug)]
enum Verb {
    Insert,
    Put,
    Remove,
}

/// A verb that dies before its k-th access, or stops there for ever, and a survivor.
struct Death {
    verb: Verb,
    kill: Kill,
    is_stopped: bool,
}

impl Model for Death {
    fn run<X: Execution>(&self, execution: &X) {
        let (world, table) = stage(execution);
        let place = world.mortal_place(1, self.kill);
        let victims = join_at(&place, Fault::None, &place.environment);
        let verb = self.verb;
        let act = move || match verb {
            Verb::Insert => {
                let _ = insert(&victims, 2, 20);
            }
            Verb::Put => {
                let _ = victims.put(Entry { key: &[1], value: &[12; 16], metadata: 12 });
            }
            Verb::Remove => {
                let _ = victims.remove(&[1]);
            }
        };
        let is_cut = if self.is_stopped {
            // It keeps its beacon: stopped, not dead.
            place.memory.run(act).is_none()
        } else {
            world.spawn(&place, act).join() == Ended::Killed
        };
        let survivors = world.place(2);
        let handle = join_at(&survivors, Fault::None, &survivors.environment);
        let seen = world.spawn(&survivors, move || (get(&handle, 1), get(&handle, 2))).join();
        let (first, second) = seen.finished().expect("it lives");
        if self.is_stopped && is_cut && first.is_err() {
            // The stopped owner may make others busy, for a bounded time, and nothing else.
            assert!(matches!(first, Err(Error::Busy { .. })), "{first:?}");
            return;
        }
        let (first, second) = (first.expect("taken over"), second.expect("taken over"));
        match verb {
            Verb::Insert => assert!(first == Some(10) && [None, Some(20)].contains(&second)),
            Verb::Put => assert!([Some(10), Some(12)].contains(&first)),
            Verb::Remove => assert!([Some(10), None].contains(&first)),
        }
        if self.is_stopped {
            return;
        }
        // Whoever attached since may have recovered as well.
        let _ = table.recover().expect("writable");
        assert_eq!(table.stats().recoveries.processes, u64::from(is_cut));
        let audit = table.audit();
        assert!(audit.is_clean(), "{:?}", audit.findings);
        for key in [1, 2, 3] {
            let _ = table.remove(&[key]).expect("nobody holds the lock");
            assert_eq!(insert(&table, key, 30), Ok(None), "no block is withheld");
        }
        assert_eq!(table.remove(&[9]), Ok(Remove::Absent));
    }
}

fn sweep(verb: Verb, is_stopped: bool, lost: Lost) -> u64 {
    for after_accesses in 0..200 {
        let kill = Kill { after_accesses, lost };
        let model = Arc::new(Death { verb, kill, is_stopped });
        let budget = Budget { accesses: 200_000, ..Budget::executions(50) };
        let outcome = ShuttleEngine::RANDOM.run(&model, &budget);
        outcome.expect_pass(&format!("{verb:?} cut after {after_accesses}"));
        if !is_stopped {
            LoomEngine
                .run(&model, &Budget::executions(500))
                .expect_pass(&format!("{verb:?} killed after {after_accesses}"));
        }
        if (!is_stopped && outcome.kills == 0) || after_accesses == 90 {
            return after_accesses;
        }
    }
    panic!("{verb:?} does not end");
}

#[test]
fn the_lock_of_the_dead_is_taken_over_and_nothing_is_lost() {
    for verb in [Verb::Insert, Verb::Put, Verb::Remove] {
        for lost in [Lost::Nothing, Lost::Mask(u64::MAX), Lost::Mask(0x5555_5555_5555_5555)] {
            let accesses = sweep(verb, false, lost);
            println!("{verb:?}, {lost:?}: killed before each of {accesses} accesses");
            assert!((10..90).contains(&accesses), "a sweep over {accesses} accesses is no sweep");
        }
    }
}

#[test]
fn a_stopped_owner_makes_others_busy_and_nothing_else() {
    for verb in [Verb::Insert, Verb::Put, Verb::Remove] {
        sweep(verb, true, Lost::Nothing);
    }
}

/// put 2 ‖ remove 3, beside 1 in one chain, and what is there afterwards.
struct Signed {
    fault: Fault,
}

impl Model for Signed {
    fn run<X: Execution>(&self, execution: &X) {
        let (world, table) = stage(execution);
        assert_eq!(insert(&table, 3, 30), Ok(None));
        let at =
            Buckets { index: table.arena().layout().index(), buckets: 1, slots: 0, block_words: 8 };
        let join = |place: &Place<X>| {
            let memory = Faulty::new(place.memory.clone(), self.fault, at);
            Chained::attach(memory, &place.environment).expect("a table is there")
        };
        let places = [world.place(1), world.place(2)];
        let [first, second] = [join(&places[0]), join(&places[1])];
        let putter = world.spawn(&places[0], move || insert(&first, 2, 20));
        let remover = world.spawn(&places[1], move || second.remove(&[3]));
        assert_eq!(putter.join().finished(), Some(Ok(None)));
        assert_eq!(remover.join().finished(), Some(Ok(Remove::Removed)));
        assert_eq!(get(&table, 1), Ok(Some(10)), "an entry is hidden");
        assert_eq!(get(&table, 2), Ok(Some(20)), "an entry is hidden");
        let audit = table.audit();
        assert!(audit.is_clean(), "{:?}", audit.findings);
    }
}

#[test]
fn a_signature_or_a_tag_that_lacks_the_bits_of_an_entry_is_caught() {
    let faults = [Fault::BitsForgotten, Fault::BitsCleared, Fault::TagForgotten, Fault::TagCleared];
    for fault in [Fault::None].into_iter().chain(faults) {
        let model = Arc::new(Signed { fault });
        let budget = Budget { accesses: 20_000, ..Budget::executions(2_000).preemptions(2) };
        for outcome in [LoomEngine.run(&model, &budget), ShuttleEngine::RANDOM.run(&model, &budget)]
        {
            println!("{fault:?}: {outcome}");
            if fault == Fault::None {
                outcome.expect_pass("signatures");
                continue;
            }
            let failure = outcome.expect_failure("bits that are not there");
            assert!(failure.message.contains("hidden"), "{failure}");
        }
    }
}

fn explore(is_lying: bool) -> [Outcome; 2] {
    let model = Arc::new(InsertInsert { is_lying });
    let budget = Budget { accesses: 20_000, ..Budget::executions(20_000).preemptions(2) };
    [LoomEngine.run(&model, &budget), ShuttleEngine::RANDOM.run(&model, &budget)]
}

#[test]
fn two_inserters_of_one_key_agree() {
    for outcome in explore(false) {
        println!("{outcome}");
        outcome.expect_pass("insert || insert");
    }
}

#[test]
fn a_lock_taken_from_the_living_is_caught() {
    let failures: Vec<_> =
        explore(true).into_iter().filter_map(|outcome| outcome.failure).collect();
    println!("{failures:?}");
    let is_reason = |message: &str| message.contains("wins") || message.contains("Findings");
    assert!(failures.iter().any(|failure| is_reason(&failure.message)), "{failures:?}");
}
