//! The lock: taken from nobody or from the dead, and what its owner may do to a chain.

use shm_arena::{Backoff, Block, Claimed, Identity, Lease, Load, Memory, RecordIndex, Rmw, Store};

use super::head::{Head, Node, Tag};
use super::inspect::Chains;
use super::{Chained, Found, LOCK_WAIT_MS_MAX, Link};
use crate::contract::Error;
use crate::entry::Prepared;

/// The lock, held by the leased line.
pub(super) struct Locked<'a, M: Memory> {
    pub(super) table: &'a Chained<M>,
    pub(super) lease: Lease<'a, M>,
    word: u64,
    /// What a reservation has written and the verb has not published yet.
    written: Option<Claimed>,
}

impl<M: Memory> Chained<M> {
    /// Runs a verb under the lock.
    #[inline(always)]
    pub(super) fn under_lock<'a, T>(
        &'a self,
        verb: impl FnOnce(&mut Locked<'a, M>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut locked = match self.lock_at_once() {
            Some(locked) => locked,
            None => self.lock()?,
        };
        let outcome = verb(&mut locked);
        locked.unlock();
        outcome
    }

    /// Runs a verb under the lock, and keeps the line for what it has claimed.
    pub(super) fn under_lock_keeping<'a, T>(
        &'a self,
        verb: impl FnOnce(&mut Locked<'a, M>) -> Result<T, Error>,
    ) -> Result<(Lease<'a, M>, T), Error> {
        let mut locked = self.lock()?;
        let outcome = verb(&mut locked);
        let lease = locked.unlock();
        outcome.map(|claimed| (lease, claimed))
    }

    /// Runs a verb under the lock that publishes what this lease has claimed, or gives it back.
    pub(super) fn publish<'a, T>(
        &'a self,
        lease: Lease<'a, M>,
        (claimed, words): (Claimed, u64),
        verb: impl FnOnce(&mut Locked<'a, M>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut locked = match self.try_lock(lease) {
            Ok(locked) => locked,
            Err((error, lease)) => {
                lease.forsake();
                return Err(error);
            }
        };
        locked.written = Some(claimed);
        let outcome = verb(&mut locked);
        if let Some(claimed) = locked.written.take() {
            locked.lease.abandon(claimed, words, || {});
        }
        locked.unlock();
        outcome
    }

    /// The lock where it is free, for a line that is in order; `None` where either takes more.
    ///
    /// Nothing that is not needed then passes through memory here: a verb would wait for it.
    #[inline(always)]
    fn lock_at_once(&self) -> Option<Locked<'_, M>> {
        let lease = self.arena.try_lease()?;
        if lease.is_unsettled() {
            return None;
        }
        let locked = Locked::new(self, lease);
        if !locked.take_from(0) {
            return None;
        }
        if !self.size().is_settled() {
            // Its last owner died adjusting.
            locked.unlock();
            return None;
        }
        Some(locked)
    }

    /// Waits for the lock.
    #[cold]
    fn lock(&self) -> Result<Locked<'_, M>, Error> {
        self.try_lock(self.arena.lease()?).map_err(|(error, _)| error)
    }

    /// Takes the lock: from nobody, or from the dead.
    ///
    /// CRASH(lock): the word names the owner at the instant at which it owns.
    fn try_lock<'a>(&'a self, lease: Lease<'a, M>) -> Result<Locked<'a, M>, (Error, Lease<'a, M>)> {
        let unsettled = lease.is_unsettled();
        let mut locked = Locked::new(self, lease);
        let word = locked.word;
        let backoff = Backoff::new();
        let mut since_ms = None;
        // Bounded by the clock, and by turns where the clock stands still.
        for turn in 0..LOCK_TURNS_MAX {
            // ORDERING(L0): acquire, pairs with the release half of L1.
            let owner = self.memory().load(self.lock_word(), Load::Acquire);
            // The last lessee of this very line may have unwound with the lock.
            let free = owner == 0 || owner == word || self.is_abandoned(owner, turn);
            if free && locked.take_from(owner) {
                // What an owner left that died, or unwound, in the middle of adjusting: first,
                // since until then nobody can tell what is linked.
                if !self.size().is_settled()
                    && let Err(error) = locked.finish_adjusting()
                {
                    return Err((error, locked.unlock()));
                }
                if unsettled && !locked.lease.settle_own(&Chains(self)) {
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

    /// Whether the owner that a lock word names is dead; asked of the kernel now and then.
    fn is_abandoned(&self, owner: u64, turn: u32) -> bool {
        let record = RecordIndex((owner >> 16 & 0xffff) as u32);
        let incarnation = (owner >> 32) as u32;
        turn % DEATH_TURNS == DEATH_TURNS - 1
            && self.arena.is_gone(Identity { record, incarnation })
    }
}

impl<'a, M: Memory> Locked<'a, M> {
    /// What a line is that owns the lock as soon as it has taken it.
    #[inline(always)]
    fn new(table: &'a Chained<M>, lease: Lease<'a, M>) -> Self {
        let word = table.arena.identity().map_or(0, |identity| {
            let owner = u64::from(identity.record.0) << 16 | u64::from(lease.number() + 1);
            u64::from(identity.incarnation) << 32 | owner
        });
        Self { table, lease, word, written: None }
    }

    #[inline(always)]
    fn take_from(&self, owner: u64) -> bool {
        // ORDERING(L1): acquire, pairs with L2 of the last owner; a dead owner's stores are
        // acquired by the verdict. Release, pairs with L0.
        self.table
            .memory()
            .compare_exchange(self.table.lock_word(), owner, self.word, Rmw::AcqRel, Load::Relaxed)
            .is_ok()
    }

    /// Gives the lock back. Not a `Drop`: an unwinding owner keeps the lock, and it is taken over.
    #[inline(always)]
    fn unlock(self) -> Lease<'a, M> {
        // ORDERING(L2): release, pairs with L1. Nobody takes the lock from the living, so there is
        // nothing to compare.
        self.table.memory().store(self.table.lock_word(), 0, Store::Release);
        self.lease
    }

    /// Points a link elsewhere: the one store by which a chain loses an entry, or exchanges it.
    ///
    /// INVARIANT(I6): the other half of the word stays. In a node that is its tag, in a head the
    /// signature, in which the bits of what leaves may be another entry's as well.
    #[inline(always)]
    pub(super) fn relink(&self, link: Link, to: u64) {
        let memory = self.table.memory();
        let kept = memory.load(link.0, Load::Relaxed) & u64::from(u32::MAX);
        // ORDERING(L3): release, so that a death after it leaves a whole entry behind it.
        memory.store(link.0, kept | to << 32, Store::Release);
    }

    /// Writes the node of an entry that is in no chain.
    #[inline(always)]
    #[track_caller]
    pub(super) fn set_node(&self, block: Block, node: Node, order: Store) {
        // A block that was claimed, or found in a chain, has one.
        if let Some(at) = self.table.arena.layout().side_word(block) {
            self.table.memory().store(at, node.bits(), order);
        }
    }

    /// Changes a head: the one store by which a chain gets an entry, together with its bits.
    #[inline(always)]
    pub(super) fn set_head(&self, bucket: u64, head: Head) {
        // ORDERING(L3): release, so that a death after it leaves a whole entry behind it.
        self.table.memory().store(self.table.head(bucket), head.bits(), Store::Release);
    }

    /// Adds an entry at the head of its chain.
    #[inline(always)]
    pub(super) fn add(
        &mut self,
        bucket: u64,
        head: Head,
        prepared: &Prepared<'_>,
    ) -> Result<(), Error> {
        let claimed = self.write(prepared)?;
        let block = claimed.block();
        let tag = Tag::of(prepared.hash);
        self.set_node(block, Node { next: head.first, tag }, Store::Relaxed);
        self.set_head(bucket, head.behind(block.unit().into(), tag));
        self.lease.published(claimed);
        let entries = self.table.count_added();
        // The entry is in. Damage that growing meets, the next verb reports.
        let _ = self.grow_if_crowded(entries);
        Ok(())
    }

    /// Writes an entry into a block, after recovery if there is none.
    #[inline(always)]
    pub(super) fn write(&mut self, prepared: &Prepared<'_>) -> Result<Claimed, Error> {
        if let Some(written) = self.written.take() {
            return Ok(written);
        }
        match prepared.write(&self.lease, self.table.memory()) {
            Ok(written) => Ok(written),
            Err(error) => self.write_after_recovery(prepared, error),
        }
    }

    #[cold]
    fn write_after_recovery(
        &self,
        prepared: &Prepared<'_>,
        error: Error,
    ) -> Result<Claimed, Error> {
        let table = self.table;
        let is_full = matches!(error, Error::NoBlock { .. });
        if !is_full || table.arena.recover(&self.lease, &Chains(table)).blocks == 0 {
            return Err(error);
        }
        prepared.write(&self.lease, table.memory())
    }

    /// Puts an entry where another one is.
    #[inline(always)]
    pub(super) fn exchange(
        &mut self,
        found: Found<'a, M>,
        prepared: &Prepared<'_>,
    ) -> Result<(), Error> {
        // The old block's word comes near while the new block is written.
        let located = self.lease.locate(found.block);
        let claimed = self.write(prepared)?;
        let block = claimed.block();
        self.set_node(block, found.node, Store::Relaxed);
        let Some(intended) = located.and_then(|located| self.lease.intend(located, || true)) else {
            self.lease.abandon(claimed, prepared.shape.words(), || {});
            let word = found.block.offset().word();
            return Err(Error::Corrupt { what: "linked block", word });
        };
        self.relink(found.link, block.unit().into());
        self.lease.published(claimed);
        self.lease.retire_locked(intended, found.shape.words());
        Ok(())
    }

    /// Takes an entry out of its chain.
    #[inline(always)]
    pub(super) fn unlink(&mut self, found: Found<'a, M>) -> Result<(), Error> {
        let Some(intended) =
            self.lease.locate(found.block).and_then(|located| self.lease.intend(located, || true))
        else {
            let word = found.block.offset().word();
            return Err(Error::Corrupt { what: "linked block", word });
        };
        self.relink(found.link, found.node.next);
        self.lease.retire_locked(intended, found.shape.words());
        let entries = self.table.count().saturating_sub(1);
        self.table.set_count(entries);
        // The entry is out. Damage that shrinking meets, the next verb reports.
        let _ = self.shrink_if_sparse(entries);
        Ok(())
    }
}

/// Turns of a wait for the lock, where the clock does not end it before.
const LOCK_TURNS_MAX: u32 = 1 << 20;
/// Turns between two looks at the clock.
const CLOCK_TURNS: u32 = 16;
/// Turns between two questions whether the owner is dead.
const DEATH_TURNS: u32 = 8;
