//! The comparison: our tables, their peers and the limits, over real TLS sessions, with one and two
//! processes. `-- --help` says how to choose what is run.

use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode};
use shm_bench::fault::Fault;
use shm_bench::results::Record;
use shm_bench::session::{Measurement, Session};
use shm_bench::settings::{CellName, HELP, Settings};
use shm_bench::worker;

fn main() -> ExitCode {
    // Workers are this same executable; criterion must not see their arguments.
    worker::branch();
    if std::env::args().any(|argument| argument == "--help" || argument == "-h") {
        println!("{HELP}");
    }
    let settings = Settings::from_environment();
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(settings.warm_up)
        .measurement_time(settings.measurement)
        .configure_from_args();
    let mut run = Runner { settings, session: None, records: Vec::new(), faults: Vec::new() };
    for cell in run.settings.cells() {
        run.measure(&mut criterion, cell);
    }
    criterion.final_summary();
    for record in &run.records {
        println!("{record:?}");
    }
    if run.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Runner {
    settings: Settings,
    session: Option<Rc<Session>>,
    records: Vec<Record>,
    faults: Vec<(CellName, Fault)>,
}

impl Runner {
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
        match open.map(|cell| cell.and_then(Measurement::finish)) {
            None | Some(Ok(None)) => {}
            Some(Ok(Some(record))) => self.records.push(record),
            Some(Err(fault)) => {
                eprintln!("{}: {fault}", name.id());
                self.faults.push((name, fault));
            }
        }
    }

    fn session(&mut self) -> Result<Rc<Session>, Fault> {
        if let Some(session) = &self.session {
            return Ok(Rc::clone(session));
        }
        let session = Rc::new(Session::start(self.settings.clone())?);
        Ok(Rc::clone(self.session.insert(session)))
    }
}

/// What criterion is told of a cell that failed: it has no way to leave one out, and must not ask
/// for ever more.
fn pause() -> Duration {
    std::thread::sleep(Duration::from_millis(20));
    Duration::from_millis(20)
}
