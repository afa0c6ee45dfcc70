//! A failing execution as a table that a person can read.
#![allow(missing_docs)]

use std::sync::Arc;

use shm_arena::Offset;
use shm_verification::toys::{Fences, Snapshots};
use shm_verification::{
    Budget, DepthFirstEngine, Engine, LoomEngine, Names, ShuttleEngine, ViewEngine, explain,
};

fn names() -> Names {
    Arc::new(|at: Offset| {
        ["version", "first", "second"][usize::try_from(at.word()).unwrap()].into()
    })
}

#[test]
fn a_trace_has_a_column_a_participant_a_name_a_word_and_marks_stale_reads() {
    fn on<E: Engine>(engine: &E) {
        let model = Arc::new(Snapshots { fences: Fences { writer: false, reader: true } });
        let budget = Budget::executions(20_000);
        let outcome = engine.run(&model, &budget);
        let failure = outcome.expect_failure(&engine.name());
        let table = explain(engine, &model, &budget, failure, names());
        println!("{table}");
        for part in ["participant 1", "participant 2", "version := 0x1 Relaxed", "fence Acquire"] {
            assert!(table.contains(part), "{part} is missing in\n{table}");
        }
        assert!(table.contains("(newest "), "no stale read is marked in\n{table}");
        assert!(table.contains(&failure.message), "another failure in\n{table}");
    }
    on(&LoomEngine);
    on(&ViewEngine::default());
    on(&DepthFirstEngine);
}

#[test]
fn a_replay_is_named_by_a_text_that_can_be_read_back() {
    let model = Arc::new(shm_verification::toys::DuplicateInsert { one_word: false });
    let budget = Budget::executions(20_000).seed(7);
    let outcome = ShuttleEngine::RANDOM.run(&model, &budget);
    let failure = outcome.expect_failure("the duplicate");
    let replay = failure.replay.to_string().parse().expect("a replay");
    let again = ShuttleEngine::RANDOM.replay(&model, &budget, &replay);
    assert_eq!(again.executions, 1);
    assert_eq!(again.expect_failure("the replay").message, failure.message);
}
