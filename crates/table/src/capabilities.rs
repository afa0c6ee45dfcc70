//! What a design promises, as data.

/// How far a verb's completion depends on others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Each failed attempt means that somebody else made progress; nobody is waited for.
    LockFree,
    /// Waits at most this many milliseconds for a live participant, then answers *busy*.
    BoundedWait {
        /// Longest wait.
        wait_ms_max: u64,
    },
    /// The same anew for each bucket that it goes through.
    BoundedWaitPerBucket {
        /// Longest wait for one bucket.
        wait_ms_max: u64,
    },
}

impl Progress {
    /// Whether a live participant can make the verb answer *busy*.
    pub const fn waits(self) -> bool {
        !matches!(self, Self::LockFree)
    }
}

/// The verbs of [`Table`](crate::Table), by what they cost others and themselves.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verb {
    /// `look_up`, `get`, `get_into`, and each key of `get_many`.
    Get,
    /// `insert`, `insert_unless`.
    Insert,
    /// `put`, `put_over`.
    Put,
    /// `replace`.
    Replace,
    /// `compare_exchange`.
    CompareExchange,
    /// `remove`.
    Remove,
    /// `remove_if`.
    RemoveIf,
    /// `remove_version`.
    RemoveVersion,
    /// `take`, `take_into`.
    Take,
    /// `take_first`.
    TakeFirst,
    /// `reserve`; its end is as the verb that ends it.
    Reserve,
    /// `scan`: one bucket.
    Scan,
    /// `for_each`, `sorted`, a whole `Walk`.
    ForEach,
    /// `clear`.
    Clear,
    /// `adjust`.
    Adjust,
    /// `recover`.
    Recover,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 16] = [
        Self::Get,
        Self::Insert,
        Self::Put,
        Self::Replace,
        Self::CompareExchange,
        Self::Remove,
        Self::RemoveIf,
        Self::RemoveVersion,
        Self::Take,
        Self::TakeFirst,
        Self::Reserve,
        Self::Scan,
        Self::ForEach,
        Self::Clear,
        Self::Adjust,
        Self::Recover,
    ];

    /// Whether the verb leaves the table's content as it is.
    pub const fn only_reads(self) -> bool {
        matches!(self, Self::Get | Self::Scan | Self::ForEach)
    }
}

/// What a design promises beyond the contract. Suites and benches read this instead of names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// Progress of the verbs that only read, but for the exceptions.
    pub reads: Progress,
    /// Progress of the verbs that change the table, but for the exceptions.
    pub writes: Progress,
    /// Verbs that make progress in another way than their kind.
    pub exceptions: &'static [(Verb, Progress)],
    /// Whether the verbs that only read store nothing to shared memory and work on a read-only
    /// mapping.
    pub invisible_reads: bool,
    /// Whether the number of entries a bucket can hold is bounded.
    pub bounded_buckets: bool,
    /// Whether a reservation holds a block of the segment.
    pub reserves_blocks: bool,
    /// Whether the number of buckets follows the number of entries, at least upwards.
    pub adjusts: bool,
}

impl Capabilities {
    /// Lock-free throughout, reads that store nothing, buckets without bound, nothing else.
    pub const LOCK_FREE: Self = Self {
        reads: Progress::LockFree,
        writes: Progress::LockFree,
        exceptions: &[],
        invisible_reads: true,
        bounded_buckets: false,
        reserves_blocks: false,
        adjusts: false,
    };

    /// Every verb waits for others at most so long, and nothing else.
    pub const fn bounded_wait(wait_ms_max: u64) -> Self {
        let progress = Progress::BoundedWait { wait_ms_max };
        Self { reads: progress, writes: progress, invisible_reads: false, ..Self::LOCK_FREE }
    }

    /// Progress of a verb.
    pub fn progress(&self, verb: Verb) -> Progress {
        let exception = self.exceptions.iter().find(|(exception, _)| *exception == verb);
        let usual = if verb.only_reads() { self.reads } else { self.writes };
        exception.map_or(usual, |(_, progress)| *progress)
    }
}
