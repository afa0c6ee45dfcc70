//! Changing what is in a page: planned on an idle page, begun by one exchange of its header.

use shm_arena::{Block, Claimed, Intended, Lease, Located, Memory};

use super::descriptor::Begun;
use super::search::{Found, Home, Search};
use super::word::{Change, Header, Plan, Slot};
use super::{RobinHood, TURNS_MAX};
use crate::contract::{Effect, Entry, Error, Remove, Rule, Unlinked, Version};
use crate::entry::{EntryView, Near, Prepared, check_key};

/// What one attempt came to.
enum Turn<T> {
    Done(T),
    /// Somebody changed the page meanwhile, or another update had to be finished first.
    Again,
}

impl<M: Memory> RobinHood<M> {
    /// The `update` of the contract.
    pub(super) fn update_by_rule(
        &self,
        entry: Entry<'_>,
        mut rule: Rule<'_>,
    ) -> Result<Effect, Error> {
        let prepared = Prepared::new(&self.arena, entry)?;
        let home = Home::new(prepared.hash);
        let size = self.size();
        self.approach(home, size, Near::ToWrite);
        let lease = self.lease()?;
        self.help_if_growing(size, home, &lease);
        // What is put is written while the page is on its way; other rules may need no entry.
        let mut draft = match rule {
            Rule::Put { .. } => prepared.write(&lease, self.memory()).ok(),
            Rule::Insert { .. } | Rule::Replace | Rule::Exchange { .. } => None,
        };
        let outcome = self.attempt(home, &prepared, &mut rule, &lease, &mut draft);
        // What was written and not published goes back.
        if let Some(block) = draft {
            lease.abandon(block, prepared.shape.words(), || {});
        }
        Ok(match rule {
            Rule::Insert { existing, .. } => outcome?.of_insert(existing),
            _ => outcome?,
        })
    }

    /// Repeats turns. On return `draft` holds what was written and not published.
    fn attempt<'a>(
        &'a self,
        home: Home,
        prepared: &Prepared<'_>,
        rule: &mut Rule<'_>,
        lease: &Lease<'a, M>,
        draft: &mut Option<Claimed>,
    ) -> Result<Effect, Error> {
        let mut recovered = false;
        // Each turn that says *again* means that somebody changed this page, or moved it on.
        for _ in 0..TURNS_MAX {
            match self.turn(home, prepared, rule, lease, draft) {
                Ok(Turn::Done(effect)) => return Ok(effect),
                Ok(Turn::Again) => {}
                Err(error @ Error::NoBlock { .. }) => {
                    // The dead may withhold blocks: ask once, then believe it.
                    if recovered || self.arena.recover(lease, self).blocks == 0 {
                        return Err(error);
                    }
                    recovered = true;
                }
                Err(error) => return Err(error),
            }
        }
        Err(self.contended(home))
    }

    /// One attempt.
    #[inline(always)]
    fn turn<'a>(
        &'a self,
        home: Home,
        prepared: &Prepared<'_>,
        rule: &mut Rule<'_>,
        lease: &Lease<'a, M>,
        draft: &mut Option<Claimed>,
    ) -> Result<Turn<Effect>, Error> {
        let (page, header) = self.governing(home)?;
        if !header.is_idle() {
            self.make_way(page, header)?;
            return Ok(Turn::Again);
        }
        let (found, position, reach) =
            match self.search(page, (home, prepared.entry.key), Near::of(rule)) {
                Search::Found(found) => (Some(found), 0, 0),
                Search::Absent { position, reach } => (None, position, reach),
                Search::Damaged { word } => return self.damaged_or_again(page, header, word),
            };
        if let Some(effect) = self.settle_without_change(rule, found.as_ref()) {
            let unchanged = self.is_unchanged(page, header);
            return Ok(if unchanged { Turn::Done(effect) } else { Turn::Again });
        }
        let block = match *draft {
            Some(written) => written,
            None => *draft.insert(prepared.write(lease, self.memory())?),
        };
        let Some(found) = found else {
            let incoming = Slot::new(reach, home.tag(), block.block());
            let Some(plan) = self.plan_insertion(page, position, incoming) else {
                return self.full_or_again(page, header);
            };
            if self.begin(page, header, &plan, lease.number()) == Begun::Lost {
                return Ok(Turn::Again);
            }
            *draft = None;
            lease.published(block);
            lease.count(1, 0);
            self.grow_if_crowded(page, header);
            return Ok(Turn::Done(Effect::Added));
        };
        let old = found.slot.block();
        let incoming = Slot::new(found.slot.reach(), home.tag(), block.block());
        let position = self.wrapped(found.position);
        let mut plan = Plan::new(Change::Replace, position, incoming, old);
        plan.add(found.slot);
        let effect = Self::replaced(rule, &found);
        let located = lease.locate(old);
        let Turn::Done(intended) = self.begin_with(page, header, &plan, located, lease)? else {
            return Ok(Turn::Again);
        };
        *draft = None;
        lease.published(block);
        if let Some(retired) = lease.retire(intended) {
            lease.reclaim(retired, found.shape.words());
        }
        Ok(Turn::Done(effect))
    }

    /// Begins an update that unlinks a block, which is named in the line first.
    #[inline(always)]
    fn begin_with<'a>(
        &'a self,
        page: u64,
        header: Header,
        plan: &Plan,
        located: Option<Located>,
        lease: &Lease<'a, M>,
    ) -> Result<Turn<Intended>, Error> {
        let is_linked = || self.is_unchanged(page, header);
        let Some(intended) = located.and_then(|located| lease.intend(located, is_linked)) else {
            // A slot names a block that is not in use: stale, or damaged.
            return self.damaged_or_again(page, header, plan.outgoing.offset().word());
        };
        if self.begin(page, header, plan, lease.number()) == Begun::Lost {
            lease.withdraw();
            return Ok(Turn::Again);
        }
        Ok(Turn::Done(intended))
    }

    /// What an insertion writes: every slot from this one to the next that is empty. `None`: there
    /// is none, or an entry would come too far from its home.
    #[inline(always)]
    fn plan_insertion(&self, page: u64, position: u32, incoming: Slot) -> Option<Plan> {
        if incoming.reach() > self.reach_max {
            return None;
        }
        let start = self.wrapped(position);
        let mut plan = Plan::new(Change::Insert, start, incoming, Block::new(0));
        while plan.len < self.slots() {
            let slot = self.slot(page, start + plan.len);
            plan.add(slot);
            if slot.is_empty() {
                return Some(plan);
            }
            if slot.reach() >= self.reach_max {
                return None;
            }
        }
        None
    }

    /// What a removal writes: its slot and every one behind it whose entry is not at home.
    #[inline(always)]
    fn plan_removal(&self, page: u64, position: u32, slot: Slot) -> Plan {
        let start = self.wrapped(position);
        let mut plan = Plan::new(Change::Remove, start, Slot::EMPTY, slot.block());
        plan.add(slot);
        while plan.len < self.slots() {
            let next = self.slot(page, start + plan.len);
            if next.reach() <= 1 {
                break;
            }
            plan.add(next);
        }
        plan
    }

    /// What the rule says where nothing has to change, true if the header is unchanged.
    #[inline]
    fn settle_without_change(
        &self,
        rule: &mut Rule<'_>,
        found: Option<&Found<'_, M>>,
    ) -> Option<Effect> {
        match (rule, found) {
            (Rule::Insert { existing, is_dead }, Some(found)) => {
                let metadata = found.entry.metadata();
                if is_dead(metadata) {
                    return None;
                }
                found.entry.read_value(found.shape, existing);
                Some(Effect::Kept { metadata })
            }
            (Rule::Exchange { version }, Some(found)) => {
                let same = self.version(found.slot.block()) == Some(*version);
                (!same).then_some(Effect::Changed)
            }
            (Rule::Replace | Rule::Exchange { .. }, None) => Some(Effect::Missing),
            _ => None,
        }
    }

    /// What a replacement is called: where the old entry counts as dead, an addition.
    #[inline]
    fn replaced(rule: &Rule<'_>, found: &Found<'_, M>) -> Effect {
        match rule {
            Rule::Put { is_dead } if is_dead(found.entry.metadata()) => Effect::Added,
            _ => Effect::Replaced,
        }
    }

    #[cold]
    fn full_or_again<T>(&self, page: u64, header: Header) -> Result<Turn<T>, Error> {
        if self.is_unchanged(page, header) && !self.has_made_room(page)? {
            return Err(Error::BucketFull { bucket: page });
        }
        Ok(Turn::Again)
    }

    #[cold]
    fn damaged_or_again<T>(&self, page: u64, header: Header, word: u64) -> Result<Turn<T>, Error> {
        if self.is_unchanged(page, header) {
            return Err(Error::Corrupt { what: "linked block", word });
        }
        Ok(Turn::Again)
    }

    /// The `unlink` of the contract: copies the value out first, then unlinks.
    pub(super) fn unlink_key(
        &self,
        key: &[u8],
        only: Option<Version>,
        mut value: Option<&mut Vec<u8>>,
    ) -> Result<Unlinked, Error> {
        check_key(key)?;
        let home = Home::new(self.arena.hasher().hash(key));
        let size = self.size();
        self.approach(home, size, Near::ToWrite);
        let lease = self.lease()?;
        self.help_if_growing(size, home, &lease);
        // Each failed turn means that somebody changed this page.
        for _ in 0..TURNS_MAX {
            let turn = self.unlink_once(home, key, only, value.as_deref_mut(), &lease)?;
            if let Turn::Done(unlinked) = turn {
                return Ok(unlinked);
            }
        }
        Err(self.contended(home))
    }

    #[inline(always)]
    fn unlink_once<'a>(
        &'a self,
        home: Home,
        key: &[u8],
        only: Option<Version>,
        value: Option<&mut Vec<u8>>,
        lease: &Lease<'a, M>,
    ) -> Result<Turn<Unlinked>, Error> {
        let (page, header) = self.governing(home)?;
        if !header.is_idle() {
            self.make_way(page, header)?;
            return Ok(Turn::Again);
        }
        let settled = match self.search(page, (home, key), Near::ToWrite) {
            Search::Found(found) if self.is_another(&found, only) => Unlinked::Changed,
            Search::Found(found) => {
                let located = lease.locate(found.slot.block());
                if let Some(value) = value {
                    found.entry.read_value(found.shape, value);
                }
                let metadata = found.entry.metadata();
                let unlinked = self.unlink_found(page, header, (&found, located), lease)?;
                let done = Turn::Done(Unlinked::Removed { metadata });
                return Ok(if unlinked { done } else { Turn::Again });
            }
            Search::Absent { .. } => Unlinked::Absent,
            Search::Damaged { word } => return self.damaged_or_again(page, header, word),
        };
        value.into_iter().for_each(Vec::clear);
        let unchanged = self.is_unchanged(page, header);
        Ok(if unchanged { Turn::Done(settled) } else { Turn::Again })
    }

    /// Whether an entry is of another version than the only one that is asked for; true if the
    /// header is unchanged.
    fn is_another(&self, found: &Found<'_, M>, only: Option<Version>) -> bool {
        only.is_some() && self.version(found.slot.block()) != only
    }

    /// The `remove_version` of the contract: the block says in which page it is linked.
    pub(super) fn unlink_version(&self, version: Version) -> Result<Remove, Error> {
        let lease = self.lease()?;
        let block = version.block();
        let entry = EntryView::new(&self.arena, block).filter(|_| version.is_of(self.identity));
        let Some(entry) = entry else { return Ok(Remove::Absent) };
        // A block that is not of this version may hold anything: then its page does not name it.
        let home = Home::new(entry.hash());
        self.help_if_growing(self.size(), home, &lease);
        // Each failed turn means that somebody changed this page, or moved it on.
        for _ in 0..TURNS_MAX {
            let (page, header) = self.governing(home)?;
            if !header.is_idle() {
                self.make_way(page, header)?;
                continue;
            }
            let found = (0..self.reach_max)
                .map(|step| home.slot() + step)
                .map(|position| (position, self.slot(page, position)))
                .find(|(_, slot)| !slot.is_empty() && slot.block() == block)
                .zip(entry.shape())
                .map(|((position, slot), shape)| Found { position, slot, shape, entry })
                .filter(|found| !self.is_another(found, Some(version)));
            let located = lease.locate(block);
            match found {
                Some(found) if self.unlink_found(page, header, (&found, located), &lease)? => {
                    return Ok(Remove::Removed);
                }
                None if self.is_unchanged(page, header) => return Ok(Remove::Absent),
                Some(_) | None => {}
            }
        }
        Err(self.contended(home))
    }

    /// Unlinks an entry if the page is as it was when the entry was found.
    #[inline(always)]
    pub(super) fn unlink_found<'a>(
        &'a self,
        page: u64,
        header: Header,
        (found, located): (&Found<'a, M>, Option<Located>),
        lease: &Lease<'a, M>,
    ) -> Result<bool, Error> {
        let plan = self.plan_removal(page, found.position, found.slot);
        let Turn::Done(intended) = self.begin_with(page, header, &plan, located, lease)? else {
            return Ok(false);
        };
        if let Some(retired) = lease.retire(intended) {
            lease.reclaim(retired, found.shape.words());
        }
        lease.count(0, 1);
        Ok(true)
    }
}
