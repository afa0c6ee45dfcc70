//! What every table does: the verbs, their answers and their errors.

mod answer;
mod cursor;
mod design;
mod error;
mod forward;
mod report;
mod reservation;
mod version;

use std::cmp::Ordering;
use std::fmt;
use std::ops::ControlFlow;

pub use answer::{
    Copied, Effect, Entry, Exchange, Insert, KEY_BYTES_MAX, Lookup, Put, Remove, RemoveIf, Replace,
    Rule, Seen, Unlinked,
};
pub use cursor::{Cursor, OwnedEntry, Walk};
pub use design::{ArenaDesign, Design};
pub use error::Error;
pub(crate) use forward::forward_table;
pub use report::{Audit, Recovery, Resizing, Stats};
pub use reservation::{Reservation, Room};
pub use version::Version;

use crate::entry::check_key;
use crate::{Capabilities, Kind};
use reservation::Draft;

/// A concurrent hash table in shared words: byte-string keys, byte-string values.
///
/// Every verb on a key is linearizable. A verb that fails changed nothing in the table. Verbs that
/// give a value out copy it into the caller's vector or buffer, whose content after an error is
/// unspecified; a vector that is reused costs no allocation.
///
/// Progress, blocking and costs differ by design: [`capabilities`](Table::capabilities) says how,
/// verb by verb.
///
/// # A table of your own
///
/// The methods without a body are the whole of it: one look-up, one update, one unlinking, one step
/// of a scan, and what the table says about itself. Everything else follows from them; override
/// what you can do better. The crate `shm-table-conformance` tells whether it is one.
pub trait Table: fmt::Debug + Send + Sync {
    /// Which design this is.
    fn kind(&self) -> Kind;

    /// What the design promises, as data.
    fn capabilities(&self) -> &'static Capabilities;

    /// A number that tells this table from others, the same in every process and drawn at random at
    /// creation: what versions and cursors remember of it.
    fn identity(&self) -> u64;

    /// Copies the value of a key out; gives its metadata word and version, or `None` if the key is
    /// absent, and then empties the vector.
    fn look_up(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<Seen>, Error>;

    /// Adds or replaces an entry, as a rule says. The verbs that store are this one.
    fn update(&self, entry: Entry<'_>, rule: Rule<'_>) -> Result<Effect, Error>;

    /// Removes a key, with `only` if it is of that version; first copies its value out, if there is
    /// a vector for it. The verbs that remove are this one. At most one caller over all processes
    /// removes a given entry.
    fn unlink(
        &self,
        key: &[u8],
        only: Option<Version>,
        value: Option<&mut Vec<u8>>,
    ) -> Result<Unlinked, Error>;

    /// Visits the entries of the bucket at which a cursor is, copied out at one instant, and moves
    /// the cursor behind it. Writers are not held up, and the visitor may call any verb.
    ///
    /// From [`cursor`](Table::cursor) to [`is_at_end`](Cursor::is_at_end), every entry that is
    /// there throughout is visited; others may or may not be. After an error the cursor is where it
    /// was.
    fn scan(
        &self,
        cursor: &mut Cursor,
        visit: &mut dyn FnMut(Entry<'_>, Version),
    ) -> Result<(), Error>;

    /// Number of entries, counted beside the table: exact when nobody writes and nobody ever died
    /// between a change and its count, else approximate. [`audit`](Table::audit) counts anew.
    fn len(&self) -> u64;

    /// Counts and histograms.
    fn stats(&self) -> Stats;

    /// Writes the table's state for a person to read.
    fn dump(&self, out: &mut dyn fmt::Write) -> fmt::Result;

    /// Checks every invariant that can be seen from outside. Exact on a quiescent table.
    fn audit(&self) -> Audit;

    /// Finishes or undoes what dead processes left, if there are any. Anyone may call it at any
    /// time, while others work.
    fn recover(&self) -> Result<Recovery, Error>;

    /// Copies the value of a key out; gives its metadata word, or `None` if the key is absent, and
    /// then empties the vector.
    fn get(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<u64>, Error> {
        Ok(self.look_up(key, value)?.map(|seen| seen.metadata))
    }

    /// Copies the value of a key to the beginning of a buffer; `None` if the key is absent.
    ///
    /// # Errors
    ///
    /// [`Error::BufferTooSmall`] says how long the value is.
    fn get_into(&self, key: &[u8], buffer: &mut [u8]) -> Result<Option<Copied>, Error> {
        let mut value = Vec::new();
        let Some(seen) = self.look_up(key, &mut value)? else { return Ok(None) };
        copy_into(&value, buffer)?;
        Ok(Some(Copied { bytes: value.len(), metadata: seen.metadata }))
    }

    /// Looks up many keys, whose cache misses overlap where the design can do so; answer `i` is for
    /// key `i`. Each look-up is linearizable, the batch is not.
    ///
    /// # Errors
    ///
    /// The first one met; then the answers are unspecified.
    fn get_many(&self, keys: &[&[u8]], found: &mut Vec<Lookup>) -> Result<(), Error> {
        found.resize_with(keys.len(), Lookup::default);
        for (key, lookup) in keys.iter().zip(found) {
            lookup.metadata = self.get(key, &mut lookup.value)?;
        }
        Ok(())
    }

    /// Adds an entry unless its key is present; then copies out what exists.
    ///
    /// An existing entry whose metadata word satisfies `is_dead` counts as absent, decided at the
    /// instant at which the verb takes effect.
    fn insert_unless(
        &self,
        entry: Entry<'_>,
        existing: &mut Vec<u8>,
        is_dead: &dyn Fn(u64) -> bool,
    ) -> Result<Insert, Error> {
        Ok(self.update(entry, Rule::Insert { existing, is_dead })?.into_insert())
    }

    /// Adds an entry unless its key is present; then copies out what exists.
    fn insert(&self, entry: Entry<'_>, existing: &mut Vec<u8>) -> Result<Insert, Error> {
        self.insert_unless(entry, existing, &|_| false)
    }

    /// Adds an entry, in place of the one with the same key if there is one.
    fn put(&self, entry: Entry<'_>) -> Result<Put, Error> {
        self.put_over(entry, &|_| false)
    }

    /// The same, where an entry whose metadata word satisfies `is_dead` counts as absent: the
    /// answer is then *inserted*. Decided at the instant at which the verb takes effect.
    fn put_over(&self, entry: Entry<'_>, is_dead: &dyn Fn(u64) -> bool) -> Result<Put, Error> {
        Ok(self.update(entry, Rule::Put { is_dead })?.into_put())
    }

    /// Puts an entry in place of the one with the same key, if there is one.
    fn replace(&self, entry: Entry<'_>) -> Result<Replace, Error> {
        Ok(self.update(entry, Rule::Replace)?.into_replace())
    }

    /// Puts an entry in place of the one with the same key, if that is of this version.
    fn compare_exchange(&self, entry: Entry<'_>, version: Version) -> Result<Exchange, Error> {
        Ok(self.update(entry, Rule::Exchange { version })?.into_exchange())
    }

    /// Takes room for an entry whose value is written later; see [`Reservation`].
    ///
    /// # Errors
    ///
    /// As [`put`](Table::put). A design that reserves no blocks finds out at the end.
    fn reserve(
        &self,
        key: &[u8],
        value_bytes: usize,
        metadata: u64,
    ) -> Result<Reservation<'_>, Error> {
        check_key(key)?;
        Ok(Reservation::new(Draft::new(self, key, value_bytes, metadata), value_bytes))
    }

    /// Removes a key.
    fn remove(&self, key: &[u8]) -> Result<Remove, Error> {
        let removed = self.unlink(key, None, None)?.metadata();
        Ok(if removed.is_some() { Remove::Removed } else { Remove::Absent })
    }

    /// Removes a key if it is of this version.
    fn remove_if(&self, key: &[u8], version: Version) -> Result<RemoveIf, Error> {
        Ok(self.unlink(key, Some(version), None)?.into_remove_if())
    }

    /// Removes the entry of this version, whatever its key; *absent* if that life is over. Unless
    /// the design does better, this goes through the whole table.
    fn remove_version(&self, version: Version) -> Result<Remove, Error> {
        let mut cursor = self.cursor();
        while !cursor.is_at_end() {
            let mut key = None;
            self.scan(&mut cursor, &mut |entry, seen| {
                if seen == version {
                    key = Some(entry.key.to_vec());
                }
            })?;
            if let Some(key) = key {
                let removed = self.remove_if(&key, version)? == RemoveIf::Removed;
                return Ok(if removed { Remove::Removed } else { Remove::Absent });
            }
        }
        Ok(Remove::Absent)
    }

    /// Removes a key and copies out the value that was removed; gives its metadata word. At most
    /// one caller over all processes receives a given entry.
    fn take(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<u64>, Error> {
        Ok(self.unlink(key, None, Some(value))?.metadata())
    }

    /// The same into a buffer. A value that does not fit is not removed.
    ///
    /// # Errors
    ///
    /// [`Error::BufferTooSmall`] says how long the value is.
    fn take_into(&self, key: &[u8], buffer: &mut [u8]) -> Result<Option<Copied>, Error> {
        let mut value = Vec::new();
        // Each failed turn means that somebody changed the entry.
        for _ in 0..TURNS_MAX {
            let Some(seen) = self.look_up(key, &mut value)? else { return Ok(None) };
            copy_into(&value, buffer)?;
            match self.remove_if(key, seen.version)? {
                RemoveIf::Removed => {
                    return Ok(Some(Copied { bytes: value.len(), metadata: seen.metadata }));
                }
                RemoveIf::Changed | RemoveIf::Absent => {}
            }
        }
        Err(Error::Contended { bucket: 0, turns: TURNS_MAX })
    }

    /// Removes some entry and gives it out, or `None` if no entry stays. At most one caller over
    /// all processes receives a given entry.
    fn take_first(&self) -> Result<Option<OwnedEntry>, Error> {
        for entry in Walk::new(self) {
            let entry = entry?;
            if self.remove_if(&entry.key, entry.version)? == RemoveIf::Removed {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Whether [`len`](Table::len) is 0.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A cursor before the first bucket.
    fn cursor(&self) -> Cursor {
        Cursor::start(self.identity())
    }

    /// Visits entries, each copied out first. An entry that is there throughout is visited once;
    /// one that comes or goes meanwhile may or may not be. [`Walk`] is the same as an iterator.
    fn for_each(&self, visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        let (mut cursor, mut is_over) = (self.cursor(), false);
        while !is_over && !cursor.is_at_end() {
            self.scan(&mut cursor, &mut |entry, _| {
                is_over = is_over || visit(entry).is_break();
            })?;
        }
        Ok(())
    }

    /// All entries in this order, copied out; what holds of [`scan`](Table::scan) holds here.
    fn sorted_by(
        &self,
        order: &mut dyn FnMut(&OwnedEntry, &OwnedEntry) -> Ordering,
    ) -> Result<Vec<OwnedEntry>, Error> {
        let mut entries = Walk::new(self).collect::<Result<Vec<_>, _>>()?;
        entries.sort_by(order);
        Ok(entries)
    }

    /// All entries in the order of their keys as byte strings.
    fn sorted(&self) -> Result<Vec<OwnedEntry>, Error> {
        self.sorted_by(&mut OwnedEntry::by_key)
    }

    /// Removes every entry that is there throughout; gives how many it removed. Not atomic. After
    /// an error, some may be left.
    fn clear(&self) -> Result<u64, Error> {
        let mut removed = 0;
        for entry in Walk::new(self) {
            let entry = entry?;
            let outcome = self.remove_if(&entry.key, entry.version)?;
            removed += u64::from(outcome == RemoveIf::Removed);
        }
        Ok(removed)
    }

    /// Makes a table that can change its number of buckets do so at once, up to its limit; `None`
    /// for as many as there are entries. Gives the number of buckets that there are afterwards.
    /// Unless the design says otherwise, its size is fixed and this does nothing.
    fn adjust(&self, buckets: Option<u64>) -> Result<u64, Error> {
        let _ = buckets;
        Ok(self.stats().buckets)
    }

    /// The change of size that is under way, if one is: what [`stats`](Table::stats) says of it,
    /// without counting anything.
    fn resizing(&self) -> Option<Resizing> {
        self.stats().resizing
    }
}

/// Attempts of a verb that reads first and then insists on what it read.
pub(crate) const TURNS_MAX: u32 = 1 << 16;

/// Copies a value to the beginning of a buffer.
fn copy_into(value: &[u8], buffer: &mut [u8]) -> Result<(), Error> {
    let bytes = buffer.len();
    let Some(room) = buffer.get_mut(..value.len()) else {
        return Err(Error::BufferTooSmall { bytes, bytes_needed: value.len() });
    };
    room.copy_from_slice(value);
    Ok(())
}
