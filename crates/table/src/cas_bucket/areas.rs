//! Where the buckets of each size lie.

use shm_arena::Offset;

use super::root::Root;
use super::word::{FIRST_SLOTS, Stamp};
use crate::contract::Error;

/// The areas of all sizes from the smallest to the largest, one behind the other: all first lines
/// together, then the rest.
///
/// Buckets of all areas are numbered through: of 2^k buckets, bucket `b` has number 2^k + b.
///
/// Of a table that has one size, all buckets share the rest: few need it, so that each may use
/// seventeen words of it, scattered, and others the same ones. Whoever claims a word from vacant
/// has it, for whichever bucket. A bucket that may move has two lines of its own, since what is
/// copied from a frozen bucket has to fit where others copy it to at the same time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Areas {
    /// Where the first line of bucket number 0 would be.
    zero: u64,
    index: Offset,
    /// Where the second part of the index starts.
    rest: Offset,
    /// Words of the second part less one, a power of two less one, where all buckets share it; 0
    /// where each has two lines of its own.
    shared_mask: u64,
    /// Words of a bucket in the first part, a power of two, by their exponent.
    first_shift: u32,
    /// One less than the smallest number of buckets.
    mask_min: u64,
    exponent_min: u32,
    exponent_max: u32,
    is_fixed: bool,
}

/// A bucket of some area, and how its slots are stamped for one key. Two words, which stay in
/// registers: a look-up that passes more through memory, and reads back wider than it wrote, waits
/// there for everything before it, and successive look-ups no longer overlap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bucket {
    /// Where its header is.
    pub(super) at: Offset,
    pub(super) stamp: Stamp,
}

/// Words of a bucket in the first part of the index: a line, or of few slots the next power of two,
/// by its exponent.
const fn first_shift(slots: u32) -> u32 {
    if slots > FIRST_SLOTS { 3 } else { (slots + 1).next_power_of_two().ilog2() }
}

/// Words of an index with areas for 2^`min` to 2^`max` buckets of so many slots, for so many
/// entries. Both exponents are at most [`Root::EXPONENT_MAX`].
pub(super) fn index_words(min: u32, max: u32, slots: u32, entries: u64) -> u64 {
    let buckets = (1_u64 << (max + 1)) - (1 << min);
    let rest = match slots > FIRST_SLOTS {
        false => 0,
        true if min == max => shared_words(buckets, entries),
        true => 16 * buckets,
    };
    (buckets << first_shift(slots)) + rest
}

/// Words of a shared rest: so many that where entries come and go for ever, hardly an insertion
/// finds none; the tests of this module compute how many do, and say the limit. At up to four
/// entries a bucket, an eighth of the words is in use; at fewer entries, fewer buckets need any.
const fn shared_words(buckets: u64, entries: u64) -> u64 {
    let eighths_of_a_bucket = (8 * entries).div_ceil(buckets);
    let words = match eighths_of_a_bucket {
        0..=20 => buckets / 4,
        21..=25 => buckets / 2,
        _ => 2 * buckets,
    };
    if words < SHARED_WORDS_MIN { SHARED_WORDS_MIN } else { words }
}

/// So many that a bucket's own are different ones.
const SHARED_WORDS_MIN: u64 = 32;

/// How far the words of a shared rest lie apart that a bucket may use: each number's lowest five
/// bits are its own.
const fn scattered(number: u32) -> u64 {
    (number as u64 * 0x9e37) << 5 | number as u64
}

impl Areas {
    /// The areas of an index that starts here and has so many words. The exponents are in order and
    /// at most [`Root::EXPONENT_MAX`]. `None`: no such index has so many.
    pub(super) fn new(
        (index, words): (Offset, u64),
        (exponent_min, exponent_max): (u32, u32),
        slots: u32,
    ) -> Option<Self> {
        let first_shift = first_shift(slots);
        let buckets = (1_u64 << (exponent_max + 1)) - (1 << exponent_min);
        let rest = words.checked_sub(buckets << first_shift)?;
        let is_shared = slots > FIRST_SLOTS && exponent_min == exponent_max;
        let is_right = match (is_shared, slots > FIRST_SLOTS) {
            (true, _) => rest.is_power_of_two() && rest >= SHARED_WORDS_MIN,
            (false, true) => rest == 16 * buckets,
            (false, false) => rest == 0,
        };
        is_right.then_some(Self {
            zero: index.word().wrapping_sub(1 << (exponent_min + first_shift)),
            index,
            rest: index + (buckets << first_shift),
            shared_mask: if is_shared { rest - 1 } else { 0 },
            first_shift,
            mask_min: (1 << exponent_min) - 1,
            exponent_min,
            exponent_max,
            is_fixed: exponent_min == exponent_max,
        })
    }

    pub(super) const fn exponent_min(&self) -> u32 {
        self.exponent_min
    }

    pub(super) const fn exponent_max(&self) -> u32 {
        self.exponent_max
    }

    /// Whether there is one size only.
    #[inline(always)]
    pub(super) const fn is_fixed(&self) -> bool {
        self.is_fixed
    }

    /// Whether there is an area of this size.
    #[inline(always)]
    pub(super) const fn has(&self, exponent: u32) -> bool {
        exponent.wrapping_sub(self.exponent_min) <= self.exponent_max - self.exponent_min
    }

    /// A key's bucket of the present size. Takes any root.
    #[inline(always)]
    pub(super) fn bucket(&self, hash: u64, root: Root) -> Result<Bucket, Error> {
        if !self.has(root.exponent()) {
            return Err(self.no_area());
        }
        Ok(self.bucket_of(hash, root.exponent(), root.epoch()))
    }

    /// A key's bucket of the smallest size, in the first life of its area.
    #[inline(always)]
    pub(super) fn bucket_of_smallest(&self, hash: u64) -> Bucket {
        let at = self.index + ((hash & self.mask_min) << self.first_shift);
        Bucket { at, stamp: Stamp::new(self.tag(hash), Root::first(0).epoch()) }
    }

    /// A key's bucket of the size that entries move to. Takes any root.
    pub(super) fn heir(&self, hash: u64, root: Root) -> Result<Bucket, Error> {
        match root.target().filter(|&exponent| self.has(exponent)) {
            Some(exponent) => Ok(self.bucket_of(hash, exponent, root.epoch().wrapping_add(1))),
            None => Err(self.no_area()),
        }
    }

    /// The bucket for a hash of a size that has an area, in a life that began in an epoch.
    #[inline(always)]
    pub(super) fn bucket_of(&self, hash: u64, exponent: u32, epoch: u32) -> Bucket {
        let size = 1_u64 << exponent;
        let number = hash & (size - 1) | size;
        let at = Offset::new(self.zero.wrapping_add(number << self.first_shift));
        Bucket { at, stamp: Stamp::new(self.tag(hash), epoch) }
    }

    /// The 32 bits of a hash above those that the smallest size needs: so a slot's word says to
    /// which bucket of any larger size its entry belongs.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the lower 32 bits that are left")]
    pub(super) const fn tag(&self, hash: u64) -> u32 {
        (hash >> self.exponent_min) as u32
    }

    /// The bit of a tag that says in which half of twice as many buckets its entry belongs.
    pub(super) const fn tag_bit(&self, exponent: u32) -> u32 {
        1 << (exponent.wrapping_sub(self.exponent_min) & 31)
    }

    #[cold]
    fn no_area(&self) -> Error {
        Error::Corrupt { what: "table size", word: self.index.word() }
    }

    /// The word of a slot of the bucket whose header is here.
    #[inline(always)]
    pub(super) fn slot(&self, at: Offset, slot: u32) -> Offset {
        if slot < FIRST_SLOTS {
            at + u64::from(slot + 1)
        } else {
            self.rest_slot(at, slot - FIRST_SLOTS)
        }
    }

    /// The same of a slot in the rest.
    #[inline(always)]
    fn rest_slot(&self, at: Offset, number: u32) -> Offset {
        let bucket = at.word().wrapping_sub(self.index.word()) >> self.first_shift;
        if self.shared_mask == 0 {
            return self.rest + (16 * bucket + u64::from(number));
        }
        self.rest + ((bucket ^ scattered(number)) & self.shared_mask)
    }

    /// Slots that there are in a table of so many buckets of so many slots.
    pub(super) const fn slots(&self, buckets: u64, slots: u32) -> u64 {
        if self.shared_mask == 0 {
            return buckets * slots as u64;
        }
        buckets * FIRST_SLOTS as u64 + self.shared_mask + 1
    }

    /// Which line of those that a look-up in a bucket fetches has this slot, from 1.
    pub(super) const fn line_of(&self, slot: u32) -> usize {
        match slot {
            0..FIRST_SLOTS => 1,
            slot if self.shared_mask != 0 || slot < FIRST_SLOTS + 8 => 2,
            _ => 3,
        }
    }

    /// The size whose area a bucket is in, and its number among those.
    pub(super) const fn place_of(&self, at: Offset) -> (u32, u64) {
        let number = at.word().wrapping_sub(self.zero) >> self.first_shift;
        let exponent = (number | 1).ilog2();
        (exponent, number - (1 << exponent))
    }

    /// Where the headers of all buckets are: offset, size.
    pub(super) fn headers(&self) -> impl Iterator<Item = (Offset, u32)> + use<> {
        let areas = *self;
        (self.exponent_min..=self.exponent_max).flat_map(move |exponent| {
            (0..1_u64 << exponent).map(move |b| (areas.bucket_of(b, exponent, 0).at, exponent))
        })
    }
}

#[cfg(test)]
mod refusals;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn areas_lie_apart_and_inside_the_index(
            min in 0..6_u32, more in 0..5_u32, slots in 2..=24_u32, start in 0..100_u64,
            entries in 0..1000_u64,
        ) {
            let (index, max) = (Offset::new(8 * start), min + more);
            prop_assume!(more == 0 || slots <= 21);
            let words = index_words(min, max, slots, entries);
            let areas = Areas::new((index, words), (min, max), slots).unwrap();
            let (mut all, mut shared): (Vec<u64>, Vec<u64>) = (Vec::new(), Vec::new());
            for (at, exponent) in areas.headers() {
                prop_assert_eq!(areas.place_of(at).0, exponent);
                all.push(at.word());
                let words = (0..slots).map(|slot| areas.slot(at, slot).word());
                let of_bucket: Vec<_> = words.collect();
                let (first, rest) = of_bucket.split_at(FIRST_SLOTS.min(slots) as usize);
                all.extend(first);
                let mut sorted = rest.to_vec();
                sorted.sort_unstable();
                prop_assert!(sorted.is_sorted_by(|one, next| one < next), "none is there twice");
                if areas.is_fixed() { &mut shared } else { &mut all }.extend(rest);
            }
            all.sort_unstable();
            prop_assert!(all.is_sorted_by(|one, next| one < next), "no two share a word");
            shared.sort_unstable();
            shared.dedup();
            prop_assert!(shared.iter().all(|word| all.binary_search(word).is_err()));
            all.extend(shared);
            all.sort_unstable();
            prop_assert!(all[0] == index.word() && *all.last().unwrap() < index.word() + words);
        }

        #[test]
        fn a_bucket_follows_from_the_low_bits_and_its_halves_from_the_tag(
            hash in any::<u64>(), min in 0..20_u32, more in 0..10_u32, epoch in any::<u32>(),
        ) {
            let words = index_words(min, min + more, 21, 1000);
            let areas = Areas::new((Offset::new(64), words), (min, min + more), 21).unwrap();
            for exponent in min..=min + more {
                let bucket = areas.bucket_of(hash, exponent, epoch);
                let place = (exponent, hash & ((1 << exponent) - 1));
                prop_assert_eq!(areas.place_of(bucket.at), place);
                let upper = areas.tag(hash) & areas.tag_bit(exponent) != 0;
                prop_assert_eq!(upper, hash >> exponent & 1 == 1);
            }
        }

        #[test]
        fn no_root_leads_outside_the_areas(
            bits in any::<u64>(), hash in any::<u64>(), min in 0..8_u32, more in 0..5_u32,
        ) {
            let words = index_words(min, min + more, 21, 1000);
            let areas = Areas::new((Offset::new(64), words), (min, min + more), 21).unwrap();
            let root = Root::from_bits(bits);
            for bucket in [areas.bucket(hash, root), areas.heir(hash, root)].into_iter().flatten() {
                let (exponent, _) = areas.place_of(bucket.at);
                prop_assert!((min..=min + more).contains(&exponent));
            }
        }
    }
}
