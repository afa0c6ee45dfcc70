//! put, get and take; expiry; domains.

use std::thread;

use shm_session_cache::{CacheOptions, OptionsError, SessionCache, Stored, TTL_MS_MAX};

use crate::double::Fault;
use crate::world::{TTL_MS, Verdict, World, ensure, holds_on_every_table, is_caught, parts};

const ID: &[u8] = &[7; 32];

fn another_handle_finds_what_was_put(world: &World) -> Verdict {
    let (first, second) = (world.cache(b"host"), world.cache(b"host"));
    ensure!(first.put(ID, b"old") == Stored::Inserted, "an absent id was not inserted");
    ensure!(first.put(ID, b"new") == Stored::Replaced, "a present id was not replaced");
    for turn in 0..2 {
        let found = second.get(ID);
        ensure!(found.as_deref() == Some(&b"new"[..]), "get {turn} gave {found:?}");
    }
    ensure!(second.counters().hits == 2, "{:?}", second.counters());
    Ok(())
}

#[test]
fn a_session_that_one_handle_puts_is_got_by_another_and_stays() {
    holds_on_every_table(another_handle_finds_what_was_put);
}

fn other_domains_see_nothing(world: &World) -> Verdict {
    let (ours, other) = (world.cache(b"host"), world.cache(b"other host"));
    ensure!(ours.put(ID, b"session").is_stored(), "not stored");
    ensure!(other.get(ID).is_none(), "another domain got the session");
    ensure!(other.take(ID).is_none(), "another domain took the session");
    ensure!(other.put(ID, b"theirs") == Stored::Inserted, "the domains share an id");
    ensure!(ours.take(ID).as_deref() == Some(&b"session"[..]), "the session was lost");
    Ok(())
}

#[test]
fn another_domain_neither_gets_nor_takes_nor_overwrites_a_session() {
    holds_on_every_table(other_domains_see_nothing);
    is_caught(other_domains_see_nothing(&World::with(Fault::DomainIgnored)), "another domain got");
}

fn one_of_four_takers_wins(world: &World) -> Verdict {
    let caches: Vec<_> = (0..4).map(|_| world.cache(b"host")).collect();
    for turn in 0..200_u32 {
        let id = [&turn.to_le_bytes()[..], ID].concat();
        ensure!(caches[0].put(&id, b"session").is_stored(), "not stored");
        let taken = thread::scope(|scope| {
            let takers: Vec<_> =
                caches.iter().map(|cache| scope.spawn(|| cache.take(&id).is_some())).collect();
            takers
                .into_iter()
                .map(|taker| taker.join().expect("no panic"))
                .filter(|won| *won)
                .count()
        });
        ensure!(taken == 1, "{taken} of four takers received the session");
        ensure!(caches[0].get(&id).is_none(), "the session is there after it was taken");
    }
    Ok(())
}

#[test]
fn a_session_is_taken_by_exactly_one_of_many_threads() {
    holds_on_every_table(one_of_four_takers_wins);
    is_caught(one_of_four_takers_wins(&World::with(Fault::TakeKeeps)), "4 of four takers");
}

fn expires_after_its_life(world: &World) -> Verdict {
    type Find = fn(&SessionCache) -> bool;
    let finds: [Find; 2] = [|cache| cache.get(ID).is_some(), |cache| cache.take(ID).is_some()];
    for find in finds {
        let cache = world.cache(b"host");
        ensure!(cache.put(ID, b"session").is_stored(), "not stored");
        world.clock.advance(TTL_MS - 1);
        ensure!(cache.get(ID).is_some(), "expired a millisecond early");
        world.clock.advance(1);
        ensure!(!find(&cache), "given out at its expiry");
        ensure!(world.table.is_empty(), "the expired entry is still in the table");
        let counters = cache.counters();
        ensure!((counters.expired, counters.misses) == (1, 1), "{counters:?}");
    }
    Ok(())
}

#[test]
fn a_session_is_given_out_until_its_expiry_and_removed_by_the_look_up_that_finds_it_expired() {
    holds_on_every_table(expires_after_its_life);
    is_caught(expires_after_its_life(&World::stuck()), "given out at its expiry");
    is_caught(expires_after_its_life(&World::with(Fault::RemoveKeeps)), "still in the table");
}

#[test]
fn a_session_from_far_in_the_future_is_dead_after_the_clock_went_back() {
    holds_on_every_table(|world| {
        let cache = world.cache(b"host");
        world.clock.set(u64::MAX);
        ensure!(cache.put(ID, b"session").is_stored(), "not stored");
        world.clock.set(1_000);
        ensure!(cache.get(ID).is_none(), "given out");
        Ok(())
    });
}

#[test]
fn a_life_of_zero_or_beyond_seven_days_is_refused_with_the_range() {
    for (ttl_ms, fits) in [(0, false), (1, true), (TTL_MS_MAX, true), (TTL_MS_MAX + 1, false)] {
        let world = World::with(Fault::None);
        let made = SessionCache::new(
            world.table.clone(),
            world.clock.clone(),
            shm_session_cache::Domain::new("test 1", &parts(b"host")),
            CacheOptions { ttl_ms, ..CacheOptions::default() },
        );
        assert_eq!(made.err(), (!fits).then_some(OptionsError::Ttl { ttl_ms }));
    }
    let sentence = OptionsError::Ttl { ttl_ms: 0 }.to_string();
    assert_eq!(sentence, "ttl of 0 ms: choose 1 to 604800000 ms");
}
