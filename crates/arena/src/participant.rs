//! Participants: a record for each process, lines for what its threads are in the middle of.
//!
//! # Layout
//!
//! ```text
//! record word 0   incarnation (32) │ holder record (12) │ holder's mark (16) │ state (4)
//!             1   process id, for people          2   start of the incarnation, for people
//!
//! line   word 0   owner: incarnation (32) │ record + 1 (32), 0 = nobody's
//!             1   new      block claimed for an insertion
//!             2   old      block being unlinked: generation's low half (32) │ unit (32)
//!             3   spare    block kept for the next insertion, wiped
//!             4   reaping  block being taken over from a dead line
//!         8 … 9   entries added and removed by the line's lessees, ever
//! ```
//!
//! A record is FREE, ALIVE or REAPING. Incarnations never repeat within a record until 2^32
//! attachments to it. A line is owned by one incarnation of one process and leased to one thread of
//! it at a time; only its lessee stores to it, or the reaper of its dead owner.

#![expect(clippy::cast_possible_truncation, reason = "fields are masked to their widths")]

use std::fmt;

use crate::liveness::RecordIndex;
use crate::memory::Offset;

/// State of a process record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RecordState {
    /// Nobody's.
    Free,
    /// A process holds it; its beacon tells whether the process lives.
    Alive,
    /// The holder is finishing what the dead process of this incarnation left.
    Reaping,
    /// A pattern that no participant writes.
    Damaged,
}

/// The packed word of a process record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordWord(u64);

impl RecordWord {
    /// Packs. `holder` is the reaper's record, `mark` the low half of the reaper's incarnation.
    pub(crate) const fn new(incarnation: u32, state: RecordState, holder: u32, mark: u16) -> Self {
        let state = match state {
            RecordState::Free => 0,
            RecordState::Alive => 1,
            RecordState::Reaping => 2,
            RecordState::Damaged => 15,
        };
        Self(
            (incarnation as u64) << 32
                | ((holder & 4095) as u64) << 20
                | (mark as u64) << 4
                | state,
        )
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

    pub(crate) const fn holder(self) -> RecordIndex {
        RecordIndex((self.0 >> 20) as u32 & 4095)
    }

    pub(crate) const fn mark(self) -> u16 {
        (self.0 >> 4) as u16
    }

    pub(crate) const fn state(self) -> RecordState {
        match self.0 & 15 {
            0 => RecordState::Free,
            1 => RecordState::Alive,
            2 => RecordState::Reaping,
            _ => RecordState::Damaged,
        }
    }
}

impl fmt::Debug for RecordWord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} incarnation {}", self.state(), self.incarnation())?;
        if self.state() == RecordState::Reaping {
            write!(formatter, " by record {}", self.holder().0)?;
        }
        Ok(())
    }
}

/// One incarnation of one process record: never the same twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The record.
    pub record: RecordIndex,
    /// Which of its successive processes.
    pub incarnation: u32,
}

impl Identity {
    /// The word by which a line names its owner; never 0.
    pub(crate) const fn owner_word(self) -> u64 {
        (self.incarnation as u64) << 32 | (self.record.0 as u64 + 1)
    }
}

/// The words of a participant line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Line(pub(crate) Offset);

impl Line {
    pub(crate) fn owner(self) -> Offset {
        self.0
    }

    pub(crate) fn new_block(self) -> Offset {
        self.0 + 1
    }

    pub(crate) fn old_block(self) -> Offset {
        self.0 + 2
    }

    pub(crate) fn spare_block(self) -> Offset {
        self.0 + 3
    }

    pub(crate) fn reaped_block(self) -> Offset {
        self.0 + 4
    }

    pub(crate) fn added(self) -> Offset {
        self.0 + 8
    }

    pub(crate) fn removed(self) -> Offset {
        self.0 + 9
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_word_keeps_its_fields(
            incarnation in any::<u32>(), state in 0..3_usize, holder in 0..4096_u32,
            mark in any::<u16>(),
        ) {
            let states = [RecordState::Free, RecordState::Alive, RecordState::Reaping];
            let word = RecordWord::new(incarnation, states[state], holder, mark);
            prop_assert_eq!(word.incarnation(), incarnation);
            prop_assert_eq!(word.state(), states[state]);
            prop_assert_eq!(word.holder(), RecordIndex(holder));
            prop_assert_eq!(word.mark(), mark);
        }
    }
}
