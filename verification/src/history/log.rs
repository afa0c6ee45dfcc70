//! Where the participants of a model write what they call and what comes back.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Ending, Record};
use crate::spec::{Answer, Operation};

/// A history in the making, shared by the participants of one execution.
///
/// Instants are a counter: each call and each return gets the next number. The mutex is held only
/// inside a method, where no engine switches threads, so it is never waited for in a model.
#[derive(Debug, Default)]
pub struct Log {
    recorded: Mutex<Recorded>,
}

#[derive(Debug, Default)]
struct Recorded {
    records: Vec<Record>,
    instant: u64,
}

impl Recorded {
    fn tick(&mut self) -> u64 {
        self.instant += 1;
        self.instant
    }
}

/// A call that has not returned: its index in the history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Ticket(usize);

impl Ticket {
    /// The record's index in the history.
    pub const fn index(self) -> usize {
        self.0
    }
}

impl Log {
    /// A log of a participant that panicked is as good as any: each method leaves it complete.
    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a call. Until it returns it is pending.
    pub fn call(&self, participant: u32, key: u32, operation: Operation) -> Ticket {
        let mut recorded = self.lock();
        let invoked = recorded.tick();
        let ending = Ending::Pending;
        recorded.records.push(Record { participant, key, operation, invoked, ending });
        Ticket(recorded.records.len() - 1)
    }

    /// Records the return of a call.
    pub fn returned(&self, ticket: Ticket, answer: Answer) {
        let mut recorded = self.lock();
        let at = recorded.tick();
        recorded.records[ticket.0].ending = Ending::Returned { answer, at };
    }

    /// Records that the death of a participant is confirmed: its pending call can take effect no
    /// more.
    pub fn died(&self, participant: u32) {
        let mut recorded = self.lock();
        let at = recorded.tick();
        for record in &mut recorded.records {
            if record.participant == participant && record.ending == Ending::Pending {
                record.ending = Ending::Killed { at };
            }
        }
    }

    /// The history so far.
    pub fn records(&self) -> Vec<Record> {
        self.lock().records.clone()
    }
}
