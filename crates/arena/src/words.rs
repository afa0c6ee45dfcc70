//! The place where the standard library's atomics are named: a slice of them as a [`Memory`].
//!
//! [`Memory`]: crate::Memory

use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering, fence};

use crate::memory::{Fence, Load, Offset, Rmw, Store};

/// One shared 64-bit cell.
pub(crate) type Word = AtomicU64;

impl Load {
    #[inline(always)]
    const fn order(self) -> Ordering {
        match self {
            Self::Relaxed => Ordering::Relaxed,
            Self::Acquire => Ordering::Acquire,
        }
    }
}

impl Store {
    #[inline(always)]
    const fn order(self) -> Ordering {
        match self {
            Self::Relaxed => Ordering::Relaxed,
            Self::Release => Ordering::Release,
        }
    }
}

impl Rmw {
    #[inline(always)]
    const fn order(self) -> Ordering {
        match self {
            Self::Relaxed => Ordering::Relaxed,
            Self::Acquire => Ordering::Acquire,
            Self::Release => Ordering::Release,
            Self::AcqRel => Ordering::AcqRel,
        }
    }
}

/// The word at an offset; an offset outside the memory is a defect of the caller.
#[inline(always)]
#[track_caller]
#[expect(clippy::cast_possible_truncation, reason = "segments exist on 64-bit machines alone")]
fn word(words: &[Word], at: Offset) -> &Word {
    &words[at.word() as usize]
}

/// Reads a word with no order.
#[inline(always)]
pub(crate) fn load_relaxed(word: &Word) -> u64 {
    word.load(Ordering::Relaxed)
}

/// Reads a word; what precedes the release that stored it is visible afterwards.
#[inline(always)]
pub(crate) fn load_acquire(word: &Word) -> u64 {
    word.load(Ordering::Acquire)
}

/// Writes a word with no order.
#[inline(always)]
pub(crate) fn store_relaxed(word: &Word, value: u64) {
    word.store(value, Ordering::Relaxed);
}

/// Sets a word of the process's own that is 0 to 1, if nobody else did; whoever reads it so sees
/// what the one before it did.
#[inline(always)]
pub(crate) fn take(word: &Word) -> bool {
    word.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok()
}

/// Sets a word back that was taken.
#[inline(always)]
pub(crate) fn give_back(word: &Word) {
    word.store(0, Ordering::Release);
}

/// Sets a word of the process's own that is 0 to a number, unless it is set by then; gives what it
/// is.
pub(crate) fn set_if_zero(word: &Word, number: impl FnOnce() -> u64) -> u64 {
    match word.load(Ordering::Relaxed) {
        0 => {
            let number = number();
            word.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed)
                .map_or_else(|found| found, |_| number)
        }
        found => found,
    }
}

/// Counts one more; gives the new count.
pub(crate) fn advance(word: &Word) -> u64 {
    word.fetch_add(1, Ordering::Relaxed) + 1
}

/// Where a word of the process's own lies, set once.
#[derive(Debug)]
pub(crate) struct WordPointer(AtomicPtr<Word>);

impl WordPointer {
    pub(crate) const fn empty() -> Self {
        Self(AtomicPtr::new(std::ptr::null_mut()))
    }

    /// Null before it is set.
    pub(crate) fn get(&self) -> *mut Word {
        self.0.load(Ordering::Acquire)
    }

    /// `false`: another thread was quicker.
    pub(crate) fn set(&self, word: *mut Word) -> bool {
        let empty = std::ptr::null_mut();
        self.0.compare_exchange(empty, word, Ordering::Release, Ordering::Relaxed).is_ok()
    }
}

#[inline(always)]
#[track_caller]
pub(crate) fn load(words: &[Word], at: Offset, order: Load) -> u64 {
    word(words, at).load(order.order())
}

#[inline(always)]
#[track_caller]
pub(crate) fn store(words: &[Word], at: Offset, value: u64, order: Store) {
    word(words, at).store(value, order.order());
}

#[inline(always)]
#[track_caller]
pub(crate) fn compare_exchange(
    words: &[Word],
    at: Offset,
    current: u64,
    new: u64,
    success: Rmw,
    failure: Load,
) -> Result<u64, u64> {
    word(words, at).compare_exchange(current, new, success.order(), failure.order())
}

#[inline(always)]
#[track_caller]
pub(crate) fn fetch_add(words: &[Word], at: Offset, value: u64, order: Rmw) -> u64 {
    word(words, at).fetch_add(value, order.order())
}

#[inline(always)]
#[track_caller]
pub(crate) fn fetch_and(words: &[Word], at: Offset, value: u64, order: Rmw) -> u64 {
    word(words, at).fetch_and(value, order.order())
}

#[inline(always)]
#[track_caller]
pub(crate) fn fetch_or(words: &[Word], at: Offset, value: u64, order: Rmw) -> u64 {
    word(words, at).fetch_or(value, order.order())
}

#[inline(always)]
pub(crate) fn fence_all(order: Fence) {
    fence(match order {
        Fence::Acquire => Ordering::Acquire,
        Fence::Release => Ordering::Release,
        Fence::AcqRel => Ordering::AcqRel,
        Fence::SeqCst => Ordering::SeqCst,
    });
}

/// The single-word methods of [`Memory`](crate::Memory) for a type that gives its words as `[Word]`
/// through a method `words`, and those that may be written through the method named here.
macro_rules! word_methods {
    () => {
        word_methods!(words);
    };
    ($words_to_write:ident) => {
        #[inline(always)]
        fn word_count(&self) -> u64 {
            self.words().len() as u64
        }
        #[inline(always)]
        #[track_caller]
        fn load(&self, at: Offset, order: Load) -> u64 {
            crate::words::load(self.words(), at, order)
        }
        #[inline(always)]
        #[track_caller]
        fn store(&self, at: Offset, value: u64, order: Store) {
            crate::words::store(self.$words_to_write(), at, value, order);
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
            crate::words::compare_exchange(
                self.$words_to_write(),
                at,
                current,
                new,
                success,
                failure,
            )
        }
        #[inline(always)]
        #[track_caller]
        fn fetch_add(&self, at: Offset, value: u64, order: Rmw) -> u64 {
            crate::words::fetch_add(self.$words_to_write(), at, value, order)
        }
        #[inline(always)]
        #[track_caller]
        fn fetch_and(&self, at: Offset, value: u64, order: Rmw) -> u64 {
            crate::words::fetch_and(self.$words_to_write(), at, value, order)
        }
        #[inline(always)]
        #[track_caller]
        fn fetch_or(&self, at: Offset, value: u64, order: Rmw) -> u64 {
            crate::words::fetch_or(self.$words_to_write(), at, value, order)
        }
        #[inline(always)]
        fn fence(&self, order: Fence) {
            crate::words::fence_all(order);
        }
    };
}

pub(crate) use word_methods;
