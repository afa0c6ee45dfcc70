//! All scenarios of a size, each once, and random ones.
//!
//! Two scenarios are the same if renaming keys and renumbering participants turns one into the
//! other. Only the smallest of such a class is generated. Scenarios in which nobody writes, or in
//! which no two participants share anything (each alone on its keys is left in: keys share
//! buckets), say nothing new and are left out where the first holds.

use std::collections::BTreeSet;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::{KEYS_MAX, Scenario, Step};
use crate::spec::Verb;

/// The size of a family of scenarios.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
    /// Participants.
    pub participants: usize,
    /// Calls of each participant.
    pub calls: usize,
    /// Keys at most.
    pub keys: u8,
}

/// Every scenario of a size up to isomorphism, from each initial state: every subset of the keys is
/// there at the start.
pub fn all(size: Size) -> Vec<Scenario> {
    shaped(&vec![size.calls; size.participants], size.keys)
}

/// The same with so many calls of each participant: `[2, 1]` for one that calls twice beside one
/// that calls once.
pub fn shaped(calls: &[usize], keys: u8) -> Vec<Scenario> {
    let mut alphabet: Vec<Step> =
        (0..keys).flat_map(|key| Verb::ALL.map(|verb| Step::Call { verb, key })).collect();
    // Sequences and choices come out in the order of the alphabet, and are compared in that order.
    alphabet.sort();
    let mut choices = vec![Vec::new()];
    let lengths: BTreeSet<usize> = calls.iter().copied().collect();
    for length in lengths {
        let count = calls.iter().filter(|calls| **calls == length).count();
        let alike = multisets(&sequences(&alphabet, length), count);
        let longer = |chosen: &Vec<Vec<Step>>| {
            let chosen = chosen.clone();
            alike.iter().map(move |more| [&chosen[..], more].concat())
        };
        choices = choices.iter().flat_map(longer).collect();
    }
    let mut scenarios = Vec::new();
    for mut chosen in choices {
        chosen.sort();
        for present in 0..1_u32 << keys {
            let scenario = assemble(&chosen, present, keys);
            if is_worth_running(&scenario) && is_smallest(&scenario, present, keys) {
                scenarios.push(scenario);
            }
        }
    }
    scenarios
}

/// Every sequence of this length.
fn sequences(alphabet: &[Step], length: usize) -> Vec<Vec<Step>> {
    (0..length).fold(vec![Vec::new()], |shorter, _| {
        let longer = |sequence: &Vec<Step>| {
            let sequence = sequence.clone();
            alphabet.iter().map(move |step| [&sequence[..], &[*step]].concat())
        };
        shorter.iter().flat_map(longer).collect()
    })
}

/// Every choice of this many programs in ascending order.
fn multisets(programs: &[Vec<Step>], count: usize) -> Vec<Vec<Vec<Step>>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let with_first = |first: usize| {
        multisets(&programs[first..], count - 1)
            .into_iter()
            .map(move |rest| [vec![programs[first].clone()], rest].concat())
    };
    (0..programs.len()).flat_map(with_first).collect()
}

fn assemble(programs: &[Vec<Step>], present: u32, keys: u8) -> Scenario {
    let setup = (0..keys)
        .filter(|key| present >> key & 1 == 1)
        .map(|key| Step::Call { verb: Verb::Put, key })
        .collect();
    Scenario { setup, programs: programs.to_vec(), ..Scenario::default() }
}

/// Somebody writes, the first key is used, and every key that is there is used.
fn is_worth_running(scenario: &Scenario) -> bool {
    let calls: Vec<_> = scenario.programs.iter().flatten().collect();
    let uses =
        |wanted| calls.iter().any(|step| matches!(step, Step::Call { key, .. } if *key == wanted));
    calls.iter().any(|step| !matches!(step, Step::Call { verb: Verb::Get, .. }))
        && scenario.setup.iter().all(|step| matches!(step, Step::Call { key, .. } if uses(*key)))
        && uses(0)
}

/// Whether no renaming of keys gives a smaller scenario. Programs are in order already.
fn is_smallest(scenario: &Scenario, present: u32, keys: u8) -> bool {
    let own = (&scenario.programs, &scenario.setup);
    permutations(keys).iter().all(|renaming| {
        let rename = |step: &Step| step.renamed(|key| renaming[usize::from(key)]);
        let mut programs: Vec<Vec<Step>> =
            scenario.programs.iter().map(|program| program.iter().map(rename).collect()).collect();
        programs.sort();
        let renamed = (0..keys)
            .filter(|key| present >> key & 1 == 1)
            .fold(0, |set, key| set | 1 << renaming[usize::from(key)]);
        let other = assemble(&programs, renamed, keys);
        own <= (&other.programs, &other.setup)
    })
}

fn permutations(count: u8) -> Vec<Vec<u8>> {
    (0..count).fold(vec![Vec::new()], |shorter, next| {
        let longer = |permutation: &Vec<u8>| {
            let permutation = permutation.clone();
            (0..=permutation.len()).map(move |place| {
                let mut longer = permutation.clone();
                longer.insert(place, next);
                longer
            })
        };
        shorter.iter().flat_map(longer).collect()
    })
}

/// A random scenario: any verb on any key, writes and takes more often than gets, on a table in
/// which each key is there with even chance. At most 26 keys.
pub fn random(size: Size, seed: u64) -> Scenario {
    let mut random = SmallRng::seed_from_u64(seed);
    let keys = size.keys.clamp(1, KEYS_MAX);
    let present = random.random_range(0..1_u32 << keys);
    let mut program = |_| {
        (0..size.calls)
            .map(|_| Step::Call {
                verb: Verb::ALL[random.random_range(0..Verb::ALL.len())],
                key: random.random_range(0..keys),
            })
            .collect()
    };
    let programs: Vec<_> = (0..size.participants).map(&mut program).collect();
    assemble(&programs, present, keys)
}
