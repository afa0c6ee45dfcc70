//! How far from home entries of `robin_hood` lie, and how many of its pages overflow, by how full
//! the table is, against theory. Nothing is timed.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};

use clap::Parser;
use plotters::coord::Shift;
use plotters::prelude::*;
use serde_json::{Value, json};
use shm_arena::{Environment, HeapMemory};
use shm_table::{Design, Entry, Error as TableError, RobinHood, Table, TableOptions, TableShape};

/// Fills tables of Robin Hood pages, a twentieth at a time, and compares the distances of entries
/// from their homes and the share of pages that overflow with theory.
///
/// Prints a table for pages of 512 slots, the default, and one for small pages, in which overflow
/// is frequent enough to be counted; plots both.
///
/// Example: cargo bench -p shm-bench --bench fill -- --tables 16 --json fill.json
#[derive(Parser, Debug)]
struct Arguments {
    /// Slots of each table.
    #[arg(long, default_value_t = 1 << 18)]
    slots: u64,
    /// Tables of either kind, each with a secret of its own; figures are sums over all.
    #[arg(long, default_value_t = 8)]
    tables: u64,
    /// Slots of a small page, a power of two from 2 to 512.
    #[arg(long, default_value_t = 64)]
    small: u32,
    /// Where the plot goes.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/fill.svg"))]
    svg: PathBuf,
    /// Where the figures go.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/fill.json"))]
    json: PathBuf,
    /// Given by cargo; means nothing.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Slots of a page in the default shape.
const DEFAULT_SLOTS: u32 = 512;

/// What was offered, in per cent of the slots.
const PERCENTS: [u64; 18] =
    [10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75, 80, 85, 90, 95];

/// What was seen at one fill, summed over the tables.
#[derive(Clone, Default, Debug)]
struct Seen {
    entries: u64,
    distance_sum: u64,
    distance_max: u64,
    /// Pages that refused an entry.
    pages_over: u64,
    refused: u64,
    pages: u64,
}

/// One kind of page at one fill.
struct Row {
    percent: u64,
    page_slots: u32,
    seen: Seen,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let mut all = Vec::new();
    for page_slots in [DEFAULT_SLOTS, arguments.small] {
        let rows = fill(arguments.slots, page_slots, arguments.tables.max(1))?;
        println!("pages of {page_slots} slots\n");
        println!("{}", Row::HEADING);
        rows.iter().for_each(|row| println!("{}", row.line()));
        println!();
        all.push(rows);
    }
    let figures: Vec<_> = all.iter().flatten().map(Row::json).collect();
    std::fs::write(&arguments.json, format!("{:#}\n", json!(figures)))?;
    plot(&all, &arguments.svg)?;
    println!("{}\n{}", arguments.svg.display(), arguments.json.display());
    Ok(())
}

/// Fills tables of so many slots in pages of so many.
fn fill(slots: u64, page_slots: u32, tables: u64) -> Result<Vec<Row>, Box<dyn Error>> {
    let row = |percent| Row { percent, page_slots, seen: Seen::default() };
    let mut rows: Vec<Row> = PERCENTS.into_iter().map(row).collect();
    for secret in 0..tables {
        let table = create(slots, page_slots, secret)?;
        let mut over = BTreeSet::new();
        let (mut number, mut refused) = (0_u64, 0);
        for Row { percent, seen, .. } in &mut rows {
            while number < slots * *percent / 100 {
                let key = number.to_le_bytes();
                let entry = Entry { key: &key, value: &key, metadata: 0 };
                match table.insert(entry, &mut Vec::new()) {
                    Ok(_) => {}
                    Err(TableError::BucketFull { bucket }) => {
                        refused += 1;
                        over.insert(bucket);
                    }
                    Err(error) => return Err(error.into()),
                }
                number += 1;
            }
            let distances = table.distances();
            let far = distances.iter().rposition(|&entries| entries > 0).unwrap_or(0) as u64;
            seen.entries += distances.iter().sum::<u64>();
            seen.distance_sum += (0..).zip(&distances).map(|(far, many)| far * many).sum::<u64>();
            seen.distance_max = seen.distance_max.max(far);
            seen.pages_over += over.len() as u64;
            seen.refused += refused;
            seen.pages += table.stats().buckets;
        }
        assert!(table.audit().is_clean(), "what was measured is a table");
    }
    Ok(rows)
}

fn create(
    slots: u64,
    page_slots: u32,
    secret: u64,
) -> Result<RobinHood<HeapMemory>, Box<dyn Error>> {
    let shape = TableShape {
        buckets: (slots / u64::from(page_slots)).max(1),
        slots: page_slots,
        slabs: u32::try_from(slots.div_ceil(1 << 10))? + 2,
        slab_units: 1 << 10,
        block_units_min: 1,
    };
    let base = TableOptions { processes: 1, lines: 2, ..TableOptions::default() };
    let options = TableOptions { hash_secret: Some([secret, 7]), shape: Some(shape), ..base };
    let words = RobinHood::<HeapMemory>::word_count(&options)?;
    Ok(RobinHood::create(HeapMemory::new(words), &options, &Environment::default())?)
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
const fn real(count: u64) -> f64 {
    count as f64
}

impl Row {
    const HEADING: &str = "offered  stored   mean distance  Knuth   longest   \
                           overflowing pages  Poisson    refused  Poisson";

    /// Share of the slots that hold an entry.
    fn fill(&self) -> f64 {
        real(self.seen.entries) / (real(self.seen.pages) * f64::from(self.page_slots))
    }

    fn mean(&self) -> f64 {
        real(self.seen.distance_sum) / real(self.seen.entries)
    }

    /// Knuth's mean of a look-up that finds its entry under linear probing in an endless table:
    /// half of 1 + 1 / (1 - fill) slots looked at, so one less passed.
    fn mean_in_theory(&self) -> f64 {
        f64::midpoint(1.0, 1.0 / (1.0 - self.fill())) - 1.0
    }

    /// Share of the pages to which more was offered than they have slots.
    fn overflow(&self) -> f64 {
        real(self.seen.pages_over) / real(self.seen.pages)
    }

    /// The same share, and how many entries come too late, if pages get Poisson's numbers of them.
    fn overflow_in_theory(&self) -> (f64, f64) {
        let mean = f64::from(self.page_slots) * real(self.percent) / 100.0;
        let beyond = self.page_slots + 1..self.page_slots * 3;
        let (mut share, mut late) = (0.0, 0.0);
        for offered in beyond {
            let logarithms: f64 = (1..=offered).map(|factor| f64::from(factor).ln()).sum();
            let probability = (f64::from(offered) * mean.ln() - mean - logarithms).exp();
            share += probability;
            late += probability * f64::from(offered - self.page_slots);
        }
        (share, late * real(self.seen.pages))
    }

    fn line(&self) -> String {
        let (share, late) = self.overflow_in_theory();
        format!(
            "{:>5} %  {:>5.2} %  {:>13.3}  {:>5.3}  {:>8}  {:>18.2e}  {:>7.2e}  {:>9}  {:>7.1}",
            self.percent,
            self.fill() * 100.0,
            self.mean(),
            self.mean_in_theory(),
            self.seen.distance_max,
            self.overflow(),
            share,
            self.seen.refused,
            late,
        )
    }

    fn json(&self) -> Value {
        let (overflow_theory, refused_theory) = self.overflow_in_theory();
        json!({
            "page_slots": self.page_slots,
            "offered": real(self.percent) / 100.0,
            "fill": self.fill(),
            "entries": self.seen.entries,
            "distance_mean": self.mean(),
            "distance_mean_theory": self.mean_in_theory(),
            "distance_max": self.seen.distance_max,
            "pages": self.seen.pages,
            "overflow": self.overflow(),
            "overflow_theory": overflow_theory,
            "refused": self.seen.refused,
            "refused_theory": refused_theory,
        })
    }
}

type Points = Vec<(f64, f64)>;

/// A line of theory and the points measured.
struct Series {
    name: String,
    colour: RGBColor,
    theory: Points,
    measured: Points,
}

/// Colours that differ for readers who see colours differently (Okabe and Ito).
const COLOURS: [RGBColor; 2] = [RGBColor(0, 114, 178), RGBColor(230, 159, 0)];

/// Two plots side by side: distances by fill, overflow by what was offered.
fn plot(all: &[Vec<Row>], path: &Path) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::new(path, (1100, 460)).into_drawing_area();
    area.fill(&WHITE)?;
    let (left, right) = area.split_horizontally(550);
    let series = |points: fn(&Row) -> [(f64, f64); 2]| {
        all.iter().zip(COLOURS).map(move |(rows, colour)| Series {
            name: format!("pages of {}", rows[0].page_slots),
            colour,
            theory: rows.iter().map(|row| points(row)[0]).collect(),
            measured: rows.iter().map(|row| points(row)[1]).collect(),
        })
    };
    let mut distances: Vec<_> =
        series(|row| [(row.fill(), row.mean_in_theory()), (row.fill(), row.mean())]).collect();
    for longest in series(|row| [(row.fill(), real(row.seen.distance_max)); 2]) {
        distances.push(Series {
            name: format!("longest, {}", longest.name),
            colour: paler(longest.colour),
            ..longest
        });
    }
    let title = "distance from home: lines Knuth's mean, and the longest; points measured";
    draw(&left, title, "slots taken", 0.05..80.0, &distances)?;
    let overflow: Vec<_> = series(|row| {
        let offered = real(row.percent) / 100.0;
        [(offered, row.overflow_in_theory().0), (offered, row.overflow())]
    })
    .collect();
    let title = "share of pages that overflow: lines Poisson, points measured";
    draw(&right, title, "entries offered to each slot", 1e-9..1.0, &overflow)?;
    area.present()?;
    Ok(())
}

/// A colour half way to white.
const fn paler(RGBColor(red, green, blue): RGBColor) -> RGBColor {
    RGBColor(red.midpoint(255), green.midpoint(255), blue.midpoint(255))
}

/// One plot over a logarithmic scale; what lies below it is left out.
fn draw(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    title: &str,
    across: &str,
    scale: std::ops::Range<f64>,
    series: &[Series],
) -> Result<(), Box<dyn Error>> {
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 14))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..1.0, scale.clone().log_scale())?;
    chart
        .configure_mesh()
        .x_desc(across)
        .y_label_formatter(&|value| format!("{value:.0e}"))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for Series { name, colour, theory, measured } in series {
        let colour = *colour;
        let visible = |points: &Points| -> Points {
            points.iter().copied().filter(|(_, value)| scale.contains(value)).collect()
        };
        chart
            .draw_series(LineSeries::new(visible(theory), colour))?
            .label(name.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
        let points = visible(measured).into_iter();
        chart.draw_series(points.map(|point| Circle::new(point, 3, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE)
        .draw()?;
    Ok(())
}
