//! The shipped memory: words of a file that processes map.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;

use memmap2::{Advice, MmapOptions, MmapRaw};

#[cfg(target_os = "linux")]
use super::beacon;
use super::copy::{self, Lanes};
use super::descriptor::Descriptor;
#[cfg(target_os = "linux")]
use super::file_system::FileSystem;
use super::options::{Access, Grant, MappingOptions, MappingReport};
use super::{io_error, smaps};
use crate::error::SegmentError;
use crate::line::Line;
use crate::memory::{Fence, Load, Memory, Offset, Rmw, Store, words_touched};
use crate::words::{Word, load_acquire, word_methods};

/// Words of a shared mapping: of a file, or of a memory descriptor without a name.
///
/// An access is one bounds check and the instruction itself; bulk copies use the widest lanes that
/// the processor has. Writing through a read-only mapping is a defect of the caller and panics
/// before anything is touched.
///
/// A clone is another handle on the same mapping, which goes with the last one. A table holds its
/// handle by value: what every access needs is then known not to change during an operation.
#[derive(Clone, Debug)]
pub struct MappedMemory {
    base: NonNull<Word>,
    word_count: usize,
    /// Whole cache lines in the memory.
    line_count: u64,
    /// As `word_count`, or 0 where the mapping is read-only: the bounds check of a write is the
    /// check of the permission.
    word_count_writable: usize,
    lanes: Lanes,
    mapped: Arc<Mapped>,
}

/// What handles on one mapping share.
#[derive(Debug)]
struct Mapped {
    mapping: MmapRaw,
    descriptor: Descriptor,
    path: PathBuf,
    report: MappingReport,
}

// SAFETY: `base` points into `mapped.mapping`, which the value keeps and which stays where it is
// when the value moves to another thread; everything else is `Send`.
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
            line_count: (word_count / 8) as u64,
            word_count_writable: if access == Access::ReadWrite { word_count } else { 0 },
            lanes: Lanes::detect(),
            mapped: Arc::new(Mapped { mapping, descriptor, path: path.to_owned(), report }),
        };
        memory.check_overlay()?;
        Ok(memory)
    }

    /// What the name of a stacked file system does not tell: whether locks work as they have to.
    #[cfg(target_os = "linux")]
    fn check_overlay(&self) -> Result<(), SegmentError> {
        let statfs = rustix::fs::fstatfs(self.mapped.descriptor.as_fd())
            .map_err(io_error(&self.mapped.path, "ask for its file system"))?;
        if FileSystem::from_statfs(&statfs) != FileSystem::Overlay {
            return Ok(());
        }
        beacon::self_test(&self.mapped.descriptor, &self.mapped.path, self.is_writable())
    }

    #[cfg(not(target_os = "linux"))]
    fn check_overlay(&self) -> Result<(), SegmentError> {
        Ok(())
    }

    /// Which implementation copies and compares many words at once, for reports: `avx512`, `avx2`,
    /// `sse2` or `words`.
    pub fn copy_kind(&self) -> &'static str {
        self.lanes.name()
    }

    /// What the system granted beyond the mapping itself.
    pub fn report(&self) -> &MappingReport {
        &self.mapped.report
    }

    /// Bytes of the mapping that lie in huge pages at this instant, as the kernel counts them.
    ///
    /// Pages count once they have been touched. An error where the system does not tell.
    pub fn huge_bytes(&self) -> io::Result<u64> {
        smaps::huge_bytes(self.mapped.mapping.as_ptr().addr())
    }

    /// The file's path when it was mapped, or a name in angle brackets where it has none.
    pub fn path(&self) -> &Path {
        &self.mapped.path
    }

    /// The descriptor of the file, to be passed to another process, which attaches through it.
    ///
    /// An error if somebody closed it behind this memory's back, as `closefrom` does; the mapping
    /// stays usable.
    pub fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        self.mapped.descriptor.verified()
    }

    /// The same memory with other lanes, which the processor has.
    #[cfg(test)]
    pub(super) fn with_lanes(self, lanes: Lanes) -> Self {
        Self { lanes, ..self }
    }

    pub(super) fn file(&self) -> &Descriptor {
        &self.mapped.descriptor
    }

    /// Matches word by word: what few runs need, and out of the way of those that do not.
    #[cold]
    #[inline(never)]
    #[track_caller]
    fn match_words(&self, at: Offset, tag: u32, lanes: u32) -> u32 {
        (0..lanes).fold(0, |matches, lane| {
            let word = self.load(at + u64::from(lane), Load::Relaxed);
            matches | u32::from(word >> 32 == u64::from(tag)) << lane
        })
    }

    #[inline(always)]
    fn words(&self) -> &[Word] {
        // SAFETY: `base` is aligned and `word_count` words from it lie in its mapping, which lives
        // as long as `self`; a file that shrinks is excluded by the module's trust statement. Words
        // are atomics for which every bit pattern is valid, so other processes may change them at
        // any time. The length in bytes is that of a mapping, which is below `isize::MAX`.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.word_count) }
    }

    /// The cache line that starts here; `None` where none starts or the memory ends within it.
    #[inline(always)]
    fn whole_line(&self, at: Offset) -> Option<&[Word; 8]> {
        // The three bits that are 0 in a line's first word become the highest ones.
        if at.word().rotate_right(3) >= self.line_count {
            return None;
        }
        let line = self.base.as_ptr().wrapping_add(index(at.word())).cast::<[Word; 8]>();
        // SAFETY: `at` is 8 times a number below that of the memory's whole lines, so all 8 words
        // lie inside it; that they may be referred to as words is argued in `words`.
        Some(unsafe { &*line })
    }

    /// The words that may be written: all or none.
    #[inline(always)]
    fn words_writable(&self) -> &[Word] {
        // SAFETY: as in `words`; `word_count_writable` is not above `word_count`.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.word_count_writable) }
    }
}

/// The words of a run. A run that does not lie in the memory is a defect of the caller.
#[inline(always)]
#[track_caller]
fn run(words: &[Word], at: Offset, count: usize) -> &[Word] {
    let start = index(at.word());
    match words.get(start..start.wrapping_add(count)) {
        Some(run) => run,
        None => outside(words, at, count),
    }
}

/// What the first of several reads into one vector does, and out of the way of the others.
#[cold]
#[inline(never)]
fn lengthen(out: &mut Vec<u8>, bytes: usize) {
    out.resize(bytes, 0);
}

/// Nothing lies anywhere.
#[cold]
#[track_caller]
fn outside(words: &[Word], at: Offset, count: usize) -> &[Word] {
    assert!(count == 0, "{count} words at {at:?} lie outside the {} that there are", words.len());
    &[]
}

impl Memory for MappedMemory {
    word_methods!(words_writable);

    #[inline(always)]
    fn is_writable(&self) -> bool {
        self.word_count_writable != 0
    }

    #[inline]
    #[track_caller]
    fn read_bytes(&self, at: Offset, out: &mut [u8]) {
        self.lanes.read(run(self.words(), at, words_touched(out.len())), out);
    }

    #[inline(always)]
    #[track_caller]
    fn read_vec(&self, at: Offset, bytes: usize, out: &mut Vec<u8>) -> bool {
        let start = index(at.word());
        let Some(run) = self.words().get(start..start.wrapping_add(words_touched(bytes))) else {
            return false;
        };
        if out.len() != bytes {
            out.truncate(bytes);
            if out.len() < bytes {
                lengthen(out, bytes);
            }
        }
        self.lanes.read(run, out);
        true
    }

    #[inline]
    #[track_caller]
    fn write_bytes(&self, at: Offset, bytes: &[u8]) {
        self.lanes.write(run(self.words_writable(), at, words_touched(bytes.len())), bytes);
    }

    #[inline(always)]
    #[track_caller]
    fn write_zeros(&self, at: Offset, words: u64) {
        let count = usize::try_from(words).unwrap_or(usize::MAX);
        self.lanes.zero(run(self.words_writable(), at, count));
    }

    #[inline(always)]
    #[track_caller]
    fn equals(&self, at: Offset, bytes: &[u8]) -> bool {
        let start = index(at.word());
        let run = self.words().get(start..start.wrapping_add(words_touched(bytes.len())));
        run.is_some_and(|run| self.lanes.equals(run, bytes))
    }

    #[inline(always)]
    #[track_caller]
    fn match_tags(&self, at: Offset, tag: u32, lanes: u32) -> u32 {
        debug_assert!(lanes <= 8, "a match covers at most one line");
        // Wide only where the run starts a line, which is then read whole: a run that crosses into
        // a second line would wait for a second miss.
        match self.whole_line(at) {
            Some(line) => self.lanes.match_line(line, tag) & ((1 << lanes) - 1),
            None => self.match_words(at, tag, lanes),
        }
    }

    #[inline(always)]
    #[track_caller]
    fn load_and_match(&self, at: Offset, tag: u32) -> (u64, u32) {
        match self.whole_line(at) {
            Some(line) => (load_acquire(&line[0]), self.lanes.match_line(line, tag)),
            None => (self.load(at, Load::Acquire), self.match_words(at, tag, 8)),
        }
    }

    #[inline(always)]
    fn line(&self, at: Offset) -> Option<Line<'_, Self>> {
        self.whole_line(at).map(|words| Line::of(self, at, words))
    }

    #[inline(always)]
    fn prefetch(&self, at: Offset, words: u64) {
        let first = self.base.as_ptr().wrapping_add(index(at.word()));
        for line in 0..index(words.div_ceil(8)) {
            copy::prefetch(first.wrapping_add(8 * line));
        }
    }

    #[inline(always)]
    fn prefetch_to_write(&self, at: Offset, words: u64) {
        let first = self.base.as_ptr().wrapping_add(index(at.word()));
        for line in 0..index(words.div_ceil(8)) {
            copy::prefetch_to_write(first.wrapping_add(8 * line));
        }
    }
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "segments exist on 64-bit machines alone")]
const fn index(word: u64) -> usize {
    word as usize
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
