//! Session ids: 32 bytes that look random and that any worker can compute from a number.
//!
//! Workers resume each other's sessions, so that every worker has to know ids that another made. An
//! id is therefore a function of the run's seed, the lane that issued it and its number there.

/// Bytes of a session id.
pub const KEY_BYTES: usize = 32;

/// A session id.
pub type Key = [u8; KEY_BYTES];

/// The bijection that ends splitmix64: every bit of the result depends on every bit of the input.
#[inline(always)]
pub const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The id of a lane's `number`-th session.
#[inline(always)]
pub fn session_id(seed: u64, lane: u32, number: u64) -> Key {
    let start =
        mix(seed ^ (u64::from(lane) << 56)).wrapping_add(number.wrapping_mul(STEP << 2 | 1));
    let mut key = [0; KEY_BYTES];
    for (index, part) in (0_u64..).zip(key.chunks_exact_mut(8)) {
        part.copy_from_slice(&mix(start ^ index.wrapping_mul(STEP)).to_ne_bytes());
    }
    key
}

/// The word that ends every stored copy of a session with this id.
#[inline(always)]
pub fn check_of(key: &Key) -> u64 {
    key.chunks_exact(8).fold(STEP, |check, part| {
        let mut word = [0; 8];
        word.copy_from_slice(part);
        (check.rotate_left(23) ^ u64::from_ne_bytes(word)).wrapping_mul(STEP)
    })
}

/// A small generator for choices; equal seeds give equal runs.
#[derive(Clone, Debug)]
pub struct Choice(u64);

impl Choice {
    /// A generator.
    pub fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// The next number.
    #[inline(always)]
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// A number below `bound`, which is not 0; as even as 64 bits allow.
    #[inline(always)]
    pub fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.draw()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_of_all_lanes_and_numbers_differ() {
        let mut seen = HashSet::new();
        let mut checks = HashSet::new();
        for lane in 0..4 {
            for number in 0..20_000 {
                let key = session_id(9, lane, number);
                assert!(seen.insert(key), "lane {lane}, number {number}");
                assert!(checks.insert(check_of(&key)));
            }
        }
    }

    #[test]
    fn choices_below_a_bound_reach_both_ends_and_never_the_bound() {
        let mut choice = Choice::new(3);
        let drawn: HashSet<u64> = (0..1000).map(|_| choice.below(10)).collect();
        assert_eq!(drawn, (0..10).collect());
    }
}
