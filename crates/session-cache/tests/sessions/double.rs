//! A table in a mutex, which can be told to misbehave.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use shm_arena::Block;
use shm_table::{
    Audit, Capabilities, Cursor, Effect, Entry, Error, Kind, Recovery, Rule, Seen, Stats, Table,
    Unlinked, Version,
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

static CAPABILITIES: Capabilities = Capabilities::bounded_wait(0);

const IDENTITY: u64 = 1;

fn version(metadata: u64) -> Version {
    // Good enough for a double whose entries differ in their expiry.
    Version::new(IDENTITY, Block::new(0), metadata)
}

impl Table for Double {
    fn kind(&self) -> Kind {
        Kind::Foreign { id: u64::MAX, name: "double" }
    }

    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn identity(&self) -> u64 {
        IDENTITY
    }

    fn look_up(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<Seen>, Error> {
        value.clear();
        Ok(self.entries()?.get(&self.key(key)).map(|(stored, metadata)| {
            value.extend_from_slice(stored);
            Seen { metadata: *metadata, version: version(*metadata) }
        }))
    }

    fn update(&self, entry: Entry<'_>, rule: Rule<'_>) -> Result<Effect, Error> {
        let mut entries = self.entries()?;
        let key = self.key(entry.key);
        let effect = match (entries.get(&key), rule) {
            (None, Rule::Replace | Rule::Exchange { .. }) => return Ok(Effect::Missing),
            (None, _) if entries.len() >= self.entries_max => {
                return Err(Error::NoBlock { block_bytes: 256 });
            }
            (None, _) => Effect::Added,
            (Some((value, metadata)), Rule::Insert { existing, is_dead }) => {
                if !is_dead(*metadata) {
                    existing.clone_from(value);
                    return Ok(Effect::Kept { metadata: *metadata });
                }
                Effect::Added
            }
            (Some((_, metadata)), Rule::Put { is_dead }) if is_dead(*metadata) => Effect::Added,
            (Some((_, metadata)), Rule::Exchange { version: only })
                if only != version(*metadata) =>
            {
                return Ok(Effect::Changed);
            }
            (Some(_), _) => Effect::Replaced,
        };
        entries.insert(key, (entry.value.to_vec(), entry.metadata));
        Ok(effect)
    }

    fn unlink(
        &self,
        key: &[u8],
        only: Option<Version>,
        value: Option<&mut Vec<u8>>,
    ) -> Result<Unlinked, Error> {
        let mut entries = self.entries()?;
        let key = self.key(key);
        let Some((stored, metadata)) = entries.get(&key) else { return Ok(Unlinked::Absent) };
        let metadata = *metadata;
        if only.is_some_and(|only| only != version(metadata)) {
            return Ok(Unlinked::Changed);
        }
        let keeps = match value {
            Some(value) => {
                value.clone_from(stored);
                self.fault == Fault::TakeKeeps
            }
            None => self.fault == Fault::RemoveKeeps,
        };
        if !keeps {
            entries.remove(&key);
        }
        Ok(Unlinked::Removed { metadata })
    }

    fn scan(
        &self,
        cursor: &mut Cursor,
        visit: &mut dyn FnMut(Entry<'_>, Version),
    ) -> Result<(), Error> {
        let entries = self.entries()?.clone();
        if cursor.position(IDENTITY)?.is_some() {
            cursor.move_to(None);
            for (key, (value, metadata)) in &entries {
                visit(Entry { key, value, metadata: *metadata }, version(*metadata));
            }
        }
        Ok(())
    }

    fn len(&self) -> u64 {
        self.entries().map_or(0, |entries| entries.len() as u64)
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
