//! Real processes on one file, killed where it happens to be; and a handle that may only read.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use shm_arena::Access;
use shm_table::{Error, Exchange, Put, RemoveIf, Table, TableOptions};

use crate::fixture::{Fixture, folder};
use crate::{entry, expect_sound, is_full};

const SEGMENT: &str = "SHM_TABLE_CONFORMANCE_SEGMENT";
const SEED: &str = "SHM_TABLE_CONFORMANCE_SEED";
const KEYS: u64 = 64;

/// The file that a worker is to work on, if this process is one.
pub fn worker_segment() -> Option<PathBuf> {
    std::env::var_os(SEGMENT).map(PathBuf::from)
}

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// A value of some words, all of them the same number, so that a torn one shows.
fn value(mark: u64) -> Vec<u8> {
    mark.to_le_bytes().repeat((mark % 24) as usize + 1)
}

/// One random verb; every value that comes out is whole.
fn act(table: &dyn Table, seed: &mut u64, out: &mut Vec<u8>) -> Result<(), Error> {
    let key = (random(seed) % KEYS).to_le_bytes();
    let mark = random(seed) >> 8;
    let data = value(mark);
    let entry = entry(&key, &data, mark);
    let read = match random(seed) % 10 {
        0 => table.get(&key, out)?,
        1 => table.take(&key, out)?,
        2 => table.remove(&key).map(|_| None)?,
        3 => table.replace(entry).map(|_| None)?,
        4 => table.insert(entry, out).map(|_| None)?,
        5 => {
            if let Some(seen) = table.look_up(&key, out)? {
                let _: Exchange = table.compare_exchange(entry, seen.version)?;
            }
            None
        }
        6 => {
            if let Some(seen) = table.look_up(&key, out)? {
                let _: RemoveIf = table.remove_if(&key, seen.version)?;
            }
            None
        }
        7 => {
            let mut room = table.reserve(&key, data.len(), mark)?;
            room.write_at(0, &data)?;
            if mark.is_multiple_of(2) {
                let _: Put = room.put()?;
            }
            None
        }
        8 => {
            if mark.is_multiple_of(16) {
                table.adjust(Some(1 << (mark % 8)))?;
            }
            None
        }
        _ => table.put(entry).map(|_| None)?,
    };
    if let Some(metadata) = read {
        assert_eq!(*out, value(metadata), "a value that nobody stored");
    }
    Ok(())
}

/// Whether an error is one that a stopped or dying process may cause.
fn is_passing(table: &dyn Table, error: &Error) -> bool {
    let waits = table.capabilities().writes.waits() || table.capabilities().reads.waits();
    matches!(error, Error::NoLine { .. }) || waits && matches!(error, Error::Busy { .. })
}

/// The process that is killed: works on the table that it is told of, or does nothing if it is
/// told of none.
pub fn work(fixture: &dyn Fixture) {
    let Some(path) = worker_segment() else { return };
    let seed = std::env::var(SEED).expect("a seed beside the segment");
    let mut seed: u64 = seed.parse().expect("a number");
    let table = fixture.attach_in(&path, Access::ReadWrite).expect("a table in a file");
    let (mut out, start) = (Vec::new(), Instant::now());
    // Ends by itself, should the parent die first.
    while start.elapsed() < Duration::from_secs(60) {
        if let Err(error) = act(&*table, &mut seed, &mut out) {
            assert!(is_passing(&*table, &error) || is_full(&error), "{error}");
        }
    }
}

fn start(path: &Path, worker: &str, seed: u64) -> Child {
    Command::new(std::env::current_exe().expect("a test that runs"))
        .args(["--exact", worker, "--nocapture"])
        .env(SEGMENT, path)
        .env(SEED, seed.to_string())
        .stdout(Stdio::null())
        .spawn()
        .expect("another process of this test")
}

/// Kills processes at random while this one works; then nothing is lost, torn or in the way.
///
/// `worker` is the name of the test that calls [`work`]. A table that cannot be in a file passes.
///
/// # Panics
///
/// If the table does not pass.
pub fn kills(fixture: &dyn Fixture, worker: &str) {
    const KILLS: u64 = 40;
    let folder = folder();
    let path = folder.path().join("table");
    // Few records and lines: the dead have to make room for the living.
    let options =
        TableOptions { entries: 2 * KEYS, processes: 6, lines: 12, ..TableOptions::default() };
    let Some(table) = fixture.create_in(&path, &options) else { return };
    let (mut seed, mut out) = (0x9e37_79b9_7f4a_7c15, Vec::new());
    let mut workers: Vec<Child> = (0..2).map(|seed| start(&path, worker, 77 + seed)).collect();
    for kill in 0..KILLS {
        let until = Instant::now() + Duration::from_micros(random(&mut seed) % 30_000);
        while Instant::now() < until {
            if let Err(error) = act(&*table, &mut seed, &mut out) {
                assert!(is_passing(&*table, &error) || is_full(&error), "{error}");
            }
        }
        let victim = &mut workers[(kill % 2) as usize];
        victim.kill().expect("it is there");
        let ended = victim.wait().expect("it ends");
        assert_eq!(ended.code(), None, "a worker ended by itself: see its panic");
        *victim = start(&path, worker, random(&mut seed) | 1);
    }
    for mut worker in workers {
        worker.kill().expect("it is there");
        let _ = worker.wait().expect("it ends");
    }
    let recovery = table.recover().expect("nobody is left");
    println!("last recovery: {recovery:?}");
    expect_sound_after_deaths(&*table);
    // Nothing is withheld: every key finds room.
    for key in 0..KEYS {
        let key = key.to_le_bytes();
        assert!(table.put(entry(&key, &value(23), 23)).is_ok(), "room for every key");
    }
    expect_sound_after_deaths(&*table);
}

/// As [`expect_sound`], but that deaths between a change and its count may leave `len` off.
fn expect_sound_after_deaths(table: &dyn Table) {
    let audit = table.audit();
    assert!(audit.is_clean(), "{} blocks lost: {:?}", audit.lost_blocks, audit.findings);
    assert!(audit.entries <= KEYS);
    let walked = table.sorted().expect("a walk").len();
    assert_eq!(audit.entries, walked as u64);
}

/// A read-only handle refuses every change, and reads where the design says that reads store
/// nothing; where they do, it refuses those too.
pub(crate) fn a_read_only_handle_reads_or_refuses(fixture: &dyn Fixture) {
    let folder = folder();
    let path = folder.path().join("table");
    let Some(table) = fixture.create_in(&path, &TableOptions::default()) else { return };
    assert_eq!(table.put(entry(b"key", b"value", 7)), Ok(Put::Inserted));
    let Some(reader) = fixture.attach_in(&path, Access::ReadOnly) else { return };
    let (mut out, reads) = (Vec::new(), reader.capabilities().invisible_reads);
    let seen = table.look_up(b"key", &mut out).expect("a look").expect("an entry");
    if reads {
        assert_eq!(reader.get(b"key", &mut out), Ok(Some(7)));
        assert_eq!(out, b"value");
        assert_eq!(reader.get(b"none", &mut out), Ok(None));
        let same = reader.look_up(b"key", &mut out).expect("a look").expect("an entry");
        assert_eq!(same.version, seen.version, "a version means the same to every handle");
        assert_eq!(reader.get_into(b"key", &mut [0; 9]).map(|c| c.map(|c| c.bytes)), Ok(Some(5)));
        assert_eq!(reader.sorted().map(|entries| entries.len()), Ok(1));
    } else {
        assert_eq!(reader.get(b"key", &mut out), Err(Error::ReadOnly));
        assert_eq!(reader.sorted().map(|entries| entries.len()), Err(Error::ReadOnly));
    }
    let new = entry(b"key", b"new", 8);
    assert_eq!(reader.put(new), Err(Error::ReadOnly));
    assert_eq!(reader.put_over(new, &|_| true), Err(Error::ReadOnly));
    assert_eq!(reader.insert(new, &mut out), Err(Error::ReadOnly));
    assert_eq!(reader.replace(new), Err(Error::ReadOnly));
    assert_eq!(reader.compare_exchange(new, seen.version), Err(Error::ReadOnly));
    let reserved = reader.reserve(b"key", 3, 0).and_then(|room| room.put());
    assert_eq!(reserved, Err(Error::ReadOnly));
    assert_eq!(reader.remove(b"key"), Err(Error::ReadOnly));
    assert_eq!(reader.remove_if(b"key", seen.version), Err(Error::ReadOnly));
    assert_eq!(reader.remove_version(seen.version), Err(Error::ReadOnly));
    assert_eq!(reader.take(b"key", &mut out), Err(Error::ReadOnly));
    assert_eq!(reader.take_into(b"key", &mut [0; 9]), Err(Error::ReadOnly));
    assert_eq!(reader.take_first().map(drop), Err(Error::ReadOnly));
    assert_eq!(reader.clear(), Err(Error::ReadOnly));
    assert_eq!(reader.recover().map(drop), Err(Error::ReadOnly));
    assert_eq!((table.len(), reader.len()), (1, 1));
    expect_sound(&*table);
}
