//! The litmus table as rows of a report.

use super::Row;
use super::report::Report;
use crate::litmus::{ENGINES, shapes};

/// Runs every litmus shape on every engine and tells `observe` of each row.
pub fn run_litmus(mut observe: impl FnMut(&Row)) -> Report {
    let started = std::time::Instant::now();
    let mut rows = Vec::new();
    for shape in shapes() {
        for (index, engine) in ENGINES.into_iter().enumerate() {
            let row = Row::of_shape(shape, index, engine);
            observe(&row);
            rows.push(row);
        }
    }
    Report::new(rows, 0, started.elapsed())
}
