//! What a table costs while it grows, beside one that was made large at once: the same entries go
//! into both, in alternating short runs, so that whatever else the machine does meets both.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Parser;
use hdrhistogram::Histogram;
use plotters::prelude::*;
use serde_json::{Value, json};
use shm_arena::MappingOptions;
use shm_bench::goals::{Known, Verdict};
use shm_bench::pairs::PAIRS_MIN;
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

/// One table, and what was measured of it.
struct Side {
    table: SharedTable,
    calls: Histogram<u64>,
    /// Nanoseconds of a put with its look-up, by run.
    run_ns: Vec<f64>,
    /// Runs in which the size changed.
    moving: Vec<bool>,
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
        Ok(Self { table, calls, run_ns: Vec::new(), moving: Vec::new() })
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
            self.calls.saturating_record(nanoseconds(now - last));
            last = now;
        }
        self.run_ns.push(nanoseconds(last - start) as f64 / runs as f64);
        self.moving.push(moved_before || self.table.resizing().is_some());
        Ok(())
    }

    fn pauses(&self) -> u64 {
        self.calls.count_between(PAUSE_NS, u64::MAX)
    }

    fn line(&self, name: &str) -> String {
        let at = |quantile| self.calls.value_at_quantile(quantile);
        format!(
            "  {name:<8} p50 {:>5}  p99 {:>6}  p99.9 {:>7}  longest {:>9} ns  {} over 1 ms",
            at(0.5),
            at(0.99),
            at(0.999),
            self.calls.max(),
            self.pauses(),
        )
    }

    fn json(&self) -> Value {
        let at = |quantile| self.calls.value_at_quantile(quantile);
        json!({
            "p50_ns": at(0.5), "p99_ns": at(0.99), "p999_ns": at(0.999),
            "longest_ns": self.calls.max(), "over_1_ms": self.pauses(),
        })
    }
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
    let mut growing = Side::new(kind, &small, from)?;
    let mut steady = Side::new(kind, &large, from)?;
    let mut at = from;
    // Who goes first changes with each pair of runs.
    while at < to {
        let numbers = at..(at + run.max(1)).min(to);
        at = numbers.end;
        let mut sides = [&mut growing, &mut steady];
        if growing_first(at, run) {
            sides.reverse();
        }
        for side in sides {
            side.run(numbers.clone())?;
        }
    }
    let stats = growing.table.stats();
    println!("{}: {from} to {to} entries, {least} to {} buckets", kind.name(), stats.buckets);
    println!("{}\n{}", growing.line("growing"), steady.line("steady"));
    let mut shares = Vec::new();
    for (name, wanted) in [("all runs", None), ("moving", Some(true)), ("not moving", Some(false))]
    {
        let pairs = growing.run_ns.iter().zip(&steady.run_ns).zip(&growing.moving);
        let pairs = pairs.filter(|(_, moving)| wanted.is_none_or(|wanted| **moving == wanted));
        let shares_of: Vec<f64> = pairs.map(|((growing, steady), _)| steady / growing).collect();
        let Some(share) = Summary::of(&shares_of) else { continue };
        println!(
            "  throughput of the steady one's, {name:<10} {:>4.0} % ({:.0} to {:.0}, {} pairs)",
            100.0 * share.median,
            100.0 * share.lower_quartile,
            100.0 * share.upper_quartile,
            share.count,
        );
        shares.push(json!({
            "runs": name, "pairs": share.count, "median": share.median,
            "quartiles": [share.lower_quartile, share.upper_quartile],
        }));
    }
    let goals = judge(&growing, &steady);
    for (text, verdict) in &goals {
        println!("  {:<13} {text}", verdict.name());
    }
    plot(kind, from, run, &growing, &steady, &arguments.out)?;
    let goals = goals.map(|(text, verdict)| json!({ "goal": text, "verdict": verdict }));
    let measured = json!({
        "table": kind.name(), "from": from, "to": to, "buckets": [least, stats.buckets],
        "growing": growing.json(), "steady": steady.json(), "throughput_share": shares,
        "goals": goals,
    });
    growing.table.detach();
    steady.table.detach();
    Ok(measured)
}

const fn growing_first(at: u64, run: u64) -> bool {
    (at / if run == 0 { 1 } else { run }) % 2 == 1
}

/// Least throughput while the size changes, of the steady table's.
const SHARE_MIN: f64 = 0.5;

/// The goals, and whether they were met: throughput while the size changes, and no more pauses than
/// the steady table shows. Pauses are counted, so that as many more as chance alone may bring say
/// nothing.
fn judge(growing: &Side, steady: &Side) -> [(String, Verdict); 2] {
    let pairs = growing.run_ns.iter().zip(&steady.run_ns).zip(&growing.moving);
    let moving = pairs.filter(|(_, moving)| **moving);
    let shares: Vec<f64> = moving.map(|((growing, steady), _)| steady / growing).collect();
    let share = Summary::of(&shares).map(|share| Known::median(&share, share.count >= PAIRS_MIN));
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
    let (ours, theirs) = (growing.pauses(), steady.pauses());
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

/// Nanoseconds by entries, both tables.
fn plot(
    kind: Kind,
    from: u64,
    run: u64,
    growing: &Side,
    steady: &Side,
    out: &Path,
) -> Result<(), Box<dyn Error>> {
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
