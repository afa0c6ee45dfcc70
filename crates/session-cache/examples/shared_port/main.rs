//! Server processes on one port share one TLS session cache; a client comes back to any of them.
//!
//! Each server is a process of its own, this program executed again, and listens on the same port
//! with `SO_REUSEPORT`, so that the kernel picks a process for each connection. The client waits
//! for a reply before it leaves, and presents its session when it returns. With rustls' own cache
//! in each process it is resumed when it happens to meet the process that it met last; with the
//! shared cache, by whichever it meets.
#![forbid(unsafe_code)]

mod client;
mod identity;
mod report;
mod segment;
mod server;
mod workers;

use std::error::Error;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::identity::Identity;
use crate::report::Row;
use crate::segment::Segment;
use crate::workers::Workers;

/// What any part of this program fails with.
type Failure = Box<dyn Error + Send + Sync>;

/// Shows how many returning clients are resumed by several server processes on one port, with a
/// private session cache in each process and with one in shared memory.
#[derive(Parser, Debug)]
#[command(after_help = "Example:\n  shared_port --processes 4 --connections 400 --tls both")]
struct Arguments {
    /// Server processes on the port.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    processes: u32,

    /// Times that the client comes back after its first visit.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,

    /// Protocol version.
    #[arg(long, value_enum, default_value_t = Versions::Both)]
    tls: Versions,

    /// Table design of the shared cache.
    #[arg(long, default_value = "cas_bucket", value_parser = segment::parse_kind)]
    table: shm_table::Kind,

    /// Print an array of {tls, cache, processes, returns, resumed, rate, visits, hits, misses,
    /// stores, declined} instead of a table.
    #[arg(long)]
    json: bool,

    /// Be a server process: the parent says what to do on the standard input.
    #[arg(long, hide = true)]
    serve: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Versions {
    #[value(name = "1.2")]
    Tls12,
    #[value(name = "1.3")]
    Tls13,
    Both,
}

/// A protocol version.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Version {
    #[serde(rename = "1.2")]
    Tls12,
    #[serde(rename = "1.3")]
    Tls13,
}

impl Version {
    fn name(self) -> &'static str {
        match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
    }

    fn rustls(self) -> &'static rustls::SupportedProtocolVersion {
        match self {
            Self::Tls12 => &rustls::version::TLS12,
            Self::Tls13 => &rustls::version::TLS13,
        }
    }
}

impl Versions {
    fn each(self) -> &'static [Version] {
        match self {
            Self::Tls12 => &[Version::Tls12],
            Self::Tls13 => &[Version::Tls13],
            Self::Both => &[Version::Tls12, Version::Tls13],
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = if arguments.serve { server::serve() } else { compare(&arguments) };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("shared_port: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Visits every set-up in turn and prints what came of it.
fn compare(arguments: &Arguments) -> Result<(), Failure> {
    let versions = arguments.tls.each();
    let progress = progress_bar(2 * versions.len() as u64 * u64::from(arguments.connections + 1))?;
    let mut rows = Vec::new();
    for version in versions {
        rows.push(visit(arguments, *version, None, &progress)?);
        let segment = Segment::create(arguments.table, arguments.connections)?;
        rows.push(visit(arguments, *version, Some(&segment), &progress)?);
    }
    progress.finish_and_clear();
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        print!("{}", report::table(&rows));
    }
    Ok(())
}

/// One set-up: starts the servers, lets the client visit and come back, and stops them.
fn visit(
    arguments: &Arguments,
    version: Version,
    segment: Option<&Segment>,
    progress: &ProgressBar,
) -> Result<Row, Failure> {
    let identity = Identity::new()?;
    let workers = Workers::start(arguments.processes, version, segment, &identity)?;
    let client = Client::new(version, &identity, workers.address())?;
    progress.set_message(format!(
        "TLS {}, {} cache",
        version.name(),
        if segment.is_some() { "shared" } else { "private" }
    ));
    let visits = client.visit(arguments.connections + 1, || progress.inc(1))?;
    let served = workers.stop()?;
    Row::new(version, segment.is_some(), &visits, &served)
}

fn progress_bar(steps: u64) -> Result<ProgressBar, Failure> {
    let style = "{msg}  {bar:30}  {pos}/{len} connections, {eta} left";
    let progress = if std::io::stderr().is_terminal() {
        ProgressBar::new(steps)
    } else {
        ProgressBar::hidden()
    };
    Ok(progress.with_style(ProgressStyle::with_template(style)?))
}
