//! Look-ups that give more than the value, or less, or many at once.

use shm_arena::{Block, Load, Memory};

use super::areas::Bucket;
use super::search::{Found, Search};
use super::word::{FIRST_SLOTS, Header, Slot};
use super::{CasBucket, TURNS_MAX};
use crate::contract::{Copied, Error, Lookup, Seen, Table, Version};
use crate::entry::{EntryShape, Near, check_key};

/// Look-ups whose cache misses overlap.
const BATCH: usize = 16;

impl<M: Memory> CasBucket<M> {
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
        let hash = self.arena.hasher().hash(key);
        // Each failed turn means that somebody changed this bucket.
        for _ in 0..TURNS_MAX {
            let view = self.view(hash)?;
            let outcome = match self.search_view(&view, key) {
                Search::Found(found) => match found.entry.shape() {
                    Some(shape) => read(Some((&found, shape))),
                    None => Err(corrupt("entry lengths", found.named.slot.block())),
                },
                Search::Absent => read(None),
                Search::Damaged { what, word } => Err(Error::Corrupt { what, word }),
            };
            if self.holds(&view) {
                return outcome;
            }
        }
        Err(self.contended(hash))
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
            let block = found.named.slot.block();
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
            let root = self.root();
            let mut near = [None; BATCH];
            for (near, key) in near.iter_mut().zip(keys) {
                check_key(key)?;
                let bucket = self.areas.bucket(self.arena.hasher().hash(key), root)?;
                self.memory().prefetch(bucket.at, 8);
                *near = Some(bucket);
            }
            for bucket in near.into_iter().flatten() {
                self.approach_entry(bucket);
            }
            for (key, lookup) in keys.iter().zip(found) {
                lookup.metadata = self.get(key, &mut lookup.value)?;
            }
        }
        Ok(())
    }

    /// Brings near what the first line of a bucket says of a key; a hint, so nothing is checked.
    fn approach_entry(&self, bucket: Bucket) {
        let lanes = self.slots.count.min(FIRST_SLOTS);
        let header = Header::from_bits(self.memory().load(bucket.at, Load::Relaxed));
        let matches = self.memory().match_tags(bucket.at, bucket.stamp.tag(), lanes + 1);
        let matches = matches >> 1 & self.slots.live(header);
        if matches.trailing_zeros() < lanes {
            let at = bucket.at + u64::from(matches.trailing_zeros() + 1);
            let slot = Slot::from_bits(self.memory().load(at, Load::Relaxed));
            Near::ToRead.bring_entry(self.memory(), slot.block());
        }
    }
}

pub(super) const fn corrupt(what: &'static str, block: Block) -> Error {
    Error::Corrupt { what, word: block.offset().word() }
}
