//! Generations of sessions that come and go in one table: whether it stays right, and as fast.
//!
//! The last tenth of the time is compared with the first. Seconds lie between them, in which the
//! host's caches change, so that the first tenth is run again in a new table, a twin, in
//! alternation with the last tenth of the old one.

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
    /// Time of the last tenth against the first tenth of a new table, each as ratio to the limit's.
    pub slow_down: f64,
    /// Lower end of what it is known to lie in.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Whether at least 30 pairs of both tenths count.
    pub conclusive: bool,
    /// Time of the last tenth against the table's own first, which other seconds have changed.
    pub against_own_first: f64,
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

/// Pairs of windows of a churn.
#[derive(Clone, Copy, Debug)]
pub struct Tenths<'a> {
    /// The first tenth of the time.
    pub first: &'a [Pair],
    /// The last tenth.
    pub last: &'a [Pair],
    /// The first tenth of a new table, run in alternation with the last.
    pub twin: &'a [Pair],
}

impl Churn {
    /// What the tenths, and sums over all windows, say; a tenth of which no pair counts is told by
    /// all of its pairs, and inconclusive. `None` if a tenth has no pairs.
    pub fn new(subject: &Churned, tenths: &Tenths<'_>, totals: &Window) -> Option<Self> {
        let ratios = |pairs: &[Pair]| {
            let kept: Vec<&Pair> = pairs.iter().filter(|pair| pair.dropped.is_none()).collect();
            let count = kept.len();
            let told = if count > 0 { kept } else { pairs.iter().collect() };
            let told: Vec<f64> = told.into_iter().map(Pair::ratio).collect();
            Some((Summary::of(&told)?, count))
        };
        let (own_first, _) = ratios(tenths.first)?;
        let ((last, last_kept), (twin, twin_kept)) = (ratios(tenths.last)?, ratios(tenths.twin)?);
        Some(Self {
            table: subject.name.table,
            processes: subject.name.processes,
            fill: subject.name.fill,
            entries: subject.entries,
            capacity: subject.capacity,
            sessions: totals.puts,
            takes: totals.hits,
            evictions: totals.calls - totals.operations,
            slow_down: last.median / twin.median,
            low: last.median_low / twin.median_high,
            high: last.median_high / twin.median_low,
            conclusive: twin_kept.min(last_kept) >= PAIRS_MIN,
            against_own_first: last.median / own_first.median,
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
             no miss among {} takes and {} evictions, no failed store; last tenth against the \
             first of a new table {:.2}x ({:.2}–{:.2}), against its own {:.2}x",
            self.name().id(),
            self.sessions,
            self.entries,
            self.capacity,
            self.takes,
            self.evictions,
            self.slow_down,
            self.low,
            self.high,
            self.against_own_first,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: Churned = Churned {
        name: ChurnName { table: RowName::CasBucket, processes: 1, fill: Fill::NineTenths },
        entries: 900,
        capacity: 1000,
    };

    /// A churn of a row that takes so much longer in its last tenth, on a machine that becomes so
    /// much slower for the row, and not for the limit.
    fn churn(row_slows: f64, machine_slows: f64) -> Churn {
        let pairs = |row_ns| vec![Pair { row_ns, limit_ns: 100.0, dropped: None }; 100];
        let tenths = Tenths {
            first: &pairs(150.0),
            last: &pairs(150.0 * row_slows * machine_slows),
            twin: &pairs(150.0 * machine_slows),
        };
        Churn::new(&SUBJECT, &tenths, &Window::default()).unwrap()
    }

    #[test]
    fn a_table_that_slows_down_is_seen_and_a_machine_that_does_is_not() {
        let slowed = churn(1.5, 1.0);
        assert!(slowed.conclusive && slowed.low > 1.4 && slowed.high < 1.6, "{slowed:?}");
        let steady = churn(1.0, 1.5);
        assert!((steady.slow_down - 1.0).abs() < 0.01 && steady.high < 1.1, "{steady:?}");
        assert!((steady.against_own_first - 1.5).abs() < 0.01, "{steady:?}");
    }

    #[test]
    fn no_pairs_say_nothing_and_dropped_ones_are_inconclusive() {
        let of = |pairs: &[Pair]| {
            let tenths = Tenths { first: pairs, last: pairs, twin: pairs };
            Churn::new(&SUBJECT, &tenths, &Window::default())
        };
        assert_eq!(of(&[]), None);
        let dropped = Some(crate::pairs::Dropped::Preempted);
        let churn = of(&vec![Pair { row_ns: 2.0, limit_ns: 1.0, dropped }; 1000]).unwrap();
        assert_eq!((churn.slow_down, churn.conclusive), (1.0, false));
    }

    #[test]
    fn a_table_is_made_for_what_leaves_it_so_full() {
        assert_eq!(Fill::Half.capacity(20_000), 40_000);
        assert_eq!(Fill::NineTenths.capacity(18_000), 20_000);
        assert!(Fill::NineTenths.capacity(20_000) * 9 >= 180_000);
    }
}
