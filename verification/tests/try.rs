//! Try.
use shm_verification::scenario::*;
use shm_verification::*;
use std::sync::Arc;

fn go<S: Subject>() {
    for known in catalogue::KNOWN {
        let s = known.scenario();
        let m = Arc::new(ScenarioModel::<S>::new(s.clone(), Order::HappensBefore));
        let b = Budget {
            time: std::time::Duration::from_secs(3),
            ..Budget::default()
        };
        println!(
            "{} {} {}: {}",
            S::NAME,
            s,
            "view",
            ViewEngine::default().run(&m, &b)
        );
        for p in [1, 2] {
            println!(
                "{} {} {}: {}",
                S::NAME,
                s,
                "dfs",
                DepthFirstEngine.run(&m, &b.clone().preemptions(p))
            );
        }
    }
}
#[test]
fn chained() {
    go::<ChainedSubject>();
}
#[test]
fn cas() {
    go::<CasBucketSubject>();
}
