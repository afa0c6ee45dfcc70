//! A line of a memory that is known to be there.

use std::fmt;

use crate::memory::{Load, Memory, Offset, Store};
use crate::words::{self, Word};

/// Eight words of a memory, which were found to lie in it: their loads are not checked any more.
///
/// By value, in registers: what a memory knows of its bounds lies in memory itself, from where it
/// would be loaded anew behind each acquire.
pub struct Line<'a, M> {
    memory: &'a M,
    at: Offset,
    words: Option<&'a [Word; 8]>,
}

impl<M> Clone for Line<'_, M> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Line<'_, M> {}

impl<'a, M> Line<'a, M> {
    /// Words that start here and are looked for at each load: of any memory, and fewer than eight
    /// where no more are loaded.
    #[inline(always)]
    pub const fn by_words(memory: &'a M, at: Offset) -> Self {
        Self { memory, at, words: None }
    }

    #[inline(always)]
    pub(crate) const fn of(memory: &'a M, at: Offset, words: &'a [Word; 8]) -> Self {
        Self { memory, at, words: Some(words) }
    }

    /// The same line of what refers to the memory.
    #[inline(always)]
    pub(crate) const fn through<R>(self, memory: &'a R) -> Line<'a, R> {
        Line { memory, at: self.at, words: self.words }
    }

    /// The memory that it is a line of.
    #[inline(always)]
    pub const fn memory(self) -> &'a M {
        self.memory
    }

    /// Where it starts.
    #[inline(always)]
    pub const fn at(self) -> Offset {
        self.at
    }
}

impl<M: Memory> Line<'_, M> {
    /// Reads one of the eight words, by its number, of which the lowest three bits count.
    #[inline(always)]
    #[track_caller]
    pub fn load(self, number: u32, order: Load) -> u64 {
        let number = u64::from(number & 7);
        match self.words {
            Some(words) => words::load(words, Offset::new(number), order),
            None => self.memory.load(self.at + number, order),
        }
    }
}

impl<M> fmt::Debug for Line<'_, M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Line({:?})", self.at)
    }
}

/// A line of a memory that may be written.
pub struct LineToWrite<'a, M>(Line<'a, M>);

impl<M> Clone for LineToWrite<'_, M> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for LineToWrite<'_, M> {}

impl<'a, M> LineToWrite<'a, M> {
    /// Its memory has been found to be writable.
    #[inline(always)]
    pub(crate) const fn of(line: Line<'a, M>) -> Self {
        Self(line)
    }
}

impl<M: Memory> LineToWrite<'_, M> {
    /// Writes one of the eight words, by its number, of which the lowest three bits count.
    #[inline(always)]
    #[track_caller]
    pub fn store(self, number: u32, value: u64, order: Store) {
        let number = u64::from(number & 7);
        match self.0.words {
            Some(words) => words::store(words, Offset::new(number), value, order),
            None => self.0.memory.store(self.0.at + number, value, order),
        }
    }
}

impl<M> fmt::Debug for LineToWrite<'_, M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "LineToWrite({:?})", self.0.at)
    }
}
