//! What a process that is stopped in the middle of a call withholds from the others: at every
//! access of the call, it stands still for good and is alive all the while.
#![allow(missing_docs)]

#[path = "../../arena/tests/fragile/mod.rs"]
mod fragile;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use fragile::Fragile;
use shm_arena::{Clock, Environment};
use shm_table::{
    CasBucket, Chained, Design, Entry, Error, Insert, Put, RobinHood, Table, TableOptions,
    TableShape,
};

/// What stands still in the middle.
type Call<T> = fn(&T);

/// One bucket of few slots, and one block for each entry and each line, twice.
fn options() -> TableOptions {
    let shape = TableShape { buckets: 1, slots: 8, slabs: 1, slab_units: 16, block_units_min: 1 };
    TableOptions {
        entries: 8,
        key_bytes: 1,
        value_bytes: 8,
        processes: 2,
        lines: 2,
        hash_secret: Some([1, 2]),
        shape: Some(shape),
        ..TableOptions::default()
    }
}

fn entry(key: &[u8]) -> Entry<'_> {
    Entry { key, value: &[1; 8], metadata: 7 }
}

/// Fills a table from one key on until it says that it is full; gives the number of entries.
fn fill(table: &impl Table) -> Result<u64, Error> {
    let mut out = Vec::new();
    for key in 0..40_u8 {
        match table.insert(entry(&[key]), &mut out) {
            Ok(Insert::Inserted | Insert::Exists { .. }) => {}
            Err(Error::NoBlock { .. } | Error::BucketFull { .. }) => break,
            Err(error) => return Err(error),
        }
    }
    // Counted one by one: what a stopped process published counts, and it has not said so.
    Ok(table.sorted()?.len() as u64)
}

/// A clock on which waits are soon over: each look takes it 20 ms on.
#[derive(Debug, Default)]
struct Hasty(Mutex<u64>);

impl Clock for Hasty {
    fn now_ms(&self) -> u64 {
        let mut now_ms = self.0.lock().unwrap();
        *now_ms += 20;
        *now_ms
    }
}

/// Whether a full table has a slot for the new entry that takes the place of an old one.
fn can_replace(table: &impl Table) -> bool {
    let replace = |key: u8| table.replace(entry(&[key]));
    (0..60).all(|key| !matches!(replace(key), Err(Error::BucketFull { .. })))
}

/// What others find beside a process that stands still.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Beside {
    /// So many entries fit, and then each can be replaced or not.
    Room(u64, bool),
    /// It holds the lock: every update is refused after a bounded wait.
    Busy,
}

/// Stops a call after so many accesses; `None`: the call ended before.
fn beside<D: Design<Fragile>>(
    options: &TableOptions,
    call: Call<D>,
    accesses: u32,
) -> Option<Beside> {
    let memory = Fragile::new(D::word_count(options).unwrap());
    let environment = Environment { clock: Arc::new(Hasty::default()), ..Environment::default() };
    let table = D::create(memory.clone(), options, &environment).unwrap();
    let other = D::attach(memory.clone(), &environment).unwrap();
    assert_eq!(table.put(entry(&[0])), Ok(Put::Inserted));
    memory.arm(Some(accesses));
    let stopped = catch_unwind(AssertUnwindSafe(|| call(&other))).is_err();
    memory.arm(None);
    let found = match fill(&table) {
        Ok(entries) => Beside::Room(entries, can_replace(&table)),
        Err(Error::Busy { .. }) => Beside::Busy,
        Err(error) => panic!("stopped after {accesses} accesses: {error}"),
    };
    // It would go on some day: nobody may have given back what it has.
    std::mem::forget(other);
    let waits = table.capabilities().writes.waits();
    assert!(found != Beside::Busy || waits, "nothing waits here");
    if let Beside::Room(entries, _) = found {
        // Nobody waits, and nothing is lost or double, but for what it is in the middle of.
        for key in 0..40_u8 {
            let _ = table.remove(&[key]).unwrap();
        }
        let again = fill(&table).unwrap();
        assert!(again >= entries, "{again} entries fit after {entries} were removed");
    }
    stopped.then_some(found)
}

/// What is withheld by a process that stands still anywhere in these calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Withheld {
    /// Entries for which there is no room, at the worst place.
    entries: u64,
    /// Places at which nothing can be replaced in a full table.
    replacements: usize,
    /// Places at which the others are busy.
    busy: usize,
}

fn withheld<D: Design<Fragile>>() -> Withheld {
    let calls: [(&str, Call<D>); 5] = [
        ("insert", |table| {
            let _ = table.insert(entry(&[50]), &mut Vec::new());
        }),
        ("replace", |table| {
            let _ = table.replace(entry(&[0]));
        }),
        ("remove", |table| {
            let _ = table.remove(&[0]);
        }),
        ("take", |table| {
            let _ = table.take(&[0], &mut Vec::new());
        }),
        ("reserve", |table| {
            let _ = table.reserve(&[51], 8, 0).and_then(|room| room.put());
        }),
    ];
    withheld_by(&options(), &calls)
}

fn withheld_by<D: Design<Fragile>>(options: &TableOptions, calls: &[(&str, Call<D>)]) -> Withheld {
    let idle: Call<D> = |_| {};
    assert_eq!(beside::<D>(options, idle, 1), None, "it is not stopped");
    let memory = Fragile::new(D::word_count(options).unwrap());
    let table = D::create(memory, options, &Environment::default()).unwrap();
    let room = fill(&table).unwrap();
    let mut worst = Withheld { entries: 0, replacements: 0, busy: 0 };
    for &(name, call) in calls {
        let stopped = |accesses| beside::<D>(options, call, accesses);
        let found: Vec<Beside> = (0..).map_while(stopped).collect();
        let fewest = found.iter().filter_map(|found| match found {
            Beside::Room(entries, _) => Some(*entries),
            Beside::Busy => None,
        });
        let fewest = fewest.min().unwrap_or(room);
        let count = |wanted: fn(&Beside) -> bool| found.iter().filter(|&it| wanted(it)).count();
        let stuck = count(|it| matches!(it, Beside::Room(_, false)));
        let busy = count(|it| matches!(it, Beside::Busy));
        let places = found.len();
        println!("{name}: {places} places, {fewest} of {room} fit, {stuck} stuck, {busy} busy");
        assert!(places > 8, "{name}: {places} accesses");
        worst.entries = worst.entries.max(room.saturating_sub(fewest));
        worst.replacements += stuck;
        worst.busy += busy;
    }
    worst
}

#[test]
fn a_process_stopped_in_cas_bucket_withholds_one_slot_and_keeps_nobody_waiting() {
    let withheld = withheld::<CasBucket<Fragile>>();
    // Insertions leave one slot, so it is missed by those who replace in a full bucket alone.
    assert_eq!((withheld.entries, withheld.busy), (0, 0));
    assert!(withheld.replacements > 0, "it never had a slot");
}

#[test]
fn a_process_stopped_while_it_changes_the_size_of_cas_bucket_withholds_nothing() {
    let options = TableOptions { buckets_max: Some(4), ..options() };
    let calls: [(&str, Call<CasBucket<Fragile>>); 1] = [("grow and shrink", |table| {
        for buckets in [4, 1] {
            let _ = table.adjust(Some(buckets));
        }
    })];
    let withheld = withheld_by(&options, &calls);
    assert_eq!(withheld, Withheld { entries: 0, replacements: 0, busy: 0 });
}

#[test]
fn a_process_stopped_while_it_grows_robin_hood_withholds_nothing() {
    let options = TableOptions { buckets_max: Some(4), ..options() };
    let calls: [(&str, Call<RobinHood<Fragile>>); 1] = [("grow", |table| {
        let _ = table.adjust(Some(4));
    })];
    let withheld = withheld_by(&options, &calls);
    assert_eq!(withheld, Withheld { entries: 0, replacements: 0, busy: 0 });
}

#[test]
fn a_process_stopped_in_robin_hood_withholds_no_slot_and_keeps_nobody_waiting() {
    let withheld = withheld::<RobinHood<Fragile>>();
    assert_eq!(withheld, Withheld { entries: 0, replacements: 0, busy: 0 });
}

#[test]
fn a_process_stopped_in_chained_may_keep_others_busy_and_withholds_blocks_alone() {
    let withheld = withheld::<Chained<Fragile>>();
    assert!(withheld.busy > 0, "it never had the lock");
    assert_eq!(withheld.replacements, 0, "there are no slots");
    // A block in the making, one being unlinked, one that is settled, and a spare.
    assert!(withheld.entries <= 4, "{withheld:?}");
}
