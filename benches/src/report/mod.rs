//! The report of a run: a table on the terminal, a page with plots, and records for programs.

mod page;
mod plots;
mod terminal;

use std::io;
use std::path::{Path, PathBuf};

use crate::goals::{Goal, judge};
use crate::machine::Machine;
use crate::results::Record;
use crate::row::RowName;
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
    /// What the churn check found, a line a table.
    pub churn: Vec<String>,
    /// Cells that failed, and why.
    pub failures: Vec<String>,
    /// Whether this was the quick set.
    pub quick: bool,
}

impl Report {
    /// What the run says about the goals.
    pub fn goals(&self) -> Vec<Goal> {
        judge(&self.records)
    }

    /// Workloads that were run, in their order.
    fn workloads(&self) -> impl Iterator<Item = Workload> {
        Workload::ALL
            .into_iter()
            .filter(|&workload| self.records.iter().any(|record| record.workload == workload))
    }

    /// Records of a workload.
    fn of(&self, workload: Workload) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |record| record.workload == workload)
    }

    /// The table for the terminal, with everything that is said in words.
    pub fn text(&self) -> String {
        terminal::text(self)
    }

    /// Writes `results.json` and `index.html`; gives the page.
    pub fn write(&self, directory: &Path) -> io::Result<PathBuf> {
        std::fs::create_dir_all(directory)?;
        let records = serde_json::to_string_pretty(&self.records).map_err(io::Error::other)?;
        std::fs::write(directory.join("results.json"), records + "\n")?;
        let page = directory.join("index.html");
        std::fs::write(
            &page,
            page::html(self).map_err(|error| io::Error::other(error.to_string()))?,
        )?;
        Ok(page)
    }

    /// What two measurements of one thing differ by in this run.
    fn resolution(&self) -> String {
        let share = crate::goals::Run(&self.records).resolution();
        format!(
            "limits paired with themselves tell differences above {} (5 % at least): \
             smaller ones are no finding, and goals are judged with it",
            percent(share)
        )
    }

    /// What the default table loses, a line each.
    fn losses(&self) -> Vec<String> {
        let ahead = crate::goals::Run(&self.records).ahead_of(RowName::CasBucket);
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

    /// How much longer each peer takes than the default table, a line a cell.
    fn factors(&self) -> Vec<String> {
        let run = crate::goals::Run(&self.records);
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

    /// Time with two workers against one, a line a workload.
    fn scalings(&self) -> Vec<String> {
        let run = crate::goals::Run(&self.records);
        let mut lines = Vec::new();
        for workload in self.workloads() {
            let parts: Vec<String> = RowName::ALL
                .iter()
                .filter_map(|&table| {
                    let scaling = run.scaling(workload, table)?;
                    Some(format!("{} {:.2}x", table.label(), scaling.value))
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
        Report {
            records,
            machine: Machine::here(),
            facts: vec!["cas_bucket copies values with avx2".to_owned()],
            churn: vec!["cas_bucket: 1000000 sessions".to_owned()],
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
            "1000000 sessions",
            "NOT MET",
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
        let records: Vec<Record> = serde_json::from_str(&text).unwrap();
        assert_eq!(records, report().records);
        assert!(directory.path().join("index.html").exists());
    }
}
