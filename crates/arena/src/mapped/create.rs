//! Makes a segment's file: complete before anybody can find it, or not at all.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, RawMode, Uid};
use rustix::io::Errno;

use super::descriptor::Descriptor;
use super::file_system::{self, FileSystem};
use super::options::{Access, CreateOptions};
use super::{MappedMemory, io_error, room, unfit};
use crate::error::SegmentError;

impl MappedMemory {
    /// Makes a file of `bytes` zero bytes, all of them allocated, lets `init` fill it, and links it
    /// to `path`.
    ///
    /// Nobody can attach before `init` has succeeded, because the file has no name until then; what
    /// `init` gives is given back, so it may keep the memory. When anything fails, nothing is left
    /// behind. When `path` exists, also when somebody else was quicker, the error is
    /// [`SegmentError::Exists`] and that file is not touched.
    ///
    /// Where the file system has no unnamed files the file has a hidden name beside `path` until it
    /// is complete; a kill at that time leaves it behind.
    ///
    /// # Errors
    ///
    /// [`SegmentError::Size`] for sizes that cannot be or for which there is no room;
    /// [`SegmentError::Unfit`] for a file system that segments cannot live on, or a mode that opens
    /// the file to everybody; [`SegmentError::Io`]; whatever `init` fails with.
    pub fn create<T, E: From<SegmentError>>(
        path: &Path,
        bytes: u64,
        options: &CreateOptions,
        init: impl FnOnce(Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let draft = Draft::new(path, bytes, options)?;
        let memory = draft.map(path, bytes, options)?;
        let made = init(memory)?;
        draft.publish(path)?;
        Ok(made)
    }
}

/// A file that has not got its name yet.
struct Draft {
    descriptor: OwnedFd,
    /// The name that it has meanwhile, where the file system knows no unnamed files.
    provisional: Option<Provisional>,
}

/// A file name that is removed when it is dropped, unless it has been renamed.
struct Provisional(Option<PathBuf>);

impl Drop for Provisional {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = rustix::fs::unlink(path);
        }
    }
}

impl Draft {
    /// Checks what was asked for and makes an allocated file of zeros.
    fn new(path: &Path, bytes: u64, options: &CreateOptions) -> Result<Self, SegmentError> {
        room::check_shape(bytes)?;
        if ![0o600, 0o640, 0o660].contains(&options.mode) {
            return Err(unfit(path, "mode", octal(options.mode), "0600, 0640 or 0660"));
        }
        let directory = directory_of(path)?;
        match rustix::fs::lstat(path) {
            Ok(_) => {
                return Err(SegmentError::Exists { path: path.to_owned() });
            }
            Err(Errno::NOENT) => {}
            Err(refusal) => return Err(io_error(path, "look for it")(refusal)),
        }
        check_file_system(path, directory)?;
        room::check_directory(directory, bytes)?;
        let draft = Self::open(path, directory)?;
        draft.allocate(path, bytes, options)?;
        Ok(draft)
    }

    fn open(path: &Path, directory: &Path) -> Result<Self, SegmentError> {
        #[cfg(target_os = "linux")]
        {
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
            match rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR) {
                Ok(descriptor) => {
                    return Ok(Self { descriptor, provisional: None });
                }
                Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => {}
                Err(refusal) => return Err(io_error(path, "create")(refusal)),
            }
        }
        Self::open_named(path, directory)
    }

    /// Makes a file with a hidden name that nobody has, for file systems without unnamed files.
    fn open_named(path: &Path, directory: &Path) -> Result<Self, SegmentError> {
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let process = std::process::id();
        for attempt in 0..1000 {
            let mut name = std::ffi::OsString::from(".");
            name.push(path.file_name().unwrap_or_default());
            name.push(format!(".{process}.{attempt}"));
            let provisional = directory.join(name);
            match rustix::fs::open(&provisional, flags, Mode::RUSR | Mode::WUSR) {
                Ok(descriptor) => {
                    return Ok(Self {
                        descriptor,
                        provisional: Some(Provisional(Some(provisional))),
                    });
                }
                Err(Errno::EXIST) => {}
                Err(refusal) => return Err(io_error(path, "create")(refusal)),
            }
        }
        Err(io_error(path, "create")(io::Error::from(io::ErrorKind::AlreadyExists)))
    }

    fn allocate(
        &self,
        path: &Path,
        bytes: u64,
        options: &CreateOptions,
    ) -> Result<(), SegmentError> {
        allocate(self.descriptor.as_fd(), path, bytes)?;
        let owner = options.owner.map(Uid::from_raw);
        let group = options.group.map(Gid::from_raw);
        if owner.is_some() || group.is_some() {
            rustix::fs::fchown(&self.descriptor, owner, group)
                .map_err(io_error(path, "change its owner"))?;
        }
        #[allow(clippy::cast_possible_truncation, reason = "one of three checked values")]
        let mode = Mode::from_raw_mode(options.mode as RawMode);
        rustix::fs::fchmod(&self.descriptor, mode).map_err(io_error(path, "change its mode"))
    }

    fn map(
        &self,
        path: &Path,
        bytes: u64,
        options: &CreateOptions,
    ) -> Result<MappedMemory, SegmentError> {
        let descriptor = self
            .descriptor
            .try_clone()
            .and_then(Descriptor::new)
            .map_err(io_error(path, "duplicate its descriptor"))?;
        MappedMemory::map(descriptor, path, bytes, Access::ReadWrite, &options.mapping)
    }

    /// Gives the file its name, unless the name is taken.
    fn publish(mut self, path: &Path) -> Result<(), SegmentError> {
        let named = match &self.provisional {
            None | Some(Provisional(None)) => link_unnamed(&self.descriptor, path),
            Some(Provisional(Some(provisional))) => rename_to_new(provisional, path),
        };
        match named {
            Ok(()) => {
                if let Some(provisional) = &mut self.provisional {
                    provisional.0 = None;
                }
                Ok(())
            }
            Err(Errno::EXIST) => Err(SegmentError::Exists { path: path.to_owned() }),
            Err(refusal) => Err(io_error(path, "link into place")(refusal)),
        }
    }
}

/// Allocates every byte of an empty file; they read as zero.
pub(super) fn allocate(file: impl AsFd, path: &Path, bytes: u64) -> Result<(), SegmentError> {
    #[cfg(target_os = "linux")]
    let allocated = loop {
        match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
            Err(Errno::INTR) => {}
            other => break other,
        }
    };
    #[cfg(not(target_os = "linux"))]
    let allocated = write_zeros(&file, bytes);
    allocated.map_err(|refusal| match refusal {
        Errno::NOSPC | Errno::NOMEM | Errno::FBIG | Errno::DQUOT => SegmentError::Size {
            quantity: "segment bytes",
            value: bytes,
            problem: format!("more than there is room for at {}: {refusal}", path.display()),
        },
        refusal => io_error(path, "allocate")(refusal),
    })
}

#[cfg(not(target_os = "linux"))]
fn write_zeros(file: &impl AsFd, bytes: u64) -> Result<(), Errno> {
    const ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let mut written = 0;
    while written < bytes {
        let length = usize::try_from(bytes - written).unwrap_or(usize::MAX).min(ZEROS.len());
        match rustix::io::pwrite(file, &ZEROS[..length], written) {
            Ok(count) => written += count as u64,
            Err(Errno::INTR) => {}
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(())
}

/// The directory that a path lies in; a path that ends in no name is refused.
fn directory_of(path: &Path) -> Result<&Path, SegmentError> {
    if path.file_name().is_none() {
        return Err(unfit(path, "path", "without a file name", "a path that ends in a file name"));
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok(directory.unwrap_or(Path::new(".")))
}

fn check_file_system(path: &Path, directory: &Path) -> Result<(), SegmentError> {
    let statfs =
        rustix::fs::statfs(directory).map_err(io_error(directory, "ask for its file system"))?;
    let file_system = FileSystem::from_statfs(&statfs);
    if file_system.is_fit() {
        return Ok(());
    }
    Err(unfit(path, "file system", file_system.name(), file_system::FIT))
}

/// Permission bits as people write them.
pub(super) fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}

#[cfg(target_os = "linux")]
fn link_unnamed(descriptor: &OwnedFd, path: &Path) -> Result<(), Errno> {
    use std::os::fd::AsRawFd;

    let link = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    let here = rustix::fs::CWD;
    match rustix::fs::linkat(here, link, here, path, AtFlags::SYMLINK_FOLLOW) {
        // Without /proc the descriptor itself can be linked, given the privilege.
        Err(Errno::NOENT) => rustix::fs::linkat(descriptor, "", here, path, AtFlags::EMPTY_PATH),
        other => other,
    }
}

#[cfg(not(target_os = "linux"))]
fn link_unnamed(_descriptor: &OwnedFd, _path: &Path) -> Result<(), Errno> {
    Err(Errno::NOSYS)
}

/// Renames unless the new name is taken.
#[cfg(target_os = "linux")]
fn rename_to_new(provisional: &Path, path: &Path) -> Result<(), Errno> {
    let here = rustix::fs::CWD;
    rustix::fs::renameat_with(here, provisional, here, path, rustix::fs::RenameFlags::NOREPLACE)
}

/// Links and unlinks: an attacher in between sees two links, refuses, and may try again.
#[cfg(not(target_os = "linux"))]
fn rename_to_new(provisional: &Path, path: &Path) -> Result<(), Errno> {
    let here = rustix::fs::CWD;
    rustix::fs::linkat(here, provisional, here, path, AtFlags::empty())?;
    rustix::fs::unlink(provisional)
}

#[cfg(target_os = "linux")]
mod memory_descriptor {
    use std::path::PathBuf;

    use rustix::fs::{MemfdFlags, SealFlags};

    use super::{Access, Descriptor, MappedMemory, SegmentError, allocate, io_error, room};
    use crate::mapped::options::MappingOptions;

    /// What nobody may do to a memory descriptor any more, once it has its size.
    pub(in crate::mapped) const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

    impl MappedMemory {
        /// Makes a memory of `bytes` zero bytes, all of them allocated, that has no path: other
        /// processes inherit its descriptor or get it sent, and attach with
        /// [`attach_descriptor`](Self::attach_descriptor). Its size is sealed.
        ///
        /// `name` appears in `/proc` only. The descriptor is closed on exec.
        ///
        /// # Errors
        ///
        /// [`SegmentError::Size`] for sizes that cannot be or for which there is no memory,
        /// [`SegmentError::Io`].
        pub fn memfd(
            name: &str,
            bytes: u64,
            options: &MappingOptions,
        ) -> Result<Self, SegmentError> {
            let path = PathBuf::from(format!("<memfd {name}>"));
            room::check_shape(bytes)?;
            room::check_memory(bytes)?;
            let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
            let descriptor =
                rustix::fs::memfd_create(name, flags).map_err(io_error(&path, "create"))?;
            allocate(&descriptor, &path, bytes)?;
            rustix::fs::fcntl_add_seals(&descriptor, SEALS | SealFlags::SEAL)
                .map_err(io_error(&path, "seal"))?;
            let descriptor = Descriptor::new(descriptor).map_err(io_error(&path, "look at it"))?;
            Self::map(descriptor, &path, bytes, Access::ReadWrite, options)
        }
    }
}

#[cfg(target_os = "linux")]
pub(super) use memory_descriptor::SEALS;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{CreateOptions, Draft, SegmentError};

    fn named_draft(path: &Path) -> Draft {
        let draft = Draft::open_named(path, path.parent().unwrap()).unwrap();
        draft.allocate(path, 4096, &CreateOptions::default()).unwrap();
        draft
    }

    fn files_in(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn a_draft_with_a_hidden_name_is_renamed_into_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("segment");
        let draft = named_draft(&path);
        assert!(!path.exists());
        draft.publish(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 4096);
        assert_eq!(files_in(directory.path()), 1);
    }

    #[test]
    fn a_draft_with_a_hidden_name_never_replaces_a_file_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("segment");
        let (first, second) = (named_draft(&path), named_draft(&path));
        first.publish(&path).unwrap();
        fs::write(&path, "winner").unwrap();
        assert!(matches!(second.publish(&path), Err(SegmentError::Exists { .. })));
        drop(named_draft(&path));
        assert_eq!(fs::read(&path).unwrap(), b"winner");
        assert_eq!(files_in(directory.path()), 1);
    }
}
