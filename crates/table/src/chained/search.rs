//! Looking for a key: the head, the chain unless the signature rules the key out, and what is asked
//! for meanwhile.

use shm_arena::{Block, Memory};

use super::head::{Head, Signature, Tag};
use super::{Chained, Found, Link};
use crate::contract::Error;

/// What came of a search for a key.
pub(super) enum Sought<'a, M> {
    Found(Found<'a, M>),
    /// No entry has it. The head as an insertion goes on from: with the exact signature, where the
    /// whole chain was looked at.
    Absent(Head),
}

impl<M: Memory> Chained<M> {
    /// Looks for a key in its chain, unless the signature rules it out.
    #[inline(always)]
    pub(super) fn find(
        &self,
        bucket: u64,
        (hash, key): (u64, &[u8]),
    ) -> Result<Sought<'_, M>, Error> {
        let (head, tag) = (self.head_of(bucket), Tag::of(hash));
        // INVARIANT(I6): the signature has the bits of every entry.
        if !head.signature.may_have(tag) {
            return Ok(Sought::Absent(head));
        }
        self.prefetch_entry(head.first);
        let mut link = Link(self.head(bucket));
        let (mut next, mut signature) = (head.first, Signature::EMPTY);
        for _ in 0..self.links_max {
            if next == 0 {
                return Ok(Sought::Absent(Head { signature, ..head }));
            }
            let (at, node) = self.node_at(next)?;
            if node.tag == tag {
                let found = self.entry_at(link, next, (at, node))?;
                if found.entry.has_key(found.shape, key) {
                    return Ok(Sought::Found(found));
                }
            }
            signature = signature.with(node.tag);
            (link, next) = (Link(at), node.next);
        }
        Err(self.endless(bucket))
    }

    /// Asks for all of an entry before its node tells whether it is the one: what a verb compares,
    /// copies or wipes is on its way meanwhile. Of a chain's first entry alone: what is gained with
    /// later ones is lost by the lines of those that are passed over.
    #[inline(always)]
    fn prefetch_entry(&self, next: u64) {
        #[expect(clippy::cast_possible_truncation, reason = "a hint")]
        let block = Block::new(next as u32);
        self.memory().prefetch(block.offset(), 32);
    }
}
