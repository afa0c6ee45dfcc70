//! The suite over every design of `shm-table`, on the heap and in files.

use shm_table::{CasBucket, Chained, RobinHood};
use shm_table_conformance::{Heap, Mapped, ReferenceTable, Tables, conformance_tests};

/// The model itself passes: what it answers is what the suite asks for.
struct Model;

impl shm_table_conformance::Fixture for Model {
    fn tables(&self, _options: &shm_table::TableOptions, handles: usize) -> Tables {
        let table = std::sync::Arc::new(ReferenceTable::default());
        (0..handles).map(|_| Box::new(table.clone()) as _).collect()
    }
}

conformance_tests! {
    mod chained_on_the_heap = Heap::<Chained<_>>::new();
    mod chained_in_files = Mapped::<Chained<_>>::new();
    mod cas_bucket_on_the_heap = Heap::<CasBucket<_>>::new();
    mod cas_bucket_in_files = Mapped::<CasBucket<_>>::new();
    mod robin_hood_on_the_heap = Heap::<RobinHood<_>>::new();
    mod robin_hood_in_files = Mapped::<RobinHood<_>>::new();
}

#[test]
fn the_model_passes_what_has_no_need_of_blocks() {
    for (name, check) in shm_table_conformance::CHECKS {
        // The model has no bound, and one identity.
        let needs_bounds = [
            "keys_and_values_at_their_bounds",
            "bad_keys_and_values",
            "foreign_versions_and_cursors",
            "full_table",
        ];
        if !needs_bounds.contains(&name) {
            check(&Model);
        }
    }
}
