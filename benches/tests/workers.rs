//! Worker processes: every row with one and two of them, and workers that die or stop.
//!
//! The executable starts itself as a worker, which libtest's `main` would not let it do; hence one
//! of its own. `cargo test -p shm-bench --test workers -- <part of a name>` chooses.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use shm_bench::cell::Cell;
use shm_bench::churn::{ChurnName, Fill};
use shm_bench::driver::Measure;
use shm_bench::fault::Fault;
use shm_bench::pairs::Tally;
use shm_bench::protocol::{Plan, Run};
use shm_bench::row::RowName;
use shm_bench::session::Session;
use shm_bench::settings::{CellName, DIRECTORY_VARIABLE, Settings};
use shm_bench::worker;
use shm_bench::workload::Workload;

/// Makes this executable a bench that starts a cell and then does nothing, to be killed.
const PARENT_VARIABLE: &str = "SHM_BENCH_TEST_PARENT";

fn main() -> ExitCode {
    worker::branch();
    if std::env::var_os(PARENT_VARIABLE).is_some() {
        be_a_parent();
    }
    let filter: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let checks: [(&str, fn()); 6] = [
        ("every_row_runs_every_workload_with_one_and_two_workers", every_row_runs),
        ("our_tables_churn_at_half_and_at_nine_tenths", our_tables_churn),
        ("tables_work_in_unnamed_files", tables_work_in_unnamed_files),
        ("a_killed_worker_is_an_error_at_once", a_killed_worker_is_an_error),
        ("a_stopped_worker_is_an_error_within_the_limit", a_stopped_worker_is_an_error),
        ("workers_die_with_the_bench", workers_die_with_the_bench),
    ];
    for (name, check) in checks {
        if filter.iter().all(|part| name.contains(part.as_str())) {
            check();
            println!("test {name} ... ok");
        }
    }
    ExitCode::SUCCESS
}

fn session() -> Rc<Session> {
    let settings = Settings {
        entries: 2000,
        latency: Duration::from_millis(5),
        measurement: Duration::from_millis(50),
        placements: 2,
        placements_of_most_goals: 3,
        ..Settings::quick()
    };
    Rc::new(Session::start(settings).expect("a session starts"))
}

fn cell(workload: Workload, table: RowName, processes: u32) -> CellName {
    CellName { table, processes, ..CellName::of(workload) }
}

/// A run that goes on for long if nobody stops it.
fn long_run(session: &Session, wait_ns_max: f64) -> Run {
    Run {
        plan: Plan::Pairs(Measure::Throughput),
        pairs: 1_000_000,
        operations: 1000,
        wait_ticks_max: session.rate().ticks(wait_ns_max),
    }
}

fn every_row_runs() {
    let session = session();
    let settings = Settings { workloads: Workload::ALL.to_vec(), ..session.settings().clone() };
    let cells = [settings.cells(), settings.duels()].concat();
    let mut complete = 0;
    for &name in &cells {
        let record = session
            .open(name)
            .and_then(|mut cell| cell.operations(5_000).and_then(|_| cell.finish()))
            .unwrap_or_else(|fault| panic!("{}: {fault}", name.id()))
            .expect("something was measured");
        assert_eq!((record.table, record.processes), (name.table, name.processes));
        assert_eq!(record.limit, name.limit());
        // Some of a few pairs may be dropped on a machine that does other things.
        let planned = settings.placements(name);
        assert!((1..=planned).contains(&record.placements), "{record:?}");
        complete += usize::from(record.placements == planned);
        assert!(record.ns_per_op > 1.0 && record.p50_ns <= record.p99_ns, "{record:?}");
        let entries = name.workload.entries(2000);
        assert!(record.entries.abs_diff(entries) < 300, "{record:?}");
        assert_eq!(record.scaling.is_some(), name.scales(), "{record:?}");
        assert_eq!(record.tail.is_some(), name.workload.has_writer(), "{record:?}");
        assert!(!name.workload.has_writer() || record.puts > 0, "nobody wrote: {record:?}");
        let hits = record.hit_ratio.expect("every workload looks up");
        let expected = match name.workload {
            Workload::OpensslTls12 => 0.87..0.95,
            Workload::OpensslTls12R60 => 0.55..0.70,
            _ => 1.0..1.1,
        };
        assert!(expected.contains(&hits), "{}: {hits}", name.id());
    }
    assert!(complete * 2 > cells.len(), "{complete} of {} cells have all placements", cells.len());
}

fn our_tables_churn() {
    let settings =
        Settings { churn_entries: 1000, generations: 20, ..session().settings().clone() };
    let session = Rc::new(Session::start(settings).expect("a session starts"));
    for table in RowName::OURS {
        for processes in [1, 2] {
            for fill in Fill::ALL {
                let name = ChurnName { table, processes, fill };
                let cell = session.open_churn(name).expect("it opens");
                let churn = cell.churn(fill).unwrap_or_else(|fault| panic!("{table:?}: {fault}"));
                assert_eq!((churn.table, churn.processes), (table, processes));
                assert!(churn.sessions >= 20_000 && churn.takes > 5000, "{churn:?}");
                let full = churn.entries as f64 / churn.capacity as f64;
                let expected = if fill == Fill::Half { 0.45..0.55 } else { 0.85..0.97 };
                assert!(expected.contains(&full), "{churn:?}");
            }
        }
    }
}

fn tables_work_in_unnamed_files() {
    // This check runs in a process of its own, since the place is an environment variable.
    let executable = std::env::current_exe().expect("this executable");
    if std::env::var_os(DIRECTORY_VARIABLE).is_none() {
        let status = Command::new(executable)
            .arg("tables_work_in_unnamed_files")
            .env(DIRECTORY_VARIABLE, "memfd")
            .stdout(Stdio::null())
            .status()
            .expect("it starts");
        assert!(status.success(), "{status}");
        return;
    }
    let session = session();
    assert_eq!(session.fallbacks().len(), 1, "{:?}", session.fallbacks());
    for &table in RowName::ALL.iter().filter(|&&table| table != RowName::LimitProbe) {
        let mut cell = session.open(cell(Workload::Read, table, 2)).expect("it opens");
        cell.operations(5_000).expect("it runs");
    }
}

fn a_killed_worker_is_an_error() {
    let session = session();
    for index in [0, 1] {
        let (job, _control) =
            session.job(cell(Workload::RustlsTls13, RowName::CasBucket, 2)).expect("a job");
        let mut cell = Cell::start(&job).expect("it starts");
        let victim = cell.process_ids()[index];
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            signal("KILL", victim);
        });
        let start = Instant::now();
        let fault = cell.run(&long_run(&session, 1e9), Duration::from_secs(60)).unwrap_err();
        assert!(matches!(fault, Fault::Worker { .. }), "{fault}");
        assert!(start.elapsed() < Duration::from_secs(20), "after {:?}", start.elapsed());
        killer.join().expect("it was killed");
    }
}

fn a_stopped_worker_is_an_error() {
    let session = session();
    let (job, _control) = session.job(cell(Workload::Read, RowName::CasBucket, 2)).expect("a job");
    let mut cell = Cell::start(&job).expect("it starts");
    signal("STOP", cell.process_ids()[1]);
    let start = Instant::now();
    let fault = cell.run(&long_run(&session, 0.5e9), Duration::from_secs(3)).unwrap_err();
    assert!(matches!(fault, Fault::Worker { .. }), "{fault}");
    assert!(start.elapsed() < Duration::from_secs(20), "after {:?}", start.elapsed());
    drop(cell);
    // A healthy cell is not called hung.
    let mut cell =
        session.open(self::cell(Workload::Read, RowName::CasBucket, 2)).expect("it opens");
    cell.operations(1000).expect("it runs");
    assert!(Tally::new(session.rate()).verdict().is_none());
}

fn be_a_parent() -> ! {
    let session = session();
    let (job, _control) = session.job(cell(Workload::Read, RowName::MutexSlab, 2)).expect("a job");
    let cell = Cell::start(&job).expect("it starts");
    let ids: Vec<String> = cell.process_ids().iter().map(u32::to_string).collect();
    println!("{}", ids.join(" "));
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}

fn workers_die_with_the_bench() {
    use std::io::{BufRead, BufReader};
    let executable = std::env::current_exe().expect("this executable");
    let mut parent = Command::new(executable)
        .env(PARENT_VARIABLE, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let out = parent.stdout.take().expect("it was piped");
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line).expect("it tells its workers");
    let workers: Vec<u32> = line.split_whitespace().filter_map(|id| id.parse().ok()).collect();
    assert_eq!(workers.len(), 2, "{line:?}");
    assert!(workers.iter().all(|&worker| is_running(worker)));
    parent.kill().expect("it can be killed");
    parent.wait().expect("it ends");
    let start = Instant::now();
    while workers.iter().any(|&worker| is_running(worker)) {
        assert!(start.elapsed() < Duration::from_secs(5), "workers {workers:?} live on");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process exists and has not ended; one that waits to be reaped has.
fn is_running(process: u32) -> bool {
    let status = std::fs::read_to_string(Path::new(&format!("/proc/{process}/status")));
    status.is_ok_and(|status| !status.contains("State:\tZ"))
}

fn signal(name: &str, process: u32) {
    let status = Command::new("kill")
        .args([format!("-{name}"), process.to_string()])
        .status()
        .expect("kill is there");
    assert!(status.success());
}
