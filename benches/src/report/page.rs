//! The report as a page that needs nothing else: tables, plots, and everything said in words.

use std::error::Error;
use std::fmt::Write;

use super::plots::{Mark, Plot};
use super::{Report, duration, percent};
use crate::goals::{Goal, Run, Verdict};
use crate::results::Record;
use crate::row::RowName;
use crate::workload::Workload;

const STYLE: &str = "
body { font: 16px/1.5 system-ui, sans-serif; color: #282c34; max-width: 62rem; margin: 2rem auto;
       padding: 0 1rem; }
h1 { line-height: 1.2; } h2 { margin-top: 3rem; border-bottom: 2px solid #dee2e8; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 1rem 0;
        width: 100%; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #dee2e8; }
th:first-child, td:first-child { text-align: left; }
tr.ours { font-weight: 600; } tr.limit { color: #7a828e; } tr.open td { font-style: italic; }
.met { color: #00794f; } .not-met { color: #c82828; font-weight: 600; } .open { color: #8a6100; }
svg { max-width: 100%; height: auto; margin: .5rem 0; }
.note { color: #5a626e; font-size: .9rem; }
";

/// The page.
pub(super) fn html(report: &Report) -> Result<String, Box<dyn Error>> {
    let mut out = String::new();
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>shmtable: comparison</title><style>{STYLE}</style></head><body>\n\
         <h1>What does a TLS server pay for a cache operation?</h1>\n\
         <p>Tables in shared memory, their peers, and the limits of the memory, over sessions that \
         were captured from real rustls handshakes. Times are of each worker; <em>x limit</em> is \
         the median of ratios within pairs of windows that ran right after each other. \
         A limit has no synchronisation and cannot be used; it says what the memory allows.</p>\n\
         <p class=\"note\">{}</p>\n",
        escape(&report.machine.summary())
    )?;
    for line in [Some(report.resolution()), report.distance()].into_iter().flatten() {
        writeln!(out, "<p class=\"note\">{}</p>", escape(&line))?;
    }
    if report.quick {
        out.push_str("<p class=\"note\">Quick set: small tables and short runs.</p>\n");
    }
    write_goals(report, &mut out)?;
    list(&mut out, "What cas_bucket loses", &report.losses(), "No cell of this run.")?;
    for workload in report.workloads() {
        write_workload(report, workload, &mut out)?;
    }
    out.push_str("<h2>A worker beside another, against alone</h2>\n");
    out.push_str(&scaling(report).svg()?);
    list(&mut out, "In alternation, with 95 % intervals", &report.scalings(), "Not measured.")?;
    let title = "Single look-ups beside a writer";
    list(&mut out, title, &report.beside_writer(), "Not measured.")?;
    list(&mut out, "Against cas_bucket, time of the others", &report.factors(), "Not measured.")?;
    let title = "Peers and our tables, window by window";
    list(&mut out, title, &report.duels(), "Not measured.")?;
    list(&mut out, "Churn", &report.churn_lines(), "Not run.")?;
    list(&mut out, "Memory an entry", &report.footprint_lines(), "Not measured.")?;
    list(&mut out, "Cells that failed", &report.failures, "None.")?;
    list(&mut out, "Facts", &report.facts, "None.")?;
    out.push_str("<h2>Rows</h2>\n<ul>\n");
    for row in RowName::ALL {
        writeln!(out, "<li><b>{}</b>: {}</li>", row.label(), escape(row.description()))?;
    }
    out.push_str("</ul>\n</body></html>\n");
    Ok(out)
}

fn write_goals(report: &Report, out: &mut String) -> std::fmt::Result {
    for (heading, goals) in report.goals_by_heading() {
        writeln!(out, "<h2>{}</h2>", heading.name())?;
        write_goals_of(&goals, out)?;
    }
    Ok(())
}

fn write_goals_of(goals: &[Goal], out: &mut String) -> std::fmt::Result {
    out.push_str("<table><tr><th>goal</th><th>measured</th><th></th></tr>\n");
    for goal in goals {
        let class = match goal.verdict {
            Verdict::Met => "met",
            Verdict::NotMet => "not-met",
            Verdict::Inconclusive | Verdict::NotMeasured => "open",
        };
        writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td class=\"{class}\">{}</td></tr>",
            escape(&goal.text),
            goal.measured,
            goal.verdict.name()
        )?;
    }
    out.push_str("</table>\n");
    Ok(())
}

fn write_workload(
    report: &Report,
    workload: Workload,
    out: &mut String,
) -> Result<(), Box<dyn Error>> {
    let records: Vec<&Record> = report.of(workload).collect();
    write!(out, "<h2>{}</h2>\n<p>{}", workload.name(), escape(workload.description()))?;
    if let Some(first) = records.first() {
        write!(
            out,
            "; {} sessions, values of {} bytes on average, limit: {}",
            first.entries,
            first.value_bytes,
            first.limit.name()
        )?;
    }
    out.push_str("</p>\n");
    let plots = [times(workload, &records), ratios(workload, &records), latencies(&records)];
    let together = (workers(&records).len() > 2).then(|| throughputs(workload, &records));
    for plot in plots.into_iter().chain(together) {
        out.push_str(&plot.svg()?);
    }
    out.push_str(
        "<table><tr><th>table</th><th>workers</th><th>ns/op</th><th>±</th><th>x limit</th>\
         <th>quartiles</th><th>p50</th><th>p99</th><th>p99.9</th><th>hits</th><th>dropped</th>\
         <th>pairs</th></tr>\n",
    );
    for record in records {
        write_row(record, out)?;
    }
    out.push_str("</table>\n");
    Ok(())
}

fn write_row(record: &Record, out: &mut String) -> std::fmt::Result {
    let mut class = match record.table {
        RowName::CasBucket | RowName::RobinHood | RowName::Chained => "ours",
        table if table.is_limit() => "limit",
        _ => "",
    }
    .to_owned();
    if !record.conclusive {
        class.push_str(" open");
    }
    let open = if record.conclusive { "" } else { " inconclusive" };
    let hits = record.hit_ratio.map_or_else(|| "–".to_owned(), percent);
    writeln!(
        out,
        "<tr class=\"{class}\"><td>{}{open}</td><td>{}</td><td>{}</td><td>{:.0} %</td>\
         <td>{:.2}</td><td>{:.2}–{:.2}</td><td>{}</td><td>{}</td><td>{}</td><td>{hits}</td>\
         <td>{}</td><td>{}</td></tr>",
        record.table.label(),
        record.processes,
        duration(record.ns_per_op),
        record.ns_spread * 100.0,
        record.ratio_to_limit,
        record.ratio_lower_quartile,
        record.ratio_upper_quartile,
        duration(record.p50_ns),
        duration(record.p99_ns),
        duration(record.p999_ns),
        percent(record.dropped),
        record.pairs
    )
}

/// Rows of a plot: for each table a mark of each number of workers.
fn by_workers(
    records: &[&Record],
    mark: impl Fn(&Record) -> Mark,
) -> Vec<(String, Vec<Option<Mark>>)> {
    let tables = RowName::ALL.iter().filter(|&&table| records.iter().any(|r| r.table == table));
    tables
        .map(|&table| {
            let marks = workers(records).into_iter().map(|processes| {
                let found = records.iter().find(|r| (r.table, r.processes) == (table, processes));
                found.map(|record| mark(record))
            });
            (table.label(), marks.collect())
        })
        .collect()
}

/// The numbers of workers that there are, ascending.
fn workers(records: &[&Record]) -> Vec<u32> {
    let mut workers: Vec<u32> = records.iter().map(|record| record.processes).collect();
    workers.sort_unstable();
    workers.dedup();
    workers
}

fn series(records: &[&Record]) -> Vec<String> {
    let name = |workers: u32| format!("{workers} worker{}", if workers == 1 { "" } else { "s" });
    workers(records).into_iter().map(name).collect()
}

/// What all workers do together: of more than two, whether they get on.
fn throughputs(workload: Workload, records: &[&Record]) -> Plot {
    Plot {
        title: format!("{}: what all workers do together", workload.name()),
        unit: "million operations a second, logarithmic".to_owned(),
        series: series(records),
        rows: by_workers(records, |record| {
            Mark::Bar(f64::from(record.processes) * 1e3 / record.ns_per_op)
        }),
        reference: None,
        precision: 1,
    }
}

fn times(workload: Workload, records: &[&Record]) -> Plot {
    Plot {
        title: format!("{}: time of an operation in a loop", workload.name()),
        unit: "nanoseconds of each worker, logarithmic".to_owned(),
        series: series(records),
        rows: by_workers(records, |record| Mark::Bar(record.ns_per_op)),
        reference: None,
        precision: 0,
    }
}

fn ratios(workload: Workload, records: &[&Record]) -> Plot {
    Plot {
        title: format!("{}: how far from the limit, median and quartiles", workload.name()),
        unit: "times the limit, logarithmic".to_owned(),
        series: series(records),
        rows: by_workers(records, |record| Mark::Range {
            low: record.ratio_lower_quartile,
            value: record.ratio_to_limit,
            high: record.ratio_upper_quartile,
        }),
        reference: Some(1.0),
        precision: 2,
    }
}

fn latencies(records: &[&Record]) -> Plot {
    Plot {
        title: "One operation alone: p50 (end), p99 (dot), p99.9 (end)".to_owned(),
        unit: "nanoseconds without the clock's own, logarithmic; the number is p99".to_owned(),
        series: series(records),
        rows: by_workers(records, |record| Mark::Range {
            low: record.p50_ns,
            value: record.p99_ns,
            high: record.p999_ns,
        }),
        reference: None,
        precision: 0,
    }
}

/// How much longer an operation takes beside a second worker, by workload.
fn scaling(report: &Report) -> Plot {
    let run = Run(&report.records);
    let chosen = [Workload::Read, Workload::RustlsTls13, Workload::OpensslTls12];
    let rows = RowName::ALL
        .iter()
        .map(|&table| {
            let marks = chosen
                .iter()
                .map(|&workload| Some(Mark::Bar(run.scaling(workload, table)?.value)))
                .collect::<Vec<_>>();
            (table.label(), marks)
        })
        .filter(|(_, marks)| marks.iter().any(Option::is_some))
        .collect();
    Plot {
        title: "Time of each of two workers beside the other, against alone".to_owned(),
        unit: "times (1 is linear scaling), logarithmic".to_owned(),
        series: chosen.iter().map(|workload| workload.name().to_owned()).collect(),
        rows,
        reference: Some(1.0),
        precision: 2,
    }
}

fn list(out: &mut String, title: &str, lines: &[String], otherwise: &str) -> std::fmt::Result {
    writeln!(out, "<h2>{title}</h2>")?;
    if lines.is_empty() {
        return writeln!(out, "<p>{otherwise}</p>");
    }
    out.push_str("<ul>\n");
    for line in lines {
        writeln!(out, "<li>{}</li>", escape(line))?;
    }
    out.push_str("</ul>\n");
    Ok(())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
