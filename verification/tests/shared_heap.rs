//! The arena's blocks, lines and recovery under the engines, through the heap: races, kills at
//! every access, and the faults that these models must catch.
#![allow(missing_docs)]

mod heap;

use std::sync::Arc;

use heap::{Fault, Stage, finished, mark_of, marked};
use shm_arena::{Allocation, HeapError, Load, Memory, SharedHeap, Store};
use shm_verification::{
    Budget, DepthFirstEngine, Ended, Engine, Execution, Kill, LoomEngine, Model, ShuttleEngine,
    ViewEngine, sweep,
};

/// allocate ‖ allocate: two blocks, each zero and its owner's alone.
struct AllocateAllocate(Fault);

impl Model for AllocateAllocate {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 2, self.0);
        let others = [1, 2_u8].map(|mark| {
            stage.spawn(mark.into(), move |heap| {
                let mine = marked(heap, mark).expect("two blocks are there");
                assert_eq!(mark_of(heap, mine), Ok(mark), "somebody else wrote");
                mine
            })
        });
        let [first, second] = others.map(|other| finished(other.join()));
        assert_ne!(first, second, "one block for two");
        stage.check();
    }
}

/// allocate ‖ free of a kept block, on one more block: the allocation is zero whichever it gets.
struct AllocateFree(Fault);

impl Model for AllocateFree {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 2, self.0);
        let kept = marked(&stage.heap, 9).expect("a block");
        stage.heap.keep(kept).expect("mine");
        let first = stage.spawn(1, |heap| {
            let _ = marked(heap, 1).expect("a block is free");
        });
        let second = stage.spawn(2, move |heap| {
            heap.free(kept).expect("kept");
            let _ = marked(heap, 2).expect("the freed one is this line's spare");
        });
        finished(first.join());
        finished(second.join());
        assert_eq!(stage.heap.free(kept), Err(HeapError::Freed { allocation: kept }));
        stage.check();
    }
}

/// free ‖ free of one kept block: one does it, the other is told.
struct FreeFree(Fault);

impl Model for FreeFree {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 2, self.0);
        let kept = marked(&stage.heap, 9).expect("a block");
        stage.heap.keep(kept).expect("mine");
        let others = [1, 2].map(|other| stage.spawn(other, move |heap| heap.free(kept)));
        let freed = others.map(|other| finished(other.join()));
        assert_eq!(freed.iter().filter(|freed| freed.is_ok()).count(), 1, "freed once: {freed:?}");
        stage.check();
    }
}

/// read ‖ free of one kept block: what was written there is read, or that it is freed.
struct ReadFree(Fault);

impl Model for ReadFree {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 2, self.0);
        let kept = marked(&stage.heap, 9).expect("a block");
        stage.heap.keep(kept).expect("mine");
        let reader = stage.spawn(1, move |heap| mark_of(heap, kept));
        let freer = stage.spawn(2, move |heap| heap.free(kept));
        let read = finished(reader.join());
        assert_eq!(finished(freer.join()), Ok(()));
        assert!(
            matches!(read, Ok(9) | Err(HeapError::Freed { .. })),
            "read a wiped block {read:?}"
        );
        stage.check();
    }
}

/// take ‖ free of one kept block: it is taken or freed, not both.
struct TakeFree(Fault);

impl Model for TakeFree {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 2, self.0);
        let kept = marked(&stage.heap, 9).expect("a block");
        stage.heap.keep(kept).expect("mine");
        let taker = stage.spawn(1, move |heap| {
            heap.take(kept).map(|()| assert_eq!(mark_of(heap, kept), Ok(9), "taken and freed"))
        });
        let freer = stage.spawn(2, move |heap| heap.free(kept));
        let outcomes = [finished(taker.join()), finished(freer.join())];
        assert_eq!(
            outcomes.iter().filter(|one| one.is_ok()).count(),
            1,
            "one of both {outcomes:?}"
        );
        stage.check();
    }
}

/// hang ‖ hang under one name; then unhang ‖ unhang: one wins each.
struct HangHang(Fault);

impl Model for HangHang {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 2, self.0);
        let others = [1, 2_u8].map(|mark| {
            stage.spawn(mark.into(), move |heap| {
                let mine = marked(heap, mark).expect("two blocks are there");
                match heap.hang("root", mine) {
                    Ok(()) => true,
                    Err(HeapError::RootTaken { .. } | HeapError::NoRoot { .. }) => {
                        heap.free(mine).expect("what was not hung is the hanger's");
                        false
                    }
                    Err(error) => panic!("{error}"),
                }
            })
        });
        let hung = others.map(|other| finished(other.join()));
        assert_eq!(hung.iter().filter(|hung| **hung).count(), 1, "hung once: {hung:?}");
        let found = stage.heap.root("root").expect("one hung it");
        assert!(matches!(mark_of(&stage.heap, found), Ok(1 | 2)));
        stage.check();
    }
}

/// unhang ‖ unhang ‖ look-up: one gets it.
struct UnhangUnhang(Fault);

impl Model for UnhangUnhang {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 1, self.0);
        let hung = marked(&stage.heap, 5).expect("a block");
        stage.heap.hang("root", hung).expect("a root is free");
        let others = [1, 2].map(|other| {
            stage.spawn(other, |heap| {
                let _ = heap.root("root");
                heap.unhang("root")
            })
        });
        let taken = others.map(|other| finished(other.join()));
        assert_eq!(taken.iter().filter(|one| one.is_ok()).count(), 1, "one gets it: {taken:?}");
        assert!(stage.heap.root("root").is_err());
        stage.check();
    }
}

/// attach ‖ attach: two records; and each allocates on a line of its own.
struct RegisterRegister;

impl Model for RegisterRegister {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Arc::new(Stage::new(execution, 2, Fault::None));
        let others = [1, 2].map(|other| {
            let place = stage.world.place(other);
            let theirs = Arc::clone(&stage);
            stage.world.spawn(&place.clone(), move || {
                let heap = theirs.join_at(&place);
                let _ = marked(&heap, 1).expect("two blocks");
                heap.arena().identity().expect("writable").record
            })
        });
        let [first, second] = others.map(|other| finished(other.join()));
        assert_ne!(first, second, "one record for two");
        stage.check();
    }
}

/// Two threads of one process on one handle: the line goes from hand to hand. What hands it on is
/// private to the process and no engine's memory, so only those without weak memory apply.
struct HandOver;

impl Model for HandOver {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 2, Fault::None);
        let place = stage.world.place(1);
        let heap = Arc::new(stage.join_at(&place));
        let others = [1, 2_u8].map(|mark| {
            let heap = Arc::clone(&heap);
            stage.world.spawn(&place, move || {
                let mine = marked(&heap, mark).expect("two blocks");
                assert_eq!(mark_of(&heap, mine), Ok(mark));
                heap.free(mine).expect("mine");
            })
        });
        let _ = others.map(|other| finished(other.join()));
        stage.check();
    }
}

/// allocate a small block ‖ allocate the whole slab, which serves small blocks and is empty.
struct Reclass(Fault);

impl Model for Reclass {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 2, self.0);
        // Somebody who is gone used the slab, and keeps no spare block of it.
        let gone = stage.join_at(&stage.world.place(3));
        gone.free(gone.allocate(64).expect("a block")).expect("mine");
        gone.detach();
        let others = [(1, 64), (2, 128)].map(|(mark, bytes)| {
            stage.spawn(u32::from(mark), move |heap| {
                // Either may go without: the other withholds what it is in the middle of.
                heap.allocate(bytes).map(|mine| fill(heap, mine, mark))
            })
        });
        let _ = others.map(|other| finished(other.join()));
        stage.check();
    }
}

/// Writes all over an allocation that has to be zero, and looks.
fn fill<M: Memory>(heap: &SharedHeap<M>, mine: Allocation, mark: u8) {
    let bytes = heap.size_of(mine).expect("mine");
    let (first, words) = heap.words_of(mine).expect("mine");
    let last = first + (words - 1);
    assert_eq!(words * 8, bytes);
    for at in [first, last] {
        assert_eq!(heap.memory().load(at, Load::Relaxed), 0, "an allocation is not zero");
        heap.memory().store(at, mark.into(), Store::Relaxed);
    }
    for at in [first, last] {
        assert_eq!(heap.memory().load(at, Load::Relaxed), mark.into(), "somebody else wrote here");
    }
}

/// What the participant that is killed does.
#[derive(Clone, Copy, Debug)]
enum Victim {
    /// Gets the record of a process that died.
    Attach,
    /// Gets a free record, and notices that somebody died.
    Notice,
    Allocate,
    FreeOwn,
    FreeKept,
    Resize,
    Hang,
    Unhang,
    Recover,
    Detach,
    Reclass,
}

const VICTIMS: [Victim; 11] = [
    Victim::Attach,
    Victim::Notice,
    Victim::Allocate,
    Victim::FreeOwn,
    Victim::FreeKept,
    Victim::Resize,
    Victim::Hang,
    Victim::Unhang,
    Victim::Recover,
    Victim::Detach,
    Victim::Reclass,
];

/// A victim killed before its k-th access while a survivor frees, recovers and allocates.
struct Death {
    victim: Victim,
    kill: Kill,
    fault: Fault,
    concurrent: bool,
}

impl Death {
    /// What is there before the victim comes: gives what nobody owns.
    fn prepare<X: Execution>(&self, stage: &Stage<X>) -> Allocation {
        let kept = marked(&stage.heap, 9).expect("a block");
        stage.heap.keep(kept).expect("mine");
        if matches!(self.victim, Victim::Unhang) {
            let hung = marked(&stage.heap, 8).expect("a block");
            stage.heap.hang("root", hung).expect("a root is free");
        }
        if matches!(self.victim, Victim::Recover | Victim::Attach | Victim::Notice) {
            // Somebody died with an allocation before, for the victim to find: without its beacon a
            // process is dead. A kill would count as the victim's.
            let dead = stage.spawn(3, |heap| {
                let _ = heap.allocate(8).expect("a block");
                let identity = heap.arena().identity().expect("writable");
                heap.arena().environment().liveness.release(identity.record);
            });
            finished(dead.join());
        }
        kept
    }

    fn act<X: Execution>(victim: Victim, heap: &heap::Heap<X>, kept: Allocation) {
        let own = || marked(heap, 1);
        match victim {
            Victim::Attach | Victim::Notice | Victim::Allocate => drop(own()),
            Victim::FreeOwn => drop(own().map(|mine| heap.free(mine))),
            Victim::FreeKept => drop(heap.free(kept)),
            Victim::Resize => drop(own().map(|mine| heap.resize(mine, 200))),
            Victim::Hang => drop(own().map(|mine| heap.hang("root", mine))),
            Victim::Unhang => drop(heap.take(kept).and_then(|()| heap.unhang("root"))),
            Victim::Recover => drop(heap.recover()),
            Victim::Detach => drop(own()),
            // The whole slab, once what is kept is gone from it.
            Victim::Reclass => drop(heap.free(kept).and_then(|()| heap.allocate(256))),
        }
    }
}

impl Model for Death {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution, 4, self.fault);
        let victim = self.victim;
        let (place, other) = (stage.world.mortal_place(1, self.kill), stage.world.place(2));
        // Whoever is to recover by a call has attached before: a newcomer recovers by itself.
        let (mut early, mut crowd) = (None, Vec::new());
        if matches!(victim, Victim::Attach) {
            // Others have all records but the dead one's, so the victim frees what that one owned.
            crowd.extend((4..6).map(|at| stage.join_at(&stage.world.place(at))));
        } else {
            early = Some(stage.join_at(&other));
        }
        let join: Box<dyn FnOnce() -> heap::Heap<X> + Send> = match victim {
            Victim::Attach | Victim::Notice => Box::new(stage.joiner(&place)),
            _ => {
                let heap = stage.join_at(&place);
                Box::new(move || heap)
            }
        };
        let kept = self.prepare(&stage);
        let victim = stage.world.spawn(&place, move || {
            let heap = join();
            Self::act::<X>(victim, &heap, kept);
            if matches!(victim, Victim::Detach | Victim::Reclass) {
                heap.detach();
            }
        });
        let mut survive = |stage: &Stage<X>| {
            crowd.drain(..).for_each(heap::Heap::<X>::detach);
            let heap = early.take().unwrap_or_else(|| stage.join_at(&other));
            let survivor = stage.world.spawn(&other, move || {
                let _ = heap.free(kept);
                let _ = heap.recover().expect("a line");
                marked(&heap, 2)
            });
            finished(survivor.join())
        };
        let (survivors, ended) = if self.concurrent {
            let survivors = survive(&stage);
            (survivors, victim.join())
        } else {
            let ended = victim.join();
            (survive(&stage), ended)
        };
        let _ = stage.heap.recover().expect("a line");
        stage.check();
        // A living victim may have the whole slab.
        match survivors {
            Ok(survivors) => assert_eq!(mark_of(&stage.heap, survivors), Ok(2), "its block"),
            Err(error) => assert!(matches!(self.victim, Victim::Reclass), "{error}"),
        }
        // Nothing of the dead is left, and nothing is withheld: all but the survivor's block, what
        // a name keeps and what nobody freed is free or a live line's spare.
        let state = stage.heap.state();
        let living = 1 + usize::from(ended != Ended::Killed);
        assert!(state.processes.len() <= living, "allocations of processes, of them dead: {state}");
        if let Ok(hung) = stage.heap.unhang("root") {
            assert!(matches!(mark_of(&stage.heap, hung), Ok(1 | 8)), "a root of whole bytes");
            stage.heap.free(hung).expect("unhung");
        }
        // A small allocation in the one large block is all that there is room for.
        if !matches!(self.victim, Victim::Reclass) {
            let last = marked(&stage.heap, 3).expect("a block");
            stage.heap.hang("root", last).expect("a root is free");
        }
        stage.check();
    }
}

fn kill_everywhere<E: Engine>(
    engine: &E,
    budget: &Budget,
    victim: Victim,
    fault: Fault,
    concurrent: bool,
) -> shm_verification::Sweep {
    sweep(engine, budget, !concurrent, |kill| Death { victim, kill, fault, concurrent })
}

fn passes<P: Model>(model: P, budget: &Budget) {
    let model = Arc::new(model);
    let drawn = Budget::executions(2_000);
    for (name, outcome) in [
        ("loom", LoomEngine.run(&model, budget)),
        ("depth-first", DepthFirstEngine.run(&model, &Budget::executions(4_000).preemptions(1))),
        ("view", ViewEngine::default().run(&model, &drawn)),
        ("shuttle", ShuttleEngine::RANDOM.run(&model, &drawn)),
    ] {
        println!("{} on {name}: {outcome}", model.name());
        outcome.expect_pass(name);
    }
}

/// Whether an engine finds the fault, for the reason that makes it a fault.
fn is_caught<P: Model>(model: P, reason: &str) -> bool {
    let model = Arc::new(model);
    let budget = Budget::executions(10_000).preemptions(2);
    let outcomes = [
        LoomEngine.run(&model, &budget),
        ShuttleEngine::RANDOM.run(&model, &Budget::executions(10_000)),
    ];
    outcomes.iter().for_each(|outcome| println!("{}: {outcome}", model.name()));
    let failures = outcomes.iter().filter_map(|outcome| outcome.failure.as_ref());
    failures.map(|failure| &failure.message).any(|message| message.contains(reason))
}

fn two() -> Budget {
    Budget::executions(4_000).preemptions(2)
}

#[test]
fn two_allocations_are_two_blocks() {
    passes(AllocateAllocate(Fault::None), &two());
}

#[test]
fn an_allocation_beside_a_free_is_zero() {
    passes(AllocateFree(Fault::None), &two());
}

#[test]
fn one_of_two_frees_succeeds() {
    passes(FreeFree(Fault::None), &two());
}

#[test]
fn what_is_read_beside_a_free_is_whole_or_refused() {
    passes(ReadFree(Fault::None), &two());
}

#[test]
fn wiping_before_the_block_is_nobodys_is_caught() {
    assert!(is_caught(ReadFree(Fault::WipedEarly), "read a wiped block"));
}

#[test]
fn a_block_is_taken_or_freed() {
    passes(TakeFree(Fault::None), &two());
}

#[test]
fn one_of_two_hangs_under_a_name() {
    passes(HangHang(Fault::None), &two());
}

#[test]
fn one_of_two_takes_a_root_down() {
    passes(UnhangUnhang(Fault::None), &two());
}

#[test]
fn two_newcomers_get_two_records() {
    passes(RegisterRegister, &two());
}

#[test]
fn a_slab_changes_its_class_beside_claims_of_the_old_one() {
    passes(Reclass(Fault::None), &two());
}

#[test]
fn a_claim_that_does_not_look_at_the_class_again_is_caught() {
    let model = Arc::new(Reclass(Fault::NoClassCheck));
    let outcome = ShuttleEngine::PCT.run(&model, &Budget::executions(20_000));
    println!("{outcome}");
    let failure = outcome.expect_failure("a claim in the old class");
    assert!(
        ["not zero", "somebody else", "the audit"].iter().any(|why| failure.message.contains(why)),
        "{failure}"
    );
}

#[test]
fn a_line_goes_from_thread_to_thread() {
    for engine in [ShuttleEngine::RANDOM, ShuttleEngine::PCT] {
        let outcome = engine.run(&Arc::new(HandOver), &Budget::executions(3_000));
        println!("{}: {outcome}", engine.name());
        outcome.expect_pass("a lease handed over");
    }
}

#[test]
fn a_death_at_any_access_loses_no_block_and_keeps_what_is_kept() {
    for victim in VICTIMS {
        let outcome = kill_everywhere(
            &DepthFirstEngine,
            &Budget::executions(2_000).preemptions(0),
            victim,
            Fault::None,
            false,
        );
        println!("{victim:?}: {outcome}");
        assert!(outcome.failure.is_none(), "{victim:?}: {outcome}");
        assert!(outcome.kill_points > 12, "{victim:?}: no sweep over {}", outcome.kill_points);
    }
}

#[test]
fn a_death_beside_a_survivor_who_recovers_takes_nothing_from_it() {
    for victim in VICTIMS {
        let drawn = kill_everywhere(
            &ShuttleEngine::RANDOM,
            &Budget::executions(40),
            victim,
            Fault::None,
            true,
        );
        println!("{victim:?}: {drawn}");
        assert!(drawn.failure.is_none(), "{victim:?}: {drawn}");
        let late = &Budget::executions(8);
        let late = kill_everywhere(&ViewEngine::default(), late, victim, Fault::None, true);
        println!("{victim:?}, stores seen late: {late}");
        assert!(late.failure.is_none(), "{victim:?}: {late}");
    }
}

#[test]
fn recovery_takes_no_block_that_a_living_one_is_about_to_publish() {
    let budget = Budget::executions(1_500).preemptions(2);
    let right = kill_everywhere(&LoomEngine, &budget, Victim::FreeKept, Fault::None, true);
    println!("{right}");
    assert!(right.failure.is_none(), "{right}");
    let wrong = kill_everywhere(&LoomEngine, &budget, Victim::FreeKept, Fault::NoSecondLook, true);
    println!("{wrong}");
    let (_, failure) = wrong.failure.expect("an intent without a second look at the index");
    assert!(failure.message.contains("the audit"), "{failure}");
}

#[test]
fn freeing_blindly_is_caught() {
    assert!(is_caught(FreeFree(Fault::BlindOwner), "freed once"));
    assert!(is_caught(TakeFree(Fault::BlindOwner), "one of both"));
}

#[test]
fn hanging_without_the_version_is_caught() {
    assert!(is_caught(UnhangUnhang(Fault::BlindOwner), "one gets it"));
}

#[test]
fn leaving_out_the_wipe_is_caught() {
    assert!(is_caught(AllocateFree(Fault::NotWiped), "not zero"));
}

#[test]
fn a_process_that_does_not_say_where_it_owns_blocks_is_caught() {
    let budget = Budget::executions(500).preemptions(0);
    let victim = Victim::Detach;
    let lost = kill_everywhere(&DepthFirstEngine, &budget, victim, Fault::NotTouched, false);
    println!("{lost}");
    let (_, failure) = lost.failure.expect("blocks of the dead that nobody looks for");
    assert!(failure.message.contains("of them dead"), "{failure}");
}

#[test]
fn hints_lost_at_a_kill_are_caught() {
    let budget = Budget::executions(500).preemptions(0);
    let lost = kill_everywhere(&DepthFirstEngine, &budget, Victim::Allocate, Fault::NoHint, false);
    println!("{lost}");
    let (_, failure) = lost.failure.expect("hints that nobody sets again");
    assert!(failure.message.contains("no hint says so"), "{failure}");
}
