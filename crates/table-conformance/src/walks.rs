//! Going through a table, alone and beside writers.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::mpsc::TryRecvError;

use shm_table::{Insert, Lookup, Put, RemoveIf, TableOptions, Walk};

use crate::fixture::Fixture;
use crate::{entry, expect_sound, patiently};

/// Every way of listing lists the same.
pub(crate) fn walks_listings_and_batches_agree(fixture: &dyn Fixture) {
    let table = &*fixture.table(&TableOptions::default());
    let keys: Vec<_> = (0..500_u64).map(u64::to_be_bytes).collect();
    for (number, key) in (0..).zip(&keys) {
        assert_eq!(table.put(entry(key, &[1; 40], number)), Ok(Put::Inserted));
    }
    let sorted: Vec<_> = table.sorted().expect("a listing").into_iter().map(|e| e.key).collect();
    assert_eq!(sorted, keys, "in the order of keys, each once");
    let backwards = table.sorted_by(&mut |one, other| other.by_key(one)).expect("a listing");
    assert!(backwards.iter().map(|entry| &entry.key[..]).eq(keys.iter().rev().map(|k| &k[..])));
    let walked: BTreeSet<_> = Walk::new(table).map(|entry| entry.expect("a step").key).collect();
    assert_eq!(walked.len(), keys.len());
    let mut visited = 0;
    let outcome = table.for_each(&mut |_| {
        visited += 1;
        if visited == 100 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!((outcome, visited), (Ok(()), 100), "a visitor ends the visits");
    // A cursor may rest, and another handle may go on.
    let (mut cursor, mut met) = (table.cursor(), 0);
    while !cursor.is_at_end() && met < 200 {
        table.scan(&mut cursor, &mut |_, _| met += 1).expect("a step");
    }
    met += Walk::resume(table, cursor).count();
    assert_eq!(met, keys.len());
    for batch in [0, 1, 15, 16, 17, 400] {
        let asked: Vec<[u8; 8]> = (0..batch).map(|n: u64| (n * 3).to_be_bytes()).collect();
        let asked: Vec<&[u8]> = asked.iter().map(|key| &key[..]).collect();
        let mut found = vec![Lookup { value: vec![3], metadata: Some(3) }; 5];
        assert_eq!(table.get_many(&asked, &mut found), Ok(()));
        assert_eq!(found.len(), asked.len());
        for (number, lookup) in (0..).zip(&found) {
            let expected = (number * 3 < 500).then_some(number * 3);
            assert_eq!(lookup.metadata, expected);
            assert_eq!(lookup.value.len(), if expected.is_some() { 40 } else { 0 });
        }
    }
    let stats = table.stats();
    assert_eq!(stats.entries, 500);
    expect_sound(table);
}

/// Entries that stay are met once by each walk, whatever others do to the rest meanwhile.
pub(crate) fn a_walk_misses_nothing_that_stays(fixture: &dyn Fixture) {
    let handles = fixture.tables(&TableOptions { entries: 4096, ..TableOptions::default() }, 2);
    let (reader, writer) = (&*handles[0], &*handles[1]);
    let staying: BTreeSet<_> = (0..200_u64).map(|key| key.to_le_bytes().to_vec()).collect();
    for key in &staying {
        assert_eq!(reader.put(entry(key, key, 0)), Ok(Put::Inserted));
    }
    let (over, is_over) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let churn = scope.spawn(move || {
            let mut existing = Vec::new();
            for round in 0_u64.. {
                let key = (1000 + round % 3000).to_le_bytes();
                // Grows and shrinks, where the table does so.
                if round / 3000 % 2 == 0 {
                    let mut insert = || writer.insert(entry(&key, &key, 1), &mut existing);
                    let inserted = patiently(writer, &mut insert);
                    assert!(matches!(inserted, Ok(Insert::Inserted)), "{inserted:?}");
                } else {
                    assert!(patiently(writer, || writer.remove(&key)).is_ok());
                }
                if is_over.try_recv() == Err(TryRecvError::Disconnected) {
                    return;
                }
            }
        });
        for _ in 0..30 {
            let mut walk = Walk::new(reader);
            let step = || patiently(reader, || walk.next().transpose()).expect("a step");
            let walked = std::iter::from_fn(step);
            let mut met: Vec<_> =
                walked.filter(|entry| entry.metadata == 0).map(|entry| entry.key).collect();
            met.sort_unstable();
            assert!(met.iter().eq(&staying), "{} of 200 met", met.len());
        }
        drop(over);
        churn.join().expect("the writer never fails");
    });
    expect_sound(reader);
}

/// Delete-first gives each entry out once and then says that there is none; clear counts.
pub(crate) fn delete_first_and_clear_empty_the_table(fixture: &dyn Fixture) {
    let table = &*fixture.table(&TableOptions::default());
    let fill = || {
        for key in 0..100_u64 {
            assert_eq!(table.put(entry(&key.to_le_bytes(), &[1; 30], key)), Ok(Put::Inserted));
        }
    };
    fill();
    let mut given = BTreeSet::new();
    while let Some(first) = table.take_first().expect("a take") {
        assert_eq!(first.value, [1; 30]);
        assert!(given.insert(first.metadata), "given out twice");
    }
    assert_eq!((given.len(), table.len()), (100, 0));
    fill();
    // An expiry loop deletes what it is given, and must not skip what comes after it.
    let mut expired = 0;
    for entry in Walk::new(table) {
        let entry = entry.expect("a step");
        assert_eq!(table.remove_if(&entry.key, entry.version), Ok(RemoveIf::Removed));
        expired += 1;
    }
    assert_eq!((expired, table.len()), (100, 0), "deleting skips entries");
    fill();
    assert_eq!((table.clear(), table.len()), (Ok(100), 0));
    assert_eq!(table.clear(), Ok(0));
    expect_sound(table);
}
