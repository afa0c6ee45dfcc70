//! Changing what is in a bucket: one exchange of its header.

use shm_arena::{Block, Lease, Load, Memory, Offset, Rmw};

use super::search::{Found, Home, Search};
use super::word::{Header, Slot};
use super::{CasBucket, TURNS_MAX};
use crate::contract::{Entry, Error, Insert, Put, Replace};
use crate::entry::{Prepared, check_key};

/// What an update does with a key that is present or absent.
enum Rule<'a> {
    /// Keep what is present, copied out, unless it counts as dead.
    Insert {
        existing: &'a mut Vec<u8>,
        is_dead: &'a dyn Fn(u64) -> bool,
    },
    /// Replace what is present, add what is absent.
    Put,
    /// Replace what is present, leave what is absent.
    Replace,
}

/// What an update found when it took effect.
#[derive(Clone, Copy)]
enum Effect {
    Added,
    Replaced { was_dead: bool },
    Kept { metadata: u64 },
    Missing,
}

/// An entry on its way in: its block, and the slot that was claimed for it.
#[derive(Clone, Copy)]
struct Draft {
    block: Block,
    slot: Slot,
    claimed: Option<Claimed>,
}

/// A slot claimed while its live bit was clear.
#[derive(Clone, Copy)]
struct Claimed {
    at: Offset,
    live_bit: u32,
}

/// What one attempt came to.
enum Turn {
    Done(Effect),
    /// Somebody changed the bucket meanwhile.
    Again,
    /// No slot could be claimed; some are withheld by others.
    NoSlot {
        withheld: bool,
    },
}

impl<M: Memory> CasBucket<M> {
    /// The `insert` of the contract.
    pub(super) fn insert_entry(
        &self,
        entry: Entry<'_>,
        existing: &mut Vec<u8>,
        is_dead: &dyn Fn(u64) -> bool,
    ) -> Result<Insert, Error> {
        Ok(
            match self.update(entry, &mut Rule::Insert { existing, is_dead })? {
                Effect::Kept { metadata } => Insert::Exists { metadata },
                Effect::Added | Effect::Replaced { .. } | Effect::Missing => {
                    existing.clear();
                    Insert::Inserted
                }
            },
        )
    }

    /// The `put` of the contract.
    pub(super) fn put_entry(&self, entry: Entry<'_>) -> Result<Put, Error> {
        Ok(match self.update(entry, &mut Rule::Put)? {
            Effect::Replaced { was_dead: false } => Put::Replaced,
            _ => Put::Inserted,
        })
    }

    /// The `replace` of the contract.
    pub(super) fn replace_entry(&self, entry: Entry<'_>) -> Result<Replace, Error> {
        Ok(match self.update(entry, &mut Rule::Replace)? {
            Effect::Replaced { .. } => Replace::Replaced,
            _ => Replace::Absent,
        })
    }

    fn update(&self, entry: Entry<'_>, rule: &mut Rule<'_>) -> Result<Effect, Error> {
        let prepared = Prepared::new(&self.arena, entry)?;
        let home = self.home(prepared.hash);
        self.memory().prefetch(home.at, 8);
        let mut lease = self.lease()?;
        let mut draft = None;
        let outcome = self.attempt(home, &prepared, rule, &mut lease, &mut draft);
        // What was prepared and not published goes back.
        if let Some(Draft {
            block,
            slot,
            claimed,
        }) = draft
        {
            lease.abandon(block, prepared.shape.words(), || {
                if let Some(Claimed { at, .. }) = claimed {
                    self.empty_slot(at, slot);
                }
            });
        }
        outcome
    }

    /// Repeats turns. On return `draft` holds what was prepared and not published.
    fn attempt<'a>(
        &'a self,
        home: Home,
        prepared: &Prepared<'_>,
        rule: &mut Rule<'_>,
        lease: &mut Lease<'a, M>,
        draft: &mut Option<Draft>,
    ) -> Result<Effect, Error> {
        let mut recovered = false;
        // Each turn that says *again* means that somebody changed this bucket.
        for _ in 0..TURNS_MAX {
            match self.turn(home, prepared, rule, lease, draft) {
                Ok(Turn::Done(effect)) => return Ok(effect),
                Ok(Turn::Again) => {}
                Ok(Turn::NoSlot { withheld }) => {
                    // The dead may withhold slots: ask once, then believe it.
                    if recovered || !withheld || self.arena.recover(lease, self).blocks == 0 {
                        return Err(Error::BucketFull {
                            bucket: home.bucket,
                        });
                    }
                    recovered = true;
                }
                Err(error @ Error::NoBlock { .. }) => {
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

    #[inline]
    fn turn<'a>(
        &'a self,
        home: Home,
        prepared: &Prepared<'_>,
        rule: &mut Rule<'_>,
        lease: &mut Lease<'a, M>,
        draft: &mut Option<Draft>,
    ) -> Result<Turn, Error> {
        let header = self.load_header(home.at)?;
        let found = match self.search(home, header, prepared.entry.key) {
            Search::Found(found) => Some(found),
            Search::Absent => None,
            Search::Damaged { what, word } => {
                return self.damaged_or_again(home, header, what, word);
            }
        };
        if let Some(effect) = Self::settle_without_change(rule, found.as_ref()) {
            let unchanged = self.is_unchanged(home.at, header);
            return Ok(if unchanged {
                Turn::Done(effect)
            } else {
                Turn::Again
            });
        }
        if let Some(found) = &found {
            lease.prefetch_word(found.slot.block());
        }
        let mut prepared_draft = match *draft {
            Some(prepared_draft) => prepared_draft,
            None => {
                let block = prepared.write(lease, self.memory())?;
                *draft.insert(Draft {
                    block,
                    slot: Slot::new(home.tag, block),
                    claimed: None,
                })
            }
        };
        let claimed = match prepared_draft.claimed {
            Some(claimed) => claimed,
            None => match self.claim_slot(home, header, prepared_draft.slot) {
                Ok(claimed) => claimed,
                Err(withheld) => return self.full_or_again(home, header, withheld),
            },
        };
        prepared_draft.claimed = Some(claimed);
        *draft = Some(prepared_draft);
        // Insertions leave one slot, so that a replacement finds one in a full bucket.
        if found.is_none() && header.live().count_ones() + 1 >= self.slots {
            return self.full_or_again(home, header, false);
        }
        let mut intended = None;
        let mut live = header.live() | claimed.live_bit;
        if let Some(found) = &found {
            intended = lease.intend(found.slot.block());
            if intended.is_none() {
                let word = found.slot.block().offset().word();
                return self.damaged_or_again(home, header, "linked block", word);
            }
            live &= !found.live_bit;
        }
        if !self.exchange_header(home, header, header.with_live(live)) {
            if intended.is_some() {
                lease.withdraw();
            }
            return Ok(Turn::Again);
        }
        *draft = None;
        lease.published(prepared_draft.block);
        let mut effect = Effect::Added;
        if let (Some(found), Some(intended)) = (found, intended) {
            let at = home.at + u64::from(found.live_bit.trailing_zeros() + 1);
            lease.retire(intended, found.shape.words(), || {
                self.empty_slot(at, found.slot)
            });
            effect = Effect::Replaced {
                was_dead: matches!(rule, Rule::Insert { .. }),
            };
        } else {
            lease.count(1, 0);
        }
        Ok(Turn::Done(effect))
    }

    /// What the rule says where nothing has to change, true if the header is unchanged.
    #[inline]
    fn settle_without_change(rule: &mut Rule<'_>, found: Option<&Found<'_, M>>) -> Option<Effect> {
        match (rule, found) {
            (Rule::Insert { existing, is_dead }, Some(found)) => {
                let metadata = found.entry.metadata();
                if is_dead(metadata) {
                    return None;
                }
                found.entry.read_value(found.shape, existing);
                Some(Effect::Kept { metadata })
            }
            (Rule::Replace, None) => Some(Effect::Missing),
            _ => None,
        }
    }

    /// The exchange by which anything changes: it fails if anything in the bucket did.
    #[inline]
    fn exchange_header(&self, home: Home, from: Header, to: Header) -> bool {
        // ORDERING(W2, W3): release, pairs with R1 and, through the arena's B5, with R2.
        self.memory()
            .compare_exchange(home.at, from.bits(), to.bits(), Rmw::Release, Load::Relaxed)
            .is_ok()
    }

    /// Claims the first empty slot that is not live. `Err`: none; whether others withhold some.
    #[inline]
    fn claim_slot(&self, home: Home, header: Header, slot: Slot) -> Result<Claimed, bool> {
        let mut clear = !header.live() & ((1 << self.slots) - 1);
        let mut withheld = false;
        while clear != 0 {
            let live_bit = 1 << clear.trailing_zeros();
            let at = home.at + u64::from(clear.trailing_zeros() + 1);
            // ORDERING(W1): release, pairs with R2.
            let claimed = self.memory().compare_exchange(
                at,
                Slot::EMPTY.bits(),
                slot.bits(),
                Rmw::Release,
                Load::Relaxed,
            );
            if claimed.is_ok() {
                return Ok(Claimed { at, live_bit });
            }
            withheld = true;
            clear &= clear - 1;
        }
        Err(withheld)
    }

    fn full_or_again(&self, home: Home, header: Header, withheld: bool) -> Result<Turn, Error> {
        let unchanged = self.is_unchanged(home.at, header);
        Ok(if unchanged {
            Turn::NoSlot { withheld }
        } else {
            Turn::Again
        })
    }

    fn damaged_or_again(
        &self,
        home: Home,
        header: Header,
        what: &'static str,
        word: u64,
    ) -> Result<Turn, Error> {
        if self.is_unchanged(home.at, header) {
            return Err(Error::Corrupt { what, word });
        }
        Ok(Turn::Again)
    }

    /// The `remove` and `take` of the contract: copies the value out first, then unlinks.
    pub(super) fn unlink(
        &self,
        key: &[u8],
        mut value: Option<&mut Vec<u8>>,
    ) -> Result<Option<u64>, Error> {
        check_key(key)?;
        let home = self.home(self.arena.hasher().hash(key));
        self.memory().prefetch(home.at, 8);
        let mut lease = self.lease()?;
        // Each failed turn means that somebody changed this bucket.
        for _ in 0..TURNS_MAX {
            let header = self.load_header(home.at)?;
            match self.search(home, header, key) {
                Search::Found(found) => {
                    lease.prefetch_word(found.slot.block());
                    if let Some(value) = value.as_deref_mut() {
                        found.entry.read_value(found.shape, value);
                    }
                    let metadata = found.entry.metadata();
                    if self.unlink_found(home, header, &found, &mut lease)? {
                        return Ok(Some(metadata));
                    }
                }
                Search::Absent => {
                    if self.is_unchanged(home.at, header) {
                        if let Some(value) = value {
                            value.clear();
                        }
                        return Ok(None);
                    }
                }
                Search::Damaged { what, word } => {
                    self.damaged_or_again(home, header, what, word)?;
                }
            }
        }
        Err(self.contended(home))
    }

    /// Unlinks an entry if the bucket is as it was when the entry was found.
    pub(super) fn unlink_found<'a>(
        &'a self,
        home: Home,
        header: Header,
        found: &Found<'a, M>,
        lease: &mut Lease<'a, M>,
    ) -> Result<bool, Error> {
        let block = found.slot.block();
        let Some(intended) = lease.intend(block) else {
            let word = block.offset().word();
            self.damaged_or_again(home, header, "linked block", word)?;
            return Ok(false);
        };
        if !self.exchange_header(
            home,
            header,
            header.with_live(header.live() & !found.live_bit),
        ) {
            lease.withdraw();
            return Ok(false);
        }
        let at = home.at + u64::from(found.live_bit.trailing_zeros() + 1);
        lease.retire(intended, found.shape.words(), || {
            self.empty_slot(at, found.slot)
        });
        lease.count(0, 1);
        Ok(true)
    }
}
