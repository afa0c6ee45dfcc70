//! What the creator of a heap chooses.

use super::BEFORE_BLOCKS;
use crate::arena::ArenaOptions;
use crate::block::{SizeClass, UNIT_WORDS};
use crate::environment::Environment;
use crate::error::SegmentError;
use crate::hash::HashKind;
use crate::header::{Expected, SegmentHeader, structure_fingerprint};
use crate::layout::{Geometry, Layout};

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
}

impl Default for HeapOptions {
    fn default() -> Self {
        Self {
            bytes: 1 << 20,
            block_bytes_min: 64,
            block_bytes_max: None,
            processes: 32,
            lines: 256,
        }
    }
}

/// Number of the heap among the kinds of segments; tables have small ones.
const KIND: u64 = u64::from_le_bytes(*b"shm heap");

const FINGERPRINT: u64 = structure_fingerprint(
    "heap 1: root header version:40|live:24 0*7; root*24 claimer generation:32|block+1:32 name*6; \
     block owner generation:40|kind:4|root:8|record:12 size generation:40|bytes:24",
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
        let slabs = u32::try_from(self.bytes.div_ceil(slab_bytes))
            .map_err(|_| wrong("heap bytes", self.bytes, "more than a segment has".to_owned()))?;
        let units = |bytes: u64| u32::try_from(bytes / UNIT_BYTES).unwrap_or(u32::MAX);
        let (slab_units, least) = (units(slab_bytes), units(self.block_bytes_min.into()));
        let blocks = u64::from(slabs) * u64::from(slab_units / least.max(1));
        Ok(Geometry {
            index_words: BEFORE_BLOCKS + 2 * blocks,
            records: self.processes,
            lines: self.lines,
            slabs,
            slab_units,
            block_units_min: least,
        })
    }

    pub(super) fn layout(&self) -> Result<Layout, SegmentError> {
        Layout::new(self.geometry()?)
    }

    pub(super) fn arena(&self, environment: &Environment) -> Result<ArenaOptions, SegmentError> {
        let header = SegmentHeader {
            table_kind: KIND,
            table_fingerprint: FINGERPRINT,
            table_numbers: [0; 4],
            geometry: self.geometry()?,
            hash: HashKind::Rapid,
            created_ms: environment.clock.now_ms(),
            boot: environment.boot,
        };
        Ok(ArenaOptions { header, secret: None })
    }
}

/// What an attacher insists on.
pub(super) fn expected(environment: &Environment) -> Expected {
    Expected { table_kind: KIND, table_fingerprint: FINGERPRINT, boot: environment.boot }
}
