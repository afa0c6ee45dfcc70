//! The one way to shared state: an array of 64-bit words behind a trait.
//!
//! Everything that processes share lives in such an array. The shipped memory is a mapping; model
//! checkers, counters and fault injectors are other implementations, and the code above cannot tell
//! them apart. That is how the code that ships is the code that is checked.
//!
//! # Rules
//!
//! - The unit of sharing is a word. Any bit pattern is a valid word: garbage in shared memory may
//!   give a wrong answer or an error value, never undefined behaviour.
//! - Accesses are relaxed, acquire, release or both. Sequential consistency exists only as a fence.
//! - A word on which anyone does a read-modify-write is plainly stored only by a participant that
//!   is ordered after all of those.
//! - A bulk copy is documented as one relaxed access a word, in any order. A copy out is followed
//!   by an acquire fence, a copy in is preceded by a release fence (see [`Memory::read_bytes`]).
//! - An offset outside the memory is a defect of the caller, who range-checks what it reads: every
//!   implementation panics and none accesses anything.

use std::fmt;
use std::ops::Add;

use crate::line::{Line, LineToWrite};

/// Distance from the start of a segment, in words of eight bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(u64);

impl Offset {
    /// The offset of the word with this index.
    #[inline]
    pub const fn new(word: u64) -> Self {
        Self(word)
    }

    /// The index of the word.
    #[inline]
    pub const fn word(self) -> u64 {
        self.0
    }
}

impl Add<u64> for Offset {
    type Output = Self;

    /// The offset that lies `words` further on; wraps, so that a sum of garbage is only out of
    /// range.
    #[inline]
    fn add(self, words: u64) -> Self {
        Self(self.0.wrapping_add(words))
    }
}

impl fmt::Debug for Offset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "word {}", self.0)
    }
}

/// Order of a load.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Load {
    /// No order.
    Relaxed,
    /// What precedes the release that stored the value is visible after this load.
    Acquire,
}

/// Order of a store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Store {
    /// No order.
    Relaxed,
    /// What precedes this store is visible to whoever acquires the value.
    Release,
}

/// Order of a read-modify-write that succeeds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Rmw {
    /// No order.
    Relaxed,
    /// As [`Load::Acquire`].
    Acquire,
    /// As [`Store::Release`].
    Release,
    /// Both.
    AcqRel,
}

/// Order of a fence.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fence {
    /// Earlier relaxed loads acquire.
    Acquire,
    /// Later relaxed stores release.
    Release,
    /// Both.
    AcqRel,
    /// Both, and one order of all such fences on which everybody agrees. The only sequentially
    /// consistent operation there is.
    SeqCst,
}

/// How long one caller has been waiting: passed to [`Memory::spin`], new for each wait.
pub type Backoff = crossbeam_utils::Backoff;

/// Words that so many bytes touch, or one less for the seven largest numbers, which no memory has:
/// in fewer instructions than with a look at the remainder.
#[inline(always)]
pub(crate) const fn words_touched(bytes: usize) -> usize {
    bytes.saturating_add(7) / 8
}

/// An array of shared 64-bit words.
///
/// Methods are `#[track_caller]` so that a checking implementation can name the call site. In the
/// mapped memory everything is inlined and the location costs nothing.
///
/// Progress: every method is wait-free, but for [`spin`](Memory::spin), which may give up the
/// processor.
pub trait Memory: fmt::Debug + Send + Sync {
    /// Number of words.
    fn word_count(&self) -> u64;

    /// Whether stores reach the words. Where not, every method that stores panics: callers ask
    /// when they attach and never store through such a memory.
    fn is_writable(&self) -> bool {
        true
    }

    /// Whether all words lie in the memory that so many bytes from a word on touch.
    fn contains(&self, at: Offset, bytes: usize) -> bool {
        let end = at.word().checked_add(words_touched(bytes) as u64);
        end.is_some_and(|end| end <= self.word_count())
    }

    /// Reads one word.
    #[track_caller]
    fn load(&self, at: Offset, order: Load) -> u64;

    /// Writes one word.
    #[track_caller]
    fn store(&self, at: Offset, value: u64, order: Store);

    /// Writes `new` if the word is `current`; gives the word that was there, as `Ok` if it was
    /// written. Never fails spuriously.
    #[track_caller]
    fn compare_exchange(
        &self,
        at: Offset,
        current: u64,
        new: u64,
        success: Rmw,
        failure: Load,
    ) -> Result<u64, u64>;

    /// Adds, wrapping; gives the word that was there.
    #[track_caller]
    fn fetch_add(&self, at: Offset, value: u64, order: Rmw) -> u64;

    /// Keeps the bits of `value`; gives the word that was there.
    #[track_caller]
    fn fetch_and(&self, at: Offset, value: u64, order: Rmw) -> u64;

    /// Sets the bits of `value`; gives the word that was there.
    #[track_caller]
    fn fetch_or(&self, at: Offset, value: u64, order: Rmw) -> u64;

    /// Orders this participant's accesses.
    #[track_caller]
    fn fence(&self, order: Fence);

    /// Copies bytes out, starting at a word: one relaxed load a word touched, in any order.
    ///
    /// The bytes of a word are in memory order of the machine. What was read is meaningful only
    /// after an acquire fence and a check that nobody wrote meanwhile.
    #[track_caller]
    fn read_bytes(&self, at: Offset, out: &mut [u8]) {
        for (index, chunk) in (0..).zip(out.chunks_mut(8)) {
            let word = self.load(at + index, Load::Relaxed).to_ne_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    /// As [`read_bytes`](Self::read_bytes), into a vector that becomes as long, if all the words
    /// lie in the memory; otherwise `false`, and the vector is as it was.
    #[track_caller]
    fn read_vec(&self, at: Offset, bytes: usize, out: &mut Vec<u8>) -> bool {
        let is_inside = self.contains(at, bytes);
        if is_inside {
            out.resize(bytes, 0);
            self.read_bytes(at, out);
        }
        is_inside
    }

    /// Copies bytes in, starting at a word: one relaxed store a word touched, in any order, the
    /// rest of the last word zero.
    #[track_caller]
    fn write_bytes(&self, at: Offset, bytes: &[u8]) {
        for (index, chunk) in (0..).zip(bytes.chunks(8)) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.store(at + index, u64::from_ne_bytes(word), Store::Relaxed);
        }
    }

    /// Writes zero to a run of words: one relaxed store a word, in any order, never optimised away.
    #[track_caller]
    fn write_zeros(&self, at: Offset, words: u64) {
        for index in 0..words {
            self.store(at + index, 0, Store::Relaxed);
        }
    }

    /// Whether the bytes that start at a word are these, the rest of the last word being zero: at
    /// most one relaxed load a word. What lies outside the memory equals nothing.
    #[track_caller]
    fn equals(&self, at: Offset, bytes: &[u8]) -> bool {
        self.contains(at, bytes.len())
            && (0..).zip(bytes.chunks(8)).all(|(index, chunk)| {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                self.load(at + index, Load::Relaxed) == u64::from_ne_bytes(word)
            })
    }

    /// Which of up to eight successive words carry this tag in their upper half: bit `i` speaks of
    /// word `at + i`. One relaxed load a word.
    #[track_caller]
    fn match_tags(&self, at: Offset, tag: u32, lanes: u32) -> u32 {
        debug_assert!(lanes <= 8, "a match covers at most one line");
        (0..lanes).fold(0, |matches, lane| {
            let word = self.load(at + u64::from(lane), Load::Relaxed);
            matches | u32::from(word >> 32 == u64::from(tag)) << lane
        })
    }

    /// Reads one word, which acquires, and then matches a tag against it and the seven after it, as
    /// [`match_tags`](Self::match_tags) does; gives both.
    #[track_caller]
    fn load_and_match(&self, at: Offset, tag: u32) -> (u64, u32) {
        (self.load(at, Load::Acquire), self.match_tags(at, tag, 8))
    }

    /// The line that starts here; `None` where none does, or the memory ends within it.
    #[inline(always)]
    fn line(&self, at: Offset) -> Option<Line<'_, Self>>
    where
        Self: Sized,
    {
        (at.word().is_multiple_of(8) && self.contains(at, 64)).then(|| Line::by_words(self, at))
    }

    /// The same of a memory that may be written; `None` also where it may not.
    #[inline(always)]
    fn line_to_write(&self, at: Offset) -> Option<LineToWrite<'_, Self>>
    where
        Self: Sized,
    {
        let line = self.line(at)?;
        self.is_writable().then(|| LineToWrite::of(line))
    }

    /// Asks the processor to bring these words near; no effect on any value.
    fn prefetch(&self, at: Offset, words: u64) {
        let _ = (at, words);
    }

    /// The same for words that will be written: brings near the right to write them as well, which
    /// would else be asked for a second time, of a processor that may be far away.
    fn prefetch_to_write(&self, at: Offset, words: u64) {
        self.prefetch(at, words);
    }

    /// One turn of a bounded wait for somebody else. A model gives way to the others here.
    #[track_caller]
    fn spin(&self, backoff: &Backoff) {
        backoff.snooze();
    }
}

/// Passes a memory on by reference or shared handle, call sites included.
macro_rules! forward_memory {
    ($($implementor:tt)*) => {
        $($implementor)* {
            #[inline(always)]
            fn word_count(&self) -> u64 {
                (**self).word_count()
            }
            #[inline(always)]
            fn is_writable(&self) -> bool {
                (**self).is_writable()
            }
            #[inline(always)]
            #[track_caller]
            fn load(&self, at: Offset, order: Load) -> u64 {
                (**self).load(at, order)
            }
            #[inline(always)]
            #[track_caller]
            fn store(&self, at: Offset, value: u64, order: Store) {
                (**self).store(at, value, order);
            }
            #[inline(always)]
            #[track_caller]
            fn compare_exchange(
                &self,
                at: Offset,
                current: u64,
                new: u64,
                success: Rmw,
                failure: Load,
            ) -> Result<u64, u64> {
                (**self).compare_exchange(at, current, new, success, failure)
            }
            #[inline(always)]
            #[track_caller]
            fn fetch_add(&self, at: Offset, value: u64, order: Rmw) -> u64 {
                (**self).fetch_add(at, value, order)
            }
            #[inline(always)]
            #[track_caller]
            fn fetch_and(&self, at: Offset, value: u64, order: Rmw) -> u64 {
                (**self).fetch_and(at, value, order)
            }
            #[inline(always)]
            #[track_caller]
            fn fetch_or(&self, at: Offset, value: u64, order: Rmw) -> u64 {
                (**self).fetch_or(at, value, order)
            }
            #[inline(always)]
            #[track_caller]
            fn fence(&self, order: Fence) {
                (**self).fence(order);
            }
            #[inline(always)]
            #[track_caller]
            fn read_bytes(&self, at: Offset, out: &mut [u8]) {
                (**self).read_bytes(at, out);
            }
            #[inline(always)]
            #[track_caller]
            fn read_vec(&self, at: Offset, bytes: usize, out: &mut Vec<u8>) -> bool {
                (**self).read_vec(at, bytes, out)
            }
            #[inline(always)]
            #[track_caller]
            fn write_bytes(&self, at: Offset, bytes: &[u8]) {
                (**self).write_bytes(at, bytes);
            }
            #[inline(always)]
            #[track_caller]
            fn write_zeros(&self, at: Offset, words: u64) {
                (**self).write_zeros(at, words);
            }
            #[inline(always)]
            #[track_caller]
            fn equals(&self, at: Offset, bytes: &[u8]) -> bool {
                (**self).equals(at, bytes)
            }
            #[inline(always)]
            #[track_caller]
            fn match_tags(&self, at: Offset, tag: u32, lanes: u32) -> u32 {
                (**self).match_tags(at, tag, lanes)
            }
            #[inline(always)]
            #[track_caller]
            fn load_and_match(&self, at: Offset, tag: u32) -> (u64, u32) {
                (**self).load_and_match(at, tag)
            }
            #[inline(always)]
            fn line(&self, at: Offset) -> Option<Line<'_, Self>> {
                (**self).line(at).map(|line| line.through(self))
            }
            #[inline(always)]
            fn prefetch(&self, at: Offset, words: u64) {
                (**self).prefetch(at, words);
            }
            #[inline(always)]
            fn prefetch_to_write(&self, at: Offset, words: u64) {
                (**self).prefetch_to_write(at, words);
            }
            #[inline(always)]
            #[track_caller]
            fn spin(&self, backoff: &Backoff) {
                (**self).spin(backoff);
            }
        }
    };
}

forward_memory!(impl<M: Memory> Memory for &M);
forward_memory!(impl<M: Memory> Memory for std::sync::Arc<M>);
