//! Participants: a record for each process, lines for what its threads are in the middle of.
//!
//! # Layout
//!
//! ```text
//! record word 0   incarnation (32) │ unused (28) │ state (4)
//!             1   process id, for people          2   start of the incarnation, for people
//!         3 … 5   dead processes that the record's processes recovered, blocks reclaimed,
//!                 nanoseconds that this took, ever
//!
//! line   word 0   owner: incarnation (32) │ record + 1 (32), 0 = nobody's
//!             1   new      block claimed for an insertion
//!             2   old      block being unlinked
//!             3   old's generation
//!             4   reaping  block being taken over from a dead line
//!             5   reclass  slab + 1 that is being given to another class
//!         6 … 7   entries added and removed by the line's lessees, ever
//!        8 … 15   spares   blocks kept for later insertions, wiped; as many as the geometry says
//! ```
//!
//! A record is FREE or ALIVE. Incarnations do not repeat within a record until 2^32 attachments to
//! it. A line is owned by one incarnation of one process and leased to one thread of it at a time;
//! only its lessee stores to it. A line whose owner is no longer the incarnation that its record
//! says is an *orphan*: whoever exchanges its owner word for its own adopts it, and settles what it
//! names before anything else.

use std::fmt;

use crate::liveness::RecordIndex;
use crate::memory::Offset;

/// Spares that a line has words for.
pub(crate) const SPARES_MAX: u32 = 8;

/// State of a process record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RecordState {
    /// Nobody's.
    Free,
    /// A process holds it; its beacon tells whether the process lives.
    Alive,
    /// A pattern that no participant writes.
    Damaged,
}

/// The packed word of a process record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordWord(u64);

impl RecordWord {
    /// Packs.
    pub(crate) const fn new(incarnation: u32, state: RecordState) -> Self {
        let state = match state {
            RecordState::Free => 0,
            RecordState::Alive => 1,
            RecordState::Damaged => 15,
        };
        Self((incarnation as u64) << 32 | state)
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    pub(crate) const fn incarnation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(crate) const fn state(self) -> RecordState {
        match self.0 & 15 {
            0 => RecordState::Free,
            1 => RecordState::Alive,
            _ => RecordState::Damaged,
        }
    }
}

impl fmt::Debug for RecordWord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} incarnation {}", self.state(), self.incarnation())
    }
}

/// One incarnation of one process record; not the same twice within 2^32 attachments to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The record.
    pub record: RecordIndex,
    /// Which of its successive processes.
    pub incarnation: u32,
}

impl Identity {
    /// The owner that a line's word names. Takes any bit pattern but 0.
    #[expect(clippy::cast_possible_truncation, reason = "halves are taken apart")]
    pub(crate) const fn from_owner_word(word: u64) -> Self {
        let record = RecordIndex((word as u32).wrapping_sub(1));
        Self { record, incarnation: (word >> 32) as u32 }
    }

    /// The word by which a line names its owner; never 0.
    pub(crate) const fn owner_word(self) -> u64 {
        (self.incarnation as u64) << 32 | (self.record.0 as u64 + 1)
    }
}

/// The words of a participant line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Line(pub(crate) Offset);

impl Line {
    pub(crate) const NEW_BLOCK: u32 = 1;
    pub(crate) const OLD_BLOCK: u32 = 2;
    pub(crate) const OLD_GENERATION: u32 = 3;
    pub(crate) const ADDED: u32 = 6;
    pub(crate) const REMOVED: u32 = 7;

    pub(crate) fn owner(self) -> Offset {
        self.0
    }

    pub(crate) fn new_block(self) -> Offset {
        self.word(Self::NEW_BLOCK)
    }

    pub(crate) fn old_block(self) -> Offset {
        self.word(Self::OLD_BLOCK)
    }

    pub(crate) fn old_generation(self) -> Offset {
        self.word(Self::OLD_GENERATION)
    }

    pub(crate) fn reaped_block(self) -> Offset {
        self.word(4)
    }

    pub(crate) fn reclassed(self) -> Offset {
        self.word(5)
    }

    pub(crate) fn added(self) -> Offset {
        self.word(Self::ADDED)
    }

    pub(crate) fn removed(self) -> Offset {
        self.word(Self::REMOVED)
    }

    fn word(self, number: u32) -> Offset {
        self.0 + u64::from(number)
    }

    /// Where the spares start: they are a cache line of their own.
    pub(crate) fn spares(self) -> Offset {
        self.word(8)
    }

    /// The spare of this number, below [`SPARES_MAX`].
    pub(crate) fn spare_block(self, number: u32) -> Offset {
        self.spares() + u64::from(number)
    }

    /// All words that name a block, where a line may keep so many spares: what is being done comes
    /// before what it needs.
    pub(crate) fn names(self, spares: u32) -> impl Iterator<Item = Offset> {
        let spares = (0..spares).map(move |number| self.spare_block(number));
        [self.reaped_block(), self.old_block()].into_iter().chain(spares).chain([self.new_block()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn record_and_owner_words_keep_their_fields(
            incarnation in any::<u32>(), is_alive in any::<bool>(), record in 0..4096_u32,
        ) {
            let state = if is_alive { RecordState::Alive } else { RecordState::Free };
            let word = RecordWord::new(incarnation, state);
            prop_assert_eq!((word.incarnation(), word.state()), (incarnation, state));
            let identity = Identity { record: RecordIndex(record), incarnation };
            prop_assert_eq!(Identity::from_owner_word(identity.owner_word()), identity);
        }
    }
}
