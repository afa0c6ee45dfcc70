//! What the cache answers to hostile ids and to tables that fail.

use shm_session_cache::{Counters, Reason, Reasons, SESSION_ID_BYTES_MAX, Stored};
use shm_table::Error;

use crate::double::Fault;
use crate::world::{World, ensure, holds_on_every_table};

/// Counters in which only these reasons stand.
fn only(reasons: &Reasons, reason: Reason, count: u64) -> bool {
    reasons.iter().all(|(each, counted)| counted == if each == reason { count } else { 0 })
}

#[test]
fn an_id_of_any_length_is_looked_up_without_harm() {
    holds_on_every_table(|world| {
        for length in [0, SESSION_ID_BYTES_MAX + 1, 255, 256, 70_000] {
            let cache = world.cache(b"host");
            let id = vec![9; length];
            let stored = cache.put(&id, b"session");
            ensure!(stored == Stored::Declined(Reason::KeyLength), "{length}: {stored:?}");
            ensure!(cache.get(&id).is_none(), "got an id of {length} bytes");
            ensure!(cache.take(&id).is_none(), "took an id of {length} bytes");
            let counters = cache.counters();
            ensure!(counters.misses == 2, "{counters:?}");
            ensure!(only(&counters.unanswered, Reason::KeyLength, 2), "{counters:?}");
            ensure!(only(&counters.declined, Reason::KeyLength, 1), "{counters:?}");
        }
        for length in [1, 32, SESSION_ID_BYTES_MAX] {
            let cache = world.cache(b"host");
            let id = vec![9; length];
            ensure!(cache.put(&id, b"session").is_stored(), "declined an id of {length} bytes");
            ensure!(cache.take(&id).is_some(), "lost an id of {length} bytes");
        }
        Ok(())
    });
}

#[test]
fn the_longest_id_is_not_cut_to_the_longest_key() {
    holds_on_every_table(|world| {
        let cache = world.cache(b"host");
        let longest = vec![9; SESSION_ID_BYTES_MAX];
        ensure!(cache.put(&longest, b"session").is_stored(), "declined");
        let longer = [&longest[..], &[9]].concat();
        ensure!(cache.get(&longer).is_none(), "an id one byte longer found it");
        Ok(())
    });
}

#[test]
fn a_failing_table_is_a_miss_and_a_decline_counted_by_reason() {
    let cases = [
        (Error::KeyLength { bytes: 300 }, Reason::KeyLength),
        (Error::ValueTooLarge { bytes: 9_000, bytes_max: 4_000 }, Reason::ValueTooLarge),
        (Error::NoBlock { block_bytes: 256 }, Reason::Full),
        (Error::BucketFull { bucket: 3 }, Reason::Full),
        (Error::NoLine { lines: 4 }, Reason::Busy),
        (Error::Busy { owner: 1, waited_ms: 100 }, Reason::Busy),
        (Error::Contended { bucket: 3, turns: 64 }, Reason::Contended),
        (Error::Corrupt { what: "slot", word: 17 }, Reason::Corrupt),
        (Error::ReadOnly, Reason::ReadOnly),
    ];
    for (error, reason) in cases {
        let cache = World::with(Fault::Answers(error)).cache(b"host");
        assert_eq!(cache.put(b"id", b"session"), Stored::Declined(reason), "{error}");
        assert_eq!(cache.get(b"id"), None, "{error}");
        assert_eq!(cache.take(b"id"), None, "{error}");
        assert_eq!(cache.sweep(), Err(error));
        let counters = cache.counters();
        assert!(only(&counters.unanswered, reason, 2), "{error}: {counters:?}");
        assert!(only(&counters.declined, reason, 1), "{error}: {counters:?}");
        assert_eq!((counters.misses, counters.hits, counters.stores()), (2, 0, 0));
    }
}

#[test]
fn a_miss_without_cause_counts_as_a_miss_alone() {
    holds_on_every_table(|world| {
        let cache = world.cache(b"host");
        ensure!(cache.get(b"id").is_none() && cache.take(b"id").is_none(), "found nothing's id");
        let counters = cache.counters();
        let expected = {
            let mut expected = Counters::default();
            expected.misses = 2;
            expected
        };
        ensure!(counters == expected, "{counters:?}");
        Ok(())
    });
}
