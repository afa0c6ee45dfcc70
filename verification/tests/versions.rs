//! `compare_exchange` and `remove_if` beside every verb, killed anywhere, and done wrong.
#![allow(missing_docs)]

use std::fmt;
use std::sync::Arc;

use shm_arena::{Environment, Memory, SegmentError};
use shm_table::{
    Audit, Capabilities, CasBucket, Cursor, Design, Effect, Entry, Error, Kind, Recovery, Rule,
    Seen, Stats, Table, TableOptions, Unlinked, Version,
};
use shm_verification::scenario::{
    CasBucketSubject, ChainedSubject, Order, Scenario, ScenarioModel, Subject,
};
use shm_verification::spec::Verb;
use shm_verification::{Budget, DepthFirstEngine, Engine, LoomEngine, Outcome, ViewEngine};

/// A table that does not look at versions.
#[derive(Debug)]
struct Careless<T>(T);

/// The subject of that name.
struct CarelessSubject;

impl Subject for CarelessSubject {
    const NAME: &'static str = "careless";

    type Table<M: Memory + 'static> = Careless<CasBucket<M>>;
}

impl<M: Memory> Design<M> for Careless<CasBucket<M>> {
    const KIND: Kind = Kind::CasBucket;

    fn word_count(options: &TableOptions) -> Result<u64, SegmentError> {
        CasBucket::<M>::word_count(options)
    }

    fn create(
        memory: M,
        options: &TableOptions,
        environment: &Environment,
    ) -> Result<Self, SegmentError> {
        CasBucket::create(memory, options, environment).map(Self)
    }

    fn attach(memory: M, environment: &Environment) -> Result<Self, SegmentError> {
        CasBucket::attach(memory, environment).map(Self)
    }

    fn detach(self) {
        self.0.detach();
    }
}

impl<T: Table> Table for Careless<T> {
    fn kind(&self) -> Kind {
        self.0.kind()
    }

    fn capabilities(&self) -> &'static Capabilities {
        self.0.capabilities()
    }

    fn identity(&self) -> u64 {
        self.0.identity()
    }

    fn look_up(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<Seen>, Error> {
        self.0.look_up(key, value)
    }

    fn update(&self, entry: Entry<'_>, rule: Rule<'_>) -> Result<Effect, Error> {
        let careless = matches!(rule, Rule::Exchange { .. });
        self.0.update(entry, if careless { Rule::Replace } else { rule })
    }

    fn unlink(
        &self,
        key: &[u8],
        _only: Option<Version>,
        value: Option<&mut Vec<u8>>,
    ) -> Result<Unlinked, Error> {
        self.0.unlink(key, None, value)
    }

    fn scan(
        &self,
        cursor: &mut Cursor,
        visit: &mut dyn FnMut(Entry<'_>, Version),
    ) -> Result<(), Error> {
        self.0.scan(cursor, visit)
    }

    fn len(&self) -> u64 {
        self.0.len()
    }

    fn stats(&self) -> Stats {
        self.0.stats()
    }

    fn dump(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        self.0.dump(out)
    }

    fn audit(&self) -> Audit {
        self.0.audit()
    }

    fn recover(&self) -> Result<Recovery, Error> {
        self.0.recover()
    }
}

fn run<S: Subject>(engine: &impl Engine, order: Order, text: &str, budget: &Budget) -> Outcome {
    let scenario: Scenario = text.parse().expect("a scenario");
    engine.run(&Arc::new(ScenarioModel::<S>::new(scenario, order)), budget)
}

fn explored<S: Subject>(text: &str) -> u64 {
    let enumerated = Budget { accesses: 20_000, ..Budget::executions(1_500).preemptions(2) };
    let drawn = Budget { accesses: 20_000, ..Budget::executions(200) };
    [
        run::<S>(&LoomEngine, Order::HappensBefore, text, &enumerated),
        run::<S>(&ViewEngine::default(), Order::HappensBefore, text, &drawn),
    ]
    .into_iter()
    .map(|outcome| {
        outcome.expect_pass(text);
        outcome.executions
    })
    .sum()
}

#[test]
fn every_verb_beside_an_exchange_and_a_conditional_removal_is_explained() {
    let mut executions = 0;
    for verb in [Verb::Exchange, Verb::RemoveIf] {
        for other in Verb::EVERY {
            let text = format!("put a : {verb} a | {other} a");
            executions += explored::<CasBucketSubject>(&text) + explored::<ChainedSubject>(&text);
        }
    }
    println!("{executions} executions up to 2 preemptions");
}

/// Kills the first participant before each of its accesses.
fn kills<S: Subject>(text: &str) -> u64 {
    let mut deaths = 0;
    for access in 0..200 {
        let budget = Budget { accesses: 50_000, ..Budget::executions(60) };
        let text = format!("{text} ! 1@{access}");
        let outcome = run::<S>(&DepthFirstEngine, Order::HappensBefore, &text, &budget);
        outcome.expect_pass(&text);
        if outcome.kills == 0 {
            return deaths;
        }
        deaths += outcome.kills;
    }
    panic!("{text}: more than 200 accesses");
}

#[test]
fn a_death_anywhere_in_a_conditional_verb_leaves_all_or_nothing() {
    for text in ["put a : exchange a | take a", "put a : remove_if a | insert a"] {
        for deaths in [kills::<CasBucketSubject>(text), kills::<ChainedSubject>(text)] {
            println!("{text}: {deaths} deaths");
            assert!(deaths > 20, "{text}: {deaths}");
        }
    }
}

#[test]
fn a_table_that_ignores_versions_is_caught() {
    let budget = Budget { accesses: 20_000, ..Budget::executions(10_000).preemptions(1) };
    let engine = DepthFirstEngine;
    for text in ["put a : exchange a | put a", "put a : remove_if a | put a"] {
        let outcome = run::<CarelessSubject>(&engine, Order::HappensBefore, text, &budget);
        println!("{}", outcome.expect_failure(text).message);
    }
}
