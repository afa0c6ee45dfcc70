//! `verify weaken`: which model fails without which ordering.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;
use shm_table::Kind;
use shm_verification::orderings::{
    Entry, Found, Ledger, Mutant, Place, ROUNDS, Reach, TABLES, Trial, battery, side_by_side,
};
use shm_verification::suite::table_from_name;

/// Weakens every ordering by one step and looks for a model that fails.
#[derive(Args)]
pub(crate) struct Weaken {
    /// Only accesses whose file, function or change contains this text.
    #[arg(long)]
    only: Option<String>,
    /// Weakens these too, by the same kind of text: for orderings that make each other redundant.
    #[arg(long, requires = "only")]
    with: Vec<String>,
    /// Only models of this table: chained or cas_bucket.
    #[arg(long, value_parser = table_from_name)]
    table: Option<Kind>,
    /// Looks for another model also where one is on record or a reason is.
    #[arg(long)]
    again: bool,
    /// Rounds of the search, from 1 to 5, each about ten times as long as the one before.
    #[arg(long, default_value_t = ROUNDS, value_parser = clap::value_parser!(u32).range(1..=5))]
    rounds: u32,
    /// Mutants that are tried side by side; default: one for each core.
    #[arg(long)]
    jobs: Option<usize>,
    /// Writes what was found into verification/orderings.toml. Reasons on record are kept.
    #[arg(long)]
    write: bool,
    /// Writes the report as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// One line of the report.
#[derive(Serialize)]
struct Line {
    place: String,
    ids: Vec<String>,
    killed_by: Option<String>,
    executions: Option<u64>,
    failure: Option<String>,
    survives: Option<String>,
    with: Vec<String>,
    passed: bool,
}

impl Weaken {
    /// Whether every mutant is killed or survives for a reason on record.
    pub(crate) fn run(&self, jobs: usize) -> Result<bool, String> {
        let problem = |error: &dyn std::fmt::Display| error.to_string();
        let jobs = self.jobs.unwrap_or(jobs);
        let path = Ledger::default_path();
        let mut ledger = Ledger::read(&path).map_err(|error| problem(&error))?;
        let tables = self.table.map_or_else(|| TABLES.to_vec(), |table| vec![table]);
        let trials = |rounds: &[u32]| -> Vec<Trial> {
            let of = |(table, round): (&Kind, &u32)| battery(*table, *round);
            let pairs =
                tables.iter().flat_map(|table| rounds.iter().map(move |round| (table, round)));
            pairs.flat_map(of).collect()
        };
        eprintln!("finding every access");
        let reach = Reach::of(&trials(&[0, 1]), jobs);
        let all = reach.mutants().map_err(|error| problem(&error))?;
        let wanted = |mutant: &&Mutant| {
            self.only.as_ref().is_none_or(|text| mutant.place.to_string().contains(text))
        };
        let mutants: Vec<Mutant> = all.iter().filter(wanted).cloned().collect();
        if mutants.is_empty() {
            return Err("no access is left: see verify weaken --help".to_owned());
        }
        let together = self.together(&all)?;
        let mut open = self.on_record(&mutants, &all, &mut ledger, jobs);
        for round in 0..self.rounds {
            if open.is_empty() {
                break;
            }
            eprintln!("round {}: {} mutants", round + 1, open.len());
            let reach = Reach::of(&trials(&[round]), jobs);
            open = hunt(&open, &together, &reach, &mut ledger, jobs);
        }
        for mutant in open {
            if !together.is_empty() {
                println!("{}: survives", mutant.place);
                continue;
            }
            let survives = ledger.get(&mutant.place).and_then(|entry| entry.survives.clone());
            let survives = Some(survives.unwrap_or_default());
            println!("{}\n  survives: {}", mutant.place, survives.as_deref().unwrap_or(""));
            let entry = Entry { ids: mutant.ids.clone(), survives, ..Entry::default() };
            ledger.set(&mutant.place, entry);
        }
        let is_whole = self.only.is_none() && self.table.is_none();
        if is_whole {
            let places: BTreeSet<&Place> = mutants.iter().map(|mutant| &mutant.place).collect();
            ledger.retain(|place| places.contains(place));
        }
        if self.write {
            ledger.write(&path).map_err(|error| problem(&error))?;
            println!("written to {}", path.display());
        }
        finish(&mutants, &ledger, self.json.as_deref())
    }

    /// What is weakened beside each mutant.
    fn together<'a>(&self, all: &'a [Mutant]) -> Result<Vec<&'a Mutant>, String> {
        let mut together = Vec::new();
        for text in &self.with {
            let found = all.iter().filter(|mutant| mutant.place.to_string().contains(text));
            let before = together.len();
            together.extend(found);
            if together.len() == before {
                return Err(format!("--with {text}: no access is named like this"));
            }
        }
        Ok(together)
    }

    /// Runs the models on record; gives the mutants for which there is none that still fails.
    fn on_record<'a>(
        &self,
        mutants: &'a [Mutant],
        all: &[Mutant],
        ledger: &mut Ledger,
        jobs: usize,
    ) -> Vec<&'a Mutant> {
        if self.again || !self.with.is_empty() {
            return mutants.iter().collect();
        }
        let places: BTreeSet<Place> = all.iter().map(|mutant| mutant.place.clone()).collect();
        let found = |mutant: &Mutant| {
            let entry = ledger.find(&mutant.place, &places)?;
            Some(Entry { ids: mutant.ids.clone(), ..entry.clone() })
        };
        let entries: Vec<(&Mutant, Option<Entry>)> =
            mutants.iter().map(|mutant| (mutant, found(mutant))).collect();
        let bar = ProgressBar::new(mutants.len() as u64);
        let open = side_by_side(
            jobs,
            &entries,
            |(mutant, entry)| !entry.as_ref().is_some_and(|entry| holds(mutant, entry, all)),
            |_, _| bar.inc(1),
        );
        bar.finish_and_clear();
        for (mutant, entry) in &entries {
            if let Some(entry) = entry {
                ledger.set(&mutant.place, entry.clone());
            }
        }
        mutants.iter().zip(open).filter(|(_, open)| *open).map(|(mutant, _)| mutant).collect()
    }
}

/// Whether what is on record is still so.
fn holds(mutant: &Mutant, entry: &Entry, all: &[Mutant]) -> bool {
    match entry.verdict(&mutant.place) {
        Ok(verdict) => verdict.check(mutant, all).is_ok(),
        Err(_) => false,
    }
}

/// Looks for a model for each mutant; gives those that are left.
fn hunt<'a>(
    open: &[&'a Mutant],
    together: &[&Mutant],
    reach: &Reach,
    ledger: &mut Ledger,
    jobs: usize,
) -> Vec<&'a Mutant> {
    let bar = ProgressBar::new(open.len() as u64);
    let found = side_by_side(
        jobs,
        open,
        |mutant| {
            let others = together.iter().map(|other| other.mutation);
            reach.search(&[mutant.mutation].into_iter().chain(others).collect::<Vec<_>>())
        },
        |index, found| {
            if let Some(Found { trial, failure }) = found {
                bar.suspend(|| {
                    println!(
                        "{}\n  killed by {trial} after {} executions: {}",
                        open[index].place,
                        trial.bound.executions,
                        one_line(&failure.message)
                    );
                });
            }
            bar.inc(1);
        },
    );
    bar.finish_and_clear();
    let mut left = Vec::new();
    for (mutant, found) in open.iter().zip(found) {
        let Some(Found { trial, failure }) = found else {
            left.push(*mutant);
            continue;
        };
        let entry = Entry {
            ids: mutant.ids.clone(),
            killed_by: Some(trial.to_string()),
            executions: Some(trial.bound.executions),
            failure: Some(format!("{}: {}", failure.kind, one_line(&failure.message))),
            survives: (!together.is_empty()).then(String::new),
            with: together.iter().map(|other| other.place.to_string()).collect(),
        };
        ledger.set(&mutant.place, entry);
    }
    left
}

/// The first line, without the place of the panic and not too long.
fn one_line(message: &str) -> String {
    message.lines().next().unwrap_or("").chars().take(120).collect()
}

fn finish(mutants: &[Mutant], ledger: &Ledger, json: Option<&Path>) -> Result<bool, String> {
    let lines: Vec<Line> = mutants
        .iter()
        .map(|mutant| {
            let entry = ledger.get(&mutant.place).cloned().unwrap_or_default();
            let passed = entry.verdict(&mutant.place).is_ok();
            let Entry { ids, killed_by, executions, failure, survives, with } = entry;
            let place = mutant.place.to_string();
            Line { place, ids, killed_by, executions, failure, survives, with, passed }
        })
        .collect();
    if let Some(path) = json {
        let problem = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let file = File::create(path).map_err(|error| problem(&error))?;
        serde_json::to_writer_pretty(BufWriter::new(file), &lines)
            .map_err(|error| problem(&error))?;
    }
    let killed = lines.iter().filter(|line| line.survives.is_none()).count();
    let redundant = lines.iter().filter(|line| !line.with.is_empty()).count();
    let failed = lines.iter().filter(|line| !line.passed).count();
    for line in lines.iter().filter(|line| !line.passed) {
        println!("{}: survives without a reason on record", line.place);
    }
    println!("{} mutants: {killed} killed, {redundant} killed with others", lines.len());
    println!("{} passed, {failed} failed", lines.len() - failed);
    Ok(failed == 0)
}
