//! Runs a row in windows: batches made ahead, timed from fence to fence, every answer verified.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use shm_arena::Memory;
use shm_table::Lookup;

use crate::corpus::ends_with_check;
use crate::fault::Fault;
use crate::row::Row;
use crate::stream::{BATCH_CALLS, Batch, Call, Stream, Verb};
use crate::sys;

/// What is measured in a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Measure {
    /// Batches, in which successive operations overlap as far as the row lets them.
    Throughput,
    /// Single calls between fences, each with nothing in flight.
    Latency,
}

/// What one worker did in one window. Times are in ticks.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Window {
    /// When the window began.
    pub start: u64,
    /// When it ended.
    pub end: u64,
    /// Time spent in the row's calls and the check of their answers.
    pub busy: u64,
    /// Operations of the TLS library.
    pub operations: u64,
    /// Calls on the row: operations, and evictions that make room for a store.
    pub calls: u64,
    /// Look-ups and takes.
    pub lookups: u64,
    /// Look-ups and takes that found something.
    pub hits: u64,
    /// Sessions stored.
    pub puts: u64,
    /// How often the kernel took the processor away.
    pub preemptions: u64,
    /// Longest time that a batch took to make. That is private work of a few microseconds: if it
    /// takes much longer, the worker was not running.
    pub gap: u64,
}

/// How many vectors values are copied to in turn. Where one lies matters: a load whose address ends
/// in the same 12 bits as that of a store before it waits for that store's data, here for the last
/// look-up's miss. One vector in an unlucky place among the row's fields or the stack made a worker
/// 2.4 times as slow for as long as it lived. One for each line of a page gives everything that a
/// row reads the same share of luck; with eight, limits of 10 ns differed from themselves by 4 %.
const VALUES: usize = 64;

/// Capacity of each: with the allocator's own word a page and a line, so that they begin in
/// different lines of a page.
const VALUE_CAPACITY: usize = 4096 + 64 - 8;

/// A worker's handle on a row, with the calls that it makes on it.
#[derive(Debug)]
pub struct Side<R, M> {
    row: R,
    stream: Stream<M>,
    /// Where values are copied to: a batch each, in turn.
    values: [Vec<u8>; VALUES],
    batches: usize,
    found: Vec<Lookup>,
    expected: Vec<u8>,
    samples: Vec<u64>,
    latencies: Histogram<u64>,
}

/// A [`Side`] whose row is not named.
pub trait AnySide: Send {
    /// Runs this many operations of the row, and those that complete the last connection.
    fn window(&mut self, measure: Measure, operations: u64) -> Result<Window, Fault>;

    /// Replaces stored sessions by themselves, until told that it is over; the window has puts and
    /// no operations.
    fn write_until(&mut self, is_over: &mut dyn FnMut() -> bool) -> Result<Window, Fault>;

    /// Latencies of the windows in which this worker was not preempted, in ticks; starts anew.
    fn take_latencies(&mut self) -> Histogram<u64>;
}

/// The histogram of latencies: up to a minute at any clock rate, three digits.
pub(crate) fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 1 << 40, 3).expect("the bounds are constants and valid")
}

impl<R: Row, M: Memory> Side<R, M> {
    /// A side that is about to start.
    pub fn new(row: R, stream: Stream<M>) -> Self {
        Self {
            row,
            stream,
            values: std::array::from_fn(|_| Vec::with_capacity(VALUE_CAPACITY)),
            batches: 0,
            found: Vec::new(),
            expected: Vec::new(),
            samples: Vec::new(),
            latencies: latencies(),
        }
    }

    /// Stores the sessions with which these lanes start.
    pub fn fill(&mut self, lanes: impl Iterator<Item = u32> + Clone) -> Result<u64, Fault> {
        let mut stored = 0;
        for chunk in 0.. {
            let mut is_done = true;
            for lane in lanes.clone() {
                let Some(batch) = self.stream.fill_batch(lane, chunk) else {
                    continue;
                };
                is_done = false;
                for call in &batch.calls {
                    self.row.put(call, batch.value(call))?;
                    stored += 1;
                }
            }
            if is_done {
                break;
            }
        }
        Ok(stored)
    }

    /// The row.
    pub fn row(&self) -> &R {
        &self.row
    }

    fn measured_batch(&mut self, window: &mut Window) -> Result<(), Fault> {
        self.batches += 1;
        let value = &mut self.values[self.batches % VALUES];
        let begin = sys::ticks_fenced();
        let hits = if self.stream.at_a_time() == 1 {
            run_batch(&mut self.row, &self.stream, value)?
        } else {
            run_groups(&mut self.row, &self.stream, &mut self.found)?
        };
        let end = sys::ticks_fenced();
        window.busy += end - begin;
        window.hits += hits;
        Ok(())
    }

    /// Times each operation alone and compares every value as a whole, outside the clock.
    fn single_operations(&mut self, window: &mut Window) -> Result<(), Fault> {
        self.batches += 1;
        let Self { row, stream, values, expected, samples, .. } = self;
        let value = &mut values[self.batches % VALUES];
        let mut busy = 0;
        for call in &stream.batch().calls {
            let begin = sys::ticks_fenced();
            let hit = run_call(row, stream, stream.batch(), call, value)?;
            let took = sys::ticks_fenced() - begin;
            if call.begins {
                samples.push(took);
            } else if let Some(operation) = samples.last_mut() {
                *operation += took;
            }
            busy += took;
            if hit {
                window.hits += 1;
                stream.expected_value(&call.key, expected);
                if value != expected {
                    let problem = "its bytes are not those that were stored".to_owned();
                    return Err(wrong::<R>(call, problem));
                }
            }
        }
        window.busy += busy;
        Ok(())
    }
}

impl<R: Row, M: Memory> Side<R, M> {
    /// Times each group of look-ups alone and compares every value as a whole, outside the clock.
    fn single_groups(&mut self, window: &mut Window) -> Result<(), Fault> {
        let Self { row, stream, found, expected, samples, .. } = self;
        for calls in stream.batch().calls.chunks(stream.at_a_time()) {
            let begin = sys::ticks_fenced();
            window.hits += run_group(row, calls, found)?;
            let took = sys::ticks_fenced() - begin;
            samples.push(took);
            window.busy += took;
            for (call, lookup) in calls.iter().zip(&*found) {
                stream.expected_value(&call.key, expected);
                if lookup.value != *expected {
                    let problem = "its bytes are not those that were stored".to_owned();
                    return Err(wrong::<R>(call, problem));
                }
            }
        }
        Ok(())
    }
}

impl<R: Row, M: Memory> AnySide for Side<R, M> {
    fn window(&mut self, measure: Measure, operations: u64) -> Result<Window, Fault> {
        let preemptions = sys::preemptions();
        let start = sys::ticks();
        let mut window = Window { start, ..Window::default() };
        let mut before = start;
        self.samples.clear();
        loop {
            let missing = operations.saturating_sub(window.operations);
            let calls =
                usize::try_from(missing).map_or(BATCH_CALLS, |calls| calls.min(BATCH_CALLS));
            self.stream.refill(calls);
            window.gap = window.gap.max(sys::ticks().wrapping_sub(before));
            match measure {
                Measure::Throughput => self.measured_batch(&mut window)?,
                Measure::Latency if self.stream.at_a_time() == 1 => {
                    self.single_operations(&mut window)?;
                }
                Measure::Latency => self.single_groups(&mut window)?,
            }
            self.stream.finish_batch();
            for call in &self.stream.batch().calls {
                window.calls += 1;
                window.operations += u64::from(call.begins);
                window.lookups +=
                    u64::from(matches!(call.verb, Verb::Get | Verb::GetUnknown | Verb::Take));
                window.puts += u64::from(call.verb == Verb::Put);
            }
            before = sys::ticks();
            if window.operations >= operations {
                break;
            }
        }
        window.end = before;
        window.preemptions = sys::preemptions() - preemptions;
        if window.preemptions == 0 {
            for &sample in &self.samples {
                self.latencies.saturating_record(sample);
            }
        }
        Ok(window)
    }

    fn write_until(&mut self, is_over: &mut dyn FnMut() -> bool) -> Result<Window, Fault> {
        let preemptions = sys::preemptions();
        let start = sys::ticks();
        let mut window = Window { start, ..Window::default() };
        let mut before = start;
        let Self { row, stream, values, .. } = self;
        'writing: loop {
            stream.refill_replacing(BATCH_CALLS);
            window.gap = window.gap.max(sys::ticks().wrapping_sub(before));
            let batch = stream.batch();
            for call in &batch.calls {
                run_call(row, stream, batch, call, &mut values[0])?;
                window.puts += 1;
                if is_over() {
                    break 'writing;
                }
            }
            before = sys::ticks();
        }
        window.end = sys::ticks();
        window.preemptions = sys::preemptions() - preemptions;
        Ok(window)
    }

    fn take_latencies(&mut self) -> Histogram<u64> {
        std::mem::replace(&mut self.latencies, latencies())
    }
}

/// Makes all calls of a batch; gives how many look-ups and takes found something.
#[inline(never)]
fn run_batch<R: Row, M: Memory>(
    row: &mut R,
    stream: &Stream<M>,
    value: &mut Vec<u8>,
) -> Result<u64, Fault> {
    let batch = stream.batch();
    let mut hits = 0;
    for call in &batch.calls {
        hits += u64::from(run_call(row, stream, batch, call, value)?);
    }
    Ok(hits)
}

/// Makes all look-ups of a batch, several in one call; gives how many found something.
#[inline(never)]
fn run_groups<R: Row, M: Memory>(
    row: &mut R,
    stream: &Stream<M>,
    found: &mut Vec<Lookup>,
) -> Result<u64, Fault> {
    let mut hits = 0;
    for calls in stream.batch().calls.chunks(stream.at_a_time()) {
        hits += run_group(row, calls, found)?;
    }
    Ok(hits)
}

/// Makes these look-ups in one call and verifies every answer.
#[inline(always)]
fn run_group<R: Row>(row: &mut R, calls: &[Call], found: &mut Vec<Lookup>) -> Result<u64, Fault> {
    row.get_many(calls, found)?;
    let mut hits = 0;
    for (index, call) in calls.iter().enumerate() {
        match found.get(index) {
            Some(lookup) if lookup.metadata.is_some() => verify::<R>(call, &lookup.value)?,
            _ => return Err(lost::<R>(call, "get_many")),
        }
        hits += 1;
    }
    Ok(hits)
}

/// Makes one call and verifies the answer; `true` if it copied a value out.
#[inline(always)]
fn run_call<R: Row, M: Memory>(
    row: &mut R,
    stream: &Stream<M>,
    batch: &Batch,
    call: &Call,
    value: &mut Vec<u8>,
) -> Result<bool, Fault> {
    match call.verb {
        Verb::Get => {
            if row.get(call, value)? {
                verify::<R>(call, value)?;
                return Ok(true);
            }
            if stream.may_be_evicted(call) { Ok(false) } else { Err(lost::<R>(call, "get")) }
        }
        Verb::GetUnknown => {
            if row.get(call, value)? {
                Err(Fault::Invented { row: R::NAME })
            } else {
                Ok(false)
            }
        }
        Verb::Put => {
            row.put(call, batch.value(call))?;
            Ok(false)
        }
        Verb::Replace => {
            row.replace(call, batch.value(call))?;
            Ok(false)
        }
        Verb::Take => {
            if row.take(call, value)? {
                verify::<R>(call, value)?;
                return Ok(true);
            }
            Err(lost::<R>(call, "take"))
        }
        Verb::Evict => {
            if row.remove(&call.key)? {
                Ok(false)
            } else {
                Err(lost::<R>(call, "remove"))
            }
        }
    }
}

#[inline(always)]
fn verify<R: Row>(call: &Call, value: &[u8]) -> Result<(), Fault> {
    if ends_with_check(value, call.check) {
        return Ok(());
    }
    Err(wrong::<R>(call, format!("{} bytes that do not end with its check", value.len())))
}

#[cold]
fn wrong<R: Row>(call: &Call, problem: String) -> Fault {
    Fault::WrongValue { row: R::NAME, lane: call.lane, number: call.number, problem }
}

#[cold]
fn lost<R: Row>(call: &Call, verb: &'static str) -> Fault {
    Fault::Lost { row: R::NAME, verb, lane: call.lane, number: call.number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_for_values_lie_in_different_lines_of_a_page() {
        let values: [Vec<u8>; VALUES] = std::array::from_fn(|_| Vec::with_capacity(VALUE_CAPACITY));
        let lines = values.map(|value| value.as_ptr().addr() % 4096 / 64);
        let different: std::collections::HashSet<usize> = lines.into_iter().collect();
        assert!(different.len() >= VALUES * 3 / 4, "{lines:?}");
    }
}
