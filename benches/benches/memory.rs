//! What an operation through the trait costs on mapped memory, as a ratio to the bare operation on
//! the same file: short chunks of either alternate, and the ratio is formed within a pair.

use std::cell::RefCell;
use std::error::Error;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Parser;
use criterion::Criterion;
use serde_json::json;
use shm_arena::{Load, MappedMemory, MappingOptions, Memory, Offset, Rmw, Store};
use shm_bench::sys::BareMemory;

/// Compares operations through the Memory trait on mapped memory with bare ones.
///
/// Example: cargo bench -p shm-bench --bench memory -- copy_out --json memory.json
#[derive(Parser, Debug)]
struct Arguments {
    /// Only rows whose name contains this.
    filter: Option<String>,
    /// Write the table as JSON to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Given by cargo; means nothing.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The file: larger than the second-level cache, and cold copies take fresh lines.
const BYTES: usize = 64 << 20;

/// Words of the part that is hot: 4 KiB.
const HOT_WORDS: usize = 512;

/// Where a value starts in its block: after 16 bytes of header and 32 of key.
const VALUE_WORD: usize = 6;

/// Fewer pairs than this are no result.
const PAIRS_MIN: usize = 30;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let bench = Bench::new()?;
    let filter = arguments.filter.as_deref().unwrap_or_default();
    let rows: Vec<_> = rows().into_iter().filter(|row| row.name.contains(filter)).collect();
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500))
        .nresamples(2000)
        .without_plots();
    let results: Vec<_> = rows.into_iter().map(|row| bench.measure(&mut criterion, row)).collect();
    println!("\ncopies of the mapped memory: {}\n", bench.memory.copy_kind());
    println!("{}", Measured::HEADING);
    results.iter().for_each(|measured| println!("{}", measured.line()));
    if let Some(path) = arguments.json {
        let rows: Vec<_> = results.iter().map(Measured::json).collect();
        let report = json!({ "copy_kind": bench.memory.copy_kind(), "rows": rows });
        std::fs::write(&path, format!("{report:#}\n"))
            .map_err(|refusal| format!("{}: {refusal}", path.display()))?;
    }
    Ok(())
}

/// One comparison.
struct Row {
    name: &'static str,
    /// Operations in a chunk: some tens of microseconds.
    operations: usize,
    /// Highest ratio that is good enough, where one is set.
    bar: Option<f64>,
    places: Places,
    through_trait: Chunk<MappedMemory>,
    bare: Chunk<BareMemory>,
}

/// Does one operation on each of the places, which are words; copies use the buffer.
type Chunk<T> = fn(memory: &T, places: &[u32], buffer: &mut [u8]);

/// Which words a chunk visits.
#[derive(Clone, Copy)]
enum Places {
    /// The same few, in random order.
    Hot {
        /// Words between two places.
        pitch: usize,
    },
    /// Others each time, all over the file.
    Cold {
        /// Words between two places.
        pitch: usize,
    },
}

fn rows() -> Vec<Row> {
    let mut rows = rows_of_words();
    rows.extend(rows_of_copies());
    rows
}

fn row(
    name: &'static str,
    operations: usize,
    bar: Option<f64>,
    places: Places,
    through_trait: Chunk<MappedMemory>,
    bare: Chunk<BareMemory>,
) -> Row {
    Row { name, operations, bar, places, through_trait, bare }
}

fn hot(bytes: usize) -> Places {
    Places::Hot { pitch: bytes / 8 }
}

fn cold(bytes: usize) -> Places {
    Places::Cold { pitch: bytes / 8 }
}

/// Single words. Rows without a bar count instructions: an access through the trait has two more,
/// the bounds check, which only a loop of nothing but independent hot accesses notices.
fn rows_of_words() -> Vec<Row> {
    let bar = Some(1.1);
    vec![
        row("load/hot", 20_000, None, hot(8), load, bare_load),
        row("load_dependent/hot", 10_000, bar, hot(8), chase, bare_chase),
        row("load/cold", 2_000, bar, cold(64), load, bare_load),
        row("store/hot", 20_000, None, hot(8), store, bare_store),
        row("store/cold", 2_000, bar, cold(64), store, bare_store),
        row("compare_exchange/hot", 4_000, bar, hot(8), exchange, bare_exchange),
        row("fetch_add/hot", 4_000, bar, hot(8), add, bare_add),
    ]
}

/// Runs of bytes, against the C library.
fn rows_of_copies() -> Vec<Row> {
    let (short, long) = (Some(1.25), Some(1.15));
    vec![
        row("copy_out_200/hot", 4_000, short, hot(256), out::<200>, bare_out::<200>),
        row("copy_out_200/cold", 1_000, short, cold(256), out::<200>, bare_out::<200>),
        row("copy_out_1500/hot", 1_000, long, hot(1536), out::<1500>, bare_out::<1500>),
        row("copy_out_1500/cold", 200, long, cold(1536), out::<1500>, bare_out::<1500>),
        row("copy_in_200/hot", 4_000, None, hot(256), copy_in::<200>, bare_in::<200>),
        row("copy_in_200/cold", 1_000, None, cold(256), copy_in::<200>, bare_in::<200>),
        row("copy_in_1500/hot", 1_000, None, hot(1536), copy_in::<1500>, bare_in::<1500>),
    ]
}

fn at(place: u32) -> Offset {
    Offset::new(u64::from(place))
}

fn load(memory: &MappedMemory, places: &[u32], _buffer: &mut [u8]) {
    let mut sum = 0_u64;
    for &place in places {
        sum = sum.wrapping_add(memory.load(at(place), Load::Acquire));
    }
    black_box(sum);
}

fn bare_load(memory: &BareMemory, places: &[u32], _buffer: &mut [u8]) {
    let mut sum = 0_u64;
    for &place in places {
        sum = sum.wrapping_add(memory.word(place as usize).load(Ordering::Acquire));
    }
    black_box(sum);
}

/// The words are zero, which only the memory knows: each load waits for the one before.
fn chase(memory: &MappedMemory, places: &[u32], _buffer: &mut [u8]) {
    let mut last = 0;
    for &place in places {
        last = memory.load(at(place) + last, Load::Acquire);
    }
    black_box(last);
}

fn bare_chase(memory: &BareMemory, places: &[u32], _buffer: &mut [u8]) {
    let mut last = 0;
    for &place in places {
        let index = place as usize + usize::try_from(last).unwrap_or(0);
        last = memory.word(index).load(Ordering::Acquire);
    }
    black_box(last);
}

fn exchange(memory: &MappedMemory, places: &[u32], _buffer: &mut [u8]) {
    for &place in places {
        let _ = black_box(memory.compare_exchange(at(place), 0, 0, Rmw::AcqRel, Load::Acquire));
    }
}

fn bare_exchange(memory: &BareMemory, places: &[u32], _buffer: &mut [u8]) {
    for &place in places {
        let word = memory.word(place as usize);
        let _ = black_box(word.compare_exchange(0, 0, Ordering::AcqRel, Ordering::Acquire));
    }
}

fn add(memory: &MappedMemory, places: &[u32], _buffer: &mut [u8]) {
    for &place in places {
        black_box(memory.fetch_add(at(place), 0, Rmw::AcqRel));
    }
}

fn bare_add(memory: &BareMemory, places: &[u32], _buffer: &mut [u8]) {
    for &place in places {
        black_box(memory.word(place as usize).fetch_add(0, Ordering::AcqRel));
    }
}

fn store(memory: &MappedMemory, places: &[u32], _buffer: &mut [u8]) {
    for &place in places {
        memory.store(at(place), 0, Store::Release);
    }
}

fn bare_store(memory: &BareMemory, places: &[u32], _buffer: &mut [u8]) {
    for &place in places {
        memory.word(place as usize).store(0, Ordering::Release);
    }
}

fn out<const LENGTH: usize>(memory: &MappedMemory, places: &[u32], buffer: &mut [u8]) {
    // A table learns the length from the block: the compiler must not know it.
    let out = &mut buffer[..black_box(LENGTH)];
    for &place in places {
        memory.read_bytes(at(place), out);
        black_box(&mut *out);
    }
}

fn bare_out<const LENGTH: usize>(memory: &BareMemory, places: &[u32], buffer: &mut [u8]) {
    let out = &mut buffer[..black_box(LENGTH)];
    for &place in places {
        memory.copy_out(place as usize, out);
        black_box(&mut *out);
    }
}

fn copy_in<const LENGTH: usize>(memory: &MappedMemory, places: &[u32], buffer: &mut [u8]) {
    let bytes = &buffer[..black_box(LENGTH)];
    for &place in places {
        memory.write_bytes(at(place), black_box(bytes));
    }
}

fn bare_in<const LENGTH: usize>(memory: &BareMemory, places: &[u32], buffer: &mut [u8]) {
    let bytes = &buffer[..black_box(LENGTH)];
    for &place in places {
        memory.copy_in(place as usize, black_box(bytes));
    }
}

/// A memory and the same file without the trait.
struct Bench {
    memory: MappedMemory,
    limit: BareMemory,
}

impl Bench {
    fn new() -> Result<Self, Box<dyn Error>> {
        let memory = MappedMemory::memfd("memory bench", BYTES as u64, &MappingOptions::default())?;
        let limit = BareMemory::map(memory.descriptor()?, BYTES)?;
        // Both mappings get their pages here and not while they are measured.
        for word in (0..BYTES / 8).step_by(512) {
            memory.store(Offset::new(word as u64), 0, Store::Relaxed);
            limit.word(word).store(0, Ordering::Relaxed);
        }
        Ok(Self { memory, limit })
    }

    fn measure(&self, criterion: &mut Criterion, row: Row) -> Measured {
        let mut course = Course::new(&row);
        let pairs = RefCell::new(Vec::new());
        criterion.bench_function(row.name, |bencher| {
            bencher.iter_custom(|iterations| {
                let count = iterations.div_ceil(row.operations as u64);
                let mut total = Duration::ZERO;
                for pair in 0..count {
                    let (ours, bare);
                    if pair % 2 == 0 {
                        ours = course.time(row.through_trait, &self.memory);
                        bare = course.time(row.bare, &self.limit);
                    } else {
                        bare = course.time(row.bare, &self.limit);
                        ours = course.time(row.through_trait, &self.memory);
                    }
                    total += ours;
                    pairs.borrow_mut().push((ours.as_secs_f64(), bare.as_secs_f64()));
                }
                total.mul_f64(iterations as f64 / (count * row.operations as u64) as f64)
            });
        });
        Measured::new(&row, &pairs.into_inner())
    }
}

/// The places of a row, chunk by chunk: either side gets the next ones, never those that the other
/// side has just brought near.
struct Course {
    places: Vec<u32>,
    next: usize,
    operations: usize,
    buffer: Vec<u8>,
}

impl Course {
    fn new(row: &Row) -> Self {
        let operations = row.operations;
        Self { places: places(row.places), next: 0, operations, buffer: vec![0; 4096] }
    }

    /// Runs a chunk and gives the time that it took.
    fn time<T>(&mut self, chunk: Chunk<T>, memory: &T) -> Duration {
        if self.next + self.operations > self.places.len() {
            self.next = 0;
        }
        let places = &self.places[self.next..self.next + self.operations];
        self.next += self.operations;
        let start = Instant::now();
        chunk(memory, places, &mut self.buffer);
        start.elapsed()
    }
}

/// Random places, as many as fit, none twice before all have been visited.
fn places(places: Places) -> Vec<u32> {
    let (pitch, words, count) = match places {
        Places::Hot { pitch } => (pitch, HOT_WORDS.max(8 * pitch), 1 << 15),
        Places::Cold { pitch } => (pitch, BYTES / 8, BYTES / 8 / pitch),
    };
    let start = if pitch * 8 >= 256 { VALUE_WORD } else { 0 };
    let different = words / pitch;
    let mut all: Vec<u32> = (0..count)
        .map(|index| u32::try_from(index % different * pitch + start).unwrap_or(0))
        .collect();
    // A fixed stream of numbers: every run visits the same places in the same order.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for last in (1..all.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let bound = last as u64 + 1;
        all.swap(last, usize::try_from(state % bound).unwrap_or(0));
    }
    all
}

/// A row's result.
struct Measured {
    name: &'static str,
    pairs: usize,
    ns: f64,
    limit_ns: f64,
    /// Median of the ratios within pairs.
    ratio: f64,
    /// Half the distance between the quartiles of the ratios.
    spread: f64,
    bar: Option<f64>,
}

impl Measured {
    const HEADING: &'static str =
        "row                    pairs     ns   limit  ratio  spread     bar";

    fn new(row: &Row, pairs: &[(f64, f64)]) -> Self {
        let quartiles = |of: fn(&(f64, f64)) -> f64| {
            let mut values: Vec<f64> = pairs.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            [1, 2, 3].map(|quarter| values.get(values.len() * quarter / 4).copied().unwrap_or(0.0))
        };
        let ns = 1e9 / row.operations as f64;
        let ratios = quartiles(|(ours, bare)| ours / bare);
        Self {
            name: row.name,
            pairs: pairs.len(),
            ns: quartiles(|(ours, _)| *ours)[1] * ns,
            limit_ns: quartiles(|(_, bare)| *bare)[1] * ns,
            ratio: ratios[1],
            spread: (ratios[2] - ratios[0]) / 2.0,
            bar: row.bar,
        }
    }

    fn verdict(&self) -> &'static str {
        match self.bar {
            _ if self.pairs < PAIRS_MIN => "inconclusive",
            Some(bar) if self.ratio > bar => "exceeded",
            Some(_) => "holds",
            None => "none",
        }
    }

    fn line(&self) -> String {
        let bar = self.bar.map_or(String::new(), |bar| format!("{bar:.2} "));
        format!(
            "{:<22} {:>5} {:>6.2} {:>7.2} {:>6.3} {:>7.3}  {bar}{}",
            self.name,
            self.pairs,
            self.ns,
            self.limit_ns,
            self.ratio,
            self.spread,
            self.verdict()
        )
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "row": self.name,
            "pairs": self.pairs,
            "ns_per_op": self.ns,
            "limit_ns_per_op": self.limit_ns,
            "ratio": self.ratio,
            "spread": self.spread,
            "bar": self.bar,
            "verdict": self.verdict(),
        })
    }
}
