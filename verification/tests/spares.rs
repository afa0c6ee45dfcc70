//! Lines that keep several blocks back: each is named from the instant at which it leaves use until
//! it is in again, whatever its size and whoever dies meanwhile.
#![allow(missing_docs)]

use std::marker::PhantomData;

use shm_arena::{Geometry, Layout, Offset};
use shm_table::{Design, Entry, Error, Table, TableOptions, TableShape};
use shm_verification::faulty::{Buckets, Fault, Faulty};
use shm_verification::scenario::{CasBucketSubject, ChainedSubject, RobinHoodSubject, Subject};
use shm_verification::{
    Budget, CrashMemory, DepthFirstEngine, Ended, Engine, Execution, Kill, Model, Place,
    ShuttleEngine, Sweep, ViewEngine, World, sweep,
};

type Shared<X> = Faulty<CrashMemory<<X as Execution>::Memory>>;
type Tabled<S, X> = <S as Subject>::Table<Shared<X>>;

const LINES: u32 = 4;
const SPARES: u32 = 3;

/// Blocks of one unit and of two, more than lines keep.
fn options() -> TableOptions {
    let shape = TableShape { buckets: 1, slots: 16, slabs: 4, slab_units: 16, block_units_min: 1 };
    TableOptions {
        processes: LINES,
        lines: LINES,
        spares: Some(SPARES),
        hash_secret: Some([1, 2]),
        shape: Some(shape),
        ..TableOptions::default()
    }
}

/// A value that fits the smallest block, or needs the next one.
fn put<T: Table>(table: &T, key: u8, is_wide: bool) -> Result<(), Error> {
    let value = vec![key; if is_wide { 80 } else { 16 }];
    table.put(Entry { key: &[key], value: &value, metadata: key.into() }).map(|_| ())
}

/// Where the lines begin: behind the records, whatever comes after them.
fn first_line() -> Offset {
    let geometry = Geometry {
        index_words: 1,
        records: LINES,
        lines: LINES,
        slabs: 1,
        slab_units: 1,
        block_units_min: 1,
        side_words: 0,
        spares: SPARES,
    };
    Layout::new(geometry).expect("tiny").line(0)
}

/// The entry is whole.
fn is_there<T: Table>(table: &T, key: u8) -> bool {
    let mut value = Vec::new();
    let found = table.get(&[key], &mut value).expect("nothing is damaged");
    assert!(value.iter().all(|&byte| byte == key), "torn: {value:?}");
    found.is_some()
}

/// Remove four, one of them wide, put one of each size and one again ‖ the same with other keys.
struct Keeping<S> {
    kill: Kill,
    fault: Fault,
    subject: PhantomData<fn() -> S>,
}

fn keeps<T: Table>(table: &T, first: u8) {
    let [a, wide, c, d] = [0, 1, 2, 3].map(|step| first + step);
    for key in [a, wide, c, d] {
        let _ = table.remove(&[key]).expect("nothing is damaged");
    }
    for (key, is_wide) in [(wide, true), (a, false), (c, true), (a, true)] {
        put(table, key, is_wide).expect("there is room");
    }
    assert!([a, wide, c].iter().all(|&key| is_there(table, key)), "its own entry is gone");
    assert!(!is_there(table, d), "a removed entry is back");
}

impl<S: Subject> Model for Keeping<S> {
    fn run<X: Execution>(&self, execution: &X) {
        let options = options();
        let words = Tabled::<S, X>::word_count(&options).expect("tiny");
        let world = World::new(execution, words);
        let place = world.place(0);
        let memory = Faulty::new(place.memory.clone(), Fault::None, Buckets::NONE);
        let table = Tabled::<S, X>::create(memory, &options, &place.environment).expect("zeroed");
        let at = Buckets { first_line: first_line(), lines: LINES.into(), ..Buckets::NONE };
        let join = |place: &Place<X>, fault| {
            let memory = Faulty::new(place.memory.clone(), fault, at);
            Tabled::<S, X>::attach(memory, &place.environment).expect("a table is there")
        };
        for first in [10, 20] {
            for step in 0..4 {
                put(&table, first + step, step == 1).expect("there is room");
            }
        }
        let doomed = world.mortal_place(1, self.kill);
        let handle = join(&doomed, self.fault);
        let victim = world.spawn(&doomed, move || keeps(&handle, 10));
        let place = world.place(2);
        let handle = join(&place, Fault::None);
        let survivor = world.spawn(&place, move || keeps(&handle, 20));
        let last = victim.join();
        assert_eq!(survivor.join(), Ended::Finished(()));
        let _ = table.recover().expect("writable");
        let audit = table.audit();
        assert!(audit.is_clean(), "{:?}", audit.findings);
        let own = [10, 11, 12].map(|key| is_there(&table, key));
        assert!(last != Ended::Finished(()) || own == [true; 3], "an entry is lost");
        assert!([20, 21, 22].iter().all(|&key| is_there(&table, key)), "a bystander's is lost");
    }
}

fn keeping<S: Subject, E: Engine>(engine: &E, fault: Fault, executions: u64) -> Sweep {
    let budget = Budget { accesses: 50_000, ..Budget::executions(executions).preemptions(1) };
    let subject = PhantomData;
    let sweep = sweep(engine, &budget, true, |kill| Keeping::<S> { kill, fault, subject });
    println!("{} on {}, {fault:?}: {sweep}", S::NAME, engine.name());
    sweep
}

fn passes<S: Subject>() {
    for sweep in [
        keeping::<S, _>(&DepthFirstEngine, Fault::None, 3),
        keeping::<S, _>(&ShuttleEngine::RANDOM, Fault::None, 2),
        keeping::<S, _>(&ViewEngine::default(), Fault::None, 2),
    ] {
        assert!(sweep.failure.is_none(), "{:?}", sweep.failure);
        assert!(sweep.kills > 100, "a sweep over {} kills is no sweep", sweep.kills);
    }
}

fn is_caught<S: Subject>() {
    let faulty = keeping::<S, _>(&ShuttleEngine::RANDOM, Fault::SpareUnnamed, 5);
    let (_, failure) = faulty.failure.expect("a block that nobody names is lost");
    assert!(failure.message.contains("is lost"), "{failure}");
}

#[test]
fn cas_bucket_loses_no_spare() {
    passes::<CasBucketSubject>();
    is_caught::<CasBucketSubject>();
}

#[test]
fn robin_hood_loses_no_spare() {
    passes::<RobinHoodSubject>();
    is_caught::<RobinHoodSubject>();
}

#[test]
fn chained_loses_no_spare() {
    passes::<ChainedSubject>();
    is_caught::<ChainedSubject>();
}
