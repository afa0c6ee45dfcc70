//! Calls made ahead of use, 64 at a time, and the bookkeeping that says what each must answer.
//!
//! Ids and values are written well before a row reads them: an id made right before the call stalls
//! the load that reads it behind every older miss, and makes every row look alike.

use std::sync::Arc;

use shm_arena::Memory;

use crate::control::Control;
use crate::corpus::{Corpus, Sizes};
use crate::keys::{Choice, Key, check_of, session_id};
use crate::workload::{Ages, Mix, Workload, is_ticket};

/// Calls in a full batch; a connection's calls stay together, so that a batch may be a few longer.
pub const BATCH_CALLS: usize = 64;

/// What a call does and what it must answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// Looks up a session that is stored, unless it was evicted meanwhile.
    Get,
    /// Looks up an id that was never stored.
    GetUnknown,
    /// Stores a session.
    Put,
    /// Stores a session in place of itself.
    Replace,
    /// Takes a session that is stored.
    Take,
    /// Removes a session that is stored, to make room.
    Evict,
}

/// One call on a row.
#[derive(Clone, Debug)]
pub struct Call {
    /// The session id.
    pub key: Key,
    /// What is done.
    pub verb: Verb,
    /// Whether the call starts an operation; an eviction starts the store that it makes room for.
    pub begins: bool,
    /// Lane that issued the session.
    pub lane: u32,
    /// Number of the session in its lane.
    pub number: u64,
    /// Where a perfect index keeps the session; meaningful while the population stands still.
    pub place: u64,
    /// Last word of the session's value.
    pub check: u64,
    value_start: usize,
    value_end: usize,
}

/// Calls and the values that they store.
#[derive(Debug, Default)]
pub struct Batch {
    /// The calls, in order.
    pub calls: Vec<Call>,
    values: Vec<u8>,
}

impl Batch {
    /// The value that a call stores.
    #[inline(always)]
    pub fn value(&self, call: &Call) -> &[u8] {
        &self.values[call.value_start..call.value_end]
    }

    fn clear(&mut self) {
        self.calls.clear();
        self.values.clear();
    }
}

/// Which lanes a row's workers use, and which is this worker's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lanes {
    /// The first lane.
    pub first: u32,
    /// How many there are: one for each worker of a shared row, one in all for a private row.
    pub count: u32,
    /// The lane that this worker issues sessions in.
    pub own: u32,
}

/// What a stream is made of.
#[derive(Debug)]
pub struct StreamOptions<M> {
    /// The shared words.
    pub control: Arc<Control<M>>,
    /// The values.
    pub corpus: Arc<Corpus>,
    /// The operation sequence.
    pub workload: Workload,
    /// Sessions stored at any time, over all lanes.
    pub entries: u64,
    /// The lanes.
    pub lanes: Lanes,
    /// Seed of the run.
    pub seed: u64,
}

/// Makes one worker's calls on one row.
#[derive(Debug)]
pub struct Stream<M> {
    control: Arc<Control<M>>,
    corpus: Arc<Corpus>,
    mix: Mix,
    sizes: Sizes,
    is_tls13: bool,
    ages: Ages,
    lanes: Lanes,
    seed: u64,
    issued: u64,
    connections: u64,
    unknown: u64,
    claimed: (u32, u64, u64),
    choice: Choice,
    batch: Batch,
}

/// Lane of the ids that are never stored.
const UNKNOWN_LANE: u32 = 255;

impl<M: Memory> Stream<M> {
    /// A stream in the state in which a measurement starts: every lane has issued one window.
    pub fn new(options: StreamOptions<M>) -> Self {
        let StreamOptions { control, corpus, workload, entries, lanes, seed } = options;
        let mix = workload.mix();
        let ages = Ages::new(mix, entries / u64::from(lanes.count));
        let stream = Self {
            control,
            corpus,
            mix,
            sizes: workload.sizes(),
            is_tls13: workload.is_tls13(),
            ages,
            lanes,
            seed,
            issued: ages.window,
            connections: 0,
            unknown: 0,
            claimed: (lanes.own, 0, 0),
            choice: Choice::new(seed ^ u64::from(lanes.own + 1)),
            batch: Batch::default(),
        };
        stream.control.start_taking_at(lanes.own, ages.resumptions_due(ages.window));
        stream.control.publish(lanes.own, ages.window);
        stream
    }

    /// The calls that store one lane's sessions before a measurement starts, in scattered order, by
    /// batches. The numbers of all lanes together are shuffled by calling it for each in turn.
    pub fn fill_batch(&mut self, lane: u32, chunk: u64) -> Option<&Batch> {
        self.batch.clear();
        let chunks = self.ages.window.div_ceil(BATCH_CALLS as u64);
        if chunk >= chunks {
            return None;
        }
        // Numbers `chunk`, `chunk + chunks`, …: far apart, and a permutation over all chunks.
        for step in 0..BATCH_CALLS as u64 {
            let number = chunk + step * chunks;
            if number < self.ages.window && self.ages.is_stored_at_start(self.mix, number) {
                self.push(Verb::Put, true, lane, number);
            }
        }
        Some(&self.batch)
    }

    /// Makes the next batch: at least this many calls, of whole connections and groups.
    pub fn refill(&mut self, calls: usize) -> &Batch {
        self.batch.clear();
        let calls = calls.next_multiple_of(self.at_a_time());
        while self.batch.calls.len() < calls {
            match self.mix {
                Mix::Read { .. } => self.look_up(Verb::Get),
                Mix::Tickets => self.connect_with_tickets(),
                Mix::Ids { resumed_percent } => self.connect_with_ids(resumed_percent),
            }
            self.connections += 1;
        }
        if !self.is_still() {
            let evicted = self.issued.saturating_sub(self.ages.window);
            self.control.announce_horizon(self.lanes.own, self.ages.block_end(evicted));
        }
        &self.batch
    }

    /// Makes a batch of this many replacements of stored sessions by themselves. The population
    /// has to stand still.
    pub fn refill_replacing(&mut self, calls: usize) -> &Batch {
        debug_assert!(self.is_still(), "a session that may be gone cannot be replaced");
        self.batch.clear();
        for _ in 0..calls {
            self.look_up(Verb::Replace);
        }
        &self.batch
    }

    /// How many look-ups are asked for in one call.
    pub const fn at_a_time(&self) -> usize {
        match self.mix {
            Mix::Read { at_a_time } => at_a_time,
            Mix::Tickets | Mix::Ids { .. } => 1,
        }
    }

    /// Whether no session comes or goes.
    const fn is_still(&self) -> bool {
        matches!(self.mix, Mix::Read { .. })
    }

    /// The batch made last.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Tells the others that the calls of the last batch are done.
    pub fn finish_batch(&self) {
        if !self.is_still() {
            self.control.publish(self.lanes.own, self.issued);
        }
    }

    /// Whether a session that was not found may have been evicted since the call was made.
    pub fn may_be_evicted(&self, call: &Call) -> bool {
        !self.is_still() && call.number < self.control.horizon(call.lane)
    }

    /// The value that a session has.
    pub fn expected_value(&self, key: &Key, out: &mut Vec<u8>) {
        out.clear();
        self.corpus.append(key, self.sizes, self.is_tls13, out);
    }

    /// A call on any stored session of a population that stands still.
    fn look_up(&mut self, verb: Verb) {
        let lane = self.any_lane();
        let number = self.choice.below(self.ages.window);
        self.push(verb, true, lane, number);
    }

    fn connect_with_tickets(&mut self) {
        if matches!(self.connections % 5, 0 | 2 | 4)
            && let Some((lane, index)) = self.claim()
        {
            self.push(Verb::Take, true, lane, self.ages.resumed(index));
        }
        self.store();
        self.store();
    }

    fn connect_with_ids(&mut self, resumed_percent: u64) {
        if self.choice.below(100) < resumed_percent {
            let lane = self.any_lane();
            let newest = self.control.published(lane);
            let oldest = self.control.horizon(lane).max(newest.saturating_sub(self.ages.window));
            // What is next to be evicted is left out: it may be gone before this batch is used.
            let oldest = (oldest + self.ages.window / 32).min(newest - 1);
            let number = oldest + self.choice.below(newest - oldest);
            self.push(Verb::Get, true, lane, number);
            return;
        }
        if self.choice.below(10) < 9 {
            self.unknown += 1;
            let number = self.unknown << 8 | u64::from(self.lanes.own);
            self.push(Verb::GetUnknown, true, UNKNOWN_LANE, number);
        }
        self.store();
    }

    /// Stores the next session of the own lane, in place of one that is given up for it.
    fn store(&mut self) {
        let number = self.issued;
        let given_up = self.ages.scatter(number - self.ages.window);
        let is_resumed = matches!(self.mix, Mix::Tickets) && is_ticket(given_up);
        if !is_resumed {
            self.push(Verb::Evict, true, self.lanes.own, given_up);
        }
        self.push(Verb::Put, is_resumed, self.lanes.own, number);
        self.issued += 1;
    }

    /// Claims a resumption that is due, in the lane that is furthest behind.
    fn claim(&mut self) -> Option<(u32, u64)> {
        if self.claimed.2 == 0 {
            let behind = |lane: u32| {
                let due = self.ages.resumptions_due(self.control.published(lane));
                (due.saturating_sub(self.control.taken(lane)), lane, due)
            };
            let lanes = self.lanes.first..self.lanes.first + self.lanes.count;
            let (_, lane, due) = lanes.map(behind).max()?;
            let (first, count) = self.control.claim(lane, 8, due);
            self.claimed = (lane, first, count);
        }
        let (lane, index, count) = self.claimed;
        if count == 0 {
            return None;
        }
        self.claimed = (lane, index + 1, count - 1);
        Some((lane, index))
    }

    fn any_lane(&mut self) -> u32 {
        let count = u64::from(self.lanes.count);
        self.lanes.first + u32::try_from(self.choice.below(count)).unwrap_or(0)
    }

    fn push(&mut self, verb: Verb, begins: bool, lane: u32, number: u64) {
        let key = session_id(self.seed, lane, number);
        let value_start = self.batch.values.len();
        if matches!(verb, Verb::Put | Verb::Replace) {
            self.corpus.append(&key, self.sizes, self.is_tls13, &mut self.batch.values);
        }
        self.batch.calls.push(Call {
            key,
            verb,
            begins,
            lane,
            number,
            place: u64::from(lane.wrapping_sub(self.lanes.first)) * self.ages.window + number,
            check: check_of(&key),
            value_start,
            value_end: self.batch.values.len(),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use shm_arena::HeapMemory;

    use super::*;
    use crate::control::CONTROL_WORDS;
    use crate::corpus::synthetic;

    fn streams(workload: Workload, workers: u32) -> Vec<Stream<HeapMemory>> {
        let control = Arc::new(Control::new(HeapMemory::new(CONTROL_WORDS)));
        let corpus = Arc::new(synthetic());
        (0..workers)
            .map(|own| {
                Stream::new(StreamOptions {
                    control: Arc::clone(&control),
                    corpus: Arc::clone(&corpus),
                    workload,
                    entries: 4000,
                    lanes: Lanes { first: 0, count: workers, own },
                    seed: 11,
                })
            })
            .collect()
    }

    /// Plays batches against a set and checks what each call promises.
    fn play(workload: Workload, workers: u32) -> (usize, usize, u64, u64) {
        let mut streams = streams(workload, workers);
        let mut stored = HashSet::new();
        for lane in 0..workers {
            let mut chunk = 0;
            while let Some(batch) = streams[0].fill_batch(lane, chunk) {
                stored.extend(batch.calls.iter().map(|call| call.key));
                chunk += 1;
            }
        }
        let at_start = stored.len();
        let (mut operations, mut puts) = (0, 0);
        for turn in 0..40_000 {
            let stream = &mut streams[turn % workers as usize];
            stream.refill(BATCH_CALLS);
            for call in &stream.batch().calls {
                operations += u64::from(call.begins);
                match call.verb {
                    Verb::Get => {
                        assert!(stored.contains(&call.key) || stream.may_be_evicted(call));
                    }
                    Verb::GetUnknown => assert!(!stored.contains(&call.key)),
                    Verb::Put => {
                        puts += 1;
                        assert!(stored.insert(call.key));
                    }
                    Verb::Replace => unreachable!("no workload mixes it with other calls"),
                    Verb::Take | Verb::Evict => assert!(stored.remove(&call.key), "{call:?}"),
                }
            }
            stream.finish_batch();
        }
        (at_start, stored.len(), operations, puts)
    }

    #[test]
    fn every_call_answers_as_promised_and_the_population_stays() {
        for workload in Workload::ALL {
            for workers in [1, 2] {
                let (at_start, at_end, _, _) = play(workload, workers);
                assert!(at_start.abs_diff(4000) < 400, "{workload:?}: {at_start} at start");
                assert!(at_end.abs_diff(at_start) < 300, "{workload:?}: {at_start} to {at_end}");
            }
        }
    }

    #[test]
    fn stores_have_the_share_that_was_recorded() {
        let share = |workload| {
            let (_, _, operations, puts) = play(workload, 2);
            puts as f64 / operations as f64
        };
        assert!((share(Workload::RustlsTls13) - 2.0 / 2.6).abs() < 0.01);
        assert!((share(Workload::OpensslTls12) - 0.1 / 1.09).abs() < 0.01);
        assert!((share(Workload::OpensslTls12R60) - 0.4 / 1.36).abs() < 0.01);
        assert_eq!(share(Workload::Read), 0.0);
    }
}
