//! A handle on whatever kind of table a memory holds.

use shm_arena::{Environment, HeapMemory};
use shm_table::{AnyTable, Entry, Kind, Table, TableOptions};

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
