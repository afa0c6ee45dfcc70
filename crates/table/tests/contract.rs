//! The verbs that insist on a version, walk, or reserve, on each table.

use shm_arena::{Environment, HeapMemory};
use shm_table::{
    AnyTable, Effect, Entry, Error, Exchange, Insert, Kind, Lookup, Put, Remove, RemoveIf, Rule,
    Table, TableOptions, Walk,
};

fn tables() -> Vec<AnyTable<HeapMemory>> {
    let options = TableOptions { processes: 2, lines: 8, ..TableOptions::default() };
    let make = |kind| {
        let words = AnyTable::<HeapMemory>::word_count(kind, &options).unwrap();
        AnyTable::create(kind, HeapMemory::new(words), &options, &Environment::default()).unwrap()
    };
    Kind::ALL.map(make).into()
}

const fn entry<'a>(key: &'a [u8], value: &'a [u8], metadata: u64) -> Entry<'a> {
    Entry { key, value, metadata }
}

#[test]
fn a_version_matches_one_life_and_no_other() {
    for table in tables() {
        let mut out = Vec::new();
        assert_eq!(table.put(entry(b"k", b"one", 1)), Ok(Put::Inserted));
        let first = table.look_up(b"k", &mut out).unwrap().unwrap();
        assert_eq!((first.metadata, &out[..]), (1, &b"one"[..]));
        assert_eq!(
            table.compare_exchange(entry(b"k", b"two", 2), first.version),
            Ok(Exchange::Exchanged)
        );
        let stale = table.compare_exchange(entry(b"k", b"x", 3), first.version);
        assert_eq!(stale, Ok(Exchange::Changed));
        assert_eq!(table.remove_if(b"k", first.version), Ok(RemoveIf::Changed));
        assert_eq!(table.remove_version(first.version), Ok(Remove::Absent));
        let second = table.look_up(b"k", &mut out).unwrap().unwrap();
        assert_eq!((second.metadata, &out[..]), (2, &b"two"[..]));
        assert_eq!(table.remove_if(b"k", second.version), Ok(RemoveIf::Removed));
        assert_eq!(table.remove_if(b"k", second.version), Ok(RemoveIf::Absent));
        let gone = table.compare_exchange(entry(b"k", b"x", 3), second.version);
        assert_eq!(gone, Ok(Exchange::Absent));
        assert_eq!(table.put(entry(b"k", b"three", 3)), Ok(Put::Inserted));
        let third = table.look_up(b"k", &mut out).unwrap().unwrap();
        assert_eq!(table.remove_version(third.version), Ok(Remove::Removed));
        assert_eq!(table.get(b"k", &mut out), Ok(None));
        assert!(table.audit().is_clean() && table.is_empty());
    }
}

#[test]
fn a_version_of_another_table_matches_nothing() {
    for (table, other) in tables().into_iter().zip(tables()) {
        let mut out = Vec::new();
        let _ = table.put(entry(b"k", b"v", 1)).unwrap();
        let _ = other.put(entry(b"k", b"v", 1)).unwrap();
        let foreign = other.look_up(b"k", &mut out).unwrap().unwrap().version;
        assert_eq!(table.remove_if(b"k", foreign), Ok(RemoveIf::Changed));
        assert_eq!(table.remove_version(foreign), Ok(Remove::Absent));
        assert_eq!(table.compare_exchange(entry(b"k", b"", 2), foreign), Ok(Exchange::Changed));
        let mut cursor = other.cursor();
        let scanned = table.scan(&mut cursor, &mut |_, _| panic!("visited"));
        assert_eq!(scanned, Err(Error::ForeignCursor));
    }
}

#[test]
fn a_reservation_shows_nothing_before_its_end_and_everything_after() {
    for table in tables() {
        let mut out = Vec::new();
        let mut room = table.reserve(b"k", 20, 7).unwrap();
        room.write_at(3, b"abcdefghijklm").unwrap();
        room.write_at(15, b"Z").unwrap();
        assert!(room.write_at(15, b"123456").is_err());
        assert_eq!(table.get(b"k", &mut out), Ok(None));
        assert_eq!(room.insert(&mut out), Ok(Insert::Inserted));
        assert_eq!(table.get(b"k", &mut out), Ok(Some(7)));
        assert_eq!(out, b"\0\0\0abcdefghijklZ\0\0\0\0");
        let lost = table.reserve(b"k", 5, 8).unwrap();
        assert_eq!(lost.insert(&mut out), Ok(Insert::Exists { metadata: 7 }));
        let put = table.reserve(b"k", 5, 9).unwrap();
        assert_eq!(put.put(), Ok(Put::Replaced));
        drop(table.reserve(b"m", 5, 9).unwrap());
        assert!(table.audit().is_clean(), "{:?}", table.audit());
        for round in 0..5000 {
            drop(table.reserve(b"m", 200, round).unwrap());
        }
        assert_eq!(table.get(b"m", &mut out), Ok(None));
        assert_eq!((table.len(), table.audit().is_clean()), (1, true));
    }
}

#[test]
fn walks_listings_and_batches_agree_with_what_is_there() {
    for table in tables() {
        let keys: Vec<_> = (0..500_u64).map(u64::to_le_bytes).collect();
        for (number, key) in (0..).zip(&keys) {
            let _ = table.put(entry(key, &[1; 40], number)).unwrap();
        }
        let walked: Vec<_> = Walk::new(&table).map(Result::unwrap).collect();
        assert_eq!(walked.len(), keys.len());
        let sorted = table.sorted().unwrap();
        assert!(sorted.is_sorted_by(|one, other| one.key < other.key));
        let (mut found, absent) = (Vec::<Lookup>::new(), [9_u8; 3]);
        let mut asked: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
        asked.insert(17, &absent);
        table.get_many(&asked, &mut found).unwrap();
        for (key, lookup) in asked.iter().zip(&found) {
            let expected = <[u8; 8]>::try_from(*key).ok().map(u64::from_le_bytes);
            assert_eq!(lookup.metadata, expected);
        }
        let mut buffer = [0; 39];
        let short = Err(Error::BufferTooSmall { bytes: 39, bytes_needed: 40 });
        assert_eq!(table.get_into(&keys[3], &mut buffer), short);
        assert_eq!(table.take_into(&keys[3], &mut buffer), short);
        let mut buffer = [0; 64];
        assert_eq!(table.take_into(&keys[3], &mut buffer).unwrap().unwrap().bytes, 40);
        let mut left = table.len();
        while let Some(entry) = table.take_first().unwrap() {
            assert_eq!(entry.value, [1; 40]);
            left -= 1;
        }
        assert_eq!((left, table.len()), (0, 0));
    }
}

#[test]
fn what_counts_as_dead_is_absent_to_every_update_that_asks() {
    for table in tables() {
        let is_dead = |metadata| metadata == 1;
        let _ = table.put(entry(b"k", b"v", 1)).unwrap();
        assert_eq!(table.put_over(entry(b"k", b"v", 2), &is_dead), Ok(Put::Inserted));
        assert_eq!(table.put_over(entry(b"k", b"v", 1), &is_dead), Ok(Put::Replaced));
        let mut existing = Vec::new();
        let rule = Rule::Insert { existing: &mut existing, is_dead: &is_dead };
        assert_eq!(table.update(entry(b"k", b"v", 3), rule), Ok(Effect::Added));
        assert_eq!((table.len(), table.audit().is_clean()), (1, true));
    }
}
