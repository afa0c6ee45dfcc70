//! Which checks each tier consists of.

use shm_table::Kind;

use super::{Bound, Check, EngineKind, Victim};
use crate::scenario::generate::{self, Size};
use crate::scenario::{Scenario, catalogue};

/// How much is run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Tier {
    /// Under five minutes on two cores: part of every test run.
    Quick,
    /// An hour and more.
    Deep,
}

/// A part of a tier, about equal in time, so that a test runner can run them side by side.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Part {
    /// Generated pairs and triples, enumerated.
    Enumerated,
    /// Generated pairs and triples, drawn in weak memory.
    Drawn,
    /// The catalogue, on every engine.
    Catalogue,
    /// Kills before every access.
    Kills,
    /// Large random workloads.
    Workloads,
}

impl Part {
    /// Every part.
    pub const ALL: [Self; 5] =
        [Self::Enumerated, Self::Drawn, Self::Catalogue, Self::Kills, Self::Workloads];
}

/// The checks of a part of a tier for a table.
pub fn part(tier: Tier, part: Part, table: Kind) -> Vec<Check> {
    let plan = Plan { tier, table };
    match part {
        Part::Enumerated => plan.enumerated(),
        Part::Drawn => plan.drawn(),
        Part::Catalogue => plan.catalogue(),
        Part::Kills => plan.kills(),
        Part::Workloads => plan.workloads(),
    }
}

/// All checks of a tier for these tables.
pub fn plan(tier: Tier, tables: &[Kind]) -> Vec<Check> {
    let parts = |table: &Kind| Part::ALL.map(|of| part(tier, of, *table)).concat();
    tables.iter().flat_map(parts).collect()
}

/// Scenarios whose first participant is killed before each of its accesses: one for each writing
/// verb with somebody beside it who wants the same key, then one in which a survivor recovers.
const KILLED: [&str; 8] = [
    "insert a | insert a",
    "put a : insert b | get a",
    "put a : put a | put a",
    "put a : replace a | get a",
    "put a : remove a | insert a",
    "put a : take a | take a",
    "put a : remove a, insert b | recover, put b",
    "put a : replace a, take a | recover, insert a",
];

/// Kills with every relaxed store since the last release lost.
const ALL_LOST: u64 = u64::MAX;

struct Plan {
    tier: Tier,
    table: Kind,
}

impl Plan {
    const fn choose(&self, quick: u64, deep: u64) -> u64 {
        match self.tier {
            Tier::Quick => quick,
            Tier::Deep => deep,
        }
    }

    fn check(&self, scenario: Scenario, engine: EngineKind, bound: Bound) -> Check {
        Check { table: self.table, scenario, victim: None, engine, bound }
    }

    /// Enumerates up to a number of preemptions, and at most so many executions.
    fn enumerate(
        &self,
        scenario: Scenario,
        engine: EngineKind,
        preemptions: u32,
        executions: u64,
    ) -> Check {
        let bound = Bound { preemptions: Some(preemptions), executions, seed: 1 };
        self.check(scenario, engine, bound)
    }

    fn draw(&self, scenario: Scenario, engine: EngineKind, executions: u64, seed: u64) -> Check {
        self.check(scenario, engine, Bound { preemptions: None, executions, seed })
    }

    fn enumerated(&self) -> Vec<Check> {
        let pairs = generate::all(Size { participants: 2, calls: 1, keys: 1 });
        let (loom, own) = match self.tier {
            Tier::Quick => (2, 1),
            Tier::Deep => (3, 2),
        };
        let limit = self.choose(20_000, 1_000_000);
        let mut checks: Vec<Check> = pairs
            .iter()
            .flat_map(|scenario| {
                [
                    self.enumerate(scenario.clone(), EngineKind::Loom, loom, limit),
                    self.enumerate(scenario.clone(), EngineKind::DepthFirst, own, limit),
                ]
            })
            .collect();
        if self.tier == Tier::Deep {
            let longer = generate::all(Size { participants: 2, calls: 2, keys: 1 });
            let triples = generate::all(Size { participants: 3, calls: 1, keys: 1 });
            let wider = generate::all(Size { participants: 2, calls: 1, keys: 2 });
            for scenario in longer.into_iter().chain(triples).chain(wider) {
                checks.push(self.enumerate(scenario, EngineKind::Loom, 2, 100_000));
            }
        }
        checks
    }

    fn drawn(&self) -> Vec<Check> {
        let pairs = generate::all(Size { participants: 2, calls: 1, keys: 2 });
        let triples = generate::all(Size { participants: 3, calls: 1, keys: 1 });
        let longer = generate::all(Size { participants: 2, calls: 2, keys: 1 });
        let executions = self.choose(300, 5_000);
        let mut checks = Vec::new();
        for (seed, scenario) in (1..).zip(pairs.into_iter().chain(triples).chain(longer)) {
            checks.push(self.draw(scenario, EngineKind::View, executions, seed));
        }
        checks
    }

    fn catalogue(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        for (seed, known) in (1..).zip(catalogue::KNOWN) {
            let scenario = known.scenario();
            let (preemptions, limit) = match self.tier {
                Tier::Quick => (2, 4_000),
                Tier::Deep => (3, 500_000),
            };
            checks.push(self.enumerate(scenario.clone(), EngineKind::Loom, preemptions, limit));
            checks.push(self.enumerate(
                scenario.clone(),
                EngineKind::DepthFirst,
                preemptions,
                limit,
            ));
            let draws = self.choose(2_000, 300_000);
            checks.push(self.draw(scenario.clone(), EngineKind::View, draws, seed));
            let draws = self.choose(1_000, 100_000);
            checks.push(self.draw(scenario.clone(), EngineKind::Shuttle, draws, seed));
            checks.push(self.draw(scenario, EngineKind::ShuttlePct, draws, seed));
        }
        checks
    }

    fn kills(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        for (seed, text) in (1..).zip(KILLED) {
            let scenario: Scenario = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            let mut sweep = |check: Check, lost| {
                let victim = Some(Victim { participant: 1, lost });
                checks.push(Check { victim, ..check });
            };
            let view = self.draw(scenario.clone(), EngineKind::View, self.choose(150, 5_000), seed);
            sweep(view.clone(), 0);
            sweep(view, ALL_LOST);
            let shuttle = self.choose(100, 5_000);
            sweep(self.draw(scenario.clone(), EngineKind::Shuttle, shuttle, seed), 0);
            let (preemptions, limit) = match self.tier {
                Tier::Quick => (0, 5_000),
                Tier::Deep => (2, 50_000),
            };
            sweep(self.enumerate(scenario, EngineKind::DepthFirst, preemptions, limit), 0);
        }
        checks
    }

    fn workloads(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        let sizes = [
            (Size { participants: 3, calls: 4, keys: 2 }, self.choose(40, 1_000), 250),
            (Size { participants: 4, calls: 6, keys: 2 }, self.choose(20, 500), 150),
            (Size { participants: 7, calls: 50, keys: 2 }, self.choose(4, 200), 10),
        ];
        for (size, scenarios, executions) in sizes {
            for seed in 1..=scenarios {
                let scenario = generate::random(size, seed);
                checks.push(self.draw(scenario.clone(), EngineKind::View, executions, seed));
                checks.push(self.draw(scenario, EngineKind::Shuttle, executions, seed));
            }
        }
        checks
    }
}
