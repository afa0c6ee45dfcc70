//! One execution of one scenario, as a text that can be pasted.

use std::fmt;
use std::str::FromStr;

use shm_table::Kind;

use super::{Bound, EngineKind, table_from_name};
use crate::engine::{Outcome, Replay};
use crate::scenario::Scenario;

/// Names one execution: `table; scenario; bound; engine/seed/execution`, as in
/// `cas_bucket; put a : take a | take a; p2; loom/1/53`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplayPoint {
    /// The table.
    pub table: Kind,
    /// The scenario, its kill included.
    pub scenario: Scenario,
    /// Preemptions in one execution; `None`: all.
    pub preemptions: Option<u32>,
    /// The engine.
    pub engine: EngineKind,
    /// The budget's seed.
    pub seed: u64,
    /// Which execution, from 1.
    pub execution: u64,
}

impl ReplayPoint {
    /// Has the execution again. If it fails, its accesses come with it as a table: a row an access,
    /// a column a participant.
    pub fn run(&self) -> (Outcome, Option<String>) {
        super::run::repeat(self)
    }

    pub(super) const fn bound(&self) -> Bound {
        Bound { preemptions: self.preemptions, executions: self.execution, seed: self.seed }
    }

    pub(super) fn replay(&self) -> Replay {
        let engine = self.engine.name().to_owned();
        Replay { engine, seed: self.seed, execution: self.execution }
    }
}

impl fmt::Display for ReplayPoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = self.preemptions.map_or("all".to_owned(), |bound| format!("p{bound}"));
        let Self { table, scenario, engine, seed, execution, .. } = self;
        write!(formatter, "{}; {scenario}; {bound}; {engine}/{seed}/{execution}", table.name())
    }
}

impl FromStr for ReplayPoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<_> = text.split(';').map(str::trim).collect();
        let [table, scenario, bound, replay] = parts[..] else {
            let form = "table; scenario; bound; engine/seed/execution";
            return Err(format!("replay {text:?}: expected {form}"));
        };
        let preemptions = match bound.strip_prefix('p').map(str::parse) {
            Some(Ok(preemptions)) => Some(preemptions),
            None if bound == "all" => None,
            _ => return Err(format!("bound {bound:?}: expected all, or p and a number")),
        };
        let Replay { engine, seed, execution } = replay.parse()?;
        Ok(Self {
            table: table_from_name(table)?,
            scenario: scenario.parse().map_err(|error| format!("{error}"))?,
            preemptions,
            engine: engine.parse()?,
            seed,
            execution,
        })
    }
}
