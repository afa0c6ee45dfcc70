//! Every goal, by table.

use super::{Goal, Heading, Known, Run, Verdict, latency, ratio};
use crate::churn::{Churn, Fill};
use crate::footprint::Footprint;
use crate::results::Record;
use crate::row::RowName;
use crate::tails::TailRatio;
use crate::transfer::Transfer;
use crate::workload::Workload;

/// What a run measured, as far as goals depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The cells.
    pub records: &'a [Record],
    /// The churns.
    pub churns: &'a [Churn],
    /// What entries cost in memory.
    pub footprints: &'a [Footprint],
    /// How values are copied: what a copy may cost depends on it.
    pub copy_kind: &'a str,
}

/// What a run says about every goal.
pub fn judge(evidence: &Evidence<'_>) -> Vec<Goal> {
    let mut judge =
        Judge { run: Run(evidence.records), heading: Heading::CasBucket, goals: Vec::new() };
    judge.reads(evidence.copy_kind);
    judge.mixes();
    judge.two_processes();
    judge.peers();
    for heading in Heading::ALL {
        judge.heading = heading;
        judge.churns(evidence.churns);
        match heading {
            Heading::CasBucket => judge.memory(evidence.footprints),
            Heading::Chained => judge.chained(),
            Heading::RobinHood => judge.robin_hood(),
        }
    }
    judge.goals
}

const OURS: RowName = RowName::CasBucket;

struct Judge<'a> {
    run: Run<'a>,
    heading: Heading,
    goals: Vec<Goal>,
}

/// The remarks that there are, as one.
fn joined(remarks: [Option<String>; 2]) -> Option<String> {
    remarks.into_iter().flatten().reduce(|one, next| format!("{one}, {next}"))
}

/// How far apart the processors were while two workers ran.
fn distance(Transfer { ns, least_ns, most_ns }: Transfer) -> String {
    format!("a line came to the other in {ns:.0} ns ({least_ns:.0} to {most_ns:.0})")
}

/// On which side of the bound the goal lies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Relation {
    AtMost,
    AtLeast,
}

/// What a bound counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Times,
    Bytes,
}

impl Judge<'_> {
    /// Single look-ups and batches of one process against their limit.
    fn reads(&mut self, copy_kind: &str) {
        let cell = |judge: &Self, workload| judge.run.cell(workload, OURS, 1);
        for (workload, entries, bound) in [
            (Workload::Read1e4, "1e4", 1.6),
            (Workload::Read, "1e5", 1.6),
            (Workload::Read1e6, "1e6", 1.9),
        ] {
            let text = format!("get hit in a loop, {entries} entries, p1, against limit_read");
            let record = cell(self, workload);
            let entries = record.map(|record| format!("{} entries", record.entries));
            let note = joined([entries, self.unsynchronised(workload, |it| Some(ratio(it)))]);
            self.blurred(&text, (workload, 1), record.map(ratio), Relation::AtMost, bound, note);
        }
        let read = cell(self, Workload::Read);
        let text = "get hit alone (p50 between fences), p1, against limit_read";
        let note = self.unsynchronised(Workload::Read, latency);
        self.blurred(
            text,
            (Workload::Read, 1),
            read.and_then(latency),
            Relation::AtMost,
            1.15,
            note,
        );
        let many = cell(self, Workload::ReadMany).map(ratio);
        let text = "get_many of 8, p1, against the limit's batch of 8";
        self.blurred(text, (Workload::ReadMany, 1), many, Relation::AtMost, 1.4, None);
        let bound = if copy_kind == "avx512" { 1.15 } else { 1.5 };
        let long = cell(self, Workload::Read1500).map(ratio);
        let text = format!("get hit of 1.5 KB, copied with {copy_kind}, p1, against limit_read");
        let note = self.unsynchronised(Workload::Read1500, |it| Some(ratio(it)));
        self.blurred(&text, (Workload::Read1500, 1), long, Relation::AtMost, bound, note);
    }

    /// What a table takes that shares nothing, checks nothing, and has a part of the key for its
    /// hash: it probes, compares and copies.
    fn unsynchronised(
        &self,
        workload: Workload,
        of: fn(&Record) -> Option<Known>,
    ) -> Option<String> {
        let known = of(self.run.cell(workload, RowName::LimitProbe, 1)?)?;
        Some(format!("limit_probe, which shares nothing, {:.2}x", known.value))
    }

    fn mixes(&mut self) {
        for (name, workload, bound) in [
            ("read-mostly", Workload::OpensslTls12, 2.0),
            ("insert-dominated", Workload::RustlsTls13, 2.2),
        ] {
            let text = format!("{name} ({}), p1, against limit_probe", workload.name());
            let known = self.run.cell(workload, OURS, 1).map(ratio);
            self.blurred(&text, (workload, 1), known, Relation::AtMost, bound, None);
        }
    }

    /// What a second process costs. Look-ups alone and beside each other run in alternation in one
    /// place, so that luck of placement is no part of it. That would hide what stores cost: while a
    /// worker rests, what it wrote stays in its cache. So theirs are times of two cells.
    fn two_processes(&mut self) {
        let text = |workload: Workload| format!("{}, each of 2 processes", workload.name());
        let limit = self.run.scaling(Workload::Read, RowName::LimitRead);
        let note = limit.map(|limit| format!("limit_read itself {:.2}x", limit.value));
        let known = self.run.scaling(Workload::Read, OURS);
        let name = text(Workload::Read) + ", against alone";
        self.sharp(&name, known, Relation::AtMost, 1.1, note);
        for (workload, bound) in [(Workload::OpensslTls12, 1.5), (Workload::RustlsTls13, 1.6)] {
            let beside = self.run.scaling(workload, OURS);
            let parts = [
                beside.map(|known| format!("{:.2}x against a resting neighbour", known.value)),
                self.run.transfer(workload, OURS),
            ];
            let note = joined(parts);
            let known = self.run.against_alone(workload, OURS);
            let name = text(workload) + ", against one";
            self.blurred(&name, (workload, 2), known, Relation::AtMost, bound, note);
        }
        let tail = self.run.cell(Workload::BesideWriter, OURS, 2).and_then(|record| record.tail);
        let known = tail.map(|TailRatio { ratio: value, low, high, conclusive, .. }| Known {
            value,
            low,
            high,
            conclusive,
        });
        let text = "p99.9 of get while the other process writes, against limit_read";
        self.sharp(text, known, Relation::AtMost, 1.3, None);
    }

    fn peers(&mut self) {
        let profiles = || Workload::ALL.into_iter().filter(|workload| workload.is_profile());
        let first = [(Workload::Read, 4.0), (Workload::OpensslTls12, 3.0)];
        let others = profiles().filter(|&workload| workload != Workload::Read);
        for (workload, bound) in first.into_iter().chain(others.map(|workload| (workload, 2.5))) {
            let text = format!("faster than mutex_slab, {}, p2", workload.name());
            let (factor, note) = self.duel(workload, 2, RowName::MutexSlab, OURS);
            self.blurred(&text, (workload, 2), factor, Relation::AtLeast, bound, note);
        }
        for peer in [RowName::Lmdb, RowName::Papaya] {
            for workload in profiles() {
                for processes in [1, 2] {
                    let text =
                        format!("ahead of {}, {}, p{processes}", peer.label(), workload.name());
                    let (factor, note) = match peer {
                        RowName::Papaya => self.duel(workload, processes, peer, OURS),
                        _ => (self.run.factor(workload, processes, peer, OURS), None),
                    };
                    self.blurred(
                        &text,
                        (workload, processes),
                        factor,
                        Relation::AtLeast,
                        1.0,
                        note,
                    );
                }
            }
        }
    }

    /// How much longer a peer takes than a table, and how far apart the processors were meanwhile.
    fn duel(
        &self,
        workload: Workload,
        processes: u32,
        peer: RowName,
        table: RowName,
    ) -> (Option<Known>, Option<String>) {
        let duel = self.run.duel(workload, processes, peer, table);
        let note = duel.and_then(|(record, _)| record.transfer).map(distance);
        (duel.map(|(_, known)| known), note)
    }

    /// Old tables beside new ones, which lie in other places.
    fn churns(&mut self, churns: &[Churn]) {
        for (fill, name) in [(Fill::Half, "half full"), (Fill::NineTenths, "90 % full")] {
            for processes in [1, 2] {
                let found = churns.iter().find(|churn| {
                    (churn.table, churn.processes, churn.fill)
                        == (self.heading.table(), processes, fill)
                });
                let text = format!("churn, table {name}, p{processes}: last tenth against a first");
                let known = found.map(|churn| Known {
                    value: churn.slow_down,
                    low: churn.low,
                    high: churn.high,
                    conclusive: churn.conclusive,
                });
                let note =
                    found.map(|churn| format!("own first tenth {:.2}x", churn.against_own_first));
                self.blurred(
                    &text,
                    (Workload::RustlsTls13, processes),
                    known,
                    Relation::AtMost,
                    1.1,
                    note,
                );
            }
        }
    }

    fn memory(&mut self, footprints: &[Footprint]) {
        let found = footprints.iter().find(|footprint| footprint.table == OURS);
        let note = found.map(|footprint| {
            format!(
                "{:.1} outside of blocks, {:.1} in them; {} entries",
                footprint.outside, footprint.within, footprint.entries
            )
        });
        let known = found.map(|footprint| Known::exactly(footprint.beyond()));
        let text = "memory an entry beyond key and value, at default load".to_owned();
        self.add(text, known, Relation::AtMost, (64.0, Unit::Bytes), note);
    }

    fn chained(&mut self) {
        for workload in [Workload::Read, Workload::RustlsTls13] {
            for (processes, bound) in [(1, 1.6), (2, 1.3)] {
                let text = format!("time against mutex_slab, {}, p{processes}", workload.name());
                let (ours, slab) = (RowName::Chained, RowName::MutexSlab);
                let (factor, note) = match processes {
                    1 => (self.run.factor(workload, 1, ours, slab), None),
                    _ => {
                        let (factor, note) = self.duel(workload, processes, slab, ours);
                        (factor.map(Known::inverse), note)
                    }
                };
                self.blurred(&text, (workload, processes), factor, Relation::AtMost, bound, note);
            }
        }
    }

    fn robin_hood(&mut self) {
        for (workload, bound) in [(Workload::Read, 1.5), (Workload::RustlsTls13, 2.0)] {
            let text = format!("time against cas_bucket, {}, p1", workload.name());
            let factor = self.run.factor(workload, 1, RowName::RobinHood, OURS);
            self.blurred(&text, (workload, 1), factor, Relation::AtMost, bound, None);
        }
    }

    /// A goal for what is no better known than the run can resolve in a workload.
    fn blurred(
        &mut self,
        text: &str,
        (workload, processes): (Workload, u32),
        known: Option<Known>,
        relation: Relation,
        bound: f64,
        note: Option<String>,
    ) {
        let blur = self.run.resolution(workload, processes);
        let known = known.map(|known| known.blurred(blur));
        self.sharp(text, known, relation, bound, note);
    }

    fn sharp(
        &mut self,
        text: &str,
        known: Option<Known>,
        relation: Relation,
        bound: f64,
        note: Option<String>,
    ) {
        self.add(text.to_owned(), known, relation, (bound, Unit::Times), note);
    }

    fn add(
        &mut self,
        text: String,
        known: Option<Known>,
        relation: Relation,
        (bound, unit): (f64, Unit),
        note: Option<String>,
    ) {
        let how = if relation == Relation::AtMost { "at most" } else { "at least" };
        let (bound_text, measured) = match unit {
            Unit::Times => (
                format!("{bound}x"),
                known.map(|k| format!("{:.2}x ({:.2}–{:.2})", k.value, k.low, k.high)),
            ),
            Unit::Bytes => {
                (format!("{bound} bytes"), known.map(|k| format!("{:.1} bytes", k.value)))
            }
        };
        let note = note.map_or_else(String::new, |note| format!("; {note}"));
        let verdict = |known: Known| match relation {
            Relation::AtMost => known.at_most(bound),
            Relation::AtLeast => known.at_least(bound),
        };
        self.goals.push(Goal {
            heading: self.heading,
            text: format!("{text}: {how} {bound_text}"),
            measured: measured.map_or_else(|| "–".to_owned(), |measured| measured + &note),
            bound,
            verdict: known.map_or(Verdict::NotMeasured, verdict),
            known,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::record;
    use crate::scaling::Scaling;
    use crate::transfer::Transfer;

    /// What the records alone say.
    fn goals(records: &[Record]) -> Vec<Goal> {
        judge(&Evidence { records, churns: &[], footprints: &[], copy_kind: "avx2" })
    }

    fn verdict_of(goals: &[Goal], start: &str) -> Verdict {
        goals.iter().find(|goal| goal.text.starts_with(start)).expect(start).verdict
    }

    const LOOP: &str = "get hit in a loop, 1e5";

    #[test]
    fn a_goal_is_met_missed_or_open_by_its_whole_interval() {
        let read = |value| verdict_of(&goals(&[record(Workload::Read, OURS, 1, value)]), LOOP);
        assert_eq!(read(1.4), Verdict::Met);
        assert_eq!(read(1.8), Verdict::NotMet);
        assert_eq!(read(1.55), Verdict::Inconclusive);
        assert_eq!(verdict_of(&goals(&[]), LOOP), Verdict::NotMeasured);
    }

    #[test]
    fn what_a_limit_differs_from_itself_blurs_the_verdicts_of_its_workload() {
        let itself = |workload, ratio| Record {
            limit: RowName::LimitRead,
            ratio_low: ratio,
            ..record(workload, RowName::LimitRead, 1, ratio)
        };
        let judged = |ratio, other| {
            let others = [itself(Workload::Read, ratio), itself(Workload::Read1e6, other)];
            let records = [vec![record(Workload::Read, OURS, 1, 1.8)], others.to_vec()].concat();
            (Run(&records).resolution(Workload::Read, 1), verdict_of(&goals(&records), LOOP))
        };
        let (resolution, verdict) = judged(1.25, 1.0);
        assert!((resolution - 0.2625).abs() < 0.001 && verdict == Verdict::Inconclusive);
        assert_eq!(judged(1.0, 1.25).1, Verdict::NotMet);
        let alone = [itself(Workload::Read1e6, 1.25)];
        assert!((Run(&alone).resolution(Workload::Read, 1) - 0.2625).abs() < 0.001);
    }

    #[test]
    fn a_cell_of_too_few_pairs_or_placements_never_meets_a_goal() {
        let fast = record(Workload::Read, OURS, 1, 1.1);
        let verdict = |fast: Record| verdict_of(&goals(&[fast]), LOOP);
        assert_eq!(verdict(fast.clone()), Verdict::Met);
        assert_eq!(verdict(Record { pairs: 29, ..fast.clone() }), Verdict::Inconclusive);
        assert_eq!(verdict(Record { placements: 5, ..fast }), Verdict::Inconclusive);
    }

    #[test]
    fn peers_are_compared_in_the_same_cell_and_the_losses_are_listed() {
        let records = [
            record(Workload::Read, OURS, 2, 1.5),
            duel(RowName::MutexSlab, 5.0),
            record(Workload::Read, RowName::Papaya, 2, 1.2),
            record(Workload::Read, RowName::Papaya, 1, 0.1),
            duel(RowName::Papaya, 0.8),
        ];
        let goals = goals(&records);
        assert_eq!(verdict_of(&goals, "faster than mutex_slab, read"), Verdict::Met);
        assert_eq!(verdict_of(&goals, "ahead of papaya*, read, p2"), Verdict::NotMet);
        assert_eq!(verdict_of(&goals, "ahead of papaya*, read, p1"), Verdict::NotMeasured);
        let ahead = Run(&records).ahead_of(OURS);
        assert_eq!(ahead.len(), 1);
        assert!((ahead[0].1 - 1.25).abs() < 1e-9);
    }

    /// Look-ups of a peer that take so many times what they take in the default table.
    fn duel(peer: RowName, ratio: f64) -> Record {
        Record { limit: OURS, ..record(Workload::Read, peer, 2, ratio) }
    }

    #[test]
    fn a_mutex_is_compared_with_in_alternation_and_cells_do_not_count() {
        let verdict =
            |records: &[Record]| verdict_of(&goals(records), "faster than mutex_slab, read");
        let cells = [
            record(Workload::Read, OURS, 2, 1.5),
            record(Workload::Read, RowName::MutexSlab, 2, 75.0),
        ];
        assert_eq!(verdict(&cells), Verdict::NotMeasured);
        let with = |ratio| [cells.to_vec(), vec![duel(RowName::MutexSlab, ratio)]].concat();
        assert_eq!(verdict(&with(5.0)), Verdict::Met);
        assert_eq!(verdict(&with(4.0)), Verdict::Inconclusive);
        assert_eq!(verdict(&with(3.0)), Verdict::NotMet);
    }

    #[test]
    fn cells_of_processors_that_have_moved_are_known_to_a_factor_of_two() {
        let at = |ns: f64| Some(Transfer { ns, least_ns: ns, most_ns: ns });
        let verdict = |ours, peers, ratio| {
            let cell = |table, ratio, transfer| Record {
                transfer,
                ..record(Workload::Read, table, 2, ratio)
            };
            let records = [cell(OURS, 1.5, ours), cell(RowName::Lmdb, ratio, peers)];
            verdict_of(&goals(&records), "ahead of lmdb, read, p2")
        };
        assert_eq!(verdict(at(21.0), at(22.0), 1.8), Verdict::Met);
        assert_eq!(verdict(at(150.0), at(160.0), 1.3), Verdict::NotMet);
        assert_eq!(verdict(at(21.0), at(150.0), 2.0), Verdict::Inconclusive);
        assert_eq!(verdict(at(150.0), at(21.0), 1.0), Verdict::Inconclusive);
        assert_eq!(verdict(at(21.0), at(150.0), 4.0), Verdict::Met);
        assert_eq!(verdict(at(21.0), at(150.0), 0.5), Verdict::NotMet);
        assert_eq!(verdict(None, None, 1.8), Verdict::Met);
    }

    #[test]
    fn what_two_store_is_compared_with_what_one_stores_in_its_own_cell() {
        let verdict = |ratio| {
            let two = Record { scaling: None, ..record(Workload::RustlsTls13, OURS, 2, ratio) };
            let records = [record(Workload::RustlsTls13, OURS, 1, 2.0), two];
            verdict_of(&goals(&records), "rustls_tls13, each of 2 processes")
        };
        assert_eq!(verdict(2.2), Verdict::Met);
        assert_eq!(verdict(4.0), Verdict::NotMet);
        assert_eq!(verdict(3.2), Verdict::Inconclusive);
    }

    #[test]
    fn a_second_process_that_costs_too_much_misses_the_goal_whatever_one_alone_took_before() {
        let scaled = |ratio: f64| {
            let mut two = record(Workload::Read, OURS, 2, 1.5);
            let (low, high) = (ratio * 0.99, ratio * 1.01);
            let base = Scaling {
                ratio,
                low,
                high,
                spread: 0.02,
                rounds: 500,
                dropped: 0.0,
                conclusive: true,
            };
            two.scaling = Some(base);
            // Another time of another minute, twice as fast: no part of the answer.
            let mut one = record(Workload::Read, OURS, 1, 1.5);
            one.ns_per_op /= 2.0;
            verdict_of(&goals(&[one, two]), "read, each of 2 processes")
        };
        assert_eq!(scaled(1.02), Verdict::Met);
        assert_eq!(scaled(1.3), Verdict::NotMet);
        assert_eq!(scaled(1.1), Verdict::Inconclusive);
    }

    #[test]
    fn a_long_tail_beside_a_writer_misses_the_goal() {
        let tail = |ratio: f64| {
            let mut beside = record(Workload::BesideWriter, OURS, 2, 1.1);
            let (low, high) = (ratio * 0.9, ratio * 1.1);
            let (blocks, samples) = (30, 300_000);
            beside.tail = Some(TailRatio { ratio, low, high, blocks, samples, conclusive: true });
            verdict_of(&goals(&[beside]), "p99.9 of get")
        };
        assert_eq!(tail(1.0), Verdict::Met);
        assert_eq!(tail(2.0), Verdict::NotMet);
        assert_eq!(tail(1.3), Verdict::Inconclusive);
    }

    #[test]
    fn a_copy_in_wide_registers_is_held_to_more() {
        let records = [record(Workload::Read1500, OURS, 1, 1.3)];
        let verdict = |copy_kind| {
            let goals =
                judge(&Evidence { records: &records, churns: &[], footprints: &[], copy_kind });
            verdict_of(&goals, "get hit of 1.5 KB")
        };
        assert_eq!(verdict("avx2"), Verdict::Met);
        assert_eq!(verdict("avx512"), Verdict::NotMet);
    }

    #[test]
    fn each_table_has_its_own_goals_of_churn_and_memory_is_exact() {
        let churn = |table, slow_down: f64| Churn {
            table,
            processes: 2,
            fill: Fill::NineTenths,
            entries: 18_000,
            capacity: 20_000,
            sessions: 2_000_000,
            takes: 0,
            evictions: 0,
            slow_down,
            low: slow_down * 0.98,
            high: slow_down * 1.02,
            conclusive: true,
            against_own_first: slow_down,
        };
        let footprint = Footprint {
            table: OURS,
            entries: 100_000,
            segment_bytes: 0,
            outside: 40.0,
            within: 24.0,
            spare: 0.0,
            best: (1, 0.0),
            worst: (1, 0.0),
        };
        let goals = judge(&Evidence {
            records: &[],
            churns: &[churn(OURS, 1.0), churn(RowName::RobinHood, 1.5)],
            footprints: &[footprint],
            copy_kind: "avx2",
        });
        let of = |heading| {
            let mut goals = goals.iter().filter(move |goal| goal.heading == heading);
            goals.find(|goal| goal.text.starts_with("churn, table 90 % full, p2")).unwrap().verdict
        };
        assert_eq!(of(Heading::CasBucket), Verdict::Met);
        assert_eq!(of(Heading::RobinHood), Verdict::NotMet);
        assert_eq!(of(Heading::Chained), Verdict::NotMeasured);
        assert_eq!(verdict_of(&goals, "memory an entry"), Verdict::Met);
    }
}
