//! The memory that ships: a mapping of a file that several processes share, how the file comes to
//! be, what is checked before it is trusted, and the beacons that tell who is dead.
//!
//! # Trust
//!
//! This module holds all of the crate's unsafe code. It is sound as long as this holds:
//!
//! - **The kernel** maps what it says, keeps a mapping where it is until it is unmapped, and keeps
//!   all mappings of one file coherent. Attaching accepts only file systems known for that.
//! - **The file** keeps its size while it is mapped; an access beyond a shrunken end is SIGBUS. A
//!   memory descriptor is sealed against it. A file with a path has no such seal: everyone who may
//!   write it (by default one user) is trusted not to truncate it. Its blocks are allocated at
//!   creation, so that a full file system is an error then and no SIGBUS later; a file system that
//!   copies on write (btrfs, xfs with reflinks) may still fail if somebody clones the file.
//! - **Other processes** may write anything into the words at any time. All access is by atomic
//!   words, or by assembly that the compiler does not see into, and any bit pattern is valid, so
//!   they can cause wrong answers and errors, never undefined behaviour.
//! - **The processor**: a vector access whose address is a multiple of 8 reads or writes each of
//!   its aligned 8-byte lanes undivided. AMD and Intel promise it for whole aligned 16 bytes where
//!   there is AVX, and build it so for the rest. The protocols above do not lean on it: copies
//!   count only after a validation that nobody wrote meanwhile.
//!
//! # Without `/proc`
//!
//! A beacon needs a second description of the file, opened through `/proc/self/fd` where the file
//! has no name yet or none at all. Without `/proc` new segments are refused with that reason, and
//! existing ones because nobody can tell which boot this is.
//!
//! # Other systems than Linux
//!
//! The module is written for Linux. Elsewhere on Unix it compiles with less: no memory descriptors,
//! no beacons (everybody counts as alive, so the work of the dead is not repaired), a file's space
//! is allocated by writing zeros, file systems are not recognised, dumps are not prevented, and
//! huge pages are refused in the report. Processors other than x86-64 copy word by word.

mod attach;
#[cfg(target_os = "linux")]
mod beacon;
mod copy;
mod create;
mod descriptor;
mod file_system;
mod fork;
#[cfg(target_arch = "x86_64")]
mod lane;
mod liveness;
mod memory;
mod options;
mod room;
mod smaps;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(all(test, target_os = "linux"))]
mod fork_tests;
#[cfg(all(test, target_os = "linux"))]
mod place_tests;
#[cfg(all(test, target_os = "linux"))]
mod process_tests;

use std::io;
use std::path::Path;

pub use fork::ForkEpoch;
pub use liveness::MappedLiveness;
pub use memory::MappedMemory;
pub use options::{
    Access, AttachOptions, CreateOptions, Grant, MappingOptions, MappingReport, Owner,
};

use crate::error::SegmentError;

/// Turns the system's refusal into an error that names the file and what was being done.
fn io_error<E: Into<io::Error>>(
    path: &Path,
    action: &'static str,
) -> impl FnOnce(E) -> SegmentError {
    let path = path.to_owned();
    move |source| SegmentError::Io { path, action, source: source.into() }
}

/// A property of a file that a segment's file must not have.
fn unfit(
    path: &Path,
    field: &'static str,
    found: impl Into<String>,
    expected: impl Into<String>,
) -> SegmentError {
    SegmentError::Unfit {
        path: path.to_owned(),
        field,
        found: found.into(),
        expected: expected.into(),
    }
}
