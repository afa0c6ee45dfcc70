//! Sequences of every verb, on the table and on the model.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use shm_table::{Copied, Error, Insert, Lookup, Table, TableOptions, Version};

use crate::fixture::{Fixture, tiny};
use crate::{ReferenceTable, entry, is_full};

/// One call; keys and values by number.
#[derive(Clone, Debug)]
enum Call {
    Get(u8),
    GetInto(u8, u8),
    GetMany(Vec<u8>),
    Look(u8),
    Insert(u8, u8),
    InsertUnlessOdd(u8, u8),
    Put(u8, u8),
    PutOverOdd(u8, u8),
    Replace(u8, u8),
    Exchange(u8, u8),
    Reserve(u8, u8, u8),
    Remove(u8),
    RemoveIf(u8),
    RemoveVersion,
    Take(u8),
    TakeInto(u8, u8),
    TakeFirst,
    Clear,
    List,
    Recover,
    Adjust(u8),
}

fn call() -> impl Strategy<Value = Call> {
    let key = || 0..9_u8;
    let value = any::<u8>;
    prop_oneof![
        4 => key().prop_map(Call::Get),
        1 => (key(), 0..100_u8).prop_map(|(key, room)| Call::GetInto(key, room)),
        1 => prop::collection::vec(key(), 0..40).prop_map(Call::GetMany),
        3 => key().prop_map(Call::Look),
        3 => (key(), value()).prop_map(|(key, value)| Call::Insert(key, value)),
        2 => (key(), value()).prop_map(|(key, value)| Call::InsertUnlessOdd(key, value)),
        4 => (key(), value()).prop_map(|(key, value)| Call::Put(key, value)),
        2 => (key(), value()).prop_map(|(key, value)| Call::PutOverOdd(key, value)),
        2 => (key(), value()).prop_map(|(key, value)| Call::Replace(key, value)),
        4 => (key(), value()).prop_map(|(key, value)| Call::Exchange(key, value)),
        2 => (key(), value(), 0..4_u8).prop_map(|(key, value, how)| Call::Reserve(key, value, how)),
        2 => key().prop_map(Call::Remove),
        3 => key().prop_map(Call::RemoveIf),
        1 => Just(Call::RemoveVersion),
        2 => key().prop_map(Call::Take),
        1 => (key(), 0..100_u8).prop_map(|(key, room)| Call::TakeInto(key, room)),
        1 => Just(Call::TakeFirst),
        1 => Just(Call::Clear),
        1 => Just(Call::List),
        1 => Just(Call::Recover),
        1 => (0..9_u8).prop_map(Call::Adjust),
    ]
}

fn key_bytes(key: u8) -> Vec<u8> {
    vec![key + 1; usize::from(key) * 5 % 23 + 1]
}

fn value_bytes(value: u8) -> Vec<u8> {
    vec![value; usize::from(value) % 90]
}

/// A table and the version that was looked up last, of which key.
struct Side<'a> {
    table: &'a dyn Table,
    seen: Option<(u8, Version)>,
}

/// What a call answered, in one form for the table and the model; `Err` where room was short.
fn answer(side: &mut Side<'_>, call: &Call) -> Result<String, Error> {
    let mut out = vec![7; 3];
    let table = side.table;
    Ok(match *call {
        Call::Get(key) => {
            let answer = table.get(&key_bytes(key), &mut out)?;
            format!("{answer:?} {out:?}")
        }
        Call::GetInto(key, room) => {
            let mut buffer = vec![0; room.into()];
            let copied = table.get_into(&key_bytes(key), &mut buffer);
            into(copied, &buffer)
        }
        Call::GetMany(ref keys) => {
            let keys: Vec<_> = keys.iter().copied().map(key_bytes).collect();
            let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
            let mut found = vec![Lookup::default(); 3];
            table.get_many(&keys, &mut found)?;
            format!("{found:?}")
        }
        Call::Look(key) => {
            let seen = table.look_up(&key_bytes(key), &mut out)?;
            side.seen = seen.map(|seen| (key, seen.version));
            format!("{:?} {out:?}", seen.map(|seen| seen.metadata))
        }
        Call::TakeFirst | Call::List => {
            let sorted = table.sorted()?;
            let plain = sorted.iter().map(|entry| (&entry.key, &entry.value, entry.metadata));
            format!("{:?} {} {}", plain.collect::<Vec<_>>(), table.len(), table.is_empty())
        }
        Call::Recover => format!("{:?}", table.recover()?.blocks),
        _ => change(side, call, out)?,
    })
}

/// What a call answered that may change the table.
fn change(side: &Side<'_>, call: &Call, mut out: Vec<u8>) -> Result<String, Error> {
    let table = side.table;
    let stored = |key: u8, value: u8| (key_bytes(key), value_bytes(value));
    let is_odd = |metadata: u64| metadata % 2 == 1;
    Ok(match *call {
        Call::Insert(key, value) => {
            let (key, data) = stored(key, value);
            inserted(table.insert(entry(&key, &data, value.into()), &mut out)?, &out)
        }
        Call::InsertUnlessOdd(key, value) => {
            let (key, data) = stored(key, value);
            let entry = entry(&key, &data, value.into());
            inserted(table.insert_unless(entry, &mut out, &is_odd)?, &out)
        }
        Call::Put(key, value) => {
            let (key, data) = stored(key, value);
            format!("{:?}", table.put(entry(&key, &data, value.into()))?)
        }
        Call::PutOverOdd(key, value) => {
            let (key, data) = stored(key, value);
            format!("{:?}", table.put_over(entry(&key, &data, value.into()), &is_odd)?)
        }
        Call::Replace(key, value) => {
            let (key, data) = stored(key, value);
            format!("{:?}", table.replace(entry(&key, &data, value.into()))?)
        }
        Call::Exchange(key, value) => {
            let Some((_, version)) = side.seen else { return Ok(String::new()) };
            let (key, data) = stored(key, value);
            format!("{:?}", table.compare_exchange(entry(&key, &data, value.into()), version)?)
        }
        Call::Reserve(key, value, how) => {
            let (key, data) = stored(key, value);
            let mut room = table.reserve(&key, data.len(), value.into())?;
            for (at, byte) in data.iter().enumerate().rev() {
                room.write_at(at, &[*byte])?;
            }
            match how {
                0 => inserted(room.insert(&mut out)?, &out),
                1 => format!("{:?}", room.put()?),
                2 => format!("{:?}", room.replace()?),
                _ => String::new(),
            }
        }
        Call::Remove(key) => format!("{:?}", table.remove(&key_bytes(key))?),
        Call::RemoveIf(key) => {
            let Some((_, version)) = side.seen else { return Ok(String::new()) };
            format!("{:?}", table.remove_if(&key_bytes(key), version)?)
        }
        Call::RemoveVersion => {
            let Some((_, version)) = side.seen else { return Ok(String::new()) };
            format!("{:?}", table.remove_version(version)?)
        }
        Call::Take(key) => {
            let answer = table.take(&key_bytes(key), &mut out)?;
            format!("{answer:?} {out:?}")
        }
        Call::TakeInto(key, room) => {
            let mut buffer = vec![0; room.into()];
            let copied = table.take_into(&key_bytes(key), &mut buffer);
            into(copied, &buffer)
        }
        Call::Clear => format!("{:?}", table.clear()?),
        Call::Adjust(buckets) => {
            table.adjust(Some(buckets.into()))?;
            String::new()
        }
        _ => unreachable!("{call:?} changes nothing"),
    })
}

fn inserted(outcome: Insert, existing: &[u8]) -> String {
    format!("{outcome:?} {existing:?}")
}

fn into(copied: Result<Option<Copied>, Error>, buffer: &[u8]) -> String {
    match copied {
        Ok(Some(copied)) => format!("{copied:?} {:?}", &buffer[..copied.bytes]),
        other => format!("{other:?}"),
    }
}

/// Calls the table first; where it says that room is short, the model is not asked.
fn step(table: &mut Side<'_>, model: &mut Side<'_>, call: &Call) -> Result<(), TestCaseError> {
    if matches!(call, Call::TakeFirst) {
        // Which entry is first is the table's affair; the model gives up the same one.
        if let Some(first) = table.table.take_first().map_err(unexpected)? {
            let mut value = Vec::new();
            let removed = model.table.take(&first.key, &mut value).map_err(unexpected)?;
            prop_assert_eq!((removed, value), (Some(first.metadata), first.value));
        } else {
            prop_assert!(model.table.is_empty(), "delete-first found nothing");
        }
        return Ok(());
    }
    match answer(table, call) {
        Ok(found) => {
            let expected = answer(model, call).map_err(unexpected)?;
            prop_assert_eq!(found, expected, "{:?}", call);
        }
        Err(error) => prop_assert!(is_full(&error), "{call:?}: {error}"),
    }
    prop_assert_eq!(table.table.len(), model.table.len(), "entries after {:?}", call);
    Ok(())
}

fn unexpected(error: Error) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}

/// Random sequences of every verb on ordinary and tiny tables; what is short of room changes
/// nothing.
pub(crate) fn every_verb_answers_as_the_model_does(fixture: &dyn Fixture) {
    sequences(fixture, 150, &Just(None));
}

/// The same on tables whose counters wrap within the sequence.
pub(crate) fn counters_wrap_unnoticed(fixture: &dyn Fixture) {
    sequences(fixture, 50, &(0..6_u64).prop_map(Some));
}

fn sequences(fixture: &dyn Fixture, cases: u32, wraps: &impl Strategy<Value = Option<u64>>) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let calls = (prop::collection::vec(call(), 1..80), any::<bool>(), wraps);
    let outcome = runner.run(&calls, |(calls, is_tiny, wraps_after)| {
        let options = if is_tiny { tiny() } else { TableOptions::default() };
        let table = fixture.table(&TableOptions { wraps_after, ..options });
        let reference = ReferenceTable::default();
        let mut side = Side { table: &*table, seen: None };
        let mut model = Side { table: &reference, seen: None };
        for call in &calls {
            step(&mut side, &mut model, call)?;
        }
        step(&mut side, &mut model, &Call::List)?;
        let audit = table.audit();
        prop_assert!(audit.is_clean(), "{:?}", audit.findings);
        prop_assert_eq!(audit.entries, table.len());
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
