//! What whoever attaches does for those who are dead.

use shm_arena::Access;
use shm_table::{Put, TableOptions};

use crate::fixture::{Fixture, folder};
use crate::{entry, expect_sound};

/// A handle that is dropped without detaching counts as dead. Whoever attaches next to write
/// recovers what it was in the middle of; a reader leaves it as it is.
pub(crate) fn a_newcomer_recovers_what_the_dead_left(fixture: &dyn Fixture) {
    let folder = folder();
    let path = folder.path().join("table");
    let Some(table) = fixture.create_in(&path, &TableOptions::default()) else { return };
    assert_eq!(table.put(entry(b"key", b"value", 7)), Ok(Put::Inserted));
    let Some(dead) = fixture.attach_in(&path, Access::ReadWrite) else { return };
    assert_eq!(dead.put(entry(b"dead", b"stays", 1)), Ok(Put::Inserted));
    drop(dead.reserve(b"withheld", 100, 0).expect("room"));
    drop(dead);
    let reader = fixture.attach_in(&path, Access::ReadOnly);
    assert_eq!(table.stats().recoveries.processes, 0, "a reader recovers nothing");
    let newcomer = fixture.attach_in(&path, Access::ReadWrite).expect("a table in a file");
    assert_eq!(table.stats().recoveries.processes, 1, "a newcomer recovers");
    let nothing = table.recover().expect("a recovery");
    assert_eq!((nothing.processes, nothing.blocks), (0, 0), "nothing is left to recover");
    assert_eq!((table.len(), newcomer.len()), (2, 2));
    expect_sound(&*newcomer);
    drop(reader);
}
