//! How rarely an insertion finds no slot where buckets share their rest: too rarely to be counted,
//! so computed, by a method that is compared with counts where there are some.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::{Areas, index_words, shared_words};
use crate::cas_bucket::word::{FIRST_SLOTS, SLOTS_MAX};
use shm_arena::Offset;

/// One insertion in so many may be refused at the density that a table is made for.
const ONE_IN: f64 = 1e8;

/// How many times as many may be counted as are computed: two buckets that share one word share
/// another one, which the computation leaves out.
const COUNTED_MORE: f64 = 5.0;

/// The densest that each width of a shared rest is for, in eighths of an entry a bucket.
const DENSEST: [u64; 3] = [20, 25, 32];

/// The share of insertions that find no slot where entries come and go for ever: of one bucket,
/// whose words in the rest other buckets take and give back as buckets do on average.
///
/// The state is how many slots the bucket has in its first line and in the rest, and how many of
/// its words in the rest others have. Each entry goes at rate 1, and they come at the rate that
/// keeps as many on average.
struct OneBucket {
    /// Entries of a bucket on average.
    load: f64,
    /// Words of the rest for each bucket.
    words: f64,
    /// Slots of a bucket in the rest.
    in_rest: usize,
}

impl OneBucket {
    const FIRST: usize = FIRST_SLOTS as usize;
    /// Units of the time that an entry stays on average.
    const TIME: f64 = 60.0;

    fn new(eighths: u64, words: f64, slots: u32) -> Self {
        Self { load: count(eighths) / 8.0, words, in_rest: (slots - FIRST_SLOTS) as usize }
    }

    fn at(&self, (first, rest, others): (usize, usize, usize)) -> usize {
        (first * (self.in_rest + 1) + rest) * (self.in_rest + 1) + others
    }

    fn states(&self) -> impl Iterator<Item = (usize, usize, usize)> + use<> {
        let in_rest = self.in_rest;
        let of_rest = move |first| (0..=in_rest).map(move |rest| (first, rest)).collect::<Vec<_>>();
        (0..=Self::FIRST).flat_map(of_rest).flat_map(move |(first, rest)| {
            (0..=in_rest - rest).map(move |others| (first, rest, others))
        })
    }

    /// Whether an insertion finds a slot; one of all stays for replacements.
    fn has_slot(&self, (first, rest, others): (usize, usize, usize)) -> bool {
        first + rest + 1 < Self::FIRST + self.in_rest
            && (first < Self::FIRST || rest + others < self.in_rest)
    }

    fn refused(&self) -> f64 {
        let states: Vec<_> = self.states().collect();
        let mut likely = vec![0.0; (Self::FIRST + 1) * (self.in_rest + 1).pow(2)];
        likely[0] = 1.0;
        let step = 1.0 / (self.load + 3.0 * small(Self::FIRST + self.in_rest));
        for _ in 0..whole(Self::TIME / step) {
            let mean: f64 = states.iter().map(|&at| small(at.1) * likely[self.at(at)]).sum();
            let taken = (mean / self.words).min(0.9);
            let mut next = likely.clone();
            for &state @ (first, rest, others) in &states {
                let mut flow = |rate: f64, to| {
                    let flow = step * rate * likely[self.at(state)];
                    next[self.at(state)] -= flow;
                    next[self.at(to)] += flow;
                };
                if self.has_slot(state) {
                    let is_first = first < Self::FIRST;
                    let into = (first + usize::from(is_first), rest + usize::from(!is_first));
                    flow(self.load, (into.0, into.1, others));
                }
                if first > 0 {
                    flow(small(first), (first - 1, rest, others));
                }
                if rest > 0 {
                    flow(small(rest), (first, rest - 1, others));
                }
                let vacant = self.in_rest - rest - others;
                if vacant > 0 {
                    flow(small(vacant) * taken / (1.0 - taken), (first, rest, others + 1));
                }
                if others > 0 {
                    flow(small(others), (first, rest, others - 1));
                }
            }
            likely = next;
        }
        let refusing = states.iter().filter(|&&state| !self.has_slot(state));
        refusing.map(|&state| likely[self.at(state)]).sum()
    }
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn small(number: usize) -> f64 {
    number as f64
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn count(number: u64) -> f64 {
    number as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number")]
fn whole(number: f64) -> u64 {
    number as u64
}

/// The same, counted in a table of 8192 buckets.
#[expect(clippy::cast_possible_truncation, reason = "a small table")]
fn counted(eighths: u64, slots: u32, churned: u64) -> f64 {
    let exponent = 13;
    let (buckets, entries) = (1_u64 << exponent, eighths << exponent >> 3);
    let words = index_words(exponent, exponent, slots, entries);
    let areas = Areas::new((Offset::new(0), words), (exponent, exponent), slots).unwrap();
    let (mut taken, mut live) = (vec![false; words as usize], vec![0_u32; buckets as usize]);
    let mut stored: Vec<(u64, u32)> = Vec::new();
    let (mut random, mut refused) = (SmallRng::seed_from_u64(eighths), 0);
    for _ in 0..churned {
        if stored.len() as u64 >= entries {
            let (bucket, slot) = stored.swap_remove(random.random_range(0..stored.len()));
            live[bucket as usize] &= !(1 << slot);
            taken[areas.slot(Offset::new(8 * bucket), slot).word() as usize] = false;
        }
        let bucket = random.random_range(0..buckets);
        let word = |slot: u32| areas.slot(Offset::new(8 * bucket), slot).word() as usize;
        let clear = (0..slots).find(|&slot| !taken[word(slot)]);
        // One is left for replacements.
        match clear.filter(|_| live[bucket as usize].count_ones() + 1 < slots) {
            None => refused += 1,
            Some(slot) => {
                taken[word(slot)] = true;
                live[bucket as usize] |= 1 << slot;
                stored.push((bucket, slot));
            }
        }
    }
    count(refused) / count(churned)
}

/// Words of the shared rest for each bucket of a table made for so dense a load.
fn words_each(eighths: u64) -> f64 {
    let buckets = 1 << 13;
    count(shared_words(buckets, eighths * buckets / 8)) / count(buckets)
}

#[test]
fn what_is_computed_is_what_is_counted() {
    for (eighths, slots) in [(20, 13), (25, 16), (32, 16), (40, 21), (48, 24)] {
        let computed = OneBucket::new(eighths, words_each(eighths), slots).refused();
        let counted = counted(eighths, slots, 5_000_000);
        println!(
            "{eighths}/8 entries, {slots} slots: computed {computed:.1e}, counted {counted:.1e}"
        );
        assert!(counted * 5e6 > 20.0, "too few to compare");
        let ratio = counted / computed;
        assert!((0.5..COUNTED_MORE).contains(&ratio), "{ratio} times as many as computed");
    }
}

/// The figure of the documents: `cargo test -p shm-table --lib refusals -- --nocapture`.
#[test]
fn hardly_an_insertion_finds_no_slot() {
    for eighths in DENSEST {
        let refused = OneBucket::new(eighths, words_each(eighths), SLOTS_MAX).refused();
        println!("{eighths}/8 entries a bucket: one insertion in {:.0e} refused", 1.0 / refused);
        assert!(
            COUNTED_MORE * refused * ONE_IN < 1.0,
            "{refused:e} at {eighths}/8 entries a bucket"
        );
    }
    let with_fewer = OneBucket::new(32, words_each(32), 21).refused();
    assert!(with_fewer * ONE_IN > 1.0, "21 slots, as where headers have a mode, would be too few");
}
