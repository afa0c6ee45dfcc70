//! Going through a whole table while others change it.

use std::cmp::Ordering;
use std::collections::VecDeque;

use super::{Entry, Error, Table, Version};

/// A place in a table, between two of its buckets: plain data that may be kept, copied, and used by
/// any process attached to the same table, at any later time.
///
/// A position is a number of 64 bits. A table of 2^k buckets visits the bucket whose number, read
/// backwards, makes the position's first k bits, and leaves the cursor behind all positions that
/// begin so. An entry's place in that order is its hash read backwards, which growing and shrinking
/// do not change: so none that stays is missed, and none is met twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Cursor {
    table: u64,
    position: Option<u64>,
}

impl Cursor {
    /// Before the first bucket of the table of this [`identity`](Table::identity).
    pub const fn start(table: u64) -> Self {
        Self { table, position: Some(0) }
    }

    /// Whether everything has been visited.
    pub const fn is_at_end(&self) -> bool {
        self.position.is_none()
    }

    /// Where to go on, or `None` at the end; for whoever implements a table.
    ///
    /// # Errors
    ///
    /// [`Error::ForeignCursor`] if another table made it.
    pub const fn position(&self, table: u64) -> Result<Option<u64>, Error> {
        if self.table == table { Ok(self.position) } else { Err(Error::ForeignCursor) }
    }

    /// Moves to a position, or to the end; for whoever implements a table.
    pub const fn move_to(&mut self, position: Option<u64>) {
        self.position = position;
    }

    /// The bucket in which a position lies, of so many, a power of two.
    pub const fn bucket(position: u64, buckets: u64) -> u64 {
        position.reverse_bits() & (buckets - 1)
    }

    /// The first position behind the bucket in which a position lies; `None` behind the last.
    pub const fn behind(position: u64, buckets: u64) -> Option<u64> {
        let low_bits = 64 - buckets.trailing_zeros();
        if low_bits == 64 {
            return None;
        }
        match ((position >> low_bits) + 1) << low_bits {
            0 => None,
            next => Some(next),
        }
    }

    /// The place of a hash in the order of positions.
    pub const fn place_of(hash: u64) -> u64 {
        hash.reverse_bits()
    }
}

/// An entry copied out of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnedEntry {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
    /// The caller's word.
    pub metadata: u64,
    /// Which life of the key was copied.
    pub version: Version,
}

impl OwnedEntry {
    /// A copy of an entry.
    pub fn new(entry: Entry<'_>, version: Version) -> Self {
        let Entry { key, value, metadata } = entry;
        Self { key: key.to_vec(), value: value.to_vec(), metadata, version }
    }

    /// The entry.
    pub fn entry(&self) -> Entry<'_> {
        Entry { key: &self.key, value: &self.value, metadata: self.metadata }
    }

    /// The order of the keys as byte strings.
    pub fn by_key(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

/// The entries of a table one by one: Watson's `first` and `next`, without a limit on how many walk
/// at once. What holds of [`Table::scan`] holds here.
///
/// An error leaves the walk where it is: asked again, it tries again.
#[derive(Debug)]
pub struct Walk<'a, T: ?Sized> {
    table: &'a T,
    cursor: Cursor,
    copied: VecDeque<OwnedEntry>,
}

impl<'a, T: Table + ?Sized> Walk<'a, T> {
    /// A walk through everything.
    pub fn new(table: &'a T) -> Self {
        Self::resume(table, table.cursor())
    }

    /// A walk through what lies behind a cursor.
    pub fn resume(table: &'a T, cursor: Cursor) -> Self {
        Self { table, cursor, copied: VecDeque::new() }
    }

    /// Where a later walk goes on: behind the last bucket that this one has copied, of which it
    /// still holds [`pending`](Self::pending) entries.
    pub const fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Entries that were copied and not given out yet.
    pub fn pending(&self) -> usize {
        self.copied.len()
    }
}

impl<T: Table + ?Sized> Iterator for Walk<'_, T> {
    type Item = Result<OwnedEntry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        // Each turn visits one bucket and moves on, so there are as many as buckets at most.
        while self.copied.is_empty() && !self.cursor.is_at_end() {
            let Self { table, cursor, copied } = self;
            let mut copy = |entry: Entry<'_>, version| {
                copied.push_back(OwnedEntry::new(entry, version));
            };
            if let Err(error) = table.scan(cursor, &mut copy) {
                copied.clear();
                return Some(Err(error));
            }
        }
        self.copied.pop_front().map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Buckets double and halve between steps; every hash is met once.
        #[test]
        fn every_hash_is_met_once_however_the_table_grows_and_shrinks(
            hashes in prop::collection::btree_set(any::<u64>(), 1..40),
            sizes in prop::collection::vec(0_u32..6, 1..80),
        ) {
            let mut cursor = Cursor::start(7);
            let mut met = Vec::new();
            let mut sizes = sizes.into_iter().cycle();
            while let Some(position) = cursor.position(7).unwrap() {
                let buckets = 1_u64 << sizes.next().unwrap();
                let bucket = Cursor::bucket(position, buckets);
                let visited = hashes.iter().filter(|&&hash| {
                    hash & (buckets - 1) == bucket && Cursor::place_of(hash) >= position
                });
                met.extend(visited.copied());
                let next = Cursor::behind(position, buckets);
                prop_assert!(next.is_none_or(|next| next > position));
                cursor.move_to(next);
            }
            met.sort_unstable();
            prop_assert_eq!(met, hashes.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_cursor_of_another_table_is_refused() {
        assert_eq!(Cursor::start(1).position(2), Err(Error::ForeignCursor));
    }
}
