//! The lock: taken from nobody or from the dead, and what its owner may do to a chain.

use shm_arena::{
    Backoff, Block, Claimed, Identity, Lease, Load, Memory, RecordIndex, Retired, Rmw, Store,
};

use super::head::{Head, Node, Tag};
use super::{Chained, Found, LOCK_WAIT_MS_MAX, Link};
use crate::contract::Error;
use crate::entry::Prepared;

/// The lock, held by the leased line.
pub(super) struct Locked<'a, M: Memory> {
    pub(super) lease: Lease<'a, M>,
    pub(super) chains: Chains<'a, M>,
}

/// The chains in the hands of the lock's owner: as it changes them, and as recovery sees them.
pub(super) struct Chains<'a, M>(pub(super) &'a Chained<M>);

impl<M> Clone for Chains<'_, M> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Chains<'_, M> {}

impl<M: Memory> Chained<M> {
    /// Runs a verb under the lock.
    #[inline(always)]
    pub(super) fn under_lock<'a, T>(
        &'a self,
        verb: impl FnOnce(&Locked<'a, M>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.under_lock_keeping(verb).map(|(_, outcome)| outcome)
    }

    /// Runs a verb under the lock, and keeps the line for what is left to do without it.
    #[inline(always)]
    pub(super) fn under_lock_keeping<'a, T>(
        &'a self,
        verb: impl FnOnce(&Locked<'a, M>) -> Result<T, Error>,
    ) -> Result<(Lease<'a, M>, T), Error> {
        let locked = self.locked()?;
        let outcome = verb(&locked);
        let lease = locked.unlock();
        outcome.map(|outcome| (lease, outcome))
    }

    /// The lock, at once or after a wait.
    #[inline(always)]
    pub(super) fn locked(&self) -> Result<Locked<'_, M>, Error> {
        match self.orderly_lease().and_then(|lease| self.lock_at_once(lease).ok()) {
            Some(locked) => Ok(locked),
            None => self.lock(),
        }
    }

    /// A line that is in order; `None` where getting one takes more.
    #[inline(always)]
    pub(super) fn orderly_lease(&self) -> Option<Lease<'_, M>> {
        self.arena.try_lease().filter(|lease| !lease.is_unsettled())
    }

    /// The lock where it is free; `Err` where getting it takes more.
    ///
    /// Nothing that is not needed then passes through memory here: a verb would wait for it.
    #[inline(always)]
    pub(super) fn lock_at_once<'a>(
        &'a self,
        lease: Lease<'a, M>,
    ) -> Result<Locked<'a, M>, Lease<'a, M>> {
        let locked = Locked { lease, chains: Chains(self) };
        if !locked.take_from(0, self.owner_word(&locked.lease)) {
            return Err(locked.lease);
        }
        if !self.size().is_settled() {
            // Its last owner died adjusting.
            return Err(locked.unlock());
        }
        Ok(locked)
    }

    /// Waits for the lock.
    #[cold]
    pub(super) fn lock(&self) -> Result<Locked<'_, M>, Error> {
        self.lock_for(self.arena.lease()?).map_err(|(error, _)| error)
    }

    /// Takes the lock: from nobody, or from the dead.
    ///
    /// CRASH(lock): the word names the owner at the instant at which it owns.
    pub(super) fn lock_for<'a>(
        &'a self,
        lease: Lease<'a, M>,
    ) -> Result<Locked<'a, M>, (Error, Lease<'a, M>)> {
        let unsettled = lease.is_unsettled();
        let word = self.owner_word(&lease);
        let locked = Locked { lease, chains: Chains(self) };
        let backoff = Backoff::new();
        let mut since_ms = None;
        // Bounded by the clock, and by turns where the clock stands still.
        for turn in 0..LOCK_TURNS_MAX {
            // ORDERING(L0): acquire, pairs with the release half of L1.
            let owner = self.memory().load(self.lock_word(), Load::Acquire);
            // The last lessee of this very line may have unwound with the lock.
            let free = owner == 0 || owner == word || self.is_abandoned(owner, turn);
            if free && locked.take_from(owner, word) {
                // What an owner left that died, or unwound, in the middle of adjusting: first,
                // since until then nobody can tell what is linked.
                if !self.size().is_settled()
                    && let Err(error) = locked.chains.finish_adjusting()
                {
                    return Err((error, locked.unlock()));
                }
                if unsettled && !locked.lease.settle_own(&locked.chains) {
                    let word = self.lock_word().word();
                    let error = Error::Corrupt { what: "chain of an unsettled line", word };
                    return Err((error, locked.unlock()));
                }
                return Ok(locked);
            }
            if turn % CLOCK_TURNS == CLOCK_TURNS - 1 {
                let now_ms = self.arena.environment().clock.now_ms();
                if now_ms.saturating_sub(*since_ms.get_or_insert(now_ms)) > LOCK_WAIT_MS_MAX {
                    break;
                }
            }
            self.memory().spin(&backoff);
        }
        let owner = self.memory().load(self.lock_word(), Load::Relaxed);
        #[expect(clippy::cast_possible_truncation, reason = "the low sixteen bits are the line")]
        let owner = u32::from(owner as u16).wrapping_sub(1);
        Err((Error::Busy { owner, waited_ms: LOCK_WAIT_MS_MAX }, locked.lease))
    }

    /// The lock word while the lessee of a line owns the lock.
    #[inline(always)]
    fn owner_word(&self, lease: &Lease<'_, M>) -> u64 {
        self.arena.identity().map_or(0, |identity| {
            let owner = u64::from(identity.record.0) << 16 | u64::from(lease.number() + 1);
            u64::from(identity.incarnation) << 32 | owner
        })
    }

    /// Whether the owner that a lock word names is dead; asked of the kernel now and then.
    fn is_abandoned(&self, owner: u64, turn: u32) -> bool {
        let record = RecordIndex((owner >> 16 & 0xffff) as u32);
        let incarnation = (owner >> 32) as u32;
        turn % DEATH_TURNS == DEATH_TURNS - 1
            && self.arena.is_gone(Identity { record, incarnation })
    }
}

impl<'a, M: Memory> Locked<'a, M> {
    #[inline(always)]
    fn take_from(&self, owner: u64, word: u64) -> bool {
        let Chains(table) = self.chains;
        // ORDERING(L1): acquire, pairs with L2 of the last owner; a dead owner's stores are
        // acquired by the verdict. Release, pairs with L0.
        table
            .memory()
            .compare_exchange(table.lock_word(), owner, word, Rmw::AcqRel, Load::Relaxed)
            .is_ok()
    }

    /// Gives the lock back. Not a `Drop`: an unwinding owner keeps the lock, and it is taken over.
    #[inline(always)]
    pub(super) fn unlock(self) -> Lease<'a, M> {
        let Chains(table) = self.chains;
        // ORDERING(L2): release, pairs with L1. Nobody takes the lock from the living, so there is
        // nothing to compare.
        table.memory().store(table.lock_word(), 0, Store::Release);
        self.lease
    }

    /// Adds an entry at the head of its chain.
    #[inline(always)]
    pub(super) fn add(
        &self,
        (bucket, head): (u64, Head),
        written: &mut Option<Claimed>,
        prepared: &Prepared<'_>,
    ) -> Result<(), Error> {
        let claimed = self.written(written, prepared)?;
        let (block, tag) = (claimed.block(), Tag::of(prepared.hash));
        self.chains.set_node(block, Node { next: head.first, tag }, Store::Relaxed);
        self.chains.set_head(bucket, head.behind(block.unit().into(), tag));
        *written = None;
        self.lease.published(claimed);
        let entries = self.chains.0.count_added();
        // The entry is in. Damage that growing meets, the next verb reports.
        let _ = self.chains.grow_if_crowded(entries);
        Ok(())
    }

    /// Puts an entry where another one is.
    #[inline(always)]
    pub(super) fn exchange(
        &self,
        found: &Found<'a, M>,
        written: &mut Option<Claimed>,
        prepared: &Prepared<'_>,
    ) -> Result<Retired, Error> {
        // The old block's word comes near while the node of the new one is written.
        let located = self.lease.locate(found.block);
        let claimed = self.written(written, prepared)?;
        let block = claimed.block();
        self.chains.set_node(block, found.node, Store::Relaxed);
        let intended = located.and_then(|located| self.lease.intend(located, || true));
        let intended = intended.ok_or_else(|| found.damaged())?;
        self.chains.relink(found.link, block.unit().into());
        *written = None;
        self.lease.published(claimed);
        Ok(self.lease.retire_locked(intended))
    }

    /// Takes an entry out of its chain. Its block is this line's own from then on, and as it was.
    #[inline(always)]
    pub(super) fn unlink(&self, found: &Found<'a, M>) -> Result<Retired, Error> {
        let located = self.lease.locate(found.block);
        let intended = located.and_then(|located| self.lease.intend(located, || true));
        let intended = intended.ok_or_else(|| found.damaged())?;
        self.chains.relink(found.link, found.node.next);
        let retired = self.lease.retire_locked(intended);
        let entries = self.chains.0.count().saturating_sub(1);
        self.chains.0.set_count(entries);
        // The entry is out. Damage that shrinking meets, the next verb reports.
        let _ = self.chains.shrink_if_sparse(entries);
        Ok(retired)
    }

    /// The block with the entry, written if that could not be done ahead.
    #[inline(always)]
    fn written(
        &self,
        written: &mut Option<Claimed>,
        prepared: &Prepared<'_>,
    ) -> Result<Claimed, Error> {
        if let Some(claimed) = *written {
            return Ok(claimed);
        }
        let claimed = self.write(prepared)?;
        *written = Some(claimed);
        Ok(claimed)
    }

    /// Writes an entry into a block, after recovery if there is none.
    #[cold]
    pub(super) fn write(&self, prepared: &Prepared<'_>) -> Result<Claimed, Error> {
        let Chains(table) = self.chains;
        let written = prepared.write(&self.lease, table.memory());
        let is_full = matches!(written, Err(Error::NoBlock { .. }));
        if is_full && table.arena.recover(&self.lease, &self.chains).blocks != 0 {
            return prepared.write(&self.lease, table.memory());
        }
        written
    }
}

impl<M: Memory> Chains<'_, M> {
    /// Points a link elsewhere: the one store by which a chain loses an entry, or exchanges it.
    ///
    /// INVARIANT(I6): the other half of the word stays. In a node that is its tag, in a head the
    /// signature, in which the bits of what leaves may be another entry's as well.
    #[inline(always)]
    pub(super) fn relink(self, link: Link, to: u64) {
        let memory = self.0.memory();
        let kept = memory.load(link.0, Load::Relaxed) & u64::from(u32::MAX);
        // ORDERING(L3): release, so that a death after it leaves a whole entry behind it.
        memory.store(link.0, kept | to << 32, Store::Release);
    }

    /// Writes the node of an entry that is in no chain.
    #[inline(always)]
    #[track_caller]
    pub(super) fn set_node(self, block: Block, node: Node, order: Store) {
        // A block that was claimed, or found in a chain, has one.
        if let Some(at) = self.0.arena.layout().side_word(block) {
            self.0.memory().store(at, node.bits(), order);
        }
    }

    /// Changes a head: the one store by which a chain gets an entry, together with its bits.
    #[inline(always)]
    pub(super) fn set_head(self, bucket: u64, head: Head) {
        // ORDERING(L3): release, so that a death after it leaves a whole entry behind it.
        self.0.memory().store(self.0.head(bucket), head.bits(), Store::Release);
    }
}

/// Turns of a wait for the lock, where the clock does not end it before.
const LOCK_TURNS_MAX: u32 = 1 << 20;
/// Turns between two looks at the clock.
const CLOCK_TURNS: u32 = 16;
/// Turns between two questions whether the owner is dead.
const DEATH_TURNS: u32 = 8;
