//! A forked child with a handle, a cursor and a reservation of its parent's.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fork::Fork;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, waitpid};
use shm_arena::Access;
use shm_table::{Error, Put, Reservation, Table, TableOptions};

use crate::fixture::{Fixture, folder};
use crate::{entry, expect_sound};

/// Runs this in a forked child of one thread, which ends by a signal: by another one if it panics.
fn in_child(body: impl FnOnce()) {
    match fork::fork().expect("a child") {
        Fork::Child => {
            if catch_unwind(AssertUnwindSafe(body)).is_err() {
                std::process::abort();
            }
            // Not by `exit`, which runs what the parent has to run.
            loop {
                let _ = kill_process(getpid(), Signal::KILL);
            }
        }
        Fork::Parent(child) => {
            let child = Pid::from_raw(child);
            let waited = waitpid(child, WaitOptions::empty()).expect("it is this process's");
            let (_, status) = waited.expect("it ended");
            let kill = Some(Signal::KILL.as_raw());
            assert_eq!(status.terminating_signal(), kill, "the child failed: see its panic");
        }
    }
}

/// A child is refused every change through what it inherited, reads where reads store nothing, and
/// works through a handle of its own.
pub(crate) fn a_forked_child_reads_or_is_refused(fixture: &dyn Fixture) {
    let folder = folder();
    let path = folder.path().join("table");
    let Some(table) = fixture.create_in(&path, &TableOptions::default()) else { return };
    assert_eq!(table.put(entry(b"key", b"value", 7)), Ok(Put::Inserted));
    let mut room = table.reserve(b"reserved", 5, 0).expect("room");
    in_child(|| {
        refuses_changes(&*table);
        refuses_room(room);
        reads(&*table);
        let own = fixture.attach_in(&path, Access::ReadWrite).expect("a table in a file");
        assert_eq!(own.put(entry(b"child", b"own", 1)), Ok(Put::Inserted));
        assert_eq!(own.len(), 2);
    });
    // The reservation went with the closure, and its room comes back.
    room = table.reserve(b"reserved", 5, 0).expect("room");
    room.write_at(0, b"again").expect("it fits");
    assert_eq!(room.put(), Ok(Put::Inserted));
    let recovery = table.recover().expect("the child is dead");
    println!("the child's handle: {recovery:?}");
    assert_eq!(table.len(), 3);
    expect_sound(&*table);
}

fn refuses_room(mut room: Reservation<'_>) {
    assert_eq!(room.write_at(0, b"child"), Err(Error::Forked));
    assert_eq!(room.put(), Err(Error::Forked));
}

fn refuses_changes(table: &dyn Table) {
    let (new, mut out) = (entry(b"key", b"new", 8), Vec::new());
    assert_eq!(table.put(new), Err(Error::Forked));
    assert_eq!(table.insert(entry(b"none", b"", 0), &mut out), Err(Error::Forked));
    assert_eq!(table.replace(new), Err(Error::Forked));
    assert_eq!(table.remove(b"key"), Err(Error::Forked));
    assert_eq!(table.take(b"key", &mut out), Err(Error::Forked));
    assert_eq!(table.take_first().map(drop), Err(Error::Forked));
    assert_eq!(table.clear(), Err(Error::Forked));
    assert_eq!(table.recover().map(drop), Err(Error::Forked));
    assert_eq!(table.reserve(b"key", 3, 0).and_then(|room| room.put()), Err(Error::Forked));
}

fn reads(table: &dyn Table) {
    let mut out = Vec::new();
    if table.capabilities().invisible_reads {
        assert_eq!(table.get(b"key", &mut out), Ok(Some(7)));
        assert_eq!(out, b"value");
        assert_eq!(table.sorted().map(|entries| entries.len()), Ok(1));
    } else {
        assert_eq!(table.get(b"key", &mut out), Err(Error::Forked));
    }
}
