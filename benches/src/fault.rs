//! What can go wrong while a row is measured; any of these ends the cell.

use std::io;

/// Why a cell could not be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A value came back that was not stored under its id.
    #[error("{row} gave a wrong value for session {number} of lane {lane}: {problem}")]
    WrongValue {
        /// The row.
        row: &'static str,
        /// Lane that issued the session.
        lane: u32,
        /// Number of the session in its lane.
        number: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// A session that is stored was not found.
    #[error("{row} lost session {number} of lane {lane}, which is stored ({verb} found nothing)")]
    Lost {
        /// The row.
        row: &'static str,
        /// The verb that missed it.
        verb: &'static str,
        /// Lane that issued the session.
        lane: u32,
        /// Number of the session in its lane.
        number: u64,
    },
    /// A session that was never stored was found.
    #[error("{row} found an id that was never stored")]
    Invented {
        /// The row.
        row: &'static str,
    },
    /// A verb of the row failed.
    #[error("{row}: {verb} failed: {message}")]
    Verb {
        /// The row.
        row: &'static str,
        /// The verb.
        verb: &'static str,
        /// What the row says.
        message: String,
    },
    /// The row could not be made or joined.
    #[error("{row}: {action}: {message}")]
    Setup {
        /// The row.
        row: &'static str,
        /// What was being done.
        action: &'static str,
        /// What the row says.
        message: String,
    },
    /// Another worker of the cell did not come to the barrier.
    #[error("another worker did not reach the start of the window in time: is it stopped?")]
    PeerMissing,
    /// Another worker of the cell failed first.
    #[error("another worker of the cell failed")]
    Aborted,
    /// A worker process ended, was silent for too long, or said something else than expected.
    #[error("worker {worker} {problem}")]
    Worker {
        /// Index of the worker.
        worker: usize,
        /// What happened.
        problem: String,
    },
    /// A handshake at start-up failed.
    #[error("capturing sessions from handshakes: {0}")]
    Capture(String),
    /// A system call failed.
    #[error("{action}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

impl Fault {
    /// A failed system call.
    pub fn io(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, source }
    }

    /// A verb of a row that failed.
    pub fn verb(row: &'static str, verb: &'static str, message: impl ToString) -> Self {
        Self::Verb { row, verb, message: message.to_string() }
    }

    /// A row that cannot be made or joined.
    pub fn setup(row: &'static str, action: &'static str, message: impl ToString) -> Self {
        Self::Setup { row, action, message: message.to_string() }
    }
}
