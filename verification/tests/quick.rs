//! The quick tier of `verify`, in parts that the test runner runs side by side.

use shm_table::Kind;
use shm_verification::suite::pins::Pins;
use shm_verification::suite::plan::{Part, Tier, part};
use shm_verification::suite::run_all;

/// Runs a part on this thread alone; prints a line for each check.
fn run(of: Part, table: Kind) {
    let pins = Pins::read(&Pins::default_path()).expect("the pins can be read");
    let checks = part(Tier::Quick, of, table);
    assert!(!checks.is_empty(), "{of:?} of {} has no check", table.name());
    let report = run_all(checks, 1, &pins, |row| println!("{row}"));
    println!("{report}");
    report.expect_pass();
}

/// One test for each part of each table.
macro_rules! quick {
    ($($name:ident: $part:ident of $table:ident;)*) => {
        $(
            #[test]
            fn $name() {
                run(Part::$part, Kind::$table);
            }
        )*
    };
}

quick! {
    cas_bucket_passes_enumerated_pairs_and_triples: Enumerated of CasBucket;
    cas_bucket_passes_pairs_and_triples_drawn_in_weak_memory: Drawn of CasBucket;
    cas_bucket_passes_the_catalogue: Catalogue of CasBucket;
    cas_bucket_survives_kills_before_every_access: Kills of CasBucket;
    cas_bucket_survives_kills_in_every_pair_and_triple: GeneratedKills of CasBucket;
    cas_bucket_passes_changes_of_size: Resizing of CasBucket;
    cas_bucket_passes_random_workloads: Workloads of CasBucket;
    chained_passes_enumerated_pairs_and_triples: Enumerated of Chained;
    chained_passes_pairs_and_triples_drawn_in_weak_memory: Drawn of Chained;
    chained_passes_the_catalogue: Catalogue of Chained;
    chained_survives_kills_before_every_access: Kills of Chained;
    chained_survives_kills_in_every_pair_and_triple: GeneratedKills of Chained;
    chained_passes_changes_of_size: Resizing of Chained;
    chained_passes_random_workloads: Workloads of Chained;
    robin_hood_passes_enumerated_pairs_and_triples: Enumerated of RobinHood;
    robin_hood_passes_pairs_and_triples_drawn_in_weak_memory: Drawn of RobinHood;
    robin_hood_passes_the_catalogue: Catalogue of RobinHood;
    robin_hood_survives_kills_before_every_access: Kills of RobinHood;
    robin_hood_survives_kills_in_every_pair_and_triple: GeneratedKills of RobinHood;
    robin_hood_passes_changes_of_size: Resizing of RobinHood;
    robin_hood_passes_random_workloads: Workloads of RobinHood;
}
