//! What the creator of a table chooses, and the shape that follows.

use shm_arena::{Geometry, HashKind, SegmentError, SizeClass};

use crate::entry::EntryShape;

/// What the creator of a table chooses. Everything is recorded in the segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableOptions {
    /// Entries that the table has to hold, of [`value_bytes`](Self::value_bytes) each. Default
    /// 1024.
    pub entries: u64,
    /// Bytes of a typical key. Default 32.
    pub key_bytes: usize,
    /// Bytes of a typical value. Default 200. Others fit as well, as long as slabs are left.
    pub value_bytes: usize,
    /// Processes that may be attached at once. Default 32.
    pub processes: u32,
    /// Threads that may be in the middle of an update at once, over all processes; each process has
    /// an equal share, at most 64, and more threads take turns. Default 256.
    pub lines: u32,
    /// Blocks that each line may keep back for its next insertions, so that an update rarely goes
    /// to the free ones: 1 to 8; of more than 2 KiB, one. Room for them comes on top of
    /// [`entries`](Self::entries). `None`: as many as all lines together have with a sixteenth of
    /// the entries; with a `shape`, 1.
    pub spares: Option<u32>,
    /// Buckets, a power of two, with which a design that reserves room for each of its sizes
    /// begins, and below which it never shrinks, or `None` for as many as `entries` ask for; with a
    /// `shape`, `None` is the shape's own number. `robin_hood` counts pages, any number of them.
    pub buckets_min: Option<u64>,
    /// Buckets, a power of two, up to which a design that adjusts may grow, or `None` for as many
    /// as `entries` ask for; with a `shape`, `None` is the shape's own number. `robin_hood` counts
    /// pages, and rounds up to a doubling of its smallest number.
    pub buckets_max: Option<u64>,
    /// Whether a design that can follows the number of entries with that of its buckets; otherwise
    /// it does so when [`adjust`](crate::Table::adjust) is called. Default true.
    pub adjusts: bool,
    /// How keys are hashed. Default [`HashKind::Rapid`].
    pub hash: HashKind,
    /// Secret of the hash, or `None` for one from the operating system.
    pub hash_secret: Option<[u64; 2]>,
    /// The shape, or `None` for the one that the fields above ask for. Models use tiny ones.
    pub shape: Option<TableShape>,
    /// Counters of blocks, buckets and pages begin so many steps before they wrap, or at their
    /// start: for tests, as nobody lives to see them wrap otherwise. Default `None`.
    pub wraps_after: Option<u64>,
}

/// Sizes of a table's parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableShape {
    /// Buckets, a power of two.
    pub buckets: u64,
    /// Slots in a bucket, for designs that have slots: 2 to 21, and to 24 where `cas_bucket` has
    /// one size.
    pub slots: u32,
    /// Slabs that blocks come from.
    pub slabs: u32,
    /// Units of 64 bytes in a slab, a power of two. A block is at most a slab.
    pub slab_units: u32,
    /// Units of the smallest block, a power of two.
    pub block_units_min: u32,
}

impl Default for TableOptions {
    fn default() -> Self {
        Self {
            entries: 1024,
            key_bytes: 32,
            value_bytes: 200,
            processes: 32,
            lines: 256,
            spares: None,
            buckets_min: None,
            buckets_max: None,
            adjusts: true,
            hash: HashKind::Rapid,
            hash_secret: None,
            shape: None,
            wraps_after: None,
        }
    }
}

/// Units of a slab at most: 64 KiB, the largest block.
const SLAB_UNITS_MAX: u64 = 1024;
/// A small segment is divided into at least this many slabs, so that several sizes find room.
const SLABS_WANTED: u64 = 16;
/// Spares of a line at most, and of how many entries all lines together may have as many as one.
const SPARES_MAX: u32 = 8;
const SPARES_SHARE: u64 = 16;

impl TableOptions {
    /// The shape that holds [`entries`](Self::entries) at this many entries per bucket.
    pub(crate) fn shape(&self, entries_per_bucket: u64) -> Result<TableShape, SegmentError> {
        if let Some(shape) = self.shape {
            return Ok(shape);
        }
        let wrong = |quantity, value, problem: &str| SegmentError::Size {
            quantity,
            value,
            problem: problem.to_owned(),
        };
        if self.entries == 0 || self.entries > 1 << 31 {
            return Err(wrong("entries", self.entries, "outside 1 to 2^31"));
        }
        let words = EntryShape::new(self.key_bytes, self.value_bytes).words();
        let units = u32::try_from(words.div_ceil(8)).unwrap_or(u32::MAX);
        let class = SizeClass::holding(units)
            .ok_or_else(|| wrong("entry words", words, "more than the largest block of 8192"))?;
        let units = u64::from(class.units());
        let spares = self.spares();
        if !(1..=SPARES_MAX).contains(&spares) {
            return Err(wrong("spares", spares.into(), "outside 1 to 8"));
        }
        // Every line may keep its spares back and have one block in the making.
        let blocks = self.entries + u64::from(1 + spares) * u64::from(self.lines);
        let slab_units = (blocks * units / SLABS_WANTED)
            .next_power_of_two()
            .clamp((4 * units).next_power_of_two().clamp(64, SLAB_UNITS_MAX), SLAB_UNITS_MAX);
        let slabs = blocks.div_ceil(slab_units / units);
        Ok(TableShape {
            buckets: self.entries.div_ceil(entries_per_bucket).next_power_of_two(),
            slots: 21,
            slabs: u32::try_from(slabs)
                .map_err(|_| wrong("slabs", slabs, "more than a segment can have"))?,
            slab_units: u32::try_from(slab_units).unwrap_or(u32::MAX),
            block_units_min: class.units().min(2),
        })
    }

    /// Spares of a line.
    fn spares(&self) -> u32 {
        self.spares.unwrap_or_else(|| {
            let share = self.entries / (SPARES_SHARE * u64::from(self.lines.max(1)));
            let wanted = u32::try_from(share).unwrap_or(u32::MAX).clamp(1, SPARES_MAX);
            if self.shape.is_some() { 1 } else { wanted }
        })
    }

    /// The segment's geometry for an index of this many words.
    pub(crate) fn geometry(&self, shape: TableShape, index_words: u64) -> Geometry {
        Geometry {
            index_words,
            records: self.processes,
            lines: self.lines,
            slabs: shape.slabs,
            slab_units: shape.slab_units,
            block_units_min: shape.block_units_min,
            side_words: 0,
            spares: self.spares(),
        }
    }
}
