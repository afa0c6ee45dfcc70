//! Generations of sessions that come and go in one table: whether it stays right, and as fast.

use serde::{Deserialize, Serialize};

use crate::driver::Window;
use crate::pairs::{PAIRS_MIN, Pair};
use crate::row::RowName;
use crate::statistics::Summary;

/// How full the table is meanwhile: sessions stored at any time, of those that it was made for.
///
/// What a table is made for is its capacity: block memory for so many sessions of their size, and
/// an index that is as full with them as the design wants it to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// A half.
    Half,
    /// Nine of ten.
    NineTenths,
}

impl Fill {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Half, Self::NineTenths];

    /// What a table is made for in which so many sessions are stored.
    pub const fn capacity(self, entries: u64) -> u64 {
        match self {
            Self::Half => entries * 2,
            Self::NineTenths => (entries * 10).div_ceil(9),
        }
    }

    /// The beginning of the id.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Half => "churn",
            Self::NineTenths => "churn_90",
        }
    }
}

/// What the churn of one table showed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Churn {
    /// The table.
    pub table: RowName,
    /// Worker processes.
    pub processes: u32,
    /// How full the table was.
    pub fill: Fill,
    /// Sessions stored when it started, and about as many all the while.
    pub entries: u64,
    /// Sessions that the table was made for.
    pub capacity: u64,
    /// Sessions stored, and as many given up.
    pub sessions: u64,
    /// Takes, each of which found its session.
    pub takes: u64,
    /// Evictions, each of which found its session.
    pub evictions: u64,
    /// Time of the last tenth against the first, each as ratio to the limit's.
    pub slow_down: f64,
    /// Lower end of what it is known to lie in.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Whether at least 30 pairs of both tenths count.
    pub conclusive: bool,
}

/// A churn of the comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChurnName {
    /// The table.
    pub table: RowName,
    /// Workers.
    pub processes: u32,
    /// How full it is.
    pub fill: Fill,
}

impl ChurnName {
    /// The id: `churn/table/pN` or `churn_90/table/pN`.
    pub fn id(self) -> String {
        format!("{}/{}/p{}", self.fill.name(), self.table.name(), self.processes)
    }
}

/// What a churn is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Churned {
    /// The table, and how full it is.
    pub name: ChurnName,
    /// Sessions stored at any time.
    pub entries: u64,
    /// Sessions that the table was made for.
    pub capacity: u64,
}

impl Churn {
    /// What pairs of windows in their order, and sums over them, say; a tenth of which no pair
    /// counts is told by all of its pairs, and inconclusive. `None` if there are not ten pairs.
    pub fn new(subject: &Churned, pairs: &[Pair], totals: &Window) -> Option<Self> {
        let tenth = pairs.len() / 10;
        let ratios = |pairs: &[Pair]| {
            let kept: Vec<&Pair> = pairs.iter().filter(|pair| pair.dropped.is_none()).collect();
            let count = kept.len();
            let told = if count > 0 { kept } else { pairs.iter().collect() };
            let told: Vec<f64> = told.into_iter().map(Pair::ratio).collect();
            Some((Summary::of(&told)?, count))
        };
        let (first, first_kept) = ratios(&pairs[..tenth])?;
        let (last, last_kept) = ratios(&pairs[pairs.len() - tenth..])?;
        Some(Self {
            table: subject.name.table,
            processes: subject.name.processes,
            fill: subject.name.fill,
            entries: subject.entries,
            capacity: subject.capacity,
            sessions: totals.puts,
            takes: totals.hits,
            evictions: totals.calls - totals.operations,
            slow_down: last.median / first.median,
            low: last.median_low / first.median_high,
            high: last.median_high / first.median_low,
            conclusive: first_kept.min(last_kept) >= PAIRS_MIN,
        })
    }

    /// What was run.
    pub const fn name(&self) -> ChurnName {
        ChurnName { table: self.table, processes: self.processes, fill: self.fill }
    }

    /// One line for a reader.
    pub fn line(&self) -> String {
        format!(
            "{}: {} sessions stored and as many taken or given up, {} at a time in a table for {}: \
             no miss among {} takes and {} evictions, no failed store; last tenth against first \
             {:.2}x ({:.2}–{:.2})",
            self.name().id(),
            self.sessions,
            self.entries,
            self.capacity,
            self.takes,
            self.evictions,
            self.slow_down,
            self.low,
            self.high,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A churn in which the row's time goes from 150 ns to this, and the limit's from 100 to that.
    fn churn(row_ns_last: f64, limit_ns_last: f64) -> Churn {
        let pairs: Vec<Pair> = (0..1000)
            .map(|step| {
                let part = f64::from(step) / 1000.0;
                Pair {
                    row_ns: 150.0 + (row_ns_last - 150.0) * part,
                    limit_ns: 100.0 + (limit_ns_last - 100.0) * part,
                    dropped: None,
                }
            })
            .collect();
        let name = ChurnName { table: RowName::CasBucket, processes: 1, fill: Fill::NineTenths };
        let subject = Churned { name, entries: 900, capacity: 1000 };
        let totals = Window { puts: 90_000, calls: 10, operations: 6, ..Window::default() };
        Churn::new(&subject, &pairs, &totals).unwrap()
    }

    #[test]
    fn a_table_that_slows_down_is_seen_and_a_machine_that_does_is_not() {
        let slowed = churn(225.0, 100.0);
        assert!(slowed.conclusive && slowed.low > 1.3 && slowed.high < 1.6, "{slowed:?}");
        let steady = churn(225.0, 150.0);
        assert!((steady.slow_down - 1.0).abs() < 0.01 && steady.high < 1.1, "{steady:?}");
    }

    #[test]
    fn no_pairs_say_nothing_and_dropped_ones_are_inconclusive() {
        let name = ChurnName { table: RowName::Chained, processes: 2, fill: Fill::Half };
        let subject = Churned { name, entries: 10, capacity: 20 };
        assert_eq!(Churn::new(&subject, &[], &Window::default()), None);
        let dropped = Some(crate::pairs::Dropped::Preempted);
        let pairs = vec![Pair { row_ns: 2.0, limit_ns: 1.0, dropped }; 1000];
        let churn = Churn::new(&subject, &pairs, &Window::default()).unwrap();
        assert_eq!((churn.slow_down, churn.conclusive), (1.0, false));
    }

    #[test]
    fn a_table_is_made_for_what_leaves_it_so_full() {
        assert_eq!(Fill::Half.capacity(20_000), 40_000);
        assert_eq!(Fill::NineTenths.capacity(18_000), 20_000);
        assert!(Fill::NineTenths.capacity(20_000) * 9 >= 180_000);
    }
}
