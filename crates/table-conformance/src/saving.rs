//! Tables written down and read back.

use std::io::Cursor;

use shm_table::{Put, SaveError, Table, TableOptions, load, load_file, save, save_file};

use crate::fixture::{Fixture, folder, tiny};
use crate::{entry, expect_sound};

/// Entries as they are listed.
fn listed(table: &dyn Table) -> Vec<(Vec<u8>, Vec<u8>, u64)> {
    let sorted = table.sorted().expect("a listing");
    sorted.into_iter().map(|entry| (entry.key, entry.value, entry.metadata)).collect()
}

/// What is saved is loaded, by a table of any size; every flipped bit, every cut and everything
/// foreign is refused before anything changes.
pub(crate) fn what_is_saved_is_loaded_and_damage_changes_nothing(fixture: &dyn Fixture) {
    let table = fixture.table(&tiny());
    for key in 0..3_u8 {
        let value = vec![key; usize::from(key) * 9];
        assert_eq!(table.put(entry(&[key + 1], &value, u64::MAX - 1)), Ok(Put::Inserted));
    }
    let mut bytes = Vec::new();
    assert_eq!(save(&*table, &mut bytes).expect("saved"), 3);

    let other = fixture.table(&TableOptions::default());
    assert_eq!(other.put(entry(&[1], b"replaced by what is loaded", 0)), Ok(Put::Inserted));
    assert_eq!(load(&*other, Cursor::new(&bytes)).expect("loaded"), 3);
    assert_eq!(listed(&*other), listed(&*table));
    expect_sound(&*other);

    let before = listed(&*other);
    let refuse = |damaged: &[u8], what: &str| {
        let error = load(&*other, Cursor::new(damaged)).expect_err(what);
        let is_named = matches!(
            error,
            SaveError::Damaged { .. } | SaveError::Foreign | SaveError::Format { .. }
        );
        assert!(is_named, "{what}: {error}");
        assert_eq!(listed(&*other), before, "{what} changed the table");
    };
    for at in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[at / 8] ^= 1 << (at % 8);
        refuse(&damaged, &format!("bit {at} flipped"));
    }
    for length in 0..bytes.len() {
        refuse(&bytes[..length], &format!("cut to {length} bytes"));
    }
    refuse(&[&bytes[..], &[0]].concat(), "a byte too many");
    refuse(b"\x7fELF and so on, longer than a header", "a foreign file");

    let folder = folder();
    let path = folder.path().join("saved");
    assert_eq!(save_file(&*table, &path).expect("saved"), 3);
    let third = fixture.table(&TableOptions::default());
    assert_eq!(load_file(&*third, &path).expect("loaded"), 3);
    assert_eq!(listed(&*third), listed(&*table));
    let names = std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(names, 1, "nothing else is left there");
    assert!(matches!(load_file(&*third, &folder.path().join("none")), Err(SaveError::Io(_))));
}
