//! Keyed hashing of keys, by a function that the segment's header names.

use rapidhash::v3::{RapidSecrets, rapidhash_v3_inline, rapidhash_v3_nano_inline};
use siphasher::sip::SipHasher13;

/// How keys are hashed; always keyed with the segment's secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HashKind {
    /// rapidhash v3, seeded: fast, no cryptographic claim.
    #[default]
    Rapid,
    /// SipHash-1-3: slower, made against chosen keys.
    SipHash13,
}

impl HashKind {
    /// The number that a segment's header records.
    pub const fn id(self) -> u64 {
        match self {
            Self::Rapid => 1,
            Self::SipHash13 => 2,
        }
    }

    /// The function with this number.
    pub const fn from_id(id: u64) -> Option<Self> {
        match id {
            1 => Some(Self::Rapid),
            2 => Some(Self::SipHash13),
            _ => None,
        }
    }
}

/// A hash function with its key: equal in all processes of a segment, or attach refuses.
#[derive(Clone)]
pub struct KeyHasher {
    function: Function,
}

#[derive(Clone)]
enum Function {
    Rapid(RapidSecrets),
    SipHash13(SipHasher13),
}

impl KeyHasher {
    /// The function of this kind under this secret.
    pub fn new(kind: HashKind, secret: [u64; 2]) -> Self {
        let function = match kind {
            HashKind::Rapid => {
                Function::Rapid(RapidSecrets::seed(secret[0] ^ secret[1].rotate_left(32)))
            }
            HashKind::SipHash13 => {
                Function::SipHash13(SipHasher13::new_with_keys(secret[0], secret[1]))
            }
        };
        Self { function }
    }

    /// Hashes a key.
    #[inline(always)]
    pub fn hash(&self, key: &[u8]) -> u64 {
        match &self.function {
            Function::Rapid(secrets) => match key.try_into() {
                Ok(key) => rapid_of_32(key, secrets),
                Err(_) => rapidhash_v3_nano_inline::<true, false>(key, secrets),
            },
            Function::SipHash13(hasher) => hasher.hash(key),
        }
    }

    /// A value that two processes share exactly if they hash alike: the hash of a fixed text.
    pub fn signature(&self) -> u64 {
        self.hash(b"shmtable hash signature") ^ self.hash(&[0xa5; 48]).rotate_left(1)
    }
}

/// The hash of a key as long as session ids are. For 32 bytes two variants of rapidhash are one
/// function, and this is the one that the compiler has in place, without what other lengths need.
#[inline]
fn rapid_of_32(key: &[u8; 32], secrets: &RapidSecrets) -> u64 {
    rapidhash_v3_inline::<true, true, false>(key, secrets)
}

/// Never prints the secret.
impl std::fmt::Debug for KeyHasher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.function {
            Function::Rapid(_) => HashKind::Rapid,
            Function::SipHash13(_) => HashKind::SipHash13,
        };
        formatter.debug_struct("KeyHasher").field("kind", &kind).finish_non_exhaustive()
    }
}

/// A fresh secret from the operating system's entropy.
pub fn random_secret() -> [u64; 2] {
    use std::hash::{BuildHasher, RandomState};
    // Each state holds 128 fresh or incremented secret bits; what leaves is their keyed hash.
    [RandomState::new().hash_one(0x7368_6d74_u64), RandomState::new().hash_one(0x6162_6c65_u64)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_of_any_length_are_hashed_by_one_function(
            key in prop::collection::vec(any::<u8>(), 1..=255), id in any::<[u8; 32]>(),
            secret in any::<[u64; 2]>(),
        ) {
            let hasher = KeyHasher::new(HashKind::Rapid, secret);
            let secrets = RapidSecrets::seed(secret[0] ^ secret[1].rotate_left(32));
            for key in [&key[..], &id] {
                let expected = rapidhash_v3_nano_inline::<true, false>(key, &secrets);
                prop_assert_eq!(hasher.hash(key), expected);
            }
        }
    }
}
