//! The report of a run: a table on the terminal, a page with plots, and records for programs.

mod page;
mod plots;
mod terminal;

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::churn::Churn;
use crate::footprint::Footprint;
use crate::goals::{Evidence, Goal, Heading, Run, judge};
use crate::machine::Machine;
use crate::results::Record;
use crate::row::RowName;
use crate::transfer::Transfer;
use crate::workload::Workload;

/// What a run gave.
#[derive(Clone, Debug)]
pub struct Report {
    /// The records, in the order in which they were measured.
    pub records: Vec<Record>,
    /// The machine.
    pub machine: Machine,
    /// What rows said about themselves, and what the run fell back to.
    pub facts: Vec<String>,
    /// What the churn checks found.
    pub churns: Vec<Churn>,
    /// What entries cost in memory.
    pub footprints: Vec<Footprint>,
    /// How values are copied.
    pub copy_kind: String,
    /// Cells that failed, and why.
    pub failures: Vec<String>,
    /// Whether this was the quick set.
    pub quick: bool,
}

impl Report {
    /// What the run says about the goals.
    pub fn goals(&self) -> Vec<Goal> {
        judge(&Evidence {
            records: &self.records,
            churns: &self.churns,
            footprints: &self.footprints,
            copy_kind: &self.copy_kind,
        })
    }

    /// Goals by whose they are.
    fn goals_by_heading(&self) -> Vec<(Heading, Vec<Goal>)> {
        let goals = self.goals();
        let of = |heading| goals.iter().filter(move |goal| goal.heading == heading).cloned();
        Heading::ALL.into_iter().map(|heading| (heading, of(heading).collect())).collect()
    }

    /// What `results.json` holds: a record a cell, and behind these, each with its `kind`, what is
    /// no cell: duels, whose `limit` is the other table, churns, memory, goals.
    fn results(&self) -> serde_json::Result<Vec<Value>> {
        let mut results = Vec::new();
        let (cells, duels): (Vec<&Record>, Vec<&Record>) =
            self.records.iter().partition(|record| record.limit.is_limit());
        for record in cells {
            results.push(serde_json::to_value(record)?);
        }
        let mut add = |kind: &str, value: Value| {
            let mut value = value;
            value["kind"] = json!(kind);
            results.push(value);
        };
        for duel in duels {
            add("duel", serde_json::to_value(duel)?);
        }
        for churn in &self.churns {
            add("churn", serde_json::to_value(churn)?);
        }
        for footprint in &self.footprints {
            add("memory", serde_json::to_value(footprint)?);
        }
        for goal in &self.goals() {
            add("goal", serde_json::to_value(goal)?);
        }
        Ok(results)
    }

    /// Workloads that were run, in their order.
    fn workloads(&self) -> impl Iterator<Item = Workload> {
        Workload::ALL
            .into_iter()
            .filter(|&workload| self.records.iter().any(|record| record.workload == workload))
    }

    /// Records of a workload's cells.
    fn of(&self, workload: Workload) -> impl Iterator<Item = &Record> {
        let of = self.records.iter().filter(move |record| record.workload == workload);
        of.filter(|record| record.limit.is_limit())
    }

    /// The table for the terminal, with everything that is said in words.
    pub fn text(&self) -> String {
        terminal::text(self)
    }

    /// Writes `results.json` and `index.html`; gives the page.
    pub fn write(&self, directory: &Path) -> io::Result<PathBuf> {
        std::fs::create_dir_all(directory)?;
        let results = self.results().and_then(|results| serde_json::to_string_pretty(&results));
        let results = results.map_err(io::Error::other)?;
        std::fs::write(directory.join("results.json"), results + "\n")?;
        let page = directory.join("index.html");
        std::fs::write(
            &page,
            page::html(self).map_err(|error| io::Error::other(error.to_string()))?,
        )?;
        Ok(page)
    }

    /// What two measurements of one thing differ by in this run.
    fn resolution(&self) -> String {
        let run = Run(&self.records);
        let same = self.records.iter().filter(|record| record.table == record.limit);
        let shares: Vec<String> = same
            .map(|record| {
                let share = run.resolution(record.workload, record.processes);
                let (workload, processes) = (record.workload.name(), record.processes);
                format!("{workload} p{processes} {}", percent(share))
            })
            .collect();
        let sets = || self.records.iter().map(|record| record.placements);
        let (least, most) = (sets().min().unwrap_or(0), sets().max().unwrap_or(0));
        format!(
            "medians and intervals are over {least} sets of tables, one after the other, {most} of \
             {} and of limits, and are widened before goals are judged by what the limit of the \
             workload, paired with itself, differed from itself at most: {}",
            RowName::CasBucket.name(),
            shares.join(", ")
        )
    }

    /// How far apart the processors were while two workers ran.
    fn distance(&self) -> Option<String> {
        let samples = || self.records.iter().filter_map(|record| record.transfer);
        let mut medians: Vec<f64> = samples().map(|transfer| transfer.ns).collect();
        medians.sort_by(f64::total_cmp);
        let median = medians.get(medians.len() / 2)?;
        let least = samples().map(|transfer| transfer.least_ns).fold(f64::INFINITY, f64::min);
        let most = samples().map(|transfer| transfer.most_ns).fold(0.0, f64::max);
        Some(format!(
            "a line that the other processor wrote last took {median:.0} ns ({least:.0} to \
             {most:.0}): where cells differ in that, a hypervisor moved the processors, and cells \
             of two workers are compared to a factor of two"
        ))
    }

    /// What the default table loses, a line each.
    fn losses(&self) -> Vec<String> {
        let ahead = Run(&self.records).ahead_of(RowName::CasBucket);
        ahead
            .into_iter()
            .map(|(record, factor)| {
                format!(
                    "{} is {factor:.2}x faster than cas_bucket in {}, p{}",
                    record.table.label(),
                    record.workload.name(),
                    record.processes
                )
            })
            .collect()
    }

    /// A peer and a table window by window, a line a pair.
    fn duels(&self) -> Vec<String> {
        let duels = self.records.iter().filter(|record| !record.limit.is_limit());
        duels
            .map(|record| {
                let distance = record.transfer.map_or_else(String::new, |transfer| {
                    let Transfer { ns, least_ns, most_ns } = transfer;
                    format!("; a line takes {ns:.0} ns ({least_ns:.0} to {most_ns:.0})")
                });
                format!(
                    "{}, p{}: {} takes {:.2}x ({:.2}–{:.2}) as long as {}{distance}",
                    record.workload.name(),
                    record.processes,
                    record.table.label(),
                    record.ratio_to_limit,
                    record.ratio_low,
                    record.ratio_high,
                    record.limit.label(),
                )
            })
            .collect()
    }

    /// How much longer each peer takes than the default table, a line a cell.
    fn factors(&self) -> Vec<String> {
        let run = Run(&self.records);
        let mut lines = Vec::new();
        for workload in self.workloads() {
            for processes in [1, 2] {
                let parts: Vec<String> = [RowName::MutexSlab, RowName::Lmdb, RowName::Papaya]
                    .into_iter()
                    .filter_map(|peer| {
                        let factor = run.factor(workload, processes, peer, RowName::CasBucket)?;
                        Some(format!("{} {:.2}x", peer.label(), factor.value))
                    })
                    .collect();
                if !parts.is_empty() {
                    let cell = format!("{}, p{processes}", workload.name());
                    lines.push(format!("{cell}: {}", parts.join(", ")));
                }
            }
        }
        lines
    }

    /// Single look-ups beside a writer, of each table and of the limit, a line a table.
    fn beside_writer(&self) -> Vec<String> {
        let of = self.of(Workload::BesideWriter);
        of.map(|record| {
            let tail = record.tail.map_or_else(
                || "not known".to_owned(),
                |tail| {
                    let open = if tail.conclusive { "" } else { ", inconclusive" };
                    let (ratio, low, high) = (tail.ratio, tail.low, tail.high);
                    format!("{ratio:.2}x ({low:.2}–{high:.2}; {} samples{open})", tail.samples)
                },
            );
            format!(
                "{}: p50 {} (limit {}), p99 {} ({}), p99.9 {} ({}); p99.9 against the limit's \
                 {tail}; {} replacements meanwhile",
                record.table.label(),
                duration(record.p50_ns),
                duration(record.limit_p50_ns),
                duration(record.p99_ns),
                duration(record.limit_p99_ns),
                duration(record.p999_ns),
                duration(record.limit_p999_ns),
                record.puts
            )
        })
        .collect()
    }

    fn churn_lines(&self) -> Vec<String> {
        self.churns.iter().map(Churn::line).collect()
    }

    fn footprint_lines(&self) -> Vec<String> {
        self.footprints.iter().map(Footprint::line).collect()
    }

    /// Time beside a second worker against alone, a line a workload.
    fn scalings(&self) -> Vec<String> {
        let run = Run(&self.records);
        let mut lines = Vec::new();
        for workload in self.workloads() {
            let parts: Vec<String> = RowName::ALL
                .iter()
                .filter_map(|&table| {
                    let scaling = run.scaling(workload, table)?;
                    let open = if scaling.conclusive { "" } else { " inconclusive" };
                    let (value, low, high) = (scaling.value, scaling.low, scaling.high);
                    Some(format!("{} {value:.2}x ({low:.2}–{high:.2}){open}", table.label()))
                })
                .collect();
            if !parts.is_empty() {
                lines.push(format!("{}: {}", workload.name(), parts.join(", ")));
            }
        }
        lines
    }
}

/// Nanoseconds, or microseconds from ten of them on.
fn duration(ns: f64) -> String {
    if ns < 10_000.0 { format!("{ns:.0}") } else { format!("{:.1}k", ns / 1000.0) }
}

/// A share as a percentage.
fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::record;

    fn churn() -> Churn {
        Churn {
            table: RowName::RobinHood,
            processes: 2,
            fill: crate::churn::Fill::NineTenths,
            entries: 18_000,
            capacity: 20_000,
            sessions: 1_234_567,
            takes: 700_000,
            evictions: 500_000,
            slow_down: 1.5,
            low: 1.25,
            high: 1.75,
            conclusive: true,
            against_own_first: 1.5,
        }
    }

    fn footprint() -> Footprint {
        Footprint {
            table: RowName::CasBucket,
            entries: 100_000,
            segment_bytes: 1 << 25,
            outside: 41.5,
            within: 24.0,
            spare: 1.5,
            best: (81_920, 40.0),
            worst: (81_921, 75.0),
        }
    }

    fn report() -> Report {
        let mut records = Vec::new();
        for workload in [Workload::Read, Workload::RustlsTls13] {
            for processes in [1, 2] {
                records.push(record(workload, RowName::CasBucket, processes, 1.5));
                records.push(record(workload, RowName::Papaya, processes, 1.2));
                records.push(record(workload, RowName::Lmdb, processes, 12.0));
            }
        }
        records[1].conclusive = false;
        let mut duel = record(Workload::RustlsTls13, RowName::MutexSlab, 2, 4.0);
        duel.limit = RowName::CasBucket;
        records.push(duel);
        Report {
            records,
            machine: Machine::here(),
            facts: vec!["cas_bucket copies values with avx2".to_owned()],
            churns: vec![churn()],
            footprints: vec![footprint()],
            copy_kind: "avx2".to_owned(),
            failures: vec!["read/lmdb/p1: <disk full>".to_owned()],
            quick: true,
        }
    }

    #[test]
    fn the_text_tells_what_we_lose_what_failed_and_what_is_open() {
        let text = report().text();
        for part in [
            "papaya* is 1.25x faster than cas_bucket in read, p1",
            "read/lmdb/p1: <disk full>",
            "inconclusive",
            "avx2",
            "1234567 sessions",
            "41.5 bytes outside of blocks",
            "rustls_tls13, p2: mutex_slab takes 4.00x (3.96–4.04) as long as cas_bucket",
            "NOT MET       churn, table 90 % full, p2",
            "NOT MET       memory an entry beyond key and value",
            "Figures of robin_hood",
        ] {
            assert!(text.contains(part), "{part:?} is not in:\n{text}");
        }
    }

    #[test]
    fn the_page_has_every_plot_and_escapes_what_it_quotes() {
        let html = page::html(&report()).unwrap();
        assert_eq!(html.matches("<svg").count(), 2 * 3 + 1, "three a workload and the scaling");
        assert!(html.contains("&lt;disk full&gt;"));
        assert!(!html.contains("<disk full>"));
    }

    #[test]
    fn records_and_page_are_written() {
        let directory = tempfile::tempdir().unwrap();
        report().write(directory.path()).unwrap();
        let text = std::fs::read_to_string(directory.path().join("results.json")).unwrap();
        let results: Vec<Value> = serde_json::from_str(&text).unwrap();
        let (records, others): (Vec<Value>, Vec<Value>) =
            results.into_iter().partition(|result| result["kind"].is_null());
        let records: Vec<Record> = serde_json::from_value(Value::Array(records)).unwrap();
        let cells = report().records.into_iter().filter(|record| record.limit.is_limit());
        assert_eq!(records, cells.collect::<Vec<_>>());
        let of = |kind: &str| others.iter().filter(|other| other["kind"] == kind).count();
        assert_eq!((of("duel"), of("churn"), of("memory")), (1, 1, 1));
        assert_eq!(of("goal"), report().goals().len());
        let goal = others.iter().find(|other| other["verdict"] == "not_met").unwrap();
        assert!(goal["known"]["low"].is_number() && goal["bound"].is_number(), "{goal}");
        assert!(directory.path().join("index.html").exists());
    }
}
