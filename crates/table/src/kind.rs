//! The designs, and what each promises, as data.

/// A table design.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// Gray Watson's chained table under one lock.
    Chained,
    /// Cache-line buckets whose header decides membership.
    CasBucket,
}

impl Kind {
    /// Every design there is.
    pub const ALL: [Self; 2] = [Self::Chained, Self::CasBucket];

    /// The number that a segment's header records; never reused.
    pub const fn id(self) -> u64 {
        match self {
            Self::Chained => 1,
            Self::CasBucket => 2,
        }
    }

    /// The design with this number.
    pub fn from_id(id: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.id() == id)
    }

    /// The design's name, as benches and options spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chained => "chained",
            Self::CasBucket => "cas_bucket",
        }
    }
}

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
}

/// What a design promises beyond the contract. Suites and benches read this instead of names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// Progress of `get`.
    pub reads: Progress,
    /// Progress of the verbs that change the table.
    pub writes: Progress,
    /// Whether `get` stores nothing to shared memory and works on a read-only mapping.
    pub invisible_reads: bool,
    /// Whether the number of entries a bucket can hold is bounded.
    pub bounded_buckets: bool,
}
