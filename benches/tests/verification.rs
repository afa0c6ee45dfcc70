//! Rows that are wrong in every way that the driver has to notice, and one that is only slow.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use shm_arena::HeapMemory;
use shm_bench::capture::capture;
use shm_bench::churn::{Churn, ChurnName, Churned, Fill, Tenths};
use shm_bench::clock::ClockRate;
use shm_bench::control::{CONTROL_WORDS, Control};
use shm_bench::corpus::Corpus;
use shm_bench::driver::{AnySide, Measure, Side};
use shm_bench::fault::Fault;
use shm_bench::keys::Key;
use shm_bench::pairs::Tally;
use shm_bench::protocol::{Measured, WindowPair};
use shm_bench::row::{Place, Row, RowName, Site};
use shm_bench::scaling::Round;
use shm_bench::stream::{Call, Lanes, Stream, StreamOptions};
use shm_bench::workload::Workload;
use shm_table::Lookup;

/// What is wrong with a [`Model`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wrong {
    Nothing,
    LastByte,
    MiddleByte,
    TooShort,
    OtherSession,
    Forgets,
    Invents,
    TakesTwice,
    RefusesStores,
    ReplacesByOther,
    AnswersInOtherOrder,
    AnswersTooFew,
    Slow,
    SlowerWithEachStore,
}

/// A correct row with one fault, after a while.
#[derive(Debug)]
struct Model {
    wrong: Wrong,
    calls: u64,
    map: HashMap<Key, Vec<u8>>,
    previous: Vec<u8>,
}

impl Model {
    fn new(wrong: Wrong) -> Self {
        Self { wrong, calls: 0, map: HashMap::new(), previous: Vec::new() }
    }

    /// Whether the fault shows in this call.
    fn strikes(&mut self, wrong: Wrong) -> bool {
        if self.wrong != wrong {
            return false;
        }
        self.calls += 1;
        self.calls.is_multiple_of(100)
    }

    fn spoil(&mut self, value: &mut Vec<u8>) {
        let middle = value.len() / 2;
        if self.strikes(Wrong::LastByte)
            && let Some(last) = value.last_mut()
        {
            *last ^= 1;
        }
        if self.strikes(Wrong::MiddleByte) {
            value[middle] ^= 1;
        }
        if self.strikes(Wrong::TooShort) {
            value.pop();
        }
        if self.strikes(Wrong::OtherSession) {
            value.clone_from(&self.previous);
        }
        self.previous.clone_from(value);
    }
}

impl Row for Model {
    const NAME: &'static str = "model";
    const PLACE: Place = Place::Private;

    fn create(_site: &Site) -> Result<Self, Fault> {
        Ok(Self::new(Wrong::Nothing))
    }

    fn address(&self) -> String {
        String::new()
    }

    fn join(site: &Site, _address: &str) -> Result<Self, Fault> {
        Self::create(site)
    }

    fn get(&mut self, call: &Call, value: &mut Vec<u8>) -> Result<bool, Fault> {
        if self.wrong == Wrong::Slow {
            let start = Instant::now();
            while start.elapsed() < Duration::from_micros(5) {}
        }
        let Some(stored) = self.map.get(&call.key) else {
            value.clear();
            value.extend_from_slice(&self.previous);
            return Ok(self.strikes(Wrong::Invents));
        };
        value.clone_from(stored);
        self.spoil(value);
        Ok(!self.strikes(Wrong::Forgets))
    }

    fn get_many(&mut self, calls: &[Call], found: &mut Vec<Lookup>) -> Result<(), Fault> {
        found.resize_with(calls.len(), Lookup::default);
        for (call, lookup) in calls.iter().zip(&mut *found) {
            lookup.metadata = self.get(call, &mut lookup.value)?.then_some(0);
        }
        if self.strikes(Wrong::AnswersInOtherOrder) {
            found.swap(0, 7);
        }
        if self.strikes(Wrong::AnswersTooFew) {
            found.pop();
        }
        Ok(())
    }

    fn replace(&mut self, call: &Call, value: &[u8]) -> Result<(), Fault> {
        let value = if self.strikes(Wrong::ReplacesByOther) { &self.previous } else { value };
        let value = value.to_vec();
        self.previous.clone_from(&value);
        self.map
            .insert(call.key, value)
            .map(|_| ())
            .ok_or_else(|| Fault::verb(Self::NAME, "replace", "it is not there"))
    }

    fn put(&mut self, call: &Call, value: &[u8]) -> Result<(), Fault> {
        if self.wrong == Wrong::SlowerWithEachStore {
            self.calls += 1;
            let start = Instant::now();
            while start.elapsed() < Duration::from_nanos(self.calls / 4) {}
        }
        if self.strikes(Wrong::RefusesStores) {
            return Err(Fault::verb(Self::NAME, "put", "full"));
        }
        self.map.insert(call.key, value.to_vec());
        Ok(())
    }

    fn take(&mut self, call: &Call, value: &mut Vec<u8>) -> Result<bool, Fault> {
        if self.strikes(Wrong::TakesTwice) {
            return Ok(false);
        }
        let Some(stored) = self.map.remove(&call.key) else {
            return Ok(false);
        };
        value.clone_from(&stored);
        self.spoil(value);
        Ok(!self.strikes(Wrong::Forgets))
    }

    fn remove(&mut self, key: &Key) -> Result<bool, Fault> {
        Ok(self.map.remove(key).is_some() && !self.strikes(Wrong::Forgets))
    }
}

static CORPUS: LazyLock<Arc<Corpus>> =
    LazyLock::new(|| Arc::new(capture().expect("handshakes in memory succeed")));

fn side(wrong: Wrong, workload: Workload) -> Result<Side<Model, HeapMemory>, Fault> {
    let stream = Stream::new(StreamOptions {
        control: Arc::new(Control::new(HeapMemory::new(CONTROL_WORDS))),
        corpus: Arc::clone(&CORPUS),
        workload,
        entries: 1000,
        lanes: Lanes { first: 0, count: 1, own: 0 },
        seed: 5,
    });
    let mut side = Side::new(Model::new(wrong), stream);
    side.fill(0..1)?;
    Ok(side)
}

fn run(wrong: Wrong, workload: Workload, measure: Measure) -> Result<(), Fault> {
    let mut side = side(wrong, workload)?;
    for _ in 0..20 {
        let window = side.window(measure, 1000)?;
        assert!(window.operations >= 1000 && window.busy > 0);
    }
    Ok(())
}

const BOTH: [Measure; 2] = [Measure::Throughput, Measure::Latency];

#[test]
fn a_correct_row_passes_every_workload() {
    for workload in Workload::ALL {
        for measure in BOTH {
            run(Wrong::Nothing, workload, measure).unwrap();
        }
    }
}

#[test]
fn a_wrong_value_ends_the_measurement() {
    for wrong in [Wrong::LastByte, Wrong::TooShort, Wrong::OtherSession] {
        for workload in Workload::ALL {
            for measure in BOTH {
                let fault = run(wrong, workload, measure).unwrap_err();
                assert!(matches!(fault, Fault::WrongValue { .. }), "{wrong:?}: {fault}");
            }
        }
    }
}

#[test]
fn a_wrong_byte_in_the_middle_is_found_where_whole_values_are_compared() {
    let fault = run(Wrong::MiddleByte, Workload::Read, Measure::Latency).unwrap_err();
    assert!(matches!(fault, Fault::WrongValue { .. }), "{fault}");
}

#[test]
fn a_lost_session_ends_the_measurement() {
    for workload in Workload::ALL {
        let fault = run(Wrong::Forgets, workload, Measure::Throughput).unwrap_err();
        assert!(matches!(fault, Fault::Lost { .. }), "{workload:?}: {fault}");
    }
    let fault = run(Wrong::TakesTwice, Workload::RustlsTls13, Measure::Throughput).unwrap_err();
    assert!(matches!(fault, Fault::Lost { verb: "take", .. }), "{fault}");
}

#[test]
fn an_invented_session_and_a_refused_store_end_the_measurement() {
    let fault = run(Wrong::Invents, Workload::OpensslTls12, Measure::Throughput).unwrap_err();
    assert!(matches!(fault, Fault::Invented { .. }), "{fault}");
    let fault = run(Wrong::RefusesStores, Workload::RustlsTls13, Measure::Throughput).unwrap_err();
    assert!(matches!(fault, Fault::Verb { verb: "put", .. }), "{fault}");
}

#[test]
fn a_batch_that_answers_for_another_session_or_not_at_all_ends_the_measurement() {
    for measure in BOTH {
        let fault = run(Wrong::AnswersInOtherOrder, Workload::ReadMany, measure).unwrap_err();
        assert!(matches!(fault, Fault::WrongValue { .. }), "{fault}");
        let fault = run(Wrong::AnswersTooFew, Workload::ReadMany, measure).unwrap_err();
        assert!(matches!(fault, Fault::Lost { verb: "get_many", .. }), "{fault}");
        // Who answers one by one is not asked in batches.
        run(Wrong::AnswersInOtherOrder, Workload::Read, measure).unwrap();
    }
}

#[test]
fn a_writer_writes_until_it_is_told_and_what_it_replaces_wrongly_is_found() {
    let write_and_read = |wrong| {
        let mut side = side(wrong, Workload::BesideWriter)?;
        let mut left = 5000;
        let written = side.write_until(&mut || {
            left -= 1;
            left == 0
        })?;
        assert_eq!((written.puts, written.operations, written.busy), (5000, 0, 0));
        assert!(written.end > written.start && left == 0);
        side.window(Measure::Latency, 5000)
    };
    write_and_read(Wrong::Nothing).unwrap();
    let fault = write_and_read(Wrong::ReplacesByOther).unwrap_err();
    assert!(matches!(fault, Fault::WrongValue { .. }), "{fault}");
}

#[test]
fn a_limit_that_is_made_slow_lowers_the_ratio() {
    let rate = ClockRate::measure();
    let ratio = |limit: Wrong| {
        let mut row = side(Wrong::Nothing, Workload::Read).unwrap();
        let mut limit = side(limit, Workload::Read).unwrap();
        let pairs = (0..60)
            .map(|_| WindowPair {
                row: row.window(Measure::Throughput, 100).unwrap(),
                limit: limit.window(Measure::Throughput, 100).unwrap(),
            })
            .collect();
        let mut tally = Tally::new(rate);
        tally.add_throughput(&[Measured { pairs, ..Measured::default() }]);
        tally.verdict().unwrap().ratio.median
    };
    let (honest, slowed) = (ratio(Wrong::Nothing), ratio(Wrong::Slow));
    assert!((0.3..3.0).contains(&honest), "{honest}");
    assert!(slowed < honest / 5.0, "{slowed} against {honest}");
}

#[test]
fn a_row_that_is_slow_beside_others_alone_is_seen_in_its_scaling() {
    let rate = ClockRate::measure();
    let ratio = |together: Wrong| {
        let mut beside = side(together, Workload::Read).unwrap();
        let mut alone = side(Wrong::Nothing, Workload::Read).unwrap();
        let rounds = (0..60)
            .map(|_| Round {
                together: beside.window(Measure::Throughput, 100).unwrap(),
                alone: alone.window(Measure::Throughput, 100).unwrap(),
            })
            .collect();
        let mut tally = Tally::new(rate);
        tally.add_rounds(&[Measured { rounds, ..Measured::default() }]);
        tally.scaling().unwrap().ratio
    };
    let (honest, slowed) = (ratio(Wrong::Nothing), ratio(Wrong::Slow));
    assert!((0.3..3.0).contains(&honest), "{honest}");
    assert!(slowed > honest * 5.0, "{slowed} against {honest}");
}

#[test]
fn a_row_that_gets_slower_with_each_store_is_seen_in_its_churn() {
    let rate = ClockRate::measure();
    let slow_down = |wrong: Wrong| {
        let mut limit = side(Wrong::Nothing, Workload::RustlsTls13).unwrap();
        let mut pairs = |row: &mut Side<Model, HeapMemory>| {
            let pair = |_| WindowPair {
                row: row.window(Measure::Throughput, 50).unwrap(),
                limit: limit.window(Measure::Throughput, 50).unwrap(),
            };
            let mut tally = Tally::new(rate);
            let pairs = (0..40).map(pair).collect();
            tally.add_throughput(&[Measured { pairs, ..Measured::default() }]);
            tally
        };
        let mut old = side(wrong, Workload::RustlsTls13).unwrap();
        let first = pairs(&mut old);
        for _ in 0..8 {
            pairs(&mut old);
        }
        let last = pairs(&mut old);
        let twin = pairs(&mut side(wrong, Workload::RustlsTls13).unwrap());
        let tenths = Tenths { first: first.pairs(), last: last.pairs(), twin: twin.pairs() };
        let name = ChurnName { table: RowName::CasBucket, processes: 1, fill: Fill::NineTenths };
        let subject = Churned { name, entries: 1000, capacity: 1111 };
        Churn::new(&subject, &tenths, last.totals()).unwrap().slow_down
    };
    let (honest, slowed) = (slow_down(Wrong::Nothing), slow_down(Wrong::SlowerWithEachStore));
    assert!((0.3..3.0).contains(&honest), "{honest}");
    assert!(slowed > honest * 2.0, "{slowed} against {honest}");
}
