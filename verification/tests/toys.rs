//! Which engine catches which defect, and which cannot.
#![allow(missing_docs)]

use std::sync::Arc;

use shm_verification::toys::{
    Counting, DuplicateInsert, Fences, FillOrder, LockDefect, Publishing, Recycling, Snapshots,
    Tags,
};
use shm_verification::{
    Budget, DepthFirstEngine, Engine, FailureKind, LoomEngine, Model, Outcome, ShuttleEngine,
    ViewEngine,
};

/// Who catches a defect, in the order loom, shuttle, PCT, view, depth-first.
type Catches = [bool; 5];

/// A race of logic: interleaving alone shows it.
const ALL: Catches = [true; 5];

/// A missing order: only weak memory shows it.
const WEAK: Catches = [true, false, false, true, true];

const NONE: Catches = [false; 5];

fn outcomes<P: Model>(model: P) -> [Outcome; 5] {
    let model = Arc::new(model);
    let random = Budget::executions(10_000);
    let all = Budget::default();
    [
        LoomEngine.run(&model, &all),
        ShuttleEngine::RANDOM.run(&model, &random),
        ShuttleEngine::PCT.run(&model, &random),
        ViewEngine::default().run(&model, &random),
        DepthFirstEngine.run(&model, &all),
    ]
}

fn check<P: Model>(name: &str, model: P, expected: Catches) {
    let names = ["loom", "shuttle", "shuttle-pct", "view", "depth-first"];
    let outcomes = outcomes(model);
    for ((engine, outcome), caught) in names.iter().zip(&outcomes).zip(expected) {
        println!("{name:<36} {engine:<12} {outcome}");
        let kinds = outcome.failure.as_ref().map(|failure| failure.kind);
        let expected = caught.then_some(FailureKind::Panic);
        assert_eq!(kinds, expected, "{name} on {engine}: {outcome}");
    }
    for enumerating in [&outcomes[0], &outcomes[4]] {
        assert!(enumerating.failure.is_some() || enumerating.is_complete(), "{name}");
    }
}

#[test]
fn an_untagged_free_list_is_caught_by_every_engine_and_a_tagged_one_passes() {
    check("tagged free list", Recycling { tags: Tags::Counted }, NONE);
    check("untagged free list", Recycling { tags: Tags::None }, ALL);
}

#[test]
fn a_seqlock_without_a_fence_is_caught_by_the_weak_engines_alone() {
    let model = |writer, reader| Snapshots { fences: Fences { writer, reader } };
    check("seqlock", model(true, true), NONE);
    check("seqlock without writer fence", model(false, true), WEAK);
    check("seqlock without reader fence", model(true, false), WEAK);
}

#[test]
fn publication_before_the_fill_is_a_race_of_logic_and_without_release_one_of_order() {
    check("fill, then publish", Publishing { order: FillOrder::FillThenPublish }, NONE);
    check("publish before fill", Publishing { order: FillOrder::PublishThenFill }, ALL);
    let relaxed = Publishing { order: FillOrder::FillThenPublishRelaxed };
    check("publish without release", relaxed, WEAK);
}

#[test]
fn a_duplicate_through_different_free_slots_is_caught_by_every_engine() {
    check("membership in one word", DuplicateInsert { one_word: true }, NONE);
    check("a word a slot", DuplicateInsert { one_word: false }, ALL);
}

#[test]
fn a_lock_of_ten_lines_is_checked() {
    let model = |defect| Counting { participants: 2, defect };
    check("lock", model(None), NONE);
    check("lock, taken in two steps", model(Some(LockDefect::LooksThenTakes)), ALL);
    check("lock, relaxed take", model(Some(LockDefect::TakesRelaxed)), WEAK);
    check("lock, relaxed give", model(Some(LockDefect::GivesRelaxed)), WEAK);
}
