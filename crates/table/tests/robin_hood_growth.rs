//! The size of `robin_hood`: when it grows, how far, and that nothing is lost, met twice or moved
//! away from home by it.
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use proptest::prelude::*;
use shm_arena::{Environment, HeapMemory, Layout, Load, Memory, SegmentError, Store};
use shm_table::{Design, Entry, Error, Insert, RobinHood, Table, TableOptions, TableShape, Walk};

type Words = Arc<HeapMemory>;

fn create(options: &TableOptions) -> Result<RobinHood<Words>, SegmentError> {
    let memory = Arc::new(HeapMemory::new(RobinHood::<Words>::word_count(options)?));
    RobinHood::create(memory, options, &Environment::default())
}

/// From so many pages of so many slots up to 64 pages.
fn options(pages: u64, slots: u32, adjusts: bool) -> TableOptions {
    let shape =
        TableShape { buckets: pages, slots, slabs: 64, slab_units: 256, block_units_min: 1 };
    let secret = Some([3, 5]);
    let base = TableOptions { processes: 2, lines: 8, hash_secret: secret, ..Default::default() };
    TableOptions { shape: Some(shape), adjusts, buckets_max: Some(64), ..base }
}

fn insert(table: &impl Table, key: u64) -> Result<Insert, Error> {
    let value = key.to_le_bytes();
    let entry = Entry { key: &value, value: &value, metadata: key };
    table.insert(entry, &mut Vec::new())
}

fn is_there(table: &impl Table, key: u64) -> bool {
    let mut value = Vec::new();
    let found = table.get(&key.to_le_bytes(), &mut value).expect("no damage");
    assert!(found.is_none_or(|metadata| metadata == key && value == key.to_le_bytes()));
    found.is_some()
}

#[test]
fn it_grows_before_a_page_is_full_and_up_to_the_most_pages() {
    let table = create(&options(1, 64, true)).unwrap();
    let mut key = 0;
    while insert(&table, key).is_ok() {
        key += 1;
        let stats = table.stats();
        assert!(stats.entries <= stats.slots, "no page holds more than its slots");
    }
    let stats = table.stats();
    assert_eq!((stats.buckets, stats.buckets_max, stats.slots), (64, 64, 64 * 64));
    assert_eq!((stats.entries, stats.resizing), (key, None));
    assert!(key > 64 * 64 * 6 / 10, "{key} entries, and a page of {} slots is full", stats.slots);
    assert!((0..key).all(|key| is_there(&table, key)) && !is_there(&table, key));
    assert!(table.audit().is_clean(), "{:?}", table.audit());
    assert!(matches!(insert(&table, key), Err(Error::BucketFull { .. })));
}

#[test]
fn a_crowded_page_makes_the_table_grow_before_one_is_full() {
    let options = TableOptions {
        entries: 100_000,
        key_bytes: 8,
        value_bytes: 8,
        buckets_min: Some(64),
        ..TableOptions::default()
    };
    let table = create(&options).unwrap();
    assert_eq!((table.stats().buckets, table.stats().buckets_max), (66, 264));
    let slots = table.stats().slots;
    let mut key = 0;
    while table.stats().resizing.is_none() {
        for _ in 0..64 {
            assert_eq!(insert(&table, key), Ok(Insert::Inserted));
            key += 1;
        }
    }
    println!("{} % of the slots of 66 pages were taken when growth began", key * 100 / slots);
    assert!((75..87).contains(&(key * 100 / slots)), "{key} of {slots}");
    assert_eq!(table.resizing(), table.stats().resizing);
    let mut updates = 0;
    while table.resizing().is_some() {
        assert_eq!(insert(&table, key + updates), Ok(Insert::Inserted));
        updates += 1;
    }
    println!("{updates} insertions ended it");
    assert!((16 * 66..64 * 66).contains(&updates), "one in 32 moves one of 66 pages");
    assert_eq!((table.stats().buckets, table.stats().resizing), (132, None));
}

#[test]
fn adjust_makes_as_many_pages_as_entries_ask_for_or_as_it_is_told_and_never_fewer() {
    let table = create(&options(2, 8, false)).unwrap();
    let mut key = 0;
    while insert(&table, key).is_ok() {
        key += 1;
    }
    assert_eq!(table.stats().buckets, 2, "it does nothing by itself");
    assert_eq!(table.adjust(Some(3)), Ok(4));
    assert_eq!(insert(&table, key), Ok(Insert::Inserted));
    assert_eq!(table.adjust(Some(0)), Ok(4));
    assert_eq!(table.adjust(None), Ok(4), "six entries a page");
    assert_eq!(table.adjust(Some(u64::MAX)), Ok(64));
    let stats = table.stats();
    assert_eq!(stats.bucket_histogram.iter().sum::<u64>(), 64);
    assert_eq!(stats.probe_histogram.iter().sum::<u64>(), key + 1);
    assert!((0..=key).all(|key| is_there(&table, key)));
    assert!(table.audit().is_clean(), "{:?}", table.audit());
}

#[test]
fn impossible_sizes_are_named_and_the_usual_one_is_fixed() {
    let wrong = |buckets_min, buckets_max| {
        let options = TableOptions { buckets_min, buckets_max, ..TableOptions::default() };
        create(&options).unwrap_err().to_string()
    };
    for (min, max, named) in [
        (Some(0), None, "fewest pages"),
        (Some(16), Some(8), "fewest pages"),
        (None, Some(0), "most pages"),
        (None, Some(1 << 33), "most pages"),
    ] {
        assert!(wrong(min, max).contains(named), "{}", wrong(min, max));
    }
    let usual = TableOptions { entries: 384 * 5, ..TableOptions::default() };
    let stats = create(&usual).unwrap().stats();
    assert_eq!((stats.buckets, stats.buckets_max), (5, 5));
    for (buckets_min, buckets_max, made) in [
        (Some(1), None, (2, 8)),
        (None, Some(64), (8, 64)),
        (Some(4), Some(64), (4, 64)),
        (Some(3), Some(8), (4, 8)),
    ] {
        let grows = TableOptions { buckets_min, buckets_max, ..usual.clone() };
        let stats = create(&grows).unwrap().stats();
        assert_eq!((stats.buckets, stats.buckets_max), made);
    }
}

#[test]
fn threads_fill_a_table_from_one_page_up_while_others_read() {
    const THREADS: u64 = 4;
    const EACH: u64 = 600;
    let table = create(&options(1, 64, true)).unwrap();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let table = &table;
            scope.spawn(move || {
                for key in thread * EACH..(thread + 1) * EACH {
                    assert_eq!(insert(table, key), Ok(Insert::Inserted));
                    assert!(is_there(table, key), "just inserted");
                    assert!(is_there(table, thread * EACH), "never removed");
                    if key.is_multiple_of(3) && !key.is_multiple_of(EACH) {
                        assert!(table.take(&key.to_le_bytes(), &mut Vec::new()).unwrap().is_some());
                        assert!(!is_there(table, key), "just taken");
                    }
                }
            });
        }
    });
    let stays = |key: &u64| !key.is_multiple_of(3) || key.is_multiple_of(EACH);
    assert!((0..THREADS * EACH).all(|key| is_there(&table, key) == stays(&key)));
    assert_eq!(table.len(), (0..THREADS * EACH).filter(stays).count() as u64);
    assert!(table.stats().buckets > 16, "{:?}", table.stats());
    assert!(table.audit().is_clean(), "{:?}", table.audit());
}

proptest! {
    /// Entries that stay are walked once, whatever the size does between two steps.
    #[test]
    fn a_walk_misses_nothing_that_stays_and_repeats_nothing(
        sizes in prop::collection::vec(0..7_u32, 1..30), keys in 1..60_u64, pages in 0..3_u32,
    ) {
        let table = create(&options(1 << pages, 64, false)).unwrap();
        for key in 0..keys {
            prop_assert_eq!(insert(&table, key), Ok(Insert::Inserted));
        }
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

    /// Whoever damages the index or the root gets errors or wrong answers, whatever the size does.
    #[test]
    fn a_damaged_index_that_grows_gives_errors_and_never_a_panic_or_a_hang(
        damages in prop::collection::vec((any::<u64>(), 0..4_u8, any::<u64>()), 1..8),
        keys in 1..30_u64,
    ) {
        let options = TableOptions { buckets_max: Some(8), ..options(1, 8, true) };
        let table = create(&options).unwrap();
        for key in 0..keys {
            let _ = insert(&table, key);
        }
        let memory = table.arena().memory().clone();
        let layout = Layout::new(table.arena().geometry()).unwrap();
        let (root, index) = (layout.control(), layout.index());
        for (place, how, noise) in damages {
            let words = table.arena().geometry().index_words;
            let at = match place % 4 {
                0 => root + place / 4 % 2,
                1 => index + place / 4 % 15 * 8,
                _ => index + place / 4 % words,
            };
            let value = match how {
                0 => memory.load(at, Load::Relaxed) ^ (1 << (noise % 64)),
                1 => noise % 32,
                2 => noise | 3 << 61,
                _ => noise,
            };
            memory.store(at, value, Store::Relaxed);
        }
        let mut value = Vec::new();
        for key in (0..keys + 4).map(u64::to_le_bytes) {
            let entry = Entry { key: &key, value: &key, metadata: 1 };
            let _ = table.get(&key, &mut value);
            let _ = table.put(entry);
            let _ = table.take(&key, &mut value);
        }
        let _ = table.adjust(None);
        let _ = table.adjust(Some(8));
        let _ = (table.audit(), table.stats(), table.recover());
        let _ = table.dump(&mut String::new());
        prop_assert!(Walk::new(&table).take(1_000).filter(Result::is_ok).count() <= 1_000);
    }
}
