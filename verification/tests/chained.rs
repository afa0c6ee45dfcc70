//! `chained` under the engines: its lock in the hands of the living, the stopped and the dead.
#![allow(missing_docs)]

use std::sync::{Arc, Mutex, PoisonError};

use shm_arena::{
    Backoff, Environment, Fence, Liveness, Load, Memory, Offset, RecordIndex, Rmw, Store, Verdict,
};
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

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verb {
    Insert,
    InsertPresent,
    Put,
    Replace,
    ReplaceAbsent,
    Remove,
    /// One after the other: the line has a spare when the second one goes out, which is drained.
    RemoveBoth,
    Take,
}

impl Verb {
    const ALL: [Self; 8] = [
        Self::Insert,
        Self::InsertPresent,
        Self::Put,
        Self::Replace,
        Self::ReplaceAbsent,
        Self::Remove,
        Self::RemoveBoth,
        Self::Take,
    ];

    fn act<T: Table>(self, table: &T) {
        let entry = |key, metadata| Entry { key, value: &[12; 16], metadata };
        match self {
            Self::Insert => {
                let _ = insert(table, 2, 20);
            }
            Self::InsertPresent => {
                let _ = insert(table, 1, 20);
            }
            Self::Put => {
                let _ = table.put(entry(&[1], 12));
            }
            Self::Replace => {
                let _ = table.replace(entry(&[1], 12));
            }
            Self::ReplaceAbsent => {
                let _ = table.replace(entry(&[2], 12));
            }
            Self::RemoveBoth => {
                let _ = table.remove(&[3]);
                let _ = table.remove(&[1]);
            }
            Self::Remove => {
                let _ = table.remove(&[1]);
            }
            Self::Take => {
                let mut value = Vec::new();
                if let Ok(Some(_)) = table.take(&[1], &mut value) {
                    assert_eq!(value, [10; 16], "taken after the wipe");
                }
            }
        }
    }

    /// What others may find under keys 1 and 2, whether the verb took effect or not.
    fn check(self, first: Option<u8>, second: Option<u8>) {
        match self {
            Self::Insert => assert!(first == Some(10) && [None, Some(20)].contains(&second)),
            Self::InsertPresent | Self::ReplaceAbsent => {
                assert_eq!((first, second), (Some(10), None));
            }
            Self::Put | Self::Replace => assert!([Some(10), Some(12)].contains(&first)),
            Self::Remove | Self::RemoveBoth | Self::Take => {
                assert!([Some(10), None].contains(&first));
            }
        }
    }
}

/// A count that outlives whoever is killed.
#[derive(Debug, Default)]
struct Counter(Mutex<u64>);

impl Counter {
    fn get(&self) -> u64 {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, count: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = count;
    }

    fn count(&self) {
        self.set(self.get() + 1);
    }
}

/// A verb that dies before its k-th access, or stops there for ever, and a survivor.
struct Death {
    verb: Verb,
    kill: Kill,
    is_stopped: bool,
    fault: Fault,
    /// Deaths behind the lock: it has been taken and given back.
    behind: Counter,
}

impl Model for Death {
    fn run<X: Execution>(&self, execution: &X) {
        let (world, table) = stage(execution);
        if self.verb == Verb::RemoveBoth {
            assert_eq!(insert(&table, 3, 30), Ok(None));
        }
        let place = world.mortal_place(1, self.kill);
        let layout = table.arena().layout();
        let (first_line, lines) = (layout.line(0), options().lines.into());
        let at = Buckets { first_line, lines, ..Buckets::NONE };
        let memory = Watched {
            memory: Faulty::new(place.memory.clone(), self.fault, at),
            lock: layout.control(),
            unlocked: Arc::default(),
        };
        let unlocked = memory.unlocked.clone();
        let victims = Chained::attach(memory, &place.environment).expect("a table is there");
        // A line that is new is put in order under the lock, where all of the first call is done.
        assert_eq!(get(&victims, 9), Ok(None));
        unlocked.set(0);
        let verb = self.verb;
        let ended = unlocked.clone();
        let act = move || {
            verb.act(&victims);
            ended.set(u64::MAX);
        };
        let is_cut = if self.is_stopped {
            // It keeps its beacon: stopped, not dead.
            place.memory.run(act).is_none()
        } else {
            world.spawn(&place, act).join() == Ended::Killed
        };
        let locks = if self.verb == Verb::RemoveBoth { 2 } else { 1 };
        if is_cut && unlocked.get() == locks {
            self.behind.count();
        }
        let survivors = world.place(2);
        let handle = join_at(&survivors, Fault::None, &survivors.environment);
        let seen = world.spawn(&survivors, move || (get(&handle, 1), get(&handle, 2))).join();
        let (first, second) = seen.finished().expect("it lives");
        if self.is_stopped && is_cut && first.is_err() {
            // The stopped owner may make others busy, for a bounded time, and nothing else.
            assert!(matches!(first, Err(Error::Busy { .. })), "{first:?}");
            assert!(unlocked.get() < locks, "it has given the lock back");
            return;
        }
        self.verb.check(first.expect("taken over"), second.expect("taken over"));
        if self.is_stopped {
            return;
        }
        // Whoever attached since may have recovered as well.
        let _ = table.recover().expect("writable");
        assert_eq!(table.stats().recoveries.processes, u64::from(is_cut));
        let audit = table.audit();
        assert!(audit.is_clean(), "{:?}", audit.findings);
        assert_eq!(audit.lost_blocks, 0, "a block is lost");
        for key in [1, 2, 3] {
            let _ = table.remove(&[key]).expect("nobody holds the lock");
            assert_eq!(insert(&table, key, 30), Ok(None), "no block is withheld");
        }
        assert_eq!(table.remove(&[9]), Ok(Remove::Absent));
    }
}

/// Cuts a verb before each of its accesses, as far as one fails; gives how many there were, and how
/// many deaths behind the lock.
fn cut(
    (verb, is_stopped, fault): (Verb, bool, Fault),
    lost: Lost,
) -> Result<(u64, u64), (u64, String)> {
    let mut behind = 0;
    for after_accesses in 0..200 {
        let kill = Kill { after_accesses, lost };
        let model = Arc::new(Death { verb, kill, is_stopped, fault, behind: Counter::default() });
        let budget = Budget { accesses: 200_000, ..Budget::executions(50) };
        let outcome = ShuttleEngine::RANDOM.run(&model, &budget);
        let kills = outcome.kills;
        let enumerated = Budget::executions(500);
        let on_loom = (!is_stopped).then(|| LoomEngine.run(&model, &enumerated));
        for outcome in [outcome].into_iter().chain(on_loom) {
            if let Some(failure) = outcome.failure {
                return Err((after_accesses, failure.message));
            }
        }
        behind += model.behind.get();
        if (!is_stopped && kills == 0) || after_accesses == 150 {
            return Ok((after_accesses, behind));
        }
    }
    panic!("{verb:?} does not end");
}

#[test]
fn the_lock_of_the_dead_is_taken_over_and_nothing_is_lost() {
    for verb in Verb::ALL {
        for lost in [Lost::Nothing, Lost::Mask(u64::MAX), Lost::Mask(0x5555_5555_5555_5555)] {
            let (accesses, behind) = cut((verb, false, Fault::None), lost)
                .unwrap_or_else(|failure| panic!("{verb:?}, {lost:?}: {failure:?}"));
            println!("{verb:?}, {lost:?}: {accesses} accesses, {behind} deaths behind the lock");
            assert!((10..150).contains(&accesses), "a sweep over {accesses} accesses is no sweep");
            // An insertion has nothing left to do.
            assert_eq!(behind == 0, verb == Verb::Insert, "{verb:?}");
        }
    }
}

#[test]
fn a_stopped_owner_makes_others_busy_and_nothing_else() {
    for verb in Verb::ALL {
        let stopped = cut((verb, true, Fault::None), Lost::Nothing);
        assert!(stopped.is_ok(), "{verb:?}: {stopped:?}");
    }
}

/// An owner of the lock that stops, updates that are busy meanwhile, and its death.
struct Busy {
    after_accesses: u64,
    met: Counter,
}

impl Model for Busy {
    fn run<X: Execution>(&self, execution: &X) {
        let (world, table) = stage(execution);
        let kill = Kill { after_accesses: self.after_accesses, lost: Lost::Nothing };
        let place = world.mortal_place(1, kill);
        let owner = join_at(&place, Fault::None, &place.environment);
        let waiting = world.place(2);
        let waiter = join_at(&waiting, Fault::None, &waiting.environment);
        assert_eq!(get(&waiter, 9), Ok(None), "its line is in order");
        let is_stopped = place.memory.run(move || get(&owner, 1)).is_none();
        if is_stopped && matches!(insert(&waiter, 2, 20), Err(Error::Busy { .. })) {
            self.met.count();
            // Of a class that has no block, so that nothing is written ahead.
            let longer = Entry { key: &[3], value: &[30; 80], metadata: 30 };
            assert!(matches!(waiter.put(longer), Err(Error::Busy { .. })));
            assert!(matches!(insert(&waiter, 2, 20), Err(Error::Busy { .. })));
        }
        place.environment.liveness.release(RecordIndex(1));
        assert!(insert(&waiter, 2, 20).is_ok() && get(&waiter, 2) == Ok(Some(20)));
        let _ = table.recover().expect("a line");
        let audit = table.audit();
        assert!(audit.is_clean(), "{:?}", audit.findings);
        assert_eq!(audit.entries, 2);
    }
}

#[test]
fn an_update_that_is_busy_gives_its_block_back() {
    let mut met = 0;
    for after_accesses in 0..40 {
        let model = Arc::new(Busy { after_accesses, met: Counter::default() });
        let budget = Budget { accesses: 200_000, ..Budget::executions(20) };
        ShuttleEngine::RANDOM.run(&model, &budget).expect_pass(&format!("{after_accesses}"));
        met += model.met.get();
    }
    assert!(met > 10, "{met} were busy");
}

#[test]
fn a_wipe_or_a_withdrawal_out_of_its_turn_is_caught() {
    for (verb, fault, reason) in [
        (Verb::Remove, Fault::WipedEarly, "belongs elsewhere"),
        (Verb::Put, Fault::WipedEarly, "contains(&first)"),
        (Verb::RemoveBoth, Fault::WithdrawnEarly, "lost"),
    ] {
        let (place, message) =
            cut((verb, false, fault), Lost::Nothing).expect_err("nobody finds it");
        println!("{verb:?}, {fault:?}: found at access {place}: {message}");
        assert!(message.contains(reason), "{verb:?}, {fault:?}: {message}");
    }
}

/// Tells how often a participant has given the lock back.
#[derive(Clone, Debug)]
struct Watched<M> {
    memory: M,
    lock: Offset,
    unlocked: Arc<Counter>,
}

impl<M: Memory> Memory for Watched<M> {
    fn word_count(&self) -> u64 {
        self.memory.word_count()
    }

    #[track_caller]
    fn load(&self, at: Offset, order: Load) -> u64 {
        self.memory.load(at, order)
    }

    #[track_caller]
    fn store(&self, at: Offset, value: u64, order: Store) {
        self.memory.store(at, value, order);
        if at == self.lock && value == 0 {
            self.unlocked.count();
        }
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
        self.memory.compare_exchange(at, current, new, success, failure)
    }

    #[track_caller]
    fn fetch_add(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        self.memory.fetch_add(at, value, order)
    }

    #[track_caller]
    fn fetch_and(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        self.memory.fetch_and(at, value, order)
    }

    #[track_caller]
    fn fetch_or(&self, at: Offset, value: u64, order: Rmw) -> u64 {
        self.memory.fetch_or(at, value, order)
    }

    #[track_caller]
    fn fence(&self, order: Fence) {
        self.memory.fence(order);
    }

    #[track_caller]
    fn spin(&self, backoff: &Backoff) {
        self.memory.spin(backoff);
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
        let index = table.arena().layout().index();
        let at = Buckets { index, buckets: 1, block_words: 8, ..Buckets::NONE };
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
