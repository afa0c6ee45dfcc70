//! Verbs that insist on what they saw, or publish what they reserved.

use shm_table::{Exchange, Insert, Put, Remove, RemoveIf, Table, TableOptions, Version};

use crate::fixture::Fixture;
use crate::{entry, expect_sound};

fn version(table: &dyn Table, key: &[u8]) -> Version {
    table.look_up(key, &mut Vec::new()).expect("a look").expect("an entry").version
}

/// A version ends with its entry, also when key, value and block come back.
pub(crate) fn a_version_matches_one_life_and_no_other(fixture: &dyn Fixture) {
    for wraps_after in [None, Some(25)] {
        let options = TableOptions { wraps_after, ..TableOptions::default() };
        one_life_each(&*fixture.table(&options));
    }
}

fn one_life_each(table: &dyn Table) {
    let mut versions = Vec::new();
    for round in 0..50 {
        assert_eq!(table.put(entry(b"k", b"same", 1)), Ok(Put::Inserted));
        let current = version(table, b"k");
        assert!(!versions.contains(&current), "a version came back in round {round}");
        for &old in &versions {
            let exchanged = table.compare_exchange(entry(b"k", b"new", 2), old);
            assert_eq!(exchanged, Ok(Exchange::Changed));
            assert_eq!(table.remove_if(b"k", old), Ok(RemoveIf::Changed));
            assert_eq!(table.remove_version(old), Ok(Remove::Absent));
        }
        assert_eq!(table.remove_if(b"other", current), Ok(RemoveIf::Absent));
        let exchanged = table.compare_exchange(entry(b"k", b"same", 1), current);
        assert_eq!(exchanged, Ok(Exchange::Exchanged));
        versions.push(current);
        let current = version(table, b"k");
        assert!(!versions.contains(&current), "an exchange kept the version in round {round}");
        if round % 2 == 0 {
            assert_eq!(table.remove_if(b"k", current), Ok(RemoveIf::Removed));
        } else {
            assert_eq!(table.remove_version(current), Ok(Remove::Removed));
        }
        versions.push(current);
        assert_eq!(table.remove_if(b"k", current), Ok(RemoveIf::Absent));
        let exchanged = table.compare_exchange(entry(b"k", b"new", 2), current);
        assert_eq!(exchanged, Ok(Exchange::Absent));
    }
    expect_sound(table);
}

/// An entry that its metadata calls dead is absent to insertions and puts that ask.
pub(crate) fn what_counts_as_dead_is_absent(fixture: &dyn Fixture) {
    let table = &*fixture.table(&TableOptions::default());
    let (mut out, is_dead) = (Vec::new(), |metadata| metadata == 1);
    assert_eq!(table.put(entry(b"k", b"old", 1)), Ok(Put::Inserted));
    let inserted = table.insert_unless(entry(b"k", b"new", 2), &mut out, &is_dead);
    assert_eq!((inserted, &out[..]), (Ok(Insert::Inserted), &b""[..]));
    let inserted = table.insert_unless(entry(b"k", b"no", 3), &mut out, &is_dead);
    assert_eq!((inserted, &out[..]), (Ok(Insert::Exists { metadata: 2 }), &b"new"[..]));
    assert_eq!(table.put_over(entry(b"k", b"a", 1), &is_dead), Ok(Put::Replaced));
    assert_eq!(table.put_over(entry(b"k", b"b", 4), &is_dead), Ok(Put::Inserted));
    assert_eq!(table.get(b"k", &mut out), Ok(Some(4)));
    assert_eq!((table.len(), &out[..]), (1, &b"b"[..]));
    expect_sound(table);
}

/// Reserved room is nobody's entry; given up, it is room again.
pub(crate) fn a_reservation_shows_nothing_before_its_end(fixture: &dyn Fixture) {
    let table = &*fixture.table(&TableOptions::default());
    let mut out = Vec::new();
    let mut room = table.reserve(b"k", 20, 7).expect("room");
    room.write_at(3, b"abcdefghijklm").expect("it fits");
    room.write_at(15, b"Z").expect("it fits");
    assert_eq!(table.get(b"k", &mut out), Ok(None));
    assert_eq!(table.put(entry(b"beside", b"", 1)), Ok(Put::Inserted), "others go on");
    assert_eq!(room.insert(&mut out), Ok(Insert::Inserted));
    assert_eq!(table.take(b"k", &mut out), Ok(Some(7)));
    assert_eq!(out, b"\0\0\0abcdefghijklZ\0\0\0\0", "what is not written is zero");
    assert_eq!(table.put(entry(b"k", b"there", 1)), Ok(Put::Inserted));
    let lost = table.reserve(b"k", 5, 8).expect("room").insert(&mut out);
    assert_eq!((lost, &out[..]), (Ok(Insert::Exists { metadata: 1 }), &b"there"[..]));
    assert_eq!(table.reserve(b"k", 5, 9).expect("room").put(), Ok(Put::Replaced));
    // Far more than there are blocks.
    for round in 0..3000 {
        drop(table.reserve(b"m", 200, round).expect("what is dropped is room again"));
    }
    assert_eq!(table.get(b"m", &mut out), Ok(None));
    assert_eq!(table.len(), 2);
    expect_sound(table);
}
