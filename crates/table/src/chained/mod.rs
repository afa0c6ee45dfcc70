//! Gray Watson's table of 1999: chains of entries under one lock, which its owner's death passes on
//! instead of losing or wedging the table.
//!
//! # Idea
//!
//! A bucket is a chain of blocks; one lock guards all of them, readers included. What the original
//! lacked is *takeover*: the lock names its owner, an owner that is dead loses it to whoever asks,
//! and since each change of a chain is one store, the chains are whole at every instant at which
//! the owner can die.
//!
//! # Layout
//!
//! ```text
//! control word 0   lock: incarnation (32) │ record (16) │ line + 1 (16), 0 = free
//!              1   size: buckets now (8) │ target (8), as exponents of two; equal unless adjusting
//!              2   moving: block of the entry that changes its chain, 0 = none
//!              3   count of the entries
//! index word b     head of bucket b: block of its first entry (32), 0 = none │ signature (32);
//!                  words up to the largest size
//! side word        beside the word of an entry's block: block of the next entry (32), 0 = none │
//!                  tag (32), the upper half of its hash; together its *node*
//! ```
//!
//! A walk along a chain goes from node to node, which lie close together, and fetches the entries
//! alone whose tag is the key's. The *signature* spares even that: a Bloom filter, two of 32 bits
//! for each entry of the chain, chosen by the highest bits of its tag. Where a key's bits are not
//! all there, its chain lacks it.
//!
//! # Operations
//!
//! Each verb takes the lock, looks at one head, walks its chain unless the signature says that the
//! key is absent, and gives the lock back; what needs no lock is done ahead of it or behind it.
//! Ahead of it a verb also asks for the lines that it will look at or write, by a look at the head
//! that counts for nothing else.
//!
//! *insert* claims a block and writes the entry into it ahead of the lock. Under it, it writes a
//! node whose next is the first one, and stores it as the first, its bits added to the signature by
//! the same store. Where the key is present the block is given back behind the lock. *remove*
//! stores the entry's next in what pointed to it, and takes its block out of use. That is under the
//! lock as well: a line whose owner died of removing the same entry may name the block, and whoever
//! recovers it would take what is unlinked and in use. Out of use the block is the remover's own,
//! who wipes it behind the lock, and keeps or frees it. *take* copies the value out there, before
//! the wipe. *replace* writes an entry as insert does, a node whose next is the old one's, stores
//! it in what pointed to the old one, and goes on with that as remove does. *get* copies the value
//! out under the lock.
//!
//! An update that finds no block ahead of the lock, or a line to be put in order, writes under it:
//! both may take a recovery, which needs the lock.
//!
//! *remove* leaves the bits of what it removes, which may be others' as well: they cost walks in
//! vain, and no wrong answer. An insertion that has walked the whole chain in vain stores the bits
//! of what it met instead, and one into an empty chain its own alone: under churn a signature heals
//! about as fast as its stale bits are in anybody's way.
//!
//! *adjust* stores the target in the size, then goes through all buckets; an entry whose bucket is
//! another one in the new size is named in `moving`, removed from its chain and inserted in the
//! other, its bits with it; a chain that has lost entries gets the signature of those that stay.
//! Then the size is settled. An insertion that finds more than two entries a bucket doubles
//! the buckets, a removal that leaves less than half an entry a bucket halves them. Whoever takes
//! the lock and finds the size unsettled links the entry that `moving` names, if neither chain has
//! it, and adjusts to the end.
//!
//! # Invariants
//!
//! - I1: only the owner of the lock changes a chain.
//! - I2: at every instant each chain ends, and no block is in two chains.
//! - I3: a change becomes visible by one store to a head or a next.
//! - I4: a block is free, or in one chain, or named by its owner's line, or by `moving`.
//! - I5: while the size is settled, each entry is in the chain of its hash, and heads beyond the
//!   size have none.
//! - I6: at every instant the signature of a head has the bits of every entry in its chain, and the
//!   node of each the tag of its hash.
//!
//! # Orderings
//!
//! | id | site | order | pairs with | why no weaker | model that fails without it |
//! |---|---|---|---|---|---|
//! | L0 | lock looked at | acquire | L1 | who judges the owner must see the owner's claim of its line, or takes a live owner for a dead one | none comes so far: see the ledger |
//! | L1 | lock taken, from free or from the dead | acquire-release | L2, or the verdict of death; L0 | the last owner's chains must be visible, and the line's claim to L0 | acquire: insert a ‖ insert a, get a; release: as L0 |
//! | L2 | lock given back | release | L1 | likewise | insert a ‖ insert a, get a |
//! | L3 | store to a head or a next | release | L1 after a death | the entry must be there before the link that shows it | insert a or remove a killed after it, its stores lost |
//! | L4 | store to size or moving, and of the signature of those that stay | release | L1 after a death | the name must be there before the entry leaves its chain, the moves before the size or the signature that says so | death while adjusting |
//! | L5 | fence behind an insertion | release | L1 after a death | an insertion that has returned must be there | insert a killed after it has returned, its stores lost |
//!
//! # Crash
//!
//! | dies after | left behind | what others see | repaired by |
//! |---|---|---|---|
//! | writing the entry, ahead of the lock | a pending block, named | nothing | recovery frees it |
//! | taking the lock, or writing the node | a lock with a dead owner | a bounded wait, then the lock | takeover |
//! | L3, insert | a pending block in a chain | the entry | recovery, or the next deleter |
//! | L3, replace | the old block, unlinked and named | the new entry | recovery frees the old block |
//! | L3, remove | the block, unlinked and named; its bits in the signature | the key absent | recovery frees it; insertions heal the signature |
//! | leaving use | the block, out of use and named | likewise | likewise; another line that names it names an earlier life |
//! | L2, within the wipe behind it | no lock; the block likewise, wiped in part | likewise, without a wait | likewise |
//! | L2, before what was claimed in vain is given back | no lock; a pending block, named | what was there | recovery frees it |
//! | L4, size | an unsettled size | a bounded wait, then all entries | the takeover adjusts to the end |
//! | L4, moving, or L3 after it | an entry in its old chain, in none, or in its new one | likewise | the takeover links it by the hash in its block |
//! | a change, before its count | a count that is one off | `len` off by one | adjusting and recovery count anew |
//!
//! # Limits
//!
//! A verb on a key waits for a live owner at most 100 ms and then answers *busy*, one that walks
//! the table so long for each bucket; a stopped owner that
//! comes back finds its lock or nobody's harm, since nobody takes a lock from the living. Readers
//! write the lock, so a read-only handle cannot read. An update has a block of its own while it
//! waits, whether or not it will need one. Chains have no bound but the number of
//! blocks. Adjusting holds the lock for as long as it takes to touch every entry; on a table whose
//! adjusting takes longer than the bound, others are *busy* meanwhile. Buckets go from 1 to the
//! most that the creator chose, by default as many as the entries that the table is made for: then
//! it grows only after it has shrunk, and a table that is filled as planned never pauses.
//!
//! # Source
//!
//! `papers/watson-table.md`. From it: chains at whose head insertion happens, one lock outside,
//! 1024 buckets at least, growth above two entries a bucket, shrinking below a half. Different:
//! offsets for pointers, links and tags apart from the entries, signatures, takeover, writing ahead
//! of the lock and wiping behind it, powers of two, doubling and halving.

mod head;
mod inspect;
#[cfg(test)]
pub(crate) mod limits;
mod lock;
mod reserve;
mod resize;
mod search;
mod update;

use std::fmt;

use shm_arena::{
    Arena, Block, Geometry, Load, Memory, Offset, SegmentError, structure_fingerprint,
};

use crate::capabilities::{Capabilities, Progress, Verb};
use crate::contract::{
    ArenaDesign, Audit, Copied, Cursor, Effect, Entry, Error, Recovery, Remove, Reservation,
    Resizing, Rule, Seen, Stats, Table, Unlinked, Version,
};
use crate::entry::{EntryShape, EntryView, Near, check_key, identity_of};
use crate::kind::Kind;
use crate::options::TableOptions;
use head::{Head, Node};
use resize::Size;
use search::Sought;

/// A chained table under one lock. See the module for how it works.
pub struct Chained<M> {
    arena: Arena<M>,
    /// Most buckets, by their exponent.
    exponent_max: u32,
    /// Most buckets, less one.
    bucket_mask_max: u64,
    /// As many links as there are blocks, and the last one; more are a cycle.
    links_max: u64,
    /// Whether the number of buckets follows the number of entries.
    adjusts: bool,
    identity: u64,
}

/// Entries per bucket on average when the table holds what it was made for.
const ENTRIES_PER_BUCKET: u64 = 1;

/// Buckets to begin with, at least: Watson's default.
const BUCKETS_MIN: u64 = 1024;

/// Longest wait for a live owner of the lock.
const LOCK_WAIT_MS_MAX: u64 = 100;

const CAPABILITIES: Capabilities = Capabilities {
    exceptions: &[
        (Verb::ForEach, Progress::BoundedWaitPerBucket { wait_ms_max: LOCK_WAIT_MS_MAX }),
        (Verb::Clear, Progress::BoundedWaitPerBucket { wait_ms_max: LOCK_WAIT_MS_MAX }),
        (Verb::TakeFirst, Progress::BoundedWaitPerBucket { wait_ms_max: LOCK_WAIT_MS_MAX }),
    ],
    reserves_blocks: true,
    adjusts: true,
    ..Capabilities::bounded_wait(LOCK_WAIT_MS_MAX)
};

/// An entry in its chain.
struct Found<'a, M> {
    link: Link,
    block: Block,
    node_at: Offset,
    node: Node,
    shape: EntryShape,
    entry: EntryView<'a, M>,
}

impl<M> Found<'_, M> {
    /// Its block is not in use.
    #[cold]
    fn damaged(&self) -> Error {
        Error::Corrupt { what: "linked block", word: self.block.offset().word() }
    }
}

/// The word that points to an entry in its upper half: the head of the chain, or the node of the
/// entry before.
#[derive(Clone, Copy)]
struct Link(Offset);

impl<M: Memory> Chained<M> {
    /// The arena underneath.
    pub const fn arena(&self) -> &Arena<M> {
        &self.arena
    }

    #[inline(always)]
    fn memory(&self) -> &M {
        self.arena.memory()
    }

    #[inline(always)]
    fn buckets(&self) -> u64 {
        1 << self.size().now
    }

    /// The head of a bucket; its index is masked, so every offset lies in the index.
    #[inline(always)]
    fn head(&self, bucket: u64) -> Offset {
        self.arena.layout().index() + (bucket & self.bucket_mask_max)
    }

    /// What the head of a bucket says, under the lock.
    #[inline(always)]
    fn head_of(&self, bucket: u64) -> Head {
        Head::from_bits(self.memory().load(self.head(bucket), Load::Relaxed))
    }

    fn endless(&self, bucket: u64) -> Error {
        Error::Corrupt { what: "chain without an end", word: self.head(bucket).word() }
    }

    #[inline(always)]
    fn lock_word(&self) -> Offset {
        self.arena.layout().control()
    }

    /// What `read` makes of a key's entry, or of its absence, under the lock.
    #[inline(always)]
    fn read_with<T>(
        &self,
        key: &[u8],
        read: impl FnOnce(Option<Found<'_, M>>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        check_key(key)?;
        let hash = self.arena.hasher().hash(key);
        self.approach_entry(self.approach(hash, Near::ToRead), Near::ToRead);
        self.under_lock(|_| match self.find(self.bucket(hash), (hash, key), Near::ToRead)? {
            Sought::Found(found) => read(Some(found)),
            Sought::Absent(_) => read(None),
        })
    }

    /// The bucket of a hash. True only under the lock, or on a quiescent table.
    #[inline]
    fn bucket(&self, hash: u64) -> u64 {
        hash & (self.buckets() - 1)
    }

    /// The version of the entry in a block. Only under the lock.
    fn version(&self, block: Block) -> Result<Version, Error> {
        let word = block.offset().word();
        let generation = self.arena.generation(block);
        let generation = generation.ok_or(Error::Corrupt { what: "linked block", word })?;
        Ok(Version::new(self.identity, block, generation))
    }
}

impl<M: Memory> ArenaDesign<M> for Chained<M> {
    const DESIGN: Kind = Kind::Chained;
    const FINGERPRINT: u64 = structure_fingerprint(
        "chained 4: lock incarnation:32|record:16|line+1:16, size now:8|target:8, moving, count; \
         head signature:32|block:32, signature by tag bits 22 and 27; side tag:32|next:32; \
         entry hash, key:8|value:24|0:32, metadata, key, value; \
         numbers buckets buckets_max adjusts",
    );

    fn numbers(options: &TableOptions) -> Result<([u64; 4], Geometry), SegmentError> {
        let shape = options.shape(ENTRIES_PER_BUCKET)?;
        let (buckets, usual_max) = match options.shape {
            Some(shape) => (shape.buckets, shape.buckets),
            None => [shape.buckets.max(BUCKETS_MIN); 2].into(),
        };
        let buckets_max = options.buckets_max.unwrap_or(usual_max);
        for (quantity, value) in [("buckets", buckets), ("most buckets", buckets_max)] {
            if !value.is_power_of_two() || value > 1 << 32 {
                let problem = "not a power of two up to 2^32".to_owned();
                return Err(SegmentError::Size { quantity, value, problem });
            }
        }
        let numbers = [buckets.min(buckets_max), buckets_max, options.adjusts.into(), 0];
        Ok((numbers, Geometry { side_words: 1, ..options.geometry(shape, buckets_max) }))
    }

    fn over(arena: Arena<M>) -> Result<Self, SegmentError> {
        let [buckets, buckets_max, adjusts, _] = arena.header().table_numbers;
        if !buckets.is_power_of_two()
            || buckets > buckets_max
            || !buckets_max.is_power_of_two()
            || buckets_max != arena.geometry().index_words
        {
            let found = format!("{buckets} up to {buckets_max}");
            return Err(SegmentError::header("buckets", found, arena.geometry().index_words));
        }
        let geometry = arena.geometry();
        if geometry.side_words != 1 {
            return Err(SegmentError::header("side words", geometry.side_words, 1));
        }
        let slab_blocks = u64::from(geometry.slab_units / geometry.block_units_min);
        Ok(Self {
            exponent_max: buckets_max.trailing_zeros(),
            bucket_mask_max: buckets_max - 1,
            links_max: u64::from(geometry.slabs) * slab_blocks + 1,
            adjusts: adjusts != 0,
            identity: identity_of(&arena),
            arena,
        })
    }

    fn format(&self, _: Option<u64>) {
        let [buckets, ..] = self.arena.header().table_numbers;
        self.set_size(Size::settled(buckets.trailing_zeros()));
    }

    fn into_arena(self) -> Arena<M> {
        self.arena
    }
}

crate::design_in_arena!(Chained);

impl<M: Memory> Table for Chained<M> {
    fn kind(&self) -> Kind {
        Self::DESIGN
    }

    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn identity(&self) -> u64 {
        self.identity
    }

    fn look_up(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<Seen>, Error> {
        self.read_with(key, |found| {
            let Some(found) = found else {
                value.clear();
                return Ok(None);
            };
            let version = self.version(found.block)?;
            found.entry.read_value(found.shape, value);
            Ok(Some(Seen { metadata: found.entry.metadata(), version }))
        })
    }

    fn get(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<u64>, Error> {
        self.read_with(key, |found| {
            let Some(found) = found else {
                value.clear();
                return Ok(None);
            };
            found.entry.read_value(found.shape, value);
            Ok(Some(found.entry.metadata()))
        })
    }

    fn get_into(&self, key: &[u8], buffer: &mut [u8]) -> Result<Option<Copied>, Error> {
        self.read_with(key, |found| {
            let Some(found) = found else { return Ok(None) };
            let bytes = found.entry.read_value_into(found.shape, buffer)?;
            Ok(Some(Copied { bytes, metadata: found.entry.metadata() }))
        })
    }

    fn update(&self, entry: Entry<'_>, rule: Rule<'_>) -> Result<Effect, Error> {
        self.update_entry(entry, rule)
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
        self.unlink_entry(key, only, value)
    }

    fn remove_version(&self, version: Version) -> Result<Remove, Error> {
        self.unlink_version(version)
    }

    fn scan(
        &self,
        cursor: &mut Cursor,
        visit: &mut dyn FnMut(Entry<'_>, Version),
    ) -> Result<(), Error> {
        let Some(position) = cursor.position(self.identity)? else { return Ok(()) };
        let mut copied = Vec::new();
        let behind = self.under_lock(|_| {
            let buckets = self.buckets();
            self.walk(Cursor::bucket(position, buckets), |found| {
                if Cursor::place_of(found.entry.hash()) >= position {
                    let version = self.version(found.block)?;
                    copied.push(found.entry.copy_out(found.shape, version));
                }
                Ok(())
            })?;
            Ok(Cursor::behind(position, buckets))
        })?;
        cursor.move_to(behind);
        for entry in &copied {
            visit(entry.entry(), entry.version);
        }
        Ok(())
    }

    fn len(&self) -> u64 {
        self.count()
    }

    fn adjust(&self, buckets: Option<u64>) -> Result<u64, Error> {
        self.under_lock(|locked| {
            let wanted = buckets.unwrap_or(self.count()).max(1);
            // To the power of two below, so that the next insertion does not grow again.
            locked.chains.adjust(wanted.ilog2().min(self.exponent_max))?;
            Ok(self.buckets())
        })
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
        self.recover_all()
    }
}

impl<M: Memory> fmt::Debug for Chained<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Chained")
            .field("size", &self.size())
            .field("arena", &self.arena)
            .finish()
    }
}
