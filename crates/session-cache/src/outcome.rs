//! What became of a session that was offered, and why a table could not serve.

use shm_table::Error;

/// What `put` did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Stored {
    /// The session is there; its id was absent.
    Inserted,
    /// The session is there, in place of one with the same id.
    Replaced,
    /// The cache declined and nothing changed. The handshake goes on; it cannot be resumed.
    Declined(Reason),
}

impl Stored {
    /// Whether the session is in the cache.
    pub const fn is_stored(self) -> bool {
        matches!(self, Self::Inserted | Self::Replaced)
    }
}

/// Why a table could not serve.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// The id is empty or longer than [`SESSION_ID_BYTES_MAX`](crate::SESSION_ID_BYTES_MAX).
    KeyLength,
    /// The session does not fit the table's largest block.
    ValueTooLarge,
    /// No block or no slot is free, and nothing that expired could be removed.
    Full,
    /// Others held what the verb needed for the whole of its bounded wait.
    Busy,
    /// Others changed the bucket more often than the verb's budget allows.
    Contended,
    /// A word in shared memory cannot be what a table wrote.
    Corrupt,
    /// The segment is attached without write permission.
    ReadOnly,
    /// An error that this version of the cache does not know.
    Other,
}

impl Reason {
    /// Every reason, in the order of declaration.
    pub const ALL: [Self; 8] = [
        Self::KeyLength,
        Self::ValueTooLarge,
        Self::Full,
        Self::Busy,
        Self::Contended,
        Self::Corrupt,
        Self::ReadOnly,
        Self::Other,
    ];
}

impl From<Error> for Reason {
    fn from(error: Error) -> Self {
        match error {
            Error::KeyLength { .. } => Self::KeyLength,
            Error::ValueTooLarge { .. } => Self::ValueTooLarge,
            Error::NoBlock { .. } | Error::BucketFull { .. } => Self::Full,
            // A line is free again as soon as any of the other threads ends its verb.
            Error::NoLine { .. } | Error::Busy { .. } => Self::Busy,
            Error::Contended { .. } => Self::Contended,
            Error::Corrupt { .. } => Self::Corrupt,
            Error::ReadOnly => Self::ReadOnly,
            _ => Self::Other,
        }
    }
}
