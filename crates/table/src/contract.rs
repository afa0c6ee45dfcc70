//! What every table does: the verbs, their answers and their errors.

use std::fmt;
use std::ops::ControlFlow;

use shm_arena::{Environment, LeaseError, Memory, Recovered, SegmentError};

use crate::{Capabilities, Kind, TableOptions};

/// Longest key, in bytes. The shortest has one.
pub const KEY_BYTES_MAX: usize = 255;

/// What is stored: a key, a value, and a word that the table carries and does not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// 1 to [`KEY_BYTES_MAX`] bytes.
    pub key: &'a [u8],
    /// 0 bytes up to what the largest block leaves beside the key.
    pub value: &'a [u8],
    /// The caller's word, immutable while the entry lives; a cache keeps the expiry here.
    pub metadata: u64,
}

/// What `insert` did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Insert {
    /// The key was absent and the entry is there.
    Inserted,
    /// The key was present; nothing changed. The value that exists is in the caller's buffer.
    Exists {
        /// The metadata word of the entry that exists.
        metadata: u64,
    },
}

/// What `put` did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Put {
    /// The key was absent.
    Inserted,
    /// The key was present and its entry was replaced.
    Replaced,
}

/// What `replace` did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Replace {
    /// The key was present and its entry was replaced.
    Replaced,
    /// The key was absent; nothing changed.
    Absent,
}

/// What `remove` did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Remove {
    /// The key was present and is gone.
    Removed,
    /// The key was absent.
    Absent,
}

/// Why a verb did not do its work. Nothing changed in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Keys have 1 to 255 bytes.
    #[error("key of {bytes} bytes: keys have 1 to {KEY_BYTES_MAX} bytes")]
    KeyLength {
        /// Length of the key offered.
        bytes: usize,
    },
    /// The entry does not fit the largest block.
    #[error("value of {bytes} bytes: at most {bytes_max} bytes fit beside this key")]
    ValueTooLarge {
        /// Length of the value offered.
        bytes: usize,
        /// Longest value that this table takes beside this key.
        bytes_max: usize,
    },
    /// No block of the size is free and no slab can be had for it.
    #[error("full: no free block of {block_bytes} bytes and no unassigned slab")]
    NoBlock {
        /// Size of the block that was wanted.
        block_bytes: u64,
    },
    /// The key's bucket has no slot for another entry: all but the one that replacements need are
    /// taken, or others withhold them.
    #[error("full: bucket {bucket} has no slot for another entry")]
    BucketFull {
        /// Index of the bucket.
        bucket: u64,
    },
    /// More threads are in the middle of an update than the segment has participant lines.
    #[error("full: all {lines} participant lines are in use")]
    NoLine {
        /// Lines in the segment.
        lines: u32,
    },
    /// A live participant held the table's lock for longer than the stated bound.
    #[error("busy: participant line {owner} held the lock for more than {waited_ms} ms")]
    Busy {
        /// Line that owns the lock.
        owner: u32,
        /// Bound on the wait.
        waited_ms: u64,
    },
    /// Others changed the bucket more often than the loop's budget allows.
    #[error("contended: bucket {bucket} changed under each of {turns} attempts")]
    Contended {
        /// Index of the bucket.
        bucket: u64,
        /// Attempts made.
        turns: u32,
    },
    /// A word in shared memory cannot be what a table wrote.
    #[error("corrupt: {what} at word {word}")]
    Corrupt {
        /// What was read.
        what: &'static str,
        /// Index of the word, or of the block's first word.
        word: u64,
    },
    /// The memory is mapped without write permission.
    #[error("read-only: this handle is attached without write permission")]
    ReadOnly,
}

/// Numbers about a table; approximate while others write.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Stats {
    /// Entries.
    pub entries: u64,
    /// Buckets.
    pub buckets: u64,
    /// Slots, or 0 where a bucket has no bound.
    pub slots: u64,
    /// `histogram[n]`: buckets that hold `n` entries; the last element counts all larger ones.
    pub bucket_histogram: Vec<u64>,
    /// Bytes of the segment.
    pub segment_bytes: u64,
    /// Bytes in blocks that are not free, whole blocks counted.
    pub block_bytes_used: u64,
    /// Bytes in all blocks and in slabs that no class has taken.
    pub block_bytes: u64,
}

/// What an audit found. A quiescent table that nobody damaged shows no finding.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
#[must_use]
pub struct Audit {
    /// Entries reachable from the index.
    pub entries: u64,
    /// Blocks looked at.
    pub blocks: u64,
    /// Blocks that are neither free, nor referenced once, nor named by one intent.
    pub lost_blocks: u64,
    /// Everything that contradicts an invariant, one sentence each, the first hundred.
    pub findings: Vec<String>,
}

impl Audit {
    /// Records a contradiction.
    pub fn find(&mut self, finding: String) {
        if self.findings.len() < 100 {
            self.findings.push(finding);
        }
    }

    /// Whether nothing contradicts an invariant and no block is lost.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.lost_blocks == 0
    }
}

/// What a recovery did.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Recovery {
    /// Dead processes whose work was finished or undone.
    pub processes: u32,
    /// Blocks that went back to free.
    pub blocks: u32,
}

impl From<Recovered> for Recovery {
    fn from(recovered: Recovered) -> Self {
        Self { processes: recovered.processes, blocks: recovered.blocks }
    }
}

impl From<LeaseError> for Error {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::ReadOnly => Self::ReadOnly,
            LeaseError::NoLine { lines } => Self::NoLine { lines },
        }
    }
}

/// A concurrent hash table in shared words: byte-string keys, byte-string values.
///
/// Every verb is linearizable per key. A verb that fails changed nothing. `get`, `insert_unless`
/// and `take` copy values into the caller's vector, whose content after an error is unspecified; a
/// vector that is reused costs no allocation.
///
/// Progress, blocking and costs differ by design: [`capabilities`](Table::capabilities) says how.
pub trait Table: fmt::Debug + Send + Sync {
    /// Which design this is.
    fn kind(&self) -> Kind;

    /// What the design promises, as data.
    fn capabilities(&self) -> &'static Capabilities;

    /// Copies the value of a key out; gives its metadata word, or `None` if the key is absent.
    fn get(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<u64>, Error>;

    /// Adds an entry unless its key is present; then copies out what exists.
    ///
    /// An existing entry whose metadata word satisfies `is_dead` counts as absent, decided at the
    /// instant at which the verb takes effect.
    fn insert_unless(
        &self,
        entry: Entry<'_>,
        existing: &mut Vec<u8>,
        is_dead: &dyn Fn(u64) -> bool,
    ) -> Result<Insert, Error>;

    /// Adds an entry unless its key is present; then copies out what exists.
    fn insert(&self, entry: Entry<'_>, existing: &mut Vec<u8>) -> Result<Insert, Error> {
        self.insert_unless(entry, existing, &|_| false)
    }

    /// Adds an entry, in place of the one with the same key if there is one.
    fn put(&self, entry: Entry<'_>) -> Result<Put, Error>;

    /// Puts an entry in place of the one with the same key, if there is one.
    fn replace(&self, entry: Entry<'_>) -> Result<Replace, Error>;

    /// Removes a key.
    fn remove(&self, key: &[u8]) -> Result<Remove, Error>;

    /// Removes a key and copies out the value that was removed; gives its metadata word. At most
    /// one caller over all processes receives a given entry.
    fn take(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<u64>, Error>;

    /// Number of entries, counted beside the table: exact when nobody writes and nobody ever died
    /// between a change and its count, else approximate. [`audit`](Table::audit) counts anew.
    fn len(&self) -> u64;

    /// Whether [`len`](Table::len) is 0.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Visits entries, each copied out first. An entry that is there throughout is visited once;
    /// one that comes or goes meanwhile may or may not be.
    fn for_each(&self, visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<(), Error>;

    /// Removes every entry that is there throughout; gives how many it removed. Not atomic. After
    /// an error, some may be left.
    fn clear(&self) -> Result<u64, Error>;

    /// Counts and histograms.
    fn stats(&self) -> Stats;

    /// Writes the table's state for a person to read.
    fn dump(&self, out: &mut dyn fmt::Write) -> fmt::Result;

    /// Checks every invariant that can be seen from outside. Exact on a quiescent table.
    fn audit(&self) -> Audit;

    /// Finishes or undoes what dead processes left, if there are any. Anyone may call it at any
    /// time, while others work.
    fn recover(&self) -> Result<Recovery, Error>;
}

/// A table design over a memory: how one is made and attached to.
pub trait Design<M: Memory>: Table + Sized {
    /// The kind that a segment of this design records.
    const KIND: Kind;

    /// Words that a segment with these options has.
    fn word_count(options: &TableOptions) -> Result<u64, SegmentError>;

    /// Makes a segment with an empty table in a zeroed memory of exactly
    /// [`word_count`](Design::word_count) words that nobody else reaches yet.
    fn create(
        memory: M,
        options: &TableOptions,
        environment: &Environment,
    ) -> Result<Self, SegmentError>;

    /// Joins the table that a memory holds.
    fn attach(memory: M, environment: &Environment) -> Result<Self, SegmentError>;
}
