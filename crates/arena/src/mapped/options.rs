//! What a creator or attacher chooses about a segment's file and its mapping.

use std::io;

/// How a segment's file is made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateOptions {
    /// Permission bits: 0o600, 0o640 or 0o660. Default 0o600. The umask does not apply.
    pub mode: u32,
    /// User who owns the file, if not the creator: for one who gives up privileges later and could
    /// not open it again. Default `None`.
    pub owner: Option<u32>,
    /// Group of the file, if not the creator's. Default `None`.
    pub group: Option<u32>,
    /// How it is mapped.
    pub mapping: MappingOptions,
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self { mode: 0o600, owner: None, group: None, mapping: MappingOptions::default() }
    }
}

/// Which files an attacher accepts, and how it maps them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttachOptions {
    /// Whether the mapping may be written. Default [`Access::ReadWrite`].
    pub access: Access,
    /// Who has to own the file. Default [`Owner::Myself`].
    pub owner: Owner,
    /// Permission bits that the file must not have. Default 0o022: writable by group or others.
    pub mode_refused: u32,
    /// How it is mapped.
    pub mapping: MappingOptions,
}

impl Default for AttachOptions {
    fn default() -> Self {
        Self {
            access: Access::ReadWrite,
            owner: Owner::Myself,
            mode_refused: 0o022,
            mapping: MappingOptions::default(),
        }
    }
}

/// What a mapping may be used for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    /// Reads and writes.
    ReadWrite,
    /// Reads; a write panics.
    ReadOnly,
}

/// Who has to own a file that is attached to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Owner {
    /// The process's effective user.
    Myself,
    /// The user with this number.
    User(u32),
    /// Anybody: the caller trusts whoever could put a file there.
    Anybody,
}

/// What is asked for beyond the mapping; [`MappingReport`] says what was given.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MappingOptions {
    /// Keep all pages in memory. Default `false`.
    pub lock: bool,
    /// Advise the kernel to use huge pages. Default `false`. A file on hugetlbfs, or on a tmpfs
    /// mounted with `huge=always`, has them without asking.
    pub huge_pages: bool,
}

/// What the system granted beyond the mapping itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MappingReport {
    /// Left out of core dumps: always asked for.
    pub excluded_from_dumps: Grant,
    /// Locked in memory.
    pub locked: Grant,
    /// The advice was accepted; `MappedMemory::huge_bytes` tells what came of it.
    pub huge_pages: Grant,
}

/// Answer to a request that a segment can do without.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Grant {
    /// Nobody asked.
    NotAsked,
    /// Granted.
    Given,
    /// Refused, with the system's reason.
    Refused(String),
}

impl Grant {
    pub(super) fn ask(wanted: bool, request: impl FnOnce() -> io::Result<()>) -> Self {
        if !wanted {
            return Self::NotAsked;
        }
        match request() {
            Ok(()) => Self::Given,
            Err(refusal) => Self::Refused(refusal.to_string()),
        }
    }
}
