//! How far one tail of latencies is above another, and how well that is known.
//!
//! Samples that follow each other share what the machine did meanwhile, so the interval is that of
//! a bootstrap over blocks of some ten thousand samples, not over samples.

use serde::{Deserialize, Serialize};

use crate::keys::Choice;

/// Latencies in ticks and how often each was seen, in ascending order.
pub type Counts = Vec<(u64, u64)>;

/// Blocks of latencies of a row and of its limit, measured in alternation.
#[derive(Clone, Debug, Default)]
pub struct Tails {
    blocks: Vec<[Counts; 2]>,
    doubtful: Vec<[Counts; 2]>,
}

/// The latency that one of a thousand exceeds, the row's against the limit's.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct TailRatio {
    /// The quotient.
    pub ratio: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Blocks that it rests on.
    pub blocks: usize,
    /// Samples of the row, and about as many of the limit.
    pub samples: u64,
    /// Whether there are enough of both.
    pub conclusive: bool,
}

/// Fewest blocks and samples that a statement rests on.
const BLOCKS_MIN: usize = 10;
const SAMPLES_MIN: u64 = 200_000;

/// Tables of blocks that are drawn.
const DRAWS: usize = 400;

impl Tails {
    /// Adds a block of latencies of the row and one of the limit. What is doubtful counts only if
    /// there is nothing else, and then nothing follows from it.
    pub fn add(&mut self, row: Counts, limit: Counts, is_doubtful: bool) {
        if is_doubtful { &mut self.doubtful } else { &mut self.blocks }.push([row, limit]);
    }

    /// Whether a statement can rest on what there is.
    pub fn are_enough(&self) -> bool {
        let samples = self.blocks.iter().flat_map(|[row, _]| row).map(|(_, count)| count);
        self.blocks.len() >= BLOCKS_MIN && samples.sum::<u64>() >= SAMPLES_MIN
    }

    /// The quotient of the 99.9th percentiles, less the clock's own ticks, with its interval.
    pub fn ratio(&self, overhead_ticks: f64) -> Option<TailRatio> {
        let is_doubtful = self.blocks.is_empty();
        let blocks = if is_doubtful { &self.doubtful } else { &self.blocks };
        let (row, limit) = (tops(blocks, 0), tops(blocks, 1));
        let quotient = |chosen: &[usize]| {
            let at = |tops: &[Top]| Some((tail(tops, chosen)? as f64 - overhead_ticks).max(1.0));
            Some(at(&row)? / at(&limit)?)
        };
        let all: Vec<usize> = (0..blocks.len()).collect();
        let ratio = quotient(&all)?;
        let mut choice = Choice::new(0x7a11);
        let mut drawn: Vec<f64> = (0..DRAWS)
            .filter_map(|_| {
                let chosen: Vec<usize> = all.iter().map(|_| draw(&mut choice, &all)).collect();
                quotient(&chosen)
            })
            .collect();
        drawn.sort_by(f64::total_cmp);
        let samples = row.iter().map(|top| top.samples).sum();
        Some(TailRatio {
            ratio,
            low: *drawn.get(drawn.len() / 40)?,
            high: *drawn.get(drawn.len() - 1 - drawn.len() / 40)?,
            blocks: blocks.len(),
            samples,
            conclusive: self.are_enough(),
        })
    }
}

/// The top of each block: as much as can lie above the percentile of any choice of blocks.
fn tops(blocks: &[[Counts; 2]], side: usize) -> Vec<Top> {
    let samples = |counts: &Counts| counts.iter().map(|(_, count)| count).sum::<u64>();
    let most = blocks.iter().map(|block| samples(&block[side])).max().unwrap_or(0);
    let rank_max = above(most * blocks.len() as u64) + 1;
    let top = |block: &[Counts; 2]| {
        let mut kept = 0;
        let slowest = block[side].iter().rev().copied().take_while(|(_, count)| {
            let is_needed = kept < rank_max;
            kept += count;
            is_needed
        });
        Top { slowest: slowest.collect(), samples: samples(&block[side]) }
    };
    blocks.iter().map(top).collect()
}

/// The slowest samples of a block, in descending order, and how many samples it has in all.
struct Top {
    slowest: Counts,
    samples: u64,
}

/// How many of so many samples lie above the percentile.
const fn above(samples: u64) -> u64 {
    samples / 1000
}

/// The latency that one of a thousand samples of the chosen blocks exceeds.
fn tail(tops: &[Top], chosen: &[usize]) -> Option<u64> {
    let mut slowest: Counts =
        chosen.iter().flat_map(|&index| tops[index].slowest.iter().copied()).collect();
    slowest.sort_unstable_by(|one, other| other.cmp(one));
    let mut left = above(chosen.iter().map(|&index| tops[index].samples).sum());
    slowest
        .into_iter()
        .find(|&(_, count)| {
            let is_it = count > left;
            left = left.saturating_sub(count);
            is_it
        })
        .map(|(ticks, _)| ticks)
}

fn draw(choice: &mut Choice, all: &[usize]) -> usize {
    let index = choice.below(all.len() as u64);
    usize::try_from(index).map_or(0, |index| all[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 20,000 samples of 100 ticks, of which some take this much longer.
    fn block(slow: u64, slow_ticks: u64) -> Counts {
        vec![(120, 20_000 - slow), (20 + slow_ticks, slow)]
    }

    #[test]
    fn a_tail_that_is_twice_as_long_is_seen_and_an_equal_one_is_not() {
        let ratio = |slow_ticks: u64| {
            let mut tails = Tails::default();
            for step in 0..20 {
                tails.add(block(30 + step % 3, slow_ticks), block(30 + step % 2, 1000), false);
            }
            tails.ratio(20.0).unwrap()
        };
        let (equal, twice) = (ratio(1000), ratio(2000));
        assert_eq!((equal.ratio, equal.conclusive), (1.0, true));
        assert_eq!((twice.ratio, twice.low, twice.high), (2.0, 2.0, 2.0));
        assert_eq!(twice.samples, 400_000);
    }

    #[test]
    fn a_tail_of_few_blocks_has_a_wide_interval() {
        let mut tails = Tails::default();
        for step in 0..20 {
            // Two blocks of twenty hold whatever lies above the percentile.
            let slow = if step % 10 == 0 { 250 } else { 0 };
            tails.add(block(slow, 4000), block(30, 1000), false);
        }
        let ratio = tails.ratio(20.0).unwrap();
        assert!(ratio.low < 0.2 && ratio.high >= 4.0, "{ratio:?}");
    }

    #[test]
    fn few_samples_are_inconclusive_and_none_say_nothing() {
        let mut tails = Tails::default();
        assert_eq!(tails.ratio(20.0), None);
        tails.add(block(30, 1000), block(30, 1000), false);
        assert!(!tails.ratio(20.0).unwrap().conclusive);
    }

    #[test]
    fn doubtful_blocks_count_only_where_there_are_no_others() {
        let mut tails = Tails::default();
        for _ in 0..20 {
            tails.add(block(30, 3000), block(30, 1000), true);
        }
        let doubtful = tails.ratio(20.0).unwrap();
        assert_eq!((doubtful.ratio, doubtful.conclusive), (3.0, false));
        for _ in 0..20 {
            tails.add(block(30, 2000), block(30, 1000), false);
        }
        let ratio = tails.ratio(20.0).unwrap();
        assert_eq!((ratio.ratio, ratio.conclusive), (2.0, true));
    }

    #[test]
    fn the_percentile_is_that_of_all_samples_together() {
        let mut tails = Tails::default();
        // One of a thousand: the 20 slowest of 20,000.
        tails.add((1..=20_000).map(|ticks| (ticks, 1)).collect(), vec![(1, 20_000)], false);
        assert_eq!(tails.ratio(0.0).unwrap().ratio, 19_980.0);
    }
}
