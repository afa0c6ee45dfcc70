//! Buckets of `cas_bucket` that share words behind their first lines: a word is one bucket's at a
//! time, whoever claims it, gives it back or dies over it.
#![allow(missing_docs)]

use shm_arena::{Layout, Memory};
use shm_table::{CasBucket, Design, Entry, Error, Put, Remove, Table, TableOptions, TableShape};
use shm_verification::faulty::{Buckets, Fault, Faulty};
use shm_verification::{
    Budget, CrashMemory, DepthFirstEngine, Ended, Engine, Execution, Kill, LoomEngine, Model,
    Place, ShuttleEngine, Sweep, ViewEngine, World, sweep,
};

type Shared<X> = Faulty<CrashMemory<<X as Execution>::Memory>>;

/// Slots of a bucket in its first line.
const FIRST: usize = 7;

/// Slots of a bucket: beside its own, two words that both buckets may use.
const FEW: u32 = 9;
/// The same with more words that both may use, and headers that have live bits in place of a mode.
const MANY: u32 = 23;

/// Two buckets of so many slots: seven of their own, and words of which both may use all.
fn options(slots: u32) -> TableOptions {
    let shape = TableShape { buckets: 2, slots, slabs: 1, slab_units: 32, block_units_min: 1 };
    TableOptions {
        processes: 4,
        lines: 4,
        hash_secret: Some([1, 2]),
        shape: Some(shape),
        ..TableOptions::default()
    }
}

/// The first keys of a bucket, of two bytes.
fn keys<M: Memory>(table: &CasBucket<M>, bucket: u64) -> Vec<[u8; 2]> {
    let all = (0_u16..).map(u16::to_le_bytes);
    all.filter(|key| table.arena().hasher().hash(key) & 1 == bucket).take(FIRST + 2).collect()
}

fn put<M: Memory>(table: &CasBucket<M>, key: [u8; 2], mark: u8) -> Result<Put, Error> {
    table.put(Entry { key: &key, value: &[mark; 16], metadata: mark.into() })
}

/// The mark of an entry, which is whole.
fn get<M: Memory>(table: &CasBucket<M>, key: [u8; 2]) -> Option<u8> {
    let mut value = Vec::new();
    let metadata = table.get(&key, &mut value).expect("nothing is damaged")?;
    assert!(value.iter().all(|&byte| u64::from(byte) == metadata), "torn: {metadata} {value:?}");
    Some(value[0])
}

/// Both buckets' own slots are full. Put one more, replace and remove it, put it again, in one
/// bucket ‖ put one more in the other, look at it, replace it: two words for all of that.
struct Contest {
    slots: u32,
    kill: Kill,
    fault: Fault,
}

impl Model for Contest {
    fn run<X: Execution>(&self, execution: &X) {
        let options = options(self.slots);
        let words = CasBucket::<Shared<X>>::word_count(&options).expect("tiny");
        let world = World::new(execution, words);
        let place = world.place(0);
        let memory = Faulty::new(place.memory.clone(), Fault::None, Buckets::NONE);
        let table = CasBucket::create(memory, &options, &place.environment).expect("zeroed");
        let index = Layout::new(table.arena().geometry()).expect("made").index();
        let at = Buckets { index, buckets: 2, slots: FIRST as u64, ..Buckets::NONE };
        let join = |place: &Place<X>, fault| {
            let memory = Faulty::new(place.memory.clone(), fault, at);
            CasBucket::<Shared<X>>::attach(memory, &place.environment).expect("a table is there")
        };
        let [first, second] = [0, 1].map(|bucket| keys(&table, bucket));
        for &key in first[..FIRST].iter().chain(&second[..FIRST]) {
            assert_eq!(put(&table, key, 1), Ok(Put::Inserted));
        }
        let (one, other) = (first[FIRST], second[FIRST]);
        let doomed = world.mortal_place(1, self.kill);
        let handle = join(&doomed, self.fault);
        let victim = world.spawn(&doomed, move || {
            let inserted = put(&handle, one, 10) == Ok(Put::Inserted);
            // The other bucket may have both words meanwhile, or one that this needs.
            let replaced = inserted && put(&handle, one, 11) == Ok(Put::Replaced);
            let removed = handle.remove(&one) == Ok(Remove::Removed);
            assert_eq!(inserted, removed, "its own entry came or went");
            (replaced, put(&handle, one, 12).is_ok())
        });
        let place = world.place(2);
        let handle = join(&place, Fault::None);
        let survivor = world.spawn(&place, move || {
            let inserted = put(&handle, other, 20).is_ok();
            assert_eq!(get(&handle, other), inserted.then_some(20), "its own entry came or went");
            let replaced = inserted && put(&handle, other, 21).is_ok();
            assert_eq!(get(&handle, other), inserted.then_some(20 + u8::from(replaced)));
        });
        let last = victim.join();
        assert_eq!(survivor.join(), Ended::Finished(()));
        let _ = table.recover().expect("writable");
        if let Ended::Finished((_, is_there)) = last {
            assert_eq!(get(&table, one), is_there.then_some(12), "an entry is lost");
        }
        for &key in first[..FIRST].iter().chain(&second[..FIRST]) {
            assert_eq!(get(&table, key), Some(1), "a bystander's entry is lost");
        }
        let audit = table.audit();
        assert!(audit.is_clean(), "{:?}", audit.findings);
        // Nothing is withheld: with one bucket's entry gone, the other has both words.
        let _ = table.remove(&other).expect("nothing is damaged");
        for mark in [30, 31] {
            assert!(put(&table, one, mark).is_ok(), "a word is withheld");
        }
        assert_eq!(get(&table, one), Some(31));
        assert!(table.audit().is_clean());
    }
}

fn contest<E: Engine>(engine: &E, slots: u32, fault: Fault, executions: u64) -> Sweep {
    let budget = Budget { accesses: 50_000, ..Budget::executions(executions).preemptions(2) };
    let sweep = sweep(engine, &budget, false, |kill| Contest { slots, kill, fault });
    println!("{}, {slots} slots, {fault:?}: {sweep}", engine.name());
    sweep
}

#[test]
fn a_word_is_one_bucket_s_at_a_time() {
    let sweeps = [
        contest(&LoomEngine, FEW, Fault::None, 60),
        contest(&DepthFirstEngine, FEW, Fault::None, 60),
        contest(&ShuttleEngine::RANDOM, FEW, Fault::None, 60),
        contest(&ShuttleEngine::PCT, FEW, Fault::None, 60),
        contest(&ViewEngine::default(), FEW, Fault::None, 60),
        contest(&DepthFirstEngine, MANY, Fault::None, 30),
        contest(&ShuttleEngine::PCT, MANY, Fault::None, 30),
        contest(&ViewEngine::default(), MANY, Fault::None, 30),
    ];
    for sweep in sweeps {
        assert!(sweep.failure.is_none(), "{:?}", sweep.failure);
        assert!(sweep.kills > 100, "a sweep over {} kills is no sweep", sweep.kills);
    }
}

#[test]
fn a_word_that_is_seized_is_caught() {
    for slots in [FEW, MANY] {
        let faulty = contest(&ShuttleEngine::RANDOM, slots, Fault::SharedWordSeized, 20);
        let (_, failure) = faulty.failure.expect("an entry whose word another took is found");
        println!("{failure}");
    }
}
