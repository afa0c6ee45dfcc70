//! The words of a chain: its head, and what stands beside each of its blocks.

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
/// The block is where a [`Node`] has the next one, so that what points to an entry is one kind of
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
    pub(super) const fn behind(self, block: u64, tag: Tag) -> Self {
        Self { first: block, signature: self.signature.with(tag) }
    }
}

/// The side word of an entry's block: all that a walk along its chain has to know of it.
///
/// ```text
/// 63              32 31             0
/// ┌─────────────────┬───────────────┐
/// │ next block      │ tag           │   0 = no entry after this one
/// └─────────────────┴───────────────┘
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Node {
    /// Block of the entry after this one, 0 for none.
    pub(super) next: u64,
    pub(super) tag: Tag,
}

impl Node {
    /// Reads any bit pattern.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "halves are taken apart")]
    pub(super) const fn from_bits(bits: u64) -> Self {
        Self { next: bits >> 32, tag: Tag(bits as u32) }
    }

    #[inline(always)]
    pub(super) const fn bits(self) -> u64 {
        self.next << 32 | self.tag.0 as u64
    }
}

/// What tells an entry from others of its chain without fetching it: the upper half of its hash,
/// where the bucket's number, which takes 32 bits from below at most, has none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tag(u32);

impl Tag {
    #[inline(always)]
    pub(super) const fn of(hash: u64) -> Self {
        Self((hash >> 32) as u32)
    }
}

/// A Bloom filter over the tags in a chain: two of 32 bits for each.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Signature(u32);

impl Signature {
    /// Of no entry.
    pub(super) const EMPTY: Self = Self(0);

    /// The bits of one tag: by its highest ten bits.
    #[inline(always)]
    const fn of(tag: Tag) -> Self {
        Self(1 << (tag.0 >> 27) | 1 << (tag.0 >> 22 & 31))
    }

    /// With the bits of one more tag.
    #[inline(always)]
    pub(super) const fn with(self, tag: Tag) -> Self {
        Self(self.0 | Self::of(tag).0)
    }

    /// Whether an entry of this tag may be in the chain; `false` means that none is.
    #[inline(always)]
    pub(super) const fn may_have(self, tag: Tag) -> bool {
        self.0 & Self::of(tag).0 == Self::of(tag).0
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
        fn a_signature_has_every_tag_that_was_put_into_it(
            hashes in prop::collection::vec(any::<u64>(), 0..20), block in 1..1_u64 << 32,
        ) {
            let tags: Vec<_> = hashes.into_iter().map(Tag::of).collect();
            let head = tags.iter().fold(Head::from_bits(0), |head, &tag| head.behind(block, tag));
            prop_assert!(tags.iter().all(|&tag| head.signature.may_have(tag)));
            let shifted = head.behind(block, Tag::of(0)).signature;
            prop_assert!(tags.iter().all(|&tag| shifted.may_have(tag)));
        }

        #[test]
        fn a_node_keeps_its_fields(bits in any::<u64>(), low: u32) {
            let node = Node::from_bits(bits);
            prop_assert_eq!((node.bits(), node.next), (bits, bits >> 32));
            let hash = u64::from(node.tag.0) << 32 | u64::from(low);
            prop_assert_eq!(Tag::of(hash), node.tag, "no bit of the bucket's number");
        }
    }

    #[test]
    fn of_absent_tags_one_in_hundreds_may_be_in_a_chain_of_one_entry() {
        let tag = |number: u64| Tag::of(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let one = Signature::EMPTY.with(tag(1));
        let passed = (2..100_002).filter(|&number| one.may_have(tag(number))).count();
        assert!((200..1000).contains(&passed), "{passed} of 100,000");
    }
}
