//! The timestamp rule of the published K-CAS Robin Hood set: what it loses, and what repairs it.
//!
//! With `--nocapture` the tests print the interleavings and the counts that
//! `papers/kelly-robin-hood.md` quotes.
#![allow(missing_docs)]

use std::sync::Arc;

use shm_verification::kelly::{Call, Key, Rule, StripeModel, Verb, drawn, names};
use shm_verification::{Budget, DepthFirstEngine, Engine, LoomEngine, ShuttleEngine, explain};

/// The published rule with one of the repairs.
const REMOVAL_REPAIRED: Rule = Rule { removal_moves_own_stripe: true, ..Rule::PUBLISHED };
const ADDITION_REPAIRED: Rule = Rule { addition_compares_unwritten: true, ..Rule::PUBLISHED };

/// The repaired rule, less what the published one had right.
const NO_TERMINATOR: Rule = Rule { removal_moves_terminator: false, ..Rule::REPAIRED };

/// Programs drawn for each rule and width of stripes.
const DRAWN: usize = 600;

fn call(verb: Verb, key: u8) -> Call {
    Call { verb, key: Key::new(key) }
}

fn model(rule: Rule, setup: &[u8], programs: [&[Call]; 2]) -> StripeModel {
    StripeModel {
        rule,
        stripe_buckets: 4,
        setup: setup.iter().map(|&key| Key::new(key)).collect(),
        programs: programs.map(<[Call]>::to_vec).into(),
    }
}

/// The home of keys 6 and 7 is bucket 3, the last of the first stripe, so 7 lies in bucket 4. It is
/// never absent, and moves back when 6 goes.
fn moved_key(rule: Rule) -> StripeModel {
    model(rule, &[6, 7], [&[call(Verb::Contains, 7)], &[call(Verb::Remove, 6)]])
}

/// The home of keys 4 and 5 is bucket 2, so they fill the rest of the first stripe; that of 6 is
/// bucket 3. It is added by both, by one of them after 4 made room.
fn added_by_both(rule: Rule) -> StripeModel {
    let programs: [&[Call]; 2] =
        [&[call(Verb::Add, 6)], &[call(Verb::Remove, 4), call(Verb::Add, 6)]];
    model(rule, &[4, 5], programs)
}

/// Key 6 goes from the last bucket of the first stripe, while 7 comes to the bucket behind it, at
/// which the shift of that removal ends.
fn added_at_terminator(rule: Rule) -> StripeModel {
    model(rule, &[6], [&[call(Verb::Remove, 6)], &[call(Verb::Add, 7)]])
}

fn budget(preemptions: u32) -> Budget {
    Budget::executions(100_000).preemptions(preemptions)
}

/// Asserts that this many preemptions are needed and suffice, on both enumerating engines, that
/// random schedules find it as well, and that the failure says all of `parts`. Prints it.
fn expect_defect(model: StripeModel, preemptions: u32, parts: &[&str]) {
    fn on<E: Engine>(engine: &E, model: &Arc<StripeModel>, needed: u32, parts: &[&str]) {
        for bound in 0..needed {
            let outcome = engine.run(model, &budget(bound));
            assert!(outcome.is_complete(), "{model} on {}: {outcome}", engine.name());
        }
        let budget = budget(needed);
        let outcome = engine.run(model, &budget);
        let failure = outcome.expect_failure(&engine.name());
        let table = explain(engine, model, &budget, failure, names());
        println!("{table}");
        for part in parts {
            assert!(table.contains(part), "{part} is missing in\n{table}");
        }
    }
    let model = Arc::new(model);
    on(&DepthFirstEngine, &model, preemptions, parts);
    on(&LoomEngine, &model, preemptions, parts);
    let random = ShuttleEngine::RANDOM.run(&model, &Budget::executions(2_000));
    random.expect_failure("random schedules");
}

/// Asserts that nothing is found up to three preemptions, and prints how much was explored.
fn expect_clean(model: StripeModel) {
    let model = Arc::new(model);
    for preemptions in 0..=3 {
        for outcome in [
            DepthFirstEngine.run(&model, &budget(preemptions)),
            LoomEngine.run(&model, &budget(preemptions)),
        ] {
            println!("{model}: {outcome}");
            assert!(outcome.is_complete(), "{model}: {outcome}");
        }
    }
    let random = ShuttleEngine::RANDOM.run(&model, &Budget::executions(10_000));
    random.expect_pass("random schedules");
}

#[test]
fn the_published_rule_misses_a_key_that_is_never_absent() {
    let parts = ["contains 7: false", "bucket 3 key 6 -> key 7", "no order of the calls explains"];
    expect_defect(moved_key(Rule::PUBLISHED), 1, &parts);
}

#[test]
fn the_published_rule_adds_a_key_twice() {
    let parts = ["bucket 3 empty -> key 6", "bucket 4 empty -> key 6", "key 6 is in 2 buckets"];
    expect_defect(added_by_both(Rule::PUBLISHED), 1, &parts);
}

#[test]
fn each_repair_alone_leaves_the_other_defect() {
    expect_clean(moved_key(REMOVAL_REPAIRED));
    expect_defect(added_by_both(REMOVAL_REPAIRED), 1, &["key 6 is in 2 buckets"]);
    expect_clean(added_by_both(ADDITION_REPAIRED));
    expect_defect(moved_key(ADDITION_REPAIRED), 1, &["contains 7: false"]);
}

#[test]
fn with_both_repairs_nothing_is_found() {
    for model in [moved_key, added_by_both, added_at_terminator] {
        expect_clean(model(Rule::REPAIRED));
    }
}

#[test]
fn either_defect_alone_cuts_off_a_run() {
    let parts = ["contains 7: false", "bucket 4 is cut off from the run before it"];
    for rule in [Rule::PUBLISHED, REMOVAL_REPAIRED, ADDITION_REPAIRED] {
        expect_defect(added_at_terminator(rule), 1, &parts);
    }
}

#[test]
fn the_repaired_rule_without_a_validated_terminator_cuts_off_a_run() {
    let parts = ["bucket 3 key 6 -> empty", "bucket 4 is cut off from the run before it"];
    expect_defect(added_at_terminator(NO_TERMINATOR), 1, &parts);
}

#[test]
fn drawn_programs_tell_the_rules_apart() {
    for stripe_buckets in [4, 2] {
        let violated = |name, rule| {
            let (mut violated, mut executions) = (0, 0);
            for model in drawn(rule, stripe_buckets, 1).take(DRAWN) {
                let outcome = DepthFirstEngine.run(&Arc::new(model), &budget(2));
                assert!(outcome.failure.is_some() || outcome.is_complete(), "{outcome}");
                violated += u32::from(outcome.failure.is_some());
                executions += outcome.executions;
            }
            println!(
                "{name}, {stripe_buckets} buckets a stripe: {violated} of {DRAWN} drawn programs \
                 violate within 2 preemptions, {executions} executions"
            );
            violated
        };
        let published = violated("published", Rule::PUBLISHED);
        let removal = violated("removal repaired", REMOVAL_REPAIRED);
        let addition = violated("addition repaired", ADDITION_REPAIRED);
        assert!(published > removal && published > addition, "a repair repairs something");
        assert!(removal > 0 && addition > 0, "one repair is not enough");
        assert_eq!(violated("repaired", Rule::REPAIRED), 0);
        assert!(violated("no terminator", NO_TERMINATOR) > 0, "the mutant is caught");
    }
}
