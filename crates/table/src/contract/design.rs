//! How a table is made and attached to.

use shm_arena::{
    Arena, ArenaOptions, Environment, Expected, Geometry, Layout, Memory, SegmentError,
    SegmentHeader,
};

use super::Table;
use crate::{Kind, TableOptions};

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

    /// Joins the table that a memory holds, and recovers if it
    /// [notices that somebody died](Arena::notices_dead).
    ///
    /// Costs a look at each process record and a question to the kernel after each of 32 processes
    /// at most; where one is dead, a [`recover`](Table::recover) besides. A handle that only reads
    /// asks nothing and recovers nothing.
    fn attach(memory: M, environment: &Environment) -> Result<Self, SegmentError>;

    /// Gives this process's places in the segment back.
    fn detach(self);
}

/// A design in a segment of the arena: what it adds to header and index.
/// [`design_in_arena!`](crate::design_in_arena) makes it a [`Design`].
pub trait ArenaDesign<M: Memory>: Table + Sized {
    /// The kind that a segment of this design records.
    const DESIGN: Kind;
    /// Fingerprint of the design's own structures.
    const FINGERPRINT: u64;

    /// The numbers of the table and the geometry of the segment for these options.
    fn numbers(options: &TableOptions) -> Result<([u64; 4], Geometry), SegmentError>;

    /// A handle on the table in an arena whose header names this design; checks its numbers.
    fn over(arena: Arena<M>) -> Result<Self, SegmentError>;

    /// Writes what an empty index holds besides zeros, before anybody else can look; its counters
    /// begin as [`TableOptions::wraps_after`] says.
    fn format(&self, wraps_after: Option<u64>) {
        let _ = wraps_after;
    }

    /// The arena underneath.
    fn into_arena(self) -> Arena<M>;

    /// As [`Design::word_count`].
    fn arena_word_count(options: &TableOptions) -> Result<u64, SegmentError> {
        Ok(Layout::new(Self::numbers(options)?.1)?.word_count())
    }

    /// As [`Design::create`].
    fn create_in_arena(
        memory: M,
        options: &TableOptions,
        environment: &Environment,
    ) -> Result<Self, SegmentError> {
        let (table_numbers, geometry) = Self::numbers(options)?;
        let header = SegmentHeader {
            table_kind: Self::DESIGN.id(),
            table_fingerprint: Self::FINGERPRINT,
            table_numbers,
            geometry,
            hash: options.hash,
            created_ms: environment.clock.now_ms(),
            boot: environment.boot,
        };
        let arena =
            ArenaOptions { header, secret: options.hash_secret, wraps_after: options.wraps_after };
        let table = Self::over(Arena::create(memory, &arena, environment)?)?;
        table.format(options.wraps_after);
        Ok(table)
    }

    /// As [`Design::attach`].
    fn attach_in_arena(memory: M, environment: &Environment) -> Result<Self, SegmentError> {
        let expected = Expected {
            table_kind: Self::DESIGN.id(),
            table_fingerprint: Self::FINGERPRINT,
            boot: environment.boot,
        };
        let arena = Arena::attach(memory, &expected, environment)?;
        let notices_dead = arena.notices_dead();
        let table = Self::over(arena)?;
        if notices_dead {
            // A table that is busy or damaged is attached to all the same: its next recovery sees
            // to the dead.
            let _ = table.recover();
        }
        Ok(table)
    }
}

/// Makes an [`ArenaDesign`] with one parameter, its memory, a [`Design`].
#[macro_export]
macro_rules! design_in_arena {
    ($table:ident) => {
        impl<Words: ::shm_arena::Memory> $crate::Design<Words> for $table<Words> {
            const KIND: $crate::Kind = <Self as $crate::ArenaDesign<Words>>::DESIGN;

            fn word_count(
                options: &$crate::TableOptions,
            ) -> Result<u64, ::shm_arena::SegmentError> {
                <Self as $crate::ArenaDesign<Words>>::arena_word_count(options)
            }

            fn create(
                memory: Words,
                options: &$crate::TableOptions,
                environment: &::shm_arena::Environment,
            ) -> Result<Self, ::shm_arena::SegmentError> {
                <Self as $crate::ArenaDesign<Words>>::create_in_arena(memory, options, environment)
            }

            fn attach(
                memory: Words,
                environment: &::shm_arena::Environment,
            ) -> Result<Self, ::shm_arena::SegmentError> {
                <Self as $crate::ArenaDesign<Words>>::attach_in_arena(memory, environment)
            }

            fn detach(self) {
                <Self as $crate::ArenaDesign<Words>>::into_arena(self).detach();
            }
        }
    };
}
