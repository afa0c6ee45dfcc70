//! A kill at every place of a model, with every loss of stores that C11 allows.

use std::fmt;
use std::sync::Arc;

use crate::engine::{Budget, Engine, Failure, Model, mix};
use crate::memory::{Kill, Lost};

/// Stores since a release up to which every subset is tried.
const ENUMERATED_MAX: u32 = 6;

/// Subsets tried at random when there are more.
const RANDOM_SUBSETS: u64 = 32;

/// What a sweep explored.
#[derive(Clone, PartialEq, Debug)]
#[must_use]
pub struct Sweep {
    /// Places at which the victim was killed: before each access that it makes, and at its end.
    pub kill_points: u64,
    /// Pairs of kill point and lost stores that were explored.
    pub kills: u64,
    /// Executions in all.
    pub executions: u64,
    /// Explorations that the budget cut short.
    pub bounded: u64,
    /// The first failure, and the kill that gave it.
    pub failure: Option<(Kill, Failure)>,
}

/// Explores the model that `make` gives for a kill before each access in turn and one at the end,
/// until the victim outlives every execution.
///
/// With `losses`, each kill point is explored once more for every subset of the stores that
/// the kill could lose (up to 6 of them; for more, 32 random subsets).
pub fn sweep<E: Engine, P: Model>(
    engine: &E,
    budget: &Budget,
    losses: bool,
    make: impl Fn(Kill) -> P,
) -> Sweep {
    let mut sweep = Sweep { kill_points: 0, kills: 0, executions: 0, bounded: 0, failure: None };
    for after_accesses in 0.. {
        let kill = Kill { after_accesses, lost: Lost::Nothing };
        let (killed, unreleased_stores) = sweep.explore(engine, budget, kill, &make);
        if sweep.failure.is_some() || !killed {
            break;
        }
        sweep.kill_points += 1;
        let seed = budget.seed ^ after_accesses;
        let masks = match losses {
            true => subsets(unreleased_stores, ENUMERATED_MAX, RANDOM_SUBSETS, seed),
            false => Vec::new(),
        };
        for mask in masks {
            let kill = Kill { after_accesses, lost: Lost::Mask(mask) };
            sweep.explore(engine, budget, kill, &make);
            if sweep.failure.is_some() {
                return sweep;
            }
        }
    }
    sweep
}

impl Sweep {
    /// Explores one kill; says whether anybody died and how many stores that could have lost.
    fn explore<E: Engine, P: Model>(
        &mut self,
        engine: &E,
        budget: &Budget,
        kill: Kill,
        make: &impl Fn(Kill) -> P,
    ) -> (bool, u32) {
        let outcome = engine.run(&Arc::new(make(kill)), budget);
        self.executions += outcome.executions;
        self.kills += u64::from(outcome.kills > 0);
        self.bounded += u64::from(outcome.failure.is_none() && !outcome.is_complete());
        self.failure = outcome.failure.map(|failure| (kill, failure));
        (outcome.kills > 0, outcome.unreleased_stores_max)
    }
}

/// Subsets of the stores that a kill could lose, but the empty one: bit `i` is the `i`-th
/// store. All of them where there are at most so many stores, else as many at random.
pub(crate) fn subsets(stores: u32, enumerated_max: u32, random: u64, seed: u64) -> Vec<u64> {
    if stores <= enumerated_max {
        return (1..1 << stores).collect();
    }
    (0..random).map(|index| mix(mix(seed) ^ index)).collect()
}

impl fmt::Display for Sweep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} kill points, {} kills, {} executions",
            self.kill_points, self.kills, self.executions
        )?;
        if self.bounded > 0 {
            write!(formatter, ", {} explorations bounded", self.bounded)?;
        }
        match &self.failure {
            Some((kill, failure)) => write!(formatter, ", FAILED at {kill:?}: {failure}"),
            None => Ok(()),
        }
    }
}
