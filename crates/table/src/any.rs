//! Whatever table a segment holds.

use shm_arena::{Environment, Memory, SegmentError, SegmentHeader};

use crate::cas_bucket::CasBucket;
use crate::chained::Chained;
use crate::contract::{Design, Table, forward_table};
use crate::kind::Kind;
use crate::options::TableOptions;
use crate::robin_hood::RobinHood;

/// A table of any design; attaches to whatever kind a segment holds.
#[derive(Debug)]
#[non_exhaustive]
pub enum AnyTable<M: Memory> {
    /// See [`Chained`].
    Chained(Chained<M>),
    /// See [`CasBucket`].
    CasBucket(CasBucket<M>),
    /// See [`RobinHood`].
    RobinHood(RobinHood<M>),
}

impl<M: Memory> AnyTable<M> {
    /// Words that a segment of this kind with these options has.
    pub fn word_count(kind: Kind, options: &TableOptions) -> Result<u64, SegmentError> {
        match kind {
            Kind::Chained => Chained::<M>::word_count(options),
            Kind::CasBucket => CasBucket::<M>::word_count(options),
            Kind::RobinHood => RobinHood::<M>::word_count(options),
            Kind::Foreign { .. } => Err(foreign(kind)),
        }
    }

    /// Makes a segment with an empty table of this kind; see [`Design::create`].
    pub fn create(
        kind: Kind,
        memory: M,
        options: &TableOptions,
        environment: &Environment,
    ) -> Result<Self, SegmentError> {
        Ok(match kind {
            Kind::Chained => Self::Chained(Chained::create(memory, options, environment)?),
            Kind::CasBucket => Self::CasBucket(CasBucket::create(memory, options, environment)?),
            Kind::RobinHood => Self::RobinHood(RobinHood::create(memory, options, environment)?),
            Kind::Foreign { .. } => return Err(foreign(kind)),
        })
    }

    /// Joins the table that a memory holds, whatever its kind.
    pub fn attach(memory: M, environment: &Environment) -> Result<Self, SegmentError> {
        let id = SegmentHeader::peek_kind(&memory)?;
        match Kind::from_id(id) {
            Some(Kind::CasBucket) => CasBucket::attach(memory, environment).map(Self::CasBucket),
            Some(Kind::RobinHood) => RobinHood::attach(memory, environment).map(Self::RobinHood),
            // A header that names no kind is refused by its first field that is wrong.
            Some(Kind::Chained | Kind::Foreign { .. }) | None => {
                Chained::attach(memory, environment).map(Self::Chained)
            }
        }
    }

    /// Gives this process's places in the segment back.
    pub fn detach(self) {
        match self {
            Self::Chained(table) => table.detach(),
            Self::CasBucket(table) => table.detach(),
            Self::RobinHood(table) => table.detach(),
        }
    }
}

/// A kind that only its own crate can make.
fn foreign(kind: Kind) -> SegmentError {
    SegmentError::header("table kind", kind.name(), "a design of this crate")
}

/// Calls the design's own method.
macro_rules! each {
    ($any:expr, $table:ident => $call:expr) => {
        match $any {
            AnyTable::Chained($table) => $call,
            AnyTable::CasBucket($table) => $call,
            AnyTable::RobinHood($table) => $call,
        }
    };
}

forward_table!(each => impl<M: Memory> Table for AnyTable<M>);
