//! Why a verb did not do its work.

use shm_arena::LeaseError;

use super::KEY_BYTES_MAX;

/// Why a verb did not do its work. Nothing changed in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Keys have 1 to 255 bytes.
    #[error("key of {bytes} bytes: keys have 1 to {KEY_BYTES_MAX} bytes")]
    KeyLength {
        /// Length of the key offered.
        bytes: usize,
    },
    /// The entry does not fit the largest block.
    #[error("value of {bytes} bytes: at most {bytes_max} bytes fit beside this key")]
    ValueTooLarge {
        /// Length of the value offered.
        bytes: usize,
        /// Longest value that this table takes beside this key.
        bytes_max: usize,
    },
    /// No block of the size is free and no slab can be had for it.
    #[error("full: no free block of {block_bytes} bytes and no unassigned slab")]
    NoBlock {
        /// Size of the block that was wanted.
        block_bytes: u64,
    },
    /// The key's bucket has no slot for another entry: all but the one that replacements need are
    /// taken, or others withhold them.
    #[error("full: bucket {bucket} has no slot for another entry")]
    BucketFull {
        /// Index of the bucket.
        bucket: u64,
    },
    /// More threads are in the middle of an update than the segment has participant lines.
    #[error("full: all {lines} participant lines are in use")]
    NoLine {
        /// Lines in the segment.
        lines: u32,
    },
    /// A live participant held the table's lock for longer than the stated bound.
    #[error("busy: participant line {owner} held the lock for more than {waited_ms} ms")]
    Busy {
        /// Line that owns the lock.
        owner: u32,
        /// Bound on the wait.
        waited_ms: u64,
    },
    /// Others changed the bucket more often than the loop's budget allows.
    #[error("contended: bucket {bucket} changed under each of {turns} attempts")]
    Contended {
        /// Index of the bucket.
        bucket: u64,
        /// Attempts made.
        turns: u32,
    },
    /// A word in shared memory cannot be what a table wrote.
    #[error("corrupt: {what} at word {word}")]
    Corrupt {
        /// What was read.
        what: &'static str,
        /// Index of the word, or of the block's first word.
        word: u64,
    },
    /// The value is longer than the buffer that was to receive it.
    #[error("buffer of {bytes} bytes: the value has {bytes_needed}; offer that much room")]
    BufferTooSmall {
        /// Length of the buffer offered.
        bytes: usize,
        /// Length of the value.
        bytes_needed: usize,
    },
    /// The cursor was made by another table.
    #[error("cursor of another table: begin a new one with `cursor`")]
    ForeignCursor,
    /// The memory is mapped without write permission.
    #[error("read-only: this handle is attached without write permission")]
    ReadOnly,
    /// The handle, cursor or reservation was made by a parent of this process.
    #[error("forked: this handle is the parent process's; attach anew in the child")]
    Forked,
    /// The process's record was freed by others, or is another's: they took it for dead.
    #[error("disowned: others took this process for dead and recovered its work; attach anew")]
    Disowned,
}

impl From<LeaseError> for Error {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::ReadOnly => Self::ReadOnly,
            LeaseError::NoLine { lines } => Self::NoLine { lines },
            LeaseError::Forked => Self::Forked,
            LeaseError::Disowned => Self::Disowned,
        }
    }
}
