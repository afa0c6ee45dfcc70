//! A run: the captured sessions, the place for the tables, and what the workers of a cell are told.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use shm_arena::{MappedMemory, MappingOptions};

use crate::capture::capture;
use crate::churn::ChurnName;
use crate::clock::{ClockRate, overhead_ticks};
use crate::control::CONTROL_WORDS;
use crate::corpus::Corpus;
use crate::fault::Fault;
use crate::machine;
use crate::measurement::Measurement;
use crate::protocol::Job;
use crate::row::Site;
use crate::settings::{CellName, DIRECTORY_VARIABLE, Settings};
use crate::sys;
use crate::workload::Workload;

/// What all cells of a run share.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    corpus: Corpus,
    corpus_file: File,
    scratch: Scratch,
    rate: ClockRate,
    overhead_ticks: f64,
    copy_kind: &'static str,
}

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

    /// What reading the clock costs, in ticks.
    pub const fn overhead_ticks(&self) -> f64 {
        self.overhead_ticks
    }

    /// How values are copied on this machine: `avx512`, `avx2`, …
    pub const fn copy_kind(&self) -> &'static str {
        self.copy_kind
    }

    /// Starts the workers of a cell and fills its tables.
    pub fn open(self: &Rc<Self>, name: CellName) -> Result<Measurement, Fault> {
        let (job, control) = self.job(name)?;
        Measurement::start(Rc::clone(self), name, job, control)
    }

    /// Starts the workers of a churn in a table that stays so full.
    pub fn open_churn(self: &Rc<Self>, churn: ChurnName) -> Result<Measurement, Fault> {
        let ChurnName { table, processes, fill } = churn;
        let name = CellName { table, processes, ..CellName::of(Workload::RustlsTls13) };
        let (mut job, control) = self.job(name)?;
        job.entries = self.settings.churn_entries;
        job.site.entries = fill.capacity(job.entries);
        Measurement::start(Rc::clone(self), name, job, control)
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
