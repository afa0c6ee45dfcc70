//! Updates that insist on what they find: a version, or that it counts as dead.

use shm_arena::{Lease, Load, Memory};

use super::{Draft, Rule, Turn};
use crate::cas_bucket::areas::Bucket;
use crate::cas_bucket::search::{Found, Named, Search};
use crate::cas_bucket::word::{Header, Slot, slots_of};
use crate::cas_bucket::{CasBucket, TURNS_MAX};
use crate::contract::{self, Effect, Entry, Error, Remove, Unlinked, Version};
use crate::entry::{EntryView, Near, Prepared, check_key};

/// What an update insists on.
#[derive(Clone, Copy)]
pub(super) enum Demand<'a> {
    /// Replaces this version and nothing else.
    Version(Version),
    /// Puts, and says *added* where what it replaced counts as dead.
    Over(&'a dyn Fn(u64) -> bool),
}

impl<M: Memory> CasBucket<M> {
    /// The `update` of the contract.
    pub(in crate::cas_bucket) fn update_by_rule(
        &self,
        entry: Entry<'_>,
        rule: contract::Rule<'_>,
    ) -> Result<Effect, Error> {
        match rule {
            contract::Rule::Insert { existing, is_dead } => {
                let effect = self.update_entry(entry, Rule::Insert { existing, is_dead })?;
                Ok(effect.of_insert(existing))
            }
            contract::Rule::Replace => self.update_entry(entry, Rule::Replace),
            contract::Rule::Put { is_dead } => self.update_on(entry, Demand::Over(is_dead)),
            contract::Rule::Exchange { version } => self.update_on(entry, Demand::Version(version)),
        }
    }

    fn update_on(&self, entry: Entry<'_>, demand: Demand<'_>) -> Result<Effect, Error> {
        let prepared = Prepared::new(&self.arena, entry)?;
        let (_, root) = self.approach(prepared.hash)?;
        let lease = self.lease()?;
        if !root.is_settled() {
            self.help_along()?;
        }
        self.attempt_with(&prepared, &lease, None, |bucket, draft| {
            self.turn_on(bucket, &prepared, demand, &lease, draft)
        })
    }

    /// One attempt.
    pub(super) fn turn_on<'a>(
        &'a self,
        bucket: Bucket,
        prepared: &Prepared<'_>,
        demand: Demand<'_>,
        lease: &Lease<'a, M>,
        draft: &mut Option<Draft>,
    ) -> Result<Turn, Error> {
        let (header, matches) = self.load_matches(bucket);
        if !self.is_open(header) || !self.is_current(bucket) {
            return self.elsewhere(bucket, header).map(|()| Turn::Again);
        }
        let found = match self.search(bucket.at, matches, prepared.entry.key, Near::ToWrite) {
            Search::Found(found) => Some(found),
            Search::Absent => None,
            Search::Damaged { what, word } => {
                return self.damaged_or_again(bucket, header, what, word);
            }
        };
        let settled = match (demand, &found) {
            (Demand::Version(version), Some(found)) => {
                (!self.is_version(found, version)).then_some(Effect::Changed)
            }
            (Demand::Version(_), None) => Some(Effect::Missing),
            (Demand::Over(_), _) => None,
        };
        if let Some(effect) = settled {
            let unchanged = self.is_unchanged(bucket.at, header);
            return Ok(if unchanged { Turn::Done(effect) } else { Turn::Again });
        }
        let counts_as_absent = match (demand, &found) {
            (Demand::Over(is_dead), Some(found)) => is_dead(found.entry.metadata()),
            _ => false,
        };
        let turn = self.carry_out(bucket, header, prepared, found, lease, draft)?;
        Ok(match turn {
            Turn::Done(Effect::Replaced) if counts_as_absent => Turn::Done(Effect::Added),
            turn => turn,
        })
    }

    /// Whether an entry is of a version; true if the header is unchanged.
    fn is_version(&self, found: &Found<'_, M>, version: Version) -> bool {
        version.block() == found.named.slot.block()
            && self.version(found.named.slot.block()) == Some(version)
    }

    /// The `unlink` of the contract where it insists on a version.
    pub(in crate::cas_bucket) fn unlink_version(
        &self,
        key: &[u8],
        version: Version,
        mut value: Option<&mut Vec<u8>>,
    ) -> Result<Unlinked, Error> {
        check_key(key)?;
        let hash = self.arena.hasher().hash(key);
        let lease = self.lease()?;
        // Each failed turn means that somebody changed this bucket.
        for _ in 0..TURNS_MAX {
            let bucket = self.governing(hash)?;
            let (header, matches) = self.load_matches(bucket);
            if !self.is_open(header) || !self.is_current(bucket) {
                self.elsewhere(bucket, header)?;
                continue;
            }
            let settled = match self.search(bucket.at, matches, key, Near::ToWrite) {
                Search::Found(found) if !self.is_version(&found, version) => Unlinked::Changed,
                Search::Found(found) => {
                    let (Some(located), Some(shape)) =
                        (lease.locate(found.named.slot.block()), found.entry.shape())
                    else {
                        self.stale_block(bucket, header, found.named.slot.block())?;
                        continue;
                    };
                    if let Some(value) = value.as_deref_mut() {
                        found.entry.read_value(shape, value);
                    }
                    let metadata = found.entry.metadata();
                    if self.unlink_found(bucket, header, (&found, located), &lease)? {
                        return Ok(Unlinked::Removed { metadata });
                    }
                    continue;
                }
                Search::Absent => Unlinked::Absent,
                Search::Damaged { what, word } => {
                    self.damaged_or_again(bucket, header, what, word)?;
                    continue;
                }
            };
            if self.is_unchanged(bucket.at, header) {
                value.into_iter().for_each(Vec::clear);
                return Ok(settled);
            }
        }
        Err(self.contended(hash))
    }

    /// The `remove_version` of the contract: the block says in which bucket it is linked.
    pub(in crate::cas_bucket) fn unlink_block(&self, version: Version) -> Result<Remove, Error> {
        let lease = self.lease()?;
        if !version.is_of(self.identity) {
            return Ok(Remove::Absent);
        }
        let Some(entry) = EntryView::new(&self.arena, version.block()) else {
            return Ok(Remove::Absent);
        };
        // A block that is not of this version may hold anything: then its bucket does not name it.
        let hash = entry.hash();
        // Each failed turn means that somebody changed this bucket.
        for _ in 0..TURNS_MAX {
            let bucket = self.governing(hash)?;
            let header = self.load_header(bucket.at);
            if !self.is_open(header) || !self.is_current(bucket) {
                self.elsewhere(bucket, header)?;
                continue;
            }
            let found = self.slot_naming(bucket, header, version.block(), entry);
            if let Some(found) = found.filter(|found| self.is_version(found, version)) {
                let Some(located) = lease.locate(version.block()) else {
                    self.stale_block(bucket, header, found.named.slot.block())?;
                    continue;
                };
                if self.unlink_found(bucket, header, (&found, located), &lease)? {
                    return Ok(Remove::Removed);
                }
            } else if self.is_unchanged(bucket.at, header) {
                return Ok(Remove::Absent);
            }
        }
        Err(self.contended(hash))
    }

    /// The live slot of a bucket that names a block.
    fn slot_naming<'a>(
        &'a self,
        bucket: Bucket,
        header: Header,
        block: shm_arena::Block,
        entry: EntryView<'a, M>,
    ) -> Option<Found<'a, M>> {
        let shape = entry.shape()?;
        slots_of(self.slots.live(header)).find_map(|number| {
            let at = self.areas.slot(bucket.at, number);
            let slot = Slot::from_bits(self.memory().load(at, Load::Relaxed));
            let named = Named { at, number, slot };
            (slot.block() == block).then_some(Found { named, shape, entry })
        })
    }
}
