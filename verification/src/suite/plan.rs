//! Which checks each tier consists of.

use std::fmt;
use std::str::FromStr;

use shm_table::Kind;

use super::{Bound, Check, EngineKind, Losses, Victim};
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

/// A part of a tier, so that a test runner can run them side by side.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Part {
    /// Generated pairs and triples of calls, enumerated.
    Enumerated,
    /// Generated pairs and triples of calls, drawn in weak memory.
    Drawn,
    /// The catalogue, on every engine.
    Catalogue,
    /// Chosen scenarios with kills before every access, and every loss of stores.
    Kills,
    /// Generated pairs and triples with kills before every access of each participant in turn.
    GeneratedKills,
    /// Changes of size beside every verb, on every engine, and killed before every access.
    Resizing,
    /// Large random workloads.
    Workloads,
}

impl Part {
    /// Every part.
    pub const ALL: [Self; 7] = [
        Self::Enumerated,
        Self::Drawn,
        Self::Catalogue,
        Self::Kills,
        Self::GeneratedKills,
        Self::Resizing,
        Self::Workloads,
    ];

    /// The part's name, as the command line spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enumerated => "enumerated",
            Self::Drawn => "drawn",
            Self::Catalogue => "catalogue",
            Self::Kills => "kills",
            Self::GeneratedKills => "generated-kills",
            Self::Resizing => "resizing",
            Self::Workloads => "workloads",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let named = Self::ALL.into_iter().find(|part| part.name() == text);
        named.ok_or_else(|| format!("part {text:?}: expected one of {}", names()))
    }
}

/// The checks of a part of a tier for a table.
pub fn part(tier: Tier, part: Part, table: Kind) -> Vec<Check> {
    let plan = Plan { tier, table };
    match part {
        Part::Enumerated => plan.enumerated(),
        Part::Drawn => plan.drawn(),
        Part::Catalogue => plan.catalogue(),
        Part::Kills => plan.kills(),
        Part::GeneratedKills => plan.generated_kills(),
        Part::Resizing => plan.resizing(),
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
pub(crate) const KILLED: [&str; 8] = [
    "insert a | insert a",
    "put a : insert b | get a",
    "put a : put a | put a",
    "put a : replace a | get a",
    "put a : remove a | insert a",
    "put a : take a | take a",
    "put a : remove a, insert b | recover, put b",
    "put a : replace a, take a | recover, insert a",
];

/// Scenarios in which the table changes its size: beside each verb, beside itself, and so often
/// that an area is used again.
pub(crate) fn resized() -> Vec<String> {
    let mut texts = Vec::new();
    for verb in ["get", "insert", "put", "replace", "remove", "take", "exchange", "remove_if"] {
        texts.push(format!("put a, put b : grow | {verb} a, get a"));
        texts.push(format!("grow, put a, put b : shrink | {verb} a, get b"));
        texts.push(format!("put a, put b : grow, shrink, grow | {verb} a, insert a"));
    }
    let chosen = [
        "put a, put b : grow | grow | take a, insert a",
        "grow, put a : shrink | shrink | put a, get a",
        "put a : grow | shrink | put a, get a",
        "put a, put b : grow, shrink, grow | take a, insert a | get b, get a",
        "put a, put b, put c : grow, shrink, grow, shrink | take a, put b, insert a | exchange c",
        "put a : grow, shrink, grow, shrink, grow | insert b, take b, insert b, take b",
        "grow, put a, put b : shrink, grow | remove a, insert a, get b | insert c",
    ];
    texts.extend(chosen.map(str::to_owned));
    texts
}

/// Scenarios in which whoever changes the size, or has to help, is killed before each access.
pub(crate) const RESIZED_KILLED: [&str; 6] = [
    "put a, put b : grow | take a, insert a",
    "grow, put a, put b : shrink | put a, get b",
    "put a, put b : put a, remove b | grow, recover",
    "grow, put a : insert b, take a | shrink, recover",
    "put a, put b : grow, shrink | grow, recover, get a",
    "put a : grow, shrink, grow | insert b, remove a",
];

fn parsed(text: &str) -> Scenario {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Generated scenarios of one size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Family {
    /// `x | y`.
    Pairs,
    /// `x | y | z`.
    Triples,
    /// `x, y | z`.
    TwoBesideOne,
    /// `w, x | y, z`.
    TwoBesideTwo,
}

impl Family {
    fn scenarios(self, keys: u8) -> Vec<Scenario> {
        let calls: &[usize] = match self {
            Self::Pairs => &[1, 1],
            Self::Triples => &[1, 1, 1],
            Self::TwoBesideOne => &[2, 1],
            Self::TwoBesideTwo => &[2, 2],
        };
        let all = generate::shaped(calls, keys);
        // Those on fewer keys are a family of their own.
        all.into_iter().filter(|scenario| scenario.keys() == keys).collect()
    }
}

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

    /// Every scenario of a family on so many keys, enumerated.
    fn family(
        &self,
        (family, keys): (Family, u8),
        engine: EngineKind,
        preemptions: u32,
        executions: u64,
    ) -> Vec<Check> {
        let scenarios = family.scenarios(keys).into_iter();
        scenarios.map(|one| self.enumerate(one, engine, preemptions, executions)).collect()
    }

    fn enumerated(&self) -> Vec<Check> {
        use EngineKind::{DepthFirst, Loom};
        use Family::{Pairs, Triples, TwoBesideOne, TwoBesideTwo};
        let rows = match self.tier {
            Tier::Quick => vec![
                ((Pairs, 1), Loom, 2, 20_000),
                ((Pairs, 1), DepthFirst, 1, 20_000),
                ((Pairs, 2), DepthFirst, 1, 20_000),
                // Three updates of a lock-free table have too many executions for this tier.
                ((Triples, 1), Loom, 0, 200),
            ],
            Tier::Deep => vec![
                ((Pairs, 1), Loom, 3, 200_000),
                ((Pairs, 1), DepthFirst, 2, 200_000),
                ((Pairs, 2), Loom, 2, 200_000),
                ((Pairs, 2), DepthFirst, 2, 20_000),
                ((Triples, 1), Loom, 1, 50_000),
                ((Triples, 1), DepthFirst, 1, 50_000),
                ((Triples, 2), Loom, 1, 20_000),
                ((Triples, 2), DepthFirst, 1, 20_000),
                ((TwoBesideOne, 1), Loom, 2, 20_000),
                ((TwoBesideOne, 1), DepthFirst, 1, 20_000),
                ((TwoBesideOne, 2), Loom, 1, 20_000),
                ((TwoBesideOne, 2), DepthFirst, 1, 5_000),
                ((TwoBesideTwo, 1), Loom, 1, 20_000),
            ],
        };
        let checks = |(of, engine, preemptions, executions)| {
            self.family(of, engine, preemptions, executions)
        };
        rows.into_iter().flat_map(checks).collect()
    }

    fn drawn(&self) -> Vec<Check> {
        use Family::{Pairs, Triples, TwoBesideOne, TwoBesideTwo};
        let mut checks = Vec::new();
        for (family, keys, quick, deep) in [
            (Pairs, 2, 300, 5_000),
            (Triples, 1, 300, 5_000),
            (Triples, 2, 100, 2_000),
            (TwoBesideOne, 1, 100, 2_000),
            (TwoBesideOne, 2, 20, 500),
            (TwoBesideTwo, 1, 100, 2_000),
        ] {
            let executions = self.choose(quick, deep);
            for (seed, scenario) in (1..).zip(family.scenarios(keys)) {
                checks.push(self.draw(scenario.clone(), EngineKind::View, executions, seed));
                if family == Triples {
                    let executions = self.choose(20, 500);
                    checks.push(self.draw(scenario, EngineKind::Shuttle, executions, seed));
                }
            }
        }
        checks
    }

    fn catalogue(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        for (seed, known) in (1..).zip(catalogue::KNOWN) {
            let scenario = known.scenario();
            let (preemptions, limit) = match self.tier {
                Tier::Quick => (2, 2_500),
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

    fn resizing(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        for (seed, text) in (1..).zip(resized()) {
            let scenario = parsed(&text);
            let limit = self.choose(400, 100_000);
            let preemptions = if self.tier == Tier::Quick { 1 } else { 3 };
            checks.push(self.enumerate(scenario.clone(), EngineKind::Loom, preemptions, limit));
            let depth_first = EngineKind::DepthFirst;
            checks.push(self.enumerate(scenario.clone(), depth_first, preemptions, limit));
            for (engine, quick) in
                [(EngineKind::View, 600), (EngineKind::Shuttle, 300), (EngineKind::ShuttlePct, 600)]
            {
                let draws = self.choose(quick, 300_000);
                checks.push(self.draw(scenario.clone(), engine, draws, seed));
            }
        }
        for (seed, text) in (1..).zip(RESIZED_KILLED) {
            for (engine, quick, losses) in [
                (EngineKind::View, 5, Losses::Subsets),
                (EngineKind::View, 20, Losses::Mask(0)),
                (EngineKind::Shuttle, 20, Losses::Mask(0)),
            ] {
                let check = self.draw(parsed(text), engine, self.choose(quick, 2_000), seed);
                let victim = Some(Victim { participant: 1, losses });
                checks.push(Check { victim, ..check });
            }
        }
        checks
    }

    fn kills(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        for (seed, text) in (1..).zip(KILLED) {
            let scenario = parsed(text);
            let mut sweep = |check: Check, losses| {
                let victim = Some(Victim { participant: 1, losses });
                checks.push(Check { victim, ..check });
            };
            let none = Losses::Mask(0);
            let view = |executions| self.draw(scenario.clone(), EngineKind::View, executions, seed);
            sweep(view(self.choose(150, 5_000)), none);
            sweep(view(self.choose(40, 500)), Losses::Subsets);
            let shuttle = self.choose(100, 5_000);
            sweep(self.draw(scenario.clone(), EngineKind::Shuttle, shuttle, seed), none);
            let (preemptions, limit) = match self.tier {
                Tier::Quick => (0, 1_000),
                Tier::Deep => (2, 50_000),
            };
            sweep(self.enumerate(scenario, EngineKind::DepthFirst, preemptions, limit), none);
        }
        checks
    }

    /// Each participant of each pair and each triple dies before each of its accesses.
    fn generated_kills(&self) -> Vec<Check> {
        use Family::{Pairs, Triples};
        let mut checks = Vec::new();
        for (family, keys, losses, quick, deep) in [
            (Pairs, 1, Losses::Subsets, 4, 200),
            (Pairs, 2, Losses::Mask(u64::MAX), 4, 100),
            (Triples, 1, Losses::Mask(0), 4, 100),
            (Triples, 2, Losses::Mask(0), 1, 20),
        ] {
            let executions = self.choose(quick, deep);
            for (seed, scenario) in (1..).zip(family.scenarios(keys)) {
                for participant in 1..=u32::try_from(scenario.programs.len()).unwrap_or(0) {
                    let check = self.draw(scenario.clone(), EngineKind::View, executions, seed);
                    checks.push(Check { victim: Some(Victim { participant, losses }), ..check });
                }
            }
        }
        checks
    }

    fn workloads(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        let sizes = [
            (Size { participants: 3, calls: 4, keys: 2 }, self.choose(40, 1_000), 250),
            (Size { participants: 4, calls: 6, keys: 2 }, self.choose(20, 500), 150),
            (Size { participants: 8, calls: 50, keys: 2 }, self.choose(4, 200), 10),
            (Size { participants: 16, calls: 20, keys: 3 }, self.choose(2, 100), 10),
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
