//! Segments that are not what they should be: each is refused by name, or survived.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use shm_arena::{
    Access, AttachOptions, CreateOptions, Environment, HeapMemory, Liveness, Load, Memory, Offset,
    RecordIndex, SegmentError, Store, Verdict,
};
use shm_table::{
    AnyTable, Entry, Error, Kind, Remove, SharedTable, Table, TableOptions, TableShape,
};
use tempfile::TempDir;

/// A folder where segments can live: tmpfs where there is one.
fn folder() -> TempDir {
    let shared_memory = Path::new("/dev/shm");
    if shared_memory.is_dir() { TempDir::new_in(shared_memory) } else { TempDir::new() }.unwrap()
}

fn made(folder: &TempDir, kind: Kind) -> PathBuf {
    let path = folder.path().join(kind.name());
    let options = TableOptions { entries: 64, ..TableOptions::default() };
    let table = SharedTable::create_file(&path, kind, &options, &CreateOptions::default()).unwrap();
    let _ = table.put(Entry { key: b"key", value: b"value", metadata: 7 }).unwrap();
    table.detach();
    path
}

/// Attaches after a change to the file's bytes, and gives the error's text.
fn refusal(path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, &bytes).unwrap();
    let error = SharedTable::attach_file(path, &AttachOptions::default()).unwrap_err();
    assert_eq!(fs::read(path).unwrap(), bytes, "the file is as it was");
    error.to_string()
}

fn word(bytes: &mut [u8], index: usize) -> &mut [u8] {
    &mut bytes[8 * index..8 * index + 8]
}

#[test]
fn a_header_that_differs_is_refused_by_field_with_both_values() {
    let folder = folder();
    type Change = fn(&mut Vec<u8>);
    let changes: [(&str, &str, Change); 12] = [
        ("magic", "0x454c", |bytes| word(bytes, 0).copy_from_slice(b"ELFTABLE")),
        ("format version", "0x63", |bytes| word(bytes, 1)[0] = 0x63),
        ("word bytes", "0x4", |bytes| word(bytes, 1)[4] = 4),
        ("structure fingerprint", "expected", |bytes| word(bytes, 2)[0] ^= 1),
        ("byte order", "0x807060504030201", |bytes| word(bytes, 3).reverse()),
        ("word count", "expected", |bytes| word(bytes, 4)[1] ^= 1),
        ("boot id", "expected", |bytes| word(bytes, 6)[0] ^= 1),
        ("table kind", "77", |bytes| word(bytes, 8)[0] = 77),
        ("header checksum", "expected", |bytes| word(bytes, 15)[0] ^= 1),
        ("word count", "expected", |bytes| bytes.truncate(bytes.len() - 8)),
        ("word count", "expected", |bytes| bytes.extend([0; 4096])),
        ("words", "at least 64", |bytes| bytes.truncate(64)),
    ];
    for kind in Kind::ALL {
        for (field, value, change) in changes {
            let path = made(&folder, kind);
            let mut text = refusal(&path, change);
            if field == "boot id" {
                // A boot id that differs fails the checksum first, unless that is right too.
                assert!(text.contains("header checksum"), "{text}");
                text = other_boot(&path, kind);
            }
            assert!(text.contains(&*path.to_string_lossy()), "{text}: names the file");
            assert!(text.contains(field) && text.contains(value), "{text}: {field}, {value}");
            fs::remove_file(&path).unwrap();
        }
    }
}

/// What a process of another boot is told.
fn other_boot(path: &Path, kind: Kind) -> String {
    let options = TableOptions { entries: 64, ..TableOptions::default() };
    let words = SharedTable::word_count(kind, &options).unwrap();
    let memory = Arc::new(HeapMemory::new(words));
    let environment = Environment::default();
    AnyTable::create(kind, memory.clone(), &options, &environment).unwrap().detach();
    let later = Environment { boot: [1, 2], ..environment };
    let error = AnyTable::attach(memory, &later).unwrap_err();
    error.in_file(path).to_string()
}

#[test]
fn missing_and_existing_files_are_named() {
    let folder = folder();
    let path = folder.path().join("missing");
    let error = SharedTable::attach_file(&path, &AttachOptions::default()).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
    let path = made(&folder, Kind::CasBucket);
    let before = fs::read(&path).unwrap();
    let options = TableOptions::default();
    let again = SharedTable::create_file(&path, Kind::Chained, &options, &CreateOptions::default());
    assert!(matches!(again, Err(SegmentError::Exists { .. })), "{again:?}");
    assert_eq!(fs::read(&path).unwrap(), before);
    let joined = SharedTable::create_or_attach_file(
        &path,
        Kind::Chained,
        &options,
        &CreateOptions::default(),
        &AttachOptions::default(),
    );
    assert_eq!(joined.unwrap().kind(), Kind::CasBucket);
}

#[test]
fn sizes_that_cannot_be_leave_nothing_behind() {
    let folder = folder();
    for entries in [0, 1 << 40, 1 << 31] {
        for kind in Kind::ALL {
            let options = TableOptions { entries, ..TableOptions::default() };
            let path = folder.path().join("impossible");
            let made = SharedTable::create_file(&path, kind, &options, &CreateOptions::default());
            let error = made.unwrap_err();
            assert!(error.to_string().contains("impossible"), "{error}");
            assert!(!path.exists());
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_read_only_handle_reads_and_refuses_to_write() {
    let folder = folder();
    let path = made(&folder, Kind::CasBucket);
    let options = AttachOptions { access: Access::ReadOnly, ..AttachOptions::default() };
    let table = SharedTable::attach_file(&path, &options).unwrap();
    let mut value = Vec::new();
    assert_eq!(table.get(b"key", &mut value), Ok(Some(7)));
    assert_eq!(value, b"value");
    assert_eq!(table.get(b"other", &mut value), Ok(None));
    let entry = Entry { key: b"key", value: b"new", metadata: 8 };
    assert_eq!(table.put(entry), Err(Error::ReadOnly));
    assert_eq!(table.insert(entry, &mut value), Err(Error::ReadOnly));
    assert_eq!(table.replace(entry), Err(Error::ReadOnly));
    assert_eq!(table.remove(b"key"), Err(Error::ReadOnly));
    assert_eq!(table.take(b"key", &mut value), Err(Error::ReadOnly));
    assert_eq!(table.clear(), Err(Error::ReadOnly));
    assert_eq!(table.recover(), Err(Error::ReadOnly));
    assert_eq!(table.len(), 1);
    assert!(table.audit().is_clean());
    table.detach();
}

#[test]
fn more_processes_than_records_are_refused_until_one_leaves() {
    let options = TableOptions { processes: 2, ..TableOptions::default() };
    let words = AnyTable::<HeapMemory>::word_count(Kind::CasBucket, &options).unwrap();
    let memory = Arc::new(HeapMemory::new(words));
    let environment = Environment::default();
    let first = AnyTable::create(Kind::CasBucket, memory.clone(), &options, &environment).unwrap();
    let second = AnyTable::attach(memory.clone(), &environment).unwrap();
    let third = AnyTable::attach(memory.clone(), &environment);
    assert!(matches!(third, Err(SegmentError::NoRecord { records: 2 })), "{third:?}");
    first.detach();
    let third = AnyTable::attach(memory, &environment).unwrap();
    let _ = third.put(Entry { key: b"k", value: b"v", metadata: 0 }).unwrap();
    assert_eq!(second.len(), 1);
}

/// Deaths as the test decides: a record's beacon is held until its holder is killed.
#[derive(Clone, Debug, Default)]
struct Deaths(Arc<std::sync::Mutex<std::collections::BTreeSet<RecordIndex>>>);

impl Deaths {
    fn kill(&self, table: &AnyTable<Arc<HeapMemory>>) {
        let AnyTable::CasBucket(table) = table else { panic!("these tests make cas_bucket") };
        self.0.lock().unwrap().remove(&table.arena().identity().unwrap().record);
    }
}

impl Liveness for Deaths {
    fn hold(&self, record: RecordIndex) -> bool {
        self.0.lock().unwrap().insert(record)
    }

    fn release(&self, record: RecordIndex) {
        self.0.lock().unwrap().remove(&record);
    }

    fn verdict(&self, record: RecordIndex) -> Verdict {
        let is_held = self.0.lock().unwrap().contains(&record);
        if is_held { Verdict::Alive } else { Verdict::Dead }
    }
}

#[test]
fn a_segment_full_of_dead_processes_takes_newcomers_who_settle_what_they_left() {
    let options = TableOptions { processes: 2, lines: 2, ..TableOptions::default() };
    let words = AnyTable::<HeapMemory>::word_count(Kind::CasBucket, &options).unwrap();
    let memory = Arc::new(HeapMemory::new(words));
    let deaths = Deaths::default();
    let environment = Environment { liveness: Arc::new(deaths.clone()), ..Environment::default() };
    let entry = |key| Entry { key, value: b"value", metadata: 0 };
    let first = AnyTable::create(Kind::CasBucket, memory.clone(), &options, &environment).unwrap();
    let second = AnyTable::attach(memory.clone(), &environment).unwrap();
    for (table, key) in [(&first, b"1"), (&second, b"2")] {
        let _ = table.put(entry(key)).unwrap();
        // Each keeps a spare block, which its line names.
        assert_eq!(table.remove(key), Ok(Remove::Removed));
        let _ = table.put(entry(b"both")).unwrap();
        assert_eq!(table.remove(b"both"), Ok(Remove::Removed));
    }
    let third = AnyTable::attach(memory.clone(), &environment);
    assert!(matches!(third, Err(SegmentError::NoRecord { .. })), "both live: {third:?}");
    deaths.kill(&first);
    deaths.kill(&second);
    for _ in 0..5 {
        // Every record and every line is a dead process's.
        let next = AnyTable::attach(memory.clone(), &environment).unwrap();
        let _ = next.put(entry(b"next")).unwrap();
        let _ = next.recover().unwrap();
        let audit = next.audit();
        assert!(audit.is_clean(), "{:?}", audit.findings);
        assert_eq!(next.len(), 1);
        deaths.kill(&next);
    }
}

#[test]
fn spares_that_no_line_can_keep_are_an_error_and_others_have_room_beyond_the_entries() {
    let with = |spares| TableOptions { entries: 100, lines: 16, spares, ..TableOptions::default() };
    for kind in Kind::ALL {
        let words = |spares| AnyTable::<HeapMemory>::word_count(kind, &with(spares));
        for spares in [0, 9, u32::MAX] {
            let error = words(Some(spares)).unwrap_err().to_string();
            assert!(error.contains("spares") && error.contains("outside 1 to 8"), "{error}");
        }
        assert_eq!(words(None).unwrap(), words(Some(1)).unwrap(), "few entries, few spares");
        assert!(words(Some(8)).unwrap() >= words(Some(1)).unwrap() + 7 * 16 * 32);
        // All that they were made for fit, whatever lines keep back meanwhile.
        let options = with(Some(8));
        let memory = HeapMemory::new(AnyTable::<HeapMemory>::word_count(kind, &options).unwrap());
        let table = AnyTable::create(kind, memory, &options, &Environment::default()).unwrap();
        for turn in 0..3 {
            for key in 0..100_u8 {
                let entry = Entry { key: &[key], value: &[turn; 200], metadata: 0 };
                let _ = table.put(entry).unwrap();
            }
            (0..8).for_each(|key| assert_eq!(table.remove(&[key]), Ok(Remove::Removed)));
        }
        assert!(table.audit().is_clean());
    }
}

/// Every verb, on a table in any state. Answers do not matter; coming back does.
fn every_verb(table: &dyn Table) {
    let mut out = Vec::new();
    for key in 1..6_u8 {
        let key = [key];
        let entry = Entry { key: &key, value: &[key[0]; 40], metadata: 1 };
        let _ = table.get(&key, &mut out);
        let _ = table.insert(entry, &mut out);
        let _ = table.put(entry);
        let _ = table.replace(entry);
        let _ = table.take(&key, &mut out);
        let _ = table.put(entry);
        let _ = table.remove(&key);
        let _ = table.put(entry);
    }
    let _ = (table.adjust(Some(8)), table.resizing(), table.get(&[1], &mut out));
    let _ = table.for_each(&mut |_| ControlFlow::Continue(()));
    let _ = (table.adjust(Some(1)), table.adjust(None), table.take(&[2], &mut out));
    let _ = (table.len(), table.stats(), table.audit(), table.recover());
    let mut text = String::new();
    let _ = table.dump(&mut text);
    let _ = table.clear();
}

/// A small table with some entries, and the memory under it.
fn victim(kind: Kind) -> (Arc<HeapMemory>, AnyTable<Arc<HeapMemory>>) {
    let shape = TableShape { buckets: 2, slots: 4, slabs: 4, slab_units: 8, block_units_min: 1 };
    let options = TableOptions {
        processes: 3,
        lines: 3,
        spares: Some(3),
        shape: Some(shape),
        buckets_max: Some(8),
        hash_secret: Some([3, 4]),
        ..TableOptions::default()
    };
    let words = AnyTable::<HeapMemory>::word_count(kind, &options).unwrap();
    let memory = Arc::new(HeapMemory::new(words));
    let environment = Environment::default();
    let table = AnyTable::create(kind, memory.clone(), &options, &environment).unwrap();
    for key in 1..4_u8 {
        let _ = table.put(Entry { key: &[key], value: &[key; 40], metadata: 1 }).unwrap();
    }
    (memory, table)
}

/// What hostile words look like: near-misses of what was there, small numbers, ones, noise.
fn damage() -> impl Strategy<Value = (usize, u8, u64)> {
    (any::<usize>(), 0..4_u8, any::<u64>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn damaged_words_give_errors_or_misses_and_never_a_panic_or_a_hang(
        damages in prop::collection::vec(damage(), 1..12),
    ) {
        for kind in Kind::ALL {
            let (memory, table) = victim(kind);
            let words = memory.word_count();
            for &(place, how, noise) in &damages {
                let at = Offset::new(place as u64 % words);
                let value = match how {
                    0 => memory.load(at, Load::Relaxed) ^ (1 << (noise % 64)),
                    1 => noise % (words / 4),
                    2 => u64::MAX,
                    _ => noise,
                };
                memory.store(at, value, Store::Relaxed);
            }
            every_verb(&table);
            // Who attaches to it is told, or works with it.
            if let Ok(other) = AnyTable::attach(memory.clone(), &Environment::default()) {
                every_verb(&other);
            }
        }
    }
}
