//! Two participants or more on a set, and what has to be true of their answers and of the table.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::set::{EMPTY, distance};
use super::{BUCKETS, Key, Rule, StripedSet};
use crate::engine::{Execution, Model};

/// What a participant calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// [`StripedSet::contains`].
    Contains,
    /// [`StripedSet::add`].
    Add,
    /// [`StripedSet::remove`].
    Remove,
}

/// A call of a verb on a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call {
    /// The verb.
    pub verb: Verb,
    /// Its key.
    pub key: Key,
}

/// A set that is filled by one participant, then used by several at once.
///
/// An execution fails unless, when all have ended,
///
/// - for each key, some order of the calls that respects real time explains all answers;
/// - no key is in two buckets;
/// - no key lies behind a bucket at which a search for it ends: Robin Hood order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StripeModel {
    /// The rule under test.
    pub rule: Rule,
    /// Buckets that share a timestamp: 1, 2, 4 or 8.
    pub stripe_buckets: u8,
    /// Keys added before, in this order.
    pub setup: Vec<Key>,
    /// What each participant calls.
    pub programs: Vec<Vec<Call>>,
}

/// A call that returned, with the instants of both on one clock.
#[derive(Clone, Copy, Debug)]
struct Event {
    call: Call,
    participant: u32,
    invoked: u32,
    returned: u32,
    answer: bool,
}

/// What was called and answered. Locked only where no engine switches.
#[derive(Default)]
struct History {
    events: Vec<Event>,
    instant: u32,
}

impl Model for StripeModel {
    fn run<X: Execution>(&self, execution: &X) {
        let set = StripedSet::new(execution, self.rule, self.stripe_buckets);
        let history = Arc::new(Mutex::new(History::default()));
        for &key in &self.setup {
            perform(&set, &history, 0, Call { verb: Verb::Add, key });
        }
        let participants: Vec<_> = (1..)
            .zip(&self.programs)
            .map(|(participant, program)| {
                let (set, history, program) = (set.clone(), Arc::clone(&history), program.clone());
                execution.spawn(move || {
                    for call in program {
                        perform(&set, &history, participant, call);
                    }
                })
            })
            .collect();
        for participant in participants {
            participant.join();
        }
        for key in self.keys() {
            perform(&set, &history, 0, Call { verb: Verb::Contains, key });
        }
        self.check(set.snapshot(), &lock(&history).events);
    }

    fn name(&self) -> String {
        self.to_string()
    }
}

impl StripeModel {
    /// Every key that occurs, once.
    fn keys(&self) -> Vec<Key> {
        let called = self.programs.iter().flatten().map(|call| call.key);
        let mut keys: Vec<_> = self.setup.iter().copied().chain(called).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    fn check(&self, buckets: [u8; BUCKETS as usize], events: &[Event]) {
        let mut findings = Vec::new();
        for key in self.keys() {
            let of_key: Vec<_> = events.iter().filter(|event| event.call.key == key).collect();
            if !explained(&of_key, false) {
                findings.push(format!("no order of the calls explains {}", Listed(&of_key)));
            }
            let places = buckets.iter().filter(|&&value| value == key.number()).count();
            if places > 1 {
                findings.push(format!("key {} is in {places} buckets", key.number()));
            }
        }
        findings.extend(out_of_order(buckets));
        assert!(findings.is_empty(), "{}; buckets {buckets:?}", findings.join("; "));
    }
}

/// The first bucket that breaks Robin Hood order: its key is further from home than the key of the
/// bucket before allows, by more than one, or than an empty bucket before allows, at all.
fn out_of_order(buckets: [u8; BUCKETS as usize]) -> Option<String> {
    let distance = |bucket: u8| match buckets[usize::from(bucket)] {
        EMPTY => None,
        value => Some(distance(value, bucket)),
    };
    (0..BUCKETS).find_map(|bucket| {
        let before = (bucket + BUCKETS - 1) % BUCKETS;
        let reach = distance(before).map_or(0, |distance| distance + 1);
        let broken = distance(bucket).is_some_and(|distance| distance > reach);
        broken.then(|| format!("bucket {bucket} is cut off from the run before it"))
    })
}

fn perform<X: Execution>(
    set: &StripedSet<X>,
    history: &Mutex<History>,
    participant: u32,
    call: Call,
) {
    let invoked = tick(history);
    set.note(|| format!("{call}"));
    let answer = match call.verb {
        Verb::Contains => set.contains(call.key),
        Verb::Add => set.add(call.key),
        Verb::Remove => set.remove(call.key),
    };
    set.note(|| format!("{call}: {answer}"));
    let returned = tick(history);
    lock(history).events.push(Event { call, participant, invoked, returned, answer });
}

fn tick(history: &Mutex<History>) -> u32 {
    let mut history = lock(history);
    history.instant += 1;
    history.instant
}

/// The list is whole whenever the lock is free, whoever panicked.
fn lock(history: &Mutex<History>) -> std::sync::MutexGuard<'_, History> {
    history.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether some order that respects real time explains the answers of all calls on one key, which
/// is present at first or not. There are few calls, so all orders are tried.
fn explained(events: &[&Event], is_present: bool) -> bool {
    if events.is_empty() {
        return true;
    }
    (0..events.len()).any(|first| {
        let event = events[first];
        if events.iter().any(|other| other.returned < event.invoked) {
            return false;
        }
        let (answer, after) = match event.call.verb {
            Verb::Contains => (is_present, is_present),
            Verb::Add => (!is_present, true),
            Verb::Remove => (is_present, false),
        };
        let rest: Vec<_> =
            events.iter().enumerate().filter(|&(at, _)| at != first).map(|(_, e)| *e).collect();
        answer == event.answer && explained(&rest, after)
    })
}

impl fmt::Display for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.verb {
            Verb::Contains => "contains",
            Verb::Add => "add",
            Verb::Remove => "remove",
        };
        write!(formatter, "{verb} {}", self.key.number())
    }
}

impl fmt::Display for StripeModel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "stripes of {}:", self.stripe_buckets)?;
        for key in &self.setup {
            write!(formatter, " add {}", key.number())?;
        }
        for (index, program) in self.programs.iter().enumerate() {
            let calls: Vec<_> = program.iter().map(Call::to_string).collect();
            write!(formatter, " {} {}", if index == 0 { ":" } else { "|" }, calls.join(", "))?;
        }
        Ok(())
    }
}

/// Calls of one key as a list.
struct Listed<'a>(&'a [&'a Event]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, event) in self.0.iter().enumerate() {
            let Event { call, participant, invoked, returned, answer } = event;
            let comma = if index == 0 { "" } else { ", " };
            write!(formatter, "{comma}{call} of {participant} [{invoked}, {returned}] {answer}")?;
        }
        Ok(())
    }
}
