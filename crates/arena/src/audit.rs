//! The audit of blocks: each is free, referenced once, or named by the line that owns it.

use std::collections::{BTreeMap, BTreeSet};

use crate::arena::Arena;
use crate::block::{Block, BlockState, BlockWord, SizeClass, UNIT_WORDS};
use crate::memory::{Load, Memory};
use crate::participant::Line;

/// What an audit of blocks found. Exact on a quiescent segment.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct BlockAudit {
    /// Blocks in slabs that serve a class.
    pub blocks: u64,
    /// Of these, free.
    pub free: u64,
    /// Blocks that are neither free, nor referenced, nor named.
    pub lost: u64,
    /// Bytes in blocks that are not free.
    pub bytes_used: u64,
    /// Bytes in all blocks, those of slabs that serve no class yet included.
    pub bytes: u64,
    /// Contradictions, one sentence each, the first hundred.
    pub findings: Vec<String>,
}

impl BlockAudit {
    fn find(&mut self, finding: String) {
        if self.findings.len() < 100 {
            self.findings.push(finding);
        }
    }
}

impl<M: Memory> Arena<M> {
    /// Walks every block once. `references` counts how often the index names each block.
    pub fn audit_blocks(&self, references: &BTreeMap<Block, u64>) -> BlockAudit {
        let mut audit = BlockAudit::default();
        let named = self.named_blocks();
        // Blocks are visited in the order of their places, which is that of the map.
        let mut referenced = references.keys().copied().peekable();
        let is_no_block = |block: Block| format!("{block:?} is referenced and is no block");
        for (&block, &times) in references {
            if times > 1 {
                audit.find(format!("{block:?} is referenced {times} times"));
            }
        }
        self.for_each_block(|block, class, word, hinted| {
            let bytes = u64::from(class.units()) * UNIT_WORDS * 8;
            audit.blocks += 1;
            audit.bytes_used += if word.state() == BlockState::Free { 0 } else { bytes };
            while let Some(other) = referenced.next_if(|&other| other < block) {
                audit.find(is_no_block(other));
            }
            let is_referenced = referenced.next_if_eq(&block).is_some();
            let is_named = || named.contains(&block);
            match word.state() {
                BlockState::Free => {
                    audit.free += 1;
                    if is_referenced {
                        audit.find(format!("{block:?} is referenced and free"));
                    }
                    if !hinted && !is_named() {
                        audit.find(format!("{block:?} is free and no hint says so"));
                    }
                    if !self.is_wiped(block, class) {
                        audit.find(format!("{block:?} is free and not wiped"));
                    }
                }
                BlockState::Used if is_referenced => {}
                BlockState::Used | BlockState::Drain if is_named() => {}
                BlockState::Damaged => audit.find(format!("{block:?} has a damaged word")),
                state => {
                    audit.lost += 1;
                    audit.find(format!("{block:?} is lost: {state:?}, unreferenced, unnamed"));
                }
            }
        });
        for block in referenced {
            audit.find(is_no_block(block));
        }
        audit.bytes = self.layout().block_bytes_all();
        audit
    }

    /// Bytes in blocks that are not free.
    pub fn bytes_used(&self) -> u64 {
        let mut bytes = 0;
        self.for_each_block(|_, class, word, _| {
            if word.state() != BlockState::Free {
                bytes += u64::from(class.units()) * UNIT_WORDS * 8;
            }
        });
        bytes
    }

    fn for_each_block(&self, mut visit: impl FnMut(Block, SizeClass, BlockWord, bool)) {
        let (layout, memory) = (self.layout(), self.memory());
        for slab in 0..self.geometry().slabs {
            let Some(class) = self.slab_class(slab) else {
                continue;
            };
            for number in 0..layout.slab_blocks(class) {
                let block = layout.block(slab, class, number);
                let Some(at) = layout.block_word(block) else {
                    continue;
                };
                let word = memory.load(at, Load::Acquire);
                let hint = memory.load(layout.hint(slab, u64::from(number / 64)), Load::Acquire);
                let hinted = hint >> (number % 64) & 1 == 1;
                visit(block, class, BlockWord::from_bits(word), hinted);
            }
        }
    }

    /// Shows the class of every block, and whether it is free.
    pub(crate) fn visit_blocks(&self, mut visit: impl FnMut(SizeClass, bool)) {
        self.for_each_block(|_, class, word, _| visit(class, word.state() == BlockState::Free));
    }

    /// Slabs that serve no class.
    pub(crate) fn slabs_unassigned(&self) -> u32 {
        let slabs = 0..self.geometry().slabs;
        slabs.map(|slab| u32::from(self.slab_class(slab).is_none())).sum()
    }

    /// The class that a slab serves, if it is one.
    pub(crate) fn slab_class(&self, slab: u32) -> Option<SizeClass> {
        let served = self.memory().load(self.layout().slab_word(slab), Load::Acquire);
        self.layout().served_class(served)
    }

    /// The block whose word has this number, as its slab is divided; `None` if none has.
    pub(crate) fn numbered_block(&self, number: u32) -> Option<(Block, SizeClass)> {
        let (slab, before) = self.layout().granule_at(number);
        let class = self.slab_class(slab)?;
        let first = before.div_ceil(class.units());
        let is_within = first * class.units() - before < self.geometry().block_units_min;
        let is_one = is_within && first < self.layout().slab_blocks(class);
        is_one.then(|| (self.layout().block(slab, class, first), class))
    }

    /// The number of a block's word; `None` for a unit at which no block starts.
    pub(crate) fn number_of_block(&self, block: Block) -> Option<u32> {
        let number = self.layout().granule(block)?;
        let (found, _) = self.numbered_block(number)?;
        (found == block).then_some(number)
    }

    /// Lines that name a block.
    pub(crate) fn lines_in_use(&self) -> u32 {
        let names = |number| {
            let line = Line(self.layout().line(number));
            line.names(self.geometry().spares).any(|at| self.memory().load(at, Load::Relaxed) != 0)
        };
        (0..self.geometry().lines).map(|number| u32::from(names(number))).sum()
    }

    fn named_blocks(&self) -> BTreeSet<Block> {
        let mut named = BTreeSet::new();
        for number in 0..self.geometry().lines {
            let line = Line(self.layout().line(number));
            for at in line.names(self.geometry().spares) {
                let unit = u32::try_from(self.memory().load(at, Load::Acquire));
                named.insert(Block::new(unit.unwrap_or(0)));
            }
        }
        named
    }

    fn is_wiped(&self, block: Block, class: SizeClass) -> bool {
        let words = u64::from(class.units()) * UNIT_WORDS;
        (0..words).all(|index| self.memory().load(block.offset() + index, Load::Relaxed) == 0)
    }
}
