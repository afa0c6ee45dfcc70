//! Finding a free block: by hints, in slabs that serve its class or none, and by making room.
//!
//! # Orderings
//!
//! | id | site | order | pairs with | why no weaker |
//! |---|---|---|---|---|
//! | B1 | claim FREE → USED | acquire-release | B4 of the last owner | the claimer's stores must follow the wipe |
//! | B6 | hint set / taken | release / acquire | each other | relaxed hints get lost: a false "no block" |

use crate::block::{Block, BlockState, BlockWord, SizeClass};
use crate::lease::{Claimed, Lease, NoBlock};
use crate::memory::{Load, Memory, Rmw, Store};

/// What came of an attempt at a block.
enum Claim {
    /// It is this line's.
    Claimed(BlockWord),
    /// It is somebody's.
    Taken,
    /// Its slab serves another class by now, or the block went from hand to hand all the while.
    Elsewhere,
}

/// Attempts at one block while it leaves use again and again.
const CLAIM_TURNS_MAX: u32 = 4;

/// Slabs that one allocation gives to its class at most, should others claim all of their blocks.
const RECLASS_TURNS_MAX: u32 = 4;

/// Block words looked at, at most, before an allocation says that there is no block.
pub(crate) const SCAN_BLOCKS_MAX: u32 = 1024;

impl<M: Memory> Lease<'_, M> {
    #[cold]
    pub(crate) fn claim_free(&self, class: SizeClass) -> Result<Claimed, NoBlock> {
        self.claim_assigned(class)
            .or_else(|| self.claim_making_room(class))
            .ok_or(NoBlock { class })
    }

    /// A block of a slab that serves the class, or served none and does from here on.
    fn claim_assigned(&self, class: SizeClass) -> Option<Claimed> {
        let slabs = self.layout().geometry().slabs;
        let home = self.hold.home(class) % slabs;
        for slab in (home..slabs).chain(0..home) {
            let served = self.slab_class(slab);
            if served == Some(class)
                && let Some(claimed) = self.claim_hinted(slab, class)
            {
                self.hold.set_home(class, slab);
                return Some(claimed);
            }
        }
        let spread = self.number().wrapping_mul(0x9e37) % slabs;
        for slab in (spread..slabs).chain(0..spread) {
            if self.assign_slab(slab, class)
                && let Some(claimed) = self.claim_hinted(slab, class)
            {
                self.hold.set_home(class, slab);
                return Some(claimed);
            }
        }
        None
    }

    /// The same when there is none: spares of this process's threads go back, an empty slab changes
    /// its class, and in the end a larger block serves as well.
    #[cold]
    fn claim_making_room(&self, class: SizeClass) -> Option<Claimed> {
        self.release_spares();
        self.arena.release_idle_spares();
        // Another line may be quicker to claim what this one made room for.
        for _ in 0..RECLASS_TURNS_MAX {
            let Some(slab) = self.reclass_any(class) else { break };
            if let Some(claimed) = self.claim_hinted(slab, class) {
                self.hold.set_home(class, slab);
                return Some(claimed);
            }
        }
        let larger = (class.index() as u64 + 1..).map_while(SizeClass::from_index);
        let slabs = 0..self.layout().geometry().slabs;
        self.claim_assigned(class).or_else(|| self.claim_scanned(class)).or_else(|| {
            larger
                .flat_map(|larger| slabs.clone().map(move |slab| (slab, larger)))
                .filter(|&(slab, larger)| self.slab_class(slab) == Some(larger))
                .find_map(|(slab, larger)| self.claim_hinted(slab, larger))
        })
    }

    pub(crate) fn slab_class(&self, slab: u32) -> Option<SizeClass> {
        let served = self.memory().load(self.layout().slab_word(slab), Load::Relaxed);
        self.layout().served_class(served)
    }

    /// Whether the slab serves the class, given to it now if it served none.
    ///
    /// CRASH(assign): the word alone decides; its blocks were free before and are free after.
    fn assign_slab(&self, slab: u32, class: SizeClass) -> bool {
        let at = self.layout().slab_word(slab);
        let served = class.index() as u64 + 1;
        if self.memory().load(at, Load::Relaxed) != 0 {
            return false;
        }
        match self.memory().compare_exchange(at, 0, served, Rmw::Relaxed, Load::Relaxed) {
            Ok(_) => true,
            Err(found) => found == served,
        }
    }

    fn claim_hinted(&self, slab: u32, class: SizeClass) -> Option<Claimed> {
        let blocks = self.layout().slab_blocks(class);
        for hint in 0..u64::from(blocks.div_ceil(64)) {
            let at = self.layout().hint(slab, hint);
            #[expect(clippy::cast_possible_truncation, reason = "hints of a slab are few")]
            let first = hint as u32 * 64;
            let valid = u64::MAX >> (64 - (blocks - first).min(64));
            // Each turn clears a bit that was set: at most 64 by this thread, more only when others
            // free blocks meanwhile.
            for _ in 0..128 {
                let bits = self.memory().load(at, Load::Relaxed) & valid;
                if bits == 0 {
                    break;
                }
                let number = first + bits.trailing_zeros();
                let block = self.layout().block(slab, class, number);
                self.memory().store(self.line().new_block(), block.unit().into(), Store::Relaxed);
                let bit = 1 << (number % 64);
                // ORDERING(B6): acquire, pairs with the release of whoever freed the block. The
                // release half puts the intent before it.
                if self.memory().fetch_and(at, !bit, Rmw::AcqRel) & bit == 0 {
                    continue;
                }
                match self.claim_block(block, slab, class) {
                    Claim::Claimed(word) => return Some(Claimed::new(block, class, word)),
                    Claim::Taken => {}
                    Claim::Elsewhere => {
                        // The hint speaks of another block by now, which may be free.
                        self.memory().fetch_or(at, bit, Rmw::Release);
                        break;
                    }
                }
            }
        }
        self.memory().store(self.line().new_block(), 0, Store::Release);
        None
    }

    /// Looks at block words themselves, a bounded number of them, from where the last look ended.
    fn claim_scanned(&self, class: SizeClass) -> Option<Claimed> {
        let slabs = self.layout().geometry().slabs;
        let mut left = SCAN_BLOCKS_MAX;
        for _ in 0..slabs {
            let slab = self.hold.scanned() % slabs;
            if self.slab_class(slab) == Some(class) {
                for number in 0..self.layout().slab_blocks(class) {
                    let block = self.layout().block(slab, class, number);
                    let at = self.layout().block_word(block);
                    if at.is_some_and(|at| self.word(at).state() == BlockState::Free) {
                        let unit = block.unit().into();
                        self.memory().store(self.line().new_block(), unit, Store::Relaxed);
                        if let Claim::Claimed(word) = self.claim_block(block, slab, class) {
                            return Some(Claimed::new(block, class, word));
                        }
                    }
                    left = left.saturating_sub(1);
                }
            }
            self.hold.set_scanned((slab + 1) % slabs);
            if left == 0 {
                break;
            }
        }
        self.memory().store(self.line().new_block(), 0, Store::Release);
        None
    }

    /// Claims a block of a slab, if it is free and the slab serves its class once it is held.
    fn claim_block(&self, block: Block, slab: u32, class: SizeClass) -> Claim {
        // Each failed turn means that the block left use once more, or began to be used.
        for _ in 0..CLAIM_TURNS_MAX {
            let Some(word) = self.take_free(block) else {
                let still = self.serves_still(slab, class);
                let is_free = |word: BlockWord| word.state() == BlockState::Free;
                match (still, self.word_of(block).is_some_and(is_free)) {
                    (false, _) => return Claim::Elsewhere,
                    (true, true) => continue,
                    (true, false) => return Claim::Taken,
                }
            };
            if self.serves_still(slab, class) {
                return Claim::Claimed(word);
            }
            if let Some(at) = self.layout().block_word(block) {
                let _ = self.step(at, word, word.drained_by(self.number()).free());
            }
            self.hint_at(block);
            return Claim::Elsewhere;
        }
        Claim::Elsewhere
    }

    /// FREE → USED, whatever starts there.
    pub(crate) fn take_free(&self, block: Block) -> Option<BlockWord> {
        let at = self.layout().block_word(block)?;
        let word = self.word(at);
        let claimed = word.claimed_by(self.number(), self.layout().start_in_granule(block));
        // ORDERING(B1): acquire-release, pairs with B4 of the last owner.
        (word.state() == BlockState::Free && self.step(at, word, claimed)).then_some(claimed)
    }
}
