//! Buckets of cache lines whose header word alone decides what is in them: look-ups write
//! nothing, updates are lock-free, and a death between any two instructions costs nobody anything.
//!
//! # Idea
//!
//! The *deciding header*. A slot says where an entry lies; whether the entry is in the table is one
//! bit in the bucket's header, beside a version that counts every membership change. An update
//! prepares everything where nobody looks, in a block of its own and in a slot whose bit is clear,
//! and then changes the header by one compare-exchange that fails if anything in the bucket changed
//! since the update looked. So two inserters of one key cannot both succeed, whatever slots they
//! chose, and a replacement clears one bit and sets another at the same instant.
//!
//! # Layout
//!
//! ```text
//! first lines, one a bucket          rest, two lines a bucket
//! word 0         1 … 7               word 0 … 13          14 … 15
//! ┌──────────┬─────────────────┐     ┌──────────────────┬─────────┐
//! │ header   │ slots 0 … 6     │     │ slots 7 … 20     │ unused  │
//! └──────────┴─────────────────┘     └──────────────────┴─────────┘
//! header: version 40 │ mode 3 │ live 21     slot: tag 32 │ block 32     entry: see `entry`
//! ```
//!
//! The bucket is the low bits of the hash, the tag its upper half. Slots fill from the first, and
//! the rest is read only where a live bit points there: with four entries per bucket on average,
//! by one bucket in twenty. The first lines lie together, so that few pages hold all that most
//! look-ups touch. Insertions leave one slot, so that a full bucket still takes replacements; at
//! that average one insertion in 10⁸ finds a bucket with twenty entries and is refused.
//!
//! # Operations
//!
//! *get*: load the header; match all tags; for each live match compare the key, copy the value,
//! fence, and load the header again: equal means that all of it was there at one instant. A miss is
//! validated in the same way, since a replacement moves an entry between slots.
//!
//! *remove*: find as get does; name the block in this line's intent; clear its live bit by one
//! compare-exchange of the header. Then drain the block, empty the slot, wipe, free.
//! *take* is remove that copies the value before it unlinks: the exchange succeeds only if nothing
//! changed since, so the copy is of what was removed.
//!
//! *put*: find as get does; write the entry into a claimed block; claim a clear slot by exchanging
//! EMPTY for the new word; then one exchange of the header sets the new bit and clears the old one,
//! if there was one, whose block is retired as by remove. *insert* stops where the key is present,
//! *replace* where it is absent.
//!
//! # Invariants
//!
//! - I1: a live bit is set only by an exchange whose expected header was loaded before a full
//!   search for the key.
//! - I2: the word of a slot whose bit is clear is EMPTY or names a block that one participant owns;
//!   only that owner, or whoever inherits the block from it, changes it back.
//! - I3: the word of a slot whose bit is set does not change.
//! - I4: a key has at most one live slot.
//! - I5: a block is free, or named by one live slot, or named by its owner's line.
//! - I6: a slot is emptied before its block is freed.
//!
//! # Orderings
//!
//! | id | site | order | pairs with | why no weaker | model that fails without it |
//! |---|---|---|---|---|---|
//! | R1 | first header load | acquire | W2, W3 | the slots and entries it speaks of must be visible | insert a ‖ insert a, get a |
//! | R2 | fence, then header again | acquire | W1, B2, B5 | bytes of a later life must not pass as this one's | a: replace a ‖ remove a, insert a ‖ get a |
//! | W1 | slot EMPTY → word | release | R2 | who sees the word must see the header that freed the slot | none: W4's release goes on through this exchange |
//! | W2 | header, publication | release | R1 | the entry must be visible before its bit | insert a ‖ insert a, get a |
//! | W3 | header, unlinking | release | – | the intent must be there before the block is out | a: remove a killed after it, its stores lost |
//! | W4 | slot word → EMPTY | release | W1 | who claims the slot must see it unlinked | a: replace a ‖ remove a, insert a ‖ get a |
//!
//! B2, B5 and the order of block states are in the arena's `lease` module. What each ordering was
//! weakened to, and what failed, is in `verification/orderings.toml`.
//!
//! # Crash
//!
//! | dies after | left behind | what others see | repaired by |
//! |---|---|---|---|
//! | the block is claimed or written | a pending block, named | nothing | recovery frees it |
//! | W1 | a pending block in a clear slot | one slot less in this bucket | recovery empties the slot, frees the block |
//! | W2, insert | a pending block that is live in the header | the entry | recovery, or the next deleter |
//! | W2, replace | the old block, unlinked and named | the new entry | recovery frees the old block |
//! | W3 | the block, unlinked and named | the key absent | recovery drains, wipes and frees it |
//! | W4 | a pending or draining block, named | the key absent | recovery wipes and frees it |
//!
//! # Limits
//!
//! `get`: lock-free; stores nothing. Updates: lock-free; a full bucket is an error. A stopped
//! process may withhold one slot of one bucket per thread in an update, until it goes on or dies. A
//! loop that finds the bucket changed 65,536 times in a row gives *contended*. The version wraps
//! after 2^40 changes of one bucket, three hours at 10 ns each: a look-up or update that sleeps
//! through an exact multiple of that may take a later state for the one it saw. The size is fixed.
//!
//! # Source
//!
//! `papers/dlht.md`. From it: membership in a header beside its version. Different: 64-bit slots
//! that name blocks, no waiting states, one exchange for a replacement, owners for everything
//! unpublished.

mod inspect;
mod search;
mod update;
mod versioned;
mod word;

use std::fmt;

use shm_arena::{
    Arena, Geometry, Lease, Memory, Offset, SegmentError, Store, structure_fingerprint,
};

use crate::capabilities::Capabilities;
use crate::contract::{
    ArenaDesign, Audit, Copied, Cursor, Effect, Entry, Error, Insert, Lookup, Put, Recovery,
    Remove, Replace, Reservation, Rule, Seen, Stats, Table, Unlinked, Version,
};
use crate::entry::identity_of;
use crate::kind::Kind;
use crate::options::{TableOptions, TableShape};
use word::{FIRST_SLOTS, Header, SLOTS_MAX, Slot};

/// A table whose bucket headers decide membership. See the module for how it works.
pub struct CasBucket<M> {
    arena: Arena<M>,
    bucket_mask: u64,
    /// Words of a bucket in the first part of the index.
    first_words: u64,
    /// Where the second part starts.
    rest: Offset,
    slots: u32,
    dead_bits: u64,
    identity: u64,
}

/// Words of a bucket in the second part of the index, if its buckets have so many slots.
const fn rest_words(slots: u32) -> u64 {
    if slots > FIRST_SLOTS { 16 } else { 0 }
}

/// Words of a bucket in the first part of the index.
const fn first_words(slots: u32) -> u64 {
    if slots > FIRST_SLOTS { 8 } else { slots as u64 + 1 }
}

/// Entries per bucket on average that the default shape allows.
const ENTRIES_PER_BUCKET: u64 = 4;

/// Attempts before an operation gives up on a bucket that changes under each of them.
const TURNS_MAX: u32 = 1 << 16;

const CAPABILITIES: Capabilities =
    Capabilities { bounded_buckets: true, reserves_blocks: true, ..Capabilities::LOCK_FREE };

const _: () = assert!(Header::EMPTY.live() == 0 && Header::EMPTY.is_normal());
const _: () = assert!(Slot::EMPTY.block().unit() == 0 && Slot::EMPTY.bits() != 0);

impl<M: Memory> CasBucket<M> {
    fn shape(options: &TableOptions) -> Result<TableShape, SegmentError> {
        let shape = options.shape(ENTRIES_PER_BUCKET)?;
        for (quantity, value, fits) in [
            ("buckets", shape.buckets, shape.buckets.is_power_of_two() && shape.buckets <= 1 << 32),
            ("slots", shape.slots.into(), (2..=SLOTS_MAX).contains(&shape.slots)),
        ] {
            if !fits {
                let problem = "not a power of two up to 2^32, or not 2 to 21".to_owned();
                return Err(SegmentError::Size { quantity, value, problem });
            }
        }
        Ok(shape)
    }

    /// The arena underneath.
    pub const fn arena(&self) -> &Arena<M> {
        &self.arena
    }

    #[inline(always)]
    fn memory(&self) -> &M {
        self.arena.memory()
    }

    const fn buckets(&self) -> u64 {
        self.bucket_mask + 1
    }

    /// The header of a bucket; its index is masked, so every offset lies in the index.
    #[inline(always)]
    fn bucket_at(&self, bucket: u64) -> Offset {
        self.arena.layout().index() + (bucket & self.bucket_mask) * self.first_words
    }

    /// The word of a slot.
    #[inline(always)]
    fn slot_at(&self, bucket: u64, slot: u32) -> Offset {
        if slot < FIRST_SLOTS {
            self.bucket_at(bucket) + u64::from(slot + 1)
        } else {
            self.rest_at(bucket) + u64::from(slot - FIRST_SLOTS)
        }
    }

    /// The first word of a bucket's second part.
    #[inline(always)]
    fn rest_at(&self, bucket: u64) -> Offset {
        self.rest + (bucket & self.bucket_mask) * 16
    }

    /// A line for one operation, in order. `None`: see [`Arena::lease_error`].
    #[inline(always)]
    fn try_lease(&self) -> Option<Lease<'_, M>> {
        let lease = self.arena.try_lease()?;
        if lease.is_unsettled() { self.settled(lease) } else { Some(lease) }
    }

    fn lease(&self) -> Result<Lease<'_, M>, Error> {
        self.try_lease().ok_or_else(|| self.arena.lease_error().into())
    }

    /// Puts the line of a lessee that unwound in order. Where the index is damaged, the line stays
    /// behind, and another one is leased.
    #[cold]
    fn settled<'a>(&'a self, lease: Lease<'a, M>) -> Option<Lease<'a, M>> {
        if lease.settle_own(self) {
            return Some(lease);
        }
        drop(lease);
        let lease = self.arena.try_lease()?;
        (!lease.is_unsettled() || lease.settle_own(self)).then_some(lease)
    }
}

impl<M: Memory> ArenaDesign<M> for CasBucket<M> {
    const DESIGN: Kind = Kind::CasBucket;
    const FINGERPRINT: u64 = structure_fingerprint(
        "cas_bucket 3: header version:40|mode:3|live:21; slot tag:32|block:32; first lines, rest; \
         empty epoch:32|0; \
         entry hash, key:8|value:24|next:32, metadata, key, value; numbers buckets slots",
    );

    fn numbers(options: &TableOptions) -> Result<([u64; 4], Geometry), SegmentError> {
        let shape = Self::shape(options)?;
        let index_words = shape.buckets * (first_words(shape.slots) + rest_words(shape.slots));
        let numbers = [shape.buckets, shape.slots.into(), 0, 0];
        Ok((numbers, options.geometry(shape, index_words)))
    }

    fn over(arena: Arena<M>) -> Result<Self, SegmentError> {
        let [buckets, slots, ..] = arena.header().table_numbers;
        let slots = u32::try_from(slots).unwrap_or(u32::MAX);
        let words = first_words(slots) + rest_words(slots);
        if !buckets.is_power_of_two()
            || !(2..=SLOTS_MAX).contains(&slots)
            || buckets.checked_mul(words) != Some(arena.geometry().index_words)
        {
            let found = format!("{buckets} buckets of {slots} slots");
            let expected = format!("{} index words", arena.geometry().index_words);
            return Err(SegmentError::header("buckets and slots", found, expected));
        }
        Ok(Self {
            bucket_mask: buckets - 1,
            first_words: first_words(slots),
            rest: arena.layout().index() + buckets * first_words(slots),
            slots,
            dead_bits: Header::dead_bits(slots),
            identity: identity_of(&arena),
            arena,
        })
    }

    fn format(&self, wraps_after: Option<u64>) {
        let header = wraps_after.map_or(Header::EMPTY, Header::empty_before_wrap);
        for bucket in 0..self.buckets() {
            let at = self.bucket_at(bucket);
            self.memory().store(at, header.bits(), Store::Relaxed);
            for slot in 0..self.slots {
                let at = self.slot_at(bucket, slot);
                self.memory().store(at, Slot::EMPTY.bits(), Store::Relaxed);
            }
        }
    }

    fn into_arena(self) -> Arena<M> {
        self.arena
    }
}

crate::design_in_arena!(CasBucket);

impl<M: Memory> Table for CasBucket<M> {
    fn kind(&self) -> Kind {
        Self::DESIGN
    }

    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn identity(&self) -> u64 {
        self.identity
    }

    #[inline(always)]
    fn get(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<u64>, Error> {
        self.read(key, value)
    }

    fn look_up(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<Seen>, Error> {
        self.read_versioned(key, value)
    }

    fn get_into(&self, key: &[u8], buffer: &mut [u8]) -> Result<Option<Copied>, Error> {
        self.read_into(key, buffer)
    }

    fn get_many(&self, keys: &[&[u8]], found: &mut Vec<Lookup>) -> Result<(), Error> {
        self.read_many(keys, found)
    }

    fn update(&self, entry: Entry<'_>, rule: Rule<'_>) -> Result<Effect, Error> {
        self.update_by_rule(entry, rule)
    }

    fn insert_unless(
        &self,
        entry: Entry<'_>,
        existing: &mut Vec<u8>,
        is_dead: &dyn Fn(u64) -> bool,
    ) -> Result<Insert, Error> {
        self.insert_entry(entry, existing, is_dead)
    }

    fn put(&self, entry: Entry<'_>) -> Result<Put, Error> {
        self.put_entry(entry)
    }

    fn replace(&self, entry: Entry<'_>) -> Result<Replace, Error> {
        self.replace_entry(entry)
    }

    fn reserve(
        &self,
        key: &[u8],
        value_bytes: usize,
        metadata: u64,
    ) -> Result<Reservation<'_>, Error> {
        self.reserve_block(key, value_bytes, metadata)
    }

    fn unlink(
        &self,
        key: &[u8],
        only: Option<Version>,
        value: Option<&mut Vec<u8>>,
    ) -> Result<Unlinked, Error> {
        match only {
            Some(version) => self.unlink_version(key, version, value),
            None => Ok(self
                .unlink_key(key, value)?
                .map_or(Unlinked::Absent, |metadata| Unlinked::Removed { metadata })),
        }
    }

    fn remove(&self, key: &[u8]) -> Result<Remove, Error> {
        let removed = self.unlink_key(key, None)?;
        Ok(if removed.is_some() { Remove::Removed } else { Remove::Absent })
    }

    fn remove_version(&self, version: Version) -> Result<Remove, Error> {
        self.unlink_block(version)
    }

    fn take(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<u64>, Error> {
        self.unlink_key(key, Some(value))
    }

    fn scan(
        &self,
        cursor: &mut Cursor,
        visit: &mut dyn FnMut(Entry<'_>, Version),
    ) -> Result<(), Error> {
        self.scan_bucket(cursor, visit)
    }

    fn len(&self) -> u64 {
        self.arena.balance()
    }

    fn clear(&self) -> Result<u64, Error> {
        self.remove_all()
    }

    fn stats(&self) -> Stats {
        self.count_all()
    }

    fn dump(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        self.write_dump(out)
    }

    fn audit(&self) -> Audit {
        self.check_all()
    }

    fn recover(&self) -> Result<Recovery, Error> {
        let lease = self.lease()?;
        Ok(self.arena.recover(&lease, self).into())
    }
}

impl<M: Memory> fmt::Debug for CasBucket<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CasBucket")
            .field("buckets", &self.buckets())
            .field("slots", &self.slots)
            .field("arena", &self.arena)
            .finish()
    }
}
