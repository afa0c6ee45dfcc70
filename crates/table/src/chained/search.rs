//! Looking for a key: what is asked for ahead of the lock, the head, and the chain unless the
//! signature rules the key out; and walking a chain from its head to its end.

use shm_arena::{Block, Load, Memory, Offset};

use super::head::{Head, Node, Signature, Tag};
use super::{Chained, Found, Link};
use crate::contract::Error;
use crate::entry::{EntryView, Near};

/// What came of a search for a key.
pub(super) enum Sought<'a, M> {
    Found(Found<'a, M>),
    /// No entry has it. The head as an insertion goes on from: with the exact signature, where the
    /// whole chain was looked at.
    Absent(Head),
}

/// A head that has been asked for, and the tag of the key that is meant.
#[derive(Clone, Copy)]
pub(super) struct Approached {
    head_at: Offset,
    tag: Tag,
}

impl<M: Memory> Chained<M> {
    /// Looks for a key in its chain, unless the signature rules it out.
    ///
    /// All of an entry is asked for beside its node, which is still to tell whether it is the one:
    /// who looks at the whole entry, or wipes it, would wait for the node, then for its first line,
    /// and then for the others.
    #[inline(always)]
    pub(super) fn find(
        &self,
        bucket: u64,
        (hash, key): (u64, &[u8]),
        near: Near,
    ) -> Result<Sought<'_, M>, Error> {
        let (head, tag) = (self.head_of(bucket), Tag::of(hash));
        // INVARIANT(I6): the signature has the bits of every entry.
        if !head.signature.may_have(tag) {
            return Ok(Sought::Absent(head));
        }
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
            self.bring_entry(near, next);
        }
        Err(self.endless(bucket))
    }

    /// Asks, while the lock is others', for the head that a hash most likely has: a hint, since the
    /// size may change before the lock is held.
    #[inline(always)]
    pub(super) fn approach(&self, hash: u64, near: Near) -> Approached {
        let approached = Approached { head_at: self.head(self.bucket(hash)), tag: Tag::of(hash) };
        near.bring(self.memory(), approached.head_at, 1);
        approached
    }

    /// Asks, right before the lock is taken, for what its owner looks at behind that head: the node
    /// of the chain's first entry, and all of the entry, which a verb compares, copies or wipes.
    /// Under the lock everybody else would wait for them as well. A hint, for the same reason.
    #[inline(always)]
    pub(super) fn approach_entry(&self, Approached { head_at, tag }: Approached, near: Near) {
        let head = Head::from_bits(self.memory().load(head_at, Load::Relaxed));
        if !head.signature.may_have(tag) {
            return;
        }
        #[expect(clippy::cast_possible_truncation, reason = "a hint")]
        let block = Block::new(head.first as u32);
        if let Some(node_at) = self.arena.layout().side_word(block) {
            near.bring(self.memory(), node_at, 1);
            self.bring_entry(near, head.first);
        }
    }

    /// Asks for all of the entry that a link points to.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a hint, wherever it points")]
    fn bring_entry(&self, near: Near, next: u64) {
        near.bring_entry(self.memory(), Block::new(next as u32));
    }

    /// Walks one chain for a block, whatever the signature says.
    pub(super) fn find_block(
        &self,
        bucket: u64,
        block: Block,
    ) -> Result<Option<Found<'_, M>>, Error> {
        let mut sought = None;
        self.walk(bucket, |found| {
            if found.block == block {
                sought = Some(found);
            }
            Ok(())
        })?;
        Ok(sought)
    }

    /// The node of the entry that a link points to.
    #[inline(always)]
    pub(super) fn node_at(&self, next: u64) -> Result<(Offset, Node), Error> {
        let block = u32::try_from(next).ok().map(Block::new);
        let at = block
            .and_then(|block| self.arena.layout().side_word(block))
            .ok_or(Error::Corrupt { what: "link in a chain", word: next.wrapping_mul(8) })?;
        // Ordered by the lock.
        Ok((at, Node::from_bits(self.memory().load(at, Load::Relaxed))))
    }

    /// The entry that a link points to, whose node is this one.
    #[inline(always)]
    pub(super) fn entry_at(
        &self,
        link: Link,
        next: u64,
        (node_at, node): (Offset, Node),
    ) -> Result<Found<'_, M>, Error> {
        let view = u32::try_from(next).ok().map(Block::new).and_then(|block| {
            let (entry, shape) = EntryView::shaped(&self.arena, block)?;
            Some(Found { link, block, node_at, node, shape, entry })
        });
        view.ok_or(Error::Corrupt { what: "entry of a chain", word: next.wrapping_mul(8) })
    }

    /// Visits one chain. Only under the lock, or on a quiescent table.
    pub(super) fn walk<'a>(
        &'a self,
        bucket: u64,
        mut visit: impl FnMut(Found<'a, M>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut link = Link(self.head(bucket));
        let mut next = Head::from_bits(self.memory().load(link.0, Load::Acquire)).first;
        for _ in 0..self.links_max {
            if next == 0 {
                return Ok(());
            }
            let (at, node) = self.node_at(next)?;
            visit(self.entry_at(link, next, (at, node))?)?;
            (link, next) = (Link(at), node.next);
        }
        Err(self.endless(bucket))
    }
}
