//! Notices that a value made by one process is used by its forked child.
//!
//! One word of the process lies on a page that the kernel fills with zeros in a child. While it is
//! not zero it is the process's *epoch*; the first value that a child makes sets the child's own.
//! So a value that carries the epoch of its maker is at home where the word still says so, which
//! one load of a line that nobody writes tells. Where the kernel has no such pages (Linux before
//! 4.14, other systems) the process's number takes the word's place, at the price of a system call.
//!
//! A child that shares its parent's memory (`vfork`, `clone` with `CLONE_VM`) is no child here but
//! another thread.

use std::io;

use memmap2::{MmapMut, MmapOptions};

use crate::words::{Word, WordPointer, advance, load_relaxed, set_if_zero};

/// The process that made a value, for the value to notice that a forked child uses it.
#[derive(Clone, Copy, Debug)]
pub struct ForkEpoch {
    /// The process's word; `None` where there is none that a fork wipes.
    word: Option<&'static Word>,
    made: u64,
}

impl ForkEpoch {
    /// Of this process.
    pub fn here() -> Self {
        match word() {
            Some(word) => Self { word: Some(word), made: epoch(word) },
            None => Self::by_process_id(),
        }
    }

    fn by_process_id() -> Self {
        Self { word: None, made: std::process::id().into() }
    }

    /// Whether this process is a child, at any remove, of the one that made this: one load.
    #[inline(always)]
    pub fn is_inherited(&self) -> bool {
        match self.word {
            Some(word) => load_relaxed(word) != self.made,
            None => self.differs_from_process_id(),
        }
    }

    #[cold]
    fn differs_from_process_id(&self) -> bool {
        u64::from(std::process::id()) != self.made
    }
}

/// The epoch of this process; one that none of its ancestors had, where it had none yet.
fn epoch(word: &Word) -> u64 {
    static LAST: Word = Word::new(0);
    // A child has a copy of what its parent counted.
    set_if_zero(word, || advance(&LAST))
}

/// The word of this process, made once; `None` where the kernel refuses.
fn word() -> Option<&'static Word> {
    // A lock in its place could be one that another thread held at the fork.
    static PAGE: WordPointer = WordPointer::empty();
    if let Some(word) = shared(PAGE.get()) {
        return Some(word);
    }
    let page = wiped_page().ok()?;
    let pointer: *const Word = page.as_ptr().cast();
    if PAGE.set(pointer.cast_mut()) {
        // For as long as the process lives.
        std::mem::forget(page);
    }
    shared(PAGE.get())
}

/// The word at an address that [`word`] set, if it did.
fn shared(pointer: *mut Word) -> Option<&'static Word> {
    // SAFETY: null, or the start of a page that `word` mapped for good and gave away: aligned,
    // zeroed at first, reached through atomic words alone. A fork keeps it mapped in the child.
    unsafe { pointer.as_ref() }
}

/// A page of this process, which the kernel fills with zeros in a child.
fn wiped_page() -> io::Result<MmapMut> {
    let mut page = MmapOptions::new().len(rustix::param::page_size()).map_anon()?;
    #[cfg(target_os = "linux")]
    let advice = libc::MADV_WIPEONFORK;
    #[cfg(not(target_os = "linux"))]
    let advice = -1;
    // SAFETY: the range is exactly the private anonymous mapping just made; the advice changes
    // what a child gets, nothing here.
    let answer = unsafe { libc::madvise(page.as_mut_ptr().cast(), page.len(), advice) };
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(page) }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::mapped::process_tests::{ends_well, fork};

    /// A child's child makes values of its own and knows those of both ancestors.
    fn assert_notices_forks(here: fn() -> ForkEpoch) {
        let mine = here();
        assert!(!mine.is_inherited() && !here().is_inherited());
        let child = fork(move || {
            assert!(mine.is_inherited(), "a child's first look");
            let childs = here();
            assert!(!childs.is_inherited() && mine.is_inherited());
            let grandchild = fork(move || {
                assert!(mine.is_inherited() && childs.is_inherited());
                assert!(!here().is_inherited());
                assert!(mine.is_inherited() && childs.is_inherited());
            });
            ends_well(grandchild);
        });
        ends_well(child);
        assert!(!mine.is_inherited(), "the parent goes on");
    }

    #[test]
    fn children_and_theirs_notice_what_they_inherited() {
        assert!(ForkEpoch::here().word.is_some(), "this kernel wipes pages");
        assert_notices_forks(ForkEpoch::here);
    }

    #[test]
    fn the_process_id_serves_where_no_page_is_wiped() {
        assert_notices_forks(ForkEpoch::by_process_id);
    }
}
