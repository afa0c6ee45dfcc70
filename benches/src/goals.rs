//! The speeds that were set as goals, and what a run says about each.

use crate::results::Record;
use crate::row::RowName;
use crate::workload::Workload;

/// What a run says about a goal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Reached, the whole interval of the measured value.
    Met,
    /// Missed, the whole interval.
    NotMet,
    /// The interval encloses the goal, or a cell behind it was inconclusive.
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

/// A goal and what became of it.
#[derive(Clone, PartialEq, Debug, serde::Serialize)]
pub struct Goal {
    /// What was to be reached.
    pub text: String,
    /// What was measured.
    pub measured: String,
    /// What follows.
    pub verdict: Verdict,
}

/// A value with the interval that it is known to lie in.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Known {
    /// The value.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Whether the cells behind it were conclusive.
    pub conclusive: bool,
}

impl Known {
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

    fn at_most(self, bound: f64) -> Verdict {
        match (self.conclusive, self.high <= bound, self.low > bound) {
            (true, true, _) => Verdict::Met,
            (true, _, true) => Verdict::NotMet,
            _ => Verdict::Inconclusive,
        }
    }

    fn at_least(self, bound: f64) -> Verdict {
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
            (record.workload, record.table, record.processes) == (workload, table, processes)
        })
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
        let other = ratio(self.cell(workload, other, processes)?);
        let table = ratio(self.cell(workload, table, processes)?);
        Some(Known::quotient(other, table))
    }

    /// Time of a worker with two workers against that of one alone.
    pub fn scaling(self, workload: Workload, table: RowName) -> Option<Known> {
        let two = time(self.cell(workload, table, 2)?);
        let one = time(self.cell(workload, table, 1)?);
        Some(Known::quotient(two, one))
    }

    /// By how much limits that were paired with themselves differed from themselves, the largest
    /// share; at least a twentieth. Placement in memory and caches is a matter of luck that windows
    /// in alternation do not cancel.
    pub fn resolution(self) -> f64 {
        let same = self.0.iter().filter(|record| record.table == record.limit && record.conclusive);
        let shares = same.map(|record| {
            let ratio = record.ratio_to_limit;
            ratio.max(1.0 / ratio) - 1.0
        });
        shares.fold(0.05, f64::max)
    }

    /// Cells in which a table that can be compared is ahead of `table`, with how much.
    pub fn ahead_of(self, table: RowName) -> Vec<(&'a Record, f64)> {
        let mut ahead = Vec::new();
        for record in self.0.iter().filter(|record| !record.table.is_limit()) {
            let factor = self.factor(record.workload, record.processes, record.table, table);
            if let Some(factor) = factor.filter(|factor| factor.value < 1.0) {
                ahead.push((record, 1.0 / factor.value));
            }
        }
        ahead
    }
}

fn ratio(record: &Record) -> Known {
    Known {
        value: record.ratio_to_limit,
        low: record.ratio_low,
        high: record.ratio_high,
        conclusive: record.conclusive,
    }
}

fn time(record: &Record) -> Known {
    Known {
        value: record.ns_per_op,
        low: record.ns_low,
        high: record.ns_high,
        conclusive: record.conclusive,
    }
}

/// The median latency against the limit's. Histograms have no interval; three digits are exact.
fn latency(record: &Record) -> Known {
    let value = record.p50_ns / record.limit_p50_ns;
    let conclusive = record.latency_count >= 1000;
    Known { value, low: value, high: value, conclusive }
}

const OURS: RowName = RowName::CasBucket;

/// What a run says about every goal of the default table.
pub fn judge(records: &[Record]) -> Vec<Goal> {
    let run = Run(records);
    let blur = run.resolution();
    let read = run.cell(Workload::Read, OURS, 1);
    let mut goals = vec![
        at_most("get hit in a loop, 1 process, against limit_read", read.map(ratio), 1.8, blur),
        at_most("get hit alone (p50), 1 process, against limit_read", read.map(latency), 1.2, blur),
        at_most(
            "get hit, ns of each of 2 processes against 1",
            run.scaling(Workload::Read, OURS),
            1.15,
            blur,
        ),
    ];
    for workload in Workload::ALL {
        let bound = if workload == Workload::Read { 4.0 } else { 2.5 };
        let factor = run.factor(workload, 2, RowName::MutexSlab, OURS);
        let text = format!("faster than mutex_slab, {}, 2 processes", workload.name());
        goals.push(at_least(&text, factor, bound, blur));
    }
    for peer in [RowName::Lmdb, RowName::Papaya] {
        for workload in Workload::ALL {
            for processes in [1, 2] {
                let factor = run.factor(workload, processes, peer, OURS);
                let text = format!("ahead of {}, {}, p{processes}", peer.label(), workload.name());
                goals.push(at_least(&text, factor, 1.0, blur));
            }
        }
    }
    goals
}

fn at_most(text: &str, known: Option<Known>, bound: f64, blur: f64) -> Goal {
    goal(text, "at most", known.map(|known| known.blurred(blur)), bound, Known::at_most)
}

fn at_least(text: &str, known: Option<Known>, bound: f64, blur: f64) -> Goal {
    goal(text, "at least", known.map(|known| known.blurred(blur)), bound, Known::at_least)
}

fn goal(
    text: &str,
    relation: &str,
    known: Option<Known>,
    bound: f64,
    verdict: fn(Known, f64) -> Verdict,
) -> Goal {
    Goal {
        text: format!("{text}: {relation} {bound}x"),
        measured: known.map_or_else(
            || "–".to_owned(),
            |known| format!("{:.2}x ({:.2}–{:.2})", known.value, known.low, known.high),
        ),
        verdict: known.map_or(Verdict::NotMeasured, |known| verdict(known, bound)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::record;

    fn verdict_of(goals: &[Goal], start: &str) -> Verdict {
        goals.iter().find(|goal| goal.text.starts_with(start)).unwrap().verdict
    }

    #[test]
    fn a_goal_is_met_missed_or_open_by_its_whole_interval() {
        let read = |value| {
            let goals = judge(&[record(Workload::Read, OURS, 1, value)]);
            verdict_of(&goals, "get hit in a loop")
        };
        assert_eq!(read(1.6), Verdict::Met);
        assert_eq!(read(2.0), Verdict::NotMet);
        assert_eq!(read(1.75), Verdict::Inconclusive);
        assert_eq!(verdict_of(&judge(&[]), "get hit in a loop"), Verdict::NotMeasured);
    }

    #[test]
    fn what_a_limit_differs_from_itself_blurs_every_verdict() {
        let mut itself = record(Workload::Read, RowName::LimitRead, 1, 1.25);
        itself.limit = RowName::LimitRead;
        let records = [record(Workload::Read, OURS, 1, 2.0), itself];
        assert!((Run(&records).resolution() - 0.25).abs() < 1e-9);
        let goals = judge(&records);
        assert_eq!(verdict_of(&goals, "get hit in a loop"), Verdict::Inconclusive);
    }

    #[test]
    fn an_inconclusive_cell_never_meets_a_goal() {
        let mut fast = record(Workload::Read, OURS, 1, 1.1);
        fast.conclusive = false;
        assert_eq!(verdict_of(&judge(&[fast]), "get hit in a loop"), Verdict::Inconclusive);
    }

    #[test]
    fn peers_are_compared_in_the_same_cell_and_the_losses_are_listed() {
        let records = [
            record(Workload::Read, OURS, 2, 1.5),
            record(Workload::Read, RowName::MutexSlab, 2, 7.5),
            record(Workload::Read, RowName::Papaya, 2, 1.2),
            record(Workload::Read, RowName::Papaya, 1, 0.1),
        ];
        let goals = judge(&records);
        assert_eq!(verdict_of(&goals, "faster than mutex_slab, read"), Verdict::Met);
        assert_eq!(verdict_of(&goals, "ahead of papaya*, read, p2"), Verdict::NotMet);
        assert_eq!(verdict_of(&goals, "ahead of papaya*, read, p1"), Verdict::NotMeasured);
        let ahead = Run(&records).ahead_of(OURS);
        assert_eq!(ahead.len(), 1);
        assert!((ahead[0].1 - 1.25).abs() < 1e-9);
    }
}
