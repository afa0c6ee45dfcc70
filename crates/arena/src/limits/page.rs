//! A page of what is finite, read by the tests of the crate that it speaks of.

use std::collections::BTreeMap;

/// Rows of the table below a heading, without its head.
pub(crate) fn table<'a>(page: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let below = page.split(&format!("# {heading}\n")).nth(1).expect("the heading is there");
    let rows = below.lines().skip_while(|line| !line.starts_with('|'));
    let rows = rows.take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// How long a counter takes to wrap, in the largest unit of which it is at least three.
fn wraps_after(bits: u32, step_ns: u64) -> String {
    let seconds = 2_f64.powi(bits.cast_signed()) * step_ns as f64 / 1e9;
    let units = [("y", 31_557_600.0), ("d", 86_400.0), ("h", 3_600.0), ("s", 1.0)];
    let is_long = |&&(_, unit): &&(&str, f64)| seconds / unit >= 3.0;
    let (name, unit) = units.iter().find(is_long).unwrap_or(&("s", 1.0));
    format!("{:.0} {name}", (seconds / unit).floor())
}

/// What the counters' rows say wrong of the code, in which they have these bits.
pub(crate) fn wrong_counters(page: &str, mut bits: BTreeMap<&str, u32>) -> Vec<String> {
    let mut findings = Vec::new();
    for row in table(page, "Counters that wrap") {
        let (name, said) = (row[0], row[1].parse::<u32>().unwrap());
        match bits.remove(name) {
            Some(found) if found == said => {}
            found => findings.push(format!("{name}: {said} bits, in the code {found:?}")),
        }
        let wraps = wraps_after(said, row[3].parse().unwrap());
        if wraps != row[4] {
            findings.push(format!("{name}: wraps after {}, which is {wraps}", row[4]));
        }
        if row[5].is_empty() {
            findings.push(format!("{name}: no consequence"));
        }
    }
    findings.extend(bits.into_keys().map(|name| format!("{name}: no row")));
    findings
}

/// What the rows of bounds say wrong of the code, which has these.
pub(crate) fn wrong_bounds(page: &str, mut bounds: BTreeMap<&str, u64>) -> Vec<String> {
    let mut findings = Vec::new();
    for row in table(page, "Bounds") {
        let (name, said) = (row[0], row[1].parse::<u64>().unwrap());
        match bounds.remove(name) {
            Some(found) if found == said => {}
            found => findings.push(format!("{name}: {said}, in the code {found:?}")),
        }
        if row[2].is_empty() {
            findings.push(format!("{name}: nothing is said of what lies beyond"));
        }
    }
    findings.extend(bounds.into_keys().map(|name| format!("{name}: no row")));
    findings
}

/// What the page says that a stopped process withholds and no test in these sources shows.
pub(crate) fn unshown(page: &str, sources: &[&str]) -> Vec<String> {
    let rows = table(page, "What a stopped process may withhold").into_iter();
    let is_shown = |name: &str| {
        let function = format!("fn {name}()");
        sources.iter().any(|source| source.contains(&function))
    };
    rows.filter(|row| row.len() != 4 || !is_shown(row[3].trim_matches('`')))
        .map(|row| format!("{}: no test {}", row[0], row.last().unwrap_or(&"")))
        .collect()
}
