//! What the bench and its workers tell each other: one JSON value a line, over the worker's
//! standard input and output.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::driver::{Measure, Window};
use crate::row::{RowName, Site};
use crate::scaling::Round;
use crate::workload::Workload;

/// The environment variable that makes this executable a worker; it holds a [`Job`] as JSON.
pub const WORKER_VARIABLE: &str = "SHM_BENCH_WORKER";

/// What a worker process is for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// The process that started it.
    pub parent: u32,
    /// File of the control words.
    pub control: PathBuf,
    /// File of the captured sessions.
    pub corpus: PathBuf,
    /// What is measured.
    pub row: RowName,
    /// What it is compared with, window by window.
    pub limit: RowName,
    /// The operation sequence.
    pub workload: Workload,
    /// Sessions stored at any time.
    pub entries: u64,
    /// Workers of the cell, over all processes.
    pub workers: u32,
    /// The first worker that this process runs.
    pub first_worker: u32,
    /// How many workers it runs, a thread each.
    pub own_workers: u32,
    /// Seed of the run.
    pub seed: u64,
    /// What the row is made for.
    pub site: Site,
}

/// What the bench asks of a worker process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Make the tables and fill them.
    Create,
    /// Join the tables that the first process made.
    Join(Addresses),
    /// Measure.
    Run(Run),
}

/// Where the tables of a cell are.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Addresses {
    /// The row's.
    pub row: String,
    /// The limit's.
    pub limit: String,
}

/// Who runs what, and beside whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Plan {
    /// All workers run a window of the row and one of its limit, right after each other.
    Pairs(Measure),
    /// The first worker measures single look-ups of the row and of its limit; the others write to
    /// the row all the while.
    BesideWriter,
    /// All workers run a window of the row at once, and then each one alone.
    Scaling,
}

/// What to measure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Run {
    /// How.
    pub plan: Plan,
    /// Pairs of windows, or rounds.
    pub pairs: u32,
    /// Operations of a window, the same for the row and its limit: were windows of equal time, the
    /// faster one would touch more of its table and keep more of the shared cache.
    pub operations: u64,
    /// Longest wait for another worker, in ticks.
    pub wait_ticks_max: u64,
}

/// What a worker process answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// The tables are there.
    Ready {
        /// Where.
        addresses: Addresses,
        /// Sessions stored in the row, or 0 if another process stored them.
        stored: u64,
        /// What a reader of the report should know.
        facts: Vec<String>,
    },
    /// What the workers of the process measured, in their order.
    Done(Vec<Measured>),
    /// Why it gave up.
    Failed(String),
}

/// What one worker measured.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// The pairs.
    pub pairs: Vec<WindowPair>,
    /// The rounds.
    pub rounds: Vec<Round>,
    /// Latencies of the row: value in ticks, and how often.
    pub row_latencies: Vec<(u64, u64)>,
    /// Latencies of the limit.
    pub limit_latencies: Vec<(u64, u64)>,
}

/// A window of the row and one of its limit, one right after the other.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WindowPair {
    /// The row's window.
    pub row: Window,
    /// The limit's window.
    pub limit: Window,
}
