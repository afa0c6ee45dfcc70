//! Kills: the world of a model, what the dead leave behind, and what a verdict of death promises.
#![allow(missing_docs)]

use std::sync::Arc;

use shm_arena::{Backoff, Load, Memory, Offset, RecordIndex, Store, Verdict};
use shm_verification::{
    Budget, DepthFirstEngine, Ended, Engine, Execution, Kill, LoomEngine, Lost, Model,
    ShuttleEngine, ViewEngine, World,
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
        let kill = Kill {
            after_accesses: self.after_accesses,
            lost: Lost::Nothing,
        };
        let (victim, survivor) = (world.mortal_place(1, kill), world.place(2));
        assert!(
            victim.environment.liveness.hold(record),
            "nobody else holds it"
        );
        let memory = victim.memory.clone();
        let dying = world.spawn(&victim, move || {
            for word in 0..3 {
                memory.store(Offset::new(word), word + 1, Store::Relaxed);
            }
        });
        let after_accesses = self.after_accesses;
        let surviving = world.spawn(&survivor.clone(), move || {
            if after_accesses >= 3 {
                return;
            }
            while survivor.environment.liveness.verdict(record) == Verdict::Alive {
                survivor.memory.spin(&Backoff::new());
            }
            for word in 0..3 {
                let expected = if word < after_accesses { word + 1 } else { 0 };
                let seen = survivor.memory.load(Offset::new(word), Load::Relaxed);
                assert_eq!(
                    seen, expected,
                    "word {word} after a kill at {after_accesses}"
                );
            }
        });
        let ended = dying.join();
        assert_eq!(ended == Ended::Killed, after_accesses < 3);
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
    for after_accesses in 0..4 {
        on_every_engine(Prefix { after_accesses }, |name, outcome| {
            println!("{name}, kill after {after_accesses}: {outcome}");
            outcome.expect_pass(name);
            assert_eq!(outcome.kills > 0, after_accesses < 3);
        });
    }
}
