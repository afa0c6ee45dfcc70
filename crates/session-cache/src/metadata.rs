//! The word that an entry carries beside its value: when it expires and whose it is.

use std::fmt;

/// Longest life of a session, in milliseconds: the seven days that RFC 8446 allows a ticket.
pub const TTL_MS_MAX: u64 = 7 * 24 * 60 * 60 * 1000;

/// The metadata word of a session.
///
/// ```text
///  63   60 59          48 47                                              0
/// +-------+--------------+-------------------------------------------------+
/// | flags |  domain tag  |                    expiry_ms                    |
/// +-------+--------------+-------------------------------------------------+
/// ```
///
/// `expiry_ms` is absolute, on the clock that all participants share; 48 bits last 8900 years.
/// Every word is valid to decode: what another process wrote can make an entry dead, no more.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Metadata(u64);

impl Metadata {
    /// Latest expiry that fits; a later one is cut to it.
    pub const EXPIRY_MS_MAX: u64 = (1 << Self::EXPIRY_BITS) - 1;

    const EXPIRY_BITS: u32 = 48;
    const TAG_BITS: u32 = 12;
    const TAG_MAX: u16 = (1 << Self::TAG_BITS) - 1;
    const FLAGS_SHIFT: u32 = Self::EXPIRY_BITS + Self::TAG_BITS;

    /// The word of a session without flags. Of the tag the lower twelve bits count.
    pub const fn new(expiry_ms: u64, domain_tag: u16) -> Self {
        let expiry_ms =
            if expiry_ms > Self::EXPIRY_MS_MAX { Self::EXPIRY_MS_MAX } else { expiry_ms };
        let tag = (domain_tag & Self::TAG_MAX) as u64;
        Self(expiry_ms | tag << Self::EXPIRY_BITS)
    }

    /// Decodes what a table carried.
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// What a table is to carry.
    pub const fn word(self) -> u64 {
        self.0
    }

    /// Milliseconds on the shared clock from which on the session is dead.
    pub const fn expiry_ms(self) -> u64 {
        self.0 & Self::EXPIRY_MS_MAX
    }

    /// Twelve bits of the domain.
    pub const fn domain_tag(self) -> u16 {
        (self.0 >> Self::EXPIRY_BITS) as u16 & Self::TAG_MAX
    }

    /// Four bits that no version has given a meaning yet: 0.
    pub const fn flags(self) -> u8 {
        (self.0 >> Self::FLAGS_SHIFT) as u8
    }

    /// Whether the session may be given out at this time.
    ///
    /// An expiry further away than the longest life was not computed on this clock, and a flag
    /// that this build does not know may forbid use: both are dead.
    pub const fn is_live(self, now_ms: u64) -> bool {
        let expiry_ms = self.expiry_ms();
        now_ms < expiry_ms && expiry_ms - now_ms <= TTL_MS_MAX && self.flags() == 0
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Metadata")
            .field("expiry_ms", &self.expiry_ms())
            .field("domain_tag", &format_args!("{:03x}", self.domain_tag()))
            .field("flags", &format_args!("{:04b}", self.flags()))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn fields_come_back_as_they_were_packed(
            expiry_ms in 0..=Metadata::EXPIRY_MS_MAX,
            tag in 0..=Metadata::TAG_MAX,
        ) {
            let metadata = Metadata::from_word(Metadata::new(expiry_ms, tag).word());
            prop_assert_eq!(metadata.expiry_ms(), expiry_ms);
            prop_assert_eq!(metadata.domain_tag(), tag);
            prop_assert_eq!(metadata.flags(), 0);
        }

        #[test]
        fn the_fields_of_any_word_make_up_the_word(word: u64) {
            let metadata = Metadata::from_word(word);
            let rebuilt = metadata.expiry_ms()
                | u64::from(metadata.domain_tag()) << 48
                | u64::from(metadata.flags()) << 60;
            prop_assert_eq!(rebuilt, word);
        }

        #[test]
        fn a_later_expiry_or_a_wider_tag_stays_in_its_field(expiry_ms: u64, tag: u16) {
            let metadata = Metadata::new(expiry_ms, tag);
            prop_assert_eq!(metadata.flags(), 0);
            prop_assert_eq!(metadata.expiry_ms(), expiry_ms.min(Metadata::EXPIRY_MS_MAX));
            prop_assert_eq!(metadata.domain_tag(), tag & Metadata::TAG_MAX);
        }
    }

    #[test]
    fn a_session_lives_up_to_its_expiry_and_not_at_it() {
        let metadata = Metadata::new(1_000, 7);
        assert!(metadata.is_live(999));
        assert!(!metadata.is_live(1_000));
        assert!(!metadata.is_live(1_001));
    }

    #[test]
    fn an_expiry_beyond_the_longest_life_is_dead() {
        assert!(Metadata::new(TTL_MS_MAX, 0).is_live(0));
        assert!(!Metadata::new(TTL_MS_MAX + 1, 0).is_live(0));
    }

    #[test]
    fn a_session_with_an_unknown_flag_is_dead() {
        for flag in 60..64 {
            let word = Metadata::new(1_000, 7).word() | 1 << flag;
            assert!(!Metadata::from_word(word).is_live(500), "{:?}", Metadata::from_word(word));
        }
    }

    #[test]
    fn debug_names_the_fields() {
        let word = Metadata::new(1_000, 0xabc).word() | 1 << 61;
        assert_eq!(
            format!("{:?}", Metadata::from_word(word)),
            "Metadata { expiry_ms: 1000, domain_tag: abc, flags: 0010 }"
        );
    }
}
