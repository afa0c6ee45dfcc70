//! A byte of a file that the kernel keeps locked as long as a process's memory exists.
//!
//! The lock belongs to an open file description. That description is mapped and its descriptor
//! closed, so the mapping alone keeps it: it goes with the address space, on a kill, on exec, while
//! the process is still a zombie; it does not go when a program closes all descriptors, and a
//! forked child does not inherit it, because the mapping says so.
//!
//! All locks lie beyond 2^40, where no segment's bytes are: they never meet locks of other
//! programs.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use memmap2::{Advice, MmapOptions, MmapRaw};
use rustix::fs::OFlags;

use super::descriptor::Descriptor;
use super::file_system::FileSystem;
use super::{io_error, unfit};
use crate::error::SegmentError;
use crate::liveness::RecordIndex;

/// Byte of the beacon of record 0; the others follow.
const RECORDS: u64 = 1 << 40;

/// First of the bytes that self-tests use.
const SELF_TESTS: u64 = 1 << 41;

/// Tests on further bytes after one whose beacon outlived its mapping; the waits before them double
/// from a millisecond, so that they take a quarter of a second together.
const OUTLIVED_AT_MOST: u32 = 8;

/// A lock that lives as long as this process's memory, unless it is dropped.
#[derive(Debug)]
pub(super) struct Beacon {
    page: MmapRaw,
}

/// Kinds of locks; a write lock needs a description that may write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lock {
    Read,
    Write,
}

impl Beacon {
    /// Locks the byte of a record. `None`: somebody else has locked it.
    pub(super) fn light(
        file: &Descriptor,
        path: &Path,
        record: RecordIndex,
    ) -> io::Result<Option<Self>> {
        let description = file.reopen(path, OFlags::RDWR)?;
        Self::lock(description, RECORDS + u64::from(record.0), Lock::Write)
    }

    /// Whether anybody has locked the byte of a record.
    pub(super) fn is_lit(file: BorrowedFd<'_>, record: RecordIndex) -> io::Result<bool> {
        // A read lock conflicts with every beacon and would not conflict with other probes.
        conflicts(file, RECORDS + u64::from(record.0), Lock::Read)
    }

    /// Maps a page of a description that nobody else uses, locks a byte of it and closes it.
    fn lock(description: OwnedFd, byte: u64, lock: Lock) -> io::Result<Option<Self>> {
        let length = page_bytes(&description)?;
        let page = MmapOptions::new().len(length).map_raw_read_only(&description)?;
        // Before the lock is there. A fork by another thread between the opening and here gives the
        // child this description too: the beacon then outlives the process as long as that child
        // lives and has not called exec, which errs on the side of *alive*.
        page.advise(Advice::DontFork)?;
        match fcntl(&description, libc::F_OFD_SETLK, byte, lock) {
            Ok(_) => Ok(Some(Self { page })),
            Err(refusal) if is_conflict(&refusal) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Leaves the mapping as it is: for a forked child, where there is none at its address, or
    /// somebody else's.
    pub(super) fn forget(self) {
        std::mem::forget(self.page);
    }
}

/// Checks that a beacon on this file is seen through another description while it is lit and not
/// afterwards; some file systems (overlayfs) lose it with the descriptor.
pub(super) fn self_test(
    file: &Descriptor,
    path: &Path,
    is_writable: bool,
) -> Result<(), SegmentError> {
    let failed = |action| io_error(path, action);
    let (flags, lock) =
        if is_writable { (OFlags::RDWR, Lock::Write) } else { (OFlags::RDONLY, Lock::Read) };
    let mut outlived = 0;
    for byte in test_bytes() {
        let description = file.reopen(path, flags).map_err(failed("open it again"))?;
        let beacon = Beacon::lock(description, byte, lock).map_err(failed("lock a beacon"))?;
        let Some(beacon) = beacon else { continue };
        let probe = file.reopen(path, flags).map_err(failed("open it again"))?;
        let is_lit =
            || conflicts(borrow(&probe), byte, Lock::Write).map_err(failed("probe a beacon"));
        let seen = is_lit()?;
        drop(beacon);
        let seen_after = is_lit()?;
        if seen && !seen_after {
            return Ok(());
        }
        if seen && outlived < OUTLIVED_AT_MOST {
            // Most likely another thread forked while the description was open, and its child has
            // not called exec yet.
            std::thread::sleep(Duration::from_millis(1 << outlived));
            outlived += 1;
            continue;
        }
        let statfs =
            rustix::fs::fstatfs(&probe).map_err(io_error(path, "ask for its file system"))?;
        let name = FileSystem::from_statfs(&statfs).name();
        let found = if seen { "a beacon outlives its mapping" } else { "a beacon is not seen" };
        let expected =
            "one whose locks live as long as a mapping: tmpfs, ext4, xfs, btrfs, a memfd";
        return Err(unfit(path, "file system", format!("{name}, where {found}"), expected));
    }
    Err(failed("find a free byte for a self-test")(io::Error::from(io::ErrorKind::WouldBlock)))
}

/// Bytes that hardly anybody else tests at this instant.
fn test_bytes() -> impl Iterator<Item = u64> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seed = u64::from(std::process::id()) << 20 ^ now.tv_nsec.unsigned_abs();
    (0..64).map(move |attempt| SELF_TESTS + (seed + attempt * 4099) % (1 << 40))
}

fn borrow(descriptor: &OwnedFd) -> BorrowedFd<'_> {
    std::os::fd::AsFd::as_fd(descriptor)
}

/// Bytes of the smallest mapping of this file.
fn page_bytes(file: &OwnedFd) -> io::Result<usize> {
    let statfs = rustix::fs::fstatfs(file)?;
    if FileSystem::from_statfs(&statfs) != FileSystem::HugePages {
        return Ok(rustix::param::page_size());
    }
    usize::try_from(statfs.f_bsize).map_err(io::Error::other)
}

/// Whether a lock of this kind, held through another description, would conflict.
fn conflicts(file: BorrowedFd<'_>, byte: u64, lock: Lock) -> io::Result<bool> {
    let found = fcntl(&file, libc::F_OFD_GETLK, byte, lock)?;
    Ok(i32::from(found.l_type) != libc::F_UNLCK)
}

fn is_conflict(refusal: &io::Error) -> bool {
    matches!(refusal.raw_os_error(), Some(libc::EAGAIN | libc::EACCES))
}

/// Asks for or about a lock on one byte.
fn fcntl(
    file: &impl AsRawFd,
    command: libc::c_int,
    byte: u64,
    lock: Lock,
) -> io::Result<libc::flock> {
    let kind = match lock {
        Lock::Read => libc::F_RDLCK,
        Lock::Write => libc::F_WRLCK,
    };
    let narrow = |value: libc::c_int| libc::c_short::try_from(value).map_err(io::Error::other);
    let mut request = libc::flock {
        l_type: narrow(kind)?,
        l_whence: narrow(libc::SEEK_SET)?,
        l_start: libc::off_t::try_from(byte).map_err(io::Error::other)?,
        l_len: 1,
        // The kernel refuses a lock of a description that names a process.
        l_pid: 0,
    };
    // SAFETY: both commands take a pointer to a `flock` that they read and write during the call,
    // and `request` is one that nobody else refers to. The descriptor is open: it is borrowed.
    let answer = unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut request) };
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(request) }
}
