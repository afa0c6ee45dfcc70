//! What a table is asked to store, and what its verbs answer.

use super::Version;

/// Longest key, in bytes. The shortest has one.
pub const KEY_BYTES_MAX: usize = 255;

/// What is stored: a key, a value, and a word that the table carries and does not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// 1 to [`KEY_BYTES_MAX`] bytes.
    pub key: &'a [u8],
    /// 0 bytes up to what the largest block leaves beside the key.
    pub value: &'a [u8],
    /// The caller's word, immutable while the entry lives; a cache keeps the expiry here.
    pub metadata: u64,
}

/// What a look-up learned of an entry besides its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// The entry's metadata word.
    pub metadata: u64,
    /// Which life of the key was seen.
    pub version: Version,
}

/// What was copied into a caller's buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Copied {
    /// Bytes of the value: the first ones of the buffer.
    pub bytes: usize,
    /// The entry's metadata word.
    pub metadata: u64,
}

/// What an update does with a key that it finds present or absent.
pub enum Rule<'a> {
    /// Add; keep what is present, copied out.
    Insert {
        /// Receives the value that exists.
        existing: &'a mut Vec<u8>,
        /// A present entry whose metadata word satisfies this counts as absent.
        is_dead: &'a dyn Fn(u64) -> bool,
    },
    /// Add, or replace what is present.
    Put {
        /// A present entry whose metadata word satisfies this counts as absent: it is replaced and
        /// the effect says *added*.
        is_dead: &'a dyn Fn(u64) -> bool,
    },
    /// Replace what is present; leave what is absent.
    Replace,
    /// Replace what is present if it is of this version.
    Exchange {
        /// The version to replace.
        version: Version,
    },
}

impl std::fmt::Debug for Rule<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Insert { .. } => formatter.write_str("Insert"),
            Self::Put { .. } => formatter.write_str("Put"),
            Self::Replace => formatter.write_str("Replace"),
            Self::Exchange { version } => write!(formatter, "Exchange({version:?})"),
        }
    }
}

/// What an update found when it took effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Effect {
    /// The key was absent, or its entry counted as dead, and the new entry is there.
    Added,
    /// The key was present and its entry was replaced.
    Replaced,
    /// The key was present; nothing changed.
    Kept {
        /// The metadata word of the entry that exists.
        metadata: u64,
    },
    /// The key was absent; nothing changed.
    Missing,
    /// The key was present in another version; nothing changed.
    Changed,
}

impl Effect {
    /// The effect of an insertion, which replaces nothing but what counts as absent.
    pub(crate) fn of_insert(self, existing: &mut Vec<u8>) -> Self {
        match self {
            Self::Kept { .. } => self,
            _ => {
                existing.clear();
                Self::Added
            }
        }
    }

    /// What `insert` answers.
    pub const fn into_insert(self) -> Insert {
        match self {
            Self::Kept { metadata } => Insert::Exists { metadata },
            _ => Insert::Inserted,
        }
    }

    /// What `put` answers.
    pub const fn into_put(self) -> Put {
        match self {
            Self::Replaced => Put::Replaced,
            _ => Put::Inserted,
        }
    }

    /// What `replace` answers.
    pub const fn into_replace(self) -> Replace {
        match self {
            Self::Replaced => Replace::Replaced,
            _ => Replace::Absent,
        }
    }

    /// What `compare_exchange` answers.
    pub const fn into_exchange(self) -> Exchange {
        match self {
            Self::Replaced => Exchange::Exchanged,
            Self::Missing => Exchange::Absent,
            _ => Exchange::Changed,
        }
    }
}

/// What an unlinking found when it took effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Unlinked {
    /// The key was present and is gone.
    Removed {
        /// The metadata word of the entry that is gone.
        metadata: u64,
    },
    /// The key was absent.
    Absent,
    /// The key was present in another version; nothing changed.
    Changed,
}

impl Unlinked {
    /// The metadata word of what was removed.
    pub const fn metadata(self) -> Option<u64> {
        match self {
            Self::Removed { metadata } => Some(metadata),
            Self::Absent | Self::Changed => None,
        }
    }

    /// What `remove_if` answers.
    pub const fn into_remove_if(self) -> RemoveIf {
        match self {
            Self::Removed { .. } => RemoveIf::Removed,
            Self::Changed => RemoveIf::Changed,
            Self::Absent => RemoveIf::Absent,
        }
    }
}

/// What `insert` did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Insert {
    /// The key was absent and the entry is there.
    Inserted,
    /// The key was present; nothing changed. The value that exists is in the caller's buffer.
    Exists {
        /// The metadata word of the entry that exists.
        metadata: u64,
    },
}

/// What `put` did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Put {
    /// The key was absent.
    Inserted,
    /// The key was present and its entry was replaced.
    Replaced,
}

/// What `replace` did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Replace {
    /// The key was present and its entry was replaced.
    Replaced,
    /// The key was absent; nothing changed.
    Absent,
}

/// What `compare_exchange` did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Exchange {
    /// The key was present in the version asked for, and its entry was replaced.
    Exchanged,
    /// The key was present in another version; nothing changed.
    Changed,
    /// The key was absent; nothing changed.
    Absent,
}

/// What `remove` did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Remove {
    /// The key was present and is gone.
    Removed,
    /// The key was absent.
    Absent,
}

/// What `remove_if` did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum RemoveIf {
    /// The key was present in the version asked for, and is gone.
    Removed,
    /// The key was present in another version; nothing changed.
    Changed,
    /// The key was absent.
    Absent,
}

/// One answer of `get_many`. Reused from batch to batch, it costs no allocation.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Lookup {
    /// The value, empty where the key was absent.
    pub value: Vec<u8>,
    /// The metadata word, or `None` if the key was absent.
    pub metadata: Option<u64>,
}
