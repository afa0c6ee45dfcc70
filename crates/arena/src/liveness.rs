//! Who is alive, as a trait, so that models decide who is dead.

use std::fmt;

/// Index of a process record in a segment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct RecordIndex(pub u32);

/// Tells whether the process behind a record is gone.
///
/// A verdict of death is never wrong and never revoked, and it happens after everything that the
/// dead process did: whoever receives it sees all of its stores. An implementation that cannot tell
/// answers [`Verdict::Alive`].
pub trait Liveness: fmt::Debug + Send + Sync {
    /// Takes the beacon of a record for this process, held until it dies or releases it. `false`:
    /// another process holds it.
    fn hold(&self, record: RecordIndex) -> bool;

    /// Gives the beacon back.
    fn release(&self, record: RecordIndex);

    /// Whether anybody holds the beacon of this record.
    fn verdict(&self, record: RecordIndex) -> Verdict;
}

/// What is known of the process behind a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Verdict {
    /// Alive, stopped, or not known to be dead.
    Alive,
    /// Dead: it will never execute another instruction.
    Dead,
}

/// The liveness of a memory that only one process can reach: nobody else dies.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneProcess;

impl Liveness for OneProcess {
    fn hold(&self, _record: RecordIndex) -> bool {
        true
    }

    fn release(&self, _record: RecordIndex) {}

    fn verdict(&self, _record: RecordIndex) -> Verdict {
        Verdict::Alive
    }
}
