//! Small programs drawn at random, so that a rule is not judged by examples that we thought of.

use super::{BUCKETS, Call, Key, Rule, StripeModel, Verb};
use crate::engine::mix;

/// Keys that a drawn program has at most, so that no run goes once around.
const KEYS_MAX: usize = 5;

/// Draws programs; the same seed gives the same ones.
#[derive(Clone, Debug)]
pub struct Drawn {
    rule: Rule,
    stripe_buckets: u8,
    state: u64,
}

/// Programs of two participants with one or two calls each on two to five keys, whose homes lie
/// within three buckets of each other; an endless supply.
pub fn drawn(rule: Rule, stripe_buckets: u8, seed: u64) -> Drawn {
    Drawn { rule, stripe_buckets, state: mix(seed) }
}

impl Drawn {
    /// A number below `options`.
    fn below(&mut self, options: usize) -> usize {
        self.state = self.state.wrapping_add(1);
        usize::try_from(mix(self.state) % options as u64).expect("below a usize")
    }

    fn keys(&mut self) -> Vec<Key> {
        let first = self.below(BUCKETS.into());
        let mut keys = Vec::new();
        for _ in 0..2 + self.below(KEYS_MAX - 1) {
            let number = 2 * ((first + self.below(3)) % usize::from(BUCKETS)) + self.below(2);
            let number = u8::try_from(number).expect("less than twice the buckets").max(1);
            if !keys.contains(&Key::new(number)) {
                keys.push(Key::new(number));
            }
        }
        keys
    }

    fn program(&mut self, keys: &[Key]) -> Vec<Call> {
        (0..=self.below(2))
            .map(|_| {
                let verb = [Verb::Contains, Verb::Add, Verb::Remove][self.below(3)];
                Call { verb, key: keys[self.below(keys.len())] }
            })
            .collect()
    }
}

impl Iterator for Drawn {
    type Item = StripeModel;

    fn next(&mut self) -> Option<StripeModel> {
        let keys = self.keys();
        let present = 1 + self.below(keys.len());
        let setup = keys[..present].to_vec();
        let programs = vec![self.program(&keys), self.program(&keys)];
        Some(StripeModel { rule: self.rule, stripe_buckets: self.stripe_buckets, setup, programs })
    }
}
