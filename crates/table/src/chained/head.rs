//! The head of a bucket: where its chain begins, and which entries cannot be in it.

use std::fmt;

/// The word of a bucket.
///
/// ```text
/// 63              32 31             0
/// ┌─────────────────┬───────────────┐
/// │ first block     │ signature     │   0 = no entry, whatever the signature
/// └─────────────────┴───────────────┘
/// ```
///
/// The block is where an entry has its next one, so that what points to an entry is one kind of
/// word: a [`Link`](super::Link).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    /// Block of the first entry, 0 for none.
    pub(super) first: u64,
    pub(super) signature: Signature,
}

impl Head {
    /// Reads any bit pattern. Bits that were left in the signature of an empty chain are dropped.
    #[inline(always)]
    pub(super) const fn from_bits(bits: u64) -> Self {
        let first = bits >> 32;
        #[expect(clippy::cast_possible_truncation, reason = "halves are taken apart")]
        let signature = if first == 0 { Signature::EMPTY } else { Signature(bits as u32) };
        Self { first, signature }
    }

    #[inline(always)]
    pub(super) const fn bits(self) -> u64 {
        self.first << 32 | self.signature.0 as u64
    }

    /// What the head becomes when an entry comes before the first one.
    #[inline(always)]
    pub(super) const fn behind(self, block: u64, hash: u64) -> Self {
        Self { first: block, signature: self.signature.with(hash) }
    }
}

/// A Bloom filter over the hashes in a chain: two of 32 bits for each.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Signature(u32);

impl Signature {
    /// Of no entry.
    pub(super) const EMPTY: Self = Self(0);

    /// The bits of one hash: by its highest ten bits, where the bucket's number, which takes 32
    /// from below at most, has none.
    #[inline(always)]
    const fn of(hash: u64) -> Self {
        Self(1 << (hash >> 59) | 1 << (hash >> 54 & 31))
    }

    /// With the bits of one more hash.
    #[inline(always)]
    pub(super) const fn with(self, hash: u64) -> Self {
        Self(self.0 | Self::of(hash).0)
    }

    /// Whether an entry of this hash may be in the chain; `false` means that none is.
    #[inline(always)]
    pub(super) const fn may_have(self, hash: u64) -> bool {
        self.0 & Self::of(hash).0 == Self::of(hash).0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "signature {:#034b}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_head_keeps_its_fields_and_an_empty_chain_has_no_signature(bits in any::<u64>()) {
            let head = Head::from_bits(bits);
            prop_assert_eq!(Head::from_bits(head.bits()), head);
            prop_assert_eq!(head.first, bits >> 32);
            prop_assert!(head.first == 0 || head.bits() == bits);
            let empty = Head::from_bits(bits & u64::from(u32::MAX));
            prop_assert_eq!(empty, Head { first: 0, signature: Signature::EMPTY });
            prop_assert_eq!(empty.bits(), 0);
        }

        #[test]
        fn a_signature_has_every_hash_that_was_put_into_it(
            hashes in prop::collection::vec(any::<u64>(), 0..20), block in 1..1_u64 << 32,
        ) {
            let head = hashes.iter().fold(Head::from_bits(0), |head, &hash| {
                head.behind(block, hash)
            });
            prop_assert!(hashes.iter().all(|&hash| head.signature.may_have(hash)));
            let shifted = head.behind(block, 0).signature;
            prop_assert!(hashes.iter().all(|&hash| shifted.may_have(hash)));
        }

        #[test]
        fn the_bits_of_a_hash_do_not_depend_on_its_bucket(hash in any::<u64>(), low: u32) {
            let other = hash & !u64::from(u32::MAX) | u64::from(low);
            prop_assert_eq!(Signature::of(hash), Signature::of(other));
        }
    }

    #[test]
    fn of_absent_hashes_one_in_hundreds_may_be_in_a_chain_of_one_entry() {
        let hash = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let one = Signature::EMPTY.with(hash(1));
        let passed = (2..100_002).filter(|&number| one.may_have(hash(number))).count();
        assert!((200..1000).contains(&passed), "{passed} of 100,000");
    }
}
