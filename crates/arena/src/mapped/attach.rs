//! Attaches to a segment's file after looking at what it is.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::create::octal;
use super::descriptor::Descriptor;
use super::file_system::{self, FileSystem};
use super::options::{Access, AttachOptions, Owner};
use super::{MappedMemory, io_error, unfit};
use crate::error::SegmentError;

impl MappedMemory {
    /// Maps an existing file, if it is one that may be trusted: a regular file, no symbolic link,
    /// of the expected owner, not open to others' writing, with one name, on a file system that
    /// keeps mappings coherent, of a size that a segment can have. What is in it is not looked at.
    ///
    /// # Errors
    ///
    /// [`SegmentError::Unfit`] names the property, what it is and what it has to be;
    /// [`SegmentError::Io`] where the system refuses. The file is left as it was.
    pub fn attach(path: &Path, options: &AttachOptions) -> Result<Self, SegmentError> {
        // Looking first keeps from opening devices; what counts is looked at after opening.
        let stat = rustix::fs::lstat(path).map_err(io_error(path, "open"))?;
        check_type(path, &stat)?;
        let flags =
            open_flags(options.access) | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file =
            rustix::fs::open(path, flags, Mode::empty()).map_err(|refusal| match refusal {
                Errno::LOOP => unfit(path, "file type", "symbolic link", REGULAR),
                refusal => io_error(path, "open")(refusal),
            })?;
        let stat = rustix::fs::fstat(&file).map_err(io_error(path, "look at it"))?;
        check_type(path, &stat)?;
        check_owner(path, &stat, options.owner)?;
        let mode = permissions(&stat);
        if mode & options.mode_refused != 0 {
            let expected = format!("without any of {}", octal(options.mode_refused));
            return Err(unfit(path, "mode", octal(mode), expected));
        }
        if stat.st_nlink != 1 {
            return Err(unfit(path, "links", stat.st_nlink.to_string(), "1"));
        }
        check_file_system(path, &file)?;
        Self::map_checked(file, path, &stat, options)
    }

    /// Maps the file of a descriptor that another process made and passed on: the memory descriptor
    /// of [`memfd`](Self::memfd), or a file's.
    ///
    /// Whoever has the descriptor was given it, so owner, mode and links are not looked at. A file
    /// without a name has to be sealed against changes of its size.
    ///
    /// # Errors
    ///
    /// As [`attach`](Self::attach).
    pub fn attach_descriptor(
        descriptor: OwnedFd,
        options: &AttachOptions,
    ) -> Result<Self, SegmentError> {
        let link = PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_raw_fd()));
        let stat = rustix::fs::fstat(&descriptor).map_err(io_error(&link, "look at it"))?;
        let path = std::fs::read_link(&link).unwrap_or(link);
        check_type(&path, &stat)?;
        check_file_system(&path, &descriptor)?;
        check_seals(&path, &descriptor, &stat)?;
        Self::map_checked(descriptor, &path, &stat, options)
    }

    fn map_checked(
        file: OwnedFd,
        path: &Path,
        stat: &Stat,
        options: &AttachOptions,
    ) -> Result<Self, SegmentError> {
        let bytes = u64::try_from(stat.st_size).unwrap_or(0);
        if bytes == 0 || !bytes.is_multiple_of(8) {
            let found = format!("{bytes} bytes");
            return Err(unfit(path, "size", found, "a multiple of 8 bytes, and not 0"));
        }
        let descriptor = Descriptor::new(file).map_err(io_error(path, "look at it"))?;
        Self::map(descriptor, path, bytes, options.access, &options.mapping)
    }
}

const REGULAR: &str = "regular file";

/// How a file is opened for this use.
fn open_flags(access: Access) -> OFlags {
    OFlags::CLOEXEC
        | match access {
            Access::ReadWrite => OFlags::RDWR,
            Access::ReadOnly => OFlags::RDONLY,
        }
}

fn check_type(path: &Path, stat: &Stat) -> Result<(), SegmentError> {
    let found = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => return Ok(()),
        FileType::Directory => "directory",
        FileType::Symlink => "symbolic link",
        FileType::Fifo => "FIFO",
        FileType::Socket => "socket",
        FileType::CharacterDevice => "character device",
        FileType::BlockDevice => "block device",
        _ => "unknown",
    };
    Err(unfit(path, "file type", found, REGULAR))
}

fn check_owner(path: &Path, stat: &Stat, owner: Owner) -> Result<(), SegmentError> {
    let expected = match owner {
        Owner::Myself => rustix::process::geteuid().as_raw(),
        Owner::User(user) => user,
        Owner::Anybody => return Ok(()),
    };
    if stat.st_uid == expected {
        return Ok(());
    }
    Err(unfit(path, "owner", format!("user {}", stat.st_uid), format!("user {expected}")))
}

/// The permission bits of a file.
fn permissions(stat: &Stat) -> u32 {
    #[allow(clippy::useless_conversion, reason = "the width differs between systems")]
    let mode = u32::from(stat.st_mode);
    mode & 0o7777
}

fn check_file_system(path: &Path, file: &OwnedFd) -> Result<(), SegmentError> {
    let statfs = rustix::fs::fstatfs(file).map_err(io_error(path, "ask for its file system"))?;
    let file_system = FileSystem::from_statfs(&statfs);
    if file_system.is_fit() {
        return Ok(());
    }
    Err(unfit(path, "file system", file_system.name(), file_system::FIT))
}

/// Without a name nobody but holders of the descriptor can change the size, and nothing but a seal
/// keeps them from it.
#[cfg(target_os = "linux")]
fn check_seals(path: &Path, file: &OwnedFd, stat: &Stat) -> Result<(), SegmentError> {
    use super::create::SEALS;

    if stat.st_nlink != 0 {
        return Ok(());
    }
    let expected = "sealed against shrinking and growing";
    match rustix::fs::fcntl_get_seals(file) {
        Ok(seals) if seals.contains(SEALS) => Ok(()),
        Ok(seals) => Err(unfit(path, "seals", format!("{:#x}", seals.bits()), expected)),
        Err(_) => Err(unfit(path, "seals", "none, and not a memfd", expected)),
    }
}

#[cfg(not(target_os = "linux"))]
fn check_seals(_path: &Path, _file: &OwnedFd, _stat: &Stat) -> Result<(), SegmentError> {
    Ok(())
}
