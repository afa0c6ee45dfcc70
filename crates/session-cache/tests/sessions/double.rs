//! A table in a mutex, which can be told to misbehave.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};

use shm_table::{
    Audit, Capabilities, Entry, Error, Insert, Kind, Progress, Put, Recovery, Remove, Replace,
    Stats, Table,
};

/// What the double does wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Fault {
    #[default]
    None,
    /// `take` gives the value and leaves the entry.
    TakeKeeps,
    /// The domain, which begins each key, is ignored.
    DomainIgnored,
    /// `remove` says that it removed and does not.
    RemoveKeeps,
    /// Every verb answers this.
    Answers(Error),
}

/// Values and metadata words by key.
type Entries = BTreeMap<Vec<u8>, (Vec<u8>, u64)>;

/// A sequential table in a mutex.
#[derive(Debug)]
pub(crate) struct Double {
    entries: Mutex<Entries>,
    entries_max: usize,
    fault: Fault,
}

impl Double {
    pub(crate) fn new(entries_max: usize, fault: Fault) -> Self {
        Self { entries: Mutex::default(), entries_max, fault }
    }

    fn entries(&self) -> Result<MutexGuard<'_, Entries>, Error> {
        match self.fault {
            Fault::Answers(error) => Err(error),
            _ => Ok(self.entries.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    fn key(&self, key: &[u8]) -> Vec<u8> {
        let from = if self.fault == Fault::DomainIgnored { 16 } else { 0 };
        key[from..].to_vec()
    }
}

const CAPABILITIES: Capabilities = Capabilities {
    reads: Progress::BoundedWait { wait_ms_max: 0 },
    writes: Progress::BoundedWait { wait_ms_max: 0 },
    invisible_reads: false,
    bounded_buckets: false,
};

impl Table for Double {
    fn kind(&self) -> Kind {
        Kind::Chained
    }

    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn get(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<u64>, Error> {
        value.clear();
        Ok(self.entries()?.get(&self.key(key)).map(|(stored, metadata)| {
            value.extend_from_slice(stored);
            *metadata
        }))
    }

    fn insert_unless(
        &self,
        entry: Entry<'_>,
        existing: &mut Vec<u8>,
        is_dead: &dyn Fn(u64) -> bool,
    ) -> Result<Insert, Error> {
        match self.get(entry.key, existing)? {
            Some(metadata) if !is_dead(metadata) => Ok(Insert::Exists { metadata }),
            _ => self.put(entry).map(|_| Insert::Inserted),
        }
    }

    fn put(&self, entry: Entry<'_>) -> Result<Put, Error> {
        let mut entries = self.entries()?;
        let key = self.key(entry.key);
        if !entries.contains_key(&key) && entries.len() >= self.entries_max {
            return Err(Error::NoBlock { block_bytes: 256 });
        }
        Ok(match entries.insert(key, (entry.value.to_vec(), entry.metadata)) {
            None => Put::Inserted,
            Some(_) => Put::Replaced,
        })
    }

    fn replace(&self, entry: Entry<'_>) -> Result<Replace, Error> {
        if !self.entries()?.contains_key(&self.key(entry.key)) {
            return Ok(Replace::Absent);
        }
        self.put(entry).map(|_| Replace::Replaced)
    }

    fn remove(&self, key: &[u8]) -> Result<Remove, Error> {
        let mut entries = self.entries()?;
        if self.fault == Fault::RemoveKeeps {
            return Ok(Remove::Removed);
        }
        Ok(match entries.remove(&self.key(key)) {
            None => Remove::Absent,
            Some(_) => Remove::Removed,
        })
    }

    fn take(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<u64>, Error> {
        if self.fault == Fault::TakeKeeps {
            return self.get(key, value);
        }
        value.clear();
        Ok(self.entries()?.remove(&self.key(key)).map(|(stored, metadata)| {
            value.extend_from_slice(&stored);
            metadata
        }))
    }

    fn len(&self) -> u64 {
        self.entries().map_or(0, |entries| entries.len() as u64)
    }

    fn for_each(&self, visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        for (key, (value, metadata)) in self.entries()?.iter() {
            if visit(Entry { key, value, metadata: *metadata }).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn clear(&self) -> Result<u64, Error> {
        let mut entries = self.entries()?;
        let removed = entries.len() as u64;
        entries.clear();
        Ok(removed)
    }

    fn stats(&self) -> Stats {
        Stats { entries: self.len(), ..Stats::default() }
    }

    fn dump(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        writeln!(out, "{self:?}")
    }

    fn audit(&self) -> Audit {
        Audit { entries: self.len(), ..Audit::default() }
    }

    fn recover(&self) -> Result<Recovery, Error> {
        self.entries().map(|_| Recovery::default())
    }
}
