//! Changing what is in a chain: what can be done ahead of the lock, what is done under it, and what
//! is left to be done behind it.

use shm_arena::{Claimed, Lease, Memory, Retired};

use super::lock::Locked;
use super::search::Sought;
use super::{Chained, Found};
use crate::contract::{Effect, Entry, Error, Remove, Rule, Unlinked, Version};
use crate::entry::{EntryView, Near, Prepared, check_key};

/// An entry that has gone out, whose block is this line's own: to be read still, and reclaimed.
type Gone<'a, M> = (Found<'a, M>, Retired);

impl<M: Memory> Chained<M> {
    /// The `update` of the contract.
    #[inline(always)]
    pub(super) fn update_entry(&self, entry: Entry<'_>, rule: Rule<'_>) -> Result<Effect, Error> {
        let prepared = Prepared::new(&self.arena, entry)?;
        let approached = self.approach(prepared.hash, Near::ToWrite);
        let Some(written) = self.write_ahead(&prepared) else {
            return self.update_in_order(entry, rule);
        };
        self.approach_entry(approached, Near::of(&rule));
        self.publish(written, &prepared, rule)
    }

    /// Claims a block and writes an entry while the lock is others'. `None` where that needs the
    /// lock: for a line that is out of order, or a recovery, should it turn out that no block is to
    /// be had and one is needed.
    ///
    /// CRASH(write): the block is used and named from the claim to the publication.
    #[inline(always)]
    pub(super) fn write_ahead(&self, prepared: &Prepared<'_>) -> Option<(Lease<'_, M>, Claimed)> {
        let lease = self.orderly_lease()?;
        let claimed = prepared.write(&lease, self.memory()).ok()?;
        if let Some(node_at) = self.arena.layout().side_word(claimed.block()) {
            self.memory().prefetch_to_write(node_at, 1);
        }
        Some((lease, claimed))
    }

    /// An update by an entry that is written.
    #[inline(always)]
    pub(super) fn publish<'a>(
        &'a self,
        (lease, written): (Lease<'a, M>, Claimed),
        prepared: &Prepared<'_>,
        rule: Rule<'_>,
    ) -> Result<Effect, Error> {
        match self.lock_at_once(lease) {
            Ok(locked) => self.update_under(locked, Some(written), prepared, rule),
            // By value: what a call has the address of would live in memory from the start.
            Err(lease) => self.publish_waiting((lease, written), *prepared, rule),
        }
    }

    /// The same where the lock is not to be had at once.
    #[cold]
    fn publish_waiting<'a>(
        &'a self,
        (lease, written): (Lease<'a, M>, Claimed),
        prepared: Prepared<'_>,
        rule: Rule<'_>,
    ) -> Result<Effect, Error> {
        match self.lock_for(lease) {
            Ok(locked) => self.update_under(locked, Some(written), &prepared, rule),
            Err((error, lease)) => {
                give_back(lease, written, prepared.shape.words());
                Err(error)
            }
        }
    }

    /// An update that has to see to the order of its line first, or may need a recovery.
    #[cold]
    fn update_in_order(&self, entry: Entry<'_>, rule: Rule<'_>) -> Result<Effect, Error> {
        let prepared = Prepared::new(&self.arena, entry)?;
        self.update_under(self.lock()?, None, &prepared, rule)
    }

    /// An update under the lock, of an entry that is written, or will be where that is needed; and
    /// what is left to do behind the lock.
    #[inline(always)]
    fn update_under<'a>(
        &'a self,
        locked: Locked<'a, M>,
        mut written: Option<Claimed>,
        prepared: &Prepared<'_>,
        rule: Rule<'_>,
    ) -> Result<Effect, Error> {
        let changed = self.change(&locked, &mut written, prepared, rule);
        let lease = locked.unlock();
        // CRASH(behind): what was claimed in vain, or has gone out, is this line's and named.
        if let Some(claimed) = written {
            give_back(lease, claimed, prepared.shape.words());
            return changed.map(|(effect, _)| effect);
        }
        let (effect, gone) = changed?;
        if let Some((found, retired)) = gone {
            lease.reclaim(retired, found.shape.words());
        }
        Ok(effect)
    }

    /// What a rule makes of the entry that is there, or of its absence. Nothing is `written` any
    /// more once it is published.
    #[inline(always)]
    fn change<'a>(
        &'a self,
        locked: &Locked<'a, M>,
        written: &mut Option<Claimed>,
        prepared: &Prepared<'_>,
        rule: Rule<'_>,
    ) -> Result<(Effect, Option<Gone<'a, M>>), Error> {
        let bucket = self.bucket(prepared.hash);
        let sought = (prepared.hash, prepared.entry.key);
        let found = match self.find(bucket, sought, Near::of(&rule))? {
            Sought::Found(found) => found,
            Sought::Absent(head) => {
                match rule {
                    Rule::Insert { existing, .. } => existing.clear(),
                    Rule::Put { .. } => {}
                    Rule::Replace | Rule::Exchange { .. } => return Ok((Effect::Missing, None)),
                }
                locked.add((bucket, head), written, prepared)?;
                return Ok((Effect::Added, None));
            }
        };
        let metadata = found.entry.metadata();
        let effect = match rule {
            Rule::Insert { existing, is_dead } if is_dead(metadata) => {
                existing.clear();
                Effect::Added
            }
            Rule::Insert { existing, .. } => {
                found.entry.read_value(found.shape, existing);
                return Ok((Effect::Kept { metadata }, None));
            }
            Rule::Put { is_dead } if is_dead(metadata) => Effect::Added,
            Rule::Exchange { version } if self.version(found.block)? != version => {
                return Ok((Effect::Changed, None));
            }
            Rule::Put { .. } | Rule::Replace | Rule::Exchange { .. } => Effect::Replaced,
        };
        let retired = locked.exchange(&found, written, prepared)?;
        Ok((effect, Some((found, retired))))
    }

    /// The `unlink` of the contract.
    #[inline(always)]
    pub(super) fn unlink_entry(
        &self,
        key: &[u8],
        only: Option<Version>,
        value: Option<&mut Vec<u8>>,
    ) -> Result<Unlinked, Error> {
        check_key(key)?;
        let hash = self.arena.hasher().hash(key);
        self.approach_entry(self.approach(hash, Near::ToWrite), Near::ToWrite);
        // In a straight line: what came out of a closure would pass through memory.
        let locked = self.locked()?;
        let found = match self.find(self.bucket(hash), (hash, key), Near::ToWrite) {
            Ok(Sought::Found(found)) => found,
            Ok(Sought::Absent(_)) => return Ok(kept(locked, value, Unlinked::Absent)),
            Err(error) => return Err(failed(locked, error)),
        };
        if let Some(only) = only {
            match self.version(found.block) {
                Ok(version) if version == only => {}
                Ok(_) => return Ok(kept(locked, value, Unlinked::Changed)),
                Err(error) => return Err(failed(locked, error)),
            }
        }
        let retired = match locked.unlink(&found) {
            Ok(retired) => retired,
            Err(error) => return Err(failed(locked, error)),
        };
        let lease = locked.unlock();
        // INVARIANT(I4): the block is this line's own, so it is as it was until this line wipes it.
        if let Some(value) = value {
            found.entry.read_value(found.shape, value);
        }
        let metadata = found.entry.metadata();
        lease.reclaim(retired, found.shape.words());
        Ok(Unlinked::Removed { metadata })
    }

    /// The `remove_version` of the contract.
    pub(super) fn unlink_version(&self, version: Version) -> Result<Remove, Error> {
        if !version.is_of(self.identity) {
            return Ok(Remove::Absent);
        }
        let (lease, gone) = self.under_lock_keeping(|locked| {
            let Some(entry) = EntryView::new(&self.arena, version.block()) else {
                return Ok(None);
            };
            // A block that is not of this version may hold anything: then its chain lacks it.
            let Some(found) = self.find_block(self.bucket(entry.hash()), version.block())? else {
                return Ok(None);
            };
            if self.version(found.block)? != version {
                return Ok(None);
            }
            let retired = locked.unlink(&found)?;
            Ok(Some((found, retired)))
        })?;
        let Some((found, retired)) = gone else { return Ok(Remove::Absent) };
        lease.reclaim(retired, found.shape.words());
        Ok(Remove::Removed)
    }
}

/// Ends a removal that removes nothing.
fn kept<M: Memory>(
    locked: Locked<'_, M>,
    value: Option<&mut Vec<u8>>,
    unlinked: Unlinked,
) -> Unlinked {
    locked.unlock();
    value.into_iter().for_each(Vec::clear);
    unlinked
}

/// Ends a removal that has met damage.
#[cold]
fn failed<M: Memory>(locked: Locked<'_, M>, error: Error) -> Error {
    locked.unlock();
    error
}

/// Gives back what was claimed in vain.
#[inline(never)]
fn give_back<M: Memory>(lease: Lease<'_, M>, claimed: Claimed, words: u64) {
    lease.abandon(claimed, words, || {});
}
