//! Looking for a model that fails.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::battery::Trial;
use super::ledger::Verdict;
use super::place::{Place, Sources};
use crate::engine::{Budget, Failure, Outcome};
use crate::memory::{Mutation, Site, Weakening};
use crate::scenario::KillPoint;
use crate::suite::Exploration;

/// Where the code lies whose orderings are weakened.
const SHIPPED: [&str; 2] = ["crates/arena/src/", "crates/table/src/"];

/// An access with its weaker order.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// Its name.
    pub place: Place,
    /// Rows of the module's table of orderings that speak of it.
    pub ids: Vec<String>,
    /// The change.
    pub mutation: Mutation,
}

/// A model that fails.
#[derive(Clone, Debug)]
pub struct Found {
    /// The model, with the executions up to the failing one.
    pub trial: Trial,
    /// How it failed.
    pub failure: Failure,
}

impl Trial {
    /// Runs the model over weakened memory.
    pub fn run(&self, weakening: &Weakening) -> Outcome {
        let Self { table, engine, scenario, .. } = self;
        let budget = &self.budget();
        let weakening = Some(weakening);
        let (table, engine) = (*table, *engine);
        Exploration { table, engine, scenario, budget, weakening, replay: None }.run()
    }

    fn budget(&self) -> Budget {
        crate::suite::budget(self.bound, &self.scenario)
    }
}

/// Trials, each with the sites in shipped code at which it makes an access.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    trials: Vec<(Trial, Vec<Site>)>,
}

/// Executions in which the accesses of a model are looked for.
const SITES_EXECUTIONS: u64 = 40;

/// The same for each kill point, of which there are many alike.
const SITES_KILLS: u64 = 8;

impl Reach {
    /// Runs each trial with nothing weakened. Those whose kill comes after the end are left out.
    ///
    /// # Panics
    ///
    /// If a trial fails.
    pub fn of(trials: &[Trial], jobs: usize) -> Self {
        let sites = |trial: &Trial| {
            let weakening = Weakening::none();
            let mut first = trial.clone();
            let is_killed = trial.scenario.kill.is_some();
            let executions = if is_killed { SITES_KILLS } else { SITES_EXECUTIONS };
            first.bound.executions = first.bound.executions.min(executions);
            let outcome = first.run(&weakening);
            outcome.expect_pass(&trial.to_string());
            let is_idle = is_killed && outcome.kills == 0;
            let sites = SHIPPED.iter().flat_map(|folder| weakening.sites(folder)).collect();
            (!is_idle).then(|| (trial.clone(), sites))
        };
        let trials = side_by_side(jobs, trials, sites, |_, _| {});
        Self { trials: trials.into_iter().flatten().collect() }
    }

    /// A mutant for every way in which one of these accesses can be one step weaker.
    ///
    /// # Errors
    ///
    /// If a source cannot be read.
    pub fn mutants(&self) -> io::Result<Vec<Mutant>> {
        let all: BTreeSet<Site> =
            self.trials.iter().flat_map(|(_, sites)| sites).copied().collect();
        let named = Sources::of_workspace().name_all(&all.into_iter().collect::<Vec<_>>())?;
        let mutant = |(place, ids, mutation)| Mutant { place, ids, mutation };
        Ok(named.into_iter().map(mutant).collect())
    }

    /// The first trial that fails under these mutations, of those that make the first one's access.
    pub fn search(&self, mutations: &[Mutation]) -> Option<Found> {
        let weakening = Weakening::all(mutations);
        let site = mutations.first()?.site;
        let reaches = |sites: &Vec<Site>| sites.contains(&site);
        self.trials.iter().filter(|(_, sites)| reaches(sites)).find_map(|(trial, _)| {
            let outcome = trial.run(&weakening);
            let failure = outcome.failure?;
            let mut trial = trial.clone();
            trial.bound.executions = outcome.executions;
            Some(Found { trial, failure })
        })
    }
}

/// How many times the executions of its finding a model may take to fail again, since every edit
/// changes what an engine draws.
const PATIENCE: u64 = 20;

/// Executions that any model may take to fail again.
const PATIENCE_EXECUTIONS_MIN: u64 = 3_000;

/// Accesses by which an edit may have moved the one before which a model kills.
const MOVED_ACCESSES: u64 = 12;

/// Runs a recorded model again, with patience: it should fail under the mutations.
fn run_again(trial: &Trial, mutations: &[Mutation]) -> Outcome {
    let mut trial = trial.clone();
    trial.bound.executions =
        trial.bound.executions.saturating_mul(PATIENCE).max(PATIENCE_EXECUTIONS_MIN);
    let weakening = Weakening::all(mutations);
    let outcome = trial.run(&weakening);
    let Some(kill) = trial.scenario.kill.filter(|_| outcome.failure.is_none()) else {
        return outcome;
    };
    let moved = (1..=MOVED_ACCESSES).flat_map(|by| {
        let at = kill.after_accesses;
        [at.checked_sub(by), at.checked_add(by)].into_iter().flatten()
    });
    let outcomes = moved.map(|after_accesses| {
        trial.scenario.kill = Some(KillPoint { after_accesses, ..kill });
        trial.bound.executions = PATIENCE_EXECUTIONS_MIN / 10;
        trial.run(&weakening)
    });
    outcomes.into_iter().find(|outcome| outcome.failure.is_some()).unwrap_or(outcome)
}

/// Works on a list on several threads; tells `observe` of each result, with its index.
pub fn side_by_side<T: Send + Sync, R: Send>(
    jobs: usize,
    list: &[T],
    work: impl Fn(&T) -> R + Sync,
    observe: impl Fn(usize, &R) + Sync,
) -> Vec<R> {
    let next = Arc::new(Mutex::new(0..list.len()));
    let results = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let Some(index) = next.lock().unwrap_or_else(PoisonError::into_inner).next()
                    else {
                        break;
                    };
                    let result = work(&list[index]);
                    observe(index, &result);
                    results.lock().unwrap_or_else(PoisonError::into_inner).insert(index, result);
                }
            });
        }
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

impl Verdict {
    /// Runs what is on record again, unless it is a reason.
    ///
    /// # Errors
    ///
    /// What differs from the record.
    pub fn check(&self, mutant: &Mutant, all: &[Mutant]) -> Result<(), String> {
        let (trial, with) = match self {
            Self::Survives(_) => return Ok(()),
            Self::Killed(trial) => (trial, &[][..]),
            Self::Redundant(with, trial) => (trial, &with[..]),
        };
        let mut mutations = vec![mutant.mutation];
        for name in with {
            let other = all.iter().find(|other| other.place.to_string() == *name);
            let other = other.ok_or_else(|| format!("{name}: no access has this name"))?;
            mutations.push(other.mutation);
        }
        let outcome = run_again(trial, &mutations);
        match outcome.failure {
            Some(_) => Ok(()),
            None => Err(format!("{trial} passes: {outcome}")),
        }
    }
}
