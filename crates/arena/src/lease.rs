//! A participant line, leased to one thread for one operation: how blocks are claimed and retired.
//!
//! Retiring an unlinked block has two parts. Taking it out of use makes it the line's own; under a
//! table's lock that is a store, which has to come before the lock is given back. Reclaiming it,
//! wiped and kept or freed, concerns nobody else and needs no lock.
//!
//! # Crash
//!
//! | dies after | left behind | what others see | repaired by |
//! |---|---|---|---|
//! | intent `new` | a free block whose hint may be gone | one block less to hint at | settling sets the hint |
//! | the claim | a used block named by `new` or `spare` | nothing | settling drains and frees what is unreferenced |
//! | publication | a used block that is referenced and named | the entry | settling finds it referenced and leaves it |
//! | unlinking, before it leaves use | a used block named by `old`, unreferenced | the key absent | settling drains and frees it |
//! | leaving use, within the wipe | a block named by `old`, `spare` or `reaping`; a table's lock may be free again | nothing | settling takes it over, wipes and frees it |
//! | FREE, before its hint | a free block without hint, named | one block less to hint at | settling sets the hint |
//!
//! # Orderings
//!
//! | id | site | order | pairs with | why no weaker | model that fails without it |
//! |---|---|---|---|---|---|
//! | B2 | fence after the claim | release | the reader's acquire fence | a reader that sees new bytes must see the old unlinking | unlink ‖ claim and write ‖ look, in `verification/tests/arena.rs` |
//! | B3 | leaving use | acquire-release; release by a store under a lock | B1 | the drainer must see the whole entry | put a, put b, then take a, take b ‖ take b, take a; the rest is redundant with R1 and R2 |
//! | B4 | DRAIN → FREE | release | B1 | the wipe must not follow the next owner's stores | a, b: remove a, remove b, insert c killed under stores that are lost |
//! | B5 | fence before the wipe | release | the reader's acquire fence | a reader that sees wiped bytes must see the unlinking | a: leave, join, remove a, insert b ‖ replace a, leave, join, get a |
//! | B6 | hint set / taken | release / acquire | each other | relaxed hints get lost: a false "no block" | insert a, insert b, then remove a, remove b ‖ insert c, get c ‖ get a, get b |
//! | B7 | clearing an intent | release | the reaper's acquiring verdict | a death must not show the intent cleared and its work undone | publication: put a killed under stores that are lost |
//!
//! `verification/orderings.toml` has each access, weakened: what failed, or why nothing does.

use std::mem::ManuallyDrop;

use crate::arena::Arena;
use crate::block::{Block, BlockState, BlockWord, SizeClass, UNIT_WORDS};
use crate::layout::Layout;
use crate::line::LineToWrite;
use crate::liveness::RecordIndex;
use crate::memory::{Fence, Load, Memory, Offset, Rmw, Store};
use crate::participant::Line;
use crate::pool::{Hold, SpareWords};

/// Why no line could be leased.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LeaseError {
    /// The handle is attached without write permission.
    #[error("read-only: this handle is attached without write permission")]
    ReadOnly,
    /// Every line of the segment is in use.
    #[error("full: all {lines} participant lines are in use")]
    NoLine {
        /// Lines in the segment.
        lines: u32,
    },
    /// The handle was made by a parent of this process.
    #[error("forked: this handle is the parent process's; attach anew in the child")]
    Forked,
    /// The process's record was freed by others, or is another's: they took it for dead.
    #[error("disowned: others took this process for dead and recovered its work; attach anew")]
    Disowned,
}

/// No block of a class is free, and no slab can be had for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoBlock {
    /// The class.
    pub class: SizeClass,
}

/// A block that a lease claimed: used and named in its line until it is published or abandoned.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Claimed {
    /// The block in the lower half, its units in the 16 bits above, and on top, of a spare, its
    /// number and 1.
    name: u64,
    word: BlockWord,
}

impl Claimed {
    pub(crate) fn new(block: Block, class: SizeClass, word: BlockWord) -> Self {
        Self { name: u64::from(block.unit()) | u64::from(class.units()) << 32, word }
    }

    /// The block.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "halves are taken apart")]
    pub const fn block(&self) -> Block {
        Block::new(self.name as u32)
    }

    /// The generation of its present life.
    #[inline(always)]
    pub(crate) const fn generation(&self) -> u64 {
        self.word.generation()
    }

    /// The block as a line keeps it privately under this number.
    #[inline(always)]
    const fn kept(block: Block, units: u32, number: u32, word: BlockWord) -> SpareWords {
        let units = (number as u64 + 1) << 48 | (units as u64) << 32;
        [units | block.unit() as u64, word.bits()]
    }

    #[inline(always)]
    const fn units(&self) -> u32 {
        (self.name >> 32) as u32 & 0xffff
    }

    /// Its number, if it is a spare.
    #[inline(always)]
    const fn spare(&self) -> Option<u32> {
        ((self.name >> 48) as u32).checked_sub(1)
    }

    #[inline(always)]
    const fn from_words([name, word]: SpareWords) -> Self {
        Self { name, word: BlockWord::from_bits(word) }
    }
}

/// A block of the index whose word has been located and asked for.
#[derive(Clone, Copy, Debug)]
pub struct Located {
    block: Block,
    at: Offset,
    units: u32,
}

impl Located {
    /// Words that the block has, by the class of its slab.
    #[inline(always)]
    pub fn words(&self) -> u64 {
        u64::from(self.units) * UNIT_WORDS
    }
}

/// A block about to be unlinked, as the line's intent names it.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Intended {
    located: Located,
    seen: BlockWord,
}

/// A block that a line has taken out of use: its own, still named as about to be unlinked, and not
/// wiped yet.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Retired {
    block: Block,
    at: Offset,
    units: u32,
    /// Out of use, or already in the life that it begins as the line's spare.
    word: BlockWord,
    /// The number under which it is the line's spare.
    kept: Option<u32>,
}

/// Sees to blocks on behalf of one operation. Everything it claims is named in its line first.
///
/// Words that do not change: what successive operations hand on lies in the pool. So it stays in
/// registers, and nothing of it has to be read back from where it was just written.
#[derive(Debug)]
pub struct Lease<'a, M: Memory> {
    pub(crate) arena: &'a Arena<M>,
    pub(crate) hold: Hold<'a>,
    line: Line,
    /// The words of the line, in two cache lines: what is being done, and the spares.
    doing: LineToWrite<'a, M>,
    spares: LineToWrite<'a, M>,
    number: u64,
}

impl<'a, M: Memory> Lease<'a, M> {
    /// `None`: the memory has no such line, or must not be written.
    #[inline(always)]
    pub(crate) fn new(arena: &'a Arena<M>, hold: Hold<'a>, number: u32) -> Option<Self> {
        let line = Line(arena.layout().line(number));
        let doing = arena.memory().line_to_write(line.owner())?;
        let spares = arena.memory().line_to_write(line.spares())?;
        Some(Self { arena, hold, line, doing, spares, number: number.into() })
    }

    /// The same lease at an address of its own: what leaves the fast path takes the address of this
    /// one, and the lease itself stays in registers.
    #[inline(always)]
    pub(crate) fn aside(&self) -> ManuallyDrop<Self> {
        let Self { arena, ref hold, line, doing, spares, number } = *self;
        ManuallyDrop::new(Self { arena, hold: hold.aside(), line, doing, spares, number })
    }

    /// Number of the line.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "it was widened")]
    pub const fn number(&self) -> u32 {
        self.number as u32
    }

    /// The record in whose name the lessee acts.
    #[inline(always)]
    pub(crate) fn record(&self) -> RecordIndex {
        // There is no lease without one.
        self.arena.identity().map_or(RecordIndex(u32::MAX), |identity| identity.record)
    }

    /// Whether the last lessee unwound in the middle: then [`settle_own`](Self::settle_own) comes
    /// before anything else.
    #[inline]
    pub fn is_unsettled(&self) -> bool {
        self.hold.is_unsettled()
    }

    /// Claims a zeroed block of a class for an insertion; it is named in the line.
    #[inline(always)]
    pub fn claim(&self, class: SizeClass) -> Result<Claimed, NoBlock> {
        let claimed = match self.hold.spare_of(class.units()) {
            Some(spare) => Claimed::from_words(spare),
            None => self.aside().claim_free(class)?,
        };
        // ORDERING(B2): release, pairs with the acquire fence of a reader that still copies from
        // this block's last life.
        self.memory().fence(Fence::Release);
        Ok(claimed)
    }

    /// One legal step of a block's word; its caller says for which ordering.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn step(&self, at: Offset, from: BlockWord, to: BlockWord) -> bool {
        self.memory()
            .compare_exchange(at, from.bits(), to.bits(), Rmw::AcqRel, Load::Relaxed)
            .is_ok()
    }

    #[inline(always)]
    pub(crate) fn word(&self, at: Offset) -> BlockWord {
        BlockWord::from_bits(self.memory().load(at, Load::Acquire))
    }

    /// Which of a slab's blocks this is; `None` where no block of the slab's class starts.
    fn number_of(&self, block: Block) -> Option<(u32, SizeClass, u32)> {
        let (slab, before) = self.layout().slab_of(block)?;
        let class = self.slab_class(slab)?;
        let number = before / class.units();
        (before % class.units() == 0 && number < self.layout().slab_blocks(class))
            .then_some((slab, class, number))
    }

    /// Units that a block has, by the class of its slab; never more than the slab has left.
    #[inline(always)]
    fn units_of(&self, block: Block) -> Option<u32> {
        let (slab, before) = self.layout().slab_of(block)?;
        let served = self.memory().load(self.layout().slab_word(slab), Load::Relaxed);
        let units = SizeClass::from_index(served.wrapping_sub(1)).map_or(0, SizeClass::units);
        Some(units.min(self.layout().geometry().slab_units - before))
    }

    /// Where the word of a block of the index lies, and brings it near. `None`: no block starts
    /// there, so what pointed to it is stale or damaged.
    #[inline(always)]
    pub fn locate(&self, block: Block) -> Option<Located> {
        let at = self.layout().block_word(block)?;
        self.memory().prefetch_to_write(at, 1);
        Some(Located { block, at, units: self.units_of(block)? })
    }

    /// The same of the block whose word has this number, if a used one starts there.
    #[inline(always)]
    pub(crate) fn locate_number(&self, number: u32) -> Option<Located> {
        let at = self.layout().numbered_block_word(number);
        let start = BlockWord::from_bits(self.memory().load(at, Load::Relaxed)).start();
        let block = self.layout().block_in(number, start)?;
        Some(Located { block, at, units: self.units_of(block)? })
    }

    /// After publication: the block is the index's from here on, and that of whoever unlinks it.
    #[inline(always)]
    pub fn published(&self, claimed: Claimed) {
        match claimed.spare() {
            Some(number) => {
                self.hold.clear_spare(number);
                // ORDERING(B7): release, after the store of the index that made the intent
                // needless.
                self.spares.store(number, 0, Store::Release);
            }
            // ORDERING(B7): release, likewise.
            None => self.doing.store(Line::NEW_BLOCK, 0, Store::Release),
        }
    }

    /// Names a block that the next step of the index may unlink. `None`: the block is not in use,
    /// so what pointed to it is stale or damaged.
    ///
    /// A used block is either published, or in a later life and somebody's who has not published
    /// it. Recovery could not tell and would take it from its owner, so `is_linked` is asked, after
    /// the word was read, whether the index links the block still.
    #[inline(always)]
    pub fn intend(&self, located: Located, is_linked: impl FnOnce() -> bool) -> Option<Intended> {
        let Located { block, at, .. } = located;
        let seen = self.word(at);
        let is_here = seen.start() == self.layout().start_in_granule(block);
        if seen.state() != BlockState::Used || !is_here || !is_linked() {
            return None;
        }
        // The generation first: the block is not named before its generation is there.
        self.doing.store(Line::OLD_GENERATION, seen.generation(), Store::Relaxed);
        self.doing.store(Line::OLD_BLOCK, block.unit().into(), Store::Release);
        Some(Intended { located, seen })
    }

    /// Withdraws the intent to unlink.
    #[inline(always)]
    pub fn withdraw(&self) {
        self.doing.store(Line::OLD_BLOCK, 0, Store::Release);
    }

    /// After unlinking: takes the block out of use. What is left to the caller: the index may now
    /// forget it, and then [`reclaim`](Self::reclaim).
    ///
    /// `None`: the line that claimed the block died naming it still, and recovery found it unlinked
    /// and took it.
    #[inline(always)]
    #[must_use = "a block that was retired is reclaimed by who did"]
    pub fn retire(&self, intended: Intended) -> Option<Retired> {
        let retired = self.outlived(intended);
        // ORDERING(B3): acquire-release, so that who finds it out of use finds it unlinked.
        if self.step(retired.at, intended.seen, retired.word) {
            return Some(retired);
        }
        self.aside().recovered(retired.kept);
        None
    }

    #[cold]
    fn recovered(&self, kept: Option<u32>) {
        if let Some(number) = kept {
            self.spares.store(number, 0, Store::Release);
        }
        self.withdraw();
    }

    /// After unlinking under a lock without which nobody unlinks, and nobody recovers: takes the
    /// block out of use by a store. Nobody else takes a linked block out of use meanwhile; without
    /// the lock, who recovers somebody that died of unlinking the same block might.
    ///
    /// The block is this line's alone from here on: [`reclaim`](Self::reclaim) needs no lock.
    #[inline(always)]
    pub fn retire_locked(&self, intended: Intended) -> Retired {
        let retired = self.outlived(intended);
        // ORDERING(B3): release, likewise; the lock orders it for others.
        self.memory().store(retired.at, retired.word.bits(), Store::Release);
        retired
    }

    /// What an unlinked block becomes: the line's spare where there is room, named first, or
    /// drained.
    ///
    /// What becomes the spare begins its next life at once: to recovery, a drained block and a used
    /// one that nobody published are the same.
    #[inline(always)]
    fn outlived(&self, intended: Intended) -> Retired {
        let Intended { located: Located { block, at, units }, seen } = intended;
        let drained = seen.drained_by(self.number());
        let kept = self.hold.room_for(units);
        let word = match kept {
            Some(number) => {
                self.spares.store(number, block.unit().into(), Store::Relaxed);
                drained.kept_by(self.number())
            }
            None => drained,
        };
        Retired { block, at, units, word, kept }
    }

    /// Wipes the words that were used of a block out of use, keeps it as the line's spare or frees
    /// it, and withdraws the intent.
    #[inline(always)]
    pub fn reclaim(&self, retired: Retired, words: u64) {
        let Retired { block, at, units, word, kept } = retired;
        let words = words.min(u64::from(units) * UNIT_WORDS);
        match kept {
            Some(number) => {
                self.wipe(block, words);
                self.hold.set_spare(number, Claimed::kept(block, units, number, word));
            }
            None => self.aside().wipe_retired(block, at, word, words),
        }
        self.withdraw();
    }

    /// Wipes and frees a block where the line has no room for another spare.
    #[inline(never)]
    fn wipe_retired(&self, block: Block, at: Offset, drained: BlockWord, words: u64) {
        self.wipe(block, words);
        self.free(block, at, drained);
    }

    /// Gives a claimed block back that was not published.
    pub fn abandon(&self, claimed: Claimed, words: u64, forget: impl FnOnce()) {
        let block = claimed.block();
        let drained = claimed.word.drained_by(self.number());
        let Some(at) = self.layout().block_word(block) else {
            return;
        };
        // ORDERING(B3): acquire-release, likewise.
        if !self.step(at, claimed.word, drained) {
            return;
        }
        forget();
        // A spare goes back to where it is named.
        let spare = claimed.spare();
        if let Some(number) = spare {
            self.hold.clear_spare(number);
        }
        self.recycle(claimed, at, drained, words);
        if spare.is_none() {
            self.doing.store(Line::NEW_BLOCK, 0, Store::Release);
        }
    }

    /// Wipes a block that this line drains, and keeps it as a spare or frees it.
    fn recycle(&self, claimed: Claimed, at: Offset, word: BlockWord, words: u64) {
        let (block, units) = (claimed.block(), claimed.units());
        self.wipe(block, words.min(u64::from(units) * UNIT_WORDS));
        let Some(number) = claimed.spare().or_else(|| self.hold.room_for(units)) else {
            return self.free(block, at, word);
        };
        self.spares.store(number, block.unit().into(), Store::Relaxed);
        let kept = word.kept_by(self.number());
        if self.step(at, word, kept) {
            self.hold.set_spare(number, Claimed::kept(block, units, number, kept));
        }
    }

    #[inline(always)]
    fn wipe(&self, block: Block, words: u64) {
        // ORDERING(B5): release, pairs with the acquire fence of a reader that sees wiped bytes.
        self.memory().fence(Fence::Release);
        self.memory().write_zeros(block.offset(), words);
    }

    fn free(&self, block: Block, at: Offset, word: BlockWord) {
        // ORDERING(B4): acquire-release, pairs with B1 of the next owner.
        if self.step(at, word, word.free()) {
            self.hint_at(block);
        }
    }

    /// Wipes a whole block that this line drains, and frees it. What was claimed where the slab's
    /// class starts no block was never written into, and the bytes may be another block's.
    pub(crate) fn wipe_and_free(&self, block: Block, word: BlockWord) {
        if let Some((_, class, _)) = self.number_of(block) {
            self.wipe(block, u64::from(class.units()) * UNIT_WORDS);
        }
        if let Some(at) = self.layout().block_word(block) {
            self.free(block, at, word);
        }
    }

    /// The word of a block; `None` where none can start, or its granule starts another.
    pub(crate) fn word_of(&self, block: Block) -> Option<BlockWord> {
        let word = self.word(self.layout().block_word(block)?);
        let is_here = word.start() == self.layout().start_in_granule(block);
        (is_here || word.state() == BlockState::Free).then_some(word)
    }

    /// One legal step of a block's word.
    #[track_caller]
    pub(crate) fn step_of(&self, block: Block, from: BlockWord, to: BlockWord) -> bool {
        // A closure would hide the caller.
        match self.layout().block_word(block) {
            Some(at) => self.step(at, from, to),
            None => false,
        }
    }

    /// Gives the spares back to the free blocks.
    pub(crate) fn release_spares(&self) {
        while let Some((number, spare)) = self.hold.any_spare() {
            let spare = Claimed::from_words(spare);
            self.hold.clear_spare(number);
            let drained = spare.word.drained_by(self.number());
            if self.step_of(spare.block(), spare.word, drained) {
                self.wipe_and_free(spare.block(), drained);
            }
            self.spares.store(number, 0, Store::Release);
        }
    }

    /// Ends a lease whose line still names what was claimed: the next lessee settles it, or, once
    /// the process is dead, recovery does.
    pub fn forsake(self) {
        self.hold.set_unsettled();
    }

    /// Leaves a line that could not be put in order to this process's next recovery, or to others'
    /// after its death; the next lessee gets another line.
    pub(crate) fn give_up(&self) {
        self.hold.clear_spares();
        self.hold.set_settled();
        self.hold.clear_line();
        self.arena.leave_behind(self.number());
    }

    /// Forgets the private side of a line that is put in order; its words name what there is.
    pub(crate) fn forget_private(&self) {
        self.hold.clear_spares();
        self.hold.set_settled();
    }

    pub(crate) const fn line(&self) -> Line {
        self.line
    }

    #[inline(always)]
    pub(crate) const fn memory(&self) -> &'a M {
        self.arena.memory()
    }

    #[inline(always)]
    pub(crate) const fn layout(&self) -> &'a Layout {
        self.arena.layout()
    }

    /// Hints at a free block; also again, where a death may have taken its hint.
    pub(crate) fn hint_at(&self, block: Block) {
        if let Some((slab, _, number)) = self.number_of(block) {
            let at = self.layout().hint(slab, u64::from(number / 64));
            // ORDERING(B6): release, after the step to FREE.
            self.memory().fetch_or(at, 1 << (number % 64), Rmw::Release);
        }
    }

    /// Counts entries that this operation added and removed.
    #[inline(always)]
    pub fn count(&self, added: u64, removed: u64) {
        if added != 0 {
            self.doing.store(Line::ADDED, self.hold.count_added(added), Store::Release);
        }
        if removed != 0 {
            self.doing.store(Line::REMOVED, self.hold.count_removed(removed), Store::Release);
        }
    }
}
