//! A full table: sweeping what has expired, and declining.

use std::sync::Arc;

use shm_session_cache::{CacheOptions, Reason, Stored};

use crate::double::{Double, Fault};
use crate::world::{TTL_MS, Verdict, World, ensure, is_caught};

const CAPACITY: u32 = 100;

fn small(fault: Fault) -> World {
    World::new(
        "small double",
        Arc::new(Double::new(CAPACITY as usize, fault)),
    )
}

fn options(sweep_interval_ms: Option<u64>) -> CacheOptions {
    CacheOptions {
        ttl_ms: TTL_MS,
        sweep_interval_ms,
    }
}

/// Fills the table with sessions of another domain.
fn fill(world: &World) {
    let filler = world.cache(b"filler");
    for id in 0..CAPACITY {
        assert_eq!(filler.put(&id.to_le_bytes(), b"session"), Stored::Inserted);
    }
}

fn a_full_table_makes_room(world: &World) -> Verdict {
    fill(world);
    let cache = world.cache_with(b"host", options(Some(1_000)));
    ensure!(
        cache.put(b"a", b"live") == Stored::Declined(Reason::Full),
        "room among the living"
    );
    world.clock.advance(TTL_MS);
    ensure!(
        cache.put(b"b", b"live") == Stored::Inserted,
        "no room among the expired"
    );
    ensure!(
        world.table.len() == 1,
        "{} entries are left",
        world.table.len()
    );
    let counters = cache.counters();
    ensure!(counters.swept == u64::from(CAPACITY), "{counters:?}");
    ensure!(counters.declined.of(Reason::Full) == 1, "{counters:?}");
    Ok(())
}

#[test]
fn a_put_into_a_table_full_of_expired_sessions_sweeps_and_stores() {
    a_full_table_makes_room(&small(Fault::None)).expect("holds");
    is_caught(
        a_full_table_makes_room(&small(Fault::RemoveKeeps)),
        "no room among the expired",
    );
}

#[test]
fn a_full_table_is_swept_once_in_an_interval_by_each_handle() {
    let world = small(Fault::None);
    fill(&world);
    let cache = world.cache_with(b"host", options(Some(1_000)));
    world.clock.advance(TTL_MS - 500);
    assert_eq!(cache.put(b"a", b"live"), Stored::Declined(Reason::Full));
    world.clock.advance(500);
    assert_eq!(
        cache.put(b"a", b"live"),
        Stored::Declined(Reason::Full),
        "swept too soon"
    );
    world.clock.advance(500);
    assert_eq!(cache.put(b"a", b"live"), Stored::Inserted);
}

#[test]
fn a_handle_without_an_interval_leaves_sweeping_to_others() {
    let world = small(Fault::None);
    fill(&world);
    world.clock.advance(TTL_MS);
    let cache = world.cache_with(b"host", options(None));
    assert_eq!(cache.put(b"a", b"live"), Stored::Declined(Reason::Full));
    assert_eq!(world.cache(b"host").sweep(), Ok(u64::from(CAPACITY)));
    assert_eq!(cache.put(b"a", b"live"), Stored::Inserted);
}

#[test]
fn a_sweep_leaves_what_lives() {
    let world = small(Fault::None);
    let cache = world.cache(b"host");
    assert_eq!(cache.put(b"old", b"session"), Stored::Inserted);
    world.clock.advance(TTL_MS / 2);
    assert_eq!(cache.put(b"young", b"session"), Stored::Inserted);
    world.clock.advance(TTL_MS / 2);
    assert_eq!(cache.sweep(), Ok(1));
    assert!(cache.get(b"young").is_some());
    assert_eq!(world.table.len(), 1);
}
