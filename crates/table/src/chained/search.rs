//! Looking for a key: the head, the chain unless the signature rules the key out, and what is asked
//! for meanwhile.

use shm_arena::{Block, Memory};

use super::head::{Head, Signature};
use super::{Chained, Found, Link};
use crate::contract::Error;

/// What came of a search for a key.
pub(super) enum Sought<'a, M> {
    Found(Found<'a, M>),
    /// No entry has it. The head as an insertion goes on from: with the exact signature, where the
    /// whole chain was looked at.
    Absent(Head),
}

/// What a verb is about to do with the entry that it looks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Read,
    Change,
}

impl<M: Memory> Chained<M> {
    /// Looks for a key in its chain, unless the signature rules it out.
    #[inline(always)]
    pub(super) fn find(
        &self,
        bucket: u64,
        (hash, key): (u64, &[u8]),
        purpose: Purpose,
    ) -> Result<Sought<'_, M>, Error> {
        let head = self.head_of(bucket);
        // INVARIANT(I6): the signature has the bits of every entry.
        if !head.signature.may_have(hash) {
            return Ok(Sought::Absent(head));
        }
        let mut link = Link(self.head(bucket));
        let (mut next, mut signature) = (head.first, Signature::EMPTY);
        for _ in 0..self.links_max {
            if next == 0 {
                return Ok(Sought::Absent(Head { signature, ..head }));
            }
            self.prefetch_entry(next, purpose, next == head.first);
            let found = self.entry_at(link, next)?;
            let found_hash = found.entry.hash();
            if found_hash == hash && found.entry.has_key(found.shape, key) {
                return Ok(Sought::Found(found));
            }
            signature = signature.with(found_hash);
            link = Link(found.entry.link());
            next = found.entry.next();
        }
        Err(self.endless(bucket))
    }

    /// Asks for all of an entry before its first line tells whether it is the one: what a verb then
    /// copies or wipes has come together with that line. Whoever changes the entry needs the word
    /// of its block too. Reads ask for the first entry alone: they gain less from the lines of a
    /// later one than they lose by those of one that they pass over.
    #[inline(always)]
    fn prefetch_entry(&self, next: u64, purpose: Purpose, is_first: bool) {
        #[expect(clippy::cast_possible_truncation, reason = "a hint")]
        let block = Block::new(next as u32);
        let is_change = purpose == Purpose::Change;
        if is_first || is_change {
            self.memory().prefetch(block.offset() + 8, 24);
        }
        if is_change && let Some(word) = self.arena.layout().block_word(block) {
            self.memory().prefetch(word, 1);
        }
    }
}
