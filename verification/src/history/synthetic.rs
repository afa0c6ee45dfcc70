//! Histories made by a simulation instead of a table: right by construction, or broken on purpose.
//!
//! They measure the checker and test it.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::{Ending, Record};
use crate::spec::{Answer, Operation, Value, Verb};

/// What is simulated.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Shape {
    /// Operations of the whole history.
    pub operations: usize,
    /// Participants, each with one operation at a time.
    pub participants: u32,
    /// Keys, chosen uniformly.
    pub keys: u32,
    /// Chance that an operation is killed, 0 to 1; a fresh participant takes the dead one's place.
    pub kill_chance: f64,
    /// Seed of every choice.
    pub seed: u64,
}

/// Where a simulated participant stands in its operation.
#[derive(Clone, Copy)]
enum Stage {
    Idle,
    Called { record: usize },
    Done { record: usize, answer: Answer },
    Dead { record: usize },
}

/// A history that is linearizable: each operation takes effect at one instant between its call and
/// its return. At every step one participant, chosen uniformly, goes one stage further, so that
/// about two of three participants are inside an operation at any time.
pub fn linearizable(shape: Shape) -> Vec<Record> {
    let mut random = SmallRng::seed_from_u64(shape.seed);
    let mut records: Vec<Record> = Vec::with_capacity(shape.operations);
    let mut states: Vec<Option<Value>> = vec![None; shape.keys as usize];
    let mut people: Vec<(u32, Stage)> =
        (0..shape.participants).map(|participant| (participant, Stage::Idle)).collect();
    let mut participants = shape.participants;
    let mut offered = 0;
    let mut instant = 0;
    let mut busy = people.len();
    while busy > 0 {
        instant += 1;
        let who = random.random_range(0..people.len());
        let (participant, stage) = &mut people[who];
        let dies = random.random_bool(shape.kill_chance / 2.0);
        match *stage {
            Stage::Idle if records.len() < shape.operations => {
                offered += 1;
                let value = Value::new(offered).expect("counted from one");
                let operation = Operation { verb: choose_verb(&mut random), value };
                let key = random.random_range(0..shape.keys);
                *stage = Stage::Called { record: records.len() };
                records.push(Record {
                    participant: *participant,
                    key,
                    operation,
                    invoked: instant,
                    ending: Ending::Pending,
                });
            }
            Stage::Idle => busy = people.iter().filter(|(_, stage)| stage.is_busy()).count(),
            Stage::Called { record } if dies => *stage = Stage::Dead { record },
            Stage::Called { record } => {
                let state = &mut states[records[record].key as usize];
                let (answer, next) = records[record].operation.apply(*state);
                *state = next;
                *stage = Stage::Done { record, answer };
            }
            Stage::Done { record, .. } if dies => *stage = Stage::Dead { record },
            Stage::Done { record, answer } => {
                records[record].ending = Ending::Returned { answer, at: instant };
                *stage = Stage::Idle;
            }
            Stage::Dead { record } => {
                records[record].ending = Ending::Killed { at: instant };
                *participant = participants;
                participants += 1;
                *stage = Stage::Idle;
            }
        }
    }
    records
}

impl Stage {
    const fn is_busy(&self) -> bool {
        !matches!(self, Self::Idle)
    }
}

fn choose_verb(random: &mut SmallRng) -> Verb {
    match random.random_range(0..10) {
        0..4 => Verb::Get,
        4 | 5 => Verb::Insert,
        6 => Verb::Put,
        7 => Verb::Replace,
        8 => Verb::Remove,
        _ => Verb::Take,
    }
}

/// A way to spoil a right history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Corruption {
    /// A get finds a value that was replaced before the get was called.
    StaleRead,
    /// A take or an insert finds a value that was replaced before it was called.
    LostUpdate,
    /// Two takes receive the same value.
    DoubleTake,
    /// A value is found again that was removed or taken before the call.
    ResurrectedValue,
}

impl Corruption {
    /// Every corruption.
    pub const ALL: [Self; 4] =
        [Self::StaleRead, Self::LostUpdate, Self::DoubleTake, Self::ResurrectedValue];

    /// Changes one answer of a history so that nothing explains it any more; `false` if the history
    /// has no place for this corruption.
    ///
    /// The value given to a call is one whose life was ended by an operation that returned before
    /// the call began, and that itself began after the value's writer had returned: whatever else
    /// overlaps, these three are in order, and a value is written once.
    pub fn apply(self, records: &mut [Record], seed: u64) -> bool {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut victims: Vec<usize> =
            (0..records.len()).filter(|index| self.can_be_victim(&records[*index])).collect();
        while !victims.is_empty() {
            let victim = victims.swap_remove(random.random_range(0..victims.len()));
            if let Some(value) = self.value_for(records, &records[victim]) {
                let Ending::Returned { answer, .. } = &mut records[victim].ending else {
                    continue;
                };
                *answer = Answer::Found(value);
                return true;
            }
        }
        false
    }

    fn can_be_victim(self, record: &Record) -> bool {
        let verb = record.operation.verb;
        record.answer().is_some()
            && match self {
                Self::StaleRead => verb == Verb::Get,
                Self::LostUpdate => matches!(verb, Verb::Take | Verb::Insert),
                Self::DoubleTake => verb == Verb::Take,
                Self::ResurrectedValue => matches!(verb, Verb::Get | Verb::Insert),
            }
    }

    /// A value of the victim's key that the victim cannot have found.
    fn value_for(self, records: &[Record], victim: &Record) -> Option<Value> {
        let of_key = || records.iter().filter(|record| record.key == victim.key);
        let last_before = |instant: u64, wanted: &dyn Fn(&Record) -> bool| {
            of_key()
                .filter(|record| record.answer().is_some() && record.last_instant() < instant)
                .filter(|record| wanted(record))
                .max_by_key(|record| record.last_instant())
                .copied()
        };
        if self == Self::DoubleTake {
            let taken = last_before(victim.invoked, &|record| {
                record.operation.verb == Verb::Take && record.answer() != Some(Answer::Absent)
            });
            return match taken?.answer()? {
                Answer::Found(value) => Some(value),
                _ => None,
            };
        }
        let ends_a_life = |record: &Record| match (self, record.answer()) {
            (Self::ResurrectedValue, Some(Answer::Removed)) => true,
            (Self::ResurrectedValue, Some(Answer::Found(_))) => record.operation.verb == Verb::Take,
            (Self::StaleRead | Self::LostUpdate, Some(answer)) => answer == Answer::Replaced,
            _ => false,
        };
        let end = last_before(victim.invoked, &ends_a_life)?;
        let written =
            |record: &Record| matches!(record.answer(), Some(Answer::Inserted | Answer::Replaced));
        last_before(end.invoked, &written).map(|writer| writer.operation.value)
    }
}

impl Record {
    fn last_instant(&self) -> u64 {
        match self.ending {
            Ending::Returned { at, .. } | Ending::Killed { at } => at,
            Ending::Pending => self.invoked,
        }
    }
}
