//! A file descriptor that is used only while it still names its file.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// A descriptor and the file that it is known to name.
///
/// Some programs close all descriptors that they do not know (`closefrom`), and the number may then
/// belong to another file. So its file is compared before each use, and before it is closed.
#[derive(Debug)]
pub(super) struct Descriptor {
    descriptor: ManuallyDrop<OwnedFd>,
    identity: Identity,
}

/// Device and inode: which file it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(super) fn of(descriptor: impl AsFd) -> io::Result<Self> {
        let stat = rustix::fs::fstat(descriptor)?;
        #[allow(clippy::unnecessary_cast, reason = "the width of both differs between systems")]
        Ok(Self { device: stat.st_dev as u64, inode: stat.st_ino as u64 })
    }
}

impl Descriptor {
    pub(super) fn new(descriptor: OwnedFd) -> io::Result<Self> {
        let identity = Identity::of(&descriptor)?;
        Ok(Self { descriptor: ManuallyDrop::new(descriptor), identity })
    }

    /// The descriptor, for use right after it was made.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// The descriptor, if it still names its file.
    pub(super) fn verified(&self) -> io::Result<BorrowedFd<'_>> {
        if Identity::of(&*self.descriptor)? == self.identity {
            return Ok(self.descriptor.as_fd());
        }
        Err(io::Error::other("the descriptor was closed by other code and names another file now"))
    }

    /// A fresh description of the same file: through the descriptor, or else through its path.
    pub(super) fn reopen(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        let through_descriptor = self.verified().and_then(|descriptor| {
            let link = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
            Ok(rustix::fs::open(link, flags, Mode::empty())?)
        });
        let fresh = match through_descriptor {
            Ok(fresh) if cfg!(target_os = "linux") => fresh,
            Ok(_) => rustix::fs::open(path, flags | OFlags::NOFOLLOW, Mode::empty())?,
            Err(refusal) => rustix::fs::open(path, flags | OFlags::NOFOLLOW, Mode::empty())
                .map_err(|_| without_proc(refusal))?,
        };
        if Identity::of(&fresh)? == self.identity {
            return Ok(fresh);
        }
        Err(io::Error::other("the path names another file now"))
    }
}

/// Why a file without a name could not be opened again.
fn without_proc(refusal: io::Error) -> io::Error {
    if Path::new("/proc/self/fd").exists() {
        return refusal;
    }
    io::Error::other(
        "a file without a name is opened again through /proc, which is not mounted here",
    )
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        if self.verified().is_ok() {
            // SAFETY: dropped here and nowhere else; `self` is not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.descriptor) }
        }
    }
}
