//! Taking an entry out: the exchange of the header that clears one bit.

use shm_arena::{Intended, Lease, Load, Located, Memory};

use crate::cas_bucket::areas::Bucket;
use crate::cas_bucket::search::{Found, Named, Search};
use crate::cas_bucket::word::{Header, Slot};
use crate::cas_bucket::{CasBucket, TURNS_MAX};
use crate::contract::Error;
use crate::entry::{ENTRY_NEAR_WORDS, EntryLine, EntryShape, Near, check_key};

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
        if self.has_few_slots() {
            return self.unlink_of_few((hash, bucket), key, value, lease);
        }
        match self.unlink_once(bucket, false, key, value.as_deref_mut(), &lease) {
            Unlink::Done(metadata) => Ok(metadata),
            Unlink::Again => self.unlink_again(hash, key, value, lease),
        }
    }

    /// The same in buckets that do not fill their line.
    #[cold]
    fn unlink_of_few(
        &self,
        (hash, bucket): (u64, Bucket),
        key: &[u8],
        mut value: Option<&mut Vec<u8>>,
        lease: Lease<'_, M>,
    ) -> Result<Option<u64>, Error> {
        match self.unlink_once(bucket, true, key, value.as_deref_mut(), &lease) {
            Unlink::Done(metadata) => Ok(metadata),
            Unlink::Again => self.unlink_again(hash, key, value, lease),
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
            let turn = self.unlink_turn(bucket, key, value.as_deref_mut(), &lease)?;
            if let Unlink::Done(metadata) = turn {
                return Ok(metadata);
            }
        }
        Err(self.contended(hash))
    }

    /// The first attempt. It settles what is usual, the key's entry in the first line of a bucket
    /// in use and named first of those with its tag, and leaves anything else as it was.
    #[inline(always)]
    fn unlink_once(
        &self,
        bucket: Bucket,
        is_of_few: bool,
        key: &[u8],
        value: Option<&mut Vec<u8>>,
        lease: &Lease<'_, M>,
    ) -> Unlink {
        let Some((line, header, named)) = self.look_at_line(bucket, is_of_few) else {
            return Unlink::Again;
        };
        if named == 0 {
            return match self.has_rest(header) || !Self::is_line_unchanged(line, header) {
                true => Unlink::Again,
                false => {
                    value.into_iter().for_each(Vec::clear);
                    Unlink::Done(None)
                }
            };
        }
        let word = named.trailing_zeros();
        let slot = Slot::from_bits(line.load(word, Load::Relaxed));
        let named = Named { at: bucket.at + u64::from(word), number: word.wrapping_sub(1), slot };
        // Before the entry has come: behind that, no more can be done meanwhile than the processor
        // looks ahead.
        let Some(located) = lease.locate(slot.block()) else { return Unlink::Again };
        // No line behind the block: that would be taken from its neighbour.
        match located.words() {
            // Without a loop.
            ENTRY_NEAR_WORDS.. => Near::ToWrite.bring_entry(self.memory(), slot.block()),
            words => Near::ToWrite.bring(self.memory(), slot.block().offset(), words),
        }
        let is_linked = || Self::is_line_unchanged(line, header);
        if let Some(entry) = EntryLine::new(self.memory(), slot.block())
            && let Some(shape) = entry.shape_if(key)
            && let metadata = entry.metadata()
            && value.is_none_or(|value| entry.read_value(shape, value))
            && let Some(intended) = lease.intend(located, is_linked)
            && self.unlink_intended(bucket, header, (named, shape), intended, lease)
        {
            return Unlink::Done(Some(metadata));
        }
        Unlink::Again
    }

    /// An attempt at anything.
    fn unlink_turn(
        &self,
        bucket: Bucket,
        key: &[u8],
        value: Option<&mut Vec<u8>>,
        lease: &Lease<'_, M>,
    ) -> Result<Unlink, Error> {
        let (header, matches) = self.load_matches(bucket);
        if !self.is_open(header) || !self.is_current(bucket) {
            return self.elsewhere(bucket, header).map(|()| Unlink::Again);
        }
        let found = match self.search(bucket.at, matches, key, Near::ToWrite) {
            Search::Found(found) => found,
            Search::Absent => {
                value.into_iter().for_each(Vec::clear);
                let unchanged = self.is_unchanged(bucket.at, header);
                return Ok(if unchanged { Unlink::Done(None) } else { Unlink::Again });
            }
            Search::Damaged { what, word } => {
                self.damaged_or_again(bucket, header, what, word)?;
                return Ok(Unlink::Again);
            }
        };
        let Some(located) = lease.locate(found.named.slot.block()) else {
            self.stale_block(bucket, header, found.named.slot.block())?;
            return Ok(Unlink::Again);
        };
        if let Some(value) = value
            && !found.entry.read_claimed_value(found.shape, value)
        {
            let (what, word) = found.damaged_lengths();
            self.damaged_or_again(bucket, header, what, word)?;
            return Ok(Unlink::Again);
        }
        let metadata = found.entry.metadata();
        let unlinked = self.unlink_found(bucket, header, (&found, located), lease)?;
        Ok(if unlinked { Unlink::Done(Some(metadata)) } else { Unlink::Again })
    }

    /// Unlinks an entry if the bucket is as it was when the entry was found.
    pub(super) fn unlink_found(
        &self,
        bucket: Bucket,
        header: Header,
        (found, located): (&Found<'_, M>, Located),
        lease: &Lease<'_, M>,
    ) -> Result<bool, Error> {
        let is_linked = || self.is_unchanged(bucket.at, header);
        let Some(intended) = lease.intend(located, is_linked) else {
            self.stale_block(bucket, header, found.named.slot.block())?;
            return Ok(false);
        };
        let entry = (found.named, found.shape);
        Ok(self.unlink_intended(bucket, header, entry, intended, lease))
    }

    /// Unlinks the entry of this slot and shape, which the line names as about to be unlinked.
    /// `false`: somebody changed the bucket since the header was loaded, and nothing happened.
    #[inline(always)]
    fn unlink_intended(
        &self,
        bucket: Bucket,
        header: Header,
        (named, shape): (Named, EntryShape),
        intended: Intended,
        lease: &Lease<'_, M>,
    ) -> bool {
        // ORDERING(W3): release, so that a death after it leaves the intent behind it.
        if !self.exchange_header(bucket, header, header.flipped(named.live_bit())) {
            lease.withdraw();
            return false;
        }
        if let Some(retired) = lease.retire(intended) {
            self.empty_slot(named.at, named.slot, bucket.stamp.epoch());
            lease.reclaim(retired, shape.words());
        }
        lease.count(0, 1);
        self.follow_load(bucket, header);
        true
    }
}
