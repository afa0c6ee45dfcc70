//! What each verb costs, counted: words read and written, read-modify-writes, fences, cache lines.
//!
//! A figure that changes is a change of the algorithm: pinned here, so that none goes unnoticed.

use std::sync::Arc;

use shm_arena::{AccessCounts, CountingMemory, Environment, HeapMemory};
use shm_table::{CasBucket, Chained, Design, Entry, Lookup, RobinHood, TableOptions, Version};

type Counted = Arc<CountingMemory<HeapMemory>>;

const VALUE: [u8; 200] = [3; 200];

fn key(number: u64) -> [u8; 32] {
    let mut key = [7; 32];
    key[..8].copy_from_slice(&number.to_le_bytes());
    key
}

/// A table of 100 entries of 32 and 200 bytes, whose line has a spare block.
fn stage<D: Design<Counted>>() -> (Counted, D) {
    let options =
        TableOptions { hash_secret: Some([1, 2]), adjusts: false, ..TableOptions::default() };
    let words = D::word_count(&options).unwrap();
    let memory = Arc::new(CountingMemory::new(HeapMemory::new(words)));
    let table = D::create(memory.clone(), &options, &Environment::default()).unwrap();
    for number in 0..101 {
        let _ = table.put(Entry { key: &key(number), value: &VALUE, metadata: number }).unwrap();
    }
    let _ = table.remove(&key(100)).unwrap();
    (memory, table)
}

/// Calls by name, as loads, stores, read-modify-writes, fences and lines.
fn costs<D: Design<Counted>>() -> Vec<(&'static str, [u64; 5])> {
    let (memory, table) = stage::<D>();
    let mut out = Vec::with_capacity(256);
    let version = |table: &D| -> Version {
        table.look_up(&key(5), &mut Vec::new()).unwrap().unwrap().version
    };
    let entry = |number: &'static [u8; 32]| Entry { key: number, value: &VALUE, metadata: 1 };
    let (old, new): (&'static [u8; 32], &'static [u8; 32]) =
        (Box::leak(Box::new(key(5))), Box::leak(Box::new(key(200))));
    let mut counted = Vec::new();
    let mut count = |name, call: &mut dyn FnMut(&D)| {
        memory.reset();
        call(&table);
        let AccessCounts { loads, stores, rmws, fences, lines } = memory.snapshot();
        counted.push((name, [loads, stores, rmws, fences, lines]));
    };
    count("get, a hit", &mut |table| assert!(table.get(old, &mut out).unwrap().is_some()));
    count("get, a miss", &mut |table| assert!(table.get(new, &mut out).unwrap().is_none()));
    count("look_up", &mut |table| assert!(table.look_up(old, &mut out).unwrap().is_some()));
    let mut found = vec![Lookup::default(); 1];
    count("get_many of one", &mut |table| table.get_many(&[old], &mut found).unwrap());
    count("insert, a new key", &mut |table| {
        let _ = table.insert(entry(new), &mut Vec::new()).unwrap();
    });
    count("remove", &mut |table| {
        let _ = table.remove(new).unwrap();
    });
    count("put, a new key", &mut |table| {
        let _ = table.put(entry(new)).unwrap();
    });
    count("take", &mut |table| assert!(table.take(new, &mut Vec::new()).unwrap().is_some()));
    count("insert, a present key", &mut |table| {
        let _ = table.insert(entry(old), &mut Vec::new()).unwrap();
    });
    count("put, a present key", &mut |table| {
        let _ = table.put(entry(old)).unwrap();
    });
    count("replace", &mut |table| {
        let _ = table.replace(entry(old)).unwrap();
    });
    let mut seen = None;
    count("look_up again", &mut |table| seen = Some(version(table)));
    count("compare_exchange", &mut |table| {
        let _ = table.compare_exchange(entry(old), seen.unwrap()).unwrap();
    });
    count("compare_exchange, changed", &mut |table| {
        let _ = table.compare_exchange(entry(old), seen.unwrap()).unwrap();
    });
    count("look_up once more", &mut |table| seen = Some(version(table)));
    count("remove_if", &mut |table| {
        let _ = table.remove_if(old, seen.unwrap()).unwrap();
    });
    count("reserve and put", &mut |table| {
        let _ = table.reserve(old, 200, 1).unwrap().put().unwrap();
    });
    counted
}

fn pinned<D: Design<Counted>>(pins: &str) {
    let measured: String = costs::<D>()
        .iter()
        .map(|(name, [loads, stores, rmws, fences, lines])| {
            format!("{name}: {loads} {stores} {rmws} {fences} {lines}\n")
        })
        .collect();
    assert_eq!(measured.trim(), pins.trim(), "\n{measured}");
}

/// Loads, stores, read-modify-writes, fences, lines.
#[test]
fn what_a_verb_of_cas_bucket_costs_is_pinned() {
    pinned::<CasBucket<_>>(
        "
get, a hit: 42 0 0 1 5
get, a miss: 10 0 0 1 1
look_up: 44 0 0 1 6
get_many of one: 52 0 0 1 5
insert, a new key: 10 34 2 1 8
remove: 20 38 2 2 10
put, a new key: 10 34 2 1 8
take: 45 38 2 2 10
insert, a present key: 43 0 0 1 6
put, a present key: 19 70 3 3 14
replace: 19 70 3 3 14
look_up again: 44 0 0 1 6
compare_exchange: 20 70 3 3 14
compare_exchange, changed: 17 0 0 1 3
look_up once more: 44 0 0 1 6
remove_if: 23 37 4 2 10
reserve and put: 10 9 2 1 5
",
    );
}

/// Loads, stores, read-modify-writes, fences, lines.
#[test]
fn what_a_verb_of_chained_costs_is_pinned() {
    pinned::<Chained<_>>(
        "
get, a hit: 38 1 1 0 8
get, a miss: 6 1 1 0 3
look_up: 39 1 1 0 8
get_many of one: 38 1 1 0 8
insert, a new key: 8 37 1 2 9
remove: 18 40 1 1 11
put, a new key: 8 37 1 2 9
take: 43 40 1 1 11
insert, a present key: 38 66 3 2 14
put, a present key: 16 73 1 2 16
replace: 16 73 1 2 16
look_up again: 39 1 1 0 8
compare_exchange: 17 73 1 2 16
compare_exchange, changed: 14 66 3 2 11
look_up once more: 39 1 1 0 8
remove_if: 20 39 3 1 11
reserve and put: 6 12 1 2 6
",
    );
}

/// Loads, stores, read-modify-writes, fences, lines.
#[test]
fn what_a_verb_of_robin_hood_costs_is_pinned() {
    pinned::<RobinHood<_>>(
        "
get, a hit: 34 0 0 1 6
get, a miss: 6 0 0 1 3
look_up: 35 0 0 1 7
get_many of one: 34 0 0 1 6
insert, a new key: 10 40 3 3 11
remove: 19 43 4 4 14
put, a new key: 10 40 3 3 11
take: 44 43 4 4 14
insert, a present key: 36 0 0 1 8
put, a present key: 15 75 4 5 16
replace: 14 75 4 5 16
look_up again: 35 0 0 1 7
compare_exchange: 15 75 4 5 16
compare_exchange, changed: 11 0 0 1 6
look_up once more: 35 0 0 1 7
remove_if: 18 42 6 4 12
reserve and put: 7 40 3 3 10
",
    );
}
