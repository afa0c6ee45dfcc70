//! Giving a slab whose blocks are all free to another size class.
//!
//! # Idea
//!
//! Whoever holds every block of a slab may do with it what it likes. So a line that finds no block
//! of its class withholds all blocks of an empty slab of another, exchanges the class in the slab's
//! word, and lets go: each block leaves use once more, so its generation goes on and a claim that
//! was under way under the old class fails. A block that anybody holds keeps its slab's class as it
//! is.
//!
//! A claimer that read the old class may still come late and claim a block that starts where none
//! does by now. So it reads the slab's class again once it has the block, and gives it back if that
//! changed; until then it has written nothing. Readers never ask for a class.
//!
//! # Orderings
//!
//! | id | site | order | pairs with | why no weaker |
//! |---|---|---|---|---|
//! | C1 | the slab's class exchanged | acquire-release | C2 | what the old blocks' owners wiped is wiped for the new ones' |
//! | C2 | the class read again after a claim | acquire | C1 | likewise |
//! | B6 | hints set | release | the acquire of whoever takes one | relaxed hints get lost: a false "no block" |
//! | B1 | a block withheld | acquire-release | B4 of the last owner | the next owner's stores must follow the wipe |
//! | C3 | the intent cleared | release | a reaper's acquiring verdict | a death must not show the intent cleared and a block held |
//!
//! # Crash
//!
//! | dies after | left behind | what others see | repaired by |
//! |---|---|---|---|
//! | the intent | a line that names a slab | nothing | settling: it holds no block of it |
//! | some claims | blocks of the slab, withheld by a line that names the slab | a fuller slab | settling lets go of all that the line holds there |
//! | the class | the same, of the new class | the same | likewise |
//! | letting go, before the hints | free blocks without hints | fewer blocks to hint at | settling sets the slab's hints |

use crate::block::{BlockState, SizeClass};
use crate::lease::Lease;
use crate::memory::{Load, Memory, Offset, Rmw, Store};
use crate::participant::Line;

impl<M: Memory> Lease<'_, M> {
    /// Gives an empty slab of another class to this one; gives the slab, if there was any.
    pub(crate) fn reclass_any(&self, class: SizeClass) -> Option<u32> {
        let slabs = self.layout().geometry().slabs;
        let spread = self.number().wrapping_mul(0x9e37) % slabs;
        (spread..slabs).chain(0..spread).find(|&slab| {
            let served = self.slab_class(slab).filter(|&served| served != class);
            served.is_some_and(|served| {
                self.looks_empty(slab, served) && self.reclass(slab, served, class)
            })
        })
    }

    /// Whether every block of a slab is hinted at.
    fn looks_empty(&self, slab: u32, class: SizeClass) -> bool {
        let blocks = self.layout().slab_blocks(class);
        (0..blocks.div_ceil(64)).all(|hint| {
            let valid = u64::MAX >> (64 - (blocks - hint * 64).min(64));
            let at = self.layout().hint(slab, hint.into());
            self.memory().load(at, Load::Relaxed) & valid == valid
        })
    }

    /// Claims every block of a slab, changes its class, and lets go. `false`: not all were free,
    /// and nothing changed.
    ///
    /// CRASH(reclass): the line names the slab before it holds any of its blocks.
    fn reclass(&self, slab: u32, from: SizeClass, to: SizeClass) -> bool {
        let intent = self.line().reclassed();
        self.memory().store(intent, u64::from(slab) + 1, Store::Relaxed);
        let blocks = self.layout().slab_blocks(from);
        let held = (0..blocks)
            .take_while(|&number| {
                let at = self.layout().block_word(self.layout().block(slab, from, number));
                at.is_some_and(|at| self.withhold(at))
            })
            .count();
        let holds_all = u32::try_from(held) == Ok(blocks);
        // ORDERING(C1): acquire-release, pairs with C2. It holds every block, so this cannot fail.
        let changed = holds_all
            && self
                .memory()
                .compare_exchange(
                    self.layout().slab_word(slab),
                    from.index() as u64 + 1,
                    to.index() as u64 + 1,
                    Rmw::AcqRel,
                    Load::Relaxed,
                )
                .is_ok();
        for number in 0..blocks.min(u32::try_from(held).unwrap_or(blocks)) {
            if let Some(at) = self.layout().block_word(self.layout().block(slab, from, number)) {
                self.let_go(at, self.number());
            }
        }
        self.hint_at_all(slab);
        // ORDERING(C3): release, after the last step of a block.
        self.memory().store(intent, 0, Store::Release);
        changed
    }

    /// FREE → DRAIN, in which no block of this line is that it does not name one by one: what is
    /// used in the slab by the line's number may be published, and anybody's.
    fn withhold(&self, at: Offset) -> bool {
        let word = self.word(at);
        // ORDERING(B1): acquire-release, pairs with B4 of the last owner.
        word.state() == BlockState::Free && self.step(at, word, word.withheld_by(self.number()))
    }

    /// Frees a block that a line withholds and never wrote into: it is as wiped as it was.
    fn let_go(&self, at: Offset, line: u32) {
        let word = self.word(at);
        if word.state() == BlockState::Drain && word.owner() == line {
            let _ = self.step(at, word, word.drained_by(line).free());
        }
    }

    /// Hints at all blocks of a slab: those that are in use cost a claimer a look.
    pub(crate) fn hint_at_all(&self, slab: u32) {
        for hint in self.layout().slab_hint_words(slab) {
            // ORDERING(B6): release, after the steps to FREE.
            self.memory().fetch_or(hint, u64::MAX, Rmw::Release);
        }
    }

    /// Lets go of what a line held of the slab that it names, when all blocks that it names one by
    /// one are settled.
    pub(crate) fn settle_reclassed(&self, line: Line, number: u32) {
        let named = self.memory().load(line.reclassed(), Load::Acquire);
        let slab = u32::try_from(named).unwrap_or(0).checked_sub(1);
        if let Some(slab) = slab.filter(|&slab| slab < self.layout().geometry().slabs) {
            for at in self.layout().slab_block_words(slab) {
                self.let_go(at, number);
            }
            self.hint_at_all(slab);
        }
        if named != 0 {
            // ORDERING(C3): release, after the last step of a block.
            self.memory().store(line.reclassed(), 0, Store::Release);
        }
    }

    /// Whether a slab serves a class still, asked by whoever claimed a block of it. Then it will as
    /// long as the block is held.
    pub(crate) fn serves_still(&self, slab: u32, class: SizeClass) -> bool {
        // ORDERING(C2): acquire, pairs with C1.
        let served = self.memory().load(self.layout().slab_word(slab), Load::Acquire);
        self.layout().served_class(served) == Some(class)
    }
}
