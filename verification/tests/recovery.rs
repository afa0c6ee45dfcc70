//! Recovery of a heap by several at once, by one that dies of it, and again by the next.
#![allow(missing_docs)]

mod heap;

use std::sync::Arc;

use heap::{Fault, Heap, Stage, finished, mark_of, marked};
use shm_arena::HeapRecovered;
use shm_verification::{
    Budget, DepthFirstEngine, Engine, Execution, Kill, LoomEngine, Lost, Model, Participant,
    ShuttleEngine, Sweep, ViewEngine, sweep,
};

/// Blocks that the dead process has: two it owns, one it keeps spare.
const DEAD_BLOCKS: u32 = 3;

/// Dies with blocks that its record's bits lead to, and one that its line names.
fn die_with_blocks<X: Execution>(heap: &Heap<X>) {
    let _ = marked(heap, 1).expect("a block");
    heap.free(marked(heap, 2).expect("a block")).expect("mine");
    let _ = marked(heap, 3).expect("the spare");
    heap.free(marked(heap, 4).expect("a block")).expect("mine");
    let identity = heap.arena().identity().expect("writable");
    heap.arena().environment().liveness.release(identity.record);
}

fn somebody_dies<X: Execution>(stage: &Stage<X>) {
    finished(stage.spawn(3, |heap| die_with_blocks::<X>(heap)).join());
}

/// recover ‖ recover: both find the same dead process; each of its blocks is freed once.
struct RecoverRecover(Fault);

impl Model for RecoverRecover {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 4, self.0);
        // Both have attached before anybody dies: a newcomer recovers by itself.
        let places = [1, 2].map(|other| stage.world.place(other));
        let [first, second] = places.each_ref().map(|place| stage.join_at(place));
        somebody_dies(&stage);
        let begin = |place, heap: Heap<X>| -> Participant<_> {
            stage.world.spawn(place, move || heap.recover().expect("a line"))
        };
        let others = [begin(&places[0], first), begin(&places[1], second)];
        let recovered = others.map(|other| finished(other.join()));
        expect_freed_once(&stage, &recovered);
    }
}

/// Recoveries that are over found each dead process and each of its blocks once.
fn expect_freed_once<X: Execution>(stage: &Stage<X>, recovered: &[HeapRecovered]) {
    let processes: u32 = recovered.iter().map(|one| one.processes).sum();
    let blocks: u32 = recovered.iter().map(|one| one.blocks).sum();
    assert_eq!((processes, blocks), (1, DEAD_BLOCKS), "recovered once: {recovered:?}");
    expect_counted_once(stage);
}

/// What recoveries that are over say they did, together, and that it is done.
fn expect_counted_once<X: Execution>(stage: &Stage<X>) {
    let counted = stage.heap.arena().recoveries();
    assert_eq!((counted.processes, counted.blocks), (1, u64::from(DEAD_BLOCKS)), "counted once");
    stage.check();
    // Everything is there again, but for a spare block that either recoverer may keep.
    for mark in 1..3 {
        let block = marked(&stage.heap, mark).expect("two blocks are free");
        assert_eq!(mark_of(&stage.heap, block), Ok(mark));
    }
    stage.check();
}

/// Somebody died of freeing a block. free of it and allocate ‖ recover: deleter and reaper both
/// want it, and what the allocator has next is its own.
struct ReapBesideFree {
    kill: Kill,
    fault: Fault,
}

impl Model for ReapBesideFree {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 4, self.fault);
        let kept = marked(&stage.heap, 9).expect("a block");
        stage.heap.keep(kept).expect("mine");
        let doomed = stage.world.mortal_place(3, self.kill);
        let [first, second] = [1, 2].map(|other| stage.world.place(other));
        let [victim, deleter, reaper] =
            [&doomed, &first, &second].map(|place| stage.join_at(place));
        let _ = stage.world.spawn(&doomed, move || drop(victim.free(kept))).join();
        let frees = stage.world.spawn(&first, move || {
            let _ = deleter.free(kept);
            let mine = marked(&deleter, 7).expect("a block");
            (deleter, mine)
        });
        let recovers = stage.world.spawn(&second, move || reaper.recover().map(drop));
        let (_deleter, mine) = finished(frees.join());
        assert_eq!(finished(recovers.join()), Ok(()));
        assert_eq!(mark_of(&stage.heap, mine), Ok(7), "wiped by another");
        stage.check();
    }
}

/// attach ‖ attach after a death: both may notice it, and nobody calls for a recovery.
struct Newcomers(Fault);

impl Model for Newcomers {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 4, self.0);
        somebody_dies(&stage);
        let others = [1, 2].map(|other| {
            let place = stage.world.place(other);
            let join = stage.joiner(&place);
            stage.world.spawn(&place, join)
        });
        let _heaps = others.map(|other| finished(other.join()));
        expect_counted_once(&stage);
    }
}

/// A recovery is killed, the next one too, and a third one finishes.
struct Relay {
    kills: [Kill; 2],
    fault: Fault,
}

impl Model for Relay {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 4, self.fault);
        let places = [1, 2].into_iter().zip(self.kills);
        let victims = places.map(|(other, kill)| {
            let place = stage.world.mortal_place(other, kill);
            (stage.join_at(&place), place)
        });
        let victims: Vec<_> = victims.collect();
        somebody_dies(&stage);
        for (heap, place) in victims {
            let _ = stage.world.spawn(&place, move || heap.recover().map(drop)).join();
        }
        let _ = stage.heap.recover().expect("a line");
        // What the victims had by themselves, a spare block at most, is back as well.
        let state = stage.heap.state();
        assert!(state.processes.is_empty(), "of the dead: {state}");
        stage.check();
    }
}

/// Two recoveries at once, one of which is killed.
struct Takeover {
    kill: Kill,
}

impl Model for Takeover {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 4, Fault::None);
        let (place, other) = (stage.world.mortal_place(1, self.kill), stage.world.place(2));
        let (heap, second) = (stage.join_at(&place), stage.join_at(&other));
        somebody_dies(&stage);
        let victim = stage.world.spawn(&place, move || heap.recover().map(drop));
        let survivor = stage.world.spawn(&other, move || second.recover().expect("a line"));
        let _ = victim.join();
        finished(survivor.join());
        let _ = stage.heap.recover().expect("a line");
        let state = stage.heap.state();
        assert!(state.processes.is_empty(), "of the dead: {state}");
        stage.check();
    }
}

fn passes_on<E: Engine, P: Model>(engine: &E, budget: &Budget, model: &Arc<P>) {
    let outcome = engine.run(model, budget);
    println!("{}: {outcome}", engine.name());
    outcome.expect_pass(&engine.name());
}

fn passes<P: Model>(model: P) {
    let model = Arc::new(model);
    passes_on(&LoomEngine, &Budget::executions(4_000).preemptions(2), &model);
    passes_on(&DepthFirstEngine, &Budget::executions(4_000).preemptions(1), &model);
    passes_on(&ViewEngine::default(), &Budget::executions(2_000), &model);
    passes_on(&ShuttleEngine::RANDOM, &Budget::executions(2_000), &model);
    passes_on(&ShuttleEngine::PCT, &Budget::executions(2_000), &model);
}

#[test]
fn two_recoveries_at_once_free_each_block_once() {
    passes(RecoverRecover(Fault::None));
}

#[test]
fn newcomers_recover_the_dead_whom_they_notice_once_and_without_a_call() {
    passes(Newcomers(Fault::None));
}

#[test]
fn newcomers_that_exchange_blindly_are_caught() {
    let model = Arc::new(Newcomers(Fault::BlindOwner));
    let outcome = LoomEngine.run(&model, &Budget::executions(10_000).preemptions(2));
    println!("{outcome}");
    let failure = outcome.expect_failure("an owner word exchanged blindly");
    assert!(failure.message.contains("once"), "{failure}");
}

#[test]
fn two_recoveries_that_exchange_blindly_are_caught() {
    let model = Arc::new(RecoverRecover(Fault::BlindOwner));
    let outcome = LoomEngine.run(&model, &Budget::executions(10_000).preemptions(2));
    println!("{outcome}");
    let failure = outcome.expect_failure("an owner word exchanged blindly");
    assert!(failure.message.contains("once"), "{failure}");
}

fn reap_beside_free<E: Engine>(engine: &E, budget: &Budget, fault: Fault) -> Sweep {
    let swept = sweep(engine, budget, false, |kill| ReapBesideFree { kill, fault });
    println!("{}: {swept}", engine.name());
    swept
}

#[test]
fn deleter_and_reaper_of_one_block_leave_the_next_owner_alone() {
    let one = Budget::executions(100).preemptions(1);
    for swept in [
        reap_beside_free(&LoomEngine, &one, Fault::None),
        reap_beside_free(&DepthFirstEngine, &one, Fault::None),
        reap_beside_free(&ViewEngine::default(), &Budget::executions(50), Fault::None),
        reap_beside_free(&ShuttleEngine::RANDOM, &Budget::executions(100), Fault::None),
    ] {
        assert!(swept.failure.is_none() && swept.kill_points > 20, "{swept}");
    }
}

#[test]
fn a_reaper_that_wipes_what_it_does_not_own_is_caught() {
    let budget = Budget::executions(2_000).preemptions(2);
    let swept = reap_beside_free(&LoomEngine, &budget, Fault::BlindReaper);
    let (_, failure) = swept.failure.expect("a block drained by another");
    let reasons = ["wiped by another", "not zero", "the audit"];
    assert!(reasons.iter().any(|reason| failure.message.contains(reason)), "{failure}");
}

/// Kills two recoveries at these accesses each, one after the other; gives the first failure.
fn relay(kills: [u64; 2], fault: Fault) -> Option<String> {
    let kills = kills.map(|after_accesses| Kill { after_accesses, lost: Lost::Nothing });
    let budget = Budget::executions(50).preemptions(0);
    let outcome = DepthFirstEngine.run(&Arc::new(Relay { kills, fault }), &budget);
    outcome.failure.map(|failure| failure.message)
}

/// Accesses beyond which a recovery here has nothing left to do.
const ACCESSES: u64 = 150;

#[test]
fn a_recovery_killed_at_every_access_and_repeated_loses_nothing() {
    for first in 0..ACCESSES {
        for second in (first % 7..ACCESSES).step_by(7) {
            assert_eq!(relay([first, second], Fault::None), None, "killed at {first}, {second}");
        }
    }
}

#[test]
fn a_relay_in_which_nobody_sets_the_hints_again_is_caught() {
    let failures = (0..ACCESSES).filter_map(|first| relay([first, 20], Fault::NoHint));
    let caught = failures.filter(|message| message.contains("no hint says so")).count();
    println!("caught at {caught} kill points");
    assert!(caught > 0, "hints that nobody sets again");
}

#[test]
fn a_recovery_killed_beside_another_loses_nothing() {
    let drawn =
        sweep(&ShuttleEngine::RANDOM, &Budget::executions(40), false, |kill| Takeover { kill });
    println!("{drawn}");
    assert!(drawn.failure.is_none(), "{drawn}");
    let budget = Budget::executions(60).preemptions(1);
    let found = sweep(&LoomEngine, &budget, false, |kill| Takeover { kill });
    println!("{found}");
    assert!(found.failure.is_none(), "{found}");
}
