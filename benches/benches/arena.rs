//! What the arena costs: a block allocated and freed, a dead process recovered and found, an audit,
//! and the bookkeeping of a million entries. Each figure beside its bar, with a verdict.

use std::error::Error;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use shm_arena::{
    AttachOptions, CreateOptions, Environment, HeapOptions, MappedMemory, MappingOptions,
    SharedHeap,
};
use shm_bench::machine::Machine;
use shm_bench::statistics::Summary;
use shm_bench::sys;
use shm_table::{AnyTable, Entry, Kind, SharedTable, Table, TableOptions};

type Heap = SharedHeap<MappedMemory>;
type Outcome<T> = Result<T, Box<dyn Error>>;
type Group = fn() -> Outcome<Vec<Figure>>;

/// Measures the arena: allocation, recovery, audit, bookkeeping.
///
/// Prints a table and writes the same as JSON. A bar is met or missed where the 95 % interval of
/// the median lies on one side of it, and the figure is inconclusive otherwise.
///
/// Example: cargo bench -p shm-bench --bench arena -- allocate --json arena.json
#[derive(Parser, Debug)]
struct Arguments {
    /// Only groups whose name contains this: allocate, recover, find, audit, bookkeeping.
    filter: Option<String>,
    /// Write the table as JSON to this file.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/arena.json"))]
    json: PathBuf,
    /// Allocate and free in this heap until killed: the other process of a measurement.
    #[arg(long, hide = true)]
    beside: Option<PathBuf>,
    /// Given by cargo; means nothing.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Bytes of an allocation.
const BYTES: u64 = 256;
/// Allocations in a chunk that is timed as a whole: some tens of microseconds.
const CHUNK: usize = 1000;
/// Chunks of each kind.
const CHUNKS: usize = 400;
/// Recoveries of each kind.
const RECOVERIES: usize = 200;
/// Living and dead processes among whom the dead are found.
const RECORDS: u32 = 4000;
/// Entries whose bookkeeping is counted.
const ENTRIES: u64 = 1_000_000;

/// A figure and its bar.
struct Figure {
    name: String,
    unit: &'static str,
    summary: Summary,
    bar: Option<Bar>,
}

/// What a figure has to be.
#[derive(Clone, Copy)]
enum Bar {
    AtMost(f64),
    AtLeast(f64),
}

impl Figure {
    fn new(name: &str, unit: &'static str, sample: &[f64], bar: Option<Bar>) -> Outcome<Self> {
        let summary = Summary::of(sample).ok_or_else(|| format!("{name}: nothing measured"))?;
        Ok(Self { name: name.to_owned(), unit, summary, bar })
    }

    fn verdict(&self) -> &'static str {
        let Summary { median_low: low, median_high: high, .. } = self.summary;
        match self.bar {
            None => "",
            Some(Bar::AtMost(bar)) if high <= bar => "met",
            Some(Bar::AtMost(bar)) if low > bar => "missed",
            Some(Bar::AtLeast(bar)) if low >= bar => "met",
            Some(Bar::AtLeast(bar)) if high < bar => "missed",
            Some(_) => "inconclusive",
        }
    }

    fn line(&self) -> String {
        let Self { name, unit, summary, .. } = self;
        let bar = match self.bar {
            None => String::new(),
            Some(Bar::AtMost(bar)) => format!("<= {bar}"),
            Some(Bar::AtLeast(bar)) => format!(">= {bar}"),
        };
        let (median, spread) = (summary.median, summary.spread() * 100.0);
        format!("{name:<52} {median:>8.2} {unit:<10} {spread:>4.0} %  {bar:<8} {}", self.verdict())
    }

    fn json(&self) -> Value {
        let (at_most, at_least) = match self.bar {
            None => (None, None),
            Some(Bar::AtMost(bar)) => (Some(bar), None),
            Some(Bar::AtLeast(bar)) => (None, Some(bar)),
        };
        json!({
            "figure": self.name,
            "unit": self.unit,
            "samples": self.summary.count,
            "median": self.summary.median,
            "median_low": self.summary.median_low,
            "median_high": self.summary.median_high,
            "spread": self.summary.spread(),
            "at_most": at_most,
            "at_least": at_least,
            "verdict": self.verdict(),
        })
    }
}

fn main() -> Outcome<()> {
    let arguments = Arguments::parse();
    if let Some(path) = arguments.beside {
        return work_beside(&path);
    }
    let filter = arguments.filter.unwrap_or_default();
    // Before this process is bound to one processor.
    let machine = Machine::here();
    let groups: [(&str, Group); 5] = [
        ("allocate", allocate),
        ("recover", recover),
        ("find", find),
        ("audit", audit),
        ("bookkeeping", bookkeeping),
    ];
    let mut figures = Vec::new();
    for (name, group) in groups.into_iter().filter(|(name, _)| name.contains(&filter)) {
        eprintln!("measuring: {name}");
        figures.extend(group()?);
    }
    println!("{}\n", machine.summary());
    println!("{:<52} {:>8} {:<10} spread  bar", "figure", "median", "");
    figures.iter().for_each(|figure| println!("{}", figure.line()));
    let report = json!({
        "machine": machine,
        "figures": figures.iter().map(Figure::json).collect::<Vec<_>>(),
    });
    std::fs::write(&arguments.json, format!("{report:#}\n"))
        .map_err(|refusal| format!("{}: {refusal}", arguments.json.display()))?;
    println!("\n{}", arguments.json.display());
    Ok(())
}

fn heap_options(bytes: u64) -> HeapOptions {
    HeapOptions { bytes, block_bytes_min: 256, ..HeapOptions::default() }
}

/// Nanoseconds of an allocation with its freeing, the mean of a chunk.
fn chunk_ns(heap: &Heap) -> Outcome<f64> {
    let start = Instant::now();
    for _ in 0..CHUNK {
        heap.free(black_box(heap.allocate(BYTES)?))?;
    }
    Ok(start.elapsed().as_nanos() as f64 / CHUNK as f64)
}

fn work_beside(path: &Path) -> Outcome<()> {
    sys::pin_to_processor(1);
    let heap = SharedHeap::attach_file(path, &AttachOptions::default())?;
    loop {
        chunk_ns(&heap)?;
    }
}

/// The other process, which is stopped while this one is alone.
struct Beside(Child);

impl Beside {
    fn start(path: &Path) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        Ok(Self(command.arg("--beside").arg(path).stdout(Stdio::null()).spawn()?))
    }

    fn signal(&self, signal: Signal) -> Outcome<()> {
        kill_process(Pid::from_child(&self.0), signal)?;
        // Until it runs or stands still.
        std::thread::sleep(Duration::from_micros(300));
        Ok(())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Allocation with its freeing, alone and beside another process that does the same.
fn allocate() -> Outcome<Vec<Figure>> {
    let folder = tempfile::tempdir_in("/dev/shm")?;
    let path = folder.path().join("heap");
    let heap = SharedHeap::create_file(&path, &heap_options(16 << 20), &CreateOptions::default())?;
    sys::pin_to_processor(0);
    let beside = Beside::start(&path)?;
    std::thread::sleep(Duration::from_millis(100));
    let (mut alone, mut with_two, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for chunk in 0..CHUNKS + 20 {
        beside.signal(Signal::STOP)?;
        let one = chunk_ns(&heap)?;
        beside.signal(Signal::CONT)?;
        let two = chunk_ns(&heap)?;
        if chunk >= 20 {
            alone.push(one);
            with_two.push(two);
            ratios.push(two / one);
        }
    }
    drop(beside);
    let lower = lower_layer_ns()?;
    Ok(vec![
        Figure::new("allocate + free 256 B, alone", "ns", &alone, Some(Bar::AtMost(90.0)))?,
        Figure::new("the same in each of two processes", "ns", &with_two, None)?,
        Figure::new("two processes to one", "x", &ratios, Some(Bar::AtMost(2.0)))?,
        Figure::new("the arena's claim + abandon alone", "ns", &lower, None)?,
    ])
}

/// The arena's own calls, without the heap's owner and size words.
fn lower_layer_ns() -> Outcome<Vec<f64>> {
    let heap = SharedHeap::create_memfd("arena", &heap_options(16 << 20), &Default::default())?;
    let class = heap.arena().class_for(BYTES / 8).ok_or("no class")?;
    let mut sample = Vec::new();
    for _ in 0..CHUNKS {
        let start = Instant::now();
        for _ in 0..CHUNK {
            let lease = heap.arena().lease()?;
            let claimed = lease.claim(class).map_err(|full| format!("{full:?}"))?;
            lease.abandon(black_box(claimed), BYTES / 8, || {});
        }
        sample.push(start.elapsed().as_nanos() as f64 / CHUNK as f64);
    }
    Ok(sample)
}

/// Microseconds until a process that is known dead is recovered, in heaps of two sizes: it owned
/// some allocations and was in the middle of another.
fn recover() -> Outcome<Vec<Figure>> {
    let mut figures = Vec::new();
    let bar = Some(Bar::AtMost(50.0));
    for mebibytes in [4_u64, 256] {
        let heap = SharedHeap::create_memfd(
            "heap",
            &heap_options(mebibytes << 20),
            &MappingOptions::default(),
        )?;
        let mut sample = Vec::new();
        for _ in 0..RECOVERIES {
            let dying = Heap::attach(heap.memory().clone(), &Environment::mapped(heap.memory())?)?;
            for _ in 0..8 {
                let _ = dying.allocate(BYTES)?;
            }
            let lease = dying.arena().lease()?;
            let class = dying.arena().class_for(BYTES / 8).ok_or("no class")?;
            let _ = lease.claim(class).map_err(|full| format!("{full:?}"))?;
            drop(lease);
            // Nothing is given back: to the others it is dead.
            drop(dying);
            let start = Instant::now();
            let recovered = heap.recover()?;
            sample.push(start.elapsed().as_nanos() as f64 / 1e3);
            if (recovered.processes, recovered.blocks) != (1, 9) {
                return Err(format!("{recovered:?} where 1 process died with 9 blocks").into());
            }
        }
        let name = format!("recover 1 dead with 9 blocks, heap of {mebibytes} MiB");
        figures.push(Figure::new(&name, "us", &sample, bar)?);
    }
    for entries in [10_000, 1_000_000] {
        let sample = recover_table(entries)?;
        let name = format!("the same amid an update, table of {entries} entries");
        figures.push(Figure::new(&name, "us", &sample, bar)?);
    }
    Ok(figures)
}

fn recover_table(entries: u64) -> Outcome<Vec<f64>> {
    let options = TableOptions { entries, ..TableOptions::default() };
    let mapping = MappingOptions::default();
    let table = SharedTable::create_memfd("table", Kind::CasBucket, &options, &mapping)?;
    let AnyTable::CasBucket(view) = &table else { return Err("another table".into()) };
    let memory = view.arena().memory().clone();
    let mut sample = Vec::new();
    for _ in 0..RECOVERIES {
        let dying = AnyTable::attach(memory.clone(), &Environment::mapped(&memory)?)?;
        let room = dying.reserve(b"reserved", 200, 0)?;
        drop(room);
        drop(dying);
        let start = Instant::now();
        let recovered = table.recover()?;
        sample.push(start.elapsed().as_nanos() as f64 / 1e3);
        if (recovered.processes, recovered.blocks) != (1, 1) {
            return Err(format!("{recovered:?} where 1 process died with 1 block").into());
        }
    }
    Ok(sample)
}

/// Looking for the dead among thousands of records: none, and then one.
fn find() -> Outcome<Vec<Figure>> {
    let options = HeapOptions { processes: RECORDS, lines: RECORDS, ..heap_options(16 << 20) };
    let heap = SharedHeap::create_memfd("heap", &options, &MappingOptions::default())?;
    let environment = Environment::mapped(heap.memory())?;
    let mut living = Vec::new();
    for _ in 0..RECORDS - 10 {
        living.push(Heap::attach(heap.memory().clone(), &environment)?);
    }
    let (mut none, mut one) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        let start = Instant::now();
        let nobody = heap.recover()?;
        none.push(start.elapsed().as_nanos() as f64 / 1e6);
        let mortal = Environment::mapped(heap.memory())?;
        drop(Heap::attach(heap.memory().clone(), &mortal)?);
        drop(mortal);
        let start = Instant::now();
        let somebody = heap.recover()?;
        one.push(start.elapsed().as_nanos() as f64 / 1e6);
        if (nobody.processes, somebody.processes) != (0, 1) {
            return Err(format!("{nobody:?}, then {somebody:?} where one died").into());
        }
    }
    let probes: Vec<f64> = none.iter().map(|ms| ms * 1e3 / f64::from(RECORDS - 9)).collect();
    Ok(vec![
        Figure::new(&format!("ask after {RECORDS} living"), "ms", &none, None)?,
        Figure::new("of that, a record", "us", &probes, None)?,
        Figure::new(&format!("find and recover 1 dead among {RECORDS}"), "ms", &one, None)?,
    ])
}

/// Millions of blocks that an audit looks at in a second: all allocated, and all free.
fn audit() -> Outcome<Vec<Figure>> {
    let heap = SharedHeap::create_memfd(
        "heap",
        &heap_options(ENTRIES * BYTES),
        &MappingOptions::default(),
    )?;
    let mut held = Vec::new();
    while let Ok(allocation) = heap.allocate(BYTES) {
        held.push(allocation);
    }
    let sample = |name: &str| -> Outcome<Figure> {
        let mut rates = Vec::new();
        for _ in 0..10 {
            let start = Instant::now();
            let audit = heap.audit();
            rates.push(audit.blocks as f64 / start.elapsed().as_secs_f64() / 1e6);
            if audit.lost != 0 || !audit.findings.is_empty() {
                return Err(format!("the audit: {:?}", audit.findings).into());
            }
        }
        Figure::new(name, "M blocks/s", &rates, Some(Bar::AtLeast(20.0)))
    };
    let used = sample("audit of allocated blocks of 256 B")?;
    held.into_iter().try_for_each(|allocation| heap.free(allocation))?;
    Ok(vec![used, sample("audit of free blocks of 256 B, wiped bytes read")?])
}

/// Bytes of blocks and their bookkeeping for each byte of key and value.
fn bookkeeping() -> Outcome<Vec<Figure>> {
    let options = TableOptions { entries: ENTRIES, ..TableOptions::default() };
    let mapping = MappingOptions::default();
    let table = SharedTable::create_memfd("table", Kind::CasBucket, &options, &mapping)?;
    let mut inserted = 0_u64;
    for number in 0..ENTRIES {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        let entry = Entry { key: &key, value: &[7; 200], metadata: 0 };
        inserted += u64::from(table.put(entry).is_ok());
    }
    let AnyTable::CasBucket(view) = &table else { return Err("another table".into()) };
    let layout = view.arena().layout();
    let bookkeeping = (layout.index().word() - layout.slab_word(0).word()) * 8;
    let stats = table.stats();
    let blocks = stats.block_bytes_used as f64 / stats.block_bytes as f64;
    let bytes = stats.block_bytes_used as f64 + bookkeeping as f64 * blocks;
    let ratio = bytes / (inserted * 232) as f64;
    let name = format!("blocks of {inserted} entries of 32 + 200 B to their bytes");
    Ok(vec![Figure::new(&name, "x", &[ratio], Some(Bar::AtMost(1.2)))?])
}
