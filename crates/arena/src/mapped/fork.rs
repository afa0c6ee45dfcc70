//! Notices that a value made by one process is used by its forked child.

use std::io;

use memmap2::{MmapMut, MmapOptions};

/// Tells whether this process is the one that made it, or a child forked since.
#[derive(Debug)]
pub(super) struct ForkWatch {
    page: MmapMut,
}

impl ForkWatch {
    /// Takes one page, which the kernel fills with zeros in a child.
    pub(super) fn new() -> io::Result<Self> {
        let mut page = MmapOptions::new().len(rustix::param::page_size()).map_anon()?;
        // SAFETY: the range is exactly the private anonymous mapping just made; the advice changes
        // what a child gets, nothing here.
        let answer =
            unsafe { libc::madvise(page.as_mut_ptr().cast(), page.len(), libc::MADV_WIPEONFORK) };
        if answer == -1 {
            return Err(io::Error::last_os_error());
        }
        page[0] = 1;
        Ok(Self { page })
    }

    /// Whether this process was forked from the one that made this.
    pub(super) fn is_child(&self) -> bool {
        // SAFETY: the byte is in the mapping and initialised. A read that is not volatile could be
        // moved across a call that forks; between processes it is no race, since a private page is
        // written by nobody after `new`.
        unsafe { self.page.as_ptr().read_volatile() == 0 }
    }
}
