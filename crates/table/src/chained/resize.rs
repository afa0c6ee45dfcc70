//! Growing and shrinking: every entry whose bucket changes is moved, one at a time, under the lock.

use shm_arena::{Block, Fence, Load, Memory, Offset, Store};

use super::head::{Head, Node, Signature, Tag};
use super::lock::Chains;
use super::{Chained, Link};
use crate::contract::Error;
use crate::entry::EntryView;

/// How many buckets there are, and how many there will be when all entries have moved.
///
/// ```text
/// 15        8 7         0
/// ┌──────────┬───────────┐
/// │ target   │ now       │   powers of two, by their exponent; equal while nobody adjusts
/// └──────────┴───────────┘
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Size {
    pub(super) now: u32,
    pub(super) target: u32,
}

impl Size {
    pub(super) const fn settled(exponent: u32) -> Self {
        Self { now: exponent, target: exponent }
    }

    /// Reads any bit pattern; no exponent is above this one.
    pub(super) fn from_bits(bits: u64, exponent_max: u32) -> Self {
        let exponent = |bits: u64| u32::from(bits.to_le_bytes()[0]).min(exponent_max);
        Self { now: exponent(bits), target: exponent(bits >> 8) }
    }

    pub(super) const fn bits(self) -> u64 {
        self.now as u64 | (self.target as u64) << 8
    }

    pub(super) const fn is_settled(self) -> bool {
        self.now == self.target
    }
}

impl<M: Memory> Chained<M> {
    fn size_word(&self) -> Offset {
        self.arena.layout().control() + 1
    }

    fn moving_word(&self) -> Offset {
        self.arena.layout().control() + 2
    }

    fn count_word(&self) -> Offset {
        self.arena.layout().control() + 3
    }

    #[inline]
    pub(super) fn size(&self) -> Size {
        // Ordered by the lock.
        Size::from_bits(self.memory().load(self.size_word(), Load::Relaxed), self.exponent_max)
    }

    pub(super) fn set_size(&self, size: Size) {
        // ORDERING(L4): release, so that a death after it leaves all moves behind it.
        self.memory().store(self.size_word(), size.bits(), Store::Release);
    }

    /// Entries, as the owners of the lock have counted them.
    #[inline]
    pub(super) fn count(&self) -> u64 {
        self.memory().load(self.count_word(), Load::Relaxed)
    }

    /// Counts one more, behind the store that put it in; gives the new count.
    #[inline(always)]
    pub(super) fn count_added(&self) -> u64 {
        let entries = self.count().wrapping_add(1);
        self.set_count(entries);
        // ORDERING(L5): release, behind all stores of an insertion: once it has returned, no death
        // takes the entry back with stores that nobody saw.
        self.memory().fence(Fence::Release);
        entries
    }

    #[inline]
    pub(super) fn set_count(&self, entries: u64) {
        self.memory().store(self.count_word(), entries, Store::Relaxed);
    }

    /// The block that an owner of the lock was moving, 0 for none.
    pub(super) fn moving(&self) -> u64 {
        self.memory().load(self.moving_word(), Load::Relaxed)
    }

    fn set_moving(&self, block: u64) {
        // ORDERING(L4): release, before the step that takes the block out of its chain.
        self.memory().store(self.moving_word(), block, Store::Release);
    }
}

impl<'a, M: Memory> Chains<'a, M> {
    /// Doubles the buckets above two entries a bucket.
    #[inline(always)]
    pub(super) fn grow_if_crowded(self, entries: u64) -> Result<(), Error> {
        let Self(table) = self;
        let now = table.size().now;
        if table.adjusts && entries > ENTRIES_PER_BUCKET_MAX << now && now < table.exponent_max {
            return self.adjust(now + 1);
        }
        Ok(())
    }

    /// Halves the buckets below half an entry a bucket.
    #[inline(always)]
    pub(super) fn shrink_if_sparse(self, entries: u64) -> Result<(), Error> {
        let Self(table) = self;
        let now = table.size().now;
        if table.adjusts && entries < (1 << now) / BUCKETS_PER_ENTRY_MAX && now > 0 {
            return self.adjust(now - 1);
        }
        Ok(())
    }

    /// Goes over to another number of buckets.
    ///
    /// CRASH(adjust): from the first store until the last one the size says that entries move, and
    /// whoever takes the lock from the dead goes on where it stopped, before anything else.
    #[cold]
    pub(super) fn adjust(self, target: u32) -> Result<(), Error> {
        let size = self.0.size();
        self.0.set_size(Size { target, ..size });
        self.finish_adjusting()
    }

    /// Moves what has not moved yet, and counts what there is.
    #[cold]
    pub(super) fn finish_adjusting(self) -> Result<(), Error> {
        let Self(table) = self;
        let size = table.size();
        self.link_again(size)?;
        let mut entries = 0;
        for bucket in 0..1_u64 << size.now.max(size.target) {
            entries += self.empty_of_foreigners(bucket, size.target)?;
        }
        table.set_moving(0);
        table.set_count(entries);
        table.set_size(Size::settled(size.target));
        Ok(())
    }

    /// Links the entry that a dead owner was moving, if it is in neither chain.
    ///
    /// CRASH(move): it is in the old chain, or named by `moving` alone, or in the new chain.
    fn link_again(self, size: Size) -> Result<(), Error> {
        let Self(table) = self;
        let Some(block) = u32::try_from(table.moving()).ok().filter(|&unit| unit != 0) else {
            return Ok(());
        };
        let block = Block::new(block);
        let Some(entry) = EntryView::new(&table.arena, block) else {
            let word = table.moving_word().word();
            return Err(Error::Corrupt { what: "block being moved", word });
        };
        let [old, new] = [size.now, size.target].map(|exponent| entry.hash() & mask(exponent));
        if table.find_block(old, block)?.is_none() && table.find_block(new, block)?.is_none() {
            self.push(new, block, entry);
        }
        Ok(())
    }

    /// Moves the entries of a bucket that belong to others; gives how many it leaves behind itself,
    /// in this bucket or in one that comes before it.
    fn empty_of_foreigners(self, bucket: u64, target: u32) -> Result<u64, Error> {
        let Self(table) = self;
        let mut link = Link(table.head(bucket));
        let mut next = table.head_of(bucket).first;
        let (mut behind, mut signature) = (0, Signature::EMPTY);
        for _ in 0..table.links_max {
            if next == 0 {
                // What has left takes its bits along.
                let head = table.head_of(bucket);
                if head.signature != signature {
                    // ORDERING(L4): release, behind the moves: before them, an entry would be in a
                    // chain whose signature lacks it.
                    self.set_head(bucket, Head { signature, ..head });
                }
                return Ok(behind);
            }
            let node = table.node_at(next)?;
            let found = table.entry_at(link, next, node)?;
            let home = found.entry.hash() & mask(target);
            behind += u64::from(home <= bucket);
            next = found.node.next;
            if home == bucket {
                signature = signature.with(found.node.tag);
                link = Link(found.node_at);
                continue;
            }
            table.set_moving(found.block.unit().into());
            self.relink(link, next);
            self.push(home, found.block, found.entry);
        }
        Err(table.endless(bucket))
    }

    /// Links an entry that is in no chain at the head of one.
    fn push(self, bucket: u64, block: Block, entry: EntryView<'a, M>) {
        let (head, tag) = (self.0.head_of(bucket), Tag::of(entry.hash()));
        // ORDERING(L4): release, behind the step that took the block out of its chain: before that,
        // a new next of this one would cut off what comes after it there.
        self.set_node(block, Node { next: head.first, tag }, Store::Release);
        self.set_head(bucket, head.behind(block.unit().into(), tag));
    }
}

const fn mask(exponent: u32) -> u64 {
    (1 << exponent) - 1
}

/// Entries a bucket above which the table grows: Watson's default.
const ENTRIES_PER_BUCKET_MAX: u64 = 2;
/// Buckets an entry above which it shrinks: Watson's default.
const BUCKETS_PER_ENTRY_MAX: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_size_keeps_its_fields_and_reads_any_word_as_one_that_fits(
            now in 0..=32_u32, target in 0..=32_u32, bits in any::<u64>(), max in 0..=32_u32,
        ) {
            let size = Size { now, target };
            prop_assert_eq!(Size::from_bits(size.bits(), 32), size);
            prop_assert_eq!(size.is_settled(), now == target);
            let any = Size::from_bits(bits, max);
            prop_assert!(any.now <= max && any.target <= max);
        }
    }
}
