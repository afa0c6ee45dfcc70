//! Look-ups that give more than the value, or less, or many at once.

use shm_arena::{Block, Load, Memory};

use super::search::{Found, Home, Search};
use super::word::{FIRST_SLOTS, Header, Slot};
use super::{CasBucket, TURNS_MAX};
use crate::contract::{Copied, Error, Lookup, Seen, Table, Version};
use crate::entry::{EntryShape, EntryView, check_key};

/// Look-ups whose cache misses overlap.
const BATCH: usize = 16;

impl<M: Memory> CasBucket<M> {
    /// Loads the header of a key's bucket and looks for the key under it.
    #[inline(always)]
    pub(super) fn seek(&self, home: Home, key: &[u8]) -> Result<(Header, Search<'_, M>), Error> {
        let at = self.at(home);
        let (header, matches) = self.load_matches(home, at)?;
        Ok((header, self.search(home, at, matches, key)))
    }

    /// The version of the entry in a block; `None` if the block is not in use. True if the bucket's
    /// header is unchanged afterwards.
    #[inline]
    pub(super) fn version(&self, block: Block) -> Option<Version> {
        let generation = self.arena.generation(block)?;
        Some(Version::new(self.identity, block, generation))
    }

    /// What `read` makes of a key's entry, or of its absence, at one instant.
    fn read_with<T>(
        &self,
        key: &[u8],
        mut read: impl FnMut(Option<(&Found<'_, M>, EntryShape)>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        check_key(key)?;
        let home = Home::new(self.arena.hasher().hash(key));
        // Each failed turn means that somebody changed this bucket.
        for _ in 0..TURNS_MAX {
            let (header, search) = self.seek(home, key)?;
            let outcome = match search {
                Search::Found(found) => match found.entry.shape() {
                    Some(shape) => read(Some((&found, shape))),
                    None => Err(corrupt("entry lengths", found.slot.block())),
                },
                Search::Absent => read(None),
                Search::Damaged { what, word } => Err(Error::Corrupt { what, word }),
            };
            if self.is_unchanged(self.at(home), header) {
                return outcome;
            }
        }
        Err(self.contended(home))
    }

    /// The `look_up` of the contract.
    pub(super) fn read_versioned(
        &self,
        key: &[u8],
        value: &mut Vec<u8>,
    ) -> Result<Option<Seen>, Error> {
        self.read_with(key, |found| {
            let Some((found, shape)) = found else {
                value.clear();
                return Ok(None);
            };
            let block = found.slot.block();
            let version = self.version(block).ok_or_else(|| corrupt("linked block", block))?;
            found.entry.read_value(shape, value);
            Ok(Some(Seen { metadata: found.entry.metadata(), version }))
        })
    }

    /// The `get_into` of the contract.
    pub(super) fn read_into(&self, key: &[u8], buffer: &mut [u8]) -> Result<Option<Copied>, Error> {
        self.read_with(key, |found| {
            let Some((found, shape)) = found else { return Ok(None) };
            let bytes = found.entry.read_value_into(shape, buffer)?;
            Ok(Some(Copied { bytes, metadata: found.entry.metadata() }))
        })
    }

    /// The `get_many` of the contract: asks for all buckets of a batch, then for all entries, and
    /// then looks each key up.
    pub(super) fn read_many(&self, keys: &[&[u8]], found: &mut Vec<Lookup>) -> Result<(), Error> {
        found.resize_with(keys.len(), Lookup::default);
        for (keys, found) in keys.chunks(BATCH).zip(found.chunks_mut(BATCH)) {
            let mut homes = [Home::new(0); BATCH];
            for (home, key) in homes.iter_mut().zip(keys) {
                check_key(key)?;
                *home = Home::new(self.arena.hasher().hash(key));
                self.memory().prefetch(self.at(*home), 8);
            }
            for home in homes.iter().take(keys.len()) {
                self.prefetch_entry(*home);
            }
            for (key, lookup) in keys.iter().zip(found) {
                lookup.metadata = self.get(key, &mut lookup.value)?;
            }
        }
        Ok(())
    }

    /// Brings near what the first line of a bucket says of a key; a hint, so nothing is checked.
    fn prefetch_entry(&self, home: Home) {
        let lanes = self.slots.min(FIRST_SLOTS);
        let live = Header::from_bits(self.memory().load(self.at(home), Load::Relaxed)).live();
        let matches = self.memory().match_tags(self.at(home), home.tag(), lanes + 1) >> 1 & live;
        if matches.trailing_zeros() < lanes {
            let at = self.at(home) + u64::from(matches.trailing_zeros() + 1);
            let slot = Slot::from_bits(self.memory().load(at, Load::Relaxed));
            if let Some(entry) = EntryView::new(&self.arena, slot.block()) {
                entry.prefetch_all();
            }
        }
    }
}

pub(super) const fn corrupt(what: &'static str, block: Block) -> Error {
    Error::Corrupt { what, word: block.offset().word() }
}
