//! Every table against the sequential model, one operation after the other.
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use proptest::prelude::*;
use shm_arena::{Environment, HeapMemory};
use shm_table::{
    CasBucket, Chained, Design, Entry, Error, Insert, KEY_BYTES_MAX, Table, TableOptions,
};
use shm_verification::spec::{Reference, ReferenceTable};

/// One call of any verb.
#[derive(Clone, Debug)]
enum Call {
    Get(Vec<u8>),
    Insert(Vec<u8>, Vec<u8>, u64),
    InsertUnlessOdd(Vec<u8>, Vec<u8>, u64),
    Put(Vec<u8>, Vec<u8>, u64),
    Replace(Vec<u8>, Vec<u8>, u64),
    Remove(Vec<u8>),
    Take(Vec<u8>),
    Clear,
    List,
}

fn any_call() -> impl Strategy<Value = Call> {
    let key = || {
        prop_oneof![
            20 => prop::collection::vec(0..4_u8, 1..3),
            1 => Just(vec![]),
            1 => prop::collection::vec(any::<u8>(), KEY_BYTES_MAX..KEY_BYTES_MAX + 2),
        ]
    };
    let value = || prop::collection::vec(any::<u8>(), 0..64);
    prop_oneof![
        3 => key().prop_map(Call::Get),
        2 => (key(), value(), any::<u64>()).prop_map(|(k, v, m)| Call::Insert(k, v, m)),
        1 => (key(), value(), any::<u64>()).prop_map(|(k, v, m)| Call::InsertUnlessOdd(k, v, m)),
        3 => (key(), value(), any::<u64>()).prop_map(|(k, v, m)| Call::Put(k, v, m)),
        2 => (key(), value(), any::<u64>()).prop_map(|(k, v, m)| Call::Replace(k, v, m)),
        2 => key().prop_map(Call::Remove),
        2 => key().prop_map(Call::Take),
        1 => Just(Call::Clear),
        1 => Just(Call::List),
    ]
}

/// What a call answered, in one form for tables and the model.
fn answer(table: &dyn Table, call: &Call) -> String {
    let mut out = vec![9; 3];
    let result = match call {
        Call::Get(key) => format!("{:?}", table.get(key, &mut out)),
        Call::Take(key) => format!("{:?}", table.take(key, &mut out)),
        Call::Insert(key, value, metadata) => {
            let metadata = *metadata;
            let entry = Entry { key, value, metadata };
            format!("{:?}", table.insert(entry, &mut out))
        }
        Call::InsertUnlessOdd(key, value, metadata) => {
            let metadata = *metadata;
            let entry = Entry { key, value, metadata };
            let is_odd = |word: u64| word % 2 == 1;
            format!("{:?}", table.insert_unless(entry, &mut out, &is_odd))
        }
        _ => {
            out.clear();
            answer_without_value(table, call)
        }
    };
    // What is left in the vector after an error is nobody's promise.
    if result.starts_with("Err") { result } else { format!("{result} {out:?}") }
}

/// The answer of a verb that copies no value out.
fn answer_without_value(table: &dyn Table, call: &Call) -> String {
    match call {
        Call::Put(key, value, metadata) => {
            let metadata = *metadata;
            let entry = Entry { key, value, metadata };
            format!("{:?}", table.put(entry))
        }
        Call::Replace(key, value, metadata) => {
            let metadata = *metadata;
            let entry = Entry { key, value, metadata };
            format!("{:?}", table.replace(entry))
        }
        Call::Remove(key) => format!("{:?}", table.remove(key)),
        Call::Clear => format!("{:?}", table.clear()),
        _ => {
            let mut entries = BTreeMap::new();
            let result = table.for_each(&mut |entry| {
                entries.insert(entry.key.to_vec(), (entry.value.to_vec(), entry.metadata));
                ControlFlow::Continue(())
            });
            format!("{result:?} {entries:?} {}", table.len())
        }
    }
}

fn tables() -> Vec<Box<dyn Table>> {
    let options = TableOptions {
        entries: 64,
        processes: 2,
        lines: 2,
        hash_secret: Some([3, 4]),
        ..TableOptions::default()
    };
    let environment = Environment::default();
    let chained = HeapMemory::new(Chained::<HeapMemory>::word_count(&options).expect("a size"));
    let cas_bucket =
        HeapMemory::new(CasBucket::<HeapMemory>::word_count(&options).expect("a size"));
    vec![
        Box::new(Chained::create(chained, &options, &environment).expect("a table")),
        Box::new(CasBucket::create(cas_bucket, &options, &environment).expect("a table")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_table_answers_as_the_model_does(
        calls in prop::collection::vec(any_call(), 1..60)
    ) {
        let model = ReferenceTable::new(Reference::default());
        let tables = tables();
        for call in &calls {
            let expected = answer(&model, call);
            for table in &tables {
                let found = answer(&**table, call);
                prop_assert_eq!(&found, &expected, "{:?} {:?}", table.kind(), call);
            }
        }
        for table in tables {
            prop_assert!(table.audit().is_clean(), "{:?}", table.audit());
        }
    }
}

#[test]
fn the_model_refuses_what_tables_refuse() {
    let model = ReferenceTable::new(Reference::bounded(4));
    let entry = |key, value| Entry { key, value, metadata: 1 };
    assert_eq!(model.put(entry(b"", b"")), Err(Error::KeyLength { bytes: 0 }));
    let long = [0; KEY_BYTES_MAX + 1];
    assert_eq!(model.remove(&long), Err(Error::KeyLength { bytes: 256 }));
    let too_large = Error::ValueTooLarge { bytes: 5, bytes_max: 4 };
    assert_eq!(model.put(entry(b"k", b"12345")), Err(too_large));
    assert!(model.is_empty());
    let mut existing = Vec::new();
    let inserted = model.insert_unless(entry(b"k", b"1234"), &mut existing, &|_| false);
    assert_eq!(inserted, Ok(Insert::Inserted));
}
