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
//! control   word 0: root   epoch 32 │ step 25 │ phase 2 │ exponent 5      words 8, 9: progress
//!
//! first lines, of 2^min buckets, 2^(min+1), … 2^max      rest
//! word 0         1 … 7                                   more words of a bucket, see below
//! ┌──────────┬─────────────────┐                         ┌──────────────────────────────┐
//! │ header   │ slots 0 … 6     │                         │ slots 7 … 23, or 20          │
//! └──────────┴─────────────────┘                         └──────────────────────────────┘
//! header: version 40 │ live 24              slot: tag ⊕ epoch 32 │ block 32     entry: see `entry`
//!         version 40 │ mode 3 │ live 21     where the size changes, or is made for 21 slots
//! ```
//!
//! The bucket is the low bits of the hash, as many as the present size needs; the tag is the 32
//! bits above those that the smallest size needs. Each size has an area of its own, made at
//! creation, so that an old word is never anything else (`areas`). Slots fill from the first, and
//! the rest is read only where a live bit points there: with four entries per bucket on average,
//! by one bucket in twenty. The first lines lie together, so that few pages hold all that most
//! look-ups touch.
//!
//! A bucket of a table that may change its size has two lines of the rest for itself. Where there
//! is one size, all buckets *share* the rest, a quarter of a word to two words for each, by how
//! many entries the table is made for: which bucket a word belongs to, the claim decides that
//! finds it vacant, and of words in use the headers tell whose they are. Seventeen words,
//! scattered, are a bucket's to claim: such buckets are always in use, so that their headers have
//! bits for three slots more in place of the mode. Insertions leave one of a bucket's slots, so
//! that a full one still takes replacements as long as others do not have that word. Of a table
//! that holds what it is made for, up to four entries a bucket, less than one insertion in 10⁸
//! finds no slot and is refused (`areas/refusals.rs`); of 10⁵ entries, one in 10⁹.
//!
//! # Operations
//!
//! *get*: load the header; match all tags; for each live match compare the key, copy the value,
//! fence, and load the header again: equal means that all of it was there at one instant. A miss is
//! validated in the same way, since a replacement moves an entry between slots; and by a second
//! look at the root, since the tag was matched under an epoch.
//!
//! *remove*: find as get does; name the block in this line's intent; clear its live bit by one
//! compare-exchange of the header. Then drain the block, empty the slot, wipe, free. A store
//! empties it, as its word is the block's owner's; beside helpers that clean, an exchange.
//! *take* is remove that copies the value before it unlinks: the exchange succeeds only if nothing
//! changed since, so the copy is of what was removed.
//!
//! *put*: find as get does; write the entry into a claimed block; claim a clear slot by exchanging
//! EMPTY for the new word; then one exchange of the header sets the new bit and clears the old one,
//! if there was one, whose block is retired as by remove. *insert* stops where the key is present,
//! *replace* where it is absent.
//!
//! *grow*: an exchange of the root says that all entries go over to twice as many buckets. Then for
//! each bucket: *freeze* its header, after which what it holds does not change; *fill* both heirs,
//! a slot for each entry, by exchanges that succeed once; *open* the heirs; call the bucket *done*.
//! Which slot goes where follows from the frozen words alone, so everybody does the same, in any
//! order, as often as they like. Updates that meet a frozen bucket help it, and each update moves
//! two more; a look-up reads the frozen bucket until the heir is open, then the heir. When all are
//! seen done, one exchange of the root ends it. An area that was in use before is *cleaned* first,
//! slot by slot.
//!
//! *shrink*: first every bucket's header is *capped*: an insertion beyond half of what a bucket may
//! hold calls the shrinking off by one exchange of the root, and so does a bucket that holds more
//! already. When all are capped, any two fit in one, and the root lets the moving begin, as above
//! with two sources and one heir. It cannot fail from there on.
//!
//! A table grows above five entries a bucket and where a bucket is full, shrinks below one, both
//! within its areas, if `adjusts` says so; *adjust* does either to the end.
//!
//! # Invariants
//!
//! - I1: a live bit is set only by an exchange whose expected header was loaded before a full
//!   search for the key, or that opens an heir.
//! - I2: the word of a slot whose bit is clear, in a bucket in use, is vacant or names a block that
//!   one participant owns; only that owner, or whoever inherits the block from it, changes it back.
//!   A shared word may also be another bucket's, whose bit is set: the block's hash says whose.
//! - I3: the word of a slot whose bit is set does not change while the bucket is in use or frozen.
//! - I4: a key has at most one live slot in the bucket that speaks for it.
//! - I5: a block is free, or named by one such slot, or named by its owner's line.
//! - I6: a slot is emptied before its block is freed.
//! - I7: for each hash one bucket speaks: the only one in use, or else a frozen one whose heir is
//!   not open. A bucket whose header was found in use, and did not change, spoke all the while.
//! - I8: who is about to step a header or a slot for a change of size has loaded it, and then seen
//!   the root in the step that it is for. Versions, epochs and steps do not come back, so that
//!   whoever overslept it finds nothing that he expects: vacant slots name the epoch of their life,
//!   and the words of entries are under it.
//! - I9: a bucket that is capped holds no more than half; who lifts the cap has loaded the header,
//!   and then seen that nobody shrinks; and whoever shrinks changes each header anew.
//!
//! # Orderings
//!
//! | id | site | order | pairs with | why no weaker | model that fails without it |
//! |---|---|---|---|---|---|
//! | R1 | first header load | acquire | W2, W3, G5 | the slots and entries it speaks of must be visible | insert a ‖ insert a, get a |
//! | R2 | fence, then header again | acquire | W1, B2, B5 | bytes of a later life must not pass as this one's | a: replace a ‖ remove a, insert a ‖ get a |
//! | W1 | slot EMPTY → word | release | R2, G7 | who sees the word must see the header that freed the slot | none: W4's release goes on through this exchange |
//! | W2 | header, publication | release | R1 | the entry must be visible before its bit | insert a ‖ insert a, get a |
//! | W3 | header, unlinking | release | – | the intent must be there before the block is out | a: remove a killed after it, its stores lost |
//! | W4 | slot word → EMPTY | release | W1, G7 | who claims the slot must see it unlinked | a: replace a ‖ remove a, insert a ‖ get a |
//! | G1 | root load | acquire | G2 | who sees a size must see its buckets open | see the ledger |
//! | G2 | root and progress, a step | release | G1 | behind all that it says is done | see the ledger |
//! | G3 | header → frozen | release | R1 | who fills from it must see the entries | see the ledger |
//! | G4 | header → ready | release | R1 | behind the cleaning | see the ledger |
//! | G5 | header → open, in an heir | release | R1 | behind the filling | see the ledger |
//! | G6 | header → done | release | R1 | who sees it must see the heirs open | see the ledger |
//! | G7 | slots: cleaned, filled; looked at by who cleans or fills | release / acquire | W1, W4 | a word of the next life shows that its life has begun | see the ledger |
//! | G8 | header → capped | release | `lift_cap` | who sees the cap must see who shrinks | see the ledger |
//!
//! B2, B5 and the order of block states are in the arena's `lease` module. What each ordering was
//! weakened to, and what failed or why nothing did, is in `verification/orderings.toml`.
//!
//! # Crash
//!
//! | dies after | left behind | what others see | repaired by |
//! |---|---|---|---|
//! | the block is claimed or written | a pending block, named | nothing | recovery frees it |
//! | W1 | a pending block in a clear slot | one slot less in this bucket | recovery empties the slot, frees the block; a change of size leaves the claim behind |
//! | W2, insert | a pending block that is live in the header | the entry | recovery, or the next deleter |
//! | W2, replace | the old block, unlinked and named | the new entry | recovery frees the old block |
//! | W3 | the block, unlinked and named | the key absent | recovery drains, wipes and frees it |
//! | W4 | a pending or draining block, named | the key absent | recovery wipes and frees it |
//! | G2, a change of size begins | a root that says so | all entries | the next updates go on, or call it off while it caps |
//! | G8 | a capped bucket | all entries | the next updates; an insertion that needs the room lifts the cap |
//! | G3 | a frozen bucket | all entries; updates of them help first | the next update of it, or the update whose turn it is |
//! | G4, G7 | an heir cleaned or filled in part | all entries | the same |
//! | G5, G6 | heirs open, perhaps not all | all entries | the same |
//! | progress | a unit counted as given and not moved | all entries | whoever finds the others done |
//!
//! Kills before each of these accesses: `verify quick --part resizing`, and `--part kills`.
//!
//! # Limits
//!
//! `get`: lock-free; stores nothing, not even while the size changes. Updates: lock-free; a full
//! bucket at the largest size is an error. A stopped process may withhold one slot of one bucket
//! per thread in an update, until it goes on or dies; a change of size withholds nothing. A loop
//! that finds the bucket changed 65,536 times in a row gives *contended*. The version wraps
//! after 2^40 changes of one bucket, three hours at 10 ns each: a look-up or update that sleeps
//! through an exact multiple of that may take a later state for the one it saw. Epoch (32 bits) and
//! step (25) wrap after so many changes of size: a helper that sleeps through an exact multiple may
//! take a step of an old one. Two entries whose tags differ by exactly the change of epochs between
//! two lives have one word, one pair of entries in 2^32: only a helper that sleeps from one life
//! into the other, with that slot in hand and its block in the other entry, could take one for the
//! other. Up to 2^31 buckets; areas for all sizes take twice the words of the largest.
//!
//! # Source
//!
//! `papers/dlht.md`. From it: membership in a header beside its version, and moving by buckets.
//! Different: 64-bit slots that name blocks, no waiting states, one exchange for a replacement,
//! owners for everything unpublished, and moves that anyone can finish.

mod areas;
mod inspect;
#[cfg(test)]
pub(crate) mod limits;
mod resize;
mod root;
mod search;
mod transfer;
mod update;
mod versioned;
mod view;
mod word;

use std::fmt;

use shm_arena::{Arena, Geometry, Lease, Memory, SegmentError, Store, structure_fingerprint};

use crate::capabilities::Capabilities;
use crate::contract::{
    ArenaDesign, Audit, Copied, Cursor, Effect, Entry, Error, Insert, Lookup, Put, Recovery,
    Remove, Replace, Reservation, Resizing, Rule, Seen, Stats, Table, Unlinked, Version,
};
use crate::entry::identity_of;
use crate::kind::Kind;
use crate::options::{TableOptions, TableShape};
use areas::{Areas, index_words};
use root::Root;
use word::{FIRST_SLOTS, Header, MODED_SLOTS_MAX, SLOTS_MAX, Slot, Slots};

/// A table whose bucket headers decide membership. See the module for how it works.
pub struct CasBucket<M> {
    arena: Arena<M>,
    areas: Areas,
    slots: Slots,
    /// Whether every bucket is always in use and fills its line: of a table of one size.
    is_plain: bool,
    /// Entries that a bucket may hold that is about to be merged with another.
    cap: u32,
    /// Whether the table changes its size by itself.
    adjusts: bool,
    /// Every how many changes an update looks how full the table is.
    look_mask: u64,
    identity: u64,
}

/// Entries per bucket on average that the default shape allows.
const ENTRIES_PER_BUCKET: u64 = 4;

/// Buckets that a table has at most.
const BUCKETS_MAX: u64 = 1 << Root::EXPONENT_MAX;

/// Slots of a bucket at most in a table that has one size, and in one that has not.
const fn slots_max(is_fixed: bool) -> u32 {
    if is_fixed { SLOTS_MAX } else { MODED_SLOTS_MAX }
}

/// Attempts before an operation gives up on a bucket that changes under each of them.
const TURNS_MAX: u32 = 1 << 16;

const CAPABILITIES: Capabilities = Capabilities {
    bounded_buckets: true,
    reserves_blocks: true,
    adjusts: true,
    ..Capabilities::LOCK_FREE
};

const _: () = assert!(Slots::new(21).is_open(Slots::new(21).empty()));
const _: () = assert!(!Slots::new(21).is_open(Header::FRESH));
const _: () = assert!(Slot::empty(1).bits() != 0 && Slot::FRESH.bits() != 0);

impl<M: Memory> CasBucket<M> {
    /// Its shape, and the exponents of its smallest and its largest number of buckets.
    fn shape(options: &TableOptions) -> Result<(TableShape, u32, u32), SegmentError> {
        let mut shape = options.shape(ENTRIES_PER_BUCKET)?;
        let buckets_min = options.buckets_min.unwrap_or(shape.buckets);
        let buckets_max = options.buckets_max.unwrap_or(shape.buckets.max(buckets_min));
        let slots_max = slots_max(buckets_min == buckets_max);
        if options.shape.is_none() {
            shape.slots = slots_max;
        }
        let slots = shape.slots.into();
        let is_size = |buckets: u64| buckets.is_power_of_two() && buckets <= BUCKETS_MAX;
        for (quantity, value, fits, problem) in [
            ("buckets", buckets_min, is_size(buckets_min), "not a power of two up to 2^31"),
            ("most buckets", buckets_max, is_size(buckets_max), "not a power of two up to 2^31"),
            (
                "most buckets",
                buckets_max,
                buckets_max >= buckets_min,
                "fewer than at the beginning",
            ),
            (
                "slots",
                slots,
                (2..=slots_max).contains(&shape.slots),
                "not 2 to 24, or to 21 where the number of buckets may change",
            ),
        ] {
            if !fits {
                return Err(SegmentError::Size { quantity, value, problem: problem.to_owned() });
            }
        }
        Ok((shape, buckets_min.trailing_zeros(), buckets_max.trailing_zeros()))
    }

    /// The arena underneath.
    pub const fn arena(&self) -> &Arena<M> {
        &self.arena
    }

    #[inline(always)]
    fn memory(&self) -> &M {
        self.arena.memory()
    }

    /// Buckets of the present size.
    fn buckets(&self) -> u64 {
        1 << self.root().exponent()
    }

    /// A line for one operation, in order.
    fn lease(&self) -> Result<Lease<'_, M>, Error> {
        match self.arena.try_lease() {
            Some(lease) if !lease.is_unsettled() => Ok(lease),
            lease => self.settled(lease),
        }
    }

    /// Puts the line of a lessee that unwound in order. Where the index is damaged, the line stays
    /// behind, and another one is leased.
    #[cold]
    fn settled<'a>(&'a self, lease: Option<Lease<'a, M>>) -> Result<Lease<'a, M>, Error> {
        let is_settled = |lease: &Lease<'a, M>| !lease.is_unsettled() || lease.settle_own(self);
        // Dropped where it is not, before another one is leased.
        let settled = lease.filter(is_settled);
        let settled = settled.or_else(|| self.arena.try_lease().filter(is_settled));
        settled.ok_or_else(|| self.arena.lease_error().into())
    }
}

impl<M: Memory> ArenaDesign<M> for CasBucket<M> {
    const DESIGN: Kind = Kind::CasBucket;
    const FINGERPRINT: u64 = structure_fingerprint(
        "cas_bucket 6: root epoch:32|step:25|phase:2|exponent:5; progress step:25|buckets:39; \
         header version:40|mode:3|live:21 or version:40|live:24; slot tag^epoch:32|block:32; \
         areas by size, first lines, rest of each or shared; vacant epoch:32|0, epoch:32|1, 2; \
         entry hash, key:8|value:24|0:32, metadata, key, value; \
         numbers buckets_min slots buckets_max adjusts",
    );

    fn numbers(options: &TableOptions) -> Result<([u64; 4], Geometry), SegmentError> {
        let (shape, min, max) = Self::shape(options)?;
        // What is made for a shape says nothing of its load.
        let entries = if options.shape.is_none() { options.entries } else { u64::MAX / 8 };
        let words = index_words(min, max, shape.slots, entries);
        let numbers = [1 << min, shape.slots.into(), 1 << max, options.adjusts.into()];
        Ok((numbers, options.geometry(shape, words)))
    }

    fn over(arena: Arena<M>) -> Result<Self, SegmentError> {
        let [buckets_min, slots, buckets_max, adjusts] = arena.header().table_numbers;
        let slots = u32::try_from(slots).unwrap_or(u32::MAX);
        let is_size = |buckets: u64| buckets.is_power_of_two() && buckets <= BUCKETS_MAX;
        let (min, max) = (buckets_min.trailing_zeros(), buckets_max.trailing_zeros());
        let misfit = || {
            let found = format!("{buckets_min} to {buckets_max} buckets of {slots} slots");
            let expected = format!("{} index words", arena.geometry().index_words);
            SegmentError::header("buckets and slots", found, expected)
        };
        if !is_size(buckets_min)
            || !is_size(buckets_max)
            || buckets_min > buckets_max
            || !(2..=slots_max(buckets_min == buckets_max)).contains(&slots)
        {
            return Err(misfit());
        }
        let index = (arena.layout().index(), arena.geometry().index_words);
        Ok(Self {
            areas: Areas::new(index, (min, max), slots).ok_or_else(misfit)?,
            slots: Slots::new(slots),
            is_plain: min == max && slots >= FIRST_SLOTS,
            cap: (slots - 1) / 2,
            adjusts: adjusts != 0 && min != max,
            look_mask: Self::look_mask(min),
            identity: identity_of(&arena),
            arena,
        })
    }

    fn format(&self, wraps_after: Option<u64>) {
        let min = self.areas.exponent_min();
        let root = match wraps_after {
            Some(changes) if !self.areas.is_fixed() => Root::before_wrap(min, changes),
            _ => Root::first(min),
        };
        self.memory().store(self.root_word(), root.bits(), Store::Relaxed);
        for (at, exponent) in self.areas.headers() {
            let (header, slot) = if exponent == min {
                (self.slots.empty(), Slot::empty(root.epoch()))
            } else {
                (Header::FRESH, Slot::FRESH)
            };
            let header = wraps_after.map_or(header, |versions| header.before_wrap(versions));
            self.memory().store(at, header.bits(), Store::Relaxed);
            for number in 0..self.slots.count {
                self.memory().store(self.areas.slot(at, number), slot.bits(), Store::Relaxed);
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

    fn adjust(&self, buckets: Option<u64>) -> Result<u64, Error> {
        self.adjust_to(buckets)
    }

    fn resizing(&self) -> Option<Resizing> {
        self.resizing_now()
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
            .field("slots", &self.slots.count)
            .field("arena", &self.arena)
            .finish()
    }
}
