//! What a table has to answer: the sequential meaning of every verb, once for checkers and once
//! as a test double.
//!
//! Checkers look at one key at a time. To them a key is absent or holds a [`Value`], an
//! [`Operation`] is a verb with the value that it offers, and an [`Answer`] is what came back. The
//! byte-string model of the whole contract is [`Reference`].

use std::fmt;
use std::num::NonZeroU64;

pub use shm_table_conformance::{Reference, ReferenceTable};

/// A value as checkers see it: any number but 0, written at most once in a history.
pub type Value = NonZeroU64;

/// The verbs whose answers a history records.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Verb {
    /// Copies the value out.
    Get,
    /// Adds a value unless the key is present.
    Insert,
    /// Adds a value or replaces the one that is there.
    Put,
    /// Replaces the value that is there.
    Replace,
    /// Removes the key.
    Remove,
    /// Removes the key and copies the value out.
    Take,
    /// Replaces the value that is there if it is the one seen before: `compare_exchange`.
    Exchange,
    /// Removes the key if its value is the one seen before.
    RemoveIf,
}

impl Verb {
    /// Every verb that needs no other one before it: what generated scenarios are made of.
    pub const ALL: [Self; 6] =
        [Self::Get, Self::Insert, Self::Put, Self::Replace, Self::Remove, Self::Take];

    /// Every verb.
    pub const EVERY: [Self; 8] = [
        Self::Get,
        Self::Insert,
        Self::Put,
        Self::Replace,
        Self::Remove,
        Self::Take,
        Self::Exchange,
        Self::RemoveIf,
    ];

    /// The verb's name, as scenarios spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Insert => "insert",
            Self::Put => "put",
            Self::Replace => "replace",
            Self::Remove => "remove",
            Self::Take => "take",
            Self::Exchange => "exchange",
            Self::RemoveIf => "remove_if",
        }
    }

    /// The verb with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::EVERY.into_iter().find(|verb| verb.name() == name)
    }

    /// Whether the verb can store a value.
    pub const fn writes(self) -> bool {
        matches!(self, Self::Insert | Self::Put | Self::Replace | Self::Exchange)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A verb with the value that it offers; verbs that offer none carry any value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Operation {
    /// What is asked for.
    pub verb: Verb,
    /// The value offered.
    pub value: Value,
}

/// What a verb answered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Answer {
    /// The key was present with this value: a hit of get or take, or an insert that lost.
    Found(Value),
    /// The key was absent and stays so.
    Absent,
    /// The key was absent and has the value offered.
    Inserted,
    /// The key was present and has the value offered.
    Replaced,
    /// The key was present and is gone.
    Removed,
    /// The key had the value seen before and has the value offered.
    Exchanged(Value),
    /// The key had the value seen before and is gone.
    RemovedValue(Value),
    /// The key was present with another value than the one seen before, and stays so.
    Changed(Value),
    /// An error value: nothing changed, whatever the state.
    Failed,
}

impl Operation {
    /// What the verb answers in a state of the key, and the state it leaves. A verb that insists on
    /// a value is taken to insist on the one that is there.
    pub const fn apply(self, state: Option<Value>) -> (Answer, Option<Value>) {
        match (self.verb, state) {
            (Verb::Get | Verb::Insert, Some(value)) => (Answer::Found(value), state),
            (Verb::Get | Verb::Replace | Verb::Remove | Verb::Take, None) => (Answer::Absent, None),
            (Verb::Insert | Verb::Put, None) => (Answer::Inserted, Some(self.value)),
            (Verb::Put | Verb::Replace, Some(_)) => (Answer::Replaced, Some(self.value)),
            (Verb::Remove, Some(_)) => (Answer::Removed, None),
            (Verb::Take, Some(value)) => (Answer::Found(value), None),
            (Verb::Exchange | Verb::RemoveIf, None) => (Answer::Absent, None),
            (Verb::Exchange, Some(value)) => (Answer::Exchanged(value), Some(self.value)),
            (Verb::RemoveIf, Some(value)) => (Answer::RemovedValue(value), None),
        }
    }

    /// The state that the operation leaves if it gives this answer, or `None` if it cannot give it
    /// in this state.
    pub fn step(self, state: Option<Value>, answer: Answer) -> Option<Option<Value>> {
        let (expected, next) = self.apply(state);
        match answer {
            Answer::Failed => Some(state),
            Answer::Changed(seen) => state.filter(|&value| value != seen).map(Some),
            answer if answer == expected => Some(next),
            _ => None,
        }
    }

    /// Whether an operation with this answer leaves every state as it is in which it can occur.
    pub const fn changes_nothing(self, answer: Answer) -> bool {
        match answer {
            Answer::Absent | Answer::Failed | Answer::Changed(_) => true,
            Answer::Found(_) => !matches!(self.verb, Verb::Take),
            Answer::Inserted
            | Answer::Replaced
            | Answer::Removed
            | Answer::Exchanged(_)
            | Answer::RemovedValue(_) => false,
        }
    }

    /// Whether the verb can give this answer at all.
    pub const fn can_answer(self, answer: Answer) -> bool {
        match answer {
            Answer::Failed => true,
            Answer::Found(_) => matches!(self.verb, Verb::Get | Verb::Insert | Verb::Take),
            Answer::Absent => !matches!(self.verb, Verb::Insert | Verb::Put),
            Answer::Inserted => matches!(self.verb, Verb::Insert | Verb::Put),
            Answer::Replaced => matches!(self.verb, Verb::Put | Verb::Replace),
            Answer::Removed => matches!(self.verb, Verb::Remove),
            Answer::Exchanged(_) => matches!(self.verb, Verb::Exchange),
            Answer::RemovedValue(_) => matches!(self.verb, Verb::RemoveIf),
            Answer::Changed(_) => matches!(self.verb, Verb::Exchange | Verb::RemoveIf),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.verb.writes() {
            write!(formatter, "{}({})", self.verb, self.value)
        } else {
            write!(formatter, "{}", self.verb)
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found(value) => write!(formatter, "found {value}"),
            Self::Absent => formatter.write_str("absent"),
            Self::Inserted => formatter.write_str("inserted"),
            Self::Replaced => formatter.write_str("replaced"),
            Self::Removed => formatter.write_str("removed"),
            Self::Exchanged(value) => write!(formatter, "exchanged for {value}"),
            Self::RemovedValue(value) => write!(formatter, "removed {value}"),
            Self::Changed(value) => write!(formatter, "no longer {value}"),
            Self::Failed => formatter.write_str("failed"),
        }
    }
}
