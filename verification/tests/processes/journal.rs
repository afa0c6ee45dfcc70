//! A history that outlives the process which writes it.
//!
//! Each life of a worker has a file on shared memory, mapped by the worker and by whoever reads it
//! afterwards. A call is written before it is made and its answer after it returned, so what a
//! `SIGKILL` leaves is a history whose last call may be open.

use std::path::Path;

use rustix::time::{ClockId, clock_gettime};
use shm_arena::{
    AttachOptions, CreateOptions, Load, MappedMemory, Memory, Offset, SegmentError, Store,
};
use shm_verification::history::{Ending, Record};
use shm_verification::spec::{Answer, Operation, Value, Verb};

/// Words of a call: its instant, verb and key, value offered, answer, value answered, instant of
/// the return.
const WORDS: u64 = 6;

/// Nanoseconds on the clock that all processes share.
pub(super) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// The calls of one life.
pub(super) struct Journal {
    memory: MappedMemory,
    calls: u64,
}

impl Journal {
    /// An empty one for so many calls.
    pub(super) fn create(path: &Path, calls_max: u64) {
        let options = CreateOptions::default();
        MappedMemory::create(path, calls_max * WORDS * 8, &options, Ok::<_, SegmentError>).unwrap();
    }

    pub(super) fn open(path: &Path) -> Self {
        let memory = MappedMemory::attach(path, &AttachOptions::default()).unwrap();
        Self { memory, calls: 0 }
    }

    pub(super) fn is_full(&self) -> bool {
        (self.calls + 1) * WORDS > self.memory.word_count()
    }

    fn word(call: u64, word: u64) -> Offset {
        Offset::new(call * WORDS + word)
    }

    fn write(&self, word: u64, value: u64) {
        self.memory.store(Self::word(self.calls, word), value, Store::Relaxed);
    }

    /// Makes a call between two notes of it.
    pub(super) fn record(
        &mut self,
        key: u32,
        operation: Operation,
        call: impl FnOnce() -> Answer,
    ) -> Answer {
        self.write(1, (operation.verb as u64) << 32 | u64::from(key));
        self.write(2, operation.value.get());
        self.write(0, now());
        let answer = call();
        let (code, value) = encode(answer);
        self.write(4, value);
        self.write(3, code);
        self.write(5, now());
        self.calls += 1;
        answer
    }

    /// The calls of a life that ended by a kill which was confirmed, and settled, at this instant.
    pub(super) fn read(&self, participant: u32, killed_at: u64) -> Vec<Record> {
        let word = |call, word| self.memory.load(Self::word(call, word), Load::Relaxed);
        let calls = self.memory.word_count() / WORDS;
        let record = |call| {
            let invoked = word(call, 0);
            let (key, value) = (word(call, 1) & 0xFFFF_FFFF, word(call, 2));
            let verb = Verb::EVERY[usize::try_from(word(call, 1) >> 32).unwrap()];
            let ending = match word(call, 5) {
                0 => Ending::Killed { at: killed_at },
                at => Ending::Returned { answer: decode(word(call, 3), word(call, 4)), at },
            };
            let (key, value) = (u32::try_from(key).unwrap(), Value::new(value).unwrap());
            Record { participant, key, operation: Operation { verb, value }, invoked, ending }
        };
        (0..calls).take_while(|&call| word(call, 0) != 0).map(record).collect()
    }
}

fn encode(answer: Answer) -> (u64, u64) {
    match answer {
        Answer::Found(value) => (1, value.get()),
        Answer::Absent => (2, 0),
        Answer::Inserted => (3, 0),
        Answer::Replaced => (4, 0),
        Answer::Removed => (5, 0),
        Answer::Exchanged(value) => (6, value.get()),
        Answer::RemovedValue(value) => (7, value.get()),
        Answer::Changed(value) => (8, value.get()),
        Answer::Failed => (9, 0),
    }
}

fn decode(code: u64, value: u64) -> Answer {
    let value = || Value::new(value).unwrap();
    match code {
        1 => Answer::Found(value()),
        2 => Answer::Absent,
        3 => Answer::Inserted,
        4 => Answer::Replaced,
        5 => Answer::Removed,
        6 => Answer::Exchanged(value()),
        7 => Answer::RemovedValue(value()),
        8 => Answer::Changed(value()),
        9 => Answer::Failed,
        _ => panic!("answer code {code}"),
    }
}
