//! The comparison: our tables, their peers and the limits, over real TLS sessions, with one and two
//! processes. `-- --help` says how to choose what is run.

use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode};
use indicatif::{ProgressBar, ProgressStyle};
use shm_bench::churn::{Churn, ChurnName};
use shm_bench::fault::Fault;
use shm_bench::footprint::Footprint;
use shm_bench::machine::Machine;
use shm_bench::measurement::Measurement;
use shm_bench::report::Report;
use shm_bench::results::Record;
use shm_bench::row::RowName;
use shm_bench::session::Session;
use shm_bench::settings::{CellName, HELP, Selection, Settings};
use shm_bench::worker;

/// Entries of the tables whose memory is counted. It takes no time, so the quick set has as many.
const FOOTPRINT_ENTRIES: u64 = 100_000;

fn main() -> ExitCode {
    // Workers are this same executable; criterion must not see their arguments.
    worker::branch();
    if std::env::args().any(|argument| argument == "--help" || argument == "-h") {
        println!("{HELP}");
    }
    let settings = match Settings::from_environment() {
        Ok(settings) => settings,
        Err(fault) => {
            eprintln!("error: {fault}");
            return ExitCode::FAILURE;
        }
    };
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(settings.warm_up)
        .measurement_time(settings.measurement)
        .configure_from_args();
    let mut runner = Runner::new(settings, Selection::from_arguments(std::env::args().skip(1)));
    for cell in [runner.settings.cells(), runner.settings.duels()].concat() {
        runner.measure(&mut criterion, cell);
    }
    criterion.final_summary();
    runner.churn();
    runner.memory();
    runner.report()
}

/// Where the page and the records go: `comparison` in cargo's target folder, below which this
/// executable lies in `release/deps`.
fn output_directory() -> PathBuf {
    let executable = std::env::current_exe().unwrap_or_default();
    let target = executable.ancestors().nth(3).map_or_else(|| PathBuf::from("target"), Into::into);
    target.join("comparison")
}

struct Runner {
    settings: Settings,
    selection: Selection,
    session: Option<Rc<Session>>,
    progress: Progress,
    records: Vec<Record>,
    facts: Vec<String>,
    churns: Vec<Churn>,
    footprints: Vec<Footprint>,
    failures: Vec<String>,
}

impl Runner {
    fn new(settings: Settings, selection: Selection) -> Self {
        let cells = [settings.cells(), settings.duels()].concat().into_iter().map(CellName::id);
        let churns = settings.churns().into_iter().map(ChurnName::id);
        let count = cells.chain(churns).filter(|id| selection.includes(id)).count();
        let count = if selection.measures { count } else { 0 };
        Self {
            progress: Progress::new(count as u64),
            settings,
            selection,
            session: None,
            records: Vec::new(),
            facts: Vec::new(),
            churns: Vec::new(),
            footprints: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Runs a cell under criterion, unless its filter leaves the cell out.
    fn measure(&mut self, criterion: &mut Criterion, name: CellName) {
        let mut open: Option<Result<Measurement, Fault>> = None;
        let mut group = criterion.benchmark_group(name.workload.name());
        group.sampling_mode(SamplingMode::Flat);
        let (table, processes) = name.function();
        group.bench_function(BenchmarkId::new(table, processes), |bencher| {
            // Starting the workers and filling the tables is no part of what criterion times.
            let cell = open.get_or_insert_with(|| self.session()?.open(name));
            bencher.iter_custom(|iterations| {
                let answer = match cell {
                    Ok(measurement) => measurement.operations(iterations),
                    Err(_) => return pause(),
                };
                answer.unwrap_or_else(|fault| {
                    *cell = Err(fault);
                    pause()
                })
            });
        });
        group.finish();
        let Some(cell) = open else { return };
        if self.selection.measures {
            self.finish(name, cell);
        } else if let Err(fault) = cell {
            self.fail(&name.id(), &fault);
        }
    }

    fn finish(&mut self, name: CellName, cell: Result<Measurement, Fault>) {
        let record = cell.and_then(|measurement| {
            self.facts.extend_from_slice(measurement.facts());
            measurement.finish()
        });
        match record {
            Ok(record) => self.records.extend(record),
            Err(fault) => self.fail(&name.id(), &fault),
        }
        self.progress.step(&name.id());
    }

    fn fail(&mut self, what: &str, fault: &Fault) {
        eprintln!("error: {what}: {fault}");
        self.failures.push(format!("{what}: {fault}"));
    }

    fn session(&mut self) -> Result<Rc<Session>, Fault> {
        if let Some(session) = &self.session {
            return Ok(Rc::clone(session));
        }
        let session = Rc::new(Session::start(self.settings.clone())?);
        self.facts.extend_from_slice(session.fallbacks());
        Ok(Rc::clone(self.session.insert(session)))
    }

    /// Stores and gives up generations of sessions: every call is checked, so a miss or a failed
    /// store is a failure of the run.
    fn churn(&mut self) {
        for name in self.settings.churns() {
            let id = name.id();
            if !self.selection.measures || !self.selection.includes(&id) {
                continue;
            }
            let session = self.session();
            let churn = |session: Rc<Session>| session.open_churn(name)?.churn(name.fill);
            match session.and_then(churn) {
                Ok(churn) => self.churns.push(churn),
                Err(fault) => self.fail(&id, &fault),
            }
            self.progress.step(&id);
        }
    }

    /// Counts what entries cost in memory.
    fn memory(&mut self) {
        for table in RowName::OURS {
            let id = format!("memory/{}", table.name());
            if !self.selection.measures || !self.selection.includes(&id) {
                continue;
            }
            match Footprint::measure(table, FOOTPRINT_ENTRIES) {
                Ok(footprint) => self.footprints.push(footprint),
                Err(fault) => self.fail(&id, &fault),
            }
        }
    }

    fn report(mut self) -> ExitCode {
        let is_empty =
            self.records.is_empty() && self.churns.is_empty() && self.footprints.is_empty();
        if self.selection.measures && !is_empty {
            self.facts.sort();
            self.facts.dedup();
            let report = Report {
                records: std::mem::take(&mut self.records),
                machine: Machine::here(),
                facts: std::mem::take(&mut self.facts),
                churns: std::mem::take(&mut self.churns),
                footprints: std::mem::take(&mut self.footprints),
                copy_kind: self.session.as_ref().map_or("words", |it| it.copy_kind()).to_owned(),
                failures: self.failures.clone(),
                quick: self.settings.quick,
            };
            println!("{}", report.text());
            match report.write(&output_directory()) {
                Ok(page) => println!("page: {}", page.canonicalize().unwrap_or(page).display()),
                Err(error) => self.failures.push(format!("write the report: {error}")),
            }
        }
        for failure in &self.failures {
            eprintln!("error: {failure}");
        }
        if self.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// What criterion is told of a cell that failed: it has no way to leave one out, and must not ask
/// for ever more.
fn pause() -> Duration {
    std::thread::sleep(Duration::from_millis(20));
    Duration::from_millis(20)
}

/// How far the run is: a bar on a terminal, a line a cell elsewhere.
struct Progress {
    bar: ProgressBar,
}

impl Progress {
    fn new(cells: u64) -> Self {
        let style = ProgressStyle::with_template(
            "{bar:30} cell {pos} of {len}, {elapsed} gone, about {eta} left",
        );
        let bar = ProgressBar::new(cells)
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar }
    }

    fn step(&self, id: &str) {
        self.bar.inc(1);
        if self.bar.is_hidden() {
            let (done, all) = (self.bar.position(), self.bar.length().unwrap_or(0));
            let left = self.bar.eta().as_secs();
            eprintln!("{id} done: cell {done} of {all}, about {left} s left");
        }
    }
}
