//! `chained` killed at every access while its size changes, and while that is repaired.
#![allow(missing_docs)]

use std::sync::Arc;

use shm_arena::{HEADER_WORDS, Offset};
use shm_table::{Chained, Design, Entry, Put, Remove, Table, TableOptions, TableShape};
use shm_verification::faulty::{Buckets, Fault, Faulty};
use shm_verification::{
    Budget, CrashMemory, DepthFirstEngine, Ended, Engine, Execution, Kill, Lost, Model,
    ShuttleEngine, Sweep, ViewEngine, World, sweep,
};

type Shared<X> = Faulty<CrashMemory<<X as Execution>::Memory>>;

/// What the first victim is doing.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// The insertion of a fifth entry into two buckets.
    Grow,
    /// The removal of the last but one entry from four buckets.
    Shrink,
    /// An order to put five entries in four buckets into one.
    Adjust,
}

/// The change dies before an access, whoever repairs it before another, and a third looks.
struct Killed {
    change: Change,
    kill: Kill,
    second: Option<Kill>,
    fault: Fault,
}

/// The word of the control area that names what is being moved.
const MOVING: Offset = Offset::new(HEADER_WORDS + 2);

fn options() -> TableOptions {
    let shape = TableShape { buckets: 1, slots: 2, slabs: 1, slab_units: 16, block_units_min: 1 };
    TableOptions {
        processes: 5,
        lines: 5,
        hash_secret: Some([1, 2]),
        shape: Some(shape),
        buckets_max: Some(4),
        ..TableOptions::default()
    }
}

fn act(table: &impl Table, change: Change) {
    match change {
        Change::Grow => put(table, 5),
        Change::Shrink => assert_eq!(table.remove(&[2]), Ok(Remove::Removed)),
        Change::Adjust => assert_eq!(table.adjust(Some(1)), Ok(1)),
    }
}

fn put(table: &impl Table, key: u8) {
    let put = table.put(Entry { key: &[key], value: &[key; 9], metadata: key.into() });
    assert_eq!(put, Ok(Put::Inserted));
}

impl Model for Killed {
    fn run<X: Execution>(&self, execution: &X) {
        let options = options();
        let words = Chained::<Shared<X>>::word_count(&options).expect("tiny shape");
        let world = World::new(execution, words);
        let place = world.place(0);
        let right = Faulty::new(place.memory.clone(), Fault::None, Buckets::NONE);
        let table = Chained::create(right, &options, &place.environment).expect("zeroed memory");
        let at = match self.fault {
            Fault::StoreOmitted => Buckets { index: MOVING, ..Buckets::NONE },
            _ => Buckets { index: table.arena().layout().index(), buckets: 4, ..Buckets::NONE },
        };
        let fault = self.fault;
        let through = |memory: &CrashMemory<X::Memory>| Faulty::new(memory.clone(), fault, at);
        let last = if matches!(self.change, Change::Grow) { 4 } else { 5 };
        (1..=last).for_each(|key| put(&table, key));
        if matches!(self.change, Change::Shrink) {
            (3..=5).for_each(|key| assert_eq!(table.remove(&[key]), Ok(Remove::Removed)));
        }
        let victim = world.mortal_place(1, self.kill);
        let victims = Chained::attach(through(&victim.memory), &victim.environment).expect("room");
        let change = self.change;
        let is_cut = world.spawn(&victim, move || act(&victims, change)).join() == Ended::Killed;
        if let Some(kill) = self.second {
            let place = world.mortal_place(2, kill);
            let second = Chained::attach(through(&place.memory), &place.environment).expect("room");
            let _ = world.spawn(&place, move || second.get(&[1], &mut Vec::new())).join();
        }
        // A key that no verb touches is there, and the others are there or not.
        let present = |key: u8| {
            let mut value = Vec::new();
            let found = table.get(&[key], &mut value).expect("the lock is taken over");
            assert!(found.is_none() || value == [key; 9], "torn: {value:?}");
            found.is_some()
        };
        let expected: &[u8] = match self.change {
            Change::Grow => &[1, 2, 3, 4],
            Change::Shrink => &[1],
            Change::Adjust => &[1, 2, 3, 4, 5],
        };
        assert!(expected.iter().all(|&key| present(key)), "an entry is lost");
        if !is_cut {
            assert_eq!(present(5), !matches!(change, Change::Shrink));
            assert_eq!(present(2), !matches!(change, Change::Shrink));
        }
        let _ = table.recover().expect("writable");
        let audit = table.audit();
        assert!(audit.is_clean(), "{:?}", audit.findings);
        assert_eq!(audit.entries, table.len(), "the count is repaired");
    }
}

fn kills<E: Engine>(engine: &E, change: Change, losses: bool, fault: Fault) -> Sweep {
    let budget = Budget { accesses: 200_000, ..Budget::executions(2) };
    sweep(engine, &budget, losses, |kill| Killed { change, kill, second: None, fault })
}

#[test]
fn a_change_of_size_that_dies_anywhere_is_finished_by_the_next_owner() {
    for change in [Change::Grow, Change::Shrink, Change::Adjust] {
        let explored = [
            kills(&ViewEngine::default(), change, true, Fault::None),
            kills(&DepthFirstEngine, change, false, Fault::None),
            kills(&ShuttleEngine::RANDOM, change, false, Fault::None),
        ];
        for sweep in explored {
            println!("{change:?}: {sweep}");
            assert!(sweep.failure.is_none(), "{sweep}");
            assert!(sweep.kill_points > 40, "{sweep}");
        }
    }
}

#[test]
fn a_repair_that_dies_anywhere_is_finished_by_the_one_after() {
    let budget = Budget { accesses: 200_000, ..Budget::executions(1) };
    for change in [Change::Grow, Change::Adjust] {
        let mut kills = 0;
        for first in (0..).step_by(5) {
            let kill = Kill { after_accesses: first, lost: Lost::Nothing };
            let outcomes = (0..100).step_by(3).map(|after_accesses| {
                let second = Some(Kill { after_accesses, lost: Lost::Mask(u64::MAX) });
                let model = Arc::new(Killed { change, kill, second, fault: Fault::None });
                let outcome = ShuttleEngine::RANDOM.run(&model, &budget);
                outcome.expect_pass(&format!("{change:?}, {first}, then {after_accesses}"));
                outcome.kills
            });
            let round: u64 = outcomes.sum();
            kills += round;
            // One kill an execution or none: the first victim outlives its kill point.
            if first > 400 {
                break;
            }
        }
        println!("{change:?}: {kills} executions with kills");
        assert!(kills > 500);
    }
}

#[test]
fn an_entry_that_moves_unnamed_is_lost_and_the_loss_is_seen() {
    for change in [Change::Grow, Change::Adjust] {
        let sweep = kills(&ShuttleEngine::RANDOM, change, false, Fault::StoreOmitted);
        let (_, failure) = sweep.failure.expect("a fault in the protocol");
        assert!(failure.message.contains("an entry is lost"), "{failure}");
    }
}

#[test]
fn an_entry_that_moves_without_its_bits_is_hidden_and_the_loss_is_seen() {
    let sweep = kills(&ShuttleEngine::RANDOM, Change::Adjust, false, Fault::BitsForgotten);
    let (_, failure) = sweep.failure.expect("a fault in the protocol");
    assert!(failure.message.contains("an entry is lost"), "{failure}");
}
