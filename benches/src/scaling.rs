//! What a worker pays for another one beside it: windows of all workers at once against windows of
//! each alone, in alternation, in the same table.
//!
//! Cells with one and with two processes are measured minutes apart, and what a virtual machine's
//! neighbours leave of the last-level cache changes meanwhile. Their quotient says more about the
//! neighbours than about the table; a ratio within a round does not.

use serde::{Deserialize, Serialize};

use crate::clock::ClockRate;
use crate::driver::Window;
use crate::pairs::{Dropped, PAIRS_MIN, UNCERTAINTY_MAX, dropped};
use crate::protocol::Measured;
use crate::statistics::Summary;

/// Two windows of one worker, of as many operations.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Round {
    /// All workers ran at once.
    pub together: Window,
    /// The others were asleep.
    pub alone: Window,
}

impl Round {
    /// How much longer an operation took beside the others.
    fn ratio(&self) -> f64 {
        let each = |window: &Window| window.busy as f64 / window.operations as f64;
        each(&self.together) / each(&self.alone)
    }
}

/// The rounds of a cell.
#[derive(Clone, Debug, Default)]
pub struct Rounds {
    ratios: Vec<f64>,
    dropped: Vec<f64>,
}

impl Rounds {
    /// Adds rounds, one entry a worker; those in which a worker was not running do not count.
    pub fn add(&mut self, workers: &[Measured], rate: ClockRate) {
        let count = workers.iter().map(|worker| worker.rounds.len()).min().unwrap_or(0);
        for index in 0..count {
            let round: Vec<Round> = workers.iter().map(|worker| worker.rounds[index]).collect();
            let ratio = round.iter().map(Round::ratio).sum::<f64>() / round.len() as f64;
            let is_dropped = dropped_round(&round, rate).is_some();
            if is_dropped { &mut self.dropped } else { &mut self.ratios }.push(ratio);
        }
    }

    /// What the rounds that count say; what all say, and inconclusive, if none does; `None` if
    /// there are no rounds.
    pub fn scaling(&self) -> Option<Scaling> {
        let (kept, dropped) = (self.ratios.len(), self.dropped.len());
        let ratio = Summary::of(if kept > 0 { &self.ratios } else { &self.dropped })?;
        Some(Scaling {
            ratio: ratio.median,
            low: ratio.median_low,
            high: ratio.median_high,
            spread: ratio.spread(),
            rounds: kept,
            dropped: dropped as f64 / (kept + dropped) as f64,
            conclusive: kept >= PAIRS_MIN && ratio.uncertainty() <= UNCERTAINTY_MAX,
        })
    }
}

/// Why a round does not count, if so. Only windows of all workers can be apart.
fn dropped_round(round: &[Round], rate: ClockRate) -> Option<Dropped> {
    let together: Vec<Window> = round.iter().map(|round| round.together).collect();
    let mut alone = round.iter().map(|round| dropped(&[round.alone], rate));
    dropped(&together, rate).or_else(|| alone.find_map(|dropped| dropped))
}

/// Time of an operation beside the other workers, against alone; the mean over the workers.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Scaling {
    /// The median over rounds: 1 if nobody pays for the others.
    pub ratio: f64,
    /// Lower end of the 95 % interval of the median.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Half the distance between the quartiles, as a share of the median.
    pub spread: f64,
    /// Rounds that count.
    pub rounds: usize,
    /// Share of the rounds that do not.
    pub dropped: f64,
    /// Whether at least 30 rounds count and their median is known to a fifth.
    pub conclusive: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: ClockRate = ClockRate { ticks_per_ns: 2.0 };

    fn window(ns_per_operation: u64) -> Window {
        Window {
            start: 1_000_000,
            end: 1_400_000,
            busy: ns_per_operation * 1000 * 2,
            operations: 1000,
            ..Window::default()
        }
    }

    fn round(together: u64, alone: u64) -> Round {
        Round { together: window(together), alone: window(alone) }
    }

    /// The scaling that two workers with these rounds show.
    fn scaling(one: Vec<Round>, other: Vec<Round>) -> Option<Scaling> {
        let measured = |rounds| Measured { rounds, ..Measured::default() };
        let mut rounds = Rounds::default();
        rounds.add(&[measured(one), measured(other)], RATE);
        rounds.scaling()
    }

    #[test]
    fn a_row_that_slows_down_beside_another_worker_is_seen() {
        let honest = scaling(vec![round(100, 100); 40], vec![round(102, 102); 40]).unwrap();
        assert!(honest.conclusive && (honest.ratio - 1.0).abs() < 1e-9, "{honest:?}");
        let slowed = scaling(vec![round(160, 100); 40], vec![round(140, 100); 40]).unwrap();
        assert!((slowed.ratio - 1.5).abs() < 1e-9 && slowed.low > 1.4, "{slowed:?}");
    }

    #[test]
    fn a_machine_that_drifts_between_rounds_is_not_taken_for_the_row() {
        let drifting: Vec<Round> = (0..100).map(|step| round(100 + step, 100 + step)).collect();
        let scaling = scaling(drifting.clone(), drifting).unwrap();
        assert!((scaling.ratio - 1.0).abs() < 1e-9 && scaling.spread < 1e-9, "{scaling:?}");
    }

    #[test]
    fn rounds_without_all_workers_do_not_count_and_a_lone_window_may_be_apart() {
        let good = round(100, 100);
        let mut late = good;
        late.together.start += 300_000;
        late.together.end += 300_000;
        let mut preempted = round(100, 900);
        preempted.alone.preemptions = 1;
        let mut elsewhere = good;
        elsewhere.alone.start += 3_000_000;
        elsewhere.alone.end += 3_000_000;
        let one = vec![good; 4];
        let scaling = scaling(one, vec![late, preempted, elsewhere, good]).unwrap();
        assert_eq!((scaling.rounds, scaling.dropped, scaling.ratio), (2, 0.5, 1.0));
        assert!(!scaling.conclusive, "two rounds say nothing");
    }
}
