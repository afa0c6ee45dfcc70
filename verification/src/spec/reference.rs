//! The contract over byte strings as an ordered map, and that map behind a mutex as a table.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};

use shm_table::{
    Audit, Capabilities, Entry, Error, Insert, KEY_BYTES_MAX, Kind, Progress, Put, Recovery,
    Remove, Replace, Stats, Table,
};

/// The sequential model: every verb of the contract with its answer, in a dozen lines each.
///
/// Holds what it is given without bound, unless [`bounded`](Reference::bounded).
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Reference {
    entries: BTreeMap<Vec<u8>, Stored>,
    value_bytes_max: Option<usize>,
}

/// What the model keeps for a key.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
struct Stored {
    value: Vec<u8>,
    metadata: u64,
}

impl Stored {
    fn of(entry: Entry<'_>) -> Self {
        Self { value: entry.value.to_vec(), metadata: entry.metadata }
    }

    fn copy_out(&self, value: &mut Vec<u8>) -> u64 {
        value.clone_from(&self.value);
        self.metadata
    }
}

impl Reference {
    /// A model that refuses values of more bytes than this.
    pub fn bounded(value_bytes_max: usize) -> Self {
        Self { entries: BTreeMap::new(), value_bytes_max: Some(value_bytes_max) }
    }

    fn check_key(key: &[u8]) -> Result<(), Error> {
        match key.len() {
            1..=KEY_BYTES_MAX => Ok(()),
            bytes => Err(Error::KeyLength { bytes }),
        }
    }

    fn check(&self, entry: Entry<'_>) -> Result<(), Error> {
        Self::check_key(entry.key)?;
        match self.value_bytes_max {
            Some(bytes_max) if entry.value.len() > bytes_max => {
                Err(Error::ValueTooLarge { bytes: entry.value.len(), bytes_max })
            }
            _ => Ok(()),
        }
    }

    /// As [`Table::get`].
    pub fn get(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<u64>, Error> {
        value.clear();
        Self::check_key(key)?;
        Ok(self.entries.get(key).map(|stored| stored.copy_out(value)))
    }

    /// As [`Table::insert_unless`].
    pub fn insert_unless(
        &mut self,
        entry: Entry<'_>,
        existing: &mut Vec<u8>,
        is_dead: &dyn Fn(u64) -> bool,
    ) -> Result<Insert, Error> {
        existing.clear();
        self.check(entry)?;
        match self.entries.entry(entry.key.to_vec()) {
            btree_map::Entry::Occupied(there) if !is_dead(there.get().metadata) => {
                Ok(Insert::Exists { metadata: there.get().copy_out(existing) })
            }
            place => {
                *place.or_default() = Stored::of(entry);
                Ok(Insert::Inserted)
            }
        }
    }

    /// As [`Table::put`].
    pub fn put(&mut self, entry: Entry<'_>) -> Result<Put, Error> {
        self.check(entry)?;
        let before = self.entries.insert(entry.key.to_vec(), Stored::of(entry));
        Ok(if before.is_some() { Put::Replaced } else { Put::Inserted })
    }

    /// As [`Table::replace`].
    pub fn replace(&mut self, entry: Entry<'_>) -> Result<Replace, Error> {
        self.check(entry)?;
        match self.entries.get_mut(entry.key) {
            Some(there) => {
                *there = Stored::of(entry);
                Ok(Replace::Replaced)
            }
            None => Ok(Replace::Absent),
        }
    }

    /// As [`Table::remove`].
    pub fn remove(&mut self, key: &[u8]) -> Result<Remove, Error> {
        Self::check_key(key)?;
        let removed = self.entries.remove(key);
        Ok(if removed.is_some() { Remove::Removed } else { Remove::Absent })
    }

    /// As [`Table::take`].
    pub fn take(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<u64>, Error> {
        value.clear();
        Self::check_key(key)?;
        Ok(self.entries.remove(key).map(|stored| stored.copy_out(value)))
    }

    /// As [`Table::len`].
    pub fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    /// As [`Table::is_empty`].
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// As [`Table::for_each`], in order of the keys.
    pub fn for_each(&self, visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) {
        for (key, Stored { value, metadata }) in &self.entries {
            if visit(Entry { key, value, metadata: *metadata }).is_break() {
                break;
            }
        }
    }

    /// As [`Table::clear`].
    pub fn clear(&mut self) -> u64 {
        let entries = self.len();
        self.entries.clear();
        entries
    }
}

/// The model behind a mutex, as a test double for a table: linearizable, private to a process.
///
/// It calls itself [`Kind::Chained`], the design whose one lock it shares. Nothing in it can be
/// damaged or lost, so audit and recovery have nothing to say.
#[derive(Debug, Default)]
pub struct ReferenceTable {
    reference: Mutex<Reference>,
}

static CAPABILITIES: Capabilities = Capabilities {
    reads: Progress::BoundedWait { wait_ms_max: u64::MAX },
    writes: Progress::BoundedWait { wait_ms_max: u64::MAX },
    invisible_reads: false,
    bounded_buckets: false,
};

impl ReferenceTable {
    /// A table that starts with what the model holds.
    pub fn new(reference: Reference) -> Self {
        Self { reference: Mutex::new(reference) }
    }

    /// A model that panicked in a caller's closure holds a valid map all the same.
    fn lock(&self) -> MutexGuard<'_, Reference> {
        self.reference.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table for ReferenceTable {
    fn kind(&self) -> Kind {
        Kind::Chained
    }

    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn get(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<u64>, Error> {
        self.lock().get(key, value)
    }

    fn insert_unless(
        &self,
        entry: Entry<'_>,
        existing: &mut Vec<u8>,
        is_dead: &dyn Fn(u64) -> bool,
    ) -> Result<Insert, Error> {
        self.lock().insert_unless(entry, existing, is_dead)
    }

    fn put(&self, entry: Entry<'_>) -> Result<Put, Error> {
        self.lock().put(entry)
    }

    fn replace(&self, entry: Entry<'_>) -> Result<Replace, Error> {
        self.lock().replace(entry)
    }

    fn remove(&self, key: &[u8]) -> Result<Remove, Error> {
        self.lock().remove(key)
    }

    fn take(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<u64>, Error> {
        self.lock().take(key, value)
    }

    fn len(&self) -> u64 {
        self.lock().len()
    }

    /// Visits a copy, so that the visitor may call the table.
    fn for_each(&self, visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        let copy = self.lock().clone();
        copy.for_each(visit);
        Ok(())
    }

    fn clear(&self) -> Result<u64, Error> {
        Ok(self.lock().clear())
    }

    fn stats(&self) -> Stats {
        Stats { entries: self.len(), ..Stats::default() }
    }

    fn dump(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let mut written = Ok(());
        self.lock().for_each(&mut |entry| {
            let Entry { key, value, metadata } = entry;
            written = writeln!(out, "{key:02x?} = {value:02x?}, metadata {metadata}");
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        written
    }

    fn audit(&self) -> Audit {
        Audit { entries: self.len(), ..Audit::default() }
    }

    fn recover(&self) -> Result<Recovery, Error> {
        Ok(Recovery::default())
    }
}
