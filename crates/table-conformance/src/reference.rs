//! The contract over byte strings as an ordered map, and that map behind a mutex as a table.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use shm_arena::Block;
use shm_table::{
    Audit, Capabilities, Cursor, Effect, Entry, Error, KEY_BYTES_MAX, Kind, Recovery, Rule, Seen,
    Stats, Table, Unlinked, Version,
};

/// The sequential model: the core of the contract with its answers, in a dozen lines each.
///
/// Holds what it is given without bound, unless [`bounded`](Reference::bounded).
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Reference {
    entries: BTreeMap<Vec<u8>, Stored>,
    value_bytes_max: Option<usize>,
    /// Entries stored so far: the generation of the last one.
    stored: u64,
}

/// What the model keeps for a key.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
struct Stored {
    value: Vec<u8>,
    metadata: u64,
    generation: u64,
}

impl Stored {
    fn version(&self) -> Version {
        Version::new(IDENTITY, Block::new(0), self.generation)
    }

    fn copy_out(&self, value: &mut Vec<u8>) -> Seen {
        value.clone_from(&self.value);
        Seen { metadata: self.metadata, version: self.version() }
    }
}

impl Reference {
    /// A model that refuses values of more bytes than this.
    pub fn bounded(value_bytes_max: usize) -> Self {
        Self { value_bytes_max: Some(value_bytes_max), ..Self::default() }
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

    /// As [`Table::look_up`].
    pub fn look_up(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<Seen>, Error> {
        value.clear();
        Self::check_key(key)?;
        Ok(self.entries.get(key).map(|stored| stored.copy_out(value)))
    }

    /// As [`Table::update`].
    pub fn update(&mut self, entry: Entry<'_>, rule: Rule<'_>) -> Result<Effect, Error> {
        self.check(entry)?;
        let effect = match (self.entries.get(entry.key), rule) {
            (None, Rule::Replace | Rule::Exchange { .. }) => return Ok(Effect::Missing),
            (None, Rule::Put { .. }) => Effect::Added,
            (None, Rule::Insert { existing, .. }) => {
                existing.clear();
                Effect::Added
            }
            (Some(there), Rule::Insert { existing, is_dead }) => {
                if !is_dead(there.metadata) {
                    return Ok(Effect::Kept { metadata: there.copy_out(existing).metadata });
                }
                existing.clear();
                Effect::Added
            }
            (Some(there), Rule::Put { is_dead }) if is_dead(there.metadata) => Effect::Added,
            (Some(there), Rule::Exchange { version }) if there.version() != version => {
                return Ok(Effect::Changed);
            }
            (Some(_), _) => Effect::Replaced,
        };
        self.stored += 1;
        let (value, metadata) = (entry.value.to_vec(), entry.metadata);
        let stored = Stored { value, metadata, generation: self.stored };
        self.entries.insert(entry.key.to_vec(), stored);
        Ok(effect)
    }

    /// As [`Table::unlink`].
    pub fn unlink(
        &mut self,
        key: &[u8],
        only: Option<Version>,
        mut value: Option<&mut Vec<u8>>,
    ) -> Result<Unlinked, Error> {
        value.iter_mut().for_each(|value| value.clear());
        Self::check_key(key)?;
        let Some(there) = self.entries.get(key) else { return Ok(Unlinked::Absent) };
        if only.is_some_and(|only| only != there.version()) {
            return Ok(Unlinked::Changed);
        }
        let seen = there.copy_out(value.unwrap_or(&mut Vec::new()));
        self.entries.remove(key);
        Ok(Unlinked::Removed { metadata: seen.metadata })
    }

    /// As [`Table::len`].
    pub fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    /// As [`Table::is_empty`].
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All entries in order of the keys.
    pub fn entries(&self) -> impl Iterator<Item = (Entry<'_>, Version)> {
        self.entries.iter().map(|(key, stored)| {
            let Stored { value, metadata, .. } = stored;
            (Entry { key, value, metadata: *metadata }, stored.version())
        })
    }
}

/// The model behind a mutex, as a test double for a table: linearizable, private to a process.
///
/// One bucket to a scan. Nothing in it can be damaged or lost, so audit and recovery have nothing
/// to say.
#[derive(Debug, Default)]
pub struct ReferenceTable {
    reference: Mutex<Reference>,
}

/// What versions and cursors remember of every model: it is no shared table, so none is foreign.
const IDENTITY: u64 = 0x7265_6665_7265_6e63;

static CAPABILITIES: Capabilities = Capabilities::bounded_wait(u64::MAX);

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
        Kind::Foreign { id: u64::MAX, name: "reference" }
    }

    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn identity(&self) -> u64 {
        IDENTITY
    }

    fn look_up(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<Seen>, Error> {
        self.lock().look_up(key, value)
    }

    fn update(&self, entry: Entry<'_>, rule: Rule<'_>) -> Result<Effect, Error> {
        self.lock().update(entry, rule)
    }

    fn unlink(
        &self,
        key: &[u8],
        only: Option<Version>,
        value: Option<&mut Vec<u8>>,
    ) -> Result<Unlinked, Error> {
        self.lock().unlink(key, only, value)
    }

    /// Visits a copy, so that the visitor may call the table.
    fn scan(
        &self,
        cursor: &mut Cursor,
        visit: &mut dyn FnMut(Entry<'_>, Version),
    ) -> Result<(), Error> {
        if cursor.position(IDENTITY)?.is_some() {
            let copy = self.lock().clone();
            cursor.move_to(None);
            copy.entries().for_each(|(entry, version)| visit(entry, version));
        }
        Ok(())
    }

    fn len(&self) -> u64 {
        self.lock().len()
    }

    fn stats(&self) -> Stats {
        Stats { entries: self.len(), ..Stats::default() }
    }

    fn dump(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        for (Entry { key, value, metadata }, _) in self.lock().entries() {
            writeln!(out, "{key:02x?} = {value:02x?}, metadata {metadata}")?;
        }
        Ok(())
    }

    fn audit(&self) -> Audit {
        Audit { entries: self.len(), ..Audit::default() }
    }

    fn recover(&self) -> Result<Recovery, Error> {
        Ok(Recovery::default())
    }
}
