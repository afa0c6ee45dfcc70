//! A growth that dies, and helpers that die of finishing it.

use std::sync::Arc;

use shm_table::{Design, RobinHood, Table, Walk};
use shm_verification::faulty_pages::PageFault;
use shm_verification::{
    Budget, CrashMemory, DepthFirstEngine, Ended, Engine, Execution, Kill, Lost, Model,
    ShuttleEngine, Sweep, ViewEngine, World, sweep,
};

use crate::stage::{Keys, Stage, get, insert, options, put, take};

/// What a victim of a growing table does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fatal {
    /// Inserts a fifth entry: begins to grow, moves the page, inserts into an heir.
    Insert,
    /// Takes an entry out of a table that began to grow: moves a page for the others, ends growth.
    Help,
    /// Doubles the pages twice.
    Adjust,
}

const FATALS: [Fatal; 3] = [Fatal::Insert, Fatal::Help, Fatal::Adjust];

/// A growth that dies, a helper that dies, and then a reader and a writer who see it all.
struct Death {
    fatal: Fatal,
    kill: Kill,
    second: Option<Kill>,
}

impl Death {
    fn act(fatal: Fatal, table: &impl Table, keys: Keys) {
        match fatal {
            Fatal::Insert => assert_eq!(insert(table, keys.other, 50), None),
            Fatal::Help => assert_eq!(take(table, keys.present[1]), Some(20)),
            Fatal::Adjust => assert_eq!(table.adjust(Some(4)), Ok(4)),
        }
    }
}

impl Model for Death {
    fn run<X: Execution>(&self, execution: &X) {
        let stage = Stage::new(execution);
        let (fatal, keys) = (self.fatal, stage.keys);
        if fatal == Fatal::Help {
            stage.begin_growing();
        }
        let place = stage.world.mortal_place(1, self.kill);
        let table = stage.join_at(&place, PageFault::None);
        let ended = stage.world.spawn(&place, move || Self::act(fatal, &table, keys)).join();
        if let Some(kill) = self.second {
            let place = stage.world.mortal_place(2, kill);
            let table = stage.join_at(&place, PageFault::None);
            let key = keys.present[3];
            let _ = stage.world.spawn(&place, move || put(&table, key, 41)).join();
        }
        // Whoever may not write sees what whoever may will see.
        let place = stage.world.place(3);
        let reader = stage.join_at(&place, PageFault::ReadOnly);
        let all = [keys.present[0], keys.present[1], keys.present[2], keys.other];
        let read = move || (all.map(|key| get(&reader, key)), Walk::new(&reader).count());
        let (seen, walked) = stage.world.spawn(&place, read).join().finished().expect("immortal");
        assert_eq!((seen[0], seen[2]), (Some(10), Some(30)), "{fatal:?}: an entry is lost");
        assert!(seen[1] == Some(20) || fatal == Fatal::Help && seen[1].is_none(), "{seen:?}");
        assert!(seen[3].is_none() || fatal == Fatal::Insert && seen[3] == Some(50), "{seen:?}");
        assert_eq!(walked, seen.iter().flatten().count() + 1, "{fatal:?}: the walk");
        assert_eq!(take(&stage.table, keys.present[2]), Some(30));
        assert_eq!(insert(&stage.table, keys.same, 60), None);
        // Whoever attached since may have recovered as well, and may have died of it.
        let _ = stage.table.recover().expect("writable");
        let recoveries = stage.table.stats().recoveries;
        let is_uncertain = self.second.is_some() || ended != Ended::Killed;
        assert!(is_uncertain || recoveries.processes == 1, "{recoveries:?}");
        assert_eq!(all.map(|key| get(&stage.table, key)), [seen[0], seen[1], None, seen[3]]);
        stage.check();
    }
}

/// An insertion into a full page of two, whose entries all go to one heir: the table doubles twice
/// before there is room. The insertion dies in the middle, a reader looks, another one inserts.
struct TwoDoublings {
    kill: Kill,
}

impl Model for TwoDoublings {
    fn run<X: Execution>(&self, execution: &X) {
        let options = options(2);
        let world = World::new(
            execution,
            RobinHood::<CrashMemory<X::Memory>>::word_count(&options).expect("tiny"),
        );
        let place = world.place(0);
        let table = RobinHood::create(place.memory, &options, &place.environment).expect("zeroed");
        let hasher = table.arena().hasher();
        let mut quarters = [0, 1]
            .map(|quarter| (0..=u8::MAX).filter(move |&key| hasher.hash(&[key]) >> 62 == quarter));
        let mut nth = |quarter: usize| quarters[quarter].next().expect("keys of every quarter");
        let (keys, new) = ([nth(0), nth(1)], nth(0));
        assert_eq!(keys.map(|key| insert(&table, key, key)), [None; 2], "the page has room");
        let victim = world.mortal_place(1, self.kill);
        let dying = RobinHood::attach(victim.memory.clone(), &victim.environment).expect("room");
        let ended = world.spawn(&victim, move || insert(&dying, new, 9)).join();
        assert_eq!(keys.map(|key| get(&table, key)), keys.map(Some), "an entry is lost");
        let was_there = get(&table, new).is_some();
        assert!(was_there || ended == Ended::Killed, "{ended:?}");
        assert_eq!(insert(&table, new, 9), was_there.then_some(9));
        assert_eq!(table.adjust(Some(1)), Ok(4), "the second growth ends");
        let recovery = table.recover().expect("writable");
        assert_eq!(recovery.processes == 1, ended == Ended::Killed, "{recovery:?}");
        let audit = table.audit();
        assert!(audit.is_clean() && audit.entries == 3, "{:?}", audit.findings);
    }
}

fn kills<E: Engine>(engine: &E, fatal: Fatal, losses: bool) -> Sweep {
    let budget = Budget { accesses: 200_000, ..Budget::executions(2) };
    sweep(engine, &budget, losses, |kill| Death { fatal, kill, second: None })
}

#[test]
fn a_growth_that_dies_anywhere_is_seen_whole_without_write_permission_and_finished_by_others() {
    for fatal in FATALS {
        for sweep in [
            kills(&ViewEngine::default(), fatal, true),
            kills(&DepthFirstEngine, fatal, false),
            kills(&ShuttleEngine::RANDOM, fatal, false),
        ] {
            println!("{fatal:?}: {sweep}");
            assert!(sweep.failure.is_none(), "{fatal:?}: {sweep}");
            assert!(sweep.kill_points > 40, "a sweep over {} points is none", sweep.kill_points);
        }
    }
}

#[test]
fn an_insertion_that_doubles_the_table_twice_may_die_anywhere() {
    let budget = Budget { accesses: 200_000, ..Budget::executions(2) };
    for sweep in [
        sweep(&ViewEngine::default(), &budget, true, |kill| TwoDoublings { kill }),
        sweep(&DepthFirstEngine, &budget, false, |kill| TwoDoublings { kill }),
    ] {
        println!("{sweep}");
        assert!(sweep.failure.is_none(), "{sweep}");
        assert!(sweep.kill_points > 80, "{sweep}");
    }
}

#[test]
fn a_helper_that_dies_of_finishing_a_growth_is_followed_by_the_next() {
    let budget = Budget { accesses: 200_000, ..Budget::executions(1) };
    for fatal in FATALS {
        let mut kills = 0;
        for first in (0..120).step_by(4) {
            let kill = Kill { after_accesses: first, lost: Lost::Nothing };
            for second in (0..120).step_by(3) {
                let second = Kill { after_accesses: second, lost: Lost::Mask(u64::MAX) };
                let model = Arc::new(Death { fatal, kill, second: Some(second) });
                let outcome = ViewEngine::default().run(&model, &budget);
                outcome.expect_pass(&format!("{fatal:?}, {first}, then {second:?}"));
                kills += outcome.kills;
            }
        }
        println!("{fatal:?}: {kills} executions with kills");
        assert!(kills > 500);
    }
}
