//! Buckets and timestamps as fields of one word, and K-CAS as one exchange of it.

use std::fmt;

use shm_arena::{Load, Memory, Offset, Rmw};

use super::Key;
use crate::engine::Execution;
use crate::memory::Names;

/// Buckets of the table; also the number of timestamps that there is room for.
pub const BUCKETS: u8 = 8;

/// The one word: four bits a bucket, then four bits a timestamp. No timestamp wraps in a model, in
/// which fewer than 16 updates are made.
const WORD: Offset = Offset::new(0);

const FIELD_BITS: u32 = 4;

/// Leaves the packed word out of a trace: the model remarks on each field that it touches.
pub fn names() -> Names {
    std::sync::Arc::new(|_| String::new())
}

/// One of the words that the published program has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Field {
    Bucket(u8),
    Timestamp(u8),
}

/// One entry of a K-CAS. `old == new` compares only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub(super) field: Field,
    pub(super) old: u8,
    pub(super) new: u8,
}

/// The shared words of a set, as one participant sees them.
#[derive(Clone, Debug)]
pub(super) struct Words<X: Execution> {
    execution: X,
    memory: X::Memory,
}

impl Field {
    fn shift(self) -> u32 {
        match self {
            Self::Bucket(bucket) => FIELD_BITS * u32::from(bucket),
            Self::Timestamp(stripe) => FIELD_BITS * u32::from(BUCKETS + stripe),
        }
    }

    fn of(self, word: u64) -> u8 {
        (word >> self.shift() & 0xF) as u8
    }

    fn with(self, word: u64, value: u8) -> u64 {
        assert!(value <= 0xF, "{self} has no room for {value}");
        word & !(0xF << self.shift()) | u64::from(value) << self.shift()
    }

    fn show(self, value: u8) -> String {
        match self {
            Self::Bucket(_) => Key::show(value),
            Self::Timestamp(_) => value.to_string(),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bucket(bucket) => write!(formatter, "bucket {bucket}"),
            Self::Timestamp(stripe) => write!(formatter, "timestamp {stripe}"),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, old, new } = *self;
        match old == new {
            true => write!(formatter, "{field} is {}", field.show(old)),
            false => write!(formatter, "{field} {} -> {}", field.show(old), field.show(new)),
        }
    }
}

impl<X: Execution> Words<X> {
    /// Empty buckets and timestamps of zero.
    pub(super) fn new(execution: &X) -> Self {
        Self { execution: execution.clone(), memory: execution.memory(1) }
    }

    /// The newest value of a field.
    pub(super) fn read(&self, field: Field) -> u8 {
        let value = field.of(self.newest());
        self.execution.note(|| format!("{field} is {}", field.show(value)));
        value
    }

    /// All entries or none, in one step: `false` if any of them is not as it should be.
    ///
    /// Each failed exchange means that somebody else's succeeded.
    pub(super) fn compare_and_swap(&self, changes: &[Change]) -> bool {
        for (index, change) in changes.iter().enumerate() {
            let twice = changes[..index].iter().any(|other| other.field == change.field);
            assert!(!twice, "a K-CAS names {} twice", change.field);
        }
        loop {
            let word = self.newest();
            if let Some(wrong) = changes.iter().find(|change| change.field.of(word) != change.old) {
                let is = wrong.field.show(wrong.field.of(word));
                self.execution.note(|| format!("K-CAS fails, {} is {is}", wrong.field));
                return false;
            }
            let new = changes.iter().fold(word, |word, change| change.field.with(word, change.new));
            if self.memory.compare_exchange(WORD, word, new, Rmw::AcqRel, Load::Relaxed).is_ok() {
                self.execution.note(|| {
                    let texts: Vec<_> = changes.iter().map(Change::to_string).collect();
                    format!("K-CAS: {}", texts.join(", "))
                });
                return true;
            }
        }
    }

    /// All buckets at one instant, from the first.
    pub(super) fn snapshot(&self) -> [u8; BUCKETS as usize] {
        let word = self.newest();
        let mut buckets = [0; BUCKETS as usize];
        for (bucket, value) in (0..).zip(&mut buckets) {
            *value = Field::Bucket(bucket).of(word);
        }
        buckets
    }

    /// Remarks on what follows.
    pub(super) fn note(&self, remark: impl FnOnce() -> String) {
        self.execution.note(remark);
    }

    /// A read-modify-write never takes an old value, whatever the engine.
    fn newest(&self) -> u64 {
        self.memory.fetch_or(WORD, 0, Rmw::AcqRel)
    }
}
