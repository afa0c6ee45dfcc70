//! Models that are themselves defective: each is a clear failure on every engine, never a hang and
//! never green.
#![allow(missing_docs)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use shm_arena::{Backoff, Load, Memory, Offset, Rmw, Store};
use shm_verification::{
    Budget, DepthFirstEngine, Engine, Execution, FailureKind, LoomEngine, Model, ShuttleEngine,
    ViewEngine,
};

const WORD: Offset = Offset::new(0);

/// Runs a model on each engine and checks kind and wording of the failure, then has it again.
fn fails<P: Model>(make: impl Fn() -> P, kind: FailureKind, wording: &str) {
    let budget = Budget { accesses: 200, stall: Duration::from_secs(2), ..Budget::executions(300) };
    fn on<E: Engine, P: Model>(
        engine: &E,
        model: P,
        budget: &Budget,
        kind: FailureKind,
        wording: &str,
    ) {
        let model = Arc::new(model);
        let outcome = engine.run(&model, budget);
        let failure = outcome.expect_failure(&format!("{} on {}", model.name(), engine.name()));
        println!("{}: {outcome}", engine.name());
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(failure.message.contains(wording), "{failure}");
        if kind != FailureKind::Divergent && kind != FailureKind::Stalled {
            let again = engine.replay(&model, budget, &failure.replay);
            let again = again.expect_failure("the replay");
            assert_eq!((again.kind, &again.message), (failure.kind, &failure.message));
        }
    }
    on(&LoomEngine, make(), &budget, kind, wording);
    on(&ShuttleEngine::RANDOM, make(), &budget, kind, wording);
    on(&ShuttleEngine::PCT, make(), &budget, kind, wording);
    on(&ViewEngine::default(), make(), &budget, kind, wording);
    on(&DepthFirstEngine, make(), &budget, kind, wording);
}

struct Panics;

impl Model for Panics {
    fn run<X: Execution>(&self, execution: &X) {
        let memory = execution.memory(1);
        let other = memory.clone();
        let storer = execution.spawn(move || other.store(WORD, 1, Store::Relaxed));
        let seen = memory.load(WORD, Load::Relaxed);
        storer.join();
        assert_eq!(seen, 0, "the store was seen");
    }
}

#[test]
fn a_failed_assertion_names_its_place_and_replays() {
    fails(|| Panics, FailureKind::Panic, "the store was seen");
}

struct PanicsInParticipant;

impl Model for PanicsInParticipant {
    fn run<X: Execution>(&self, execution: &X) {
        let memory = execution.memory(1);
        let other = memory.clone();
        let adder = execution.spawn(move || {
            let before = other.fetch_add(WORD, 1, Rmw::Relaxed);
            assert_eq!(before, 0, "somebody else was first");
        });
        memory.fetch_add(WORD, 1, Rmw::Relaxed);
        adder.join();
    }
}

#[test]
fn a_panic_in_a_participant_is_a_failure() {
    fails(|| PanicsInParticipant, FailureKind::Panic, "somebody else was first");
}

struct NeverJoins;

impl Model for NeverJoins {
    fn run<X: Execution>(&self, execution: &X) {
        let memory = execution.memory(1);
        let other = memory.clone();
        drop(execution.spawn(move || other.store(WORD, 1, Store::Relaxed)));
        memory.load(WORD, Load::Relaxed);
    }
}

#[test]
fn a_participant_that_is_never_joined_is_a_leak() {
    fails(|| NeverJoins, FailureKind::Leak, "0 of 1 participants were joined");
}

/// Keeps what an execution should have dropped.
struct KeepsMemory(Mutex<Vec<Box<dyn std::any::Any + Send>>>);

impl Model for KeepsMemory {
    fn run<X: Execution>(&self, execution: &X) {
        let memory = execution.memory(1);
        memory.store(WORD, 1, Store::Relaxed);
        self.0.lock().unwrap().push(Box::new(memory));
    }
}

#[test]
fn memory_that_outlives_its_execution_is_a_leak() {
    let make = || KeepsMemory(Mutex::new(Vec::new()));
    fails(make, FailureKind::Leak, "1 memories outlived the execution");
}

struct WaitsForNobody {
    spins: bool,
}

impl Model for WaitsForNobody {
    fn run<X: Execution>(&self, execution: &X) {
        let memory = execution.memory(1);
        let other = memory.clone();
        let spins = self.spins;
        let waiter = execution.spawn(move || {
            while other.load(WORD, Load::Acquire) == 0 {
                if spins {
                    other.spin(&Backoff::new());
                }
            }
        });
        waiter.join();
    }
}

#[test]
fn waiting_for_something_that_nobody_does_is_over_budget() {
    fails(|| WaitsForNobody { spins: true }, FailureKind::OverBudget, "");
}

#[test]
fn a_loop_that_forgets_to_spin_is_over_budget() {
    fails(|| WaitsForNobody { spins: false }, FailureKind::OverBudget, "without spin");
}

/// Two participants that wait for each other's end.
struct JoinsInACircle;

impl Model for JoinsInACircle {
    fn run<X: Execution>(&self, execution: &X) {
        let memory = execution.memory(1);
        let slot = Arc::new(Mutex::new(None));
        let (seen, waits) = (Arc::clone(&slot), memory.clone());
        let first = execution.spawn(move || {
            while waits.load(WORD, Load::Acquire) == 0 {
                waits.spin(&Backoff::new());
            }
            let second: shm_verification::Participant<()> =
                seen.lock().unwrap().take().expect("stored before the word");
            second.join();
        });
        let second = execution.spawn(move || first.join());
        *slot.lock().unwrap() = Some(second);
        memory.store(WORD, 1, Store::Release);
    }
}

#[test]
fn participants_that_wait_for_each_other_are_a_deadlock() {
    fails(|| JoinsInACircle, FailureKind::Deadlock, "");
}

struct LoopsWithoutAccess;

impl Model for LoopsWithoutAccess {
    fn run<X: Execution>(&self, execution: &X) {
        let memory = execution.memory(1);
        let other = memory.clone();
        let thread = execution.spawn(move || other.fetch_add(WORD, 1, Rmw::Relaxed));
        let never = Mutex::new(0);
        while *never.lock().unwrap() == 0 {
            std::thread::sleep(Duration::from_millis(10));
        }
        thread.join();
    }
}

#[test]
fn a_loop_without_any_access_is_stalled() {
    fails(|| LoopsWithoutAccess, FailureKind::Stalled, "no shared access for 2s");
}

/// Does something else each time.
struct Counts(Mutex<u64>);

impl Model for Counts {
    fn run<X: Execution>(&self, execution: &X) {
        let memory = execution.memory(1);
        let mut count = self.0.lock().unwrap();
        *count += 1;
        memory.store(WORD, *count, Store::Relaxed);
        drop(count);
        let other = memory.clone();
        let thread = execution.spawn(move || other.fetch_add(WORD, 1, Rmw::Relaxed));
        memory.load(WORD, Load::Relaxed);
        thread.join();
    }
}

#[test]
fn a_model_that_does_something_else_on_replay_is_divergent() {
    fails(|| Counts(Mutex::new(0)), FailureKind::Divergent, "same choices");
}

struct Crowd;

impl Model for Crowd {
    fn run<X: Execution>(&self, execution: &X) {
        let memory = execution.memory(1);
        let all: Vec<_> = (0..5)
            .map(|_| {
                let memory = memory.clone();
                execution.spawn(move || memory.fetch_add(WORD, 1, Rmw::Relaxed))
            })
            .collect();
        for participant in all {
            participant.join();
        }
    }
}

#[test]
fn loom_has_four_participants_beside_the_model_and_says_so() {
    let outcome = LoomEngine.run(&Arc::new(Crowd), &Budget::executions(10));
    let failure = outcome.expect_failure("five participants");
    assert_eq!(failure.kind, FailureKind::TooManyParticipants, "{failure}");
}

/// Makes the same accesses in the first executions, and others later.
struct Drifts(Mutex<u64>);

impl Model for Drifts {
    fn run<X: Execution>(&self, execution: &X) {
        let mut count = self.0.lock().unwrap();
        *count += 1;
        let late = *count > 4;
        drop(count);
        let memory = execution.memory(2);
        let other = memory.clone();
        let thread = execution.spawn(move || {
            other.fetch_add(WORD, 1, Rmw::Relaxed);
            if late {
                other.load(WORD + 1, Load::Relaxed);
                other.fetch_add(WORD + 1, 1, Rmw::Relaxed);
            }
            other.fetch_add(WORD, 1, Rmw::Relaxed);
        });
        memory.load(WORD, Load::Relaxed);
        memory.fetch_add(WORD + 1, 1, Rmw::Relaxed);
        memory.load(WORD, Load::Relaxed);
        thread.join();
    }
}

#[test]
fn an_enumeration_notices_a_model_that_drifts() {
    let outcome = DepthFirstEngine.run(&Arc::new(Drifts(Mutex::new(0))), &Budget::default());
    let failure = outcome.expect_failure("a drifting model");
    println!("{outcome}");
    assert_eq!(failure.kind, FailureKind::Divergent, "{failure}");
}
