//! Runs scenarios on the shipped tables under every engine and reports what was explored.
#![forbid(unsafe_code)]

mod weaken;

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use shm_table::Kind;
use shm_verification::scenario::Scenario;
use shm_verification::suite::pins::Pins;
use shm_verification::suite::plan::{Part, Tier, part};
use shm_verification::suite::replay::ReplayPoint;
use shm_verification::suite::{
    Bound, Check, EngineKind, Losses, Report, Victim, run_litmus, run_within, table_from_name,
};

/// Checks the shipped tables under loom, shuttle and a weak-memory machine, with kills.
///
/// Prints one line for each (table, scenario, engine, bound) with its executions and their rate;
/// the last line is "N passed, M failed". Build with --release: unoptimised engines are slow.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  \
        verify quick --json report.json\n  \
        verify quick --table cas_bucket --engine view\n  \
        verify deep --part enumerated --minutes 30\n  \
        verify scenario 'put a : take a | take a, insert a' --engine loom --preemptions 2\n  \
        verify scenario 'insert a | insert a' --engine view --kill 1\n  \
        verify weaken --only exchange_header --again\n  \
        verify replay 'cas_bucket; put a : take a | take a; p2; loom/1/53'"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What every test run runs: under five minutes on two cores.
    Quick(Planned),
    /// Larger bounds, more scenarios and more draws: an hour and more.
    Deep(Planned),
    /// Every litmus shape on every engine, against the verdicts on record.
    Litmus {
        /// Writes the report as JSON.
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// One scenario.
    Scenario(One),
    /// Every ordering of the shipped code one step weaker: the models on record fail, or a search
    /// for one that does.
    Weaken(weaken::Weaken),
    /// One execution again, as a failure names it.
    Replay {
        /// `table; scenario; bound; engine/seed/execution`.
        point: String,
    },
}

#[derive(Args)]
struct Planned {
    /// Only this table: chained, cas_bucket or robin_hood.
    #[arg(long, value_parser = table_from_name)]
    table: Option<Kind>,
    /// Only this engine: loom, depth-first, view, shuttle-random or shuttle-pct3.
    #[arg(long)]
    engine: Option<EngineKind>,
    /// Only this part: enumerated, drawn, catalogue, kills, generated-kills, resizing or workloads.
    #[arg(long)]
    part: Option<Part>,
    /// Starts no further check after so many minutes; the report says how many were left out.
    #[arg(long)]
    minutes: Option<u64>,
    /// Checks that run side by side; default: one for each core.
    #[arg(long)]
    jobs: Option<usize>,
    /// Writes the report as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Writes what was explored exhaustively into verification/pins.toml.
    #[arg(long)]
    write_pins: bool,
}

#[derive(Args)]
struct One {
    /// The scenario, such as 'put a : take a | take a, insert a'.
    text: Scenario,
    /// Only this table; default: each.
    #[arg(long, value_parser = table_from_name)]
    table: Option<Kind>,
    /// Only this engine; default: each.
    #[arg(long)]
    engine: Option<EngineKind>,
    /// Preemptions in one execution, for engines that enumerate; default: all.
    #[arg(long)]
    preemptions: Option<u32>,
    /// Executions at most, of each kill point where there are kills.
    #[arg(long, default_value_t = 20_000)]
    executions: u64,
    /// Seed, for engines that draw.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Kills this participant before each of its shared accesses in turn.
    #[arg(long)]
    kill: Option<u32>,
    /// Stores that are lost with it, a mask in hexadecimal: bit i is the i-th since the
    /// last release. Or the word subsets: one after the other.
    #[arg(long, value_parser = losses, default_value = "0", requires = "kill")]
    lost: Losses,
    /// Writes the report as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn losses(text: &str) -> Result<Losses, String> {
    if text == "subsets" {
        return Ok(Losses::Subsets);
    }
    let mask = u64::from_str_radix(text, 16);
    mask.map(Losses::Mask).map_err(|error| format!("{error}; expected subsets or hexadecimal"))
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Quick(planned) => run_plan(Tier::Quick, &planned),
        Command::Deep(planned) => run_plan(Tier::Deep, &planned),
        Command::Litmus { json } => {
            let report = run_litmus(|row| println!("{row}"));
            finish(&report, json.as_deref())
        }
        Command::Scenario(one) => run_one(&one),
        Command::Weaken(weaken) => weaken.run(cores()),
        Command::Replay { point } => run_replay(&point),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("verify: {problem}");
            ExitCode::from(2)
        }
    }
}

/// Whether everything passed, or why it could not be run.
type Passed = Result<bool, String>;

fn run_plan(tier: Tier, planned: &Planned) -> Passed {
    let tables = planned.table.map_or_else(|| Kind::ALL.to_vec(), |table| vec![table]);
    let parts = planned.part.map_or_else(|| Part::ALL.to_vec(), |part| vec![part]);
    let of = |table: &Kind| parts.iter().flat_map(|of| part(tier, *of, *table)).collect::<Vec<_>>();
    let mut checks: Vec<Check> = tables.iter().flat_map(of).collect();
    checks.retain(|check| planned.engine.is_none_or(|engine| check.engine == engine));
    if checks.is_empty() {
        return Err("no check is left: this tier has none for that engine".to_owned());
    }
    let path = Pins::default_path();
    let mut pins = read_pins(&path)?;
    let time = planned.minutes.map(|minutes| Duration::from_secs(60 * minutes));
    // What is pinned anew may have fallen.
    let compared = if planned.write_pins { &Pins::default() } else { &pins };
    let report = run_with_progress(checks, planned.jobs, compared, time)?;
    if planned.write_pins {
        for row in &report.rows {
            pins.set(row);
        }
        pins.write(&path).map_err(|error| error.to_string())?;
        println!("pinned in {}", path.display());
    }
    finish(&report, planned.json.as_deref())
}

fn run_one(one: &One) -> Passed {
    let programs = one.text.programs.len();
    if let Some(participant) = one.kill
        && (participant == 0 || participant as usize > programs)
    {
        return Err(format!("--kill {participant}: the scenario has participants 1 to {programs}"));
    }
    if one.kill.is_some() && one.text.kill.is_some() {
        return Err("--kill and a kill in the scenario: choose one".to_owned());
    }
    let tables = one.table.map_or_else(|| Kind::ALL.to_vec(), |table| vec![table]);
    let engines = one.engine.map_or_else(|| EngineKind::ALL.to_vec(), |engine| vec![engine]);
    let victim = one.kill.map(|participant| Victim { participant, losses: one.lost });
    let bound = Bound { preemptions: one.preemptions, executions: one.executions, seed: one.seed };
    let checks = tables
        .iter()
        .flat_map(|table| {
            engines.iter().map(|engine| Check {
                table: *table,
                scenario: one.text.clone(),
                victim,
                engine: *engine,
                bound,
            })
        })
        .collect();
    let report = run_with_progress(checks, None, &Pins::default(), None)?;
    finish(&report, one.json.as_deref())
}

fn run_replay(point: &str) -> Passed {
    let point: ReplayPoint = point.parse()?;
    let (outcome, story) = point.run();
    if let Some(story) = story {
        println!("{story}");
    }
    println!("{outcome}");
    let failed = outcome.failure.is_some();
    println!("{} passed, {} failed", usize::from(!failed), usize::from(failed));
    Ok(!failed)
}

fn read_pins(path: &Path) -> Result<Pins, String> {
    Pins::read(path).map_err(|error| error.to_string())
}

fn run_with_progress(
    checks: Vec<Check>,
    jobs: Option<usize>,
    pins: &Pins,
    time: Option<Duration>,
) -> Result<Report, String> {
    let jobs = match jobs {
        Some(0) => return Err("--jobs 0: at least 1".to_owned()),
        Some(jobs) => jobs,
        None => cores(),
    };
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} checks, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(checks.len() as u64).with_style(style);
    let report = run_within(checks, jobs, pins, time, |row| {
        // Lines go to standard output whether or not there is a terminal for the bar.
        bar.suspend(|| println!("{row}"));
        bar.inc(1);
    });
    bar.finish_and_clear();
    Ok(report)
}

fn finish(report: &Report, json: Option<&Path>) -> Passed {
    if let Some(path) = json {
        let problem = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let file = File::create(path).map_err(|error| problem(&error))?;
        serde_json::to_writer_pretty(BufWriter::new(file), report)
            .map_err(|error| problem(&error))?;
    }
    let failed: Vec<_> = report.rows.iter().filter(|row| !row.passed()).collect();
    for row in failed {
        println!("{row}");
    }
    println!("{report}");
    Ok(report.failed == 0)
}
