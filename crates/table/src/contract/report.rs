//! Numbers and findings about a table.

use shm_arena::{Recovered, Recoveries};

/// Numbers about a table; approximate while others write.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Stats {
    /// Entries.
    pub entries: u64,
    /// Buckets.
    pub buckets: u64,
    /// Buckets that there can be at most.
    pub buckets_max: u64,
    /// The change of size that is under way, if one is.
    pub resizing: Option<Resizing>,
    /// Slots, or 0 where a bucket has no bound.
    pub slots: u64,
    /// `histogram[n]`: buckets that hold `n` entries; the last element counts all larger ones.
    pub bucket_histogram: Vec<u64>,
    /// `histogram[n]`: entries that a look-up finds in its step `n`, counted from 1: the entry of a
    /// chain, or the cache line of a bucket's slots; the last element counts all later ones.
    pub probe_histogram: Vec<u64>,
    /// Bytes of the segment.
    pub segment_bytes: u64,
    /// Bytes in blocks that are not free, whole blocks counted.
    pub block_bytes_used: u64,
    /// Bytes in all blocks and in slabs that no class has taken.
    pub block_bytes: u64,
    /// What recoveries did so far: dead processes, blocks, time.
    pub recoveries: Recoveries,
}

/// How far a change of size is; others see to it while they work, and a call of
/// [`adjust`](crate::Table::adjust) finishes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resizing {
    /// Buckets that there will be.
    pub target: u64,
    /// Steps done, of `steps`; approximate.
    pub done: u64,
    /// Steps in all: each bucket, or each bucket twice, as the design has it.
    pub steps: u64,
}

impl Stats {
    /// Entries a bucket, on average.
    #[expect(clippy::cast_precision_loss, reason = "a mean")]
    pub fn load(&self) -> f64 {
        if self.buckets == 0 { 0.0 } else { self.entries as f64 / self.buckets as f64 }
    }

    /// Steps of a look-up that finds its key, on average over all entries.
    #[expect(clippy::cast_precision_loss, reason = "a mean")]
    pub fn probe_mean(&self) -> f64 {
        let counted: u64 = self.probe_histogram.iter().sum();
        let steps: u64 = (0..).zip(&self.probe_histogram).map(|(step, many)| step * many).sum();
        if counted == 0 { 0.0 } else { steps as f64 / counted as f64 }
    }
}

/// What an audit found. A quiescent table that nobody damaged shows no finding.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
#[must_use]
pub struct Audit {
    /// Entries reachable from the index.
    pub entries: u64,
    /// Blocks looked at.
    pub blocks: u64,
    /// Blocks that are neither free, nor referenced once, nor named by one intent.
    pub lost_blocks: u64,
    /// Everything that contradicts an invariant, one sentence each, the first hundred.
    pub findings: Vec<String>,
}

impl Audit {
    /// Records a contradiction.
    pub fn find(&mut self, finding: String) {
        if self.findings.len() < 100 {
            self.findings.push(finding);
        }
    }

    /// Whether nothing contradicts an invariant and no block is lost.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.lost_blocks == 0
    }
}

/// What a recovery did.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Recovery {
    /// Dead processes whose work was finished or undone.
    pub processes: u32,
    /// Blocks that went back to free.
    pub blocks: u32,
}

impl From<Recovered> for Recovery {
    fn from(recovered: Recovered) -> Self {
        Self { processes: recovered.processes, blocks: recovered.blocks }
    }
}
