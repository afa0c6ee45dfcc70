//! Tables with no room left, and tables that always have some.

use shm_table::{Error, Insert, Put, Remove, Replace, TableOptions};

use crate::fixture::{Fixture, tiny};
use crate::{entry, expect_sound, is_full};

/// Fills a tiny table: the error says of what it is full, everything stays, and what is removed
/// makes room.
pub(crate) fn a_full_table_says_so_and_loses_nothing(fixture: &dyn Fixture) {
    let table = fixture.table(&tiny());
    let mut out = Vec::new();
    let (mut stored, mut refused) = (Vec::new(), None);
    for key in 0..100_u8 {
        match table.insert(entry(&[key], &[key; 20], key.into()), &mut out) {
            Ok(Insert::Inserted) => stored.push(key),
            Ok(other) => panic!("key {key}: {other:?}"),
            Err(error) => {
                assert!(is_full(&error), "{error}");
                refused = Some(key);
                break;
            }
        }
    }
    let refused = refused.expect("a table of 16 units is full before 100 entries");
    assert!(!stored.is_empty());
    for &key in &stored {
        assert_eq!(table.get(&[key], &mut out), Ok(Some(key.into())));
        assert_eq!(out, [key; 20]);
        // What needs a block may find none; then what is there stays.
        match table.replace(entry(&[key], &[key; 20], key.into())) {
            Ok(Replace::Replaced) => {}
            Ok(Replace::Absent) => panic!("key {key} is lost"),
            Err(error) => assert!(is_full(&error), "{error}"),
        }
        assert_eq!(table.get(&[key], &mut out), Ok(Some(key.into())), "a failed overwrite");
        assert_eq!(out, [key; 20]);
    }
    assert_eq!(table.len(), stored.len() as u64);
    expect_sound(&*table);
    for &key in &stored {
        assert_eq!(table.remove(&[key]), Ok(Remove::Removed));
    }
    assert_eq!(table.put(entry(&[refused], &[1; 20], 0)), Ok(Put::Inserted));
    expect_sound(&*table);
}

/// Reservations at once, far more than there are lines and blocks: what they run out of is named,
/// readers do not notice, and all comes back when they are dropped.
pub(crate) fn reservations_run_out_with_an_error_and_come_back(fixture: &dyn Fixture) {
    let table = fixture.table(&tiny());
    let mut out = Vec::new();
    assert_eq!(table.put(entry(b"key", b"value", 7)), Ok(Put::Inserted));
    for _ in 0..3 {
        let mut held = Vec::new();
        for key in 0..40_u8 {
            match table.reserve(&[key], 20, 0) {
                Ok(room) => held.push(room),
                Err(Error::NoLine { lines }) => assert_eq!(lines, tiny().lines),
                Err(error) => assert!(is_full(&error), "{error}"),
            }
        }
        assert!(!held.is_empty(), "nothing is reserved");
        if table.capabilities().invisible_reads {
            assert_eq!(table.get(b"key", &mut out), Ok(Some(7)));
        }
        drop(held);
    }
    let room = table.reserve(b"again", 20, 1).expect("all reservations are gone");
    assert_eq!(room.put(), Ok(Put::Inserted));
    assert_eq!(table.len(), 2);
    expect_sound(&*table);
}

/// A population that stays the same while its members change, many times over.
pub(crate) fn constant_population_never_fails_and_leaks_nothing(fixture: &dyn Fixture) {
    const ENTRIES: u64 = 300;
    let table = fixture.table(&TableOptions { entries: ENTRIES, ..TableOptions::default() });
    let (mut out, value) = (Vec::new(), [5; 200]);
    for round in 0..10_000_u64 {
        let key = round.to_le_bytes();
        let put = table.put(entry(&key, &value, round));
        assert_eq!(put, Ok(Put::Inserted), "round {round}");
        if let Some(old) = round.checked_sub(ENTRIES - 1) {
            assert_eq!(table.take(&old.to_le_bytes(), &mut out), Ok(Some(old)));
            assert_eq!(out, value);
        }
    }
    expect_sound(&*table);
}
