//! What `verify` and the tests run: scenarios on tables and engines within stated bounds.
//!
//! A [`Check`] is one (table, scenario, engine, bound). [`plan`](plan::plan) lists those of a tier,
//! [`run_all`] runs them side by side, and the [`Report`] compares exhaustive ones with their
//! [pins](pins::Pins).

pub mod pins;
pub mod plan;
pub mod replay;
mod report;
mod run;
mod shapes;

use std::fmt;
use std::str::FromStr;

use shm_table::Kind;

use crate::engine::{Budget, Coverage, Failure, Outcome};
use crate::scenario::{Order, Scenario};

pub use report::{Report, Row};
pub(crate) use run::Exploration;
pub use run::{run, run_all, run_within};
pub use shapes::run_litmus;

/// An engine by name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum EngineKind {
    /// loom, exhaustive up to the bound on preemptions.
    Loom,
    /// The weak-memory machine, exhaustive up to the bound on preemptions.
    DepthFirst,
    /// The weak-memory machine, random.
    View,
    /// shuttle, random.
    Shuttle,
    /// shuttle with priorities.
    ShuttlePct,
}

impl EngineKind {
    /// Every engine.
    pub const ALL: [Self; 5] =
        [Self::Loom, Self::DepthFirst, Self::View, Self::Shuttle, Self::ShuttlePct];

    /// The engine's name, as the command line and replays spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loom => "loom",
            Self::DepthFirst => "depth-first",
            Self::View => "view",
            Self::Shuttle => "shuttle-random",
            Self::ShuttlePct => "shuttle-pct3",
        }
    }

    /// Whether the engine enumerates executions instead of drawing them.
    pub const fn enumerates(self) -> bool {
        matches!(self, Self::Loom | Self::DepthFirst)
    }

    /// What constrains a history that the engine produces.
    pub const fn order(self) -> Order {
        match self {
            Self::Loom | Self::DepthFirst | Self::View => Order::HappensBefore,
            Self::Shuttle | Self::ShuttlePct => Order::RealTime,
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for EngineKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|engine| engine.name() == text)
            .ok_or_else(|| format!("engine {text:?}: expected one of {}", names()))
    }
}

/// The table with this name.
pub fn table_from_name(text: &str) -> Result<Kind, String> {
    let names = || Kind::ALL.map(Kind::name).join(", ");
    Kind::ALL
        .into_iter()
        .find(|kind| kind.name() == text)
        .ok_or_else(|| format!("table {text:?}: expected one of {}", names()))
}

/// How far a check goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Bound {
    /// Preemptions in one execution, for engines that enumerate; `None`: all.
    pub preemptions: Option<u32>,
    /// Executions at most; of each kill point, where there are kills.
    pub executions: u64,
    /// Seed, for engines that draw.
    pub seed: u64,
}

/// Kills that a check goes through.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Victim {
    /// Who is killed, from 1: before each of its shared accesses in turn.
    pub participant: u32,
    /// What is lost with it.
    pub losses: Losses,
}

/// Stores that the kills of a check lose.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Losses {
    /// The same at every kill point, as in [`KillPoint`](crate::scenario::KillPoint); 0: none.
    Mask(u64),
    /// At each kill point none, then every subset of those since the last release: all of up to 4
    /// stores, of more all at once and 7 random subsets.
    Subsets,
}

/// One (table, scenario, engine, bound).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// The table.
    pub table: Kind,
    /// The scenario.
    pub scenario: Scenario,
    /// Kills, if any.
    pub victim: Option<Victim>,
    /// The engine.
    pub engine: EngineKind,
    /// How far.
    pub bound: Bound,
}

impl Check {
    /// The scenario's text, with `participant@*` for a sweep, and `~*` where it loses stores.
    pub fn scenario_name(&self) -> String {
        match self.victim {
            None => self.scenario.to_string(),
            Some(Victim { participant, losses: Losses::Mask(0) }) => {
                format!("{} ! {participant}@*", self.scenario)
            }
            Some(Victim { participant, losses: Losses::Mask(lost) }) => {
                format!("{} ! {participant}@*~{lost:x}", self.scenario)
            }
            Some(Victim { participant, losses: Losses::Subsets }) => {
                format!("{} ! {participant}@*~*", self.scenario)
            }
        }
    }

    /// The bound in a few letters: `p2` or `all` for enumerations, `n500` for draws.
    pub fn bound_name(&self) -> String {
        match (self.engine.enumerates(), self.bound.preemptions) {
            (true, Some(preemptions)) => format!("p{preemptions}"),
            (true, None) => "all".to_owned(),
            (false, _) => format!("n{}", self.bound.executions),
        }
    }

    fn budget(&self) -> Budget {
        budget(self.bound, &self.scenario)
    }
}

/// Accesses that an execution may make before somebody counts as never finishing: several times
/// what a call needs when it waits for everybody else.
const CALL_ACCESSES_MAX: u32 = 600;

/// The budget of one exploration. Executions end it and not time, so that what is explored does not
/// depend on the machine; the limit on time only catches what is far off.
pub(crate) fn budget(bound: Bound, scenario: &Scenario) -> Budget {
    let calls = u32::try_from(scenario.steps().count()).unwrap_or(u32::MAX);
    Budget {
        accesses: calls.saturating_add(4).saturating_mul(CALL_ACCESSES_MAX),
        executions: bound.executions,
        preemptions: bound.preemptions,
        seed: bound.seed,
        time: std::time::Duration::from_secs(900),
        ..Budget::default()
    }
}

/// What a check gave, over all its kill points.
#[derive(Clone, Debug)]
pub(crate) struct Total {
    pub(crate) executions: u64,
    pub(crate) kills: u64,
    pub(crate) complete: bool,
    pub(crate) coverage: String,
    pub(crate) failure: Option<(Scenario, Failure)>,
}

impl Total {
    const fn new() -> Self {
        Self { executions: 0, kills: 0, complete: true, coverage: String::new(), failure: None }
    }

    fn add(&mut self, scenario: &Scenario, outcome: &Outcome) {
        self.executions += outcome.executions;
        self.kills += outcome.kills;
        if self.complete {
            self.complete = outcome.is_complete();
            self.coverage = match &outcome.coverage {
                Coverage::Complete { .. } => "complete".to_owned(),
                Coverage::Bounded { why } => why.clone(),
            };
        }
        if let (None, Some(failure)) = (&self.failure, &outcome.failure) {
            self.failure = Some((scenario.clone(), failure.clone()));
        }
    }
}
