//! The shipped memory: words of a file that processes map.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use memmap2::{Advice, MmapOptions, MmapRaw};

#[cfg(target_os = "linux")]
use super::beacon;
use super::copy::Lanes;
use super::descriptor::Descriptor;
#[cfg(target_os = "linux")]
use super::file_system::FileSystem;
use super::options::{Access, Grant, MappingOptions, MappingReport};
use super::{io_error, smaps};
use crate::error::SegmentError;
use crate::memory::{Fence, Load, Memory, Offset, Rmw, Store};
use crate::words::{Word, word_methods};

/// Words of a shared mapping: of a file, or of a memory descriptor without a name.
///
/// An access is one bounds check and the instruction itself; bulk copies use the widest lanes that
/// the processor has. Writing through a read-only mapping is a defect of the caller and panics
/// before anything is touched.
#[derive(Debug)]
pub struct MappedMemory {
    base: NonNull<Word>,
    word_count: usize,
    /// As `word_count`, or 0 where the mapping is read-only: the bounds check of a write is the
    /// check of the permission.
    word_count_writable: usize,
    lanes: Lanes,
    mapping: MmapRaw,
    descriptor: Descriptor,
    path: PathBuf,
    report: MappingReport,
}

// SAFETY: `base` points into `mapping`, which the value owns and which stays where it is when the
// value moves to another thread; everything else is `Send`.
unsafe impl Send for MappedMemory {}

// SAFETY: shared references reach the words as atomics or by the copies of `Lanes`, which may run
// beside any other access; no method hands out the pointer.
unsafe impl Sync for MappedMemory {}

impl MappedMemory {
    /// Maps a file of exactly `bytes` bytes, which the caller has checked: not 0, a multiple of 8.
    pub(super) fn map(
        descriptor: Descriptor,
        path: &Path,
        bytes: u64,
        access: Access,
        options: &MappingOptions,
    ) -> Result<Self, SegmentError> {
        let length = usize::try_from(bytes).map_err(|_| SegmentError::Size {
            quantity: "segment bytes",
            value: bytes,
            problem: format!("more than an address can reach ({})", usize::MAX),
        })?;
        let mut request = MmapOptions::new();
        request.len(length);
        let mapping = match access {
            Access::ReadWrite => request.map_raw(&descriptor.as_fd()),
            Access::ReadOnly => request.map_raw_read_only(&descriptor.as_fd()),
        }
        .map_err(io_error(path, "map"))?;
        let base = NonNull::new(mapping.as_mut_ptr().cast::<Word>())
            .expect("a mapping does not start at address 0");
        assert!(base.is_aligned(), "a mapping starts at a page");
        let word_count = length / size_of::<Word>();
        let report = MappingReport {
            excluded_from_dumps: exclude_from_dumps(&mapping),
            locked: Grant::ask(options.lock, || mapping.lock()),
            huge_pages: Grant::ask(options.huge_pages, || advise_huge_pages(&mapping)),
        };
        let memory = Self {
            base,
            word_count,
            word_count_writable: if access == Access::ReadWrite {
                word_count
            } else {
                0
            },
            lanes: Lanes::detect(),
            mapping,
            descriptor,
            path: path.to_owned(),
            report,
        };
        memory.check_overlay()?;
        Ok(memory)
    }

    /// What the name of a stacked file system does not tell: whether locks work as they have to.
    #[cfg(target_os = "linux")]
    fn check_overlay(&self) -> Result<(), SegmentError> {
        let statfs = rustix::fs::fstatfs(self.descriptor.as_fd())
            .map_err(io_error(&self.path, "ask for its file system"))?;
        if FileSystem::from_statfs(&statfs) != FileSystem::Overlay {
            return Ok(());
        }
        beacon::self_test(&self.descriptor, &self.path, self.is_writable())
    }

    #[cfg(not(target_os = "linux"))]
    fn check_overlay(&self) -> Result<(), SegmentError> {
        Ok(())
    }

    /// Whether this mapping may be written.
    pub fn is_writable(&self) -> bool {
        self.word_count_writable != 0
    }

    /// Which implementation copies and compares many words at once, for reports: `avx512`, `avx2`,
    /// `sse2` or `words`.
    pub fn copy_kind(&self) -> &'static str {
        self.lanes.name()
    }

    /// What the system granted beyond the mapping itself.
    pub fn report(&self) -> &MappingReport {
        &self.report
    }

    /// Bytes of the mapping that lie in huge pages at this instant, as the kernel counts them.
    ///
    /// Pages count once they have been touched. An error where the system does not tell.
    pub fn huge_bytes(&self) -> io::Result<u64> {
        smaps::huge_bytes(self.mapping.as_ptr().addr())
    }

    /// The file's path when it was mapped, or a name in angle brackets where it has none.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The descriptor of the file, to be passed to another process, which attaches through it.
    ///
    /// An error if somebody closed it behind this memory's back, as `closefrom` does; the mapping
    /// stays usable.
    pub fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        self.descriptor.verified()
    }

    pub(super) fn file(&self) -> &Descriptor {
        &self.descriptor
    }

    #[inline(always)]
    fn words(&self) -> &[Word] {
        // SAFETY: `base` is aligned and `word_count` words from it lie in `mapping`, which lives as
        // long as `self`; a file that shrinks is excluded by the module's trust statement. Words are
        // atomics for which every bit pattern is valid, so other processes may change them at any
        // time. The length in bytes is that of a mapping, which is below `isize::MAX`.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.word_count) }
    }

    /// The words that may be written: all or none.
    #[inline(always)]
    fn words_writable(&self) -> &[Word] {
        // SAFETY: as in `words`; `word_count_writable` is not above `word_count`.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.word_count_writable) }
    }
}

impl Memory for MappedMemory {
    word_methods!(words_writable);
}

/// A segment holds secrets; a core dump is no place for them.
#[cfg(target_os = "linux")]
fn exclude_from_dumps(mapping: &MmapRaw) -> Grant {
    Grant::ask(true, || mapping.advise(Advice::DontDump))
}

#[cfg(not(target_os = "linux"))]
fn exclude_from_dumps(_mapping: &MmapRaw) -> Grant {
    Grant::Refused("this system has no advice against dumping".to_owned())
}

#[cfg(target_os = "linux")]
fn advise_huge_pages(mapping: &MmapRaw) -> io::Result<()> {
    mapping.advise(Advice::HugePage)
}

#[cfg(not(target_os = "linux"))]
fn advise_huge_pages(_mapping: &MmapRaw) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
