//! What there is in a heap: numbers, audit, and a page for people.

use std::collections::BTreeMap;
use std::fmt;

use super::word::{Holder, SizeWord};
use super::{Allocation, SharedHeap};
use crate::audit::BlockAudit;
use crate::block::{Block, SizeClass, UNIT_WORDS};
use crate::memory::{Load, Memory};
use crate::recover::Recoveries;

/// The state of a heap, approximate while others work. Its text is a page for people.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct HeapState {
    /// Bytes of all blocks.
    pub bytes: u64,
    /// Bytes that [`SharedHeap::available`] counts.
    pub available: u64,
    /// Bytes of the largest block.
    pub maximum: u64,
    /// Bytes of the whole segment.
    pub segment_bytes: u64,
    /// Slabs that serve no class yet.
    pub slabs_unassigned: u32,
    /// The classes that have slabs.
    pub classes: Vec<ClassUse>,
    /// Allocations and their bytes by the record of the process that owns them.
    pub processes: BTreeMap<u32, (u64, u64)>,
    /// Allocations that are kept, and their bytes.
    pub kept: (u64, u64),
    /// The named roots.
    pub roots: Vec<RootUse>,
    /// Participant lines that name a block.
    pub lines_in_use: u32,
    /// What recoveries did so far.
    pub recoveries: Recoveries,
}

/// The blocks of one size.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct ClassUse {
    /// Bytes of a block.
    pub block_bytes: u64,
    /// Blocks.
    pub blocks: u64,
    /// Of these, free.
    pub free: u64,
}

/// A named root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RootUse {
    /// Its name.
    pub name: String,
    /// What hangs there.
    pub allocation: Allocation,
    /// How many bytes that has.
    pub bytes: u64,
}

impl<M: Memory> SharedHeap<M> {
    /// Bytes in free blocks and in slabs that serve no class yet. Looks at every block word.
    pub fn available(&self) -> u64 {
        let bytes_max = self.arena.layout().block_bytes_all();
        bytes_max - self.arena.bytes_used().min(bytes_max)
    }

    /// Bytes of the largest allocation there can be.
    pub const fn maximum(&self) -> u64 {
        self.arena.layout().block_words_max() * 8
    }

    /// Walks every block and owner word. Exact on a quiescent heap: no finding, and nothing lost.
    pub fn audit(&self) -> BlockAudit {
        let mut strays = Vec::new();
        // In the order of the blocks, each number's once: a map of them is built in one go.
        let references: BTreeMap<Block, u64> = (0..self.blocks)
            .filter_map(|number| match (self.owner(number).holder(), self.block(number)) {
                (Holder::Nobody, _) => None,
                (Holder::Damaged, _) => {
                    strays.push(format!("owner word {number} is damaged"));
                    None
                }
                (_, Some((block, _))) => Some((block, 1)),
                (_, None) => {
                    strays.push(format!("owner word {number} speaks of no block"));
                    None
                }
            })
            .collect();
        let mut audit = self.arena.audit_blocks(&references);
        audit.findings.extend(strays);
        let header = self.root_header();
        for root in (0..self.roots).filter(|&root| header.is_live(root)) {
            if self.hanging(root).is_none() {
                audit.findings.push(format!("root {:?} names no block", self.root_name(root)));
            }
        }
        audit
    }

    /// Everything there is to say, for people: print it.
    pub fn state(&self) -> HeapState {
        let layout = self.arena.layout();
        let mut state = HeapState {
            bytes: layout.block_bytes_all(),
            available: self.available(),
            maximum: self.maximum(),
            segment_bytes: layout.word_count() * 8,
            slabs_unassigned: self.arena.slabs_unassigned(),
            lines_in_use: self.arena.lines_in_use(),
            recoveries: self.arena.recoveries(),
            ..HeapState::default()
        };
        let mut classes: BTreeMap<SizeClass, ClassUse> = BTreeMap::new();
        self.arena.visit_blocks(|class, is_free| {
            let of = classes.entry(class).or_default();
            of.block_bytes = u64::from(class.units()) * UNIT_WORDS * 8;
            of.blocks += 1;
            of.free += u64::from(is_free);
        });
        state.classes = classes.into_values().collect();
        for number in 0..self.blocks {
            let bytes =
                SizeWord::from_bits(self.memory().load(self.size_at(number), Load::Relaxed));
            let (count, sum) = match self.owner(number).holder() {
                Holder::Process(record) | Holder::Moving(record, _) => {
                    state.processes.entry(record.0).or_default()
                }
                Holder::Kept => &mut state.kept,
                Holder::Nobody | Holder::Root(_) | Holder::Damaged => continue,
            };
            *count += 1;
            *sum += bytes.bytes();
        }
        let header = self.root_header();
        for root in (0..self.roots).filter(|&root| header.is_live(root)) {
            if let Some((allocation, _)) = self.hanging(root) {
                let bytes = self.size_of(allocation).unwrap_or(0);
                state.roots.push(RootUse { name: self.root_name(root), allocation, bytes });
            }
        }
        state
    }
}

impl fmt::Display for HeapState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, available, maximum, segment_bytes, .. } = self;
        writeln!(formatter, "heap of {bytes} bytes in a segment of {segment_bytes}")?;
        writeln!(formatter, "available {available} bytes, one allocation at most {maximum}")?;
        let (unassigned, lines) = (self.slabs_unassigned, self.lines_in_use);
        writeln!(formatter, "{unassigned} slabs without a class, {lines} lines that name a block")?;
        for ClassUse { block_bytes, blocks, free } in &self.classes {
            writeln!(formatter, "blocks of {block_bytes} bytes: {blocks}, {free} of them free")?;
        }
        for (record, (count, bytes)) in &self.processes {
            writeln!(formatter, "process record {record}: {count} allocations of {bytes} bytes")?;
        }
        let (count, bytes) = self.kept;
        writeln!(formatter, "kept: {count} allocations of {bytes} bytes")?;
        writeln!(formatter, "{}", self.recoveries)?;
        for RootUse { name, allocation, bytes } in &self.roots {
            writeln!(formatter, "root {name:?}: {allocation}, {bytes} bytes")?;
        }
        Ok(())
    }
}
