//! Noticing the dead when a process attaches: a few questions, whatever the number of records.
//!
//! # Idea
//!
//! A server that loses a worker starts another. So whoever attaches asks after some of the others,
//! and where one is dead its table or heap recovers, before anybody runs out of blocks. A question
//! to the kernel takes microseconds, the longer the more processes are attached; so an attacher
//! asks after a bounded number of processes. Where to begin follows from its record and
//! incarnation, so successive attachers ask after different ones, and together after all.
//!
//! # Crash
//!
//! | dies after | left behind | what others see | repaired by |
//! |---|---|---|---|
//! | its record | a record without a beacon, like the dead one's | both dead | the next attacher that asks after either, or any recovery |
//! | some of its recovery | as in `recover.rs` | as there | as there |

use crate::arena::Arena;
use crate::liveness::RecordIndex;
use crate::memory::Memory;

/// Processes after which an attacher asks at most: with that many or fewer, after all.
///
/// Five to ten microseconds each in a segment with 4000 processes, about one in a small one.
pub(crate) const ASKED_MAX: u32 = 32;

impl<M: Memory> Arena<M> {
    /// Whether somebody is dead and not recovered, as far as a newcomer asks: it looks at every
    /// record and asks after 32 processes at most. Also if this handle has the record of a process
    /// that died.
    ///
    /// Whoever attaches a table or a heap then recovers it. `false` for a handle that only reads.
    pub fn notices_dead(&self) -> bool {
        let Some(me) = self.identity() else {
            return false;
        };
        if self.has_replaced() {
            return true;
        }
        let records = self.geometry().records;
        let begin = u64::from(me.record.0) + u64::from(me.incarnation);
        let first = begin * u64::from(ASKED_MAX) % u64::from(records);
        let all = (0..u64::from(records)).map(|turn| (first + turn) % u64::from(records));
        let others = all.filter_map(|record| u32::try_from(record).ok()).map(RecordIndex);
        let asked = others.filter(|&record| record != me.record && self.is_taken(record));
        asked.take(ASKED_MAX as usize).any(|record| self.dead_record(record).is_some())
    }
}

#[cfg(test)]
#[path = "notice_tests.rs"]
mod tests;
