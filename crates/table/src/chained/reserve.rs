//! A block claimed first, filled by its caller without the lock, published under it.

use std::fmt;

use shm_arena::{Claimed, Lease, Memory};

use super::Chained;
use crate::contract::{Effect, Entry, Error, Reservation, Room, Rule};
use crate::entry::{EntryShape, Prepared, write_piece};

/// A claimed block and the line that names it.
///
/// CRASH(reserve): the block is used and named from the claim to the publication.
struct Reserved<'a, M: Memory> {
    table: &'a Chained<M>,
    /// `None` once it is published.
    lease: Option<Lease<'a, M>>,
    block: Claimed,
    key: Vec<u8>,
    value_bytes: usize,
    metadata: u64,
}

impl<M: Memory> Chained<M> {
    /// The `reserve` of the contract.
    pub(super) fn reserve_block(
        &self,
        key: &[u8],
        value_bytes: usize,
        metadata: u64,
    ) -> Result<Reservation<'_>, Error> {
        let entry = Entry { key, value: &[], metadata };
        let prepared = Prepared::sized(&self.arena, entry, value_bytes)?;
        let (lease, block) = match self.write_ahead(&prepared) {
            Some(written) => written,
            // The lock, since recovery and the line of a lessee that unwound need it.
            None => self.under_lock_keeping(|locked| locked.write(&prepared))?,
        };
        let (key, lease) = (key.to_vec(), Some(lease));
        let room = Reserved { table: self, lease, block, key, value_bytes, metadata };
        Ok(Reservation::new(room, value_bytes))
    }
}

impl<M: Memory> Room for Reserved<'_, M> {
    fn write_at(&mut self, at: usize, bytes: &[u8]) {
        let shape = EntryShape::new(self.key.len(), self.value_bytes);
        write_piece(self.table.memory(), (self.block.block(), shape), at, bytes);
    }

    fn publish(mut self: Box<Self>, rule: Rule<'_>) -> Result<Effect, Error> {
        let table = self.table;
        let entry = Entry { key: &self.key, value: &[], metadata: self.metadata };
        let prepared = Prepared::sized(&table.arena, entry, self.value_bytes)?;
        let Some(lease) = self.lease.take() else { return Ok(Effect::Missing) };
        table.publish((lease, self.block), &prepared, rule)
    }
}

/// Stores nothing: the block stays named in the line, whose next lessee frees it.
impl<M: Memory> Drop for Reserved<'_, M> {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.forsake();
        }
    }
}

impl<M: Memory> fmt::Debug for Reserved<'_, M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} for a key of {} bytes", self.block.block(), self.key.len())
    }
}
