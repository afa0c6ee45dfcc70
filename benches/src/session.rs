//! A run: the captured sessions, the place for the tables, and one cell after the other.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use shm_arena::{MappedMemory, MappingOptions};

use crate::capture::capture;
use crate::cell::Cell;
use crate::clock::{ClockRate, overhead_ticks};
use crate::control::CONTROL_WORDS;
use crate::corpus::Corpus;
use crate::driver::Measure;
use crate::fault::Fault;
use crate::pairs::{PAIRS_MIN, Tally};
use crate::protocol::{Job, Run};
use crate::results::{Record, Subject};
use crate::row::Site;
use crate::settings::{CellName, DIRECTORY_VARIABLE, Settings};
use crate::sys;

/// What all cells of a run share.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    corpus: Corpus,
    corpus_file: File,
    scratch: Scratch,
    rate: ClockRate,
    overhead_ticks: u64,
}

/// Longest wait of a worker for another, in nanoseconds.
const WAIT_NS_MAX: f64 = 10e9;

/// Time beyond twenty times the planned one after which a silent worker counts as hung.
const RUN_TIME_SLACK: Duration = Duration::from_secs(20);

/// Pairs of windows of one request at most: about half a second.
const PAIRS_OF_A_RUN_MAX: u32 = 1200;

impl Session {
    /// Captures sessions, measures the clock and finds a place for the tables.
    pub fn start(settings: Settings) -> Result<Self, Fault> {
        let corpus = capture()?;
        let corpus_file = sys::memory_file(0).map_err(Fault::io("make a file in memory"))?;
        std::fs::write(sys::address_of(&corpus_file), corpus.to_bytes())
            .map_err(Fault::io("write the captured sessions"))?;
        let longest = corpus.longest();
        let bytes = settings.entries * (longest as u64 + 256) * 5;
        Ok(Self {
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

    /// Starts the workers of a cell and fills its tables.
    pub fn open(self: &Rc<Self>, name: CellName) -> Result<Measurement, Fault> {
        let (job, control) = self.job(name)?;
        Ok(Measurement {
            session: Rc::clone(self),
            name,
            value_bytes: job.site.value_bytes,
            cell: Cell::start(&job)?,
            tally: Tally::new(self.rate),
            operations_of_a_window: 64.0,
            _control: control,
        })
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
        let value_bytes = self.corpus.mean_bytes(sizes, is_tls13);
        let job = Job {
            parent: std::process::id(),
            control: control_path,
            corpus: sys::address_of(&self.corpus_file),
            row: name.table,
            limit: name.limit(),
            workload: name.workload,
            entries: self.settings.entries,
            workers: name.processes,
            first_worker: 0,
            own_workers: 1,
            seed: self.settings.seed,
            site: Site {
                role: String::new(),
                // The population fluctuates by blocks of resumptions that are not due yet.
                entries: self.settings.entries + self.settings.entries / 10,
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
    value_bytes: u64,
    cell: Cell,
    tally: Tally,
    operations_of_a_window: f64,
    // The workers reach the control words through this process's descriptor.
    _control: MappedMemory,
}

impl Measurement {
    /// Runs about this many operations of the row, in pairs of windows with its limit; gives how
    /// long the row takes for exactly so many.
    pub fn operations(&mut self, count: u64) -> Result<Duration, Fault> {
        let pairs = (count as f64 / self.operations_of_a_window).ceil();
        let pairs = pairs.clamp(1.0, f64::from(PAIRS_OF_A_RUN_MAX));
        let ns = self.pairs(whole(pairs))?;
        Ok(Duration::from_secs_f64(ns * count as f64 / 1e9))
    }

    /// Runs pairs of windows; gives the median time of an operation of the row.
    fn pairs(&mut self, pairs: u32) -> Result<f64, Fault> {
        let measured = self.run(Measure::Throughput, pairs)?;
        let new = self.tally.add_throughput(&measured);
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

    fn run(
        &mut self,
        measure: Measure,
        pairs: u32,
    ) -> Result<Vec<crate::protocol::Measured>, Fault> {
        let session = &self.session;
        let run = Run {
            measure,
            pairs,
            operations: whole(self.operations_of_a_window).into(),
            wait_ticks_max: session.rate.ticks(WAIT_NS_MAX),
        };
        let planned =
            Duration::from_secs_f64(f64::from(pairs) * 2.0 * session.settings.window_ns / 1e9);
        self.cell.run(&run, planned * 20 + RUN_TIME_SLACK)
    }

    /// Adds pairs until enough count, then measures single operations; gives the record.
    pub fn finish(mut self) -> Result<Option<Record>, Fault> {
        let start = Instant::now();
        while self.tally.kept().count() < PAIRS_MIN
            && start.elapsed() < self.session.settings.measurement
        {
            self.pairs(20)?;
        }
        self.latencies(self.session.settings.latency)?;
        Ok(self.record())
    }

    fn latencies(&mut self, duration: Duration) -> Result<(), Fault> {
        let start = Instant::now();
        while start.elapsed() < duration {
            let measured = self.run(Measure::Latency, 100)?;
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
        Record::new(&subject, &self.tally, self.session.rate, self.session.overhead_ticks)
    }

    /// Runs until this many sessions have been stored, and as many given up; says how many. Every
    /// take and eviction has to find its session and every store to succeed, or this fails.
    pub fn churn(mut self, sessions: u64) -> Result<String, Fault> {
        while self.tally.totals().puts < sessions {
            self.pairs(200)?;
        }
        let totals = self.tally.totals();
        Ok(format!(
            "{} sessions stored and as many taken or given up, {} at a time: no miss among {} \
             takes and {} evictions, no failed store",
            totals.puts,
            self.cell.stored(),
            totals.hits,
            totals.calls - totals.operations,
        ))
    }

    /// What the row says about itself.
    pub fn facts(&self) -> &[String] {
        self.cell.facts()
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
