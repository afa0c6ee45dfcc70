//! A run: the captured sessions, the place for the tables, and one cell after the other.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use shm_arena::{MappedMemory, MappingOptions};

use crate::capture::capture;
use crate::cell::Cell;
use crate::churn::{Churn, ChurnName, Churned, Fill, Tenths};
use crate::clock::{ClockRate, overhead_ticks};
use crate::control::CONTROL_WORDS;
use crate::corpus::Corpus;
use crate::driver::Measure;
use crate::fault::Fault;
use crate::machine;
use crate::pairs::{PAIRS_MIN, Tally};
use crate::protocol::{Job, Measured, Plan, Run};
use crate::results::{Record, Subject};
use crate::row::Site;
use crate::settings::{CellName, DIRECTORY_VARIABLE, Settings};
use crate::sys;
use crate::transfer::{Transfer, fetch_written_lines};
use crate::workload::Workload;

/// What all cells of a run share.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    corpus: Corpus,
    corpus_file: File,
    scratch: Scratch,
    rate: ClockRate,
    overhead_ticks: u64,
    copy_kind: &'static str,
}

/// Longest wait of a worker for another, in nanoseconds.
const WAIT_NS_MAX: f64 = 10e9;

/// Time beyond twenty times the planned one after which a silent worker counts as hung.
const RUN_TIME_SLACK: Duration = Duration::from_secs(20);

/// Pairs of windows of one request at most: about half a second.
const PAIRS_OF_A_RUN_MAX: u32 = 1200;

/// Pairs of windows of an old table, and then of a new one: a few milliseconds.
const PAIRS_OF_A_TURN: u32 = 10;

/// Pairs of windows beside a writer that make a block of latencies: some ten thousand.
const PAIRS_OF_A_BLOCK: u32 = 40;

impl Session {
    /// Captures sessions, measures the clock and finds a place for the tables.
    pub fn start(settings: Settings) -> Result<Self, Fault> {
        let corpus = capture()?;
        let corpus_file = sys::memory_file(0).map_err(Fault::io("make a file in memory"))?;
        std::fs::write(sys::address_of(&corpus_file), corpus.to_bytes())
            .map_err(Fault::io("write the captured sessions"))?;
        // Further reads look for room of their own.
        let usual = settings.workloads.iter().filter(|workload| !workload.is_further_read());
        let bytes = usual.map(|&workload| {
            let longest = corpus.longest_of(workload.sizes(), workload.is_tls13()) as u64;
            workload.entries(settings.entries) * (longest + 256) * 5
        });
        let bytes = bytes.max().unwrap_or(0);
        let memory = MappedMemory::memfd("shm-bench-copy", 4096, &MappingOptions::default())
            .map_err(|error| Fault::setup("memory", "create", error))?;
        Ok(Self {
            copy_kind: memory.copy_kind(),
            scratch: Scratch::new(bytes)?,
            settings,
            corpus,
            corpus_file,
            rate: ClockRate::measure(),
            overhead_ticks: overhead_ticks(),
        })
    }

    /// What a reader of the report should know about where the tables lie.
    pub fn fallbacks(&self) -> &[String] {
        &self.scratch.fallbacks
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Ticks of the clock.
    pub fn rate(&self) -> ClockRate {
        self.rate
    }

    /// How values are copied on this machine: `avx512`, `avx2`, …
    pub const fn copy_kind(&self) -> &'static str {
        self.copy_kind
    }

    /// Starts the workers of a cell and fills its tables.
    pub fn open(self: &Rc<Self>, name: CellName) -> Result<Measurement, Fault> {
        let (job, control) = self.job(name)?;
        self.start_cell(name, &job, control)
    }

    /// Starts the workers of a churn in a table that stays so full.
    pub fn open_churn(self: &Rc<Self>, churn: ChurnName) -> Result<Measurement, Fault> {
        let ChurnName { table, processes, fill } = churn;
        let name = CellName { workload: Workload::RustlsTls13, table, processes };
        let (mut job, control) = self.job(name)?;
        job.entries = self.settings.churn_entries;
        job.site.entries = fill.capacity(job.entries);
        self.start_cell(name, &job, control)
    }

    fn start_cell(
        self: &Rc<Self>,
        name: CellName,
        job: &Job,
        control: MappedMemory,
    ) -> Result<Measurement, Fault> {
        let cell = Cell::start(job)?;
        let mut facts = cell.facts().to_vec();
        let workload = name.workload;
        if workload.is_further_read() && job.entries < workload.entries(self.settings.entries) {
            let (workload, entries) = (workload.name(), job.entries);
            facts.push(format!("{workload} has {entries} sessions: there is no room for more"));
        }
        Ok(Measurement {
            session: Rc::clone(self),
            name,
            capacity: job.site.entries,
            value_bytes: job.site.value_bytes,
            cell,
            facts,
            tally: Tally::new(self.rate),
            transfers: Vec::new(),
            operations_of_a_window: 64.0,
            _control: control,
        })
    }

    /// Sessions stored at any time in a workload's cells: fewer than wanted where a further read
    /// would fill more than half of the memory that is left.
    fn entries_of(&self, workload: Workload) -> u64 {
        let wanted = workload.entries(self.settings.entries);
        if !workload.is_further_read() {
            return wanted;
        }
        let longest = self.corpus.longest_of(workload.sizes(), workload.is_tls13()) as u64;
        let file_system = self.scratch.shared.then(|| sys::free_bytes(&self.scratch.path));
        let rooms = [file_system.flatten(), machine::available_bytes()];
        let room = rooms.into_iter().flatten().min().unwrap_or(u64::MAX);
        // The row and its limit, each with an index and room for what comes and goes.
        wanted.min(room / 2 / ((longest + 256) * 3)).max(64)
    }

    /// What the workers of a cell are told, and the control words, which must outlive them.
    pub fn job(&self, name: CellName) -> Result<(Job, MappedMemory), Fault> {
        let control =
            MappedMemory::memfd("shm-bench-control", CONTROL_WORDS * 8, &MappingOptions::default())
                .map_err(|error| Fault::setup("control", "create", error))?;
        let descriptor = control.descriptor().map_err(Fault::io("share the control words"))?;
        let control_path = sys::address_of(&descriptor);
        self.scratch.clear()?;
        let (sizes, is_tls13) = (name.workload.sizes(), name.workload.is_tls13());
        let entries = self.entries_of(name.workload);
        let value_bytes = self.corpus.mean_bytes(sizes, is_tls13);
        let job = Job {
            parent: std::process::id(),
            control: control_path,
            corpus: sys::address_of(&self.corpus_file),
            row: name.table,
            limit: name.limit(),
            workload: name.workload,
            entries,
            workers: name.processes,
            first_worker: 0,
            own_workers: 1,
            seed: self.settings.seed,
            site: Site {
                role: String::new(),
                // The population fluctuates by blocks of resumptions that are not due yet.
                entries: entries + entries / 10,
                value_bytes,
                value_bytes_max: self.corpus.longest_of(sizes, is_tls13) as u64,
                shared_directory: self.scratch.shared.then(|| self.scratch.path.clone()),
                directory: self.scratch.path.clone(),
            },
        };
        Ok((job, control))
    }
}

/// A cell that is being measured.
#[derive(Debug)]
pub struct Measurement {
    session: Rc<Session>,
    name: CellName,
    capacity: u64,
    value_bytes: u64,
    cell: Cell,
    facts: Vec<String>,
    tally: Tally,
    transfers: Vec<f64>,
    operations_of_a_window: f64,
    // The workers reach the control words through this process's descriptor.
    _control: MappedMemory,
}

impl Measurement {
    /// Runs about this many operations of the row, in pairs of windows with its limit; gives how
    /// long the row takes for exactly so many.
    pub fn operations(&mut self, count: u64) -> Result<Duration, Fault> {
        self.transfer();
        let pairs = (count as f64 / self.operations_of_a_window).ceil();
        let pairs = pairs.clamp(1.0, f64::from(PAIRS_OF_A_RUN_MAX));
        let ns = self.pairs(whole(pairs))?;
        Ok(Duration::from_secs_f64(ns * count as f64 / 1e9))
    }

    /// Runs pairs of windows; gives the median time of an operation of the row.
    fn pairs(&mut self, pairs: u32) -> Result<f64, Fault> {
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
        self.operations_of_a_window = (self.session.settings.window_ns / ns).clamp(16.0, 10_000.0);
        Ok(ns)
    }

    fn run(&mut self, plan: Plan, pairs: u32) -> Result<Vec<Measured>, Fault> {
        let session = &self.session;
        let run = Run {
            plan,
            pairs,
            operations: whole(self.operations_of_a_window).into(),
            wait_ticks_max: session.rate.ticks(WAIT_NS_MAX),
        };
        let planned =
            Duration::from_secs_f64(f64::from(pairs) * 2.0 * session.settings.window_ns / 1e9);
        self.cell.run(&run, planned * 20 + RUN_TIME_SLACK)
    }

    /// Adds pairs until enough count, then measures what workers cost each other, and single
    /// operations; gives the record.
    pub fn finish(mut self) -> Result<Option<Record>, Fault> {
        let start = Instant::now();
        // Samples beside a writer come slowly, and it takes many for a tail.
        let longest = self.session.settings.measurement * 2;
        while !self.has_enough() && start.elapsed() < longest {
            self.pairs(PAIRS_OF_A_BLOCK)?;
        }
        if self.name.scales() {
            self.scaling(self.session.settings.scaling)?;
        }
        if !self.name.workload.has_writer() {
            self.latencies(self.session.settings.latency)?;
        }
        self.transfer();
        Ok(self.record())
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
            let measured = self.run(Plan::Pairs(Measure::Latency), 100)?;
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
            value_bytes: self.value_bytes,
            entries: self.cell.stored(),
        };
        let (rate, overhead_ticks) = (self.session.rate, self.session.overhead_ticks);
        let record = Record::new(&subject, &self.tally, rate, overhead_ticks)?;
        Some(Record { transfer: Transfer::of(&self.transfers), ..record })
    }

    /// Looks how far apart the processors are, while the workers wait.
    fn transfer(&mut self) {
        if self.name.processes == 2 {
            self.transfers.extend(fetch_written_lines(self.session.rate));
        }
    }

    /// Stores and gives up so many generations of sessions, after one that is not timed. Every take
    /// and eviction has to find its session and every store to succeed, or this fails.
    pub fn churn(mut self, fill: Fill) -> Result<Churn, Fault> {
        let CellName { table, processes, .. } = self.name;
        let name = ChurnName { table, processes, fill };
        let Settings { churn_entries: entries, generations, .. } = self.session.settings;
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
        let (entries, capacity) = (self.cell.stored(), self.capacity);
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

/// A directory of this run, removed at its end.
#[derive(Debug)]
struct Scratch {
    path: PathBuf,
    shared: bool,
    fallbacks: Vec<String>,
}

const PREFIX: &str = "shm-bench-";

impl Scratch {
    /// Takes `/dev/shm` if it has room for this many bytes, and says so if not.
    fn new(bytes: u64) -> Result<Self, Fault> {
        let mut fallbacks = Vec::new();
        let asked = std::env::var_os(DIRECTORY_VARIABLE).map(PathBuf::from);
        let (parent, shared) = match asked {
            Some(asked) if asked == Path::new("memfd") => {
                fallbacks.push(format!("tables lie in unnamed files ({DIRECTORY_VARIABLE})"));
                (std::env::temp_dir(), false)
            }
            Some(directory) => {
                fallbacks.push(format!("tables lie in {} on request", directory.display()));
                (directory, true)
            }
            None => {
                let tmpfs = PathBuf::from("/dev/shm");
                let free = sys::free_bytes(&tmpfs).unwrap_or(0);
                if free >= bytes {
                    (tmpfs, true)
                } else {
                    fallbacks.push(format!(
                        "/dev/shm has {} MiB free, {} MiB are needed: tables lie in unnamed files \
                         in memory (memfd), and what needs a path lies in {}",
                        free >> 20,
                        bytes >> 20,
                        std::env::temp_dir().display()
                    ));
                    (std::env::temp_dir(), false)
                }
            }
        };
        remove_stale(&parent);
        let path = parent.join(format!("{PREFIX}{}", std::process::id()));
        std::fs::create_dir(&path).map_err(Fault::io("make a directory for the tables"))?;
        Ok(Self { path, shared, fallbacks })
    }

    /// Removes the tables of the cell before.
    fn clear(&self) -> Result<(), Fault> {
        let again = || -> std::io::Result<()> {
            std::fs::remove_dir_all(&self.path)?;
            std::fs::create_dir(&self.path)
        };
        again().map_err(Fault::io("empty the directory of the tables"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing is lost if it stays: the next run removes it.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Removes what runs that were killed have left.
fn remove_stale(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
