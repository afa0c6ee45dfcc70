//! The designs, and what each promises, as data.

/// A table design.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// Gray Watson's chained table under one lock.
    Chained,
    /// Cache-line buckets whose header decides membership.
    CasBucket,
    /// Robin Hood hashing in pages, whose updates anyone can finish.
    RobinHood,
    /// A design of somebody else's, which [`from_id`](Kind::from_id) does not know.
    Foreign {
        /// The number that a segment's header records, from 2^32 up.
        id: u64,
        /// The design's name.
        name: &'static str,
    },
}

impl Kind {
    /// Every design in this crate.
    pub const ALL: [Self; 3] = [Self::Chained, Self::CasBucket, Self::RobinHood];

    /// The number that a segment's header records; never reused.
    pub const fn id(self) -> u64 {
        match self {
            Self::Chained => 1,
            Self::CasBucket => 2,
            Self::RobinHood => 3,
            Self::Foreign { id, .. } => id,
        }
    }

    /// The design of this crate with this number.
    pub fn from_id(id: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.id() == id)
    }

    /// The design's name, as benches and options spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chained => "chained",
            Self::CasBucket => "cas_bucket",
            Self::RobinHood => "robin_hood",
            Self::Foreign { name, .. } => name,
        }
    }
}
