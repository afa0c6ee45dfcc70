//! Why a segment could not be created or attached to.

use std::io;
use std::path::{Path, PathBuf};

/// Why a segment could not be created or attached to. Whatever it was, the file is as it was
/// before, and a creation leaves nothing behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// A system call failed.
    #[error("{path}: {action}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// A segment was to be created where a file exists already. Whoever comes second attaches.
    #[error("{path}: exists already: attach to it, or remove it first", path = .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be a segment, or not one that this process may trust.
    #[error("{path}: {field} is {found}, expected {expected}", path = .path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What was looked at: `file type`, `owner`, `mode`, `links`, `file system`, `size`.
        field: &'static str,
        /// What it is.
        found: String,
        /// What it has to be.
        expected: String,
    },
    /// A field of the header is not what this build, machine, boot or caller expects.
    #[error("segment header: {field} is {found}, expected {expected}")]
    Header {
        /// The field.
        field: &'static str,
        /// What the segment says.
        found: String,
        /// What it has to say.
        expected: String,
    },
    /// A size that no segment can have, or that this machine cannot give.
    #[error("{quantity} of {value} is {problem}")]
    Size {
        /// Which size: `segment bytes`, `buckets`, `slabs`, …
        quantity: &'static str,
        /// What was asked for.
        value: u64,
        /// Why it cannot be: the limit is in here.
        problem: String,
    },
    /// What is wrong with the content of a file.
    #[error("{path}: {source}", path = .path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<SegmentError>,
    },
    /// Every process record is taken by a live process.
    #[error("full: all {records} process records are taken")]
    NoRecord {
        /// Records in the segment.
        records: u32,
    },
}

impl SegmentError {
    /// The same error, said of a file, unless it names one already.
    #[must_use]
    pub fn in_file(self, path: &Path) -> Self {
        match self {
            Self::Header { .. } | Self::Size { .. } | Self::NoRecord { .. } => {
                Self::InFile { path: path.to_owned(), source: Box::new(self) }
            }
            named => named,
        }
    }

    /// A header field that differs.
    pub fn header(
        field: &'static str,
        found: impl std::fmt::Display,
        expected: impl std::fmt::Display,
    ) -> Self {
        Self::Header { field, found: found.to_string(), expected: expected.to_string() }
    }
}
