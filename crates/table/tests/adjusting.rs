//! The size of the chained table: when it changes, how far, and that nothing is lost by it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use shm_arena::{Environment, HeapMemory, SegmentError};
use shm_table::{Chained, Design, Entry, Kind, Put, Remove, Table, TableOptions, TableShape, Walk};

fn create(options: &TableOptions) -> Result<Chained<HeapMemory>, SegmentError> {
    let memory = HeapMemory::new(Chained::<HeapMemory>::word_count(options)?);
    Chained::create(memory, options, &Environment::default())
}

fn small(adjusts: bool) -> Chained<HeapMemory> {
    let shape = TableShape { buckets: 4, slots: 2, slabs: 8, slab_units: 64, block_units_min: 1 };
    let shape = Some(shape);
    let base = TableOptions { processes: 1, lines: 2, ..TableOptions::default() };
    create(&TableOptions { shape, adjusts, buckets_max: Some(64), ..base }).unwrap()
}

fn put(table: &impl Table, key: u64) {
    let value = key.to_le_bytes();
    let put = table.put(Entry { key: &key.to_le_bytes(), value: &value, metadata: key });
    assert_eq!(put, Ok(Put::Inserted));
}

#[test]
fn there_are_as_many_buckets_as_entries_are_wanted_and_at_least_1024() {
    let stats = create(&TableOptions::default()).unwrap().stats();
    assert_eq!((stats.buckets, stats.buckets_max), (1024, 1024));
    let larger = TableOptions { entries: 10_000, ..TableOptions::default() };
    let stats = create(&larger).unwrap().stats();
    assert_eq!((stats.buckets, stats.buckets_max), (16_384, 16_384));
    let smaller = TableOptions { entries: 10, ..TableOptions::default() };
    let stats = create(&smaller).unwrap().stats();
    assert_eq!((stats.buckets, stats.buckets_max), (1024, 1024));
}

#[test]
fn it_grows_above_two_entries_a_bucket_and_shrinks_below_a_half() {
    let table = small(true);
    for key in 0..8 {
        put(&table, key);
        assert_eq!(table.stats().buckets, 4, "{key}");
    }
    put(&table, 8);
    assert_eq!(table.stats().buckets, 8);
    (9..200).for_each(|key| put(&table, key));
    assert_eq!(table.stats().buckets, 64, "no more than the most");
    for key in 0..168 {
        assert_eq!(table.remove(&u64::to_le_bytes(key)), Ok(Remove::Removed));
        assert_eq!(table.stats().buckets, 64, "{key}");
    }
    assert_eq!(table.remove(&168_u64.to_le_bytes()), Ok(Remove::Removed));
    assert_eq!((table.len(), table.stats().buckets), (31, 32));
    assert_eq!(table.clear(), Ok(31));
    assert_eq!((table.len(), table.stats().buckets), (0, 1));
    assert!(table.audit().is_clean(), "{:?}", table.audit());
}

#[test]
fn adjust_makes_as_many_buckets_as_entries_or_as_it_is_told() {
    let table = small(false);
    (0..40).for_each(|key| put(&table, key));
    assert_eq!(table.stats().buckets, 4, "it does nothing by itself");
    assert_eq!(table.adjust(None), Ok(32));
    assert_eq!(table.adjust(Some(1)), Ok(1));
    assert_eq!(table.adjust(Some(0)), Ok(1));
    assert_eq!(table.adjust(Some(u64::MAX)), Ok(64));
    let stats = table.stats();
    assert_eq!(stats.bucket_histogram.iter().sum::<u64>(), 64);
    assert_eq!(stats.probe_histogram.iter().sum::<u64>(), 40);
    assert!(stats.probe_mean() >= 1.0 && (stats.load() - 0.625).abs() < 1e-9);
    assert!(table.audit().is_clean(), "{:?}", table.audit());
}

#[test]
fn impossible_sizes_are_named() {
    for buckets_max in [0, 3, 1 << 33] {
        let wrong = TableOptions { buckets_max: Some(buckets_max), ..TableOptions::default() };
        let error = create(&wrong).unwrap_err().to_string();
        assert!(error.contains("most buckets"), "{error}");
    }
    assert_eq!(<Chained<HeapMemory> as Design<HeapMemory>>::KIND, Kind::Chained);
}

proptest! {
    /// Entries that stay are walked once, whatever the size does between two steps.
    #[test]
    fn a_walk_misses_nothing_that_stays_and_repeats_nothing(
        sizes in prop::collection::vec(0..7_u32, 1..30), keys in 1..80_u64,
    ) {
        let table = small(false);
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
