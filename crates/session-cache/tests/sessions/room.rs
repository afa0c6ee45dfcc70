//! A full table: sweeping what has expired, and declining.

use shm_session_cache::{CacheOptions, Reason, SessionCache, Stored};

use crate::double::Fault;
use crate::world::{TTL_MS, Verdict, World, ensure, holds_on_every_table_of, is_caught};

const ENTRIES: u32 = 100;

fn options(sweep_interval_ms: Option<u64>) -> CacheOptions {
    CacheOptions { ttl_ms: TTL_MS, sweep_interval_ms }
}

/// Stores sessions until one is declined; gives its id.
fn fill(world: &World) -> Result<[u8; 4], String> {
    let filler = world.cache_with(b"host", options(None));
    for id in (0..100 * ENTRIES).map(u32::to_le_bytes) {
        match filler.put(&id, &[0; 100]) {
            Stored::Inserted => {}
            Stored::Declined(Reason::Full) => return Ok(id),
            other => return Err(format!("filling the table: {other:?}")),
        }
    }
    Err(format!("the table holds {} sessions and takes more", world.table.len()))
}

fn put(cache: &SessionCache, id: &[u8]) -> Stored {
    cache.put(id, &[1; 100])
}

fn a_full_table_makes_room(world: &World) -> Verdict {
    let id = fill(world)?;
    let held = world.table.len();
    let cache = world.cache_with(b"host", options(Some(1_000)));
    let stored = put(&cache, &id);
    ensure!(stored == Stored::Declined(Reason::Full), "among the living: {stored:?}");
    world.clock.advance(TTL_MS);
    let stored = put(&cache, &id);
    ensure!(stored == Stored::Inserted, "among the expired: {stored:?}");
    ensure!(world.table.len() == 1, "{} entries are left", world.table.len());
    let counters = cache.counters();
    ensure!(counters.swept == held, "{held} were held: {counters:?}");
    ensure!(counters.declined.of(Reason::Full) == 1, "{counters:?}");
    Ok(())
}

#[test]
fn a_put_into_a_table_full_of_expired_sessions_sweeps_and_stores() {
    holds_on_every_table_of(ENTRIES, a_full_table_makes_room);
    let faulty = World::double(ENTRIES as usize, Fault::RemoveKeeps);
    is_caught(a_full_table_makes_room(&faulty), "among the expired: Declined(Full)");
}

#[test]
fn a_full_table_is_swept_once_in_an_interval_by_each_handle() {
    holds_on_every_table_of(ENTRIES, |world| {
        let id = fill(world)?;
        let cache = world.cache_with(b"host", options(Some(1_000)));
        let full = Stored::Declined(Reason::Full);
        world.clock.advance(TTL_MS - 500);
        ensure!(put(&cache, &id) == full, "room among the living");
        world.clock.advance(500);
        ensure!(put(&cache, &id) == full, "swept again within the interval");
        world.clock.advance(500);
        ensure!(put(&cache, &id) == Stored::Inserted, "not swept after the interval");
        Ok(())
    });
}

#[test]
fn a_handle_without_an_interval_leaves_sweeping_to_others() {
    holds_on_every_table_of(ENTRIES, |world| {
        let id = fill(world)?;
        let held = world.table.len();
        world.clock.advance(TTL_MS);
        let cache = world.cache_with(b"host", options(None));
        ensure!(put(&cache, &id) == Stored::Declined(Reason::Full), "it swept");
        let swept = world.cache(b"other host").sweep();
        ensure!(swept == Ok(held), "{held} were held, swept {swept:?}");
        ensure!(put(&cache, &id) == Stored::Inserted, "no room after the sweep");
        Ok(())
    });
}

#[test]
fn a_sweep_leaves_what_lives() {
    holds_on_every_table_of(ENTRIES, |world| {
        let cache = world.cache(b"host");
        ensure!(put(&cache, b"old").is_stored(), "declined");
        world.clock.advance(TTL_MS / 2);
        ensure!(put(&cache, b"young").is_stored(), "declined");
        world.clock.advance(TTL_MS / 2);
        let swept = cache.sweep();
        ensure!(swept == Ok(1), "swept {swept:?}");
        ensure!(cache.get(b"young").is_some(), "swept a living session");
        ensure!(world.table.len() == 1, "{} entries are left", world.table.len());
        Ok(())
    });
}
