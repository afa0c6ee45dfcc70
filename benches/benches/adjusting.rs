//! How long the chained table's lock is held while it doubles or halves: the pause of everybody
//! else. Entries of 32 and 200 bytes, two a bucket, on mapped memory.

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::{Value, json};
use shm_arena::MappingOptions;
use shm_table::{Entry, Kind, SharedTable, Table, TableOptions};

/// Measures the pause of a change of size of `chained`, for tables of several sizes.
///
/// Prints medians, and behind each the least and the most.
///
/// Example: cargo bench -p shm-bench --bench adjusting -- --entries-max 100000 --json pauses.json
#[derive(Parser, Debug)]
struct Arguments {
    /// Entries of the largest table; the others have a tenth, a hundredth, a thousandth.
    #[arg(long, default_value_t = 1_000_000)]
    entries_max: u64,
    /// Changes of each size.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Write the table as JSON to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Given by cargo; means nothing.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Pauses of one kind, sorted, in milliseconds.
struct Pauses(Vec<f64>);

impl Pauses {
    fn new(pauses: &[Duration]) -> Self {
        let mut pauses: Vec<_> = pauses.iter().map(|pause| pause.as_secs_f64() * 1e3).collect();
        pauses.sort_by(f64::total_cmp);
        Self(pauses)
    }

    fn median_ms(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    fn line(&self) -> String {
        let (least, most) = (self.0[0], self.0[self.0.len() - 1]);
        format!("{:>9.3} ms ({least:.3} to {most:.3})", self.median_ms())
    }

    fn json(&self) -> Value {
        json!({ "median": self.median_ms(), "all": self.0 })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let mut measured = Vec::new();
    for divisor in [1000, 100, 10, 1] {
        let entries = (arguments.entries_max / divisor).max(16);
        let buckets = (entries / 2).next_power_of_two();
        let [doubling, halving] = measure(entries, buckets, arguments.rounds.max(1))?;
        let ns = doubling.median_ms() * 1e6 / entries as f64;
        println!("{entries:>8} entries, {buckets} to {} buckets", 2 * buckets);
        println!("  doubling {}, {ns:.0} ns an entry", doubling.line());
        println!("  halving  {}", halving.line());
        measured.push(json!({
            "entries": entries,
            "buckets": buckets,
            "doubling_ms": doubling.json(),
            "halving_ms": halving.json(),
        }));
    }
    if let Some(path) = arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(&measured)?)?;
    }
    Ok(())
}

/// Pauses of doubling and of halving.
fn measure(entries: u64, buckets: u64, rounds: usize) -> Result<[Pauses; 2], Box<dyn Error>> {
    let options = TableOptions {
        entries,
        buckets_max: Some(2 * buckets),
        adjusts: false,
        ..TableOptions::default()
    };
    let mapping = MappingOptions::default();
    let table = SharedTable::create_memfd("adjusting", Kind::Chained, &options, &mapping)?;
    table.adjust(Some(buckets))?;
    for number in 0..entries {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        let _ = table.put(Entry { key: &key, value: &[1; 200], metadata: 0 })?;
    }
    let (mut doubling, mut halving) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let start = Instant::now();
        let made = table.adjust(Some(2 * buckets))?;
        doubling.push(start.elapsed());
        assert_eq!(made, 2 * buckets, "the table doubled");
        let start = Instant::now();
        let made = table.adjust(Some(buckets))?;
        halving.push(start.elapsed());
        assert_eq!(made, buckets, "the table halved");
    }
    table.detach();
    Ok([Pauses::new(&doubling), Pauses::new(&halving)])
}
