//! The figures that were set as goals, and what a run says about each.

mod figures;

pub use figures::{Evidence, judge};

use crate::results::{LatencyRatio, Record};
use crate::row::RowName;
use crate::scaling::Scaling;
use crate::statistics::Summary;
use crate::transfer::Transfer;
use crate::workload::Workload;

/// What a run says about a goal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Reached, the whole interval of the measured value.
    Met,
    /// Missed, the whole interval.
    NotMet,
    /// The interval encloses the goal, or too little was measured.
    Inconclusive,
    /// A cell behind it was not run.
    NotMeasured,
}

impl Verdict {
    /// As the report spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::NotMet => "NOT MET",
            Self::Inconclusive => "inconclusive",
            Self::NotMeasured => "not measured",
        }
    }
}

/// Whose figures goals are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Heading {
    /// The default table's.
    CasBucket,
    /// The table of 1999's.
    Chained,
    /// The table of the fullest index's.
    RobinHood,
}

impl Heading {
    /// All, in the order of the report.
    pub const ALL: [Self; 3] = [Self::CasBucket, Self::Chained, Self::RobinHood];

    /// As the report spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CasBucket => "Figures of the default table, cas_bucket",
            Self::Chained => "Figures of chained",
            Self::RobinHood => "Figures of robin_hood",
        }
    }

    /// The table.
    pub const fn table(self) -> RowName {
        match self {
            Self::CasBucket => RowName::CasBucket,
            Self::Chained => RowName::Chained,
            Self::RobinHood => RowName::RobinHood,
        }
    }
}

/// A goal and what became of it.
#[derive(Clone, PartialEq, Debug, serde::Serialize)]
pub struct Goal {
    /// Whose figure it is.
    pub heading: Heading,
    /// What was to be reached.
    pub text: String,
    /// What was measured.
    pub measured: String,
    /// The bound.
    pub bound: f64,
    /// What was measured, with its interval, or `None` if it was not.
    pub known: Option<Known>,
    /// What follows.
    pub verdict: Verdict,
}

/// A value with the interval that it is known to lie in.
#[derive(Clone, Copy, PartialEq, Debug, serde::Serialize)]
pub struct Known {
    /// The value.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Whether enough was measured for the interval to be what it says.
    pub conclusive: bool,
}

impl Known {
    /// A value that nothing is uncertain about.
    pub const fn exactly(value: f64) -> Self {
        Self { value, low: value, high: value, conclusive: true }
    }

    /// The median of a sample, and its 95 % interval.
    pub const fn median(summary: &Summary, conclusive: bool) -> Self {
        let Summary { median, median_low, median_high, .. } = *summary;
        Self { value: median, low: median_low, high: median_high, conclusive }
    }

    /// The other way round.
    pub fn inverse(self) -> Self {
        Self { value: 1.0 / self.value, low: 1.0 / self.high, high: 1.0 / self.low, ..self }
    }

    fn quotient(of: Self, by: Self) -> Self {
        Self {
            value: of.value / by.value,
            low: of.low / by.high,
            high: of.high / by.low,
            conclusive: of.conclusive && by.conclusive,
        }
    }

    /// The same, no better known than a run can tell: two measurements of one thing differ by this
    /// share.
    fn blurred(self, resolution: f64) -> Self {
        Self { low: self.low / (1.0 + resolution), high: self.high * (1.0 + resolution), ..self }
    }

    /// Whether it is at most this.
    pub const fn at_most(self, bound: f64) -> Verdict {
        match (self.conclusive, self.high <= bound, self.low > bound) {
            (true, true, _) => Verdict::Met,
            (true, _, true) => Verdict::NotMet,
            _ => Verdict::Inconclusive,
        }
    }

    /// Whether it is at least this.
    pub const fn at_least(self, bound: f64) -> Verdict {
        match (self.conclusive, self.low >= bound, self.high < bound) {
            (true, true, _) => Verdict::Met,
            (true, _, true) => Verdict::NotMet,
            _ => Verdict::Inconclusive,
        }
    }
}

/// The records of a run, by cell.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a>(pub &'a [Record]);

impl<'a> Run<'a> {
    /// The record of a cell.
    pub fn cell(self, workload: Workload, table: RowName, processes: u32) -> Option<&'a Record> {
        self.0.iter().find(|record| {
            let is_it = (record.workload, record.table) == (workload, table);
            is_it && record.processes == processes && record.limit.is_limit()
        })
    }

    /// How much longer `other` takes than `table`, window by window; with the record.
    pub fn duel(
        self,
        workload: Workload,
        processes: u32,
        other: RowName,
        table: RowName,
    ) -> Option<(&'a Record, Known)> {
        let record = self.0.iter().find(|record| {
            let is_it = (record.workload, record.processes) == (workload, processes);
            is_it && (record.table, record.limit) == (other, table)
        })?;
        Some((record, ratio(record)))
    }

    /// How much longer `other` takes than `table`, both against the limit beside which each was
    /// measured, so that what the machine did meanwhile cancels.
    pub fn factor(
        self,
        workload: Workload,
        processes: u32,
        other: RowName,
        table: RowName,
    ) -> Option<Known> {
        let cells = [other, table].map(|row| self.cell(workload, row, processes));
        let [Some(other), Some(table)] = cells else { return None };
        let factor = Known::quotient(ratio(other), ratio(table));
        Some(if have_moved(other, table) { factor.blurred(DISTANCE_COSTS) } else { factor })
    }

    /// Time of an operation of each of two workers, against that of one alone in a cell of its own.
    pub fn against_alone(self, workload: Workload, table: RowName) -> Option<Known> {
        let time = |processes| {
            let record = self.cell(workload, table, processes)?;
            let Record { ns_per_op: value, ns_low: low, ns_high: high, .. } = *record;
            Some(Known { value, low, high, conclusive: record.is_enough() })
        };
        Some(Known::quotient(time(2)?, time(1)?))
    }

    /// The time that lines took from one processor to the other in a row's cell of two workers.
    pub fn transfer(self, workload: Workload, row: RowName) -> Option<String> {
        let Transfer { ns, least_ns, most_ns } = self.cell(workload, row, 2)?.transfer?;
        let range = format!("{least_ns:.0} to {most_ns:.0}");
        Some(format!("a line came to {} in {ns:.0} ns ({range})", row.label()))
    }

    /// Time of an operation of each of two workers beside the other, against alone, from windows in
    /// alternation.
    pub fn scaling(self, workload: Workload, table: RowName) -> Option<Known> {
        let Scaling { ratio: value, low, high, conclusive, .. } =
            self.cell(workload, table, 2)?.scaling?;
        Some(Known { value, low, high, conclusive })
    }

    /// By how much a limit that is paired with itself in a workload may differ from itself: the
    /// farther end of its interval, at least a hundredth. Luck of placement is in the intervals;
    /// this is what the harness adds to it. Where that was not measured, the most that was in any.
    pub fn resolution(self, workload: Workload, processes: u32) -> f64 {
        let share = |record: &Record| record.ratio_high.max(1.0 / record.ratio_low) - 1.0;
        let same =
            || self.0.iter().filter(|record| record.table == record.limit && record.is_enough());
        let is_it = |record: &&Record| (record.workload, record.processes) == (workload, processes);
        let most = || same().map(share).reduce(f64::max).unwrap_or(UNKNOWN_RESOLUTION);
        same().find(is_it).map_or_else(most, share).max(0.01)
    }

    /// Cells in which a table that can be compared is ahead of `table`, with how much.
    pub fn ahead_of(self, table: RowName) -> Vec<(&'a Record, f64)> {
        let mut ahead = Vec::new();
        let cells = self.0.iter().filter(|record| record.limit.is_limit());
        for record in cells.filter(|record| !record.table.is_limit()) {
            let factor = self.factor(record.workload, record.processes, record.table, table);
            if let Some(factor) = factor.filter(|factor| factor.value < 1.0) {
                ahead.push((record, 1.0 / factor.value));
            }
        }
        ahead
    }
}

/// What is taken for the resolution of a run without a limit that is paired with itself.
const UNKNOWN_RESOLUTION: f64 = 0.05;

/// By how much the distance of two processors was seen to change a cell of stores: it doubled.
const DISTANCE_COSTS: f64 = 1.0;

/// Whether the processors were not as far apart while one cell was measured as for the other.
fn have_moved(one: &Record, other: &Record) -> bool {
    let (Some(one), Some(other)) = (one.transfer, other.transfer) else { return false };
    !one.is_like(other)
}

fn ratio(record: &Record) -> Known {
    Known {
        value: record.ratio_to_limit,
        low: record.ratio_low,
        high: record.ratio_high,
        conclusive: record.is_enough(),
    }
}

/// The median latency of single operations against the limit's.
fn latency(record: &Record) -> Option<Known> {
    let LatencyRatio { ratio: value, low, high } = record.p50_ratio?;
    let conclusive = record.is_enough() && record.latency_count >= 1000;
    Some(Known { value, low, high, conclusive })
}
