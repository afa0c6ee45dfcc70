//! The models among which one has to fail without an ordering.

use std::fmt;

use shm_table::Kind;

use crate::scenario::generate::{self, Size};
use crate::scenario::{Scenario, Step, catalogue};
use crate::suite::plan::{KILLED, RESIZED_KILLED, resized};
use crate::suite::{Bound, EngineKind, table_from_name};

/// One scenario on one table under one engine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trial {
    /// The table.
    pub table: Kind,
    /// The scenario, its kill included.
    pub scenario: Scenario,
    /// The engine.
    pub engine: EngineKind,
    /// How far.
    pub bound: Bound,
}

impl fmt::Display for Trial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, scenario, engine, bound } = self;
        let reach = bound.preemptions.map_or("all".to_owned(), |bound| format!("p{bound}"));
        write!(formatter, "{}; {scenario}; {reach}; {engine}/{}", table.name(), bound.seed)
    }
}

impl Trial {
    /// Reads what [`Display`](fmt::Display) writes.
    ///
    /// # Errors
    ///
    /// A sentence that says what was expected.
    pub fn parse(text: &str, executions: u64) -> Result<Self, String> {
        let parts: Vec<_> = text.split(';').map(str::trim).collect();
        let [table, scenario, reach, engine] = parts[..] else {
            return Err(format!("model {text:?}: expected table; scenario; bound; engine/seed"));
        };
        let preemptions = match reach.strip_prefix('p').map(str::parse) {
            Some(Ok(preemptions)) => Some(preemptions),
            None if reach == "all" => None,
            _ => return Err(format!("bound {reach:?}: expected all, or p and a number")),
        };
        let (engine, seed) = engine
            .split_once('/')
            .ok_or_else(|| format!("engine {engine:?}: expected a name, / and a seed"))?;
        let seed = seed.parse().map_err(|error| format!("seed {seed:?}: {error}"))?;
        Ok(Self {
            table: table_from_name(table)?,
            scenario: scenario.parse().map_err(|error| format!("{error}"))?,
            engine: engine.parse()?,
            bound: Bound { preemptions, executions, seed },
        })
    }
}

/// Scenarios of processes that come and go, of recovery beside others, and of blocks that pass from
/// one process to another.
const COMINGS_AND_GOINGS: [&str; 17] = [
    "put a : remove a, leave | join, put a",
    "put a : leave, join, remove a, insert b | replace a, leave, join, get a",
    "put a : leave, join, insert b | leave, join, remove a, insert a | get a, leave, join, take a",
    "put a, put b : remove a, insert c | get b, get a | replace b",
    "put a : put a, leave | join, put a, leave | join, take a, leave",
    "insert a, insert b : remove a, remove b | insert c, get c | get a, get b",
    "put a, put b : remove a, remove b | insert b, remove b | get b, get b",
    "put a, put b, put c : remove a, remove b, remove c | put b, put c | get c, get b",
    "put a : leave, join, put a | recover, get a | recover, take a",
    "put a, put b : leave, join, remove a | recover, remove b | leave, join, put a",
    "put a, put b : remove a, remove b | insert c, insert d, remove c in 4",
    "put a, put b : remove a, insert c, remove b | insert d, remove d, insert d in 4",
    "put a, put b, put c : remove a, remove b, remove c | put d, put b | put c, get b in 4",
    "put a, put b : replace a, remove b | replace a, insert b | get a, get b in 4",
    "put a, put b : remove b, remove a | insert a, insert a, insert a | get a, get a in 2",
    "put a, put b, put c : remove b, remove a | insert a, insert a, insert a | get a, get a in 3",
    "put a, put b, put c : remove b, remove a | insert a, insert a | get a in 4",
];

/// Scenarios in which a process dies and others come, recover and go on.
const SURVIVED: [&str; 8] = [
    "put a : remove a, leave | join, put a, get a",
    "put a : put a, leave | join, recover, get a, take a",
    "insert a, leave | join, insert b, get a",
    "put a : replace a | recover, put a | recover, take a",
    "put a : remove a, insert b | recover, insert c | recover, get b",
    "put a : take a, insert a | recover, insert b, remove b",
    "put a, put b : remove a, remove b, insert c | recover, insert d",
    "put a, leave | join, put b, leave | join, put c, leave | recover, get a",
];

/// Tables whose orderings, and the arena's with them, are on record.
pub const TABLES: [Kind; 2] = [Kind::Chained, Kind::CasBucket];

/// Rounds of a search. The first two make every access that any does.
pub const ROUNDS: u32 = 5;

/// The rounds of a search for one table, cheapest first.
pub fn battery(table: Kind, round: u32) -> Vec<Trial> {
    match round {
        0 => calls(table, 400),
        1 => kills(table, 25, &[0, u64::MAX, 0xaaaa_aaaa]),
        2 => calls(table, 6_000),
        3 => kills(table, 300, &[0, u64::MAX, 0x5555_5555, 0x6666_6666, 0x1249_2492, 0x3cf3]),
        4 => enumerated(table, 40_000),
        _ => Vec::new(),
    }
}

fn parse(text: &str) -> Scenario {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn written() -> Vec<Scenario> {
    let known = catalogue::KNOWN.iter().map(|known| known.scenario());
    let resized = resized();
    let resized = resized.iter().map(|text| parse(text));
    known.chain(COMINGS_AND_GOINGS.map(parse)).chain(resized).collect()
}

fn draw(table: Kind, scenario: Scenario, executions: u64, seed: u64) -> Trial {
    let bound = Bound { preemptions: None, executions, seed };
    Trial { table, scenario, engine: EngineKind::View, bound }
}

fn calls(table: Kind, executions: u64) -> Vec<Trial> {
    let mut trials: Vec<_> =
        written().into_iter().map(|scenario| draw(table, scenario, executions, 1)).collect();
    for (size, scenarios, share) in [
        (Size { participants: 3, calls: 4, keys: 2 }, 12, 1),
        (Size { participants: 4, calls: 6, keys: 2 }, 8, 2),
        (Size { participants: 8, calls: 50, keys: 2 }, 2, 20),
    ] {
        for seed in 1..=scenarios {
            let scenario = generate::random(size, seed);
            trials.push(draw(table, scenario, executions / share, seed));
        }
    }
    trials
}

/// Accesses before which a participant is killed: more than any of these programs makes.
const KILL_ACCESSES: u64 = 80;

fn kills(table: Kind, executions: u64, masks: &[u64]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for scenario in SURVIVED.into_iter().chain(KILLED).chain(RESIZED_KILLED).map(parse) {
        for access in 0..KILL_ACCESSES {
            for &lost in masks {
                trials.push(draw(table, scenario.killed(1, access, lost), executions, 1));
            }
        }
    }
    trials
}

/// Scenarios in which a process joins are for loom alone: a wait for a record attaches again and
/// again, which writes, so the depth-first machine could repeat it without end.
fn enumerated(table: Kind, executions: u64) -> Vec<Trial> {
    let mut trials = Vec::new();
    for scenario in written() {
        let joins = scenario.steps().any(|step| step == Step::Join);
        let engines = [EngineKind::Loom, EngineKind::DepthFirst];
        for engine in engines.into_iter().take(if joins { 1 } else { 2 }) {
            let bound = Bound { preemptions: Some(2), executions, seed: 1 };
            trials.push(Trial { table, scenario: scenario.clone(), engine, bound });
        }
    }
    trials
}
