//! What no table takes: each is an error that says so, and nothing changes.

use shm_table::{Error, Exchange, Lookup, Put, Remove, RemoveIf, Table, TableOptions};

use crate::fixture::Fixture;
use crate::{entry, expect_sound};

/// A table that holds one entry, and what it looks like.
fn with_one(fixture: &dyn Fixture) -> Box<dyn Table> {
    let table = fixture.table(&TableOptions::default());
    assert_eq!(table.put(entry(b"key", b"value", 7)), Ok(Put::Inserted));
    table
}

fn expect_one(table: &dyn Table) {
    let listed = table.sorted().expect("a listing");
    let listed: Vec<_> = listed.iter().map(|entry| (&entry.key[..], &entry.value[..])).collect();
    assert_eq!(listed, [(&b"key"[..], &b"value"[..])], "nothing changed");
    expect_sound(table);
}

/// Every verb with an empty key, with one of 256 bytes, and with a value that fits no block.
pub(crate) fn bad_keys_and_values_are_named_and_change_nothing(fixture: &dyn Fixture) {
    let table = with_one(fixture);
    let mut out = Vec::new();
    let version = table.look_up(b"key", &mut out).expect("a look").expect("an entry").version;
    for key in [&[][..], &[1; 256], &[0; 1000]] {
        let wrong = Error::KeyLength { bytes: key.len() };
        let bad = entry(key, b"v", 0);
        assert_eq!(table.get(key, &mut out), Err(wrong));
        assert_eq!(table.look_up(key, &mut out), Err(wrong));
        assert_eq!(table.get_into(key, &mut [0; 9]), Err(wrong));
        assert_eq!(table.get_many(&[b"key", key], &mut Vec::<Lookup>::new()), Err(wrong));
        assert_eq!(table.insert(bad, &mut out), Err(wrong));
        assert_eq!(table.insert_unless(bad, &mut out, &|_| true), Err(wrong));
        assert_eq!(table.put(bad), Err(wrong));
        assert_eq!(table.put_over(bad, &|_| true), Err(wrong));
        assert_eq!(table.replace(bad), Err(wrong));
        assert_eq!(table.compare_exchange(bad, version), Err(wrong));
        assert_eq!(table.reserve(key, 1, 0).map(drop), Err(wrong));
        assert_eq!(table.remove(key), Err(wrong));
        assert_eq!(table.remove_if(key, version), Err(wrong));
        assert_eq!(table.take(key, &mut out), Err(wrong));
        assert_eq!(table.take_into(key, &mut [0; 9]), Err(wrong));
        expect_one(&*table);
    }
    let huge = vec![1; 1 << 25];
    let is_refused = |error| matches!(error, Error::ValueTooLarge { bytes: 33_554_432, .. });
    for key in [b"key", b"yek"] {
        let bad = entry(key, &huge, 0);
        assert!(table.insert(entry(b"new", &huge, 0), &mut out).is_err_and(is_refused));
        assert!(table.put(bad).is_err_and(is_refused));
        assert!(table.put_over(bad, &|_| true).is_err_and(is_refused));
        assert!(table.replace(bad).is_err_and(is_refused));
        assert!(table.compare_exchange(bad, version).is_err_and(is_refused));
        if table.capabilities().reserves_blocks {
            assert!(table.reserve(key, huge.len(), 0).map(drop).is_err_and(is_refused));
        }
    }
    let mut room = table.reserve(b"room", 4, 0).expect("room");
    for (at, bytes) in [(0, 5), (4, 1), (5, 0), (usize::MAX, 2)] {
        assert!(room.write_at(at, &vec![1; bytes]).is_err(), "{bytes} bytes at {at}");
    }
    drop(room);
    expect_one(&*table);
}

/// A buffer that is too small learns how much it takes.
pub(crate) fn short_buffers_learn_the_length_and_change_nothing(fixture: &dyn Fixture) {
    let table = with_one(fixture);
    for bytes in 0..5 {
        let mut buffer = [9; 5];
        let short = Err(Error::BufferTooSmall { bytes, bytes_needed: 5 });
        assert_eq!(table.get_into(b"key", &mut buffer[..bytes]), short);
        assert_eq!(table.take_into(b"key", &mut buffer[..bytes]), short);
        expect_one(&*table);
    }
    assert_eq!(table.get_into(b"none", &mut []), Ok(None));
    assert_eq!(table.take_into(b"none", &mut []), Ok(None));
    let mut buffer = [9; 8];
    let copied = table.take_into(b"key", &mut buffer).expect("a take").expect("an entry");
    assert_eq!((copied.bytes, copied.metadata, &buffer), (5, 7, b"value\x09\x09\x09"));
    assert!(table.is_empty());
}

/// Versions and cursors of another table, whose first entry lies where this one's does.
pub(crate) fn foreign_versions_and_cursors_change_nothing(fixture: &dyn Fixture) {
    let (table, other) = (with_one(fixture), with_one(fixture));
    let mut out = Vec::new();
    let version = other.look_up(b"key", &mut out).expect("a look").expect("an entry").version;
    let changed = table.compare_exchange(entry(b"key", b"new", 1), version);
    assert_eq!(changed, Ok(Exchange::Changed));
    assert_eq!(table.remove_if(b"key", version), Ok(RemoveIf::Changed));
    assert_eq!(table.remove_version(version), Ok(Remove::Absent));
    let mut cursor = other.cursor();
    let scanned = table.scan(&mut cursor, &mut |entry, _| panic!("visited {entry:?}"));
    assert_eq!((scanned, cursor), (Err(Error::ForeignCursor), other.cursor()));
    expect_one(&*table);
    expect_one(&*other);
}
