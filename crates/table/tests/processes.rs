//! Real processes on one file, killed where it happens to be.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use shm_arena::{AttachOptions, CreateOptions};
use shm_table::{Entry, Error, Kind, SharedTable, Table, TableOptions};
use tempfile::TempDir;

const SEGMENT: &str = "SHM_TABLE_TEST_SEGMENT";
const SEED: &str = "SHM_TABLE_TEST_SEED";
const KEYS: u64 = 64;

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// A value of some words, all of them the same number, so that a torn one shows.
fn value(mark: u64) -> Vec<u8> {
    mark.to_le_bytes().repeat(usize::try_from(mark % 24).unwrap_or(0) + 1)
}

fn check(bytes: &[u8], metadata: u64) {
    assert_eq!(bytes, value(metadata), "a value that nobody stored");
}

/// One random verb; every value that comes out is whole.
fn act(table: &SharedTable, seed: &mut u64, out: &mut Vec<u8>) -> Result<(), Error> {
    let key = (random(seed) % KEYS).to_le_bytes();
    let mark = random(seed) >> 8;
    let data = value(mark);
    let entry = Entry { key: &key, value: &data, metadata: mark };
    if random(seed).is_multiple_of(64) {
        // Of a table whose size is fixed this is none.
        let _ = table.adjust(Some(1 << (random(seed) % 6)))?;
    }
    let read = match random(seed) % 6 {
        0 => table.get(&key, out)?,
        1 => table.take(&key, out)?,
        2 => table.remove(&key).map(|_| None)?,
        3 => table.replace(entry).map(|_| None)?,
        4 => table.insert(entry, out).map(|_| None)?,
        _ => table.put(entry).map(|_| None)?,
    };
    if let Some(metadata) = read {
        check(out, metadata);
    }
    Ok(())
}

/// The process that is killed. Does nothing unless another test started it.
#[test]
fn worker() {
    let Some(path) = std::env::var_os(SEGMENT).map(PathBuf::from) else {
        return;
    };
    let mut seed: u64 = std::env::var(SEED).unwrap().parse().unwrap();
    let table = SharedTable::attach_file(&path, &AttachOptions::default()).unwrap();
    let (mut out, start) = (Vec::new(), Instant::now());
    // Ends by itself, should the parent die first.
    while start.elapsed() < Duration::from_secs(60) {
        match act(&table, &mut seed, &mut out) {
            // A stopped or dying owner of the lock may make `chained` busy.
            Ok(()) | Err(Error::Busy { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn start(path: &Path, seed: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "worker", "--nocapture"])
        .env(SEGMENT, path)
        .env(SEED, seed.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Processes come and are killed while this one works; then nothing is lost, torn or in the way.
/// Gives how many sizes the table was seen to have.
fn storm(kind: Kind, kills: u64, (buckets_min, buckets_max): (Option<u64>, Option<u64>)) -> usize {
    let shared_memory = Path::new("/dev/shm");
    let folder =
        if shared_memory.is_dir() { TempDir::new_in(shared_memory) } else { TempDir::new() };
    let path = folder.unwrap().keep().join("storm");
    // Few records and lines: the dead have to make room for the living.
    let options = TableOptions {
        entries: 2 * KEYS,
        processes: 6,
        lines: 6,
        buckets_min,
        buckets_max,
        ..TableOptions::default()
    };
    let table = SharedTable::create_file(&path, kind, &options, &CreateOptions::default()).unwrap();
    let mut sizes = BTreeSet::from([table.stats().buckets]);
    let (mut seed, mut out) = (0x9e37_79b9_7f4a_7c15 ^ kind.id(), Vec::new());
    println!("{}: {kills} kills, seed {seed:#x}", kind.name());
    let mut workers: Vec<Child> = (0..2).map(|worker| start(&path, seed ^ worker)).collect();
    let mut longest = Duration::ZERO;
    for kill in 0..kills {
        let until = Instant::now() + Duration::from_micros(random(&mut seed) % 30_000);
        while Instant::now() < until {
            let before = Instant::now();
            match act(&table, &mut seed, &mut out) {
                Ok(()) | Err(Error::Busy { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            longest = longest.max(before.elapsed());
        }
        let victim = usize::try_from(random(&mut seed)).unwrap_or(0) % workers.len();
        workers[victim].kill().unwrap();
        let ended = workers[victim].wait().unwrap();
        assert_eq!(ended.code(), None, "a worker ended by itself: see its panic");
        workers[victim] = start(&path, random(&mut seed) ^ kill);
        if kill % 4 == 0 {
            let _ = table.recover().unwrap();
        }
        sizes.insert(table.stats().buckets);
    }
    for mut worker in workers {
        worker.kill().unwrap();
        let _ = worker.wait().unwrap();
    }
    let recovery = table.recover().unwrap();
    println!("last recovery {recovery:?}, longest operation {longest:?}");
    let audit = table.audit();
    assert!(audit.is_clean(), "{:?}", audit.findings);
    assert!(audit.entries <= KEYS);
    // Nothing is withheld: every key finds room.
    for key in 0..KEYS {
        let data = value(key);
        let key = key.to_le_bytes();
        let _ = table.put(Entry { key: &key, value: &data, metadata: 0 }).unwrap();
    }
    table.detach();
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    sizes.len()
}

#[test]
fn kills_anywhere_in_cas_bucket_leave_nothing_behind() {
    assert_eq!(storm(Kind::CasBucket, 120, (None, None)), 1);
}

#[test]
fn kills_anywhere_in_cas_bucket_while_it_grows_and_shrinks_leave_nothing_behind() {
    let sizes = storm(Kind::CasBucket, 120, (Some(4), Some(32)));
    assert!(sizes > 1, "it stayed as it was");
}

#[test]
fn kills_anywhere_in_chained_while_it_adjusts_leave_nothing_behind() {
    let sizes = storm(Kind::Chained, 120, (None, None));
    assert!(sizes > 1, "it stayed as it was");
}

#[test]
fn kills_anywhere_in_robin_hood_leave_nothing_behind() {
    assert_eq!(storm(Kind::RobinHood, 120, (None, None)), 1);
}

#[test]
fn kills_anywhere_in_robin_hood_while_it_grows_leave_nothing_behind() {
    let sizes = storm(Kind::RobinHood, 120, (Some(1), Some(8)));
    assert!(sizes > 1, "it stayed as it was");
}
