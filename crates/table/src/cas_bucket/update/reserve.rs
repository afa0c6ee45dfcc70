//! A block claimed first, filled by its caller, published last.

use std::fmt;

use shm_arena::{Claimed, Lease, Memory};

use super::conditional::Demand;
use super::{Draft, Rule};
use crate::cas_bucket::CasBucket;
use crate::cas_bucket::word::Slot;
use crate::contract::{self, Effect, Entry, Error, Reservation, Room};
use crate::entry::{Prepared, write_piece};

/// A claimed block and the line that names it.
///
/// CRASH(reserve): the block is used and named from the claim to the publication.
struct Reserved<'a, M: Memory> {
    table: &'a CasBucket<M>,
    /// `None` once it is published.
    lease: Option<Lease<'a, M>>,
    block: Claimed,
    key: Vec<u8>,
    value_bytes: usize,
    metadata: u64,
}

impl<M: Memory> CasBucket<M> {
    /// The `reserve` of the contract.
    pub(in crate::cas_bucket) fn reserve_block(
        &self,
        key: &[u8],
        value_bytes: usize,
        metadata: u64,
    ) -> Result<Reservation<'_>, Error> {
        let entry = Entry { key, value: &[], metadata };
        let prepared = Prepared::sized(&self.arena, entry, value_bytes)?;
        let lease = self.lease()?;
        let block = match prepared.write(&lease, self.memory()) {
            Err(error @ Error::NoBlock { .. }) => {
                if self.arena.recover(&lease, self).blocks == 0 {
                    return Err(error);
                }
                prepared.write(&lease, self.memory())?
            }
            written => written?,
        };
        let (key, lease) = (key.to_vec(), Some(lease));
        let room = Reserved { table: self, lease, block, key, value_bytes, metadata };
        Ok(Reservation::new(room, value_bytes))
    }
}

impl<M: Memory> Room for Reserved<'_, M> {
    fn write_at(&mut self, at: usize, bytes: &[u8]) {
        let shape = crate::entry::EntryShape::new(self.key.len(), self.value_bytes);
        write_piece(self.table.memory(), (self.block.block(), shape), at, bytes);
    }

    fn publish(mut self: Box<Self>, rule: contract::Rule<'_>) -> Result<Effect, Error> {
        let table = self.table;
        let entry = Entry { key: &self.key, value: &[], metadata: self.metadata };
        let prepared = Prepared::sized(&table.arena, entry, self.value_bytes)?;
        // Stamped when it finds its bucket.
        let draft = Some(Draft { block: self.block, slot: Slot::FRESH, place: None });
        let Some(lease) = self.lease.take() else { return Ok(Effect::Missing) };
        let (mut rule, demand) = match rule {
            contract::Rule::Insert { existing, is_dead } => {
                let mut rule = Rule::Insert { existing: &mut *existing, is_dead };
                let effect = table.attempt_with(&prepared, &lease, draft, |bucket, draft| {
                    table.turn(bucket, &prepared, &mut rule, &lease, draft)
                })?;
                return Ok(effect.of_insert(existing));
            }
            contract::Rule::Replace => (Rule::Replace, None),
            contract::Rule::Put { is_dead } => (Rule::Put, Some(Demand::Over(is_dead))),
            contract::Rule::Exchange { version } => (Rule::Put, Some(Demand::Version(version))),
        };
        table.attempt_with(&prepared, &lease, draft, |bucket, draft| match demand {
            Some(demand) => table.turn_on(bucket, &prepared, demand, &lease, draft),
            None => table.turn(bucket, &prepared, &mut rule, &lease, draft),
        })
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
