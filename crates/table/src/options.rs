//! What the creator of a table chooses.

/// What the creator of a table chooses. Everything is recorded in the segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableOptions {
    /// Entries that the table has to hold, of [`value_bytes`](Self::value_bytes) each. Default 1024.
    pub entries: u64,
    /// Bytes of a typical key. Default 32.
    pub key_bytes: u64,
    /// Bytes of a typical value. Default 200. Others fit as well, as long as slabs are left.
    pub value_bytes: u64,
    /// Processes that may be attached at once. Default 64.
    pub processes: u32,
    /// Threads that may be in the middle of an update at once, over all processes. Default 256.
    pub lines: u32,
    /// How keys are hashed. Default [`HashKind::Rapid`].
    pub hash: HashKind,
    /// Secret of the hash, or `None` for one from the operating system.
    pub hash_key: Option<[u64; 2]>,
}

/// How keys are hashed; always keyed with the segment's secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HashKind {
    /// rapidhash v3, seeded: fast, no cryptographic claim.
    #[default]
    Rapid,
    /// SipHash-1-3: slower, made against chosen keys.
    SipHash13,
}

impl Default for TableOptions {
    fn default() -> Self {
        Self {
            entries: 1024,
            key_bytes: 32,
            value_bytes: 200,
            processes: 64,
            lines: 256,
            hash: HashKind::Rapid,
            hash_key: None,
        }
    }
}
