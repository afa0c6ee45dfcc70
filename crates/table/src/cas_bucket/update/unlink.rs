//! Taking an entry out: the exchange of the header that clears one bit.

use shm_arena::{Lease, Located, Memory};

use crate::cas_bucket::areas::Bucket;
use crate::cas_bucket::search::{Found, Search};
use crate::cas_bucket::word::Header;
use crate::cas_bucket::{CasBucket, TURNS_MAX};
use crate::contract::Error;
use crate::entry::{ENTRY_NEAR_WORDS, Near, check_key};

/// What one attempt to unlink came to.
enum Unlink {
    /// The metadata of what is gone, or that there was nothing.
    Done(Option<u64>),
    /// Somebody changed the bucket meanwhile.
    Again,
}

impl<M: Memory> CasBucket<M> {
    /// The `remove` and `take` of the contract: copies the value out first, then unlinks.
    pub(in crate::cas_bucket) fn unlink_key(
        &self,
        key: &[u8],
        mut value: Option<&mut Vec<u8>>,
    ) -> Result<Option<u64>, Error> {
        check_key(key)?;
        let hash = self.arena.hasher().hash(key);
        let (bucket, root) = self.approach(hash)?;
        // What is not in order goes on elsewhere, by value: else this would live in memory, too.
        let lease = match self.arena.try_lease() {
            Some(lease) if root.is_settled() && !lease.is_unsettled() => lease,
            lease => return self.unlink_in_order(hash, key, value, lease),
        };
        match self.unlink_once(bucket, key, value.as_deref_mut(), &lease)? {
            Unlink::Again => self.unlink_again(hash, key, value, lease),
            Unlink::Done(metadata) => Ok(metadata),
        }
    }

    /// Sees to the order of the line and of the table first.
    #[cold]
    fn unlink_in_order<'a>(
        &'a self,
        hash: u64,
        key: &[u8],
        value: Option<&mut Vec<u8>>,
        lease: Option<Lease<'a, M>>,
    ) -> Result<Option<u64>, Error> {
        let lease = self.settled(lease)?;
        if !self.root().is_settled() {
            self.help_along()?;
        }
        self.unlink_again(hash, key, value, lease)
    }

    /// Repeats attempts after the first one, which stands alone for the sake of speed.
    #[cold]
    fn unlink_again(
        &self,
        hash: u64,
        key: &[u8],
        mut value: Option<&mut Vec<u8>>,
        lease: Lease<'_, M>,
    ) -> Result<Option<u64>, Error> {
        // Each failed turn means that somebody changed this bucket.
        for _ in 0..TURNS_MAX {
            let bucket = self.governing(hash)?;
            let turn = self.unlink_once(bucket, key, value.as_deref_mut(), &lease)?;
            if let Unlink::Done(metadata) = turn {
                return Ok(metadata);
            }
        }
        Err(self.contended(hash))
    }

    #[inline(always)]
    fn unlink_once<'a>(
        &'a self,
        bucket: Bucket,
        key: &[u8],
        value: Option<&mut Vec<u8>>,
        lease: &Lease<'a, M>,
    ) -> Result<Unlink, Error> {
        let (header, mut matches) = self.load_matches_of_first(bucket);
        if !self.is_open(header) || !self.is_current(bucket) {
            return self.elsewhere(bucket, header).map(|()| Unlink::Again);
        }
        // Most entries are in the first line: the rest is looked at where that has no such tag.
        if matches == 0 {
            matches = self.with_rest(bucket, header, 0);
        }
        if matches == 0 {
            value.into_iter().for_each(Vec::clear);
            let unchanged = self.is_unchanged(bucket.at, header);
            return Ok(if unchanged { Unlink::Done(None) } else { Unlink::Again });
        }
        // What is found goes on from here in registers; anything else is rare.
        let named = self.first_named(bucket.at, matches);
        // Before the entry has come: behind that, no more can be done meanwhile than the processor
        // looks ahead.
        let located = lease.locate(named.slot.block());
        // No line behind the block: that would be taken from its neighbour.
        let words = located
            .as_ref()
            .map_or(ENTRY_NEAR_WORDS, |located| located.words().min(ENTRY_NEAR_WORDS));
        match words {
            // Without a loop.
            ENTRY_NEAR_WORDS => Near::ToWrite.bring_entry(self.memory(), named.slot.block()),
            words => Near::ToWrite.bring(self.memory(), named.slot.block().offset(), words),
        }
        match (self.try_slot(named, key), located) {
            (Search::Found(found), Some(located)) => {
                self.unlink_seen(bucket, header, (&found, located), value, lease)
            }
            _ => self.unlink_otherwise((bucket, header, matches), key, value, lease),
        }
    }

    /// Makes an attempt where the first tag that matched is not that of the key's entry.
    #[cold]
    fn unlink_otherwise<'a>(
        &'a self,
        (bucket, header, matches): (Bucket, Header, u32),
        key: &[u8],
        value: Option<&mut Vec<u8>>,
        lease: &Lease<'a, M>,
    ) -> Result<Unlink, Error> {
        let matches = self.with_rest(bucket, header, matches);
        match self.search(bucket.at, matches, key, Near::ToWrite) {
            Search::Found(found) => match lease.locate(found.slot.block()) {
                Some(located) => self.unlink_seen(bucket, header, (&found, located), value, lease),
                None => {
                    self.stale_block(bucket, header, found.slot.block())?;
                    Ok(Unlink::Again)
                }
            },
            Search::Absent => {
                value.into_iter().for_each(Vec::clear);
                let unchanged = self.is_unchanged(bucket.at, header);
                Ok(if unchanged { Unlink::Done(None) } else { Unlink::Again })
            }
            Search::Damaged { what, word } => {
                self.damaged_or_again(bucket, header, what, word)?;
                Ok(Unlink::Again)
            }
        }
    }

    /// The part of an attempt in which the key's entry goes out, copied out first if it is wanted.
    #[inline(always)]
    fn unlink_seen<'a>(
        &'a self,
        bucket: Bucket,
        header: Header,
        (found, located): (&Found<'a, M>, Located),
        value: Option<&mut Vec<u8>>,
        lease: &Lease<'a, M>,
    ) -> Result<Unlink, Error> {
        if let Some(value) = value
            && !found.entry.read_claimed_value(found.shape, value)
        {
            let (what, word) = found.damaged_lengths();
            self.damaged_or_again(bucket, header, what, word)?;
            return Ok(Unlink::Again);
        }
        let metadata = found.entry.metadata();
        let unlinked = self.unlink_found(bucket, header, (found, located), lease)?;
        Ok(if unlinked { Unlink::Done(Some(metadata)) } else { Unlink::Again })
    }

    /// Unlinks an entry if the bucket is as it was when the entry was found.
    #[inline(always)]
    pub(super) fn unlink_found<'a>(
        &'a self,
        bucket: Bucket,
        header: Header,
        (found, located): (&Found<'a, M>, Located),
        lease: &Lease<'a, M>,
    ) -> Result<bool, Error> {
        let is_linked = || self.is_unchanged(bucket.at, header);
        let Some(intended) = lease.intend(located, is_linked) else {
            self.stale_block(bucket, header, found.slot.block())?;
            return Ok(false);
        };
        // ORDERING(W3): release, so that a death after it leaves the intent behind it.
        if !self.exchange_header(bucket, header, header.flipped(found.live_bit)) {
            lease.withdraw();
            return Ok(false);
        }
        if let Some(retired) = lease.retire(intended) {
            self.empty_slot(found.at, found.slot, bucket.stamp.epoch());
            lease.reclaim(retired, found.shape.words());
        }
        lease.count(0, 1);
        self.follow_load(bucket, header);
        Ok(true)
    }
}
