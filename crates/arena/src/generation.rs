//! Which life a block is in, for those who saw it linked.

use crate::arena::Arena;
use crate::block::{Block, BlockState, BlockWord};
use crate::memory::{Load, Memory};

impl<M: Memory> Arena<M> {
    /// The generation of a block that is in use, or `None`. Takes any bit pattern.
    ///
    /// True of the entry in the block if the caller's index says, after an acquire fence, that the
    /// block stayed linked from before this call until after it: a block leaves its generation only
    /// after it was unlinked.
    #[inline]
    pub fn generation(&self, block: Block) -> Option<u64> {
        let at = self.layout().block_word(block)?;
        let word = BlockWord::from_bits(self.memory().load(at, Load::Relaxed));
        if word.start() != self.layout().start_in_granule(block) {
            return None;
        }
        (word.state() == BlockState::Used).then(|| word.generation())
    }
}
