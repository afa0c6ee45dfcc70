//! Threads on one table, through one handle and through several.

use shm_table::{Exchange, Insert, Put, Table, TableOptions};

use crate::fixture::Fixture;
use crate::{entry, expect_sound, patiently};

/// Three takers and an inserter: nothing is taken twice, nothing is lost.
pub(crate) fn threads_agree_on_who_takes_what(fixture: &dyn Fixture) {
    const KEYS: u64 = 64;
    const ROUNDS: u64 = 4000;
    // Every counter wraps in the midst of it.
    let options = TableOptions { wraps_after: Some(200), ..TableOptions::default() };
    let handles = fixture.tables(&options, 3);
    let (inserted, taken) = std::thread::scope(|scope| {
        let takers: Vec<_> = (0..3)
            .map(|taker| {
                let table = &*handles[taker % 2];
                scope.spawn(move || {
                    let mut out = Vec::new();
                    let takes = (0..ROUNDS).filter_map(|round| {
                        let key = (round % KEYS).to_le_bytes();
                        let taken = patiently(table, || table.take(&key, &mut out));
                        let mark = taken.expect("a take never fails")?;
                        assert_eq!(out, mark.to_le_bytes().repeat(9), "torn");
                        Some(mark)
                    });
                    takes.collect::<Vec<_>>()
                })
            })
            .collect();
        let (table, mut out, mut inserted) = (&*handles[2], Vec::new(), 0_u64);
        for round in 0..ROUNDS {
            let (key, value) = ((round % KEYS).to_le_bytes(), round.to_le_bytes().repeat(9));
            let insert = || table.insert(entry(&key, &value, round), &mut out);
            let outcome = patiently(table, insert);
            inserted += u64::from(outcome == Ok(Insert::Inserted));
        }
        let taken: Vec<_> =
            takers.into_iter().flat_map(|taker| taker.join().expect("a taker")).collect();
        (inserted, taken)
    });
    let mut once = taken.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), taken.len(), "an entry was taken twice");
    assert_eq!(inserted - taken.len() as u64, handles[0].len());
    expect_sound(&*handles[0]);
}

/// Threads count in one value, each by exchanges on the version that it saw: no count is lost.
pub(crate) fn exchanges_on_a_version_count_right(fixture: &dyn Fixture) {
    const THREADS: u64 = 4;
    const COUNTS: u64 = 500;
    let options = TableOptions { wraps_after: Some(700), ..TableOptions::default() };
    let handles = fixture.tables(&options, 2);
    assert_eq!(handles[0].put(entry(b"count", &0_u64.to_le_bytes(), 0)), Ok(Put::Inserted));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let table = &*handles[usize::from(thread % 2 == 0)];
            scope.spawn(move || (0..COUNTS).for_each(|_| count_once(table)));
        }
    });
    let mut out = Vec::new();
    assert!(handles[0].get(b"count", &mut out).is_ok());
    assert_eq!(out, (THREADS * COUNTS).to_le_bytes(), "counts are lost");
    expect_sound(&*handles[0]);
}

fn count_once(table: &dyn Table) {
    let mut out = Vec::new();
    loop {
        let seen = patiently(table, || table.look_up(b"count", &mut out));
        let seen = seen.expect("a look").expect("a count");
        let count = u64::from_le_bytes(out[..].try_into().expect("eight bytes")) + 1;
        let next = entry(b"count", &count.to_le_bytes(), count).value.to_vec();
        let next = entry(b"count", &next, count);
        match patiently(table, || table.compare_exchange(next, seen.version)) {
            Ok(Exchange::Exchanged) => return,
            Ok(Exchange::Changed) => {}
            other => panic!("{other:?}"),
        }
    }
}
