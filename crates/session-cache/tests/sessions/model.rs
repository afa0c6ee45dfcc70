//! Any sequence of verbs gives the answers of a map with expiries.

use std::collections::BTreeMap;

use proptest::prelude::*;
use shm_session_cache::Stored;

use crate::double::Fault;
use crate::world::{TTL_MS, Verdict, World, ensure, holds_on_every_table};

#[derive(Clone, Debug)]
enum Verb {
    Put(Vec<u8>),
    Get,
    Take,
    Sweep,
    Advance(u64),
}

/// A verb, the handle that does it, and the id that it concerns.
type Step = (Verb, usize, u8);

fn step() -> impl Strategy<Value = Step> {
    let verb = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Verb::Put),
        3 => Just(Verb::Get),
        3 => Just(Verb::Take),
        1 => Just(Verb::Sweep),
        2 => prop_oneof![Just(TTL_MS), 1..TTL_MS].prop_map(Verb::Advance),
    ];
    (verb, 0..3_usize, 0..3_u8)
}

/// The first two handles share a domain.
fn agrees_with_a_map(world: &World, steps: &[Step]) -> Verdict {
    let caches = [world.cache(b"host"), world.cache(b"host"), world.cache(b"other host")];
    let mut model: BTreeMap<(bool, u8), (Vec<u8>, u64)> = BTreeMap::new();
    let mut now_ms = 0;
    for (index, (verb, handle, id)) in steps.iter().enumerate() {
        let cache = &caches[*handle];
        let place = (*handle == 2, *id);
        let expected = model.get(&place).filter(|(_, expiry_ms)| now_ms < *expiry_ms);
        let expected = expected.map(|(value, _)| value.clone());
        match verb {
            Verb::Put(value) => {
                let stored = cache.put(&[*id; 32], value);
                ensure!(stored.is_stored(), "step {index}: {stored:?}");
                if expected.is_some() {
                    ensure!(stored == Stored::Replaced, "step {index}: {stored:?}");
                }
                model.insert(place, (value.clone(), now_ms + TTL_MS));
            }
            Verb::Get => {
                let found = cache.get(&[*id; 32]).map(|value| value.to_vec());
                ensure!(found == expected, "step {index}: {found:?}, expected {expected:?}");
            }
            Verb::Take => {
                let found = cache.take(&[*id; 32]).map(|value| value.to_vec());
                ensure!(found == expected, "step {index}: {found:?}, expected {expected:?}");
                model.remove(&place);
            }
            Verb::Sweep => {
                cache.sweep().map_err(|error| error.to_string())?;
                model.retain(|_, (_, expiry_ms)| now_ms < *expiry_ms);
                let left = (world.table.len(), model.len() as u64);
                ensure!(left.0 == left.1, "step {index}: {left:?} entries after a sweep");
            }
            Verb::Advance(by_ms) => {
                world.clock.advance(*by_ms);
                now_ms += by_ms;
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_sequence_of_verbs_agrees_with_a_map(steps in prop::collection::vec(step(), 1..60)) {
        holds_on_every_table(|world| agrees_with_a_map(world, &steps));
    }
}

#[test]
fn the_map_disagrees_with_a_table_that_has_a_fault() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for fault in [Fault::TakeKeeps, Fault::DomainIgnored, Fault::RemoveKeeps] {
        let found = runner.run(&prop::collection::vec(step(), 1..60), |steps| {
            agrees_with_a_map(&World::with(fault), &steps).map_err(TestCaseError::fail)
        });
        assert!(found.is_err(), "{fault:?} went unnoticed");
    }
}
