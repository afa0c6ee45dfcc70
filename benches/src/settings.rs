//! What a run measures and for how long: the full set, or the quick one.

use std::time::Duration;

use regex::Regex;

use crate::churn::{ChurnName, Fill};
use crate::fault::Fault;
use crate::pairs::{PLACEMENTS, PLACEMENTS_OF_MOST_GOALS};
use crate::row::RowName;
use crate::workload::Workload;

/// Set to anything but `0` for the quick set.
pub const QUICK_VARIABLE: &str = "SHM_BENCH_QUICK";

/// Directory for the tables in place of `/dev/shm`; `memfd` for unnamed files in memory.
pub const DIRECTORY_VARIABLE: &str = "SHM_BENCH_DIRECTORY";

/// Numbers of worker processes, as `1,2,4,8`, in place of one and two.
pub const PROCESSES_VARIABLE: &str = "SHM_BENCH_PROCESSES";

/// What is printed for `--help`, before criterion's own options.
pub const HELP: &str = "\
What does a TLS server pay for a cache operation, and how far is that from what the memory allows?

  cargo bench                                  everything: about 8 minutes after the build
  cargo bench --bench comparison -- --quick    fewer cells, shorter, smaller tables: about a minute
  cargo bench --bench comparison -- cas_bucket cells whose id matches, as criterion does
  cargo bench --bench comparison -- '^rustls_tls13/.*/p2$'

Ids read workload/table/pN, N worker processes: rustls_tls13/cas_bucket/p2. Beside the cells of
criterion, churn/table/pN and churn_90/table/pN store and give up a hundred generations of sessions
in a table that is half full, and in one that holds nine of ten of the entries it was made for;
memory/table counts bytes an entry. workload/peer_against_table/pN runs the two of them window by
window.

  SHM_BENCH_QUICK=1        as --quick
  SHM_BENCH_DIRECTORY=DIR  where the tables lie, instead of /dev/shm; `memfd` for unnamed files
  SHM_BENCH_PROCESSES=1,4  numbers of workers, instead of 1,2; with as many processors as workers

The comparison is printed at the end and written to target/comparison/index.html (plots) and
target/comparison/results.json, with every goal and whether this run met it. Ratios are within
pairs of windows of the row and its limit; criterion's own report under target/criterion has the row
alone. Criterion's options follow.
";

/// What a run measures and for how long.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// Whether this is the quick set.
    pub quick: bool,
    /// The operation sequences.
    pub workloads: Vec<Workload>,
    /// Sessions stored at any time.
    pub entries: u64,
    /// Numbers of worker processes.
    pub processes: Vec<u32>,
    /// Length of a window of the row, in nanoseconds; its limit makes as many operations.
    pub window_ns: f64,
    /// Criterion's warm-up of a cell.
    pub warm_up: Duration,
    /// Criterion's measurement of a cell.
    pub measurement: Duration,
    /// How often a cell makes its tables anew.
    pub placements: usize,
    /// The same of `cas_bucket`, of duels with it, and of limits paired with themselves.
    pub placements_of_most_goals: usize,
    /// Time spent on single operations of a cell.
    pub latency: Duration,
    /// Time spent on windows of all workers and of each alone.
    pub scaling: Duration,
    /// Sessions stored at any time by the churn check.
    pub churn_entries: u64,
    /// How many times so many are stored and given up.
    pub generations: u64,
    /// Seed of all choices.
    pub seed: u64,
}

impl Settings {
    /// The full set: what the figures are made of.
    pub fn full() -> Self {
        Self {
            quick: false,
            workloads: Workload::ALL.to_vec(),
            entries: 100_000,
            processes: vec![1, 2],
            window_ns: 200_000.0,
            warm_up: Duration::from_millis(300),
            measurement: Duration::from_millis(1500),
            placements: PLACEMENTS,
            placements_of_most_goals: PLACEMENTS_OF_MOST_GOALS,
            latency: Duration::from_millis(480),
            scaling: Duration::from_millis(500),
            churn_entries: 20_000,
            generations: 100,
            seed: 0x5e55_1045,
        }
    }

    /// Fewer workloads, smaller tables, a fifth of the time.
    pub fn quick() -> Self {
        Self {
            quick: true,
            workloads: Workload::ALL
                .into_iter()
                .filter(|workload| {
                    !matches!(workload, Workload::RustlsTls13Sizes | Workload::OpensslTls12R60)
                })
                .collect(),
            entries: 20_000,
            placements_of_most_goals: PLACEMENTS,
            warm_up: Duration::from_millis(100),
            measurement: Duration::from_millis(500),
            latency: Duration::from_millis(200),
            scaling: Duration::from_millis(150),
            churn_entries: 5_000,
            ..Self::full()
        }
    }

    /// How often a cell makes its tables anew.
    pub fn placements(&self, cell: CellName) -> usize {
        let of_most_goals = [RowName::CasBucket, RowName::LimitRead, RowName::LimitProbe];
        let mut rows = [Some(cell.table), cell.against].into_iter().flatten();
        match rows.any(|row| of_most_goals.contains(&row)) {
            true => self.placements_of_most_goals,
            false => self.placements,
        }
    }

    /// What the environment and criterion's `--quick` ask for.
    pub fn from_environment() -> Result<Self, Fault> {
        let variable = std::env::var_os(QUICK_VARIABLE);
        let is_quick = variable.is_some_and(|value| !value.is_empty() && value != "0")
            || std::env::args().any(|argument| argument == "--quick");
        let settings = if is_quick { Self::quick() } else { Self::full() };
        match std::env::var(PROCESSES_VARIABLE) {
            Ok(text) => Ok(Self { processes: numbers_of_processes(&text)?, ..settings }),
            Err(_) => Ok(settings),
        }
    }

    /// The cells, in order: one and two processes of a row are measured one after the other.
    pub fn cells(&self) -> Vec<CellName> {
        let mut cells = Vec::new();
        for &workload in &self.workloads {
            for &table in RowName::ALL {
                let cells_of = self.processes.iter().map(|&processes| CellName {
                    table,
                    processes,
                    ..CellName::of(workload)
                });
                cells.extend(cells_of.filter(|cell| cell.can_run()));
            }
        }
        cells
    }

    /// The duels, in order: a peer and one of our tables, window by window. Where the processors
    /// lie changes from cell to cell, and what waits for a lock takes that otherwise than what does
    /// not.
    pub fn duels(&self) -> Vec<CellName> {
        let mut duels = Vec::new();
        let profiles = self.workloads.iter().filter(|workload| workload.is_profile());
        for (&workload, processes) in
            profiles.flat_map(|workload| [1, 2].map(|processes| (workload, processes)))
        {
            let is_old_pair = matches!(workload, Workload::Read | Workload::RustlsTls13);
            for (table, against, is_asked) in [
                (RowName::MutexSlab, RowName::CasBucket, processes == 2),
                (RowName::MutexSlab, RowName::Chained, processes == 2 && is_old_pair),
                (RowName::Papaya, RowName::CasBucket, true),
            ] {
                let duel = CellName { workload, table, processes, against: Some(against) };
                duels.extend((is_asked && self.processes.contains(&processes)).then_some(duel));
            }
        }
        duels
    }

    /// The churns, in order.
    pub fn churns(&self) -> Vec<ChurnName> {
        let mut churns = Vec::new();
        for table in RowName::OURS {
            for &processes in &self.processes {
                churns.extend(Fill::ALL.map(|fill| ChurnName { table, processes, fill }));
            }
        }
        churns
    }
}

/// Reads numbers of workers: ascending, as many as there are processors at most.
fn numbers_of_processes(text: &str) -> Result<Vec<u32>, Fault> {
    let numbers: Option<Vec<u32>> = text.split(',').map(|word| word.trim().parse().ok()).collect();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let fits = |numbers: &Vec<u32>| {
        let are_ascending = numbers.is_sorted_by(|one, next| one < next);
        are_ascending && numbers.iter().all(|&one| one > 0 && one as usize <= processors)
    };
    numbers.filter(fits).ok_or_else(|| {
        let problem = format!("{text:?} is no ascending list of numbers from 1 to {processors}");
        Fault::setup(PROCESSES_VARIABLE, "read", problem)
    })
}

/// Options of criterion that are followed by a value.
const OPTIONS_WITH_VALUE: [&str; 16] = [
    "--color",
    "--save-baseline",
    "--baseline",
    "--baseline-lenient",
    "--format",
    "--profile-time",
    "--load-baseline",
    "--sample-size",
    "--warm-up-time",
    "--measurement-time",
    "--nresamples",
    "--noise-threshold",
    "--confidence-level",
    "--significance-level",
    "--plotting-backend",
    "--output-format",
];

/// How criterion will be asked to run, as far as progress and the checks beside it depend on it.
#[derive(Clone, Debug)]
pub struct Selection {
    filter: Option<Regex>,
    is_exact: bool,
    /// Whether anything is measured: not for a list of ids or a mere trial of each.
    pub measures: bool,
}

impl Selection {
    /// Reads the arguments as criterion does.
    pub fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut filter = None;
        let mut is_exact = false;
        let mut measures = true;
        while let Some(argument) = arguments.next() {
            if OPTIONS_WITH_VALUE.contains(&argument.as_str()) {
                arguments.next();
            } else if argument == "--exact" {
                is_exact = true;
            } else if matches!(argument.as_str(), "--list" | "--test" | "--help" | "-h") {
                measures = false;
            } else if !argument.starts_with('-') {
                filter = Some(argument);
            }
        }
        let filter = filter.map(|filter| {
            let filter = if is_exact { regex::escape(&filter) } else { filter };
            // What criterion cannot read either, it reports itself.
            Regex::new(&filter).unwrap_or_else(|_| Regex::new("").expect("matches everything"))
        });
        Self { filter, is_exact, measures }
    }

    /// Whether criterion will run the cell.
    pub fn includes(&self, id: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| match filter.find(id) {
            Some(found) => !self.is_exact || found.len() == id.len(),
            None => false,
        })
    }
}

/// A cell of the comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CellName {
    /// The operation sequence.
    pub workload: Workload,
    /// The row.
    pub table: RowName,
    /// Workers.
    pub processes: u32,
    /// What it is paired with in place of its limit.
    pub against: Option<RowName>,
}

impl CellName {
    /// The default table with one worker.
    pub const fn of(workload: Workload) -> Self {
        Self { workload, table: RowName::CasBucket, processes: 1, against: None }
    }

    /// Whether it is part of the comparison.
    pub fn can_run(self) -> bool {
        let Self { workload, table, processes, .. } = self;
        if workload.has_writer() {
            return processes == 2 && (table.is_ours() || table == RowName::MutexSlab);
        }
        if workload.is_further_read() {
            let is_probe = table == RowName::LimitProbe && workload != Workload::ReadMany;
            return processes == 1 && (table.is_ours() || table == RowName::LimitRead || is_probe);
        }
        table != RowName::LimitRead || !workload.writes()
    }

    /// Whether workers are measured beside each other and alone, in alternation.
    pub fn scales(self) -> bool {
        let row = self.table;
        self.processes == 2
            && self.against.is_none()
            && !self.workload.has_writer()
            && (row.is_ours() || row.is_limit() || row == RowName::MutexSlab)
    }

    /// What the cell is compared with.
    pub const fn limit(self) -> RowName {
        match self.against {
            Some(other) => other,
            None if self.workload.writes() => RowName::LimitProbe,
            None => RowName::LimitRead,
        }
    }

    /// The id without its workload: `table/pN`, or `table_against_other/pN`.
    pub fn function(self) -> (String, String) {
        let against = self.against.map(|other| format!("_against_{}", other.name()));
        let table = self.table.name().to_owned() + &against.unwrap_or_default();
        (table, format!("p{}", self.processes))
    }

    /// The id: `workload/table/pN`, or `workload/table_against_other/pN`.
    pub fn id(self) -> String {
        let (table, processes) = self.function();
        format!("{}/{table}/{processes}", self.workload.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selection_reads_arguments_as_criterion_does() {
        let select = |text: &str| Selection::from_arguments(text.split(' ').map(str::to_owned));
        let id = "read/cas_bucket/p1";
        assert!(select("--bench").includes(id));
        assert!(select("--bench --sample-size 20 cas_b").includes(id));
        assert!(!select("--bench ^cas").includes(id));
        assert!(select("read/cas_bucket/p1 --exact").includes(id));
        assert!(!select("read/cas_bucket/p --exact").includes(id));
        assert!(!select("--list").measures && select("--quick").measures);
    }

    #[test]
    fn numbers_of_workers_are_ascending_and_have_a_processor_each() {
        assert_eq!(numbers_of_processes("1").unwrap(), [1]);
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        for wrong in ["", "0", "2,1", "1,1", "one", &format!("{}", processors + 1)] {
            let error = numbers_of_processes(wrong).unwrap_err().to_string();
            assert!(error.contains(PROCESSES_VARIABLE) && error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn cells_that_most_goals_rest_on_make_more_tables() {
        let (full, quick) = (Settings::full(), Settings::quick());
        for cell in [full.cells(), full.duels()].concat() {
            let is_ours = cell.id().contains("cas_bucket") || cell.id().contains("/limit_");
            assert_eq!(full.placements(cell), if is_ours { 15 } else { 9 }, "{}", cell.id());
            assert_eq!(quick.placements(cell), 9, "{}", cell.id());
        }
    }

    #[test]
    fn further_reads_are_of_one_process_and_a_writer_needs_another() {
        let ids: Vec<String> = Settings::full().cells().into_iter().map(CellName::id).collect();
        let of = |start: &str| ids.iter().filter(|id| id.starts_with(start)).count();
        for workload in ["read_many/", "beside_writer/"] {
            assert_eq!(of(workload), 4, "{workload}");
        }
        for workload in ["read_1e4/", "read_1e6/", "read_1500/"] {
            assert_eq!(of(workload), 5, "{workload}");
        }
        assert!(ids.contains(&"read_many/limit_read/p1".to_owned()), "{ids:?}");
        assert!(ids.contains(&"beside_writer/mutex_slab/p2".to_owned()), "{ids:?}");
        let scaled = Settings::full().cells().into_iter().filter(|cell| cell.scales()).count();
        assert_eq!(scaled, 6 + 4 * 5, "both limits of reads, one of each mix");
    }

    #[test]
    fn duels_are_of_a_peer_and_a_table_and_have_ids_of_their_own() {
        let duels = Settings::full().duels();
        let ids: Vec<String> = duels.iter().map(|duel| duel.id()).collect();
        assert_eq!(ids.len(), 5 + 2 + 2 * 5, "{ids:?}");
        assert!(ids.contains(&"rustls_tls13/mutex_slab_against_cas_bucket/p2".to_owned()));
        assert!(ids.contains(&"read/papaya_against_cas_bucket/p1".to_owned()));
        assert!(duels.iter().all(|duel| duel.limit().is_ours() && !duel.scales()));
        let one = Settings { processes: vec![1], ..Settings::full() };
        assert_eq!(one.duels().len(), 5);
    }

    #[test]
    fn every_cell_has_an_id_of_its_own_and_a_limit_that_can_run_it() {
        let cells = Settings::full().cells();
        let ids: std::collections::HashSet<String> = cells.iter().map(|cell| cell.id()).collect();
        assert_eq!(ids.len(), cells.len());
        assert!(ids.contains("rustls_tls13/cas_bucket/p2"), "{ids:?}");
        for cell in &cells {
            let limit = CellName { table: cell.limit(), ..*cell };
            assert!(limit.can_run() || cell.workload.has_writer(), "{}", cell.id());
        }
        assert!(cells.iter().all(|cell| cell.limit().is_limit()));
    }
}
