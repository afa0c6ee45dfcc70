//! Room taken first, value written later, entry published last.

use std::fmt;

use shm_arena::ForkEpoch;

use super::{Effect, Entry, Error, Insert, Put, Replace, Rule, Table};

/// Room for an entry that nobody sees yet: its value is written piece by piece, and then the entry
/// is inserted whole. What is not written is zero.
///
/// Where the table's [`capabilities`](Table::capabilities) say that it reserves blocks, the room is
/// a block of the segment, named in the participant line that the reservation holds until its end.
/// A reservation that is dropped, or whose process dies, gives it back: to the next update of that
/// line, or to recovery. In a forked child it is the parent's: it does nothing, and says
/// [`Error::Forked`].
pub struct Reservation<'a> {
    value_bytes: usize,
    maker: ForkEpoch,
    room: Box<dyn Room + 'a>,
}

/// What a table does for a reservation.
pub trait Room: fmt::Debug {
    /// Writes a piece of the value; the caller has checked that it fits.
    fn write_at(&mut self, at: usize, bytes: &[u8]);

    /// Publishes the entry by this rule, or gives the room back.
    fn publish(self: Box<Self>, rule: Rule<'_>) -> Result<Effect, Error>;
}

impl<'a> Reservation<'a> {
    /// A reservation of this room, which takes a value of this many bytes.
    pub fn new(room: impl Room + 'a, value_bytes: usize) -> Self {
        Self { value_bytes, maker: ForkEpoch::here(), room: Box::new(room) }
    }

    fn check_maker(&self) -> Result<(), Error> {
        if self.maker.is_inherited() { Err(Error::Forked) } else { Ok(()) }
    }

    fn publish(self, rule: Rule<'_>) -> Result<Effect, Error> {
        self.check_maker()?;
        self.room.publish(rule)
    }

    /// Bytes of the value.
    pub const fn value_bytes(&self) -> usize {
        self.value_bytes
    }

    /// Writes a piece of the value, its first byte at `at`. Pieces may overlap; the last one holds.
    ///
    /// # Errors
    ///
    /// [`Error::ValueTooLarge`] if the piece ends behind the value; nothing was written.
    /// [`Error::Forked`] in a child of the process that made it.
    pub fn write_at(&mut self, at: usize, bytes: &[u8]) -> Result<(), Error> {
        self.check_maker()?;
        let end = at.saturating_add(bytes.len());
        if end > self.value_bytes {
            return Err(Error::ValueTooLarge { bytes: end, bytes_max: self.value_bytes });
        }
        self.room.write_at(at, bytes);
        Ok(())
    }

    /// Adds the entry unless its key is present; then copies out what exists.
    ///
    /// # Errors
    ///
    /// As [`Table::insert`]. The reservation is over, whatever the answer.
    pub fn insert(self, existing: &mut Vec<u8>) -> Result<Insert, Error> {
        Ok(self.publish(Rule::Insert { existing, is_dead: &|_| false })?.into_insert())
    }

    /// Adds the entry, in place of the one with the same key if there is one.
    ///
    /// # Errors
    ///
    /// As [`Table::put`]. The reservation is over, whatever the answer.
    pub fn put(self) -> Result<Put, Error> {
        Ok(self.publish(Rule::Put { is_dead: &|_| false })?.into_put())
    }

    /// Puts the entry in place of the one with the same key, if there is one.
    ///
    /// # Errors
    ///
    /// As [`Table::replace`]. The reservation is over, whatever the answer.
    pub fn replace(self) -> Result<Replace, Error> {
        Ok(self.publish(Rule::Replace)?.into_replace())
    }
}

impl fmt::Debug for Reservation<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Reservation of {} bytes: {:?}", self.value_bytes, self.room)
    }
}

/// Room in private memory, for tables that reserve no blocks.
pub(super) struct Draft<'a, T: ?Sized> {
    table: &'a T,
    key: Vec<u8>,
    value: Vec<u8>,
    metadata: u64,
}

impl<'a, T: Table + ?Sized> Draft<'a, T> {
    pub(super) fn new(table: &'a T, key: &[u8], value_bytes: usize, metadata: u64) -> Self {
        Self { table, key: key.to_vec(), value: vec![0; value_bytes], metadata }
    }
}

impl<T: Table + ?Sized> Room for Draft<'_, T> {
    fn write_at(&mut self, at: usize, bytes: &[u8]) {
        self.value[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn publish(self: Box<Self>, rule: Rule<'_>) -> Result<Effect, Error> {
        let Self { table, key, value, metadata } = &*self;
        table.update(Entry { key, value, metadata: *metadata }, rule)
    }
}

impl<T: ?Sized> fmt::Debug for Draft<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "in private memory for a key of {} bytes", self.key.len())
    }
}
