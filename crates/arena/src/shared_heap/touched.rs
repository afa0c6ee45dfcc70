//! Which slabs a process may own blocks in, so that recovery looks there and nowhere else.
//!
//! ```text
//! for each record   word 0   swept: the last incarnation whose blocks are known to be free
//!                   then     a bit a slab: a process of the record owned a block there
//! ```
//!
//! A process sets a bit before it owns a block of the slab, and only a process that begins under
//! the record, after what was left there is free, clears its bits. An incarnation that is swept and
//! not followed by another owns nothing, since nobody acts in its name any more.

use super::{SharedHeap, before_blocks};
use crate::liveness::RecordIndex;
use crate::memory::{Load, Memory, Offset, Rmw, Store};

/// Words of a record in a heap of so many slabs.
pub(super) const fn words(slabs: u32) -> u64 {
    1 + slabs.div_ceil(64) as u64
}

impl<M: Memory> SharedHeap<M> {
    fn swept_at(&self, record: RecordIndex) -> Offset {
        let blocks = before_blocks(self.roots) + 2 * u64::from(self.blocks);
        let before = u64::from(record.0) * words(self.arena.geometry().slabs);
        self.arena.layout().index() + (blocks + before)
    }

    /// The last incarnation of a record that is known to own nothing.
    #[expect(clippy::cast_possible_truncation, reason = "an incarnation was stored there")]
    pub(super) fn swept(&self, record: RecordIndex) -> u32 {
        self.memory().load(self.swept_at(record), Load::Acquire) as u32
    }

    /// Two that sweep at once store the same; one that comes very late makes somebody sweep again.
    pub(super) fn set_swept(&self, record: RecordIndex, incarnation: u32) {
        self.memory().store(self.swept_at(record), incarnation.into(), Store::Release);
    }

    /// Says that a record's process may own this block from here on.
    #[inline(always)]
    pub(super) fn touch(&self, record: RecordIndex, number: u32) {
        let (slab, _) = self.arena.layout().granule_at(number);
        let at = self.swept_at(record) + (1 + u64::from(slab / 64));
        let bit = 1 << (slab % 64);
        // INVARIANT(I5): the owner word that is written next releases this bit with it.
        if self.memory().load(at, Load::Relaxed) & bit == 0 {
            self.memory().fetch_or(at, bit, Rmw::Relaxed);
        }
    }

    /// Clears the bits of this process's record before it owns anything.
    pub(super) fn forget_touched(&self, record: RecordIndex) {
        for word in 1..words(self.arena.geometry().slabs) {
            let at = self.swept_at(record) + word;
            if self.memory().load(at, Load::Relaxed) != 0 {
                self.memory().store(at, 0, Store::Relaxed);
            }
        }
    }

    /// Calls this with the number of each block word in the slabs that a record's bits name.
    pub(super) fn visit_touched(&self, record: RecordIndex, mut visit: impl FnMut(u32)) {
        let slabs = self.arena.geometry().slabs;
        let blocks = self.blocks / slabs;
        for first in (0..slabs).step_by(64) {
            let at = self.swept_at(record) + (1 + u64::from(first / 64));
            let mut bits = self.memory().load(at, Load::Acquire);
            while bits != 0 {
                let slab = first + bits.trailing_zeros();
                bits &= bits - 1;
                if slab < slabs {
                    (slab * blocks..(slab + 1) * blocks).for_each(&mut visit);
                }
            }
        }
    }
}
