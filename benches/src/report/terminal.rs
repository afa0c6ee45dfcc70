//! The report as text.

use std::fmt::Write;

use super::{Report, duration, percent};
use crate::results::Record;

/// Everything that the run says, for a terminal of 110 columns.
pub(super) fn text(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write_text(report, &mut out);
    out
}

fn write_text(report: &Report, out: &mut String) -> std::fmt::Result {
    for workload in report.workloads() {
        writeln!(out, "\n{}: {}", workload.name(), workload.description())?;
        writeln!(
            out,
            "  {:<12} {:>2} {:>8} {:>5} {:>9} {:>13} {:>7} {:>7} {:>8} {:>6} {:>7}",
            "table",
            "P",
            "ns/op",
            "±",
            "x limit",
            "quartiles",
            "p50",
            "p99",
            "p99.9",
            "hits",
            "dropped"
        )?;
        for record in report.of(workload) {
            write_record(record, out)?;
        }
    }
    let title = "Against cas_bucket, time of the others (from ratios to the limit)";
    section(out, title, &report.factors())?;
    let title = "Peers and our tables, window by window";
    section(out, title, &or(report.duels(), "not measured"))?;
    let title = "Time of each of two workers beside the other, against alone (in alternation)";
    section(out, title, &report.scalings())?;
    let title = "Single look-ups beside a writer";
    section(out, title, &or(report.beside_writer(), "not measured"))?;
    section(out, "What cas_bucket loses", &or(report.losses(), "no cell of this run"))?;
    for (heading, goals) in report.goals_by_heading() {
        writeln!(out, "\n{}", heading.name())?;
        for goal in goals {
            writeln!(out, "  {:<13} {}: {}", goal.verdict.name(), goal.text, goal.measured)?;
        }
    }
    section(out, "Churn", &or(report.churn_lines(), "not run"))?;
    section(out, "Memory an entry", &or(report.footprint_lines(), "not measured"))?;
    section(out, "Cells that failed", &or(report.failures.clone(), "none"))?;
    section(out, "Facts", &report.facts)?;
    for line in [Some(report.resolution()), report.distance()].into_iter().flatten() {
        writeln!(out, "  {line}")?;
    }
    writeln!(out, "  {}", report.machine.summary())?;
    let set = if report.quick { "quick set: small tables, short runs" } else { "full set" };
    writeln!(out, "  {set}; * runs as threads of one process; times are of each worker")
}

fn write_record(record: &Record, out: &mut String) -> std::fmt::Result {
    let note = if record.conclusive { "" } else { "  inconclusive" };
    writeln!(
        out,
        "  {:<12} {:>2} {:>8} {:>5} {:>8.2}x {:>13} {:>7} {:>7} {:>8} {:>6} {:>7}{note}",
        record.table.label(),
        record.processes,
        duration(record.ns_per_op),
        format!("{:.0} %", record.ns_spread * 100.0),
        record.ratio_to_limit,
        format!("{:.2}–{:.2}", record.ratio_lower_quartile, record.ratio_upper_quartile),
        duration(record.p50_ns),
        duration(record.p99_ns),
        duration(record.p999_ns),
        record.hit_ratio.map_or_else(|| "–".to_owned(), |share| format!("{:.0} %", share * 100.0)),
        percent(record.dropped),
    )
}

fn section(out: &mut String, title: &str, lines: &[String]) -> std::fmt::Result {
    writeln!(out, "\n{title}")?;
    for line in lines {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}

fn or(lines: Vec<String>, otherwise: &str) -> Vec<String> {
    if lines.is_empty() { vec![otherwise.to_owned()] } else { lines }
}
