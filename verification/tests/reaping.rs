//! Who unlinks an entry and who recovers the dead may both want its block: one of them gets it.
#![allow(missing_docs)]

use std::marker::PhantomData;

use shm_arena::{Layout, Memory};
use shm_table::{
    CasBucket, Chained, Design, Entry, Insert, Remove, RobinHood, Table, TableOptions, TableShape,
};
use shm_verification::faulty::{Buckets, Fault, Faulty};
use shm_verification::{
    Budget, CrashMemory, DepthFirstEngine, Ended, Engine, Execution, Kill, LoomEngine, Model,
    Place, ShuttleEngine, Sweep, ViewEngine, World, sweep,
};

/// A table design, whatever the memory.
trait Subject: Send + Sync + 'static {
    type Table<M: Memory + 'static>: Design<M> + 'static;

    /// Words beside each other of which one is a block's.
    const WORDS_A_BLOCK: u64 = 1;

    fn layout<M: Memory + 'static>(table: &Self::Table<M>) -> Layout;
}

struct Cas;

impl Subject for Cas {
    type Table<M: Memory + 'static> = CasBucket<M>;

    fn layout<M: Memory + 'static>(table: &CasBucket<M>) -> Layout {
        *table.arena().layout()
    }
}

struct Robin;

impl Subject for Robin {
    type Table<M: Memory + 'static> = RobinHood<M>;

    fn layout<M: Memory + 'static>(table: &RobinHood<M>) -> Layout {
        *table.arena().layout()
    }
}

struct Watson;

impl Subject for Watson {
    type Table<M: Memory + 'static> = Chained<M>;

    const WORDS_A_BLOCK: u64 = 2;

    fn layout<M: Memory + 'static>(table: &Chained<M>) -> Layout {
        *table.arena().layout()
    }
}

/// Somebody died of removing an entry. Remove it and insert another one ‖ recover, and insert a
/// third: the dead one's line names the block that the remover unlinks.
struct ReapBesideRemove<S> {
    kill: Kill,
    fault: Fault,
    subject: PhantomData<S>,
}

const BLOCKS: u32 = 8;
const BYTES: usize = 16;

fn insert<T: Table>(table: &T, key: u8) -> Insert {
    let entry = Entry { key: &[key], value: &[key; BYTES], metadata: key.into() };
    table.insert(entry, &mut Vec::new()).expect("there is room")
}

/// Whether an entry is there, whole.
fn has<T: Table>(table: &T, key: u8) -> bool {
    let mut value = Vec::new();
    let metadata = table.get(&[key], &mut value).expect("nothing is damaged");
    let is_whole = value == [key; BYTES];
    assert!(metadata.is_none() || is_whole, "key {key}: wiped by another: {value:?}");
    metadata.is_some()
}

impl<S: Subject> Model for ReapBesideRemove<S> {
    fn run<X: Execution>(&self, execution: &X) {
        type Shared<X> = Faulty<CrashMemory<<X as Execution>::Memory>>;
        let shape =
            TableShape { buckets: 1, slots: 4, slabs: 1, slab_units: BLOCKS, block_units_min: 1 };
        let base = TableOptions { processes: 4, lines: 4, adjusts: false, ..Default::default() };
        let options = TableOptions { hash_secret: Some([1, 2]), shape: Some(shape), ..base };
        let words = S::Table::<Shared<X>>::word_count(&options).expect("tiny");
        let world = World::new(execution, words);
        let place = world.place(0);
        let memory = Faulty::new(place.memory.clone(), Fault::None, Buckets::NONE);
        let table = S::Table::create(memory, &options, &place.environment).expect("zeroed");
        let index = S::layout(&table).index();
        let block_words = u64::from(BLOCKS) * S::WORDS_A_BLOCK;
        let at = Buckets { index, block_words, ..Buckets::NONE };
        let join = |place: &Place<X>| {
            let memory = Faulty::new(place.memory.clone(), self.fault, at);
            S::Table::attach(memory, &place.environment).expect("a table is there")
        };
        assert_eq!(insert(&table, 1), Insert::Inserted);
        let doomed = world.mortal_place(3, self.kill);
        let places = [world.place(1), world.place(2)];
        let victim = join(&doomed);
        let [remover, reaper] = places.each_ref().map(join);
        let _ = world.spawn(&doomed, move || victim.remove(&[1])).join();
        let removes = world.spawn(&places[0], move || {
            let removed = remover.remove(&[1]).expect("not damaged");
            assert_eq!(insert(&remover, 2), Insert::Inserted);
            assert!(has(&remover, 2), "what it inserted is gone");
            removed
        });
        let recovers = world.spawn(&places[1], move || {
            let _ = reaper.recover().expect("a line");
            assert_eq!(insert(&reaper, 3), Insert::Inserted);
            assert!(has(&reaper, 3), "what it inserted is gone");
        });
        let removed = removes.join();
        assert!(matches!(removed, Ended::Finished(Remove::Removed | Remove::Absent)));
        assert_eq!(recovers.join(), Ended::Finished(()));
        assert!(!has(&table, 1) && has(&table, 2) && has(&table, 3), "an entry is lost");
        let audit = table.audit();
        assert!(audit.is_clean(), "{:?}", audit.findings);
    }
}

fn reap<S: Subject, E: Engine>(engine: &E, fault: Fault, executions: u64) -> Sweep {
    let budget = Budget { accesses: 20_000, ..Budget::executions(executions).preemptions(2) };
    let sweep = sweep(engine, &budget, false, |kill| {
        let subject = PhantomData::<S>;
        ReapBesideRemove { kill, fault, subject }
    });
    println!("{}, {fault:?}: {sweep}", engine.name());
    sweep
}

fn expect_one_owner<S: Subject>() {
    let sweeps = [
        reap::<S, _>(&LoomEngine, Fault::None, 200),
        reap::<S, _>(&DepthFirstEngine, Fault::None, 200),
        reap::<S, _>(&ShuttleEngine::RANDOM, Fault::None, 200),
        reap::<S, _>(&ShuttleEngine::PCT, Fault::None, 200),
        reap::<S, _>(&ViewEngine::default(), Fault::None, 200),
    ];
    for sweep in sweeps {
        assert!(sweep.failure.is_none(), "{:?}", sweep.failure);
        assert!(sweep.kills > 10, "a sweep over {} kills is no sweep", sweep.kills);
    }
}

fn one_of_them_gets_the_block<S: Subject>(fault: Fault) {
    expect_one_owner::<S>();
    let faulty = reap::<S, _>(&ShuttleEngine::PCT, fault, 200);
    let (_, failure) = faulty.failure.expect("a block that two own is found");
    println!("{failure}");
}

#[test]
fn one_of_them_gets_the_block_of_cas_bucket() {
    one_of_them_gets_the_block::<Cas>(Fault::TakenBlindly);
}

/// The lock keeps the reaper out, so that its owner may take a block by a store; behind the lock it
/// must not.
#[test]
fn under_a_lock_only_its_owner_gets_the_block() {
    one_of_them_gets_the_block::<Watson>(Fault::TakenLate);
}

#[test]
fn one_of_them_gets_the_block_of_robin_hood() {
    one_of_them_gets_the_block::<Robin>(Fault::TakenBlindly);
}
