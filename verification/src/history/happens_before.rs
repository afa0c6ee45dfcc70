//! Linearizability of a small history with respect to a partial order.
//!
//! # Idea
//!
//! The operations of a key form one chain per participant. An explanation takes, again and again,
//! the next operation of some chain whose predecessors in all chains are taken, in a state in which
//! it can give its answer. What was tried is remembered by the positions in the chains and the
//! state, so that each such configuration is visited once. An operation that cannot change any
//! state with its answer is taken as soon as it can be; a killed or pending one may be taken
//! without effect.

use std::collections::BTreeMap;

use rapidhash::RapidHashSet;

use super::{Checked, Ending, Record, Violation};
use crate::spec::Value;

/// Most configurations that are visited for one key.
const CONFIGURATIONS_MAX: usize = 1 << 20;

/// Whether some order of the operations of each key explains every answer and contains this one:
/// calls of a participant in the order of their instants, and `precedes(earlier, later)` for
/// indices of records of different participants.
///
/// `precedes` has to be transitive together with the order of each participant. Instants of
/// different participants are not compared.
pub fn check_happens_before(
    records: &[Record],
    precedes: impl Fn(usize, usize) -> bool,
) -> Result<Checked, Violation> {
    super::check_form(records)?;
    let mut keys: BTreeMap<u32, BTreeMap<u32, Vec<usize>>> = BTreeMap::new();
    for (index, record) in records.iter().enumerate() {
        if !record.says_nothing() {
            let chains = keys.entry(record.key).or_default();
            chains.entry(record.participant).or_default().push(index);
        }
    }
    let mut checked = Checked { operations: records.len() as u64, ..Checked::default() };
    for (key, chains) in keys {
        let chains = chains.into_values().collect();
        let configurations = Search::new(records, chains, &precedes).run(key)?;
        checked.keys += 1;
        checked.configurations_max = checked.configurations_max.max(configurations);
    }
    Ok(checked)
}

/// The search for one key.
struct Search<'a> {
    records: &'a [Record],
    /// Records of each participant, in its order.
    chains: Vec<Vec<usize>>,
    /// `needs[chain][position][other]`: how much of another chain comes first.
    needs: Vec<Vec<Vec<u32>>>,
}

/// How much of each chain is taken, and the state of the key then.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Configuration {
    taken: Vec<u32>,
    state: Option<Value>,
}

impl<'a> Search<'a> {
    fn new(
        records: &'a [Record],
        mut chains: Vec<Vec<usize>>,
        precedes: &impl Fn(usize, usize) -> bool,
    ) -> Self {
        for chain in &mut chains {
            chain.sort_unstable_by_key(|index| records[*index].invoked);
        }
        let needs = chains
            .iter()
            .enumerate()
            .map(|(own, chain)| {
                let need = |index: usize, other: usize| {
                    if own == other {
                        return 0;
                    }
                    let earlier = chains[other].partition_point(|early| precedes(*early, index));
                    u32::try_from(earlier).expect("histories are shorter than 2^32")
                };
                let of = |index: &usize| {
                    (0..chains.len()).map(|other| need(*index, other)).collect::<Vec<_>>()
                };
                chain.iter().map(of).collect()
            })
            .collect();
        Self { records, chains, needs }
    }

    /// The number of configurations visited until an explanation was found.
    fn run(&self, key: u32) -> Result<u64, Violation> {
        let mut visited = RapidHashSet::default();
        let mut stack = vec![Configuration { taken: vec![0; self.chains.len()], state: None }];
        let mut deepest = stack[0].clone();
        while let Some(mut configuration) = stack.pop() {
            self.settle(&mut configuration);
            if self.is_explained(&configuration) {
                return Ok(visited.len() as u64 + 1);
            }
            if visited.contains(&configuration) {
                continue;
            }
            let first = stack.len();
            self.push_successors(&configuration, &mut stack);
            stack[first..].sort_by_key(|next| std::cmp::Reverse(self.latest(next)));
            if taken(&configuration) > taken(&deepest) {
                deepest = configuration.clone();
            }
            visited.insert(configuration);
            if visited.len() > CONFIGURATIONS_MAX {
                let problem = format!("more than {CONFIGURATIONS_MAX} configurations");
                return Err(Violation::Undecided { key, problem });
            }
        }
        Err(self.unexplained(key, &deepest))
    }

    /// The next operation of a chain, if all that comes before it is taken.
    fn enabled(&self, configuration: &Configuration, chain: usize) -> Option<&'a Record> {
        let position = configuration.taken[chain] as usize;
        let index = *self.chains[chain].get(position)?;
        let needs = &self.needs[chain][position];
        let ready = needs.iter().zip(&configuration.taken).all(|(need, taken)| need <= taken);
        ready.then(|| &self.records[index])
    }

    /// Takes no-ops until none can be taken.
    fn settle(&self, configuration: &mut Configuration) {
        let mut chain = 0;
        let mut idle = 0;
        while idle < self.chains.len() {
            let agrees = self.enabled(configuration, chain).is_some_and(|record| {
                record.answer().is_some_and(|answer| {
                    record.operation.changes_nothing(answer)
                        && record.operation.step(configuration.state, answer).is_some()
                })
            });
            if agrees {
                configuration.taken[chain] += 1;
                idle = 0;
            } else {
                idle += 1;
                chain = (chain + 1) % self.chains.len();
            }
        }
    }

    fn push_successors(&self, from: &Configuration, stack: &mut Vec<Configuration>) {
        for chain in 0..self.chains.len() {
            let Some(record) = self.enabled(from, chain) else {
                continue;
            };
            let mut push = |state| {
                let mut next = Configuration { taken: from.taken.clone(), state };
                next.taken[chain] += 1;
                stack.push(next);
            };
            match record.answer() {
                Some(answer) => {
                    if let Some(state) = record.operation.step(from.state, answer) {
                        push(state);
                    }
                }
                None => {
                    push(from.state);
                    let (_, state) = record.operation.apply(from.state);
                    if state != from.state {
                        push(state);
                    }
                }
            }
        }
    }

    /// Instant of the operation that was taken last: engines append in an order that explains most
    /// histories, so it is tried first.
    fn latest(&self, configuration: &Configuration) -> u64 {
        let last = |(chain, taken): (&Vec<usize>, &u32)| {
            let position = (*taken as usize).checked_sub(1)?;
            Some(self.records[chain[position]].invoked)
        };
        self.chains.iter().zip(&configuration.taken).filter_map(last).max().unwrap_or(0)
    }

    /// Whether only pending operations are left.
    fn is_explained(&self, configuration: &Configuration) -> bool {
        self.chains.iter().zip(&configuration.taken).all(|(chain, taken)| {
            chain[*taken as usize..]
                .iter()
                .all(|index| matches!(self.records[*index].ending, Ending::Pending))
        })
    }

    fn unexplained(&self, key: u32, deepest: &Configuration) -> Violation {
        let next: Vec<_> = (0..self.chains.len())
            .filter_map(|chain| self.enabled(deepest, chain))
            .map(ToString::to_string)
            .collect();
        let state = deepest.state.map_or("absent".to_owned(), |value| value.to_string());
        Violation::Unexplained {
            key,
            record: next.first().cloned().unwrap_or_default(),
            context: format!(
                "the longest explanation takes {} operations and ends in state {state}, where none \
                 of these is possible: {}",
                taken(deepest),
                next.join("; "),
            ),
        }
    }
}

/// Operations taken.
fn taken(configuration: &Configuration) -> u64 {
    configuration.taken.iter().map(|taken| u64::from(*taken)).sum()
}
