//! `cas_bucket` grows and shrinks: by itself, when told, beside others, and before readers who may
//! not write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use shm_arena::{Access, AttachOptions, CreateOptions, Environment, HeapMemory, SegmentError};
use shm_table::{
    CasBucket, Design, Entry, Error, Insert, Kind, Put, Remove, SharedTable, Table, TableOptions,
    TableShape, Walk,
};

type Tables = Vec<CasBucket<Arc<HeapMemory>>>;

fn handles(options: &TableOptions, count: usize) -> Tables {
    let words = CasBucket::<HeapMemory>::word_count(options).expect("a size");
    let memory = Arc::new(HeapMemory::new(words));
    let environment = Environment::default();
    let first = CasBucket::create(memory.clone(), options, &environment).expect("a table");
    let attach = |_| CasBucket::attach(memory.clone(), &environment).expect("a handle");
    let others: Vec<_> = (1..count).map(attach).collect();
    std::iter::once(first).chain(others).collect()
}

fn options(entries: u64, buckets: [u64; 2], adjusts: bool) -> TableOptions {
    let [buckets_min, buckets_max] = buckets.map(Some);
    let base =
        TableOptions { entries, value_bytes: 8, processes: 8, lines: 16, ..Default::default() };
    // What fits where depends on the hashes.
    let hash_secret = Some([1, 2]);
    TableOptions { buckets_min, buckets_max, adjusts, hash_secret, ..base }
}

fn put(table: &impl Table, key: u64) {
    let value = key.to_le_bytes();
    let put = table.put(Entry { key: &key.to_le_bytes(), value: &value, metadata: key });
    assert_eq!(put, Ok(Put::Inserted), "key {key}");
}

fn is_there(table: &impl Table, key: u64) -> bool {
    let mut value = Vec::new();
    let found = table.get(&key.to_le_bytes(), &mut value).expect("no damage");
    assert!(found.is_none_or(|metadata| metadata == key && value == key.to_le_bytes()));
    found.is_some()
}

#[test]
fn a_table_has_one_size_unless_it_is_given_room() {
    let fixed = handles(&TableOptions { entries: 4096, ..Default::default() }, 1).remove(0);
    let stats = fixed.stats();
    assert_eq!((stats.buckets, stats.buckets_max, stats.resizing), (1024, 1024, None));
    assert_eq!(fixed.adjust(Some(1)), Ok(1024));
    let growing = handles(&options(4096, [4, 1024], true), 1).remove(0);
    assert_eq!((growing.stats().buckets, growing.stats().buckets_max), (4, 1024));
    for wrong in [[0, 8], [3, 8], [16, 8], [8, 1 << 32]] {
        let error = CasBucket::<HeapMemory>::word_count(&options(64, wrong, true)).unwrap_err();
        assert!(matches!(error, SegmentError::Size { .. }), "{error}");
    }
}

#[test]
fn it_grows_above_five_entries_a_bucket_and_shrinks_below_one() {
    let table = handles(&options(8192, [4, 1024], true), 1).remove(0);
    for key in 0..8000 {
        put(&table, key);
    }
    assert_eq!(table.stats().buckets, 1024, "{:?}", table.resizing());
    assert!((0..8000).all(|key| is_there(&table, key)) && !is_there(&table, 8000));
    assert!(table.audit().is_clean(), "{:?}", table.audit());
    for key in 0..7990 {
        assert_eq!(table.remove(&u64::to_le_bytes(key)), Ok(Remove::Removed));
    }
    let buckets = table.stats().buckets;
    assert!(buckets <= 64, "{buckets} buckets for ten entries, {:?}", table.resizing());
    assert!((7990..8000).all(|key| is_there(&table, key)) && !is_there(&table, 1));
    assert!(table.audit().is_clean(), "{:?}", table.audit());
    assert_eq!(table.clear(), Ok(10));
}

#[test]
fn a_full_bucket_makes_it_grow_and_at_the_largest_size_is_an_error() {
    let shape = TableShape { buckets: 1, slots: 4, slabs: 8, slab_units: 64, block_units_min: 1 };
    let base = options(64, [1, 4], true);
    let table = handles(&TableOptions { shape: Some(shape), ..base.clone() }, 1).remove(0);
    let stored = (0..64).take_while(|key: &u64| {
        let entry = Entry { key: &key.to_le_bytes(), value: &[], metadata: *key };
        match table.put(entry) {
            Ok(_) => true,
            Err(error) => {
                assert!(matches!(error, Error::BucketFull { .. }), "{error}");
                false
            }
        }
    });
    assert!(stored.count() > 4, "more than one bucket holds");
    assert_eq!(table.stats().buckets, 4);
    assert!(table.audit().is_clean(), "{:?}", table.audit());
    // One that only does as it is told says that it is full.
    let idle = TableOptions { shape: Some(shape), adjusts: false, ..base };
    let idle = handles(&idle, 1).remove(0);
    (0..3).for_each(|key| put(&idle, key));
    let entry = Entry { key: &[9; 8], value: &[], metadata: 0 };
    assert_eq!(idle.insert(entry, &mut Vec::new()), Err(Error::BucketFull { bucket: 0 }));
    assert_eq!(idle.adjust(Some(4)), Ok(4));
    assert_eq!(idle.insert(entry, &mut Vec::new()), Ok(Insert::Inserted));
    assert_eq!(idle.adjust(Some(1)), Ok(4), "four entries do not fit in one bucket of four");
    assert_eq!(idle.remove(&[9; 8]), Ok(Remove::Removed));
    assert!(idle.audit().is_clean(), "{:?}", idle.audit());
}

#[test]
fn entries_stay_while_handles_grow_shrink_put_and_take_at_once() {
    const KEYS: u64 = 400;
    let tables = handles(&options(4096, [1, 256], true), 5);
    let (witness, workers) = tables.split_first().expect("five");
    (0..KEYS).for_each(|key| put(witness, key));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..120_u32 {
                witness.adjust(Some(1 << (round * 5 % 9))).expect("writable");
            }
        });
        for (number, worker) in (1..).zip(workers) {
            scope.spawn(move || {
                for key in number * 1_000_000..number * 1_000_000 + 4_000 {
                    put(worker, key);
                    assert!(is_there(worker, key), "what this handle put");
                    assert!(is_there(worker, key % KEYS), "what stays");
                    assert_eq!(worker.take(&key.to_le_bytes(), &mut Vec::new()), Ok(Some(key)));
                    assert!(!is_there(worker, key), "what this handle took");
                }
            });
        }
    });
    assert!((0..KEYS).all(|key| is_there(witness, key)));
    let audit = witness.audit();
    assert!(audit.is_clean() && audit.entries == KEYS, "{audit:?}");
}

#[test]
fn readers_who_may_not_write_find_everything_in_a_table_that_stands_in_the_middle() {
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder");
    let path = folder.path().join("table");
    let options = options(8192, [64, 4096], true);
    let create = CreateOptions::default();
    let writer = SharedTable::create_file(&path, Kind::CasBucket, &options, &create);
    let writer = writer.expect("a table");
    let attach = AttachOptions { access: Access::ReadOnly, ..AttachOptions::default() };
    let reader = SharedTable::attach_file(&path, &attach).expect("a reader");
    let mut halves = 0;
    for key in 0..4000 {
        put(&writer, key);
        let Some(resizing) = reader.resizing().filter(|_| key % 7 == 0) else { continue };
        assert!(resizing.done <= resizing.steps && resizing.target > 64, "{resizing:?}");
        assert!((0..=key).all(|key| is_there(&reader, key)) && !is_there(&reader, key + 1));
        let walked = Walk::new(&reader).map(|entry| entry.expect("no damage").key);
        let walked: BTreeSet<_> = walked.collect();
        assert_eq!(walked.len() as u64, key + 1, "a walk sees each entry");
        let audit = reader.audit();
        assert!(audit.findings.is_empty() && audit.entries == key + 1, "{audit:?}");
        halves += 1;
    }
    assert!(halves > 10, "the table was seen in the middle {halves} times");
    assert!(matches!(reader.adjust(Some(64)), Err(Error::ReadOnly)));
}

proptest! {
    /// Entries that stay are walked once, whatever the size does between two steps.
    #[test]
    fn a_walk_misses_nothing_that_stays_and_repeats_nothing(
        sizes in prop::collection::vec(0..7_u32, 1..30), keys in 1..200_u64,
    ) {
        let table = handles(&options(1024, [1, 64], false), 1).remove(0);
        table.adjust(Some(64)).unwrap();
        (0..keys).for_each(|key| put(&table, key));
        let mut sizes = sizes.into_iter().cycle();
        let mut met = BTreeMap::<Vec<u8>, u32>::new();
        for entry in Walk::new(&table) {
            *met.entry(entry.unwrap().key).or_default() += 1;
            table.adjust(Some(1 << sizes.next().unwrap())).unwrap();
        }
        prop_assert_eq!(met.len() as u64, keys);
        prop_assert!(met.values().all(|&times| times == 1));
        prop_assert!(table.audit().is_clean());
    }
}
