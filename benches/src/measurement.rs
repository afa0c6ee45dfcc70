//! One cell of the comparison while it is measured: its windows, its placements, its record.
//!
//! Where pages and lines fall, and which sessions meet in a bucket, is luck that lasts as long as a
//! set of tables does. So a cell makes its tables anew, nine times and more in equal parts of its
//! time, and what it says is the median over these placements, known to lie where they do.

use std::rc::Rc;
use std::time::{Duration, Instant};

use shm_arena::MappedMemory;

use crate::cell::Cell;
use crate::churn::{Churn, ChurnName, Churned, Fill, Tenths};
use crate::driver::Measure;
use crate::fault::Fault;
use crate::keys::mix;
use crate::pairs::{PAIRS_MIN, Tally};
use crate::protocol::{Job, Measured, Plan, Run};
use crate::results::{Record, Subject};
use crate::session::Session;
use crate::settings::{CellName, Settings};
use crate::transfer::{Transfer, fetch_written_lines};

/// Longest wait of a worker for another, in nanoseconds.
const WAIT_NS_MAX: f64 = 10e9;

/// Time beyond twenty times the planned one after which a silent worker counts as hung.
const RUN_TIME_SLACK: Duration = Duration::from_secs(20);

/// Pairs of windows of one request at most: about half a second.
const PAIRS_OF_A_RUN_MAX: u32 = 1200;

/// Pairs of windows of an old table, and then of a new one: a few milliseconds.
const PAIRS_OF_A_TURN: u32 = 10;

/// Pairs of windows that make a block of latencies: some ten thousand.
const PAIRS_OF_A_BLOCK: u32 = 40;

/// A cell that is being measured.
#[derive(Debug)]
pub struct Measurement {
    session: Rc<Session>,
    name: CellName,
    job: Job,
    cell: Cell,
    stored: u64,
    facts: Vec<String>,
    tally: Tally,
    transfers: Vec<f64>,
    operations_of_a_window: f64,
    /// Sets of tables so far.
    placements: usize,
    /// Pairs of the tables in use that are in the tally.
    pairs_of_placement: u32,
    // The workers reach the control words through this process's descriptor.
    control: MappedMemory,
}

impl Measurement {
    /// Starts the workers and fills the tables.
    pub(crate) fn start(
        session: Rc<Session>,
        name: CellName,
        job: Job,
        control: MappedMemory,
    ) -> Result<Self, Fault> {
        let cell = Cell::start(&job)?;
        let mut facts = cell.facts().to_vec();
        let workload = name.workload;
        if workload.is_further_read() && job.entries < workload.entries(session.settings().entries)
        {
            let (workload, entries) = (workload.name(), job.entries);
            facts.push(format!("{workload} has {entries} sessions: there is no room for more"));
        }
        Ok(Self {
            tally: Tally::new(session.rate()),
            session,
            name,
            job,
            stored: cell.stored(),
            cell,
            facts,
            transfers: Vec::new(),
            operations_of_a_window: 64.0,
            placements: 1,
            pairs_of_placement: 0,
            control,
        })
    }

    /// Runs about this many operations of the row, in pairs of windows with its limit; gives how
    /// long the row takes for exactly so many. Tables are made anew a few times on the way.
    pub fn operations(&mut self, count: u64) -> Result<Duration, Fault> {
        self.transfer();
        let pairs = (count as f64 / self.operations_of_a_window).ceil();
        let pairs = whole(pairs.clamp(1.0, f64::from(PAIRS_OF_A_RUN_MAX)));
        let (mut left, mut ns) = (pairs, 0.0);
        while left > 0 {
            let planned = self.planned_pairs().saturating_sub(self.pairs_of_placement);
            if planned == 0 && !self.is_last() {
                self.finish_placement()?;
                self.next_placement()?;
                continue;
            }
            let now = if self.is_last() { left } else { left.min(planned) };
            ns += self.pairs(now)? * f64::from(now);
            left -= now;
        }
        Ok(Duration::from_secs_f64(ns / f64::from(pairs) * count as f64 / 1e9))
    }

    /// Whether the tables in use are the last ones.
    fn is_last(&self) -> bool {
        self.placements >= self.placements_planned()
    }

    /// Pairs of a placement, if they are to have equal parts of the cell's time.
    fn planned_pairs(&self) -> u32 {
        let settings = self.session.settings();
        self.pairs_in(settings.warm_up + settings.measurement)
    }

    /// Pairs that fit into a placement's part of a time.
    fn pairs_in(&self, time: Duration) -> u32 {
        let pairs = time.as_secs_f64() * 1e9 / self.session.settings().window_ns / 2.0;
        whole((pairs / self.placements_planned() as f64).clamp(1.0, 1e6))
    }

    fn placements_planned(&self) -> usize {
        self.session.settings().placements(self.name)
    }

    /// Goes on with new workers and new tables, in which other sessions are stored. What they do
    /// until their part of the caches is theirs does not count.
    fn next_placement(&mut self) -> Result<(), Fault> {
        // Two sets at once might not fit.
        self.cell.stop();
        let (job, control) = self.session.job(self.name)?;
        self.job.seed = mix(self.job.seed);
        self.job.control = job.control;
        self.cell = Cell::start(&self.job)?;
        self.control = control;
        self.tally.start_placement();
        (self.placements, self.pairs_of_placement) = (self.placements + 1, 0);
        let pairs = 2 * self.pairs_in(self.session.settings().warm_up);
        self.run(Plan::Pairs(Measure::Throughput), pairs)?;
        Ok(())
    }

    /// Runs pairs of windows; gives the median time of an operation of the row.
    fn pairs(&mut self, pairs: u32) -> Result<f64, Fault> {
        self.pairs_of_placement += pairs;
        let has_writer = self.name.workload.has_writer();
        let before = self.tally.pairs().len();
        let mut left = pairs;
        while left > 0 {
            if has_writer {
                let block = left.min(PAIRS_OF_A_BLOCK);
                let measured = self.run(Plan::BesideWriter, block)?;
                self.tally.add_beside_writer(&measured);
                left -= block;
            } else {
                let measured = self.run(Plan::Pairs(Measure::Throughput), left)?;
                self.tally.add_throughput(&measured);
                left = 0;
            }
        }
        let new = &self.tally.pairs()[before..];
        let mut times: Vec<f64> =
            new.iter().filter(|pair| pair.dropped.is_none()).map(|pair| pair.row_ns).collect();
        if times.is_empty() {
            times = new.iter().map(|pair| pair.row_ns).collect();
        }
        times.sort_by(f64::total_cmp);
        let ns = times.get(times.len() / 2).copied().unwrap_or(1.0);
        self.operations_of_a_window =
            (self.session.settings().window_ns / ns).clamp(16.0, 10_000.0);
        Ok(ns)
    }

    fn run(&mut self, plan: Plan, pairs: u32) -> Result<Vec<Measured>, Fault> {
        let session = &self.session;
        let run = Run {
            plan,
            pairs,
            operations: whole(self.operations_of_a_window).into(),
            wait_ticks_max: session.rate().ticks(WAIT_NS_MAX),
        };
        let planned =
            Duration::from_secs_f64(f64::from(pairs) * 2.0 * session.settings().window_ns / 1e9);
        self.cell.run(&run, planned * 20 + RUN_TIME_SLACK)
    }

    /// Measures what is left: every placement gets as many pairs as the first ones had, what its
    /// workers cost each other, and single operations. Gives the record.
    pub fn finish(mut self) -> Result<Option<Record>, Fault> {
        let pairs = u32::try_from(self.tally.pairs().len() / self.placements).unwrap_or(u32::MAX);
        let pairs = pairs.clamp(PAIRS_OF_A_BLOCK, self.planned_pairs().max(PAIRS_OF_A_BLOCK));
        loop {
            if self.pairs_of_placement < pairs {
                self.pairs(pairs - self.pairs_of_placement)?;
            }
            self.finish_placement()?;
            if self.is_last() {
                break;
            }
            self.next_placement()?;
        }
        let start = Instant::now();
        // Samples beside a writer come slowly, and it takes many for a tail.
        let longest = self.session.settings().measurement * 2;
        while !self.has_enough() && start.elapsed() < longest {
            self.pairs(PAIRS_OF_A_BLOCK)?;
        }
        self.transfer();
        Ok(self.record())
    }

    /// Measures what the windows of throughput do not say, for a placement's part of the time.
    fn finish_placement(&mut self) -> Result<(), Fault> {
        let Settings { scaling, latency, .. } = *self.session.settings();
        let parts = u32::try_from(self.placements_planned()).unwrap_or(1);
        if self.name.scales() {
            self.scaling(scaling / parts)?;
        }
        if !self.name.workload.has_writer() {
            self.latencies(latency / parts)?;
        }
        Ok(())
    }

    /// Whether there is enough for a statement.
    fn has_enough(&self) -> bool {
        let has_tail = !self.name.workload.has_writer() || self.tally.tails().are_enough();
        has_tail && self.tally.kept().count() >= PAIRS_MIN
    }

    fn scaling(&mut self, duration: Duration) -> Result<(), Fault> {
        let start = Instant::now();
        while start.elapsed() < duration {
            let measured = self.run(Plan::Scaling, 40)?;
            self.tally.add_rounds(&measured);
        }
        Ok(())
    }

    fn latencies(&mut self, duration: Duration) -> Result<(), Fault> {
        let start = Instant::now();
        while start.elapsed() < duration {
            let measured = self.run(Plan::Pairs(Measure::Latency), PAIRS_OF_A_BLOCK)?;
            self.tally.add_latencies(&measured);
        }
        Ok(())
    }

    /// What has been measured so far.
    pub fn record(&self) -> Option<Record> {
        let subject = Subject {
            workload: self.name.workload,
            table: self.name.table,
            limit: self.name.limit(),
            processes: self.name.processes,
            value_bytes: self.job.site.value_bytes,
            entries: self.stored,
        };
        let (rate, overhead_ticks) = (self.session.rate(), self.session.overhead_ticks());
        let record = Record::new(&subject, &self.tally, rate, overhead_ticks)?;
        Some(Record { transfer: Transfer::of(&self.transfers), ..record })
    }

    /// Looks how far apart the processors are, while the workers wait.
    fn transfer(&mut self) {
        if self.name.processes == 2 {
            self.transfers.extend(fetch_written_lines(self.session.rate()));
        }
    }

    /// Stores and gives up so many generations of sessions, after one that is not timed. Every take
    /// and eviction has to find its session and every store to succeed, or this fails.
    pub fn churn(mut self, fill: Fill) -> Result<Churn, Fault> {
        let CellName { table, processes, .. } = self.name;
        let name = ChurnName { table, processes, fill };
        let Settings { churn_entries: entries, generations, .. } = *self.session.settings();
        let session = Rc::clone(&self.session);
        let from = self.store(entries, 20)?;
        let tenth = entries * generations / 10;
        let last_from = self.store(entries + 9 * tenth, 200)?;
        let mut twin = session.open_churn(name)?;
        let twin_from = twin.store(entries, 20)?;
        // A run may have overshot: the last tenth is a whole one all the same.
        let end = self.tally.totals().puts + tenth;
        while self.tally.totals().puts < end {
            self.pairs(PAIRS_OF_A_TURN)?;
            twin.pairs(PAIRS_OF_A_TURN)?;
        }
        let (pairs, twins) = (self.tally.pairs(), twin.tally.pairs());
        let tenths = Tenths {
            first: &pairs[from..from + (last_from - from) / 9],
            last: &pairs[last_from..],
            twin: &twins[twin_from..],
        };
        let (entries, capacity) = (self.stored, self.job.site.entries);
        let subject = Churned { name, entries, capacity };
        Churn::new(&subject, &tenths, self.tally.totals())
            .ok_or_else(|| Fault::setup("churn", "measure", "there are too few pairs"))
    }

    /// Runs until so many sessions have been stored, by so many pairs at once; says how many pairs
    /// there have been.
    fn store(&mut self, sessions: u64, pairs: u32) -> Result<usize, Fault> {
        while self.tally.totals().puts < sessions {
            self.pairs(pairs)?;
        }
        Ok(self.tally.pairs().len())
    }

    /// What the row says about itself.
    pub fn facts(&self) -> &[String] {
        &self.facts
    }
}

#[expect(clippy::cast_possible_truncation, reason = "clamped by the caller")]
#[expect(clippy::cast_sign_loss, reason = "clamped by the caller")]
fn whole(number: f64) -> u32 {
    number as u32
}
