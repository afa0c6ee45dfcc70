//! Linearizability of a recorded history, key by key, in one pass over its events.
//!
//! # Idea
//!
//! Walk through the calls and returns of a key in order of time and keep every *configuration* that
//! explains what was seen so far: the state of the key, and which of the open operations have taken
//! effect. An operation must take effect before it returns, so at a return every configuration is
//! extended by open operations, in each order, until the returning one is among them (Wing and
//! Gong, made lazy by Lowe). If none is left, nothing explains the return.
//!
//! Three rules keep the set small.
//!
//! - *Greedy no-ops.* An open operation that cannot change any state with the answer it gives (a
//!   hit, a miss, a lost insert) takes effect at once in every configuration whose state agrees: an
//!   explanation in which it comes later stays one when it comes at this point.
//! - *Overwritten in silence.* When a blind write replaces a value, every other open operation that
//!   replaces a present value may have done so just before without a trace. Such an operation is
//!   marked *free*: it may count as having taken effect or not, and one configuration stands for
//!   both.
//! - *Closed at death.* A killed operation may take effect until its death is confirmed; then it
//!   has or has not, and is forgotten.

use rapidhash::RapidHashSet;

use super::{Checked, Ending, Record, Violation, check_form};
use crate::spec::{Answer, Operation, Value};

/// Most operations that may be open on one key at once.
pub const OPEN_MAX: usize = 64;

/// Most configurations that are kept or visited at one event.
const CONFIGURATIONS_MAX: usize = 1 << 20;

/// Whether some order of the operations that respects real time explains every answer.
///
/// Every key starts absent. Costs about a tenth of a microsecond an event while few writes overlap
/// on one key, and grows with the number of orders that cannot be told apart.
pub fn check_real_time(records: &[Record]) -> Result<Checked, Violation> {
    check_form(records)?;
    let mut events = Vec::with_capacity(2 * records.len());
    for (index, record) in records.iter().enumerate() {
        if record.says_nothing() {
            continue;
        }
        events.push(Event::pack(record.key, record.invoked, false, index));
        match record.ending {
            Ending::Returned { at, .. } | Ending::Killed { at } => {
                events.push(Event::pack(record.key, at, true, index));
            }
            Ending::Pending => {}
        }
    }
    events.sort_unstable();
    let mut checked = Checked { operations: records.len() as u64, ..Checked::default() };
    for of_key in events.chunk_by(|left, right| left.key() == right.key()) {
        let mut search = Search::new(records, of_key[0].key());
        for event in of_key {
            search.advance(*event)?;
        }
        checked.keys += 1;
        checked.configurations_max = checked.configurations_max.max(search.configurations_max);
    }
    Ok(checked)
}

/// A call or a return: `key:32 | instant:63 | is_return:1 | record:32`, so that sorting orders by
/// key, then time, and calls come before returns at the same instant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Event(u128);

impl Event {
    fn pack(key: u32, instant: u64, is_return: bool, record: usize) -> Self {
        Self(
            u128::from(key) << 96
                | u128::from(instant) << 33
                | u128::from(is_return) << 32
                | record as u128,
        )
    }

    const fn key(self) -> u32 {
        (self.0 >> 96) as u32
    }

    const fn is_return(self) -> bool {
        self.0 >> 32 & 1 == 1
    }

    const fn record(self) -> usize {
        (self.0 & 0xFFFF_FFFF) as usize
    }
}

/// A set of open operations, by slot.
type Slots = u64;

/// One way in which everything seen so far can have happened, or several that differ only in which
/// of the free operations have taken effect.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Configuration {
    state: Option<Value>,
    done: Slots,
    free: Slots,
}

/// An operation between its call and its return.
#[derive(Clone, Copy)]
struct Open {
    record: usize,
    operation: Operation,
    /// `None`: killed or pending, so that any answer is possible, and so is no effect at all.
    answer: Option<Answer>,
}

impl Open {
    /// The state after the operation, if it can take effect in this state.
    fn step(&self, state: Option<Value>) -> Option<Option<Value>> {
        match self.answer {
            Some(answer) => self.operation.step(state, answer),
            None => {
                let (_, next) = self.operation.apply(state);
                (next != state).then_some(next)
            }
        }
    }

    /// Replaces a present value or ends its life without saying which it was.
    fn overwrites_silently(&self) -> bool {
        matches!(self.answer, Some(Answer::Replaced | Answer::Removed))
    }
}

/// The search over the events of one key.
struct Search<'a> {
    records: &'a [Record],
    key: u32,
    open: Vec<Open>,
    vacant: Slots,
    /// Open operations that change nothing with the answer they give.
    noops: Slots,
    /// Open operations that can change the state.
    writes: Slots,
    /// Open operations that replace a present value and do not say which.
    replaces: Slots,
    configurations: Vec<Configuration>,
    next: Vec<Configuration>,
    stack: Vec<Configuration>,
    visited: RapidHashSet<Configuration>,
    configurations_max: u64,
}

/// The slots in a set.
fn slots(mut set: Slots) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        (set != 0).then(|| {
            let slot = set.trailing_zeros() as usize;
            set &= set - 1;
            slot
        })
    })
}

impl<'a> Search<'a> {
    fn new(records: &'a [Record], key: u32) -> Self {
        Self {
            records,
            key,
            open: Vec::new(),
            vacant: Slots::MAX,
            noops: 0,
            writes: 0,
            replaces: 0,
            configurations: vec![Configuration { state: None, done: 0, free: 0 }],
            next: Vec::new(),
            stack: Vec::new(),
            visited: RapidHashSet::default(),
            configurations_max: 1,
        }
    }

    fn advance(&mut self, event: Event) -> Result<(), Violation> {
        let record = event.record();
        if event.is_return() {
            let slot = self.slot_of(record);
            self.close(slot)
        } else {
            self.call(record)
        }
    }

    fn slot_of(&self, record: usize) -> usize {
        slots(!self.vacant)
            .find(|slot| self.open[*slot].record == record)
            .expect("a return follows its call: check_form saw to it")
    }

    fn call(&mut self, record: usize) -> Result<(), Violation> {
        let Record { operation, .. } = self.records[record];
        let answer = self.records[record].answer();
        let slot = self.vacant.trailing_zeros() as usize;
        if slot == OPEN_MAX {
            let problem = format!("more than {OPEN_MAX} operations overlap");
            return Err(Violation::Undecided { key: self.key, problem });
        }
        let open = Open { record, operation, answer };
        if slot == self.open.len() {
            self.open.push(open);
        } else {
            self.open[slot] = open;
        }
        let bit = 1 << slot;
        self.vacant &= !bit;
        if answer.is_some_and(|answer| operation.changes_nothing(answer)) {
            self.noops |= bit;
            for configuration in &mut self.configurations {
                if open.step(configuration.state).is_some() {
                    configuration.done |= bit;
                }
            }
        } else {
            self.writes |= bit;
            if answer == Some(Answer::Replaced) {
                self.replaces |= bit;
            }
        }
        Ok(())
    }

    /// Handles a return or a confirmed death.
    fn close(&mut self, slot: usize) -> Result<(), Violation> {
        let bit = 1 << slot;
        let killed = self.open[slot].answer.is_none();
        self.next.clear();
        // Clearing a set costs as much as it once held.
        if self.visited.capacity() > 256 {
            self.visited = RapidHashSet::default();
        } else {
            self.visited.clear();
        }
        for index in 0..self.configurations.len() {
            let configuration = self.configurations[index];
            if (configuration.done | configuration.free) & bit != 0 || killed {
                self.next.push(configuration);
            }
            if configuration.done & bit == 0 {
                self.extend(configuration, slot)?;
            }
        }
        if self.next.is_empty() {
            return Err(self.unexplained(slot));
        }
        for configuration in &mut self.next {
            configuration.done &= !bit;
            configuration.free &= !bit;
        }
        self.next.sort_unstable();
        self.next.dedup();
        self.drop_covered();
        std::mem::swap(&mut self.configurations, &mut self.next);
        self.configurations_max = self.configurations_max.max(self.configurations.len() as u64);
        self.vacant |= bit;
        self.noops &= !bit;
        self.writes &= !bit;
        self.replaces &= !bit;
        Ok(())
    }

    /// Adds to `next` every configuration in which `target` has just taken effect after others.
    fn extend(&mut self, from: Configuration, target: usize) -> Result<(), Violation> {
        let bit = 1 << target;
        self.stack.push(from);
        while let Some(configuration) = self.stack.pop() {
            for slot in slots(self.writes & !configuration.done) {
                let Some(state) = self.open[slot].step(configuration.state) else {
                    continue;
                };
                let mut after = self.after(configuration, slot, state);
                self.settle(&mut after);
                if after.done & bit != 0 {
                    self.next.push(after);
                } else if self.visited.insert(after) {
                    self.stack.push(after);
                }
            }
            if self.visited.len() + self.next.len() > CONFIGURATIONS_MAX {
                let problem = format!("more than {CONFIGURATIONS_MAX} configurations");
                return Err(Violation::Undecided { key: self.key, problem });
            }
        }
        Ok(())
    }

    /// The configuration once the operation in `slot` has taken effect.
    fn after(&self, before: Configuration, slot: usize, state: Option<Value>) -> Configuration {
        let bit = 1 << slot;
        let done = before.done | bit;
        let mut free = before.free & !bit;
        if self.open[slot].overwrites_silently() {
            free |= self.replaces & !done;
        }
        Configuration { state, done, free }
    }

    /// Lets every open no-op take effect whose answer the state explains.
    fn settle(&self, configuration: &mut Configuration) {
        for slot in slots(self.noops & !configuration.done) {
            if self.open[slot].step(configuration.state).is_some() {
                configuration.done |= 1 << slot;
            }
        }
    }

    /// Drops a configuration from `next` (sorted) if another one stands for it too.
    fn drop_covered(&mut self) {
        let next = &mut self.next;
        if next.iter().all(|configuration| configuration.free == 0) {
            return;
        }
        let all = next.clone();
        next.retain(|small| {
            let same_state = all.partition_point(|other| other.state < small.state);
            !all[same_state..]
                .iter()
                .take_while(|other| other.state == small.state)
                .any(|large| large != small && large.covers(small))
        });
    }

    fn unexplained(&self, slot: usize) -> Violation {
        let mut states: Vec<_> =
            self.configurations.iter().map(|configuration| configuration.state).collect();
        states.dedup();
        let states: Vec<_> = states
            .iter()
            .take(8)
            .map(|state| state.map_or("absent".to_owned(), |value| value.to_string()))
            .collect();
        let overlapping: Vec<_> = slots(!self.vacant)
            .filter(|other| *other != slot)
            .take(8)
            .map(|other| self.records[self.open[other].record].to_string())
            .collect();
        Violation::Unexplained {
            key: self.key,
            record: self.records[self.open[slot].record].to_string(),
            context: format!(
                "possible states before: {}; overlapping operations: {}",
                states.join(", "),
                if overlapping.is_empty() { "none".to_owned() } else { overlapping.join("; ") },
            ),
        }
    }
}

impl Configuration {
    /// Whether everything that the other stands for is among what this one stands for.
    const fn covers(&self, other: &Self) -> bool {
        self.done & !other.done == 0
            && other.done & !(self.done | self.free) == 0
            && other.free & !self.free == 0
    }
}
