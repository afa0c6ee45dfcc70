//! From the windows of all workers to pairs: which count, what they say, and what is dropped.

use hdrhistogram::Histogram;

use crate::clock::ClockRate;
use crate::driver::{self, Window};
use crate::protocol::{Measured, WindowPair};
use crate::scaling::{Rounds, Scaling};
use crate::statistics::{Summary, median_of_steps};
use crate::tails::Tails;

/// Fewest pairs that a statement rests on.
pub const PAIRS_MIN: usize = 30;

/// Placements of a cell. The second of so many from below and the second from above enclose the
/// median placement in 96 of a hundred cells, whatever their distribution.
pub const PLACEMENTS: usize = 9;

/// The same of the cells that most goals rest on, those of `cas_bucket` and of limits paired with
/// themselves: so many that the fourth from either end do, and lie closer.
pub const PLACEMENTS_OF_MOST_GOALS: usize = 15;

/// Fewest that a statement about a cell rests on: the first and the last enclose the median in 97
/// of a hundred.
pub const PLACEMENTS_MIN: usize = 6;

/// Fewest pairs that count of a placement that counts.
const PAIRS_OF_A_PLACEMENT_MIN: usize = 10;

/// Longest interval of a median that counts as known, as a share of the median.
pub(crate) const UNCERTAINTY_MAX: f64 = 0.2;

/// Longest time that making a batch may take before the worker counts as stopped, in nanoseconds:
/// about ten times what it takes with everything in cache.
const GAP_NS_MAX: f64 = 30_000.0;

/// Least share of the longest window of a round during which all workers have to be in theirs. That
/// of a writer, which ends when the others have, is no measure.
const OVERLAP_MIN: f64 = 0.5;

/// A block of latencies beside writers counts if at most one of so many of its pairs is dropped.
const BLOCK_SHARE: usize = 5;

/// Why a pair does not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dropped {
    /// The kernel took the processor from a worker.
    Preempted,
    /// A worker did nothing for longer than its private work takes: the machine was elsewhere.
    Stopped,
    /// The workers were not running at the same time.
    Apart,
}

/// What a pair of windows says, over all workers.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Pair {
    /// Nanoseconds of a worker for an operation of the row.
    pub row_ns: f64,
    /// Nanoseconds of a worker for an operation of the limit.
    pub limit_ns: f64,
    /// Why it does not count, if so.
    pub dropped: Option<Dropped>,
}

impl Pair {
    /// One pair from the same pair of windows of each worker.
    pub fn of(workers: &[WindowPair], rate: ClockRate) -> Self {
        let row: Vec<Window> = workers.iter().map(|pair| pair.row).collect();
        let limit: Vec<Window> = workers.iter().map(|pair| pair.limit).collect();
        Self {
            row_ns: ns_per_operation(&row, rate),
            limit_ns: ns_per_operation(&limit, rate),
            dropped: dropped(&row, rate).or_else(|| dropped(&limit, rate)),
        }
    }

    /// How much longer the row takes than the limit.
    pub fn ratio(&self) -> f64 {
        self.row_ns / self.limit_ns
    }
}

fn ns_per_operation(windows: &[Window], rate: ClockRate) -> f64 {
    let busy: u64 = windows.iter().map(|window| window.busy).sum();
    let operations: u64 = windows.iter().map(|window| window.operations).sum();
    rate.ns(busy) / operations as f64
}

/// Why windows that should have run at the same time do not count, if so.
pub(crate) fn dropped(windows: &[Window], rate: ClockRate) -> Option<Dropped> {
    if windows.iter().any(|window| window.preemptions > 0) {
        return Some(Dropped::Preempted);
    }
    if windows.iter().any(|window| rate.ns(window.gap) > GAP_NS_MAX) {
        return Some(Dropped::Stopped);
    }
    let last_start = windows.iter().map(|window| window.start).max()?;
    let first_end = windows.iter().map(|window| window.end).min()?;
    let measured = windows.iter().filter(|window| window.operations > 0);
    let longest = measured.map(|window| window.end.saturating_sub(window.start)).max()?;
    let overlap = first_end.saturating_sub(last_start) as f64;
    (overlap < OVERLAP_MIN * longest as f64).then_some(Dropped::Apart)
}

/// Everything that was measured of a cell.
#[derive(Clone, Debug)]
pub struct Tally {
    rate: ClockRate,
    pairs: Vec<Pair>,
    totals: Window,
    placements: Vec<Placement>,
    rounds: Rounds,
    tails: Tails,
}

/// What was measured in one set of tables. Where pages and lines fall, and which sessions meet in a
/// bucket, is luck that lasts as long as the tables do.
#[derive(Clone, Debug)]
struct Placement {
    first_pair: usize,
    row_latencies: Histogram<u64>,
    limit_latencies: Histogram<u64>,
}

impl Placement {
    fn starting_at(first_pair: usize) -> Self {
        let (row_latencies, limit_latencies) = (driver::latencies(), driver::latencies());
        Self { first_pair, row_latencies, limit_latencies }
    }
}

impl Tally {
    /// Nothing yet.
    pub fn new(rate: ClockRate) -> Self {
        Self {
            rate,
            pairs: Vec::new(),
            totals: Window::default(),
            placements: vec![Placement::starting_at(0)],
            rounds: Rounds::default(),
            tails: Tails::default(),
        }
    }

    /// What follows is of other tables.
    pub fn start_placement(&mut self) {
        self.placements.push(Placement::starting_at(self.pairs.len()));
    }

    /// Adds windows of throughput, one entry a worker; gives the pairs that they make.
    pub fn add_throughput(&mut self, workers: &[Measured]) -> &[Pair] {
        let count = workers.iter().map(|worker| worker.pairs.len()).min().unwrap_or(0);
        let before = self.pairs.len();
        for index in 0..count {
            let windows: Vec<WindowPair> =
                workers.iter().map(|worker| worker.pairs[index]).collect();
            self.pairs.push(Pair::of(&windows, self.rate));
            for window in &windows {
                self.totals.operations += window.row.operations;
                self.totals.calls += window.row.calls;
                self.totals.lookups += window.row.lookups;
                self.totals.hits += window.row.hits;
                self.totals.puts += window.row.puts;
            }
        }
        &self.pairs[before..]
    }

    /// Adds latencies, one entry a worker. A histogram is of windows without preemption already.
    pub fn add_latencies(&mut self, workers: &[Measured]) {
        let Some(placement) = self.placements.last_mut() else { return };
        for worker in workers {
            for (into, counts) in [
                (&mut placement.row_latencies, &worker.row_latencies),
                (&mut placement.limit_latencies, &worker.limit_latencies),
            ] {
                for &(ticks, count) in counts {
                    into.saturating_record_n(ticks, count);
                }
            }
        }
    }

    /// All pairs, in their order.
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// Adds windows of single look-ups of the first worker beside writers, and their latencies as a
    /// block of their own; gives the pairs. A writer's windows have no operations, so that times
    /// are of the first worker, and a pair in which a writer was not running does not count.
    pub fn add_beside_writer(&mut self, workers: &[Measured]) -> &[Pair] {
        let before = self.pairs.len();
        self.add_throughput(workers);
        self.add_latencies(workers);
        let pairs = &self.pairs[before..];
        let dropped = pairs.iter().filter(|pair| pair.dropped.is_some()).count();
        // Latencies are not told apart by window: too many without a writer, and none counts.
        let is_doubtful = dropped * BLOCK_SHARE > pairs.len();
        if let Some(first) = workers.first() {
            let (row, limit) = (first.row_latencies.clone(), first.limit_latencies.clone());
            self.tails.add(row, limit, is_doubtful);
        }
        &self.pairs[before..]
    }

    /// Adds rounds of windows of all workers and of each alone.
    pub fn add_rounds(&mut self, workers: &[Measured]) {
        self.rounds.add(workers, self.rate);
    }

    /// What the rounds say.
    pub fn scaling(&self) -> Option<Scaling> {
        self.rounds.scaling()
    }

    /// The tails of latencies beside writers.
    pub fn tails(&self) -> &Tails {
        &self.tails
    }

    /// Pairs that count.
    pub fn kept(&self) -> impl Iterator<Item = &Pair> {
        self.pairs.iter().filter(|pair| pair.dropped.is_none())
    }

    /// Share of the pairs that do not count.
    pub fn dropped_share(&self) -> f64 {
        let dropped = self.pairs.iter().filter(|pair| pair.dropped.is_some()).count();
        dropped as f64 / self.pairs.len().max(1) as f64
    }

    /// Shares of the pairs that were dropped for each reason: preempted, stopped, apart.
    pub fn dropped_by_reason(&self) -> [f64; 3] {
        [Dropped::Preempted, Dropped::Stopped, Dropped::Apart].map(|reason| {
            let dropped = self.pairs.iter().filter(|pair| pair.dropped == Some(reason)).count();
            dropped as f64 / self.pairs.len().max(1) as f64
        })
    }

    /// Summaries of the row's and the limit's time and of their ratio, over the pairs that count;
    /// over all pairs, and inconclusive, if none does. Quartiles are those of pairs. Of several
    /// placements, the median is that of their medians, and its interval theirs.
    pub fn verdict(&self) -> Option<Verdict> {
        let by_placement = self.kept_by_placement();
        let kept = self.kept().count();
        let of = |value: fn(&Pair) -> f64| {
            let all = self.pairs.iter().filter(|pair| kept == 0 || pair.dropped.is_none());
            let pairs = Summary::of(&all.map(value).collect::<Vec<_>>())?;
            let median_of = |pairs: &Vec<&Pair>| {
                let values: Vec<f64> = pairs.iter().map(|pair| value(pair)).collect();
                Summary::of(&values).map(|summary| summary.median)
            };
            Some(pairs.between(&by_placement.iter().filter_map(median_of).collect::<Vec<_>>()))
        };
        let ratio = of(Pair::ratio)?;
        Some(Verdict {
            row_ns: of(|pair| pair.row_ns)?,
            limit_ns: of(|pair| pair.limit_ns)?,
            ratio,
            kept,
            placements: by_placement.len(),
            conclusive: kept >= PAIRS_MIN && ratio.uncertainty() <= UNCERTAINTY_MAX,
        })
    }

    /// The pairs that count, of each placement that has enough.
    fn kept_by_placement(&self) -> Vec<Vec<&Pair>> {
        let ends = self.placements.iter().skip(1).map(|next| next.first_pair);
        let ends = ends.chain([self.pairs.len()]);
        let ranges = self.placements.iter().map(|placement| placement.first_pair).zip(ends);
        let kept = |(from, end): (usize, usize)| {
            self.pairs[from..end].iter().filter(|pair| pair.dropped.is_none()).collect::<Vec<_>>()
        };
        ranges.map(kept).filter(|pairs| pairs.len() >= PAIRS_OF_A_PLACEMENT_MIN).collect()
    }

    /// The median latency of the row against the limit's, less the clock's own ticks: median and
    /// interval over placements.
    pub fn latency_ratio(&self, overhead_ticks: f64) -> Option<Summary> {
        let ratio = |placement: &Placement| {
            let row = median_ticks(&placement.row_latencies)? - overhead_ticks;
            let limit = median_ticks(&placement.limit_latencies)? - overhead_ticks;
            (row > 0.0 && limit > 0.0).then(|| row / limit)
        };
        Summary::of(&self.placements.iter().filter_map(ratio).collect::<Vec<_>>())
    }

    /// Sums over the row's windows; times are not filled in.
    pub fn totals(&self) -> &Window {
        &self.totals
    }

    /// Latencies of single operations of the row, in ticks.
    pub fn row_latencies(&self) -> Histogram<u64> {
        self.latencies(|placement| &placement.row_latencies)
    }

    /// Latencies of single operations of the limit, in ticks.
    pub fn limit_latencies(&self) -> Histogram<u64> {
        self.latencies(|placement| &placement.limit_latencies)
    }

    fn latencies(&self, of: fn(&Placement) -> &Histogram<u64>) -> Histogram<u64> {
        let mut all = driver::latencies();
        for placement in &self.placements {
            all += of(placement);
        }
        all
    }
}

/// The median of latencies, in ticks; `None` if there are none.
pub fn median_ticks(latencies: &Histogram<u64>) -> Option<f64> {
    let steps = latencies.iter_recorded();
    let counts = steps.map(|step| (step.value_iterated_to(), step.count_at_value()));
    median_of_steps(&counts.collect::<Vec<_>>())
}

/// What the pairs of a cell say.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Verdict {
    /// Nanoseconds an operation of the row.
    pub row_ns: Summary,
    /// Nanoseconds an operation of the limit.
    pub limit_ns: Summary,
    /// Ratios within pairs.
    pub ratio: Summary,
    /// Pairs that count.
    pub kept: usize,
    /// Placements of which enough pairs count.
    pub placements: usize,
    /// Whether enough pairs count and their median is known well enough.
    pub conclusive: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: ClockRate = ClockRate { ticks_per_ns: 2.0 };

    /// A window of 200 us that spends this long on each of 1000 operations.
    fn window(ns_per_operation: u64) -> Window {
        Window {
            start: 1_000_000,
            end: 1_400_000,
            busy: ns_per_operation * 1000 * 2,
            operations: 1000,
            gap: 4_000,
            ..Window::default()
        }
    }

    fn measured(pairs: Vec<WindowPair>) -> Measured {
        Measured { pairs, ..Measured::default() }
    }

    fn pair(row_ns: u64, limit_ns: u64) -> WindowPair {
        WindowPair { row: window(row_ns), limit: window(limit_ns) }
    }

    #[test]
    fn the_ratio_is_formed_within_a_pair_so_that_drift_cancels() {
        let mut tally = Tally::new(RATE);
        // The machine becomes twice as slow on the way; the row stays 1.5 times its limit.
        let pairs = (0..100).map(|step| pair(150 + 3 * step / 2, 100 + step)).collect();
        tally.add_throughput(&[measured(pairs)]);
        let verdict = tally.verdict().unwrap();
        assert!((verdict.ratio.median - 1.5).abs() < 0.01, "{verdict:?}");
        assert!(verdict.conclusive);
    }

    #[test]
    fn a_slow_limit_changes_the_ratio_and_nothing_else() {
        let ratio = |limit_ns| {
            let mut tally = Tally::new(RATE);
            tally.add_throughput(&[measured(vec![pair(150, limit_ns); 40])]);
            let verdict = tally.verdict().unwrap();
            (verdict.ratio.median, verdict.row_ns.median)
        };
        assert_eq!(ratio(100), (1.5, 150.0));
        assert_eq!(ratio(300), (0.5, 150.0));
    }

    #[test]
    fn preempted_stopped_and_lonely_windows_are_dropped() {
        let good = pair(100, 50);
        let mut preempted = good;
        preempted.limit.preemptions = 1;
        let mut stopped = good;
        stopped.row.gap = 200_000;
        let mut late = good;
        late.row.start += 300_000;
        late.row.end += 300_000;
        let dropped = |one, other| Pair::of(&[one, other], RATE).dropped;
        assert_eq!(dropped(good, good), None);
        assert_eq!(dropped(good, preempted), Some(Dropped::Preempted));
        assert_eq!(dropped(stopped, good), Some(Dropped::Stopped));
        assert_eq!(dropped(good, late), Some(Dropped::Apart));
        assert_eq!(Pair::of(&[late], RATE).dropped, None);
    }

    #[test]
    fn dropped_windows_do_not_count_and_are_told() {
        let mut slow = pair(10_000, 50);
        slow.row.preemptions = 1;
        let mut tally = Tally::new(RATE);
        let mut pairs = vec![pair(100, 50); 60];
        pairs.extend([slow; 40]);
        tally.add_throughput(&[measured(pairs)]);
        assert_eq!(tally.verdict().unwrap().row_ns.upper_quartile, 100.0);
        assert_eq!(tally.dropped_share(), 0.4);
        assert_eq!(tally.dropped_by_reason(), [0.4, 0.0, 0.0]);
    }

    #[test]
    fn fewer_than_thirty_pairs_are_inconclusive() {
        let verdict = |count| {
            let mut tally = Tally::new(RATE);
            tally.add_throughput(&[measured(vec![pair(100, 50); count])]);
            tally.verdict().unwrap().conclusive
        };
        assert!(!verdict(29));
        assert!(verdict(30));
    }

    #[test]
    fn a_median_that_is_not_known_is_inconclusive() {
        let pairs = (0..40).map(|step| pair(if step % 2 == 0 { 100 } else { 400 }, 100)).collect();
        let mut tally = Tally::new(RATE);
        tally.add_throughput(&[measured(pairs)]);
        assert!(!tally.verdict().unwrap().conclusive);
    }

    #[test]
    fn what_placements_differ_in_is_part_of_the_interval() {
        let verdict = |placements: &[u64]| {
            let mut tally = Tally::new(RATE);
            for (index, &row_ns) in placements.iter().enumerate() {
                if index > 0 {
                    tally.start_placement();
                }
                tally.add_throughput(&[measured(vec![pair(row_ns, 100); 40])]);
                let latencies = Measured {
                    row_latencies: vec![(2 * row_ns + 20, 1000)],
                    limit_latencies: vec![(220, 1000)],
                    ..Measured::default()
                };
                tally.add_latencies(&[latencies]);
            }
            let latency = tally.latency_ratio(20.0).unwrap();
            let ratio = tally.verdict().unwrap().ratio;
            for summary in [ratio, latency] {
                assert!((summary.median - ratio.median).abs() < 1e-9, "{summary:?}");
                assert!((summary.median_low - ratio.median_low).abs() < 1e-9, "{summary:?}");
            }
            (ratio, tally.verdict().unwrap().placements)
        };
        // Each placement by itself is known exactly, and says nothing about the next one.
        let (ratio, placements) = verdict(&[150, 140, 160, 152, 148, 190]);
        assert_eq!(placements, 6);
        assert_eq!((ratio.median_low, ratio.median, ratio.median_high), (1.4, 1.51, 1.9));
        let (ratio, _) = verdict(&[150]);
        assert_eq!((ratio.median_low, ratio.median_high), (1.5, 1.5));
    }

    #[test]
    fn beside_a_writer_the_time_is_the_readers_and_a_late_writer_is_told() {
        let writer = WindowPair {
            row: Window { busy: 0, operations: 0, puts: 500, ..window(0) },
            limit: Window { busy: 0, operations: 0, puts: 500, ..window(0) },
        };
        let mut tardy = writer;
        tardy.row.end += 900_000;
        let mut late = writer;
        late.row.start += 300_000;
        late.row.end += 300_000;
        let latencies = |pairs| Measured {
            pairs,
            row_latencies: vec![(100, 20_000)],
            limit_latencies: vec![(50, 20_000)],
            ..Measured::default()
        };
        let tails = |writer: Vec<WindowPair>| {
            let mut tally = Tally::new(RATE);
            tally.add_beside_writer(&[
                latencies(vec![pair(150, 100); 40]),
                measured(writer.clone()),
            ]);
            assert_eq!(tally.pairs()[0].row_ns, 150.0);
            // Enough blocks for a statement.
            for _ in 0..20 {
                tally.add_beside_writer(&[
                    latencies(vec![pair(150, 100)]),
                    measured(writer.clone()),
                ]);
            }
            let tail = tally.tails().ratio(0.0).unwrap();
            (tail.ratio, tail.conclusive)
        };
        assert_eq!(tails(vec![writer; 40]), (2.0, true));
        assert_eq!(tails(vec![tardy; 40]), (2.0, true));
        assert_eq!(tails(vec![late; 40]), (2.0, false));
    }

    #[test]
    fn the_time_of_two_workers_is_that_of_each_of_them() {
        let both = Pair::of(&[pair(100, 50), pair(300, 50)], RATE);
        assert_eq!(both.row_ns, 200.0);
    }
}
