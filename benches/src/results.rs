//! One record of `results.json`: what was measured of a cell.

use serde::{Deserialize, Serialize};

use crate::clock::ClockRate;
use crate::pairs::{PAIRS_MIN, PLACEMENTS_MIN, Tally, median_ticks};
use crate::row::{Place, RowName};
use crate::scaling::Scaling;
use crate::tails::TailRatio;
use crate::transfer::Transfer;
use crate::workload::Workload;

/// What was measured of a cell. Names are those of the file; times are of one worker.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The operation sequence.
    pub workload: Workload,
    /// The row.
    pub table: RowName,
    /// Worker processes; threads of one process for a row that cannot be shared.
    pub processes: u32,
    /// Whether the workers are threads of one process.
    pub in_one_process: bool,
    /// Mean bytes of a value.
    pub value_bytes: u64,
    /// Sessions stored when the measurement started.
    pub entries: u64,
    /// Nanoseconds an operation, the median over pairs.
    pub ns_per_op: f64,
    /// Half the distance between the quartiles of that, as a share.
    pub ns_spread: f64,
    /// Lower end of the 95 % interval of the median time.
    pub ns_low: f64,
    /// Upper end.
    pub ns_high: f64,
    /// What it is compared with, window by window.
    pub limit: RowName,
    /// Nanoseconds an operation of the limit.
    pub limit_ns_per_op: f64,
    /// Median of the ratios within pairs.
    pub ratio_to_limit: f64,
    /// Lower quartile of these ratios.
    pub ratio_lower_quartile: f64,
    /// Upper quartile.
    pub ratio_upper_quartile: f64,
    /// Lower end of the 95 % interval of the median ratio.
    pub ratio_low: f64,
    /// Upper end.
    pub ratio_high: f64,
    /// Sets of tables, one after the other, over which medians and their intervals are taken.
    pub placements: usize,
    /// Median latency of a single operation between fences, without the clock's own, in ns.
    pub p50_ns: f64,
    /// The latency that one of a hundred exceeds.
    pub p99_ns: f64,
    /// The latency that one of a thousand exceeds.
    pub p999_ns: f64,
    /// Median latency of the limit, measured in alternation.
    pub limit_p50_ns: f64,
    /// The limit's latency that one of a hundred exceeds.
    pub limit_p99_ns: f64,
    /// The limit's latency that one of a thousand exceeds.
    pub limit_p999_ns: f64,
    /// The median latency against the limit's, where both were measured.
    pub p50_ratio: Option<LatencyRatio>,
    /// Single operations behind the percentiles.
    pub latency_count: u64,
    /// Share of look-ups and takes that found something; `null` if there were none.
    pub hit_ratio: Option<f64>,
    /// Calls on the table an operation: more than 1 where a store evicts.
    pub calls_per_op: f64,
    /// Sessions stored while it was measured.
    pub puts: u64,
    /// Share of the pairs that were dropped because a worker was not running.
    pub dropped: f64,
    /// Shares dropped because a worker was preempted, because it did nothing for longer than its
    /// private work takes, and because the workers did not run at the same time.
    pub dropped_by_reason: [f64; 3],
    /// Pairs that count.
    pub pairs: usize,
    /// Whether at least 30 pairs count and their median is known to a fifth.
    pub conclusive: bool,
    /// Time beside the other workers against alone, where it was measured.
    pub scaling: Option<Scaling>,
    /// The 99.9th percentile against the limit's, where a worker looks up beside one that writes.
    pub tail: Option<TailRatio>,
    /// How far apart the processors of two workers were.
    pub transfer: Option<Transfer>,
    /// What reading the clock costs, in ns; subtracted from the latencies.
    pub clock_ns: f64,
}

/// The median latency of single operations against the limit's, measured in alternation.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct LatencyRatio {
    /// The median over placements.
    pub ratio: f64,
    /// Lower end of what that is known to lie in.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What a record is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subject {
    /// The operation sequence.
    pub workload: Workload,
    /// The row.
    pub table: RowName,
    /// What it is compared with.
    pub limit: RowName,
    /// Workers.
    pub processes: u32,
    /// Mean bytes of a value.
    pub value_bytes: u64,
    /// Sessions stored when the measurement started.
    pub entries: u64,
}

impl Record {
    /// The record of a tally, or `None` if nothing was measured.
    pub fn new(
        subject: &Subject,
        tally: &Tally,
        rate: ClockRate,
        overhead_ticks: f64,
    ) -> Option<Self> {
        let verdict = tally.verdict()?;
        let totals = tally.totals();
        let (row, limit) = (&tally.row_latencies(), &tally.limit_latencies());
        let ns = |ticks: f64| rate.ns_of((ticks - overhead_ticks).max(0.0));
        let percentile = |histogram: &hdrhistogram::Histogram<u64>, share: f64| {
            ns(histogram.value_at_quantile(share) as f64)
        };
        let median = |histogram| ns(median_ticks(histogram).unwrap_or(0.0));
        let p50_ratio = tally.latency_ratio(overhead_ticks);
        Some(Self {
            workload: subject.workload,
            table: subject.table,
            processes: subject.processes,
            in_one_process: subject.table.place() == Place::Threads,
            value_bytes: subject.value_bytes,
            entries: subject.entries,
            ns_per_op: verdict.row_ns.median,
            ns_spread: verdict.row_ns.spread(),
            ns_low: verdict.row_ns.median_low,
            ns_high: verdict.row_ns.median_high,
            limit: subject.limit,
            limit_ns_per_op: verdict.limit_ns.median,
            ratio_to_limit: verdict.ratio.median,
            ratio_lower_quartile: verdict.ratio.lower_quartile,
            ratio_upper_quartile: verdict.ratio.upper_quartile,
            ratio_low: verdict.ratio.median_low,
            ratio_high: verdict.ratio.median_high,
            placements: verdict.placements,
            p50_ns: median(row),
            p99_ns: percentile(row, 0.99),
            p999_ns: percentile(row, 0.999),
            limit_p50_ns: median(limit),
            limit_p99_ns: percentile(limit, 0.99),
            limit_p999_ns: percentile(limit, 0.999),
            p50_ratio: p50_ratio.map(|summary| LatencyRatio {
                ratio: summary.median,
                low: summary.median_low,
                high: summary.median_high,
            }),
            latency_count: row.len(),
            hit_ratio: (totals.lookups > 0).then(|| totals.hits as f64 / totals.lookups as f64),
            calls_per_op: totals.calls as f64 / totals.operations.max(1) as f64,
            puts: totals.puts,
            dropped: tally.dropped_share(),
            dropped_by_reason: tally.dropped_by_reason(),
            pairs: verdict.kept,
            conclusive: verdict.conclusive,
            scaling: tally.scaling(),
            tail: tally.tails().ratio(overhead_ticks),
            transfer: None,
            clock_ns: rate.ns_of(overhead_ticks),
        })
    }

    /// Whether enough was measured for its intervals to be what they say, however long they are.
    pub fn is_enough(&self) -> bool {
        self.pairs >= PAIRS_MIN && self.placements >= PLACEMENTS_MIN
    }
}

#[cfg(test)]
pub(crate) fn record(workload: Workload, table: RowName, processes: u32, ratio: f64) -> Record {
    // Few digits, so that text gives the same numbers back.
    let times = |factor: f64| (ratio * factor * 1000.0).round() / 1000.0;
    Record {
        workload,
        table,
        processes,
        in_one_process: table.place() == Place::Threads,
        value_bytes: 200,
        entries: 100_000,
        ns_per_op: times(100.0),
        ns_spread: 0.05,
        ns_low: times(99.0),
        ns_high: times(101.0),
        limit: RowName::LimitRead,
        limit_ns_per_op: 100.0,
        ratio_to_limit: ratio,
        ratio_lower_quartile: times(0.95),
        ratio_upper_quartile: times(1.05),
        ratio_low: times(0.99),
        ratio_high: times(1.01),
        placements: PLACEMENTS_MIN,
        p50_ns: times(200.0),
        p99_ns: times(800.0),
        p999_ns: times(2000.0),
        limit_p50_ns: 200.0,
        limit_p99_ns: 800.0,
        limit_p999_ns: 2000.0,
        p50_ratio: Some(LatencyRatio { ratio, low: times(0.99), high: times(1.01) }),
        latency_count: 10_000,
        hit_ratio: Some(1.0),
        calls_per_op: 1.0,
        puts: 0,
        dropped: 0.01,
        dropped_by_reason: [0.01, 0.0, 0.0],
        pairs: 500,
        conclusive: true,
        scaling: None,
        tail: None,
        transfer: None,
        clock_ns: 20.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_the_fields_that_readers_rely_on_and_survives_json() {
        let record = record(Workload::RustlsTls13, RowName::CasBucket, 2, 1.5);
        let text = serde_json::to_string(std::slice::from_ref(&record)).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let fields = value[0].as_object().unwrap();
        for name in [
            "workload",
            "table",
            "processes",
            "value_bytes",
            "entries",
            "ns_per_op",
            "limit",
            "ratio_to_limit",
            "p50_ns",
            "p99_ns",
            "p999_ns",
            "hit_ratio",
            "dropped",
            "conclusive",
            "scaling",
            "tail",
            "transfer",
        ] {
            assert!(fields.contains_key(name), "{name} is missing");
        }
        assert_eq!(fields["workload"], "rustls_tls13");
        assert_eq!(fields["table"], "cas_bucket");
        assert_eq!(fields["limit"], "limit_read");
        let back: Vec<Record> = serde_json::from_str(&text).unwrap();
        assert_eq!(back, [record]);
    }
}
