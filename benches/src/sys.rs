//! The unsafe part of the benches: processor clock, mappings, the process-shared mutex, LMDB.
//!
//! What is trusted: other processes that reach a [`Region`] or a [`LockedRegion`] are workers of
//! the same run and execute this same code; nobody else knows the paths.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use memmap2::{Mmap, MmapMut, MmapOptions, MmapRaw};

/// Ticks of the processor's clock; elsewhere nanoseconds of the monotonic clock.
#[inline(always)]
pub fn ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: reading the time stamp counter touches no memory and every x86-64 has it; that
        // user code may read it is the default of Linux, and a kernel that forbids it kills us.
        unsafe { std::arch::x86_64::_rdtsc() }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        use std::sync::LazyLock;
        use std::time::Instant;
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// As [`ticks`], after everything before it has finished and before anything after it starts.
#[inline(always)]
pub fn ticks_fenced() -> u64 {
    execution_fence();
    let now = ticks();
    execution_fence();
    now
}

#[inline(always)]
fn execution_fence() {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: the instruction is part of SSE2, which every x86-64 has; it touches no memory.
        unsafe { std::arch::x86_64::_mm_lfence() };
    }
}

/// Asks the processor to bring the lines of these bytes near; their content does not matter.
#[inline(always)]
pub fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for line in bytes.chunks(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the instruction is part of SSE, which every x86-64 has; a prefetch reads nothing
        // that the program can see and never faults, and the address is that of a live slice.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}

/// How often the kernel took the processor away from the calling thread while it wanted to run.
pub fn preemptions() -> u64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a live, writable value of the type that the call fills.
    let answer = unsafe { libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) };
    // SAFETY: an all-zero `rusage` is valid (integers only), whether or not the call filled it.
    let usage = unsafe { usage.assume_init() };
    if answer == 0 { u64::try_from(usage.ru_nivcsw).unwrap_or(0) } else { 0 }
}

/// Makes the kernel kill this process when its parent dies; an error if the parent is gone.
pub fn die_with_parent(parent: u32) -> io::Result<()> {
    // SAFETY: this request takes one integer and changes nothing but the signal at parent's death.
    let answer = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    // The parent may have died before the request was made.
    if std::os::unix::process::parent_id() != parent {
        return Err(io::Error::other("the process that started this worker is gone"));
    }
    Ok(())
}

/// Binds the calling thread to the `index`-th of the processors that it may use, if there are so
/// many; says whether it did.
pub fn pin_to_processor(index: usize) -> bool {
    let mut allowed = std::mem::MaybeUninit::<libc::cpu_set_t>::zeroed();
    let bytes = size_of::<libc::cpu_set_t>();
    // SAFETY: the buffer is of the type and size that the call fills; 0 means this thread.
    let answer = unsafe { libc::sched_getaffinity(0, bytes, allowed.as_mut_ptr()) };
    // SAFETY: an all-zero set is valid (it is empty), whether or not the call filled it.
    let allowed = unsafe { allowed.assume_init() };
    if answer != 0 {
        return false;
    }
    let processors = (0..bytes * 8).filter(|&processor| {
        // SAFETY: the number is below the size of the set.
        unsafe { libc::CPU_ISSET(processor, &allowed) }
    });
    let Some(chosen) = processors.into_iter().nth(index) else {
        return false;
    };
    // SAFETY: an all-zero set is valid: it is empty.
    let mut only = unsafe { std::mem::zeroed::<libc::cpu_set_t>() };
    // SAFETY: the number came out of a set of the same size.
    unsafe { libc::CPU_SET(chosen, &mut only) };
    // SAFETY: the set is initialised and of the size that is told; 0 means this thread.
    unsafe { libc::sched_setaffinity(0, bytes, &only) == 0 }
}

/// Bytes that can still be written below a path, or `None` if the system does not say.
pub fn free_bytes(path: &Path) -> Option<u64> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut system = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the path is a terminated string and the buffer is of the type that the call fills.
    let answer = unsafe { libc::statvfs(path.as_ptr(), system.as_mut_ptr()) };
    // SAFETY: an all-zero `statvfs` is valid (integers only), whether or not the call filled it.
    let system = unsafe { system.assume_init() };
    (answer == 0).then(|| system.f_bavail.saturating_mul(system.f_frsize))
}

/// Makes an unnamed file in memory of this many bytes, all zero.
pub fn memory_file(bytes: u64) -> io::Result<File> {
    // SAFETY: the name is a terminated string; the call gives a descriptor or -1.
    let descriptor = unsafe { libc::memfd_create(c"shm-bench".as_ptr(), libc::MFD_CLOEXEC) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open, was made by the call above and belongs to nobody else.
    let file = unsafe { File::from_raw_fd(descriptor) };
    file.set_len(bytes)?;
    Ok(file)
}

/// Bytes shared with other processes and written by one of them, before the others map it.
#[derive(Debug)]
pub struct Region {
    file: File,
    path: Option<PathBuf>,
    map: MmapMut,
}

impl Region {
    /// Makes a zeroed region, in a file if a path is given, else in an unnamed one.
    pub fn create(path: Option<&Path>, bytes: usize) -> io::Result<Self> {
        let file = match path {
            Some(path) => OpenOptions::new().read(true).write(true).create_new(true).open(path)?,
            None => memory_file(0)?,
        };
        file.set_len(bytes as u64)?;
        // SAFETY: the file is new and only workers of this run reach it; they map it for reading
        // after this process has stopped writing (rows that write later are private).
        let map = unsafe { MmapOptions::new().len(bytes).map_mut(&file)? };
        Ok(Self { file, path: path.map(Path::to_path_buf), map })
    }

    /// The bytes.
    #[inline(always)]
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// The bytes, to write.
    #[inline(always)]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.map
    }

    /// A path by which other processes of the run open the region while this one lives.
    pub fn address(&self) -> PathBuf {
        self.path.clone().unwrap_or_else(|| address_of(&self.file))
    }
}

/// Bytes that nobody writes any more.
#[derive(Debug)]
pub struct FrozenRegion {
    map: Mmap,
}

impl FrozenRegion {
    /// Maps a region that its creator has finished writing.
    pub fn open(address: &Path) -> io::Result<Self> {
        let file = File::open(address)?;
        // SAFETY: the creator has finished writing before it gave the address away, and only
        // workers of this run know it.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self { map })
    }

    /// The bytes.
    #[inline(always)]
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }
}

/// A path that opens the same file again from any process of this user, while this one lives.
pub fn address_of(file: &impl AsRawFd) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()))
}

/// Bytes that processes share under a process-shared `pthread_mutex_t` in front of them.
#[derive(Debug)]
pub struct LockedRegion {
    base: NonNull<u8>,
    bytes: usize,
    file: File,
    path: Option<PathBuf>,
    // Keeps the mapping; `base` points into it.
    _map: MmapRaw,
}

// SAFETY: the mapping is shared memory, reachable from any thread, and every access to it holds the
// mutex.
unsafe impl Send for LockedRegion {}

/// Bytes kept for the mutex, a cache line of its own.
const MUTEX_BYTES: usize = 64;
const _: () = assert!(size_of::<libc::pthread_mutex_t>() <= MUTEX_BYTES);

impl LockedRegion {
    /// Makes a zeroed region with an unlocked mutex.
    pub fn create(path: Option<&Path>, bytes: usize) -> io::Result<Self> {
        let file = match path {
            Some(path) => OpenOptions::new().read(true).write(true).create_new(true).open(path)?,
            None => memory_file(0)?,
        };
        file.set_len((MUTEX_BYTES + bytes) as u64)?;
        let region = Self::map(file, path.map(Path::to_path_buf))?;
        region.initialise_mutex()?;
        Ok(region)
    }

    /// Joins a region that another worker made.
    pub fn open(address: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(address)?;
        Self::map(file, Some(address.to_path_buf()))
    }

    fn map(file: File, path: Option<PathBuf>) -> io::Result<Self> {
        let map = MmapOptions::new().map_raw(&file)?;
        let base = NonNull::new(map.as_mut_ptr()).ok_or_else(|| io::Error::other("no mapping"))?;
        let bytes = map.len() - MUTEX_BYTES;
        Ok(Self { base, bytes, file, path, _map: map })
    }

    fn mutex(&self) -> *mut libc::pthread_mutex_t {
        self.base.as_ptr().cast()
    }

    fn initialise_mutex(&self) -> io::Result<()> {
        let mut attributes = std::mem::MaybeUninit::<libc::pthread_mutexattr_t>::zeroed();
        // SAFETY: the pointer is to a live value of the type that the call initialises.
        check(unsafe { libc::pthread_mutexattr_init(attributes.as_mut_ptr()) })?;
        let shared = libc::PTHREAD_PROCESS_SHARED;
        // SAFETY: the attributes were initialised above.
        check(unsafe { libc::pthread_mutexattr_setpshared(attributes.as_mut_ptr(), shared) })?;
        // SAFETY: the mutex lies in the page-aligned front of the mapping, which nobody else
        // has been told of; the attributes were initialised above.
        check(unsafe { libc::pthread_mutex_init(self.mutex(), attributes.as_ptr()) })
    }

    /// Runs a function on the bytes while holding the mutex.
    #[inline(always)]
    pub fn with<T>(&self, run: impl FnOnce(&mut [u8]) -> T) -> T {
        // SAFETY: the mutex was initialised by the creator before it gave the address away.
        let locked = unsafe { libc::pthread_mutex_lock(self.mutex()) };
        assert_eq!(locked, 0, "a default mutex locks, unless it was damaged");
        let release = Release(self.mutex());
        // SAFETY: the mapping holds the mutex and `bytes` bytes behind it and lives as long as
        // `self`; every access anywhere holds the mutex, so that nobody else reads or writes while
        // the reference lives.
        let bytes = unsafe {
            std::slice::from_raw_parts_mut(self.base.as_ptr().wrapping_add(MUTEX_BYTES), self.bytes)
        };
        let answer = run(bytes);
        drop(release);
        answer
    }

    /// A path by which other processes of the run open the region while this one lives.
    pub fn address(&self) -> PathBuf {
        self.path.clone().unwrap_or_else(|| address_of(&self.file))
    }
}

/// Gives the mutex back, also when the function on the bytes panics.
struct Release(*mut libc::pthread_mutex_t);

impl Drop for Release {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: the calling thread holds this mutex: the value is made right after it was locked.
        let unlocked = unsafe { libc::pthread_mutex_unlock(self.0) };
        debug_assert_eq!(unlocked, 0, "the owner unlocks");
    }
}

fn check(answer: libc::c_int) -> io::Result<()> {
    if answer == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(answer)) }
}

/// Opens an LMDB environment as fast as it goes without durability: one writable mapping, no
/// synchronisation with the disk, no read-ahead.
pub fn open_lmdb(directory: &Path, map_bytes: usize) -> heed::Result<heed::Env> {
    use heed::{EnvFlags, EnvOpenOptions};
    let mut options = EnvOpenOptions::new();
    options.map_size(map_bytes).max_readers(64);
    let flags =
        EnvFlags::WRITE_MAP | EnvFlags::NO_SYNC | EnvFlags::NO_META_SYNC | EnvFlags::NO_READ_AHEAD;
    // SAFETY: these flags give up durability, not exclusion; the content dies with the run.
    unsafe { options.flags(flags) };
    // SAFETY: the directory is new, on a local file system, and reached only by workers of this
    // run through this same library, each of which opens it once.
    unsafe { options.open(directory) }
}

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
        Ok(Self { mapping: MmapOptions::new().len(bytes).map_raw(descriptor.as_raw_fd())? })
    }

    /// The word with this index, which must lie in the mapping; only debug builds check.
    #[inline(always)]
    pub fn word(&self, index: usize) -> &AtomicU64 {
        debug_assert!(index < self.mapping.len() / 8);
        // SAFETY: the word lies in the mapping, whose start is aligned, for callers that keep the
        // contract above; the benches, the only ones, take indexes from their own plans. Every bit
        // pattern is valid, and all other accesses during a comparison are atomic or reads.
        unsafe { &*self.mapping.as_ptr().cast::<AtomicU64>().wrapping_add(index) }
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
