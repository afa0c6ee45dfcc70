//! What checks gave, for people and programs.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::pins::Pins;
use super::replay::ReplayPoint;
use super::{Check, Total};
use crate::engine::Outcome;
use crate::litmus::Shape;

/// What one check gave.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Name of the table.
    pub table: String,
    /// Text of the scenario.
    pub scenario: String,
    /// Name of the engine.
    pub engine: String,
    /// The bound: `p2`, `all` or `n500`.
    pub bound: String,
    /// Executions, over all kill points.
    pub executions: u64,
    /// Executions in which somebody was killed.
    pub kills: u64,
    /// Executions per second.
    pub executions_per_second: f64,
    /// Time it took, in seconds.
    pub elapsed_s: f64,
    /// Whether everything within the bound was explored.
    pub complete: bool,
    /// `complete`, or what ended the exploration.
    pub coverage: String,
    /// Executions when they were last pinned.
    pub pinned: Option<u64>,
    /// What is wrong, in one paragraph.
    pub failure: Option<String>,
    /// How to have the failing execution again.
    pub replay: Option<String>,
    /// What is worth a look and no failure.
    pub note: Option<String>,
    #[serde(skip)]
    check: Option<Check>,
}

impl Row {
    pub(super) fn new(check: &Check, total: Total, elapsed: Duration) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a rate needs three digits")]
        let executions = total.executions as f64;
        let elapsed_s = elapsed.as_secs_f64();
        let (failure, replay) = match total.failure {
            None => (None, None),
            Some((scenario, failure)) => {
                let point = ReplayPoint {
                    table: check.table,
                    scenario,
                    preemptions: check.bound.preemptions,
                    engine: check.engine,
                    seed: failure.replay.seed,
                    execution: failure.replay.execution,
                };
                let message = format!("{}: {}", failure.kind, failure.message);
                (Some(message), Some(point.to_string()))
            }
        };
        Self {
            table: check.table.name().to_owned(),
            scenario: check.scenario_name(),
            engine: check.engine.name().to_owned(),
            bound: check.bound_name(),
            executions: total.executions,
            kills: total.kills,
            executions_per_second: executions / elapsed_s.max(1e-9),
            elapsed_s,
            complete: total.complete && failure.is_none(),
            coverage: total.coverage,
            pinned: None,
            failure,
            replay,
            note: None,
            check: Some(check.clone()),
        }
    }

    /// The row of a litmus shape on one engine of the litmus table: it fails where the verdict is
    /// not the one on record.
    pub(super) fn of_shape(shape: &Shape, index: usize, engine: &str) -> Self {
        let on_record = shape.verdicts[index];
        let (outcome, failure) = match shape.verdict(index) {
            Ok((verdict, outcome)) => {
                let differs = verdict != on_record;
                let problem = format!("the outcome is {verdict:?}, on record is {on_record:?}");
                (Some(outcome), differs.then_some(problem))
            }
            Err(problem) => (None, Some(problem)),
        };
        Self {
            table: "litmus".to_owned(),
            scenario: shape.name.to_owned(),
            engine: engine.to_owned(),
            bound: "all".to_owned(),
            executions: outcome.as_ref().map_or(0, |outcome| outcome.executions),
            kills: 0,
            executions_per_second: outcome.as_ref().map_or(0.0, Outcome::rate),
            elapsed_s: outcome.as_ref().map_or(0.0, |outcome| outcome.elapsed.as_secs_f64()),
            complete: outcome.as_ref().is_some_and(Outcome::is_complete),
            coverage: format!("{on_record:?}"),
            pinned: None,
            failure,
            replay: None,
            note: None,
            check: None,
        }
    }

    /// The row of a check that ended in a panic of its runner.
    pub(super) fn panicked(check: &Check) -> Self {
        let mut row = Self::new(check, Total::new(), Duration::ZERO);
        row.complete = false;
        row.coverage = "stopped by a panic of the runner".to_owned();
        row.failure = Some("the runner panicked: see standard error".to_owned());
        row
    }

    /// Compares with the pin: fewer executions fail.
    pub(super) fn compare(&mut self, pins: &Pins) {
        let Some(check) = &self.check else { return };
        self.pinned = pins.get(check);
        if self.failure.is_some() {
            return;
        }
        match self.pinned {
            Some(pinned) if !self.complete => {
                self.failure = Some(format!(
                    "no longer explored to its bound ({}; pinned: {pinned} executions)",
                    self.coverage
                ));
            }
            Some(pinned) if self.executions < pinned => {
                self.failure = Some(format!(
                    "{} executions, {pinned} when they were pinned: coverage fell",
                    self.executions
                ));
            }
            Some(pinned) if self.executions > pinned => {
                self.note = Some(format!("{pinned} executions when they were pinned"));
            }
            None if self.complete => self.note = Some("not pinned".to_owned()),
            _ => {}
        }
    }

    /// Whether nothing is wrong.
    pub const fn passed(&self) -> bool {
        self.failure.is_none()
    }
}

/// Letters of a scenario that a line shows; the JSON report and replays have all of them.
const SCENARIO_LETTERS_MAX: usize = 100;

/// The text, cut where it is too long for a line.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(SCENARIO_LETTERS_MAX) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text.to_owned(),
    }
}

impl fmt::Display for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:<10} {:<14} {:<6} {:>9} executions {:>7.0}/s  {}",
            self.table,
            self.engine,
            self.bound,
            self.executions,
            self.executions_per_second,
            shortened(&self.scenario),
        )?;
        if self.kills > 0 {
            write!(formatter, "  ({} killed)", self.kills)?;
        }
        write!(formatter, "  {}", self.coverage)?;
        if let Some(note) = &self.note {
            write!(formatter, "  [{note}]")?;
        }
        if let Some(failure) = &self.failure {
            write!(formatter, "\n  FAILED: {failure}")?;
        }
        if let Some(replay) = &self.replay {
            write!(formatter, "\n  replay: verify replay '{replay}'")?;
        }
        Ok(())
    }
}

/// What a run of checks gave.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// One row for each check, in the order in which they ended.
    pub rows: Vec<Row>,
    /// Checks in which nothing is wrong.
    pub passed: usize,
    /// The others.
    pub failed: usize,
    /// Checks that were not started, for want of time.
    pub left: usize,
    /// Executions of all checks.
    pub executions: u64,
    /// Time it took, in seconds.
    pub elapsed_s: f64,
}

impl Report {
    pub(super) fn new(rows: Vec<Row>, left: usize, elapsed: Duration) -> Self {
        let passed = rows.iter().filter(|row| row.passed()).count();
        Self {
            passed,
            failed: rows.len() - passed,
            left,
            executions: rows.iter().map(|row| row.executions).sum(),
            elapsed_s: elapsed.as_secs_f64(),
            rows,
        }
    }

    /// Panics with every failed row, if there is one: for tests.
    #[track_caller]
    pub fn expect_pass(&self) {
        let failed: Vec<_> =
            self.rows.iter().filter(|row| !row.passed()).map(ToString::to_string).collect();
        assert!(failed.is_empty(), "{self}\n{}", failed.join("\n"));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { executions, elapsed_s, passed, failed, .. } = self;
        #[expect(clippy::cast_precision_loss, reason = "a rate needs three digits")]
        let rate = *executions as f64 / elapsed_s.max(1e-9);
        writeln!(formatter, "{executions} executions in {elapsed_s:.1} s, {rate:.0}/s")?;
        if self.left > 0 {
            writeln!(formatter, "{} checks not started: the time was over", self.left)?;
        }
        write!(formatter, "{passed} passed, {failed} failed")
    }
}
