//! Whatever table a segment holds.

use std::fmt;
use std::ops::ControlFlow;

use shm_arena::{Environment, Memory, SegmentError, SegmentHeader};

use crate::cas_bucket::CasBucket;
use crate::chained::Chained;
use crate::contract::{
    Audit, Design, Entry, Error, Insert, Put, Recovery, Remove, Replace, Stats, Table,
};
use crate::kind::{Capabilities, Kind};
use crate::options::TableOptions;

/// A table of any design; attaches to whatever kind a segment holds.
#[derive(Debug)]
#[non_exhaustive]
pub enum AnyTable<M: Memory> {
    /// See [`Chained`].
    Chained(Chained<M>),
    /// See [`CasBucket`].
    CasBucket(CasBucket<M>),
}

impl<M: Memory> AnyTable<M> {
    /// Words that a segment of this kind with these options has.
    pub fn word_count(kind: Kind, options: &TableOptions) -> Result<u64, SegmentError> {
        match kind {
            Kind::Chained => Chained::<M>::word_count(options),
            Kind::CasBucket => CasBucket::<M>::word_count(options),
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
        })
    }

    /// Joins the table that a memory holds, whatever its kind.
    pub fn attach(memory: M, environment: &Environment) -> Result<Self, SegmentError> {
        let id = SegmentHeader::peek_kind(&memory)?;
        match Kind::from_id(id) {
            Some(Kind::CasBucket) => CasBucket::attach(memory, environment).map(Self::CasBucket),
            // A header that names no kind is refused by its first field that is wrong.
            Some(Kind::Chained) | None => Chained::attach(memory, environment).map(Self::Chained),
        }
    }

    /// Gives this process's places in the segment back.
    pub fn detach(self) {
        match self {
            Self::Chained(table) => table.detach(),
            Self::CasBucket(table) => table.detach(),
        }
    }
}

/// Calls the design's own method.
macro_rules! each {
    ($any:expr, $table:ident => $call:expr) => {
        match $any {
            AnyTable::Chained($table) => $call,
            AnyTable::CasBucket($table) => $call,
        }
    };
}

impl<M: Memory> Table for AnyTable<M> {
    fn kind(&self) -> Kind {
        each!(self, table => table.kind())
    }

    fn capabilities(&self) -> &'static Capabilities {
        each!(self, table => table.capabilities())
    }

    fn get(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<u64>, Error> {
        each!(self, table => table.get(key, value))
    }

    fn insert_unless(
        &self,
        entry: Entry<'_>,
        existing: &mut Vec<u8>,
        is_dead: &dyn Fn(u64) -> bool,
    ) -> Result<Insert, Error> {
        each!(self, table => table.insert_unless(entry, existing, is_dead))
    }

    fn put(&self, entry: Entry<'_>) -> Result<Put, Error> {
        each!(self, table => table.put(entry))
    }

    fn replace(&self, entry: Entry<'_>) -> Result<Replace, Error> {
        each!(self, table => table.replace(entry))
    }

    fn remove(&self, key: &[u8]) -> Result<Remove, Error> {
        each!(self, table => table.remove(key))
    }

    fn take(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<u64>, Error> {
        each!(self, table => table.take(key, value))
    }

    fn len(&self) -> u64 {
        each!(self, table => table.len())
    }

    fn for_each(&self, visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        each!(self, table => table.for_each(visit))
    }

    fn clear(&self) -> Result<u64, Error> {
        each!(self, table => table.clear())
    }

    fn stats(&self) -> Stats {
        each!(self, table => table.stats())
    }

    fn dump(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        each!(self, table => table.dump(out))
    }

    fn audit(&self) -> Audit {
        each!(self, table => table.audit())
    }

    fn recover(&self) -> Result<Recovery, Error> {
        each!(self, table => table.recover())
    }
}
