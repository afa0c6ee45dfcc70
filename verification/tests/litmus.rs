//! The litmus table is what the engines do today, shape by shape.
#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::sync::Arc;

use shm_arena::{Load, Memory, Offset, Store};
use shm_verification::litmus::{ENGINES, Registers, Table, outcomes, shapes};
use shm_verification::{Budget, DepthFirstEngine, Engine, Execution, Model, ViewEngine};

#[test]
fn every_engine_gives_the_verdict_on_record_for_every_shape() {
    println!("{Table}");
    let mut differences = Vec::new();
    let mut executions = [0; ENGINES.len()];
    let mut seconds = [0.0; ENGINES.len()];
    for shape in shapes() {
        for (index, engine) in ENGINES.iter().enumerate() {
            match shape.verdict(index) {
                Ok((verdict, outcome)) => {
                    executions[index] += outcome.executions;
                    seconds[index] += outcome.elapsed.as_secs_f64();
                    if verdict != shape.verdicts[index] {
                        differences
                            .push(format!("{} on {engine}: {verdict:?}: {outcome}", shape.name));
                    }
                }
                Err(problem) => differences.push(format!("{engine}: {problem}")),
            }
        }
    }
    for (index, engine) in ENGINES.iter().enumerate() {
        println!("{engine}: {} executions in {:.2} s", executions[index], seconds[index]);
    }
    assert!(shapes().count() >= 15);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// A bound that no execution of a shape reaches: it turns sleep sets off.
const UNREACHED: u32 = 1_000;

#[test]
fn the_reduction_loses_no_outcome_and_chance_finds_none_beside() {
    let (mut reduced, mut all) = (0, 0);
    for shape in shapes() {
        let (with, with_count) = outcomes(shape, &DepthFirstEngine, &Budget::default());
        let without = Budget::default().preemptions(UNREACHED);
        let (without, without_count) = outcomes(shape, &DepthFirstEngine, &without);
        assert_eq!(with, without, "{}", shape.name);
        let (random, _) = outcomes(shape, &ViewEngine::default(), &Budget::executions(3_000));
        let beside: BTreeSet<&Registers> = random.difference(&with).collect();
        assert!(beside.is_empty(), "{}: {beside:?}", shape.name);
        assert!(with_count <= without_count, "{}", shape.name);
        reduced += with_count;
        all += without_count;
    }
    println!("{reduced} executions with sleep sets, {all} without");
    assert!(reduced * 2 < all, "the reduction reduces");
}

/// A reader knows the writer's mark exactly if it acquired what was released after it.
struct Marks {
    release: Store,
}

impl Model for Marks {
    fn run<X: Execution>(&self, execution: &X) {
        let memory = execution.memory(1);
        let (writing, release, inside) = (memory.clone(), self.release, execution.clone());
        let writer = execution.spawn(move || {
            assert_eq!(inside.mark().unwrap_or_default(), [], "nothing precedes the first mark");
            writing.store(Offset::new(0), 1, release);
        });
        let seen = memory.load(Offset::new(0), Load::Acquire) == 1;
        let marks = execution.mark().expect("the machine keeps happens-before");
        let known = marks.get(1).copied().unwrap_or(0) == 1;
        assert_eq!(known, seen && self.release == Store::Release);
        writer.join();
        assert_eq!(execution.mark().unwrap_or_default(), [1, 1], "a join brings the mark");
    }
}

#[test]
fn marks_tell_happens_before() {
    for release in [Store::Relaxed, Store::Release] {
        let model = Arc::new(Marks { release });
        let outcome = DepthFirstEngine.run(&model, &Budget::default());
        outcome.expect_pass("marks");
        assert!(outcome.is_complete() && outcome.executions > 1, "{outcome}");
    }
}
