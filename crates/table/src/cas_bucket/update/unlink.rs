//! Taking an entry out: the exchange of the header that clears one bit.

use shm_arena::{Lease, Located, Memory};

use crate::cas_bucket::areas::Bucket;
use crate::cas_bucket::search::{Found, Search};
use crate::cas_bucket::word::Header;
use crate::cas_bucket::{CasBucket, TURNS_MAX};
use crate::contract::Error;
use crate::entry::check_key;

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
        let Some(lease) = self.try_lease() else {
            return Err(self.arena.lease_error().into());
        };
        if !root.is_settled() {
            self.help_along()?;
        }
        match self.unlink_once(bucket, key, value.as_deref_mut(), &lease)? {
            Unlink::Again => self.unlink_again(hash, key, value, lease),
            Unlink::Done(metadata) => Ok(metadata),
        }
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
        let (header, matches) = self.load_matches(bucket);
        if !self.is_open(header) || !self.is_current(bucket) {
            return self.elsewhere(bucket, header).map(|()| Unlink::Again);
        }
        if matches == 0 {
            value.into_iter().for_each(Vec::clear);
            let unchanged = self.is_unchanged(bucket.at, header);
            return Ok(if unchanged { Unlink::Done(None) } else { Unlink::Again });
        }
        // What is found goes on from here in registers; anything else is rare.
        match self.search_first(bucket.at, matches, key) {
            Search::Found(found) => self.unlink_seen(bucket, header, &found, value, lease),
            seen => self.unlink_otherwise((bucket, header, matches), seen, key, value, lease),
        }
    }

    /// Goes on with an attempt where the first tag that matched is not that of the key's entry.
    #[cold]
    fn unlink_otherwise<'a>(
        &'a self,
        (bucket, header, matches): (Bucket, Header, u32),
        first: Search<'a, M>,
        key: &[u8],
        value: Option<&mut Vec<u8>>,
        lease: &Lease<'a, M>,
    ) -> Result<Unlink, Error> {
        let seen = match first {
            Search::Absent => self.search_rest(bucket.at, matches & (matches - 1), key),
            seen => seen,
        };
        match seen {
            Search::Found(found) => self.unlink_seen(bucket, header, &found, value, lease),
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
        found: &Found<'a, M>,
        value: Option<&mut Vec<u8>>,
        lease: &Lease<'a, M>,
    ) -> Result<Unlink, Error> {
        let Some(located) = lease.locate(found.slot.block()) else {
            self.stale_block(bucket, header, found.slot.block())?;
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
        if !self.exchange_header(bucket, header, header.with_live(header.live() & !found.live_bit))
        {
            lease.withdraw();
            return Ok(false);
        }
        lease.retire(intended, found.shape.words(), || {
            self.empty_slot(found.at, found.slot, bucket.stamp.epoch());
        });
        lease.count(0, 1);
        self.follow_load(bucket, header);
        Ok(true)
    }
}
