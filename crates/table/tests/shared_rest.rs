//! A `cas_bucket` of one size: its buckets share the words behind their first lines.
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use shm_arena::{Environment, HeapMemory};
use shm_table::{CasBucket, Design, Entry, Error, Remove, Table, TableOptions, TableShape};

type Shared = CasBucket<Arc<HeapMemory>>;

/// Handles on a table of so many buckets, which share two words a bucket and 32 at least.
fn tables(buckets: u64, slots: u32, handles: usize) -> Vec<Shared> {
    let shape = TableShape { buckets, slots, slabs: 16, slab_units: 256, block_units_min: 1 };
    let options = TableOptions { shape: Some(shape), ..TableOptions::default() };
    let memory = Arc::new(HeapMemory::new(Shared::word_count(&options).expect("a size")));
    let environment = Environment::default();
    let first = Shared::create(memory.clone(), &options, &environment).expect("a table");
    let others = (1..handles).map(|_| Shared::attach(memory.clone(), &environment).expect("one"));
    let others: Vec<_> = others.collect();
    std::iter::once(first).chain(others).collect()
}

fn value_of(key: u64, mark: u64) -> [u8; 16] {
    ((u128::from(key) << 64) | u128::from(mark)).to_le_bytes()
}

/// One step on a key: 0 removes it, anything else puts that. Says whether it was done.
fn step(table: &Shared, map: &mut BTreeMap<u64, u64>, key: u64, mark: u64) -> bool {
    let bytes = key.to_le_bytes();
    if mark == 0 {
        let was_there = map.remove(&key).is_some();
        let removed = if was_there { Remove::Removed } else { Remove::Absent };
        assert_eq!(table.remove(&bytes), Ok(removed), "{key}");
        return true;
    }
    let value = value_of(key, mark);
    match table.put(Entry { key: &bytes, value: &value, metadata: mark }) {
        Ok(_) => {
            map.insert(key, mark);
            true
        }
        Err(Error::BucketFull { .. }) => false,
        Err(error) => panic!("{key}: {error}"),
    }
}

fn expect_same(table: &Shared, map: &BTreeMap<u64, u64>) {
    let mut value = Vec::new();
    for (&key, &mark) in map {
        assert_eq!(table.get(&key.to_le_bytes(), &mut value), Ok(Some(mark)), "{key} is lost");
        assert_eq!(value, value_of(key, mark), "{key} has another value");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn buckets_that_fight_for_the_same_words_keep_their_entries(
        exponent in 0..6_u32, slots in 8..=24_u32,
        steps in prop::collection::vec((0..4096_u64, 0..5_u64), 1..2000),
    ) {
        let buckets = 1_u64 << exponent;
        let table = tables(buckets, slots, 1).pop().expect("one");
        let (mut map, mut refused) = (BTreeMap::new(), 0);
        for (key, mark) in steps {
            refused += u64::from(!step(&table, &mut map, key % (12 * buckets), mark));
        }
        expect_same(&table, &map);
        let audit = table.audit();
        prop_assert!(audit.is_clean(), "{:?}", audit.findings);
        prop_assert_eq!(audit.entries, map.len() as u64);
        // What goes gives its word back, to whichever bucket: all of it can be taken anew.
        let keys: Vec<_> = map.keys().copied().collect();
        for &key in &keys {
            prop_assert!(step(&table, &mut map, key, 0));
        }
        let stats = table.stats();
        let empty = stats.bucket_histogram[0];
        prop_assert_eq!((stats.entries, empty), (0, buckets), "{} refused", refused);
        let audit = table.audit();
        prop_assert!(audit.is_clean() && audit.entries == 0, "{:?}", audit.findings);
    }
}

#[test]
fn one_bucket_may_have_all_the_words_that_are_its_own_and_no_more() {
    let table = tables(8, 24, 1).pop().expect("one");
    let mut keys = (0_u64..).filter(|key| table.arena().hasher().hash(&key.to_le_bytes()) & 7 == 3);
    let mut map = BTreeMap::new();
    for _ in 0..23 {
        assert!(step(&table, &mut map, keys.next().expect("endless"), 1));
    }
    assert!(!step(&table, &mut map, keys.next().expect("endless"), 1), "24 of 24");
    // The one that insertions leave.
    let present: Vec<_> = map.keys().copied().collect();
    for key in present {
        assert!(step(&table, &mut map, key, 2));
    }
    expect_same(&table, &map);
    assert!(table.audit().is_clean());
}

#[test]
fn threads_that_fight_for_the_same_words_keep_their_entries() {
    const THREADS: u64 = 3;
    let tables = tables(8, 24, 3);
    std::thread::scope(|scope| {
        for (thread, table) in (0..THREADS).zip(&tables) {
            scope.spawn(move || {
                let (mut map, mut random, mut refused) = (BTreeMap::new(), thread + 1, 0_u64);
                for _ in 0..20_000 {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
                    let key = (random >> 40) % 40 * THREADS + thread;
                    refused += u64::from(!step(table, &mut map, key, random >> 33 & 3));
                    if random >> 60 == 0 {
                        expect_same(table, &map);
                    }
                }
                expect_same(table, &map);
                refused
            });
        }
    });
    let audit = tables[0].audit();
    assert!(audit.is_clean(), "{:?}", audit.findings);
}
