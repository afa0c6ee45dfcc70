//! What the limits are made of: memory reached without any check.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::AtomicU64;

use memmap2::{MmapOptions, MmapRaw};

/// A mapping of a file, reached as bare atomics and by the C library's copy: what the memory of a
/// table is compared with.
#[derive(Debug)]
pub struct BareMemory {
    mapping: MmapRaw,
}

impl BareMemory {
    /// Maps the whole file behind a descriptor.
    ///
    /// # Errors
    ///
    /// What the system answers.
    pub fn map(descriptor: BorrowedFd<'_>, bytes: usize) -> io::Result<Self> {
        Ok(Self {
            mapping: MmapOptions::new()
                .len(bytes)
                .map_raw(descriptor.as_raw_fd())?,
        })
    }

    /// The word with this index, which must lie in the mapping; only debug builds check.
    #[inline(always)]
    pub fn word(&self, index: usize) -> &AtomicU64 {
        debug_assert!(index < self.mapping.len() / 8);
        // SAFETY: the word lies in the mapping, whose start is aligned, for callers that keep the
        // contract above; the benches, the only ones, take indexes from their own plans. Every bit
        // pattern is valid, and all other accesses during a comparison are atomic or reads.
        unsafe {
            &*self
                .mapping
                .as_ptr()
                .cast::<AtomicU64>()
                .wrapping_add(index)
        }
    }

    /// Copies bytes out with the C library, starting at this word; only debug builds check.
    #[inline(always)]
    pub fn copy_out(&self, index: usize, out: &mut [u8]) {
        debug_assert!(index * 8 + out.len() <= self.mapping.len());
        let source = self.mapping.as_ptr().wrapping_add(index * 8);
        // SAFETY: the range lies in the mapping as for `word`; nobody writes to it during the copy,
        // which is why this is a limit and not a memory that tables could use.
        unsafe { std::ptr::copy_nonoverlapping(source, out.as_mut_ptr(), out.len()) };
    }

    /// Copies bytes in with the C library, starting at this word; only debug builds check.
    #[inline(always)]
    pub fn copy_in(&self, index: usize, bytes: &[u8]) {
        debug_assert!(index * 8 + bytes.len() <= self.mapping.len());
        let target = self.mapping.as_mut_ptr().wrapping_add(index * 8);
        // SAFETY: as in `copy_out`, the other way round.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len()) };
    }
}
