//! The history checkers against brute force, against spoiled histories, and against the clock.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use shm_verification::history::synthetic::{Corruption, Shape, linearizable};
use shm_verification::history::{
    Ending, Record, Violation, check_form, check_happens_before, check_real_time, check_values,
};
use shm_verification::spec::{Answer, Operation, Value, Verb};

/// Whether some order explains the records, by trying every one that `precedes` allows.
fn explained_by_brute_force(
    records: &[Record],
    precedes: &dyn Fn(usize, usize) -> bool,
    taken: &mut Vec<usize>,
    state: Option<Value>,
) -> bool {
    let is_open = |index: usize, taken: &[usize]| !taken.contains(&index);
    let left: Vec<_> = (0..records.len()).filter(|index| is_open(*index, taken)).collect();
    if left.iter().all(|index| records[*index].ending == Ending::Pending) {
        return true;
    }
    left.iter().any(|index| {
        if left.iter().any(|other| other != index && precedes(*other, *index)) {
            return false;
        }
        let record = &records[*index];
        let states = match record.answer() {
            Some(answer) => vec![record.operation.step(state, answer)],
            None => vec![Some(state), Some(record.operation.apply(state).1)],
        };
        taken.push(*index);
        let found = states
            .into_iter()
            .flatten()
            .any(|next| explained_by_brute_force(records, precedes, taken, next));
        taken.pop();
        found
    })
}

fn value(number: u64) -> Value {
    Value::new(number).expect("not zero")
}

/// One call of a random history: participant, verb, answer, ending, pauses before and after.
type Call = (u32, Verb, Answer, u8, u64, u64);

fn any_call(calls: u64) -> impl Strategy<Value = Call> {
    let answer = prop_oneof![
        2 => (1..=calls).prop_map(|number| Answer::Found(value(number))),
        3 => Just(Answer::Inserted),
        3 => Just(Answer::Replaced),
        2 => Just(Answer::Removed),
        2 => Just(Answer::Absent),
        2 => (1..=calls).prop_map(|number| Answer::Exchanged(value(number))),
        2 => (1..=calls).prop_map(|number| Answer::RemovedValue(value(number))),
        1 => (1..=calls).prop_map(|number| Answer::Changed(value(number))),
        1 => Just(Answer::Failed),
    ];
    let verb = proptest::sample::select(&Verb::EVERY[..]);
    (0_u32..3, verb, answer, 0_u8..12, 0_u64..4, 0_u64..8)
}

/// A history of one key in which every participant calls one thing after the other; answers are
/// random, so that most are wrong.
fn assemble(calls: &[Call]) -> Vec<Record> {
    let mut free_at = [0; 3];
    let mut ended = [false; 3];
    let mut records = Vec::new();
    for (number, (participant, verb, answer, how, pause, duration)) in (1..).zip(calls) {
        let person = *participant as usize;
        let operation = Operation { verb: *verb, value: value(number) };
        if ended[person] || !operation.can_answer(*answer) {
            continue;
        }
        let invoked = free_at[person] + pause;
        let at = invoked + duration;
        free_at[person] = at + 1;
        let ending = match how {
            0 => Ending::Pending,
            1 => Ending::Killed { at },
            _ => Ending::Returned { answer: *answer, at },
        };
        ended[person] = *how < 2;
        records.push(Record { participant: *participant, key: 0, operation, invoked, ending });
    }
    records
}

fn returned_before(records: &[Record], earlier: usize, later: usize) -> bool {
    match records[earlier].ending {
        Ending::Returned { at, .. } | Ending::Killed { at } => at < records[later].invoked,
        Ending::Pending => false,
    }
}

/// A decided verdict: `true` for explained.
fn verdict(result: Result<shm_verification::history::Checked, Violation>) -> bool {
    match result {
        Ok(_) => true,
        Err(Violation::Unexplained { .. }) => false,
        Err(other) => panic!("not a verdict: {other}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30_000, ..ProptestConfig::default() })]

    #[test]
    fn both_checkers_agree_with_brute_force_in_real_time(
        calls in prop::collection::vec(any_call(6), 1..7)
    ) {
        let records = assemble(&calls);
        let precedes = |earlier, later| returned_before(&records, earlier, later);
        let expected = explained_by_brute_force(&records, &precedes, &mut Vec::new(), None);
        prop_assert_eq!(verdict(check_real_time(&records)), expected, "{:#?}", &records);
        prop_assert_eq!(verdict(check_happens_before(&records, precedes)), expected);
    }

    #[test]
    fn the_partial_order_checker_agrees_with_brute_force_on_random_orders(
        calls in prop::collection::vec(any_call(6), 1..7),
        edges in prop::collection::vec(any::<bool>(), 49),
    ) {
        let records = assemble(&calls);
        let before = closure(&records, &edges);
        let precedes = |earlier: usize, later: usize| before[earlier][later];
        let expected = explained_by_brute_force(&records, &precedes, &mut Vec::new(), None);
        prop_assert_eq!(verdict(check_happens_before(&records, precedes)), expected);
    }
}

/// The order of each participant and some edges that point forward, made transitive.
fn closure(records: &[Record], edges: &[bool]) -> Vec<Vec<bool>> {
    let count = records.len();
    let mut before = vec![vec![false; count]; count];
    for (later, record) in records.iter().enumerate() {
        for earlier in 0..later {
            let lasts = records[earlier].ending == Ending::Pending;
            let same = records[earlier].participant == record.participant;
            before[earlier][later] = same || (edges[earlier * 7 + later] && !lasts);
        }
    }
    for middle in 0..count {
        for earlier in 0..count {
            for later in 0..count {
                before[earlier][later] |= before[earlier][middle] && before[middle][later];
            }
        }
    }
    before
}

#[test]
fn random_small_histories_are_explained_often_enough_to_tell() {
    let mut explained = 0;
    for seed in 0..200 {
        let shape = Shape { operations: 7, participants: 3, keys: 1, kill_chance: 0.1, seed };
        let records = linearizable(shape);
        let precedes = |earlier, later| returned_before(&records, earlier, later);
        assert!(explained_by_brute_force(&records, &precedes, &mut Vec::new(), None));
        assert!(verdict(check_real_time(&records)), "{records:#?}");
        assert!(verdict(check_happens_before(&records, precedes)), "{records:#?}");
        explained += 1;
    }
    assert_eq!(explained, 200);
}

#[test]
fn every_corruption_of_a_right_history_is_rejected() {
    for corruption in Corruption::ALL {
        for seed in 0..20 {
            for (participants, keys) in [(3, 1), (8, 8), (16, 1)] {
                let shape =
                    Shape { operations: 4_000, participants, keys, kill_chance: 0.005, seed };
                let mut records = linearizable(shape);
                check_real_time(&records).expect("right by construction");
                assert!(corruption.apply(&mut records, seed), "{corruption:?} finds a place");
                let result = check_real_time(&records);
                assert!(
                    matches!(result, Err(Violation::Unexplained { .. })),
                    "{corruption:?} of {shape:?}: {result:?}"
                );
            }
        }
    }
}

#[test]
fn a_corruption_of_a_small_history_is_rejected_by_the_partial_order_checker_too() {
    for corruption in Corruption::ALL {
        let mut rejected = 0;
        for seed in 0..200 {
            let shape = Shape { operations: 24, participants: 3, keys: 2, kill_chance: 0.02, seed };
            let mut records = linearizable(shape);
            if corruption.apply(&mut records, seed) {
                let unspoiled = records.clone();
                let precedes = |earlier, later| returned_before(&unspoiled, earlier, later);
                assert!(!verdict(check_happens_before(&records, precedes)), "{corruption:?}");
                rejected += 1;
            }
        }
        assert!(rejected > 20, "{corruption:?} found a place in {rejected} histories only");
    }
}

#[test]
fn a_stale_read_without_synchronisation_is_right_under_happens_before() {
    let call = |participant, verb, number, answer, invoked| Record {
        participant,
        key: 0,
        operation: Operation { verb, value: value(number) },
        invoked,
        ending: Ending::Returned { answer, at: invoked + 1 },
    };
    let records =
        [call(0, Verb::Insert, 1, Answer::Inserted, 1), call(1, Verb::Get, 9, Answer::Absent, 3)];
    assert!(!verdict(check_real_time(&records)));
    assert!(verdict(check_happens_before(&records, |_, _| false)));
    assert!(!verdict(check_happens_before(&records, |earlier, later| (earlier, later) == (0, 1))));
}

#[test]
fn a_killed_operation_takes_effect_until_its_death_is_confirmed_and_not_later() {
    let insert = Record {
        participant: 0,
        key: 0,
        operation: Operation { verb: Verb::Insert, value: value(1) },
        invoked: 1,
        ending: Ending::Killed { at: 5 },
    };
    let get = |invoked, answer| Record {
        participant: 1,
        key: 0,
        operation: Operation { verb: Verb::Get, value: value(9) },
        invoked,
        ending: Ending::Returned { answer, at: invoked + 1 },
    };
    let found = Answer::Found(value(1));
    let explained = |records: &[Record]| verdict(check_real_time(records));
    assert!(explained(&[insert, get(2, Answer::Absent), get(6, found)]));
    assert!(explained(&[insert, get(2, Answer::Absent), get(6, Answer::Absent)]));
    assert!(!explained(&[insert, get(6, Answer::Absent), get(8, found)]));
    let pending = Record { ending: Ending::Pending, ..insert };
    assert!(explained(&[pending, get(6, Answer::Absent), get(8, found)]));
}

#[test]
fn histories_that_are_none_are_named_malformed() {
    let call = |participant, verb, number, answer, invoked, at| Record {
        participant,
        key: 0,
        operation: Operation { verb, value: value(number) },
        invoked,
        ending: Ending::Returned { answer, at },
    };
    let overlapping = [
        call(0, Verb::Put, 1, Answer::Inserted, 1, 5),
        call(0, Verb::Get, 9, Answer::Found(value(1)), 3, 6),
    ];
    let backwards = [call(0, Verb::Put, 1, Answer::Inserted, 5, 1)];
    let twice = [
        call(0, Verb::Put, 1, Answer::Inserted, 1, 2),
        call(0, Verb::Put, 1, Answer::Replaced, 3, 4),
    ];
    let impossible = [call(0, Verb::Get, 1, Answer::Removed, 1, 2)];
    for records in [&overlapping[..], &backwards, &twice, &impossible] {
        assert!(matches!(check_form(records), Err(Violation::Malformed { .. })), "{records:?}");
        assert!(matches!(check_real_time(records), Err(Violation::Malformed { .. })));
    }
}

#[test]
fn values_that_nobody_stored_and_values_taken_twice_are_named() {
    let call = |participant, verb, number, answer, invoked| Record {
        participant,
        key: 4,
        operation: Operation { verb, value: value(number) },
        invoked,
        ending: Ending::Returned { answer, at: invoked + 1 },
    };
    let put = call(0, Verb::Put, 1, Answer::Inserted, 1);
    let take = |participant| call(participant, Verb::Take, 9, Answer::Found(value(1)), 3);
    assert_eq!(check_values(&[put, take(1)]), Ok(()));
    assert_eq!(
        check_values(&[put, take(1), take(2)]),
        Err(Violation::TakenTwice { key: 4, value: value(1), first: 1, second: 2 })
    );
    assert_eq!(
        check_values(&[take(2)]),
        Err(Violation::Invented { key: 4, value: value(1), participant: 2 })
    );
}

#[test]
fn more_overlapping_operations_than_the_checker_holds_are_undecided_and_not_accepted() {
    let pending = |participant| Record {
        participant,
        key: 0,
        operation: Operation { verb: Verb::Put, value: value(u64::from(participant) + 1) },
        invoked: u64::from(participant),
        ending: Ending::Pending,
    };
    let records: Vec<_> = (0..65).map(pending).collect();
    assert!(matches!(check_real_time(&records), Err(Violation::Undecided { .. })));
    assert!(check_real_time(&records[1..]).is_ok());
}

#[test]
fn a_million_operations_are_checked_within_a_second() {
    for (participants, keys, kill_chance) in
        [(8, 64, 0.0), (16, 1, 0.0), (8, 64, 0.002), (8, 4, 0.000_02), (8, 1, 0.000_02)]
    {
        let shape = Shape { operations: 1_000_000, participants, keys, kill_chance, seed: 11 };
        let records = linearizable(shape);
        let start = cpu_time();
        let checked = check_real_time(&records).expect("right by construction");
        let elapsed = cpu_time() - start;
        println!(
            "{participants} participants, {keys} keys, kill chance {kill_chance}: {:.2} s of CPU \
             time, {:.1} million operations a second, at most {} configurations",
            elapsed.as_secs_f64(),
            checked.operations as f64 / elapsed.as_secs_f64() / 1e6,
            checked.configurations_max,
        );
        assert!(elapsed < Duration::from_secs(4), "far slower than a second: {elapsed:?}");
    }
}

/// Time that this thread has run, which other work on the machine changes little.
fn cpu_time() -> Duration {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = statistics.split(' ').next().and_then(|field| field.parse().ok());
    nanoseconds.map_or_else(|| started().elapsed(), Duration::from_nanos)
}

/// An instant to measure from where the system does not say how long a thread has run.
fn started() -> Instant {
    static STARTED: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *STARTED.get_or_init(Instant::now)
}
