//! Which life a block is in, for those who saw it linked.

use crate::arena::Arena;
use crate::block::{Block, BlockState, BlockWord, SizeClass};
use crate::memory::{Load, Memory};

impl<M: Memory> Arena<M> {
    /// The generation of a block that is in use, or `None`. Takes any bit pattern.
    ///
    /// True of the entry in the block if the caller's index says, after an acquire fence, that the
    /// block stayed linked from before this call until after it: a block leaves its generation only
    /// after it was unlinked.
    #[inline]
    pub fn generation(&self, block: Block) -> Option<u64> {
        let (slab, before) = self.layout().slab_of(block)?;
        let served = self.memory().load(self.layout().slab_word(slab), Load::Relaxed);
        let class = SizeClass::from_index(served.checked_sub(1)?)?;
        let geometry = self.geometry();
        let units = class.units();
        let number = before / units;
        let is_one = (geometry.block_units_min..=geometry.slab_units).contains(&units)
            && before % units == 0
            && number < self.layout().slab_blocks(class);
        if !is_one {
            return None;
        }
        let word = self.memory().load(self.layout().block_word(slab, number), Load::Relaxed);
        let word = BlockWord::from_bits(word);
        matches!(word.state(), BlockState::Live | BlockState::Pending).then(|| word.generation())
    }
}
