//! The simple table that stands behind the mutex row and the probing limit: linear probing over
//! words of hash and block, blocks of one size, and a list of the free ones.
//!
//! # Layout
//!
//! ```text
//! bytes 0..8    1 + first free block, or 0       8..16   blocks never used
//! index         slots of 8 bytes: upper half of the hash · 1 + block; 0 is empty
//! blocks        length (8) · key (32) · value, in whole cache lines
//! ```

use crate::keys::{KEY_BYTES, Key};

/// Where things are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Geometry {
    slots: usize,
    blocks: usize,
    block_bytes: usize,
}

const HEADER_BYTES: usize = 64;
const BLOCK_HEADER_BYTES: usize = 8 + KEY_BYTES;

impl Geometry {
    /// A table for this many entries: between a quarter and half of the slots in use.
    pub(crate) fn new(entries: u64, value_bytes_max: u64) -> Self {
        let blocks = usize::try_from(entries).unwrap_or(usize::MAX);
        let value_bytes = usize::try_from(value_bytes_max).unwrap_or(usize::MAX);
        Self {
            slots: (blocks * 2).next_power_of_two(),
            blocks,
            block_bytes: (BLOCK_HEADER_BYTES + value_bytes).next_multiple_of(64),
        }
    }

    /// Bytes of the table.
    pub(crate) const fn bytes(&self) -> usize {
        HEADER_BYTES + self.slots * 8 + self.blocks * self.block_bytes
    }

    #[inline(always)]
    const fn slot(&self, index: usize) -> usize {
        HEADER_BYTES + (index & (self.slots - 1)) * 8
    }

    #[inline(always)]
    const fn block(&self, index: usize) -> usize {
        HEADER_BYTES + self.slots * 8 + index * self.block_bytes
    }

    /// The slot where the search for a hash starts: its leading bits.
    #[inline(always)]
    fn home(&self, hash: u32) -> usize {
        index_of((u64::from(hash) * self.slots as u64) >> 32)
    }
}

/// The table in its bytes, zeroed at first.
#[derive(Debug)]
pub(crate) struct Slab<'a> {
    geometry: Geometry,
    bytes: &'a mut [u8],
}

impl<'a> Slab<'a> {
    #[inline(always)]
    pub(crate) fn new(geometry: Geometry, bytes: &'a mut [u8]) -> Self {
        Self { geometry, bytes }
    }

    /// Copies a value out.
    #[inline(always)]
    pub(crate) fn get(&self, key: &Key, value: &mut Vec<u8>) -> bool {
        let Some((_, block)) = self.find(key) else {
            return false;
        };
        self.copy_out(block, value);
        true
    }

    /// Stores an entry whose key is not there; `false` if no block is free.
    #[inline(always)]
    pub(crate) fn put(&mut self, key: &Key, value: &[u8]) -> bool {
        let Some(block) = self.allocate() else {
            return false;
        };
        let at = self.geometry.block(block);
        self.set_word(at, value.len() as u64);
        self.bytes[at + 8..at + BLOCK_HEADER_BYTES].copy_from_slice(key);
        let start = at + BLOCK_HEADER_BYTES;
        self.bytes[start..start + value.len()].copy_from_slice(value);
        let hash = hash_of(key);
        let mut index = self.geometry.home(hash);
        while self.word(self.geometry.slot(index)) != 0 {
            index += 1;
        }
        self.set_word(self.geometry.slot(index), u64::from(hash) << 32 | (block as u64 + 1));
        true
    }

    /// Writes a value over that of an entry; `false` if it is not there.
    #[inline(always)]
    pub(crate) fn replace(&mut self, key: &Key, value: &[u8]) -> bool {
        let Some((_, block)) = self.find(key) else {
            return false;
        };
        let at = self.geometry.block(block);
        self.set_word(at, value.len() as u64);
        let start = at + BLOCK_HEADER_BYTES;
        self.bytes[start..start + value.len()].copy_from_slice(value);
        true
    }

    /// Copies a value out and removes the entry.
    #[inline(always)]
    pub(crate) fn take(&mut self, key: &Key, value: &mut Vec<u8>) -> bool {
        let Some((slot, block)) = self.find(key) else {
            return false;
        };
        self.copy_out(block, value);
        self.release(slot, block);
        true
    }

    /// Removes an entry.
    #[inline(always)]
    pub(crate) fn remove(&mut self, key: &Key) -> bool {
        let Some((slot, block)) = self.find(key) else {
            return false;
        };
        self.release(slot, block);
        true
    }

    #[inline(always)]
    fn copy_out(&self, block: usize, value: &mut Vec<u8>) {
        let at = self.geometry.block(block);
        let start = at + BLOCK_HEADER_BYTES;
        let length = index_of(self.word(at));
        value.clear();
        value.extend_from_slice(&self.bytes[start..start + length]);
    }

    /// The index of a key's slot, and its block.
    #[inline(always)]
    fn find(&self, key: &Key) -> Option<(usize, usize)> {
        let hash = hash_of(key);
        let mut index = self.geometry.home(hash);
        loop {
            let slot = self.word(self.geometry.slot(index));
            if slot == 0 {
                return None;
            }
            if slot >> 32 == u64::from(hash) {
                let block = index_of(slot & 0xffff_ffff) - 1;
                let at = self.geometry.block(block);
                if self.bytes[at + 8..at + BLOCK_HEADER_BYTES] == *key {
                    return Some((index, block));
                }
            }
            index += 1;
        }
    }

    /// Empties a slot, moves later ones of its run back, and frees the block.
    #[inline(always)]
    fn release(&mut self, index: usize, block: usize) {
        let mask = self.geometry.slots - 1;
        let mut hole = index & mask;
        let mut next = hole;
        loop {
            next = (next + 1) & mask;
            let slot = self.word(self.geometry.slot(next));
            if slot == 0 {
                break;
            }
            let home = self.geometry.home(u32::try_from(slot >> 32).unwrap_or(0));
            // The entry may move to the hole if its home does not lie behind the hole.
            if next.wrapping_sub(home) & mask >= next.wrapping_sub(hole) & mask {
                self.set_word(self.geometry.slot(hole), slot);
                hole = next;
            }
        }
        self.set_word(self.geometry.slot(hole), 0);
        let at = self.geometry.block(block);
        let free = self.word(0);
        self.set_word(at, free);
        self.set_word(0, block as u64 + 1);
    }

    #[inline(always)]
    fn allocate(&mut self) -> Option<usize> {
        let free = self.word(0);
        if free != 0 {
            let block = index_of(free) - 1;
            let next = self.word(self.geometry.block(block));
            self.set_word(0, next);
            return Some(block);
        }
        let block = index_of(self.word(8));
        if block == self.geometry.blocks {
            return None;
        }
        self.set_word(8, block as u64 + 1);
        Some(block)
    }

    #[inline(always)]
    fn word(&self, at: usize) -> u64 {
        let mut word = [0; 8];
        word.copy_from_slice(&self.bytes[at..at + 8]);
        u64::from_ne_bytes(word)
    }

    #[inline(always)]
    fn set_word(&mut self, at: usize, value: u64) {
        self.bytes[at..at + 8].copy_from_slice(&value.to_ne_bytes());
    }
}

/// Session ids are random, and these rows trust them: the hash is a part of the id, times an odd
/// number. It is the cheapest there is; a table that must survive chosen ids pays for more.
#[inline(always)]
fn hash_of(key: &Key) -> u32 {
    let mut word = [0; 8];
    word.copy_from_slice(&key[..8]);
    let product = u64::from_ne_bytes(word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    u32::try_from(product >> 32).unwrap_or(0)
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "benches run on 64-bit machines alone")]
fn index_of(word: u64) -> usize {
    word as usize
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::keys::{Choice, session_id};

    #[test]
    fn a_slab_answers_as_a_map_does() {
        let geometry = Geometry::new(100, 60);
        let mut bytes = vec![0; geometry.bytes()];
        let mut slab = Slab::new(geometry, &mut bytes);
        let mut model: HashMap<Key, Vec<u8>> = HashMap::new();
        let mut choice = Choice::new(1);
        let mut value = Vec::new();
        let (mut hits, mut fulls) = (0, 0);
        for step in 0..200_000_u64 {
            let key = session_id(1, 0, choice.below(130));
            match choice.below(4) {
                0 if !model.contains_key(&key) => {
                    let stored = vec![step.to_ne_bytes()[0]; 8 + index_of(choice.below(50))];
                    let is_stored = slab.put(&key, &stored);
                    assert_eq!(is_stored, model.len() < 100);
                    fulls += u64::from(!is_stored);
                    if is_stored {
                        model.insert(key, stored);
                    }
                }
                0 => {
                    let stored = vec![step.to_ne_bytes()[1]; 8 + index_of(choice.below(50))];
                    assert!(slab.replace(&key, &stored));
                    model.insert(key, stored);
                }
                1 => {
                    assert_eq!(slab.remove(&key), model.remove(&key).is_some());
                }
                2 => match model.remove(&key) {
                    Some(expected) => {
                        assert!(slab.take(&key, &mut value));
                        assert_eq!(value, expected);
                    }
                    None => assert!(!slab.take(&key, &mut value)),
                },
                _ => match model.get(&key) {
                    Some(expected) => {
                        hits += 1;
                        assert!(slab.get(&key, &mut value));
                        assert_eq!(&value, expected);
                    }
                    None => assert!(!slab.get(&key, &mut value)),
                },
            }
        }
        assert!(hits > 1000, "{hits} hits");
        let mut next = 1000;
        while slab.put(&session_id(1, 0, next), b"12345678") {
            next += 1;
        }
        assert_eq!(next - 1000 + model.len() as u64, 100, "{fulls} refusals before");
    }
}
