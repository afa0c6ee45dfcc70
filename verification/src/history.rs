//! Recorded histories and the question whether some order of their operations explains them.
//!
//! A history is a list of [`Record`]s: who called which operation on which key, when, and how it
//! ended. Keys are independent of each other: a history is right if it is right for every key.
//!
//! Two orders constrain an explanation. [`check_real_time`] is for engines and processes whose
//! operations have instants on one clock: what returned before another was invoked comes first.
//! [`check_happens_before`] is for weak-memory engines, where there is no such clock: only what
//! happens before comes first, and a stale read of a finished but unsynchronised write is right.

mod happens_before;
mod log;
mod real_time;
pub mod synthetic;

use rapidhash::{RapidHashMap as HashMap, RapidHashSet as HashSet};

use crate::spec::{Answer, Operation, Value, Verb};

pub use happens_before::check_happens_before;
pub use log::{Log, Ticket};
pub use real_time::{OPEN_MAX, check_real_time};

/// One operation of a history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// Who called. One at a time: operations of a participant never overlap.
    pub participant: u32,
    /// Which key.
    pub key: u32,
    /// What was called.
    pub operation: Operation,
    /// Instant at which it was called, on a clock that all participants share; below 2^63.
    pub invoked: u64,
    /// How it ended.
    pub ending: Ending,
}

/// How an operation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It answered.
    Returned {
        /// The answer.
        answer: Answer,
        /// Instant of the return, not before the call; below 2^63.
        at: u64,
    },
    /// Its participant was killed in it. It took effect or did not, before its death was confirmed.
    Killed {
        /// Instant at which the death was confirmed, or at which recovery ended if that may finish
        /// what the dead began; below 2^63.
        at: u64,
    },
    /// It had not returned when the history ended. It may take effect at any time.
    Pending,
}

/// What a check that found nothing wrong looked at.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Checked {
    /// Operations.
    pub operations: u64,
    /// Keys.
    pub keys: u64,
    /// Largest number of configurations (state and pending operations that took effect) that were
    /// possible at once.
    pub configurations_max: u64,
}

/// Why a history is not accepted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// No order of the operations explains all answers.
    #[error("key {key}: no order explains {record}; {context}")]
    Unexplained {
        /// The key.
        key: u32,
        /// The operation that cannot be explained, or the first of those.
        record: String,
        /// What was possible before it.
        context: String,
    },
    /// Two operations received the same entry.
    #[error("key {key}: value {value} was taken twice, by participants {first} and {second}")]
    TakenTwice {
        /// The key.
        key: u32,
        /// The value.
        value: Value,
        /// Who took it.
        first: u32,
        /// Who took it as well.
        second: u32,
    },
    /// An operation found a value that nobody offered for its key.
    #[error("key {key}: participant {participant} found {value}, which nobody stored")]
    Invented {
        /// The key.
        key: u32,
        /// The value.
        value: Value,
        /// Who found it.
        participant: u32,
    },
    /// Not a history: a defect of whoever recorded it.
    #[error("malformed history: {problem} ({record})")]
    Malformed {
        /// What is wrong.
        problem: &'static str,
        /// The operation.
        record: String,
    },
    /// The checker gave up; the history may be right or wrong.
    #[error("key {key}: undecided, {problem}; record fewer operations at once")]
    Undecided {
        /// The key.
        key: u32,
        /// The limit that was met.
        problem: String,
    },
}

impl Record {
    /// The answer, if there is one.
    pub const fn answer(&self) -> Option<Answer> {
        match self.ending {
            Ending::Returned { answer, .. } => Some(answer),
            Ending::Killed { .. } | Ending::Pending => None,
        }
    }

    /// Whether no answer constrains the operation and no state changes by it.
    fn says_nothing(&self) -> bool {
        match self.answer() {
            Some(answer) => answer == Answer::Failed,
            None => self.operation.verb == Verb::Get,
        }
    }
}

impl std::fmt::Display for Record {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { participant, key, operation, invoked, .. } = self;
        write!(formatter, "participant {participant}, key {key}: {operation} ")?;
        match self.ending {
            Ending::Returned { answer, at } => write!(formatter, "{answer} [{invoked}, {at}]"),
            Ending::Killed { at } => write!(formatter, "killed [{invoked}, {at}]"),
            Ending::Pending => write!(formatter, "pending [{invoked}, …"),
        }
    }
}

/// Finds what is wrong with a list of records whatever the order of its operations: calls of one
/// participant that overlap, answers that a verb does not have, values offered twice for a key.
pub fn check_form(records: &[Record]) -> Result<(), Violation> {
    let malformed =
        |problem, record: &Record| Violation::Malformed { problem, record: record.to_string() };
    let mut offered = HashSet::default();
    let mut by_participant: HashMap<u32, Vec<&Record>> = HashMap::default();
    for record in records {
        let end = record.end();
        if end < record.invoked {
            return Err(malformed("ends before it begins", record));
        }
        if record.invoked >= 1 << 63 || (end >= 1 << 63 && end != u64::MAX) {
            return Err(malformed("instants are below 2^63", record));
        }
        if record.answer().is_some_and(|answer| !record.operation.can_answer(answer)) {
            return Err(malformed("the verb has no such answer", record));
        }
        if record.operation.verb.writes() && !offered.insert((record.key, record.operation.value)) {
            return Err(malformed("the value was offered before for this key", record));
        }
        by_participant.entry(record.participant).or_default().push(record);
    }
    for calls in by_participant.values_mut() {
        calls.sort_unstable_by_key(|record| record.invoked);
        if let Some(pair) = calls.windows(2).find(|pair| pair[1].invoked < pair[0].end()) {
            return Err(malformed("overlaps an earlier call of its participant", pair[1]));
        }
    }
    Ok(())
}

impl Record {
    /// Last instant at which the operation can take effect.
    const fn end(&self) -> u64 {
        match self.ending {
            Ending::Returned { at, .. } | Ending::Killed { at } => at,
            Ending::Pending => u64::MAX,
        }
    }
}

/// Whether every value found was offered for its key and no value was taken twice: what holds in
/// every memory model and needs no search.
pub fn check_values(records: &[Record]) -> Result<(), Violation> {
    let offered: HashSet<(u32, Value)> = records
        .iter()
        .filter(|record| record.operation.verb.writes())
        .map(|record| (record.key, record.operation.value))
        .collect();
    let mut taken = HashMap::default();
    for record in records {
        let (value, ends_its_life) = match record.answer() {
            Some(Answer::Found(value)) => (value, record.operation.verb == Verb::Take),
            Some(Answer::Exchanged(value) | Answer::RemovedValue(value)) => (value, true),
            Some(Answer::Changed(value)) => (value, false),
            _ => continue,
        };
        let (key, participant) = (record.key, record.participant);
        if !offered.contains(&(key, value)) {
            return Err(Violation::Invented { key, value, participant });
        }
        if ends_its_life && let Some(first) = taken.insert((key, value), participant) {
            return Err(Violation::TakenTwice { key, value, first, second: participant });
        }
    }
    Ok(())
}
