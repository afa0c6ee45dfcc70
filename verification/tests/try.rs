//! Try.
use std::sync::Arc;
use shm_verification::scenario::*;
use shm_verification::*;

fn go<S: Subject>() {
    for known in catalogue::KNOWN {
        let s = known.scenario();
        let m = Arc::new(ScenarioModel::<S>::new(s.clone(), Order::RealTime));
        let o = ShuttleEngine::RANDOM.run(&m, &Budget::executions(500));
        println!("{} {} shuttle: {o}", S::NAME, s);
        let m = Arc::new(ScenarioModel::<S>::new(s.clone(), Order::HappensBefore));
        for p in [1,2] {
        let o = LoomEngine.run(&m, &Budget { time: std::time::Duration::from_secs(5), ..Budget::default().preemptions(p)});
        println!("{} {} loom {p}: {o}", S::NAME, s);
        }
    }
}
#[test]
fn chained() { go::<ChainedSubject>(); }
#[test]
fn cas() { go::<CasBucketSubject>(); }
