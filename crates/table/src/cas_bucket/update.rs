//! Changing what is in a bucket: one exchange of its header.

mod conditional;
mod reserve;
mod unlink;

use shm_arena::{Block, Claimed, Intended, Lease, Load, Located, Memory, Offset, Rmw};

use super::areas::Bucket;
use super::root::Root;
use super::search::{Found, Search};
use super::word::{FIRST_SLOTS, Header, Slot};
use super::{CasBucket, TURNS_MAX};
use crate::contract::{Effect, Entry, Error, Insert, Put, Replace};
use crate::entry::{Near, Prepared};

/// What an update does with a key that is present or absent.
enum Rule<'a> {
    /// Keep what is present, copied out, unless it counts as dead.
    Insert { existing: &'a mut Vec<u8>, is_dead: &'a dyn Fn(u64) -> bool },
    /// Replace what is present, add what is absent.
    Put,
    /// Replace what is present, leave what is absent.
    Replace,
}

/// An entry on its way in: its block, and the slot that was claimed for it.
#[derive(Clone, Copy)]
struct Draft {
    block: Claimed,
    slot: Slot,
    place: Option<Place>,
}

impl Draft {
    /// An entry that has no slot yet, as this bucket would name it.
    #[inline(always)]
    fn new(bucket: Bucket, block: Claimed) -> Self {
        Self { block, slot: Slot::new(bucket.stamp, block.block()), place: None }
    }
}

/// What the first attempt of an update leaves to the next.
#[derive(Default)]
struct Undone {
    /// What was prepared, and not published.
    draft: Option<Draft>,
    /// The bucket's header, and the words of its first line that are live and carry the tag, where
    /// the key may be present or is not to be added: for the next attempt to go on from.
    seen: Option<(Bucket, Header, u32)>,
}

/// A slot claimed while its live bit was clear.
#[derive(Clone, Copy)]
struct Place {
    bucket: Bucket,
    at: Offset,
    live_bit: u32,
}

/// What a rule says before anything changes.
enum Settled {
    /// Something has to change.
    Undone,
    Done(Effect),
    /// What is wrong with the entry, and where.
    Damaged((&'static str, u64)),
}

/// What one attempt came to.
pub(super) enum Turn {
    Done(Effect),
    /// Somebody changed the bucket meanwhile.
    Again,
    /// No slot could be claimed; some are withheld by others.
    NoSlot {
        withheld: bool,
    },
    /// Another entry would be more than a bucket may hold that is about to be merged.
    Capped,
}

impl<M: Memory> CasBucket<M> {
    /// The `insert` of the contract.
    pub(super) fn insert_entry(
        &self,
        entry: Entry<'_>,
        existing: &mut Vec<u8>,
        is_dead: &dyn Fn(u64) -> bool,
    ) -> Result<Insert, Error> {
        Ok(match self.update_entry(entry, Rule::Insert { existing, is_dead })? {
            Effect::Kept { metadata } => Insert::Exists { metadata },
            _ => {
                existing.clear();
                Insert::Inserted
            }
        })
    }

    /// The `put` of the contract.
    pub(super) fn put_entry(&self, entry: Entry<'_>) -> Result<Put, Error> {
        Ok(match self.update_entry(entry, Rule::Put)? {
            Effect::Replaced => Put::Replaced,
            _ => Put::Inserted,
        })
    }

    /// The `replace` of the contract.
    pub(super) fn replace_entry(&self, entry: Entry<'_>) -> Result<Replace, Error> {
        Ok(match self.update_entry(entry, Rule::Replace)? {
            Effect::Replaced => Replace::Replaced,
            _ => Replace::Absent,
        })
    }

    /// The bucket in which an update of a hash most likely takes place, asked for, and the root
    /// that says so.
    #[inline(always)]
    pub(super) fn approach(&self, hash: u64) -> Result<(Bucket, Root), Error> {
        let root = self.root();
        let bucket = match self.areas.is_fixed() {
            true => self.areas.bucket_of_smallest(hash),
            false => self.areas.bucket(hash, root)?,
        };
        self.memory().prefetch_to_write(bucket.at, 8);
        Ok((bucket, root))
    }

    fn update_entry(&self, entry: Entry<'_>, rule: Rule<'_>) -> Result<Effect, Error> {
        let hash = self.arena.hasher().hash(entry.key);
        let (bucket, root) = self.approach(hash)?;
        let prepared = Prepared::hashed(&self.arena, entry, entry.value.len(), hash)?;
        // What is not in order goes on elsewhere, by value: else this would live in memory, too.
        let lease = match self.arena.try_lease() {
            Some(lease) if root.is_settled() && !lease.is_unsettled() => lease,
            lease => return self.update_in_order(entry, rule, lease),
        };
        // What is put is written while the bucket is on its way: behind the look at it, no more can
        // be done before it has come than the processor looks ahead. Other rules may need no entry.
        let written = match rule {
            Rule::Put => prepared.write(&lease, self.memory()).ok(),
            Rule::Insert { .. } | Rule::Replace => None,
        };
        if self.has_few_slots() {
            return self.update_of_few(bucket, entry, rule, lease, written);
        }
        match self.add_once(bucket, false, &prepared, &rule, written, &lease) {
            Ok(()) => Ok(Effect::Added),
            Err(undone) => self.update_again(entry, rule, lease, undone),
        }
    }

    /// The same in buckets that do not fill their line.
    #[cold]
    fn update_of_few(
        &self,
        bucket: Bucket,
        entry: Entry<'_>,
        rule: Rule<'_>,
        lease: Lease<'_, M>,
        written: Option<Claimed>,
    ) -> Result<Effect, Error> {
        let prepared = Prepared::new(&self.arena, entry)?;
        match self.add_once(bucket, true, &prepared, &rule, written, &lease) {
            Ok(()) => Ok(Effect::Added),
            Err(undone) => self.update_again(entry, rule, lease, undone),
        }
    }

    /// The first attempt. It settles what is usual, an insertion of a key that no slot of a bucket
    /// in use can name, and leaves anything else as it was.
    #[inline(always)]
    fn add_once(
        &self,
        bucket: Bucket,
        is_of_few: bool,
        prepared: &Prepared<'_>,
        rule: &Rule<'_>,
        written: Option<Claimed>,
        lease: &Lease<'_, M>,
    ) -> Result<(), Undone> {
        // Two words as long as possible, which stay in registers.
        let draft = |block| Draft::new(bucket, block);
        let Some((_, header, named)) = self.look_at_line(bucket, is_of_few) else {
            return Err(Undone { draft: written.map(draft), seen: None });
        };
        let adds = named == 0 && !self.has_rest(header) && !matches!(rule, Rule::Replace);
        if !adds || self.is_at_cap(header) {
            return Err(Undone { draft: written.map(draft), seen: Some((bucket, header, named)) });
        }
        let block = match written {
            Some(block) => block,
            None => prepared.write(lease, self.memory()).map_err(|_| Undone::default())?,
        };
        let draft = draft(block);
        let number = (!self.slots.live(header) & self.slots.all).trailing_zeros();
        let at = bucket.at + u64::from(number + 1);
        if number >= FIRST_SLOTS || !self.claim_word(bucket, at, draft.slot) {
            return Err(Undone { draft: Some(draft), seen: None });
        }
        let live_bit = 1 << number;
        let is_last = self.slots.live(header) | live_bit == self.slots.all;
        // ORDERING(W2): release, pairs with R1.
        if is_last || !self.exchange_header(bucket, header, header.flipped(live_bit)) {
            let placed = Draft { place: Some(Place { bucket, at, live_bit }), ..draft };
            return Err(Undone { draft: Some(placed), seen: None });
        }
        lease.published(draft.block);
        lease.count(1, 0);
        self.follow_load(bucket, header);
        Ok(())
    }

    /// An update that has to see to the order of its line or of the table first.
    #[cold]
    fn update_in_order<'a>(
        &'a self,
        entry: Entry<'_>,
        rule: Rule<'_>,
        lease: Option<Lease<'a, M>>,
    ) -> Result<Effect, Error> {
        let lease = self.settled(lease)?;
        if !self.root().is_settled() {
            self.help_along()?;
        }
        self.update_again(entry, rule, lease, Undone::default())
    }

    /// Goes on with an update after its first attempt. Everything comes by value: what a call has
    /// the address of would live in memory from the start.
    #[inline(never)]
    fn update_again(
        &self,
        entry: Entry<'_>,
        mut rule: Rule<'_>,
        lease: Lease<'_, M>,
        undone: Undone,
    ) -> Result<Effect, Error> {
        let prepared = Prepared::new(&self.arena, entry)?;
        let Undone { draft, mut seen } = undone;
        self.attempt_with(&prepared, &lease, draft, |bucket, draft| match seen.take() {
            Some((bucket, header, named)) => {
                let matches = self.with_rest(bucket, header, named >> 1);
                let seen = (bucket, header, matches);
                self.turn_from(seen, &prepared, &mut rule, &lease, draft)
            }
            None => self.turn(bucket, &prepared, &mut rule, &lease, draft),
        })
    }

    /// Makes attempts, and puts in order what they leave.
    fn attempt_with(
        &self,
        prepared: &Prepared<'_>,
        lease: &Lease<'_, M>,
        mut draft: Option<Draft>,
        next: impl FnMut(Bucket, &mut Option<Draft>) -> Result<Turn, Error>,
    ) -> Result<Effect, Error> {
        let outcome = self.attempt(prepared.hash, lease, &mut draft, next);
        // What was prepared and not published goes back.
        if let Some(Draft { block, slot, place }) = draft {
            lease.abandon(block, prepared.shape.words(), || {
                if let Some(Place { at, bucket, .. }) = place {
                    self.empty_slot(at, slot, bucket.stamp.epoch());
                }
            });
        }
        outcome
    }

    /// Takes turns. On return `draft` holds what was prepared and not published.
    fn attempt(
        &self,
        hash: u64,
        lease: &Lease<'_, M>,
        draft: &mut Option<Draft>,
        mut next: impl FnMut(Bucket, &mut Option<Draft>) -> Result<Turn, Error>,
    ) -> Result<Effect, Error> {
        let mut recovered = false;
        // Each turn that says *again* means that somebody changed this bucket.
        for _ in 0..TURNS_MAX {
            let bucket = self.governing(hash)?;
            match next(bucket, draft) {
                Ok(Turn::Done(effect)) => return Ok(effect),
                Ok(Turn::Again) => {}
                Ok(Turn::NoSlot { withheld }) => {
                    // The dead may withhold slots: ask once, then believe it.
                    let asks = withheld && !recovered;
                    recovered |= asks;
                    let freed = asks && self.arena.recover(lease, self).blocks != 0;
                    if !freed && !self.make_room(hash, bucket)? {
                        return Err(Error::BucketFull { bucket: self.areas.place_of(bucket.at).1 });
                    }
                }
                Ok(Turn::Capped) => self.lift_cap(hash, bucket)?,
                Err(error @ Error::NoBlock { .. }) => {
                    if recovered || self.arena.recover(lease, self).blocks == 0 {
                        return Err(error);
                    }
                    recovered = true;
                }
                Err(error) => return Err(error),
            }
        }
        Err(self.contended(hash))
    }

    /// One attempt.
    fn turn<'a>(
        &'a self,
        bucket: Bucket,
        prepared: &Prepared<'_>,
        rule: &mut Rule<'_>,
        lease: &Lease<'a, M>,
        draft: &mut Option<Draft>,
    ) -> Result<Turn, Error> {
        let (header, matches) = self.load_matches(bucket);
        self.turn_from((bucket, header, matches), prepared, rule, lease, draft)
    }

    /// The same from a look at the bucket.
    fn turn_from<'a>(
        &'a self,
        (bucket, header, matches): (Bucket, Header, u32),
        prepared: &Prepared<'_>,
        rule: &mut Rule<'_>,
        lease: &Lease<'a, M>,
        draft: &mut Option<Draft>,
    ) -> Result<Turn, Error> {
        if !self.is_open(header) || !self.is_current(bucket) {
            return self.elsewhere(bucket, header).map(|()| Turn::Again);
        }
        let near = match rule {
            Rule::Insert { .. } => Near::ToRead,
            Rule::Put | Rule::Replace => Near::ToWrite,
        };
        let found = match self.search(bucket.at, matches, prepared.entry.key, near) {
            Search::Found(found) => Some(found),
            Search::Absent => None,
            Search::Damaged { what, word } => {
                return self.damaged_or_again(bucket, header, what, word);
            }
        };
        match Self::settle_without_change(rule, found.as_ref()) {
            Settled::Undone => {}
            Settled::Done(effect) => {
                let unchanged = self.is_unchanged(bucket.at, header);
                return Ok(if unchanged { Turn::Done(effect) } else { Turn::Again });
            }
            Settled::Damaged((what, word)) => {
                return self.damaged_or_again(bucket, header, what, word);
            }
        }
        self.carry_out(bucket, header, prepared, found, lease, draft)
    }

    /// The part of an attempt in which something changes: the entry goes in, and what was found
    /// goes out.
    #[inline(always)]
    fn carry_out<'a>(
        &'a self,
        bucket: Bucket,
        header: Header,
        prepared: &Prepared<'_>,
        found: Option<Found<'a, M>>,
        lease: &Lease<'a, M>,
        draft: &mut Option<Draft>,
    ) -> Result<Turn, Error> {
        let old = match found {
            Some(found) => match lease.locate(found.named.slot.block()) {
                Some(located) => Some((found, located)),
                None => return self.stale_block(bucket, header, found.named.slot.block()),
            },
            None => None,
        };
        if old.is_none() && self.is_at_cap(header) {
            return Ok(Turn::Capped);
        }
        let place = match self.place_draft(bucket, header, prepared, lease, draft)? {
            Ok(place) => place,
            Err(withheld) => return self.full_or_again(bucket, header, withheld),
        };
        // Insertions leave one slot, so that a replacement finds one in a full bucket.
        let is_last = self.slots.live(header) | place.live_bit == self.slots.all;
        if old.is_none() && is_last {
            return self.full_or_again(bucket, header, false);
        }
        self.publish(bucket, header, (draft, place), old, lease)
    }

    /// Sees to it that the entry is written and has a slot. The inner `Err`: no slot is empty;
    /// whether others withhold some.
    #[inline(always)]
    fn place_draft(
        &self,
        bucket: Bucket,
        header: Header,
        prepared: &Prepared<'_>,
        lease: &Lease<'_, M>,
        draft: &mut Option<Draft>,
    ) -> Result<Result<Place, bool>, Error> {
        let written = match *draft {
            Some(written) => self.rewritten(bucket, written),
            None => {
                let block = prepared.write(lease, self.memory())?;
                Draft::new(bucket, block)
            }
        };
        let place = match written.place {
            Some(place) => Ok(place),
            None => self.claim_slot(bucket, header, written.slot),
        };
        *draft = Some(Draft { place: place.ok(), ..written });
        Ok(place)
    }

    /// A draft as this bucket needs it, where it was placed in another one, or for another life.
    #[inline(always)]
    fn rewritten(&self, bucket: Bucket, draft: Draft) -> Draft {
        let slot = Slot::new(bucket.stamp, draft.block.block());
        match draft.place {
            Some(place) if place.bucket != bucket => {
                self.empty_slot(place.at, draft.slot, place.bucket.stamp.epoch());
                Draft { slot, place: None, ..draft }
            }
            _ => Draft { slot, ..draft },
        }
    }

    /// Where a bucket turns out not to be in use, or not any more in the life that was meant: the
    /// next attempt looks anew. A table that has one size has no such bucket.
    #[cold]
    fn elsewhere(&self, bucket: Bucket, header: Header) -> Result<(), Error> {
        if self.areas.is_fixed() && !self.is_open(header) {
            return Err(Error::Corrupt { what: "bucket header", word: bucket.at.word() });
        }
        Ok(())
    }

    /// The step by which the entry is in and the old one, if there is one, is out.
    #[inline(always)]
    fn publish<'a>(
        &'a self,
        bucket: Bucket,
        header: Header,
        (draft, place): (&mut Option<Draft>, Place),
        old: Option<(Found<'a, M>, Located)>,
        lease: &Lease<'a, M>,
    ) -> Result<Turn, Error> {
        let mut flipped = place.live_bit;
        let mut intended: Option<(Found<'a, M>, Intended)> = None;
        if let Some((found, located)) = old {
            let is_linked = || self.is_unchanged(bucket.at, header);
            let Some(named) = lease.intend(located, is_linked) else {
                return self.stale_block(bucket, header, found.named.slot.block());
            };
            flipped |= found.named.live_bit();
            intended = Some((found, named));
        }
        // ORDERING(W2): release, pairs with R1.
        if !self.exchange_header(bucket, header, header.flipped(flipped)) {
            if intended.is_some() {
                lease.withdraw();
            }
            return Ok(Turn::Again);
        }
        if let Some(Draft { block, .. }) = draft.take() {
            lease.published(block);
        }
        let Some((found, intended)) = intended else {
            lease.count(1, 0);
            self.follow_load(bucket, header);
            return Ok(Turn::Done(Effect::Added));
        };
        if let Some(retired) = lease.retire(intended) {
            self.empty_slot(found.named.at, found.named.slot, bucket.stamp.epoch());
            lease.reclaim(retired, found.shape.words());
        }
        Ok(Turn::Done(Effect::Replaced))
    }

    /// A slot that is live names a block that is not in use: stale, or damaged.
    #[cold]
    pub(super) fn stale_block(
        &self,
        bucket: Bucket,
        header: Header,
        block: Block,
    ) -> Result<Turn, Error> {
        self.damaged_or_again(bucket, header, "linked block", block.offset().word())
    }

    /// What the rule says where nothing has to change, true if the header is unchanged.
    #[inline(always)]
    fn settle_without_change(rule: &mut Rule<'_>, found: Option<&Found<'_, M>>) -> Settled {
        match (rule, found) {
            (Rule::Insert { existing, is_dead }, Some(found)) => {
                let metadata = found.entry.metadata();
                if is_dead(metadata) {
                    Settled::Undone
                } else if found.entry.read_claimed_value(found.shape, existing) {
                    Settled::Done(Effect::Kept { metadata })
                } else {
                    Settled::Damaged(found.damaged_lengths())
                }
            }
            (Rule::Replace, None) => Settled::Done(Effect::Missing),
            _ => Settled::Undone,
        }
    }

    /// The exchange by which anything changes: it fails if anything in the bucket did. Its caller
    /// says for which ordering.
    #[inline(always)]
    #[track_caller]
    fn exchange_header(&self, bucket: Bucket, from: Header, to: Header) -> bool {
        self.memory()
            .compare_exchange(bucket.at, from.bits(), to.bits(), Rmw::Release, Load::Relaxed)
            .is_ok()
    }

    /// Claims the first empty slot that is not live. `Err`: none; whether others withhold some.
    #[inline(always)]
    fn claim_slot(&self, bucket: Bucket, header: Header, slot: Slot) -> Result<Place, bool> {
        let mut clear = !self.slots.live(header) & self.slots.all;
        let mut withheld = false;
        while clear != 0 {
            let live_bit = 1 << clear.trailing_zeros();
            let at = self.areas.slot(bucket.at, clear.trailing_zeros());
            if self.claim_word(bucket, at, slot) {
                return Ok(Place { bucket, at, live_bit });
            }
            withheld = true;
            clear &= clear - 1;
        }
        Err(withheld)
    }

    /// Claims a slot for the bucket, if it is empty.
    #[inline(always)]
    fn claim_word(&self, bucket: Bucket, at: Offset, slot: Slot) -> bool {
        let epoch = bucket.stamp.epoch();
        let claim = |vacant: Slot| {
            let (vacant, slot) = (vacant.bits(), slot.bits());
            // ORDERING(W1): release, pairs with R2.
            self.memory().compare_exchange(at, vacant, slot, Rmw::Release, Load::Relaxed)
        };
        match claim(Slot::empty(epoch)).map_err(Slot::from_bits) {
            // Not used yet in this life of the bucket. One that was cleaned for another life is not
            // for whoever overslept this one: it belongs to those who fill the bucket.
            Err(found) if found.is_unused_in(epoch) => claim(found).is_ok(),
            claimed => claimed.is_ok(),
        }
    }

    /// Whether another entry would be more than the bucket may hold while it is capped.
    #[inline(always)]
    fn is_at_cap(&self, header: Header) -> bool {
        !self.areas.is_fixed()
            && header.is_capped()
            && self.slots.live(header).count_ones() >= self.cap
    }

    fn full_or_again(&self, bucket: Bucket, header: Header, withheld: bool) -> Result<Turn, Error> {
        let unchanged = self.is_unchanged(bucket.at, header);
        Ok(if unchanged { Turn::NoSlot { withheld } } else { Turn::Again })
    }

    fn damaged_or_again(
        &self,
        bucket: Bucket,
        header: Header,
        what: &'static str,
        word: u64,
    ) -> Result<Turn, Error> {
        if self.is_unchanged(bucket.at, header) {
            return Err(Error::Corrupt { what, word });
        }
        Ok(Turn::Again)
    }
}
