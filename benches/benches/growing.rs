//! What a table costs while it grows, beside one that was made large at once: the same entries go
//! into both, in alternating short runs, so that whatever else the machine does meets both. Several
//! times, with both tables made anew: where their pages fall is luck that lasts as long as they do.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Parser;
use hdrhistogram::Histogram;
use plotters::prelude::*;
use serde_json::{Value, json};
use shm_arena::MappingOptions;
use shm_bench::goals::{Known, Verdict};
use shm_bench::statistics::Summary;
use shm_table::{Entry, Kind, SharedTable, Table, TableOptions};

/// Measures puts and look-ups while a table grows, against the same on one that need not.
///
/// Example: cargo bench -p shm-bench --bench growing -- --to 200000 --table cas_bucket
#[derive(Parser, Debug)]
struct Arguments {
    /// Entries at the beginning, for which the growing table is made.
    #[arg(long, default_value_t = 100_000)]
    from: u64,
    /// Entries at the end, for which the other one is made.
    #[arg(long, default_value_t = 2_000_000)]
    to: u64,
    /// Puts, each with a look-up of an earlier key, in one run.
    #[arg(long, default_value_t = 1_000)]
    run: u64,
    /// How often both tables are made anew.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    placements: u32,
    /// Only this table: cas_bucket or robin_hood.
    #[arg(long)]
    table: Option<String>,
    /// Where plots and JSON go.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/growing"))]
    out: PathBuf,
    /// Given by cargo; means nothing.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What was measured of one table.
struct Measured {
    calls: Histogram<u64>,
    /// Nanoseconds of a put with its look-up, by run.
    run_ns: Vec<f64>,
    /// Runs in which the size changed.
    moving: Vec<bool>,
}

/// One table, and what was measured of it so far.
struct Side {
    table: SharedTable,
    measured: Measured,
}

/// What two tables showed that were made at the same time.
struct Placement {
    growing: Measured,
    steady: Measured,
    /// Of the growing table, at the end.
    buckets: u64,
}

/// Which runs of a placement.
#[derive(Clone, Copy)]
enum Runs {
    All,
    Moving,
    NotMoving,
}

impl Runs {
    const fn name(self) -> &'static str {
        match self {
            Self::All => "all runs",
            Self::Moving => "moving",
            Self::NotMoving => "not moving",
        }
    }

    const fn has(self, is_moving: bool) -> bool {
        match self {
            Self::All => true,
            Self::Moving => is_moving,
            Self::NotMoving => !is_moving,
        }
    }
}

impl Placement {
    /// Throughput of the growing table, as a share of the steady one's: of each pair of runs.
    fn shares(&self, runs: Runs) -> Option<Summary> {
        let pairs = self.growing.run_ns.iter().zip(&self.steady.run_ns).zip(&self.growing.moving);
        let pairs = pairs.filter(|(_, moving)| runs.has(**moving));
        let shares: Vec<f64> = pairs.map(|((growing, steady), _)| steady / growing).collect();
        Summary::of(&shares)
    }
}

/// A call that takes longer is a pause.
const PAUSE_NS: u64 = 1_000_000;

impl Side {
    fn new(kind: Kind, options: &TableOptions, from: u64) -> Result<Self, Box<dyn Error>> {
        let mapping = MappingOptions::default();
        let table = SharedTable::create_memfd("growing", kind, options, &mapping)?;
        for number in 0..from {
            let _ = table.put(Entry { key: &key(number), value: &[1; 200], metadata: number })?;
        }
        let calls = Histogram::new_with_bounds(1, 10_000_000_000, 3)?;
        let measured = Measured { calls, run_ns: Vec::new(), moving: Vec::new() };
        Ok(Self { table, measured })
    }

    /// Puts these, each with a look-up of an earlier one.
    fn run(&mut self, numbers: std::ops::Range<u64>) -> Result<(), Box<dyn Error>> {
        let mut value = Vec::new();
        let moved_before = self.table.resizing().is_some();
        let runs = numbers.end - numbers.start;
        let start = Instant::now();
        let mut last = start;
        for number in numbers {
            let entry = Entry { key: &key(number), value: &[1; 200], metadata: number };
            let _ = self.table.put(entry)?;
            let earlier = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % number;
            let found = self.table.get(&key(earlier), &mut value)?;
            assert_eq!(found, Some(earlier), "an entry that was put is there");
            let now = Instant::now();
            self.measured.calls.saturating_record(nanoseconds(now - last));
            last = now;
        }
        self.measured.run_ns.push(nanoseconds(last - start) as f64 / runs as f64);
        self.measured.moving.push(moved_before || self.table.resizing().is_some());
        Ok(())
    }
}

/// The calls of one side of all placements together.
fn calls_of(placements: &[Placement], side: impl Fn(&Placement) -> &Measured) -> Histogram<u64> {
    let mut calls = side(&placements[0]).calls.clone();
    for placement in &placements[1..] {
        calls.add(&side(placement).calls).expect("they have the same bounds");
    }
    calls
}

fn pauses_of(calls: &Histogram<u64>) -> u64 {
    calls.count_between(PAUSE_NS, u64::MAX)
}

fn line_of(calls: &Histogram<u64>, name: &str) -> String {
    let at = |quantile| calls.value_at_quantile(quantile);
    format!(
        "  {name:<8} p50 {:>5}  p99 {:>6}  p99.9 {:>7}  longest {:>9} ns  {} over 1 ms",
        at(0.5),
        at(0.99),
        at(0.999),
        calls.max(),
        pauses_of(calls),
    )
}

fn json_of(calls: &Histogram<u64>) -> Value {
    let at = |quantile| calls.value_at_quantile(quantile);
    json!({
        "p50_ns": at(0.5), "p99_ns": at(0.99), "p999_ns": at(0.999),
        "longest_ns": calls.max(), "over_1_ms": pauses_of(calls),
    })
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn key(number: u64) -> [u8; 32] {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&number.to_le_bytes());
    key
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.out)?;
    let mut measured = Vec::new();
    for kind in [Kind::CasBucket, Kind::RobinHood] {
        if arguments.table.as_deref().is_none_or(|name| name == kind.name()) {
            measured.push(measure(kind, &arguments)?);
        }
    }
    let path = arguments.out.join("results.json");
    std::fs::write(&path, serde_json::to_string_pretty(&measured)?)?;
    println!("plots and JSON: {}", arguments.out.display());
    Ok(())
}

/// The smallest number of buckets for so many entries, as the design's own default has it.
fn buckets(kind: Kind, entries: u64) -> Result<u64, Box<dyn Error>> {
    let options = TableOptions { entries, ..TableOptions::default() };
    let mapping = MappingOptions::default();
    let table = SharedTable::create_memfd("sized", kind, &options, &mapping)?;
    Ok(table.stats().buckets)
}

fn measure(kind: Kind, arguments: &Arguments) -> Result<Value, Box<dyn Error>> {
    let Arguments { from, to, run, .. } = *arguments;
    let (least, most) = (buckets(kind, from)?, buckets(kind, to)?);
    let large = TableOptions { entries: to, ..TableOptions::default() };
    let small = TableOptions { buckets_min: Some(least), buckets_max: Some(most), ..large.clone() };
    let mut placements = Vec::new();
    for number in 0..arguments.placements {
        eprintln!("{}: tables {} of {}", kind.name(), number + 1, arguments.placements);
        touch_pages(to);
        // Which one is made first changes as well.
        let made = if number % 2 == 0 { [&small, &large] } else { [&large, &small] };
        let [one, other] = made.map(|options| Side::new(kind, options, from));
        let (one, other) = (one?, other?);
        let (growing, steady) = if number % 2 == 0 { (one, other) } else { (other, one) };
        placements.push(fill(growing, steady, from..to, run)?);
    }
    let buckets = placements[0].buckets;
    println!("{}: {from} to {to} entries, {least} to {buckets} buckets", kind.name());
    let growing = calls_of(&placements, |placement| &placement.growing);
    let steady = calls_of(&placements, |placement| &placement.steady);
    println!("{}\n{}", line_of(&growing, "growing"), line_of(&steady, "steady"));
    let known_of = |runs| {
        let shares = placements.iter().filter_map(|placement: &Placement| placement.shares(runs));
        let (medians, pairs): (Vec<f64>, Vec<usize>) =
            shares.map(|share| (share.median, share.count)).unzip();
        Some((known(&medians)?, medians, pairs.iter().sum::<usize>()))
    };
    let mut shares = Vec::new();
    for runs in [Runs::All, Runs::Moving, Runs::NotMoving] {
        let Some((share, medians, pairs)) = known_of(runs) else { continue };
        let [value, low, high] = [share.value, share.low, share.high].map(|it| 100.0 * it);
        println!(
            "  throughput of the steady one's, {:<10} {value:>4.0} % ({low:.0} to {high:.0}, {} \
             placements, {pairs} pairs)",
            runs.name(),
            medians.len(),
        );
        shares.push(json!({
            "runs": runs.name(), "pairs": pairs, "median": share.value,
            "placements": medians, "interval": [share.low, share.high],
        }));
    }
    let moving = known_of(Runs::Moving).map(|(share, ..)| share);
    let goals = judge(moving, pauses_of(&growing), pauses_of(&steady));
    for (text, verdict) in &goals {
        println!("  {:<13} {text}", verdict.name());
    }
    plot(kind, from, run, &placements[0], &arguments.out)?;
    let goals = goals.map(|(text, verdict)| json!({ "goal": text, "verdict": verdict }));
    Ok(json!({
        "table": kind.name(), "from": from, "to": to, "buckets": [least, buckets],
        "growing": json_of(&growing), "steady": json_of(&steady), "throughput_share": shares,
        "goals": goals,
    }))
}

/// Touches as many pages as both tables will, and gives them back. A host may have to find memory
/// for a page that its guest touches first, in 11 microseconds each where that was seen: of
/// whichever table got such pages.
fn touch_pages(entries: u64) {
    let bytes = usize::try_from(2 * ENTRY_BYTES * entries).unwrap_or(0);
    drop(std::hint::black_box(vec![1_u8; bytes]));
}

/// Bytes that an entry takes in either table, at most.
const ENTRY_BYTES: u64 = 400;

/// Puts the entries into both tables, in alternating runs, and gives the tables back.
fn fill(
    mut growing: Side,
    mut steady: Side,
    entries: std::ops::Range<u64>,
    run: u64,
) -> Result<Placement, Box<dyn Error>> {
    let mut at = entries.start;
    // Who goes first changes with each pair of runs.
    while at < entries.end {
        let numbers = at..(at + run.max(1)).min(entries.end);
        at = numbers.end;
        let mut sides = [&mut growing, &mut steady];
        if growing_first(at, run) {
            sides.reverse();
        }
        for side in sides {
            side.run(numbers.clone())?;
        }
    }
    let buckets = growing.table.stats().buckets;
    growing.table.detach();
    steady.table.detach();
    Ok(Placement { growing: growing.measured, steady: steady.measured, buckets })
}

/// The median of placements, and the least and the largest: they enclose the median placement in 94
/// of a hundred runs of five.
fn known(medians: &[f64]) -> Option<Known> {
    let mut sorted = medians.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (*sorted.first()?, *sorted.last()?);
    let value = Summary::of(&sorted)?.median;
    Some(Known { value, low, high, conclusive: sorted.len() >= PLACEMENTS_ENOUGH })
}

/// Placements, at least, that say something.
const PLACEMENTS_ENOUGH: usize = 5;

const fn growing_first(at: u64, run: u64) -> bool {
    (at / if run == 0 { 1 } else { run }) % 2 == 1
}

/// Least throughput while the size changes, of the steady table's.
const SHARE_MIN: f64 = 0.5;

/// The goals, and whether they were met: throughput while the size changes, and no more pauses than
/// the steady table shows. Pauses are counted, so that as many more as chance alone may bring say
/// nothing.
fn judge(share: Option<Known>, ours: u64, theirs: u64) -> [(String, Verdict); 2] {
    let measured = share.map_or_else(
        || "–".to_owned(),
        |share| {
            let [value, low, high] = [share.value, share.low, share.high].map(|it| 100.0 * it);
            format!("{value:.0} % ({low:.0}–{high:.0})")
        },
    );
    let verdict = share.map_or(Verdict::NotMeasured, |share| share.at_least(SHARE_MIN));
    let least = 100.0 * SHARE_MIN;
    let throughput =
        format!("throughput while moving, of the steady one's: at least {least} %: {measured}");
    let chance = 2.0 * ((ours + theirs) as f64).sqrt();
    let of_pauses = if ours <= theirs {
        Verdict::Met
    } else if (ours - theirs) as f64 > chance {
        Verdict::NotMet
    } else {
        Verdict::Inconclusive
    };
    let pauses = format!("calls over 1 ms: at most the steady one's {theirs}: {ours}");
    [(throughput, verdict), (pauses, of_pauses)]
}

/// Nanoseconds by entries, both tables of one placement.
fn plot(
    kind: Kind,
    from: u64,
    run: u64,
    placement: &Placement,
    out: &Path,
) -> Result<(), Box<dyn Error>> {
    let Placement { growing, steady, .. } = placement;
    let path = out.join(format!("{}.svg", kind.name()));
    let area = SVGBackend::new(&path, (900, 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let to = from + run * growing.run_ns.len() as u64;
    // Without the few runs in which the machine did something else.
    let mut all: Vec<f64> = growing.run_ns.iter().chain(&steady.run_ns).copied().collect();
    all.sort_by(f64::total_cmp);
    let top = all[(all.len() - 1) * 99 / 100] * 1.3;
    let title = format!("{}: a put and a look-up while the table grows", kind.name());
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(35)
        .y_label_area_size(60)
        .build_cartesian_2d(from as f64..to as f64, 0.0..top)?;
    chart.configure_mesh().x_desc("entries").y_desc("ns").draw()?;
    for (side, name, color) in [(steady, "made large", BLUE), (growing, "growing", RED)] {
        let points = (0_u32..).zip(&side.run_ns);
        let points = points.map(|(index, ns)| (from as f64 + run as f64 * f64::from(index), *ns));
        chart
            .draw_series(LineSeries::new(points, color))?
            .label(name)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 20, y)], color));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).draw()?;
    area.present()?;
    Ok(())
}
