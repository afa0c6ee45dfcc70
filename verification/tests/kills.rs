//! Kills: the world of a model, what the dead leave behind, and what a verdict of death promises.
#![allow(missing_docs)]

use std::sync::Arc;

use shm_arena::{Backoff, Load, Memory, Offset, RecordIndex, Store, Verdict};
use shm_verification::{
    Budget, DepthFirstEngine, Ended, Engine, Execution, Kill, LoomEngine, Lost, Model, Ordered,
    Place, ShuttleEngine, Sweep, ViewEngine, Weakened, Weakening, World, sweep,
};

/// A participant writes 1, 2, 3 to three words and is killed on the way; a survivor waits for the
/// verdict and then must see exactly the words that precede the kill.
struct Prefix {
    after_accesses: u64,
}

impl Model for Prefix {
    fn run<X: Execution>(&self, execution: &X) {
        let world = World::new(execution, 3);
        let record = RecordIndex(0);
        let kill = Kill { after_accesses: self.after_accesses, lost: Lost::Nothing };
        let (victim, survivor) = (world.mortal_place(1, kill), world.place(2));
        assert!(victim.environment.liveness.hold(record), "nobody else holds it");
        let memory = victim.memory.clone();
        let dying = world.spawn(&victim, move || {
            for word in 0..3 {
                memory.store(Offset::new(word), word + 1, Store::Relaxed);
            }
        });
        let after_accesses = self.after_accesses;
        let surviving = world.spawn(&survivor.clone(), move || {
            if after_accesses > 3 {
                return;
            }
            while survivor.environment.liveness.verdict(record) == Verdict::Alive {
                survivor.memory.spin(&Backoff::new());
            }
            for word in 0..3 {
                let expected = if word < after_accesses { word + 1 } else { 0 };
                let seen = survivor.memory.load(Offset::new(word), Load::Relaxed);
                assert_eq!(seen, expected, "word {word} after a kill at {after_accesses}");
            }
        });
        let ended = dying.join();
        assert_eq!(ended == Ended::Killed, after_accesses <= 3);
        assert_eq!(surviving.join(), Ended::Finished(()));
    }
}

fn on_every_engine<P: Model>(model: P, check: impl Fn(&str, &shm_verification::Outcome)) {
    let model = Arc::new(model);
    let budget = Budget::executions(2_000);
    check("loom", &LoomEngine.run(&model, &budget));
    check("shuttle", &ShuttleEngine::RANDOM.run(&model, &budget));
    check("shuttle-pct", &ShuttleEngine::PCT.run(&model, &budget));
    check("view", &ViewEngine::default().run(&model, &budget));
    check("depth-first", &DepthFirstEngine.run(&model, &budget));
}

#[test]
fn a_verdict_of_death_happens_after_everything_that_the_dead_one_did() {
    for after_accesses in 0..5 {
        on_every_engine(Prefix { after_accesses }, |name, outcome| {
            println!("{name}, kill after {after_accesses}: {outcome}");
            outcome.expect_pass(name);
            assert_eq!(outcome.kills > 0, after_accesses <= 3);
        });
    }
}

/// A participant fills two words and says so in a third, and is killed; the survivor believes the
/// third word once the filler is dead.
struct Recovery {
    kill: Kill,
    publication: Store,
}

const RECORD: RecordIndex = RecordIndex(0);

fn believe<X: Execution>(survivor: &Place<X>) {
    while survivor.environment.liveness.verdict(RECORD) == Verdict::Alive {
        survivor.memory.spin(&Backoff::new());
    }
    let words = [0, 1, 2].map(|word| survivor.memory.load(Offset::new(word), Load::Relaxed));
    assert!(words[2] == 0 || words == [1, 2, 3], "recovery trusted {words:?}");
}

impl Model for Recovery {
    fn run<X: Execution>(&self, execution: &X) {
        let world = World::new(execution, 3);
        let (victim, survivor) = (world.mortal_place(1, self.kill), world.place(2));
        assert!(victim.environment.liveness.hold(RECORD), "nobody else holds it");
        let (memory, liveness) = (victim.memory.clone(), victim.environment.liveness.clone());
        let publication = self.publication;
        let dying = world.spawn(&victim, move || {
            memory.store(Offset::new(0), 1, Store::Relaxed);
            memory.store(Offset::new(1), 2, Store::Relaxed);
            memory.store(Offset::new(2), 3, publication);
        });
        let recovering = world.spawn(&survivor.clone(), move || believe(&survivor));
        let _ = dying.join();
        liveness.release(RECORD);
        assert_eq!(recovering.join(), Ended::Finished(()));
    }
}

fn recover<E: Engine>(engine: &E, publication: Store, losses: bool) -> Sweep {
    let budget = Budget::executions(2_000);
    let sweep = sweep(engine, &budget, losses, |kill| Recovery { kill, publication });
    println!("{}, publication {publication:?}, losses {losses}: {sweep}", engine.name());
    sweep
}

#[test]
fn recovery_that_trusts_the_order_of_relaxed_stores_is_caught_by_lost_stores_alone() {
    fn on<E: Engine>(engine: &E) {
        let right = recover(engine, Store::Release, true);
        assert!(right.failure.is_none(), "{right}");
        assert_eq!((right.kill_points, right.kills), (4, 1 + 2 + 4 + 8), "{right}");
        assert!(recover(engine, Store::Relaxed, false).failure.is_none());
        let (kill, failure) = recover(engine, Store::Relaxed, true).failure.expect("a failure");
        assert!(failure.message.contains("recovery trusted"), "{kill:?}: {failure}");
    }
    on(&LoomEngine);
    on(&ShuttleEngine::RANDOM);
    on(&ViewEngine::default());
    on(&DepthFirstEngine);
}

#[test]
fn a_liveness_that_lies_about_order_would_be_caught() {
    let model = Arc::new(Prefix { after_accesses: 3 });
    let budget = Budget::executions(5_000);
    let weakening = Weakening::none();
    let found = Arc::new(Weakened::new(&model, &weakening));
    ViewEngine::default().run(&found, &budget).expect_pass("the liveness as it is");
    let mut killed = Vec::new();
    for mutation in weakening.sites("src/world.rs").iter().flat_map(|site| site.mutations()) {
        let weakened = Arc::new(Weakened::new(&model, &Weakening::of(mutation)));
        let random = ViewEngine::default().run(&weakened, &budget).failure.is_some();
        let enumerated = DepthFirstEngine.run(&weakened, &budget).failure.is_some();
        println!("{mutation}: view {random}, depth-first {enumerated}");
        assert_eq!(random, enumerated, "{mutation}");
        if random {
            killed.push(mutation.site.ordered);
        }
    }
    // The release of a freed beacon and the acquire of a verdict; taking one needs neither here.
    assert_eq!(killed.len(), 2, "{killed:?}");
    assert!(killed.iter().all(|ordered| matches!(ordered, Ordered::Rmw(_))), "{killed:?}");
}

/// Looks at the clock until it is late.
struct Waits;

impl Model for Waits {
    fn run<X: Execution>(&self, execution: &X) {
        let world = World::new(execution, 1).tick_ms(10);
        let places = [world.place(1), world.place(2)];
        let waiting = places.map(|place| {
            world.spawn(&place.clone(), move || {
                let start = place.environment.clock.now_ms();
                let mut before = start;
                while before < start + 30 {
                    let now = place.environment.clock.now_ms();
                    assert!(now > before, "the clock goes forward for everybody");
                    before = now;
                }
            })
        });
        for participant in waiting {
            assert_eq!(participant.join(), Ended::Finished(()));
        }
    }
}

#[test]
fn a_bounded_wait_ends_because_each_look_at_the_clock_takes_time() {
    on_every_engine(Waits, |name, outcome| {
        println!("{name}: {outcome}");
        outcome.expect_pass(name);
    });
}
