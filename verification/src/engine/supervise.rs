//! Runs an exploration under a watchdog and makes its outcome.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::ledger::Ledger;
use super::lockstep::divergent;
use super::outcome::{Budget, Coverage, Failure, FailureKind, Outcome, Replay};
use super::{Engine, Model, panics};

/// Explores on a thread of its own, so that a model that stops moving is a failure and not a hang.
/// Such a thread is abandoned. `explore` is called twice: once for the first execution alone, to
/// see whether it is the same again.
pub(crate) fn supervise<F>(engine: &str, budget: &Budget, explore: F) -> Outcome
where
    F: Fn(&Budget, &Ledger) -> Coverage + Send + 'static,
{
    let started = Instant::now();
    let ledger = Ledger::new(budget.accesses);
    let (sender, receiver) = mpsc::channel();
    let (inner, limits) = (ledger.clone(), budget.clone());
    let worker = thread::spawn(move || {
        let mut coverage = None;
        let result = panics::catch(|| coverage = Some(explore(&limits, &inner)))
            .and_then(|()| panics::catch(|| inner.close()))
            .and_then(|()| same_again(&limits, &inner, &explore));
        // The receiver is gone only if the watchdog gave this thread up.
        let _ = sender.send((coverage, result));
    });
    let ended = watch(&ledger, budget.stall, &receiver);
    let (coverage, failure) = match ended {
        Some((coverage, Ok(()))) => (coverage, None),
        Some((_, Err((kind, message)))) => (None, Some((kind, message))),
        None => (None, Some((FailureKind::Stalled, stalled(budget.stall)))),
    };
    if failure.as_ref().is_none_or(|(kind, _)| *kind != FailureKind::Stalled) {
        // The result was received, so the thread is at its end.
        let _ = worker.join();
    }
    let counts = ledger.counts();
    let replay =
        Replay { engine: engine.to_owned(), seed: budget.seed, execution: counts.executions };
    let why = "stopped at the first failure".to_owned();
    Outcome {
        executions: counts.executions,
        kills: counts.kills,
        unreleased_stores_max: counts.unreleased_stores_max,
        coverage: coverage.unwrap_or(Coverage::Bounded { why }),
        failure: failure.map(|(kind, message)| Failure { kind, message, replay }),
        elapsed: started.elapsed(),
    }
}

/// Whether the first execution makes the same accesses a second time.
fn same_again<F>(budget: &Budget, ledger: &Ledger, explore: &F) -> Result<(), Wrong>
where
    F: Fn(&Budget, &Ledger) -> Coverage,
{
    let again = Ledger::new(budget.accesses);
    let once = Budget { executions: 1, ..budget.clone() };
    panics::catch(|| drop(explore(&once, &again)))?;
    panics::catch(|| again.close())?;
    if again.counts().first_fingerprint == ledger.counts().first_fingerprint {
        return Ok(());
    }
    Err((FailureKind::Divergent, divergent()))
}

/// The outcome, its failure checked by a replay.
pub(crate) fn confirmed<E: Engine, P: Model>(
    engine: &E,
    model: &Arc<P>,
    budget: &Budget,
    mut outcome: Outcome,
) -> Outcome {
    let Some(failure) = &mut outcome.failure else {
        return outcome;
    };
    if matches!(failure.kind, FailureKind::Stalled | FailureKind::Divergent) {
        return outcome;
    }
    let again = engine.replay(model, budget, &failure.replay).failure;
    let same = again
        .as_ref()
        .is_some_and(|again| (again.kind, &again.message) == (failure.kind, &failure.message));
    if !same {
        let then = again.map_or_else(|| "nothing failed".to_owned(), |again| again.message);
        failure.message = format!(
            "the same choices led to another result: first {}: {}; on replay: {then}",
            failure.kind, failure.message
        );
        failure.kind = FailureKind::Divergent;
    }
    outcome
}

/// Kind and message of a failure.
type Wrong = (FailureKind, String);

type Ended = (Option<Coverage>, Result<(), Wrong>);

/// Waits for the result as long as accesses or executions go on.
fn watch(ledger: &Ledger, stall: Duration, receiver: &mpsc::Receiver<Ended>) -> Option<Ended> {
    let mut seen = (0, 0);
    let mut moved = Instant::now();
    loop {
        match receiver.recv_timeout(stall / 8) {
            Ok(ended) => return Some(ended),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let counts = ledger.counts();
        let now = (counts.executions, counts.accesses);
        if now != seen {
            seen = now;
            moved = Instant::now();
        } else if moved.elapsed() > stall {
            return None;
        }
    }
}

fn stalled(stall: Duration) -> String {
    format!(
        "no shared access for {stall:?}: a loop without any access, or a wait outside the model \
         (a std lock, a sleep)"
    )
}
