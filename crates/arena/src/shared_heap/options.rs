//! What the creator of a heap chooses.

use super::word::ROOTS_MAX;
use super::{before_blocks, touched};
use crate::arena::{Arena, ArenaOptions};
use crate::block::{SizeClass, UNIT_WORDS};
use crate::environment::Environment;
use crate::error::SegmentError;
use crate::hash::HashKind;
use crate::header::{Expected, SegmentHeader, structure_fingerprint};
use crate::layout::{Geometry, Layout};
use crate::memory::Memory;

/// What the creator of a heap chooses. Everything is recorded in the segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeapOptions {
    /// Bytes of all blocks together; bookkeeping comes on top. Default 1 MiB.
    pub bytes: u64,
    /// Bytes of the smallest block, a power of two from 64. Default 64: a block takes 24 bytes of
    /// bookkeeping for each of these.
    pub block_bytes_min: u32,
    /// Bytes of the largest block, a power of two up to 64 KiB. Memory changes between sizes in
    /// pieces of this. Default 64 KiB, or a sixteenth of [`bytes`](Self::bytes) where that is less.
    pub block_bytes_max: Option<u32>,
    /// Processes that may be attached at once. Default 32.
    pub processes: u32,
    /// Threads that may be in the middle of a call at once, over all processes. Default 256.
    pub lines: u32,
    /// Named roots, at most [`ROOTS_MAX`]. Default 24.
    pub roots: u32,
    /// Secret of the hash from which a heap's mark on its allocations is made, or `None` for one
    /// from the operating system.
    pub hash_secret: Option<[u64; 2]>,
}

impl Default for HeapOptions {
    fn default() -> Self {
        Self {
            bytes: 1 << 20,
            block_bytes_min: 64,
            block_bytes_max: None,
            processes: 32,
            lines: 256,
            roots: ROOTS_MAX,
            hash_secret: None,
        }
    }
}

/// Number of the heap among the kinds of segments; tables have small ones.
const KIND: u64 = u64::from_le_bytes(*b"shm heap");

const FINGERPRINT: u64 = structure_fingerprint(
    "heap 2: root header version:40|live:24 0*7; roots*8 claimer generation:32|block+1:32 name*6; \
     block owner generation:40|kind:4|root:8|record:12 size generation:40|bytes:24; \
     record swept:64 a bit a slab",
);

const UNIT_BYTES: u64 = UNIT_WORDS * 8;

impl HeapOptions {
    fn geometry(&self) -> Result<Geometry, SegmentError> {
        let wrong =
            |quantity, value, problem: String| SegmentError::Size { quantity, value, problem };
        let largest = u64::from(SizeClass::UNITS_MAX) * UNIT_BYTES;
        let slab_bytes = match self.block_bytes_max {
            Some(bytes) => u64::from(bytes),
            None => (self.bytes / 16).next_power_of_two().clamp(UNIT_BYTES, largest),
        };
        let slab_bytes = slab_bytes.max(u64::from(self.block_bytes_min));
        if slab_bytes > largest {
            let problem = format!("more than the largest block of {largest}");
            return Err(wrong("largest block's bytes", slab_bytes, problem));
        }
        if self.roots == 0 || self.roots > ROOTS_MAX {
            let problem = format!("outside 1 to {ROOTS_MAX}");
            return Err(wrong("roots", self.roots.into(), problem));
        }
        let slabs = u32::try_from(self.bytes.div_ceil(slab_bytes))
            .map_err(|_| wrong("heap bytes", self.bytes, "more than a segment has".to_owned()))?;
        let units = |bytes: u64| u32::try_from(bytes / UNIT_BYTES).unwrap_or(u32::MAX);
        let (slab_units, least) = (units(slab_bytes), units(self.block_bytes_min.into()));
        let blocks = u64::from(slabs) * u64::from(slab_units / least.max(1));
        Ok(Geometry {
            index_words: before_blocks(self.roots)
                + 2 * blocks
                + u64::from(self.processes) * touched::words(slabs),
            records: self.processes,
            lines: self.lines,
            slabs,
            slab_units,
            block_units_min: least,
            side_words: 0,
            spares: 1,
        })
    }

    pub(super) fn layout(&self) -> Result<Layout, SegmentError> {
        Layout::new(self.geometry()?)
    }

    pub(super) fn arena(&self, environment: &Environment) -> Result<ArenaOptions, SegmentError> {
        let header = SegmentHeader {
            table_kind: KIND,
            table_fingerprint: FINGERPRINT,
            table_numbers: [self.roots.into(), 0, 0, 0],
            geometry: self.geometry()?,
            hash: HashKind::Rapid,
            created_ms: environment.clock.now_ms(),
            boot: environment.boot,
        };
        Ok(ArenaOptions { header, secret: self.hash_secret, wraps_after: None })
    }
}

/// What an attacher insists on.
pub(super) fn expected(environment: &Environment) -> Expected {
    Expected { table_kind: KIND, table_fingerprint: FINGERPRINT, boot: environment.boot }
}

/// How many roots a heap has, if its header fits together.
pub(super) fn roots<M: Memory>(arena: &Arena<M>) -> Result<u32, SegmentError> {
    let found = arena.header().table_numbers[0];
    let roots = u32::try_from(found).unwrap_or(0);
    if roots == 0 || roots > ROOTS_MAX {
        return Err(SegmentError::header("heap's roots", found, format!("1 to {ROOTS_MAX}")));
    }
    let (found, blocks) = (arena.geometry().index_words, arena.layout().block_word_count());
    let touched = u64::from(arena.geometry().records) * touched::words(arena.geometry().slabs);
    let expected = before_blocks(roots) + 2 * u64::from(blocks) + touched;
    if found != expected {
        return Err(SegmentError::header("heap's index words", found, expected));
    }
    Ok(roots)
}
