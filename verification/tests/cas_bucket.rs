//! `cas_bucket` under the engines: races on one bucket, kills at every access, and the faults that
//! these models must catch.
#![allow(missing_docs)]

use std::sync::Arc;

use shm_arena::Layout;
use shm_table::{
    CasBucket, Design, Entry, Error, Insert, Put, Remove, Replace, Table, TableOptions, TableShape,
};
use shm_verification::faulty::{Buckets, Fault, Faulty};
use shm_verification::{
    Budget, CrashMemory, Ended, Engine, Execution, Kill, LoomEngine, Lost, Model, Outcome, Place,
    ShuttleEngine, World,
};

const SLOTS: u32 = 3;

/// One bucket, one slab of this many one-unit blocks.
fn options(blocks: u32) -> TableOptions {
    let shape =
        TableShape { buckets: 1, slots: SLOTS, slabs: 1, slab_units: blocks, block_units_min: 1 };
    TableOptions {
        processes: 4,
        lines: 4,
        hash_secret: Some([1, 2]),
        shape: Some(shape),
        ..TableOptions::default()
    }
}

type Shared<X> = Faulty<CrashMemory<<X as Execution>::Memory>>;

/// One execution's world with a table in it.
struct Stage<X: Execution> {
    world: World<X>,
    fault: Fault,
    buckets: Buckets,
    /// The model's own handle.
    table: CasBucket<Shared<X>>,
}

impl<X: Execution> Stage<X> {
    fn new(execution: &X, blocks: u32, fault: Fault) -> Self {
        let options = options(blocks);
        let words = CasBucket::<Shared<X>>::word_count(&options).expect("tiny shape");
        let world = World::new(execution, words);
        let place = world.place(0);
        let memory = Faulty::new(place.memory.clone(), Fault::None, Buckets::NONE);
        let table = CasBucket::create(memory, &options, &place.environment).expect("zeroed memory");
        let index = Layout::new(table.arena().geometry()).expect("made").index();
        let buckets = Buckets { index, buckets: 1, slots: SLOTS.into(), ..Buckets::NONE };
        Self { world, fault, buckets, table }
    }

    fn join_at(&self, place: &Place<X>) -> CasBucket<Shared<X>> {
        let memory = Faulty::new(place.memory.clone(), self.fault, self.buckets);
        CasBucket::attach(memory, &place.environment).expect("a table is there")
    }

    /// Starts a participant with a handle of its own.
    fn spawn<T: Send + 'static>(
        &self,
        participant: u32,
        body: impl FnOnce(CasBucket<Shared<X>>) -> T + Send + 'static,
    ) -> shm_verification::Participant<Ended<T>> {
        let place = self.world.place(participant);
        let table = self.join_at(&place);
        self.world.spawn(&place, move || body(table))
    }

    fn get(&self, key: u8) -> Option<u8> {
        get(&self.table, key)
    }

    /// What has to hold once everybody has finished.
    fn check(&self) {
        let audit = self.table.audit();
        assert!(audit.is_clean(), "{:?}", audit.findings);
        assert_eq!(audit.entries, self.table.len());
    }
}

/// Two words of value, equal unless torn.
fn value(mark: u8) -> [u8; 16] {
    [mark; 16]
}

fn entry<'a>(key: &'a [u8; 1], value: &'a [u8; 16]) -> Entry<'a> {
    Entry { key, value, metadata: value[0].into() }
}

/// The mark of a value that was read; fails on a torn one.
fn whole(read: Option<u64>, bytes: &[u8]) -> Option<u8> {
    let metadata = read?;
    assert_eq!(bytes.len(), 16, "a value of another length");
    assert!(bytes.iter().all(|&byte| u64::from(byte) == metadata), "torn: {metadata} {bytes:?}");
    Some(bytes[0])
}

fn get<T: Table>(table: &T, key: u8) -> Option<u8> {
    let mut bytes = Vec::new();
    let read = table.get(&[key], &mut bytes).expect("no corruption");
    whole(read, &bytes)
}

fn take<T: Table>(table: &T, key: u8) -> Option<u8> {
    let mut bytes = Vec::new();
    let read = table.take(&[key], &mut bytes).expect("no corruption");
    whole(read, &bytes)
}

fn insert<T: Table>(table: &T, key: u8, mark: u8) -> Result<Option<u8>, Error> {
    let mut bytes = Vec::new();
    Ok(match table.insert(entry(&[key], &value(mark)), &mut bytes)? {
        Insert::Inserted => None,
        Insert::Exists { metadata } => whole(Some(metadata), &bytes),
    })
}

fn put<T: Table>(table: &T, key: u8, mark: u8) -> Result<Put, Error> {
    table.put(entry(&[key], &value(mark)))
}

fn replace<T: Table>(table: &T, key: u8, mark: u8) -> Result<Replace, Error> {
    table.replace(entry(&[key], &value(mark)))
}

/// insert(1) ‖ insert(1): one wins, the other sees the winner's value.
struct InsertInsert(Fault);

impl Model for InsertInsert {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 4, self.0);
        let others: Vec<_> = (1..=2_u8)
            .map(|mark| stage.spawn(mark.into(), move |table| insert(&table, 1, mark)))
            .collect();
        let seen: Vec<_> = others.into_iter().map(|other| finished(other.join())).collect();
        let winner = stage.get(1).expect("one of them inserted");
        for (mark, seen) in (1..).zip(&seen) {
            let expected = if mark == winner { None } else { Some(winner) };
            assert_eq!(*seen, Ok(expected), "{winner} won");
        }
        stage.check();
    }
}

/// remove(1), insert(1) ‖ get(1), get(1): absent or whole, and never the old value after the new.
struct RemoveInsertGet(Fault);

impl Model for RemoveInsertGet {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 2, self.0);
        assert_eq!(insert(&stage.table, 1, 10), Ok(None));
        let writer = stage.spawn(1, |table| {
            assert_eq!(table.remove(&[1]), Ok(Remove::Removed));
            assert_eq!(insert(&table, 1, 11), Ok(None));
        });
        let reader = stage.spawn(2, |table| (get(&table, 1), get(&table, 1)));
        finished(writer.join());
        let (first, second) = finished(reader.join());
        assert!(first.is_none_or(|mark| mark == 10 || mark == 11));
        assert!(!(first == Some(11) && second != Some(11)), "{first:?} then {second:?}");
        assert_eq!(stage.get(1), Some(11));
        stage.check();
    }
}

/// get(1) ‖ replace(1), replace(1) on two blocks: never absent, never torn.
struct GetReplaceReplace(Fault);

impl Model for GetReplaceReplace {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 2, self.0);
        assert_eq!(insert(&stage.table, 1, 10), Ok(None));
        let writer = stage.spawn(1, |table| {
            assert_eq!(replace(&table, 1, 11), Ok(Replace::Replaced));
            assert_eq!(replace(&table, 1, 12), Ok(Replace::Replaced));
        });
        let reader = stage.spawn(2, |table| get(&table, 1));
        finished(writer.join());
        let mark = finished(reader.join()).expect("the key was never absent");
        assert!((10..=12).contains(&mark));
        assert_eq!(stage.get(1), Some(12));
        stage.check();
    }
}

/// insert(2) ‖ remove(1), insert(2): the two insertions see different free slots, and one wins.
struct InsertThroughDifferentSlots(Fault);

impl Model for InsertThroughDifferentSlots {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 4, self.0);
        assert_eq!(insert(&stage.table, 1, 10), Ok(None));
        let first = stage.spawn(1, |table| insert(&table, 2, 20));
        let second = stage.spawn(2, |table| {
            assert_eq!(table.remove(&[1]), Ok(Remove::Removed));
            insert(&table, 2, 21)
        });
        let outcomes = [finished(first.join()), finished(second.join())];
        let winners = outcomes.iter().filter(|outcome| **outcome == Ok(None)).count();
        // Two live entries fill a bucket of three slots, so the first one may find it full.
        let full = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        assert!(winners == 1 && full <= 1, "{outcomes:?}");
        assert_eq!(stage.get(1), None);
        stage.check();
    }
}

/// replace(1) ‖ remove(1) ‖ later get: a replacement that lost does not bring the key back.
struct ReplaceRemove(Fault);

impl Model for ReplaceRemove {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 4, self.0);
        assert_eq!(insert(&stage.table, 1, 10), Ok(None));
        let replacer = stage.spawn(1, |table| replace(&table, 1, 11));
        let remover = stage.spawn(2, |table| table.remove(&[1]));
        let replaced = finished(replacer.join()).expect("blocks are left");
        // Whichever came first, the key was there for the remover.
        assert_eq!(finished(remover.join()), Ok(Remove::Removed), "{replaced:?}");
        assert_eq!(stage.get(1), None);
        stage.check();
    }
}

/// take(1) ‖ take(1), insert(1), take(1): each value at most once.
struct TakeTake(Fault);

impl Model for TakeTake {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 4, self.0);
        assert_eq!(insert(&stage.table, 1, 10), Ok(None));
        let first = stage.spawn(1, |table| vec![take(&table, 1)]);
        let second = stage.spawn(2, |table| {
            let first = take(&table, 1);
            assert_eq!(insert(&table, 1, 11), Ok(None));
            vec![first, take(&table, 1)]
        });
        let mut taken: Vec<u8> =
            finished(first.join()).into_iter().chain(finished(second.join())).flatten().collect();
        taken.extend(stage.get(1));
        taken.sort_unstable();
        assert_eq!(taken, [10, 11], "each value once");
        stage.check();
    }
}

fn finished<T>(ended: Ended<T>) -> T {
    ended.finished().expect("nobody was killed")
}

/// A verb that dies before its k-th access while another participant works on the same key.
#[derive(Clone, Copy, Debug)]
enum Verb {
    Insert,
    Put,
    Replace,
    Remove,
    Take,
}

const VERBS: [Verb; 5] = [Verb::Insert, Verb::Put, Verb::Replace, Verb::Remove, Verb::Take];

struct Death {
    verb: Verb,
    kill: Kill,
    concurrent: bool,
}

impl Death {
    fn victim<T: Table>(verb: Verb, table: &T) {
        match verb {
            Verb::Insert => drop(insert(table, 2, 20)),
            Verb::Put => drop(put(table, 1, 12)),
            Verb::Replace => drop(replace(table, 1, 12)),
            Verb::Remove => drop(table.remove(&[1])),
            Verb::Take => drop(take(table, 1)),
        }
    }

    /// What key 1 and key 2 may hold after the victim, before the survivor.
    fn possible(verb: Verb) -> ([Option<u8>; 2], [Option<u8>; 2]) {
        match verb {
            Verb::Insert => ([Some(10); 2], [None, Some(20)]),
            Verb::Put | Verb::Replace => ([Some(10), Some(12)], [None; 2]),
            Verb::Remove | Verb::Take => ([Some(10), None], [None; 2]),
        }
    }
}

impl Model for Death {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 4, Fault::None);
        assert_eq!(insert(&stage.table, 1, 10), Ok(None));
        let place = stage.world.mortal_place(1, self.kill);
        let table = stage.join_at(&place);
        let verb = self.verb;
        let victim = stage.world.spawn(&place, move || Self::victim(verb, &table));
        let survive = move |stage: &Stage<X>| {
            let survivor = stage.spawn(2, |table| (get(&table, 1), get(&table, 2)));
            finished(survivor.join())
        };
        let ((first, second), ended) = if self.concurrent {
            let seen = survive(&stage);
            (seen, victim.join())
        } else {
            let ended = victim.join();
            (survive(&stage), ended)
        };
        let (firsts, seconds) = Self::possible(verb);
        assert!(firsts.contains(&first) && seconds.contains(&second), "{first:?} {second:?}");
        // Whoever attached since may have recovered as well.
        let _ = stage.table.recover().expect("writable");
        let recoveries = stage.table.stats().recoveries;
        assert_eq!(recoveries.processes == 1, ended == Ended::Killed, "{recoveries:?}");
        let (first, second) = (stage.get(1), stage.get(2));
        assert!(firsts.contains(&first) && seconds.contains(&second), "{first:?} {second:?}");
        let audit = stage.table.audit();
        assert!(audit.is_clean(), "{:?}", audit.findings);
        // Nothing is withheld: the bucket takes as many entries as it would without a death.
        for key in [1, 2] {
            let _ = put(&stage.table, key, 30).expect("blocks and slots are left");
        }
        assert_eq!((stage.get(1), stage.get(2)), (Some(30), Some(30)));
    }
}

/// Runs until the victim no longer dies; gives how many accesses the verb has and all executions.
fn sweep<E: Engine>(
    engine: &E,
    verb: Verb,
    concurrent: bool,
    lost: Lost,
    budget: &Budget,
) -> (u64, u64) {
    let mut executions = 0;
    for after_accesses in 0..200 {
        let kill = Kill { after_accesses, lost };
        let model = Arc::new(Death { verb, kill, concurrent });
        let outcome = engine.run(&model, budget);
        outcome.expect_pass(&format!("{verb:?} killed after {after_accesses}"));
        executions += outcome.executions;
        if outcome.kills == 0 {
            return (after_accesses, executions);
        }
    }
    panic!("{verb:?} does not end");
}

#[test]
fn a_death_at_any_access_leaves_whole_entries_and_loses_no_block() {
    for verb in VERBS {
        for mask in [0, u64::MAX, 0x5555_5555_5555_5555, 0x3333_3333_3333_3333] {
            let lost = if mask == 0 { Lost::Nothing } else { Lost::Mask(mask) };
            let budget = Budget::executions(2_000);
            let (accesses, executions) = sweep(&LoomEngine, verb, false, lost, &budget);
            println!("{verb:?}, lost {mask:#x}: {accesses} accesses, {executions} executions");
            assert!(accesses > 10, "a sweep over {accesses} accesses is no sweep");
        }
    }
}

#[test]
fn a_death_beside_a_reader_shows_it_before_or_after_and_nothing_else() {
    for verb in VERBS {
        let budget = Budget::executions(200);
        let (accesses, executions) =
            sweep(&ShuttleEngine::RANDOM, verb, true, Lost::Nothing, &budget);
        println!("{verb:?}: {accesses} accesses, {executions} executions");
    }
}

fn passes<P: Model>(model: P, budget: &Budget) {
    let model = Arc::new(model);
    for (name, outcome) in [
        ("loom", LoomEngine.run(&model, budget)),
        ("shuttle", ShuttleEngine::RANDOM.run(&model, &Budget::executions(3_000))),
    ] {
        println!("{} on {name}: {outcome}", model.name());
        outcome.expect_pass(name);
    }
}

/// Whether an engine finds the fault, for the reason that makes it a fault.
fn is_caught<P: Model>(model: P, reason: &str) -> bool {
    let model = Arc::new(model);
    let budget = Budget::executions(20_000).preemptions(3);
    let outcomes: [Outcome; 2] = [
        LoomEngine.run(&model, &budget),
        ShuttleEngine::RANDOM.run(&model, &Budget::executions(20_000)),
    ];
    for outcome in &outcomes {
        println!("{}: {outcome}", model.name());
    }
    let failures = outcomes.iter().filter_map(|outcome| outcome.failure.as_ref());
    failures.map(|failure| &failure.message).any(|message| message.contains(reason))
}

#[test]
fn two_inserters_of_one_key_agree() {
    passes(InsertInsert(Fault::None), &Budget::executions(50_000).preemptions(3));
}

#[test]
fn a_reader_beside_remove_and_insert_sees_whole_entries() {
    passes(RemoveInsertGet(Fault::None), &Budget::executions(50_000).preemptions(3));
}

#[test]
fn a_reader_beside_two_replacements_on_two_blocks_never_misses() {
    passes(GetReplaceReplace(Fault::None), &Budget::executions(50_000).preemptions(3));
}

#[test]
fn insertions_through_different_free_slots_do_not_duplicate() {
    passes(InsertThroughDifferentSlots(Fault::None), &Budget::executions(50_000).preemptions(2));
}

#[test]
fn a_removed_key_is_not_replaced_back() {
    passes(ReplaceRemove(Fault::None), &Budget::executions(50_000).preemptions(3));
}

#[test]
fn a_value_is_taken_at_most_once() {
    passes(TakeTake(Fault::None), &Budget::executions(50_000).preemptions(2));
}

#[test]
fn publishing_without_the_version_is_caught() {
    assert!(is_caught(InsertInsert(Fault::PublishWithoutVersion), "won"));
}

#[test]
fn leaving_out_the_second_look_at_the_header_is_caught() {
    assert!(is_caught(GetReplaceReplace(Fault::NoHeaderRecheck), "torn"));
}

#[test]
fn emptying_a_slot_blindly_is_caught() {
    assert!(is_caught(ReplaceRemove(Fault::SlotEmptiedBlindly), "Removed"));
}

#[test]
fn wiping_before_the_unlink_is_visible_is_caught() {
    assert!(is_caught(RemoveInsertGet(Fault::WipeBeforeUnlink), "torn"));
}
