//! `cas_bucket` while it changes its size: what each fault of that breaks, and who sees it.
#![allow(missing_docs)]

use std::sync::Arc;

use shm_arena::Memory;
use shm_table::{CasBucket, TableOptions, TableShape};
use shm_verification::faulty_resizing::ResizingFault;
use shm_verification::scenario::{
    CasBucketSubject, Order, Scenario, ScenarioModel, Subject, options_for,
};
use shm_verification::{Budget, Engine, Outcome, ShuttleEngine, ViewEngine};

/// Buckets of four slots, which change their number by themselves as well.
struct Narrow;

impl Subject for Narrow {
    const NAME: &'static str = "narrow";

    type Table<M: Memory + 'static> = CasBucket<M>;

    fn options(scenario: &Scenario) -> TableOptions {
        let options = options_for(scenario);
        let shape = options.shape.map(|shape| TableShape { slots: 4, ..shape });
        TableOptions { shape, adjusts: true, ..options }
    }
}

fn model<S: Subject>(
    text: &str,
    order: Order,
    fault: Option<ResizingFault>,
) -> Arc<ScenarioModel<S>> {
    let scenario: Scenario = text.parse().expect("a scenario");
    let model = ScenarioModel::<S>::new(scenario, order);
    Arc::new(match fault {
        Some(fault) => model.faulty(fault),
        None => model,
    })
}

/// What is drawn of a scenario: in weak memory, at random, and by priorities.
fn drawn<S: Subject>(text: &str, executions: u64, fault: Option<ResizingFault>) -> [Outcome; 3] {
    let budget = Budget::executions(executions);
    [
        ViewEngine::default().run(&model::<S>(text, Order::HappensBefore, fault), &budget),
        ShuttleEngine::RANDOM.run(&model::<S>(text, Order::RealTime, fault), &budget),
        ShuttleEngine::PCT.run(&model::<S>(text, Order::RealTime, fault), &budget),
    ]
}

fn is_caught<S: Subject>(text: &str, executions: u64, fault: ResizingFault) {
    let caught: Vec<_> = drawn::<S>(text, executions, Some(fault))
        .iter()
        .map(|outcome| {
            outcome
                .failure
                .as_ref()
                .map(|failure| failure.message.lines().next().unwrap_or("").to_owned())
        })
        .collect();
    println!("{fault:?}: {caught:?}");
    assert!(caught.iter().any(Option::is_some), "{fault:?} is not caught in {text}");
    for outcome in drawn::<S>(text, executions, None) {
        outcome.expect_pass(text);
    }
}

#[test]
fn an_heir_that_is_opened_before_it_is_filled_loses_entries() {
    is_caught::<CasBucketSubject>(
        "put a, put b : grow | get a, get b",
        500,
        ResizingFault::OpenedBeforeFilled,
    );
}

#[test]
fn a_late_helper_that_fills_again_brings_removed_entries_back() {
    is_caught::<CasBucketSubject>(
        "put a, put b : grow | take b, take a, insert a",
        20_000,
        ResizingFault::FilledBlindly,
    );
}

#[test]
fn a_miss_that_does_not_look_at_the_root_again_is_wrong() {
    is_caught::<CasBucketSubject>(
        "put a, put b : grow, shrink | get a, get b",
        20_000,
        ResizingFault::NoRootRecheck,
    );
}

#[test]
fn a_frozen_bucket_that_is_believed_without_a_second_look_is_stale() {
    is_caught::<CasBucketSubject>(
        "put a : grow, put a | get a, get a",
        20_000,
        ResizingFault::NoHeaderRecheck,
    );
}

#[test]
fn a_claim_that_overslept_a_life_must_not_take_a_slot_of_the_next() {
    is_caught::<CasBucketSubject>(
        "put a, put b, remove a : grow, shrink | insert a, get b",
        20_000,
        ResizingFault::ClaimOfAnyVacantSlot,
    );
}

#[test]
fn buckets_that_are_not_capped_may_not_fit_when_they_are_merged() {
    is_caught::<Narrow>(
        "put a, put b, grow : shrink | insert c, insert d",
        20_000,
        ResizingFault::NoCap,
    );
}

#[test]
fn a_cleaner_that_comes_late_must_not_empty_what_is_there_by_now() {
    is_caught::<CasBucketSubject>(
        "put a, put b : grow, shrink | take a, insert a",
        20_000,
        ResizingFault::CleanedBlindly,
    );
}
