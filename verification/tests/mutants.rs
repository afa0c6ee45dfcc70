//! Ordering mutants of a right toy table: which orderings the models need, engine by engine.
#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shm_verification::toys::{
    Change, Counting, Fences, FillOrder, Publishing, Snapshots, Workload,
};
use shm_verification::{
    Budget, DepthFirstEngine, Engine, Execution, LoomEngine, Model, Mutation, Ordered,
    ShuttleEngine, ViewEngine, Weakened, Weakening,
};

use Change::{Get, Insert, Remove};

/// A right structure under a workload.
#[derive(Clone, Copy, Debug)]
enum Case {
    Table(Workload),
    Seqlock,
    Lock,
    Publication,
}

impl Model for Case {
    fn run<X: Execution>(&self, execution: &X) {
        match self {
            Self::Table(workload) => workload.run(execution),
            Self::Seqlock => {
                Snapshots { fences: Fences { writer: true, reader: true } }.run(execution);
            }
            Self::Lock => Counting { participants: 2, defect: None }.run(execution),
            Self::Publication => Publishing { order: FillOrder::FillThenPublish }.run(execution),
        }
    }
}

const fn table(filled: bool, participants: &'static [&'static [Change]]) -> Case {
    Case::Table(Workload { filled, participants })
}

const CASES: [Case; 8] = [
    Case::Seqlock,
    Case::Lock,
    Case::Publication,
    table(false, &[&[Insert], &[Get]]),
    table(true, &[&[Remove, Insert], &[Get]]),
    table(true, &[&[Remove], &[Insert, Get]]),
    table(true, &[&[Remove], &[Insert], &[Insert]]),
    table(true, &[&[Remove, Insert], &[Remove, Insert]]),
];

/// Every mutant of every case.
fn mutations() -> Vec<Mutation> {
    let mut sites = BTreeSet::new();
    for case in CASES {
        let weakening = Weakening::none();
        let model = Arc::new(Weakened::new(&Arc::new(case), &weakening));
        ViewEngine::default().run(&model, &Budget::executions(500)).expect_pass("the baseline");
        sites.extend(weakening.sites("src/toys/"));
    }
    sites.iter().flat_map(|site| site.mutations()).collect()
}

/// The mutants that an engine kills with any of the cases.
fn killed<E: Engine>(engine: &E, budget: &Budget) -> BTreeSet<Mutation> {
    let started = Instant::now();
    let mut executions = 0;
    for case in CASES {
        let outcome = engine.run(&Arc::new(case), budget);
        println!("{} {case:?}: {outcome}", engine.name());
        outcome.expect_pass("the table as it is");
    }
    let kill = |mutation: &Mutation| {
        let weakening = Weakening::of(*mutation);
        CASES.into_iter().any(|case| {
            let model = Arc::new(Weakened::new(&Arc::new(case), &weakening));
            let outcome = engine.run(&model, budget);
            executions += outcome.executions;
            outcome.failure.is_some()
        })
    };
    let killed: BTreeSet<_> = mutations().into_iter().filter(kill).collect();
    println!(
        "{}: {} killed, {executions} executions of mutants, {:.1} s",
        engine.name(),
        killed.len(),
        started.elapsed().as_secs_f64()
    );
    killed
}

#[test]
fn the_machine_kills_every_ordering_mutant_that_loom_kills_and_shuttle_kills_none() {
    let mutations = mutations();
    let enumerated =
        Budget { time: Duration::from_secs(5), ..Budget::executions(60_000).preemptions(2) };
    let by_loom = killed(&LoomEngine, &enumerated);
    let by_view = killed(&ViewEngine::default(), &Budget::executions(10_000));
    let by_depth_first = killed(&DepthFirstEngine, &enumerated);
    let by_shuttle = killed(&ShuttleEngine::RANDOM, &Budget::executions(500));
    for mutation in &mutations {
        let mark = |killed: &BTreeSet<_>| {
            if killed.contains(mutation) { "killed" } else { "-" }
        };
        println!(
            "{:<76} loom {:<7} view {:<7} depth-first {}",
            mutation.to_string(),
            mark(&by_loom),
            mark(&by_view),
            mark(&by_depth_first)
        );
    }
    assert_eq!(mutations.len(), 17, "{mutations:#?}");
    assert!(by_view.is_superset(&by_loom), "{by_loom:#?} and {by_view:#?}");
    assert!(by_depth_first.is_superset(&by_loom), "{by_loom:#?} and {by_depth_first:#?}");
    assert!(by_shuttle.is_empty(), "shuttle sees no ordering: {by_shuttle:#?}");
    // The head that a pop takes was acquired by the load, and its tag never comes back.
    let survivors: Vec<_> = mutations.iter().filter(|it| !by_view.contains(it)).collect();
    assert_eq!(survivors.len(), 1, "{survivors:#?}");
    assert!(survivors[0].to_string().contains("free_list.rs"), "{survivors:#?}");
    assert!(matches!(survivors[0].site.ordered, Ordered::ExchangeSuccess(_)), "{survivors:#?}");
}
