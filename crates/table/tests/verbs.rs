//! Each table against a sequential reference, over tiny and ordinary shapes, on the heap.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use proptest::prelude::*;
use shm_arena::{Environment, HeapMemory};
use shm_table::{
    AnyTable, Entry, Error, Insert, Kind, Put, Remove, Replace, Table, TableOptions, TableShape,
};

fn table(kind: Kind, options: &TableOptions) -> AnyTable<HeapMemory> {
    let words = AnyTable::<HeapMemory>::word_count(kind, options).unwrap();
    let environment = Environment::default();
    AnyTable::create(kind, HeapMemory::new(words), options, &environment).unwrap()
}

/// Few buckets and few blocks, so that collisions and exhaustion are ordinary.
fn tiny() -> TableOptions {
    let shape = TableShape { buckets: 2, slots: 4, slabs: 2, slab_units: 8, block_units_min: 1 };
    TableOptions { processes: 2, lines: 2, shape: Some(shape), ..TableOptions::default() }
}

#[derive(Clone, Debug)]
enum Step {
    Get(u8),
    Insert(u8, u8),
    Put(u8, u8),
    Replace(u8, u8),
    Remove(u8),
    Take(u8),
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..9_u8;
    prop_oneof![
        key.clone().prop_map(Step::Get),
        (key.clone(), any::<u8>()).prop_map(|(key, value)| Step::Insert(key, value)),
        (key.clone(), any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        (key.clone(), any::<u8>()).prop_map(|(key, value)| Step::Replace(key, value)),
        key.clone().prop_map(Step::Remove),
        key.prop_map(Step::Take),
        Just(Step::Clear),
    ]
}

fn key_bytes(key: u8) -> Vec<u8> {
    vec![key + 1; usize::from(key) * 5 % 23 + 1]
}

fn value_bytes(value: u8) -> Vec<u8> {
    vec![value; usize::from(value) % 90]
}

/// Runs one step on both; a full table must leave everything as it was.
fn agree(
    table: &dyn Table,
    model: &mut BTreeMap<u8, u8>,
    step: &Step,
) -> Result<(), TestCaseError> {
    let mut out = vec![7; 3];
    let full = |error: &Error| matches!(error, Error::NoBlock { .. } | Error::BucketFull { .. });
    match *step {
        Step::Get(key) => {
            let got = table.get(&key_bytes(key), &mut out).unwrap();
            prop_assert_eq!(got, model.get(&key).map(|&value| value.into()));
            prop_assert_eq!(&out, &model.get(&key).map_or(vec![], |&value| value_bytes(value)));
        }
        Step::Insert(key, value) => {
            let (key_bytes, data) = (key_bytes(key), value_bytes(value));
            let entry = Entry { key: &key_bytes, value: &data, metadata: value.into() };
            match table.insert(entry, &mut out) {
                Ok(Insert::Inserted) => prop_assert!(model.insert(key, value).is_none()),
                Ok(Insert::Exists { metadata }) => {
                    prop_assert_eq!(Some(metadata), model.get(&key).map(|&value| value.into()));
                    prop_assert_eq!(&out, &value_bytes(model[&key]));
                }
                Err(error) => prop_assert!(full(&error) && !model.contains_key(&key)),
            }
        }
        Step::Put(key, value) => {
            let (key_bytes, data) = (key_bytes(key), value_bytes(value));
            let entry = Entry { key: &key_bytes, value: &data, metadata: value.into() };
            match table.put(entry) {
                Ok(Put::Inserted) => prop_assert!(model.insert(key, value).is_none()),
                Ok(Put::Replaced) => prop_assert!(model.insert(key, value).is_some()),
                Err(error) => prop_assert!(full(&error), "{error}"),
            }
        }
        Step::Replace(key, value) => {
            let (key_bytes, data) = (key_bytes(key), value_bytes(value));
            let entry = Entry { key: &key_bytes, value: &data, metadata: value.into() };
            match table.replace(entry) {
                Ok(Replace::Absent) => prop_assert!(!model.contains_key(&key)),
                Ok(Replace::Replaced) => prop_assert!(model.insert(key, value).is_some()),
                Err(error) => prop_assert!(full(&error), "{error}"),
            }
        }
        Step::Remove(key) => {
            let removed = table.remove(&key_bytes(key)).unwrap();
            prop_assert_eq!(removed == Remove::Removed, model.remove(&key).is_some());
        }
        Step::Take(key) => {
            let taken = table.take(&key_bytes(key), &mut out).unwrap();
            let expected = model.remove(&key);
            prop_assert_eq!(taken, expected.map(u64::from));
            prop_assert_eq!(&out, &expected.map_or(vec![], value_bytes));
        }
        Step::Clear => {
            prop_assert_eq!(table.clear().unwrap(), model.len() as u64);
            model.clear();
        }
    }
    prop_assert_eq!(table.len(), model.len() as u64);
    Ok(())
}

fn contents(table: &dyn Table) -> BTreeMap<Vec<u8>, (Vec<u8>, u64)> {
    let mut contents = BTreeMap::new();
    let mut visit = |entry: Entry<'_>| {
        contents.insert(entry.key.to_vec(), (entry.value.to_vec(), entry.metadata));
        ControlFlow::Continue(())
    };
    table.for_each(&mut visit).unwrap();
    contents
}

proptest! {
    #[test]
    fn every_verb_answers_as_a_sequential_map_does(
        steps in prop::collection::vec(step(), 1..80), is_tiny in any::<bool>(),
    ) {
        for kind in Kind::ALL {
            let table = table(kind, &if is_tiny { tiny() } else { TableOptions::default() });
            let mut model = BTreeMap::new();
            for step in &steps {
                agree(&table, &mut model, step)?;
            }
            let expected: BTreeMap<_, _> = model
                .iter()
                .map(|(&key, &value)| (key_bytes(key), (value_bytes(value), value.into())))
                .collect();
            prop_assert_eq!(contents(&table), expected);
            let audit = table.audit();
            prop_assert!(audit.is_clean(), "{kind:?}: {:?}", audit.findings);
            prop_assert_eq!(audit.entries, model.len() as u64);
        }
    }
}

#[test]
fn wrong_keys_and_values_change_nothing_and_are_named() {
    for kind in Kind::ALL {
        let table = table(kind, &TableOptions::default());
        let mut out = Vec::new();
        for key in [&[][..], &[1; 256]] {
            let entry = Entry { key, value: b"v", metadata: 0 };
            let expected = Error::KeyLength { bytes: key.len() };
            assert_eq!(table.get(key, &mut out), Err(expected));
            assert_eq!(table.insert(entry, &mut out), Err(expected));
            assert_eq!(table.put(entry), Err(expected));
            assert_eq!(table.replace(entry), Err(expected));
            assert_eq!(table.remove(key), Err(expected));
            assert_eq!(table.take(key, &mut out), Err(expected));
        }
        let huge = vec![0; 1 << 17];
        let entry = Entry { key: b"k", value: &huge, metadata: 0 };
        let Err(Error::ValueTooLarge { bytes, bytes_max }) = table.put(entry) else {
            panic!("a value of 128 KiB was not refused");
        };
        assert_eq!(bytes, huge.len());
        let largest = vec![1; bytes_max];
        assert!(table.put(Entry { key: b"k", value: &largest, metadata: 0 }).is_ok());
        let larger = vec![1; bytes_max + 1];
        assert!(table.put(Entry { key: b"k", value: &larger, metadata: 0 }).is_err());
        assert_eq!(table.len(), 1);
        assert!(table.audit().is_clean());
    }
}

#[test]
fn an_entry_that_counts_as_dead_is_absent_to_an_insertion() {
    for kind in Kind::ALL {
        let table = table(kind, &TableOptions::default());
        let mut out = Vec::new();
        let entry = |metadata| Entry { key: b"k", value: b"v", metadata };
        assert_eq!(table.insert(entry(1), &mut out), Ok(Insert::Inserted));
        let is_dead = |metadata| metadata == 1;
        assert_eq!(table.insert_unless(entry(2), &mut out, &is_dead), Ok(Insert::Inserted));
        let exists = Ok(Insert::Exists { metadata: 2 });
        assert_eq!(table.insert_unless(entry(3), &mut out, &is_dead), exists);
        assert_eq!((table.len(), out), (1, b"v".to_vec()));
    }
}

#[test]
fn constant_population_never_fails_and_leaks_nothing() {
    for kind in Kind::ALL {
        let options = TableOptions { entries: 500, ..TableOptions::default() };
        let table = table(kind, &options);
        let mut out = Vec::new();
        let value = [5; 200];
        for round in 0..20_000_u64 {
            let key = round.to_le_bytes();
            let put = table.put(Entry { key: &key, value: &value, metadata: round });
            assert_eq!(put, Ok(Put::Inserted), "{kind:?} round {round}");
            if let Some(old) = round.checked_sub(500 - 1) {
                assert_eq!(table.take(&old.to_le_bytes(), &mut out), Ok(Some(old)));
                assert_eq!(out, value);
            }
        }
        let audit = table.audit();
        assert!(audit.is_clean(), "{:?}", audit.findings);
    }
}

#[test]
fn threads_agree_on_who_takes_what() {
    const KEYS: u64 = 64;
    const ROUNDS: u64 = 200;
    for kind in Kind::ALL {
        let table = &table(kind, &TableOptions::default());
        let taken: u64 = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(move || {
                        let mut out = Vec::new();
                        (0..KEYS * ROUNDS)
                            .filter(|key| {
                                table.take(&(key % KEYS).to_le_bytes(), &mut out).unwrap().is_some()
                            })
                            .count() as u64
                    })
                })
                .collect();
            let mut out = Vec::new();
            let mut inserted = 0;
            for round in 0..KEYS * ROUNDS {
                let key = (round % KEYS).to_le_bytes();
                let entry = Entry { key: &key, value: &[1; 100], metadata: round };
                inserted += u64::from(table.insert(entry, &mut out) == Ok(Insert::Inserted));
            }
            let taken: u64 = takers.into_iter().map(|taker| taker.join().unwrap()).sum();
            inserted - taken
        });
        assert_eq!(taken, table.len());
        let audit = table.audit();
        assert!(audit.is_clean(), "{kind:?}: {:?}", audit.findings);
        assert_eq!(audit.entries, table.len());
    }
}

#[test]
fn any_table_attaches_to_the_kind_that_is_there() {
    for kind in Kind::ALL {
        let options = TableOptions::default();
        let words = AnyTable::<HeapMemory>::word_count(kind, &options).unwrap();
        let memory = std::sync::Arc::new(HeapMemory::new(words));
        let environment = Environment::default();
        let first = AnyTable::create(kind, memory.clone(), &options, &environment).unwrap();
        let _ = first.put(Entry { key: b"k", value: b"v", metadata: 9 }).unwrap();
        let second = AnyTable::attach(memory, &environment).unwrap();
        let mut out = Vec::new();
        assert_eq!(second.kind(), kind);
        assert_eq!(second.get(b"k", &mut out), Ok(Some(9)));
        assert_eq!(out, b"v");
        let mut text = String::new();
        second.dump(&mut text).unwrap();
        assert!(text.contains(kind.name()));
        first.detach();
        second.detach();
    }
}
