//! Scenarios: their text, their generation, their replay, and what is refused.
#![allow(missing_docs)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use shm_table::Kind;
use shm_verification::scenario::generate::{Size, all, random, shaped};
use shm_verification::scenario::{Scenario, ScenarioError, Step, catalogue};
use shm_verification::spec::Verb;
use shm_verification::suite::pins::{Pins, PinsError};
use shm_verification::suite::plan::{Tier, plan};
use shm_verification::suite::replay::ReplayPoint;
use shm_verification::suite::{Bound, Check, EngineKind, Losses, Victim, run, run_all};

fn scenario(text: &str) -> Scenario {
    text.parse().expect("a scenario")
}

proptest! {
    #[test]
    fn every_scenario_reads_as_it_is_written(
        participants in 1..4_usize, calls in 1..5_usize, keys in 1..4_u8, seed in any::<u64>(),
        kill in prop::option::of((1..2_u32, 0..99_u64, any::<u64>())),
        blocks in prop::option::of(1..99_u32),
    ) {
        let plain = random(Size { participants, calls, keys }, seed);
        let scenario = match kill {
            Some((participant, access, lost)) => plain.killed(participant, access, lost),
            None => plain,
        };
        let scenario = Scenario { blocks, ..scenario };
        prop_assert_eq!(scenario.to_string().parse::<Scenario>(), Ok(scenario));
    }
}

#[test]
fn texts_that_are_no_scenarios_are_refused_by_name() {
    let step = |text: &str| Err(ScenarioError::Step { text: text.to_owned() });
    let kill = |text: &str| Err(ScenarioError::Kill { text: text.to_owned() });
    let blocks = |text: &str| Err(ScenarioError::Blocks { text: text.to_owned() });
    let outside = |text: &str| {
        let step = scenario(text).programs[0][0];
        Err(ScenarioError::Outside { step })
    };
    let empty = Err(ScenarioError::Empty);
    let nobody = Err(ScenarioError::Participant { participant: 3, programs: 2 });
    for (text, expected) in [
        ("", empty.clone()),
        ("put a |", empty.clone()),
        (": get a", empty),
        ("fetch a", step("fetch a")),
        ("get", step("get")),
        ("get A", step("get A")),
        ("get ab", step("get ab")),
        ("get a ! now", kill("now")),
        ("get a ! 1@x", kill("1@x")),
        ("get a ! 1@2~g", kill("1@2~g")),
        ("get a | get a ! 3@0", nobody),
        ("get a in few", blocks("few")),
        ("get a in 0", blocks("0")),
        ("leave, get a", outside("get a")),
        ("get a, join", outside("join")),
        ("leave : get a", outside("leave")),
    ] {
        assert_eq!(text.parse::<Scenario>(), expected, "{text:?}");
    }
}

#[test]
fn the_whole_catalogue_reads_and_each_scenario_is_there_once() {
    let texts: BTreeSet<_> =
        catalogue::KNOWN.iter().map(|known| known.scenario().to_string()).collect();
    assert_eq!(texts.len(), catalogue::KNOWN.len());
}

/// The smallest scenario among all that renaming keys and renumbering participants can give.
fn smallest(scenario: &Scenario) -> Scenario {
    [[0, 1], [1, 0]]
        .into_iter()
        .map(|names| {
            let rename = |step: &Step| step.renamed(|key| names[usize::from(key)]);
            let rename_all = |steps: &[Step]| steps.iter().map(rename).collect::<Vec<_>>();
            let mut setup = rename_all(&scenario.setup);
            let mut programs: Vec<_> =
                scenario.programs.iter().map(|program| rename_all(program)).collect();
            setup.sort();
            programs.sort();
            Scenario { setup, programs, ..Scenario::default() }
        })
        .min_by(|left, right| (&left.programs, &left.setup).cmp(&(&right.programs, &right.setup)))
        .expect("two renamings")
}

#[test]
fn generation_gives_each_scenario_once_and_every_random_one() {
    let size = Size { participants: 2, calls: 2, keys: 2 };
    let generated = all(size);
    let distinct: BTreeSet<_> = generated.iter().map(smallest).collect();
    assert_eq!(distinct.len(), generated.len(), "one of each class");
    let mut found = 0;
    for seed in 0..2_000 {
        let drawn = random(size, seed);
        let uses = |wanted| {
            let is_it = |step: &Step| matches!(step, Step::Call { key, .. } if *key == wanted);
            drawn.programs.iter().flatten().any(is_it)
        };
        let idle = drawn.setup.iter().any(|step| match step {
            Step::Call { key, .. } => !uses(*key),
            _ => false,
        });
        let reads = |step: &Step| matches!(step, Step::Call { verb: Verb::Get, .. });
        let reads_only = drawn.programs.iter().flatten().all(reads);
        if !idle && !reads_only {
            assert!(distinct.contains(&smallest(&drawn)), "{drawn} is not generated");
            found += 1;
        }
    }
    assert!(found > 1_000, "only {found} of the random scenarios could be looked up");
}

#[test]
fn families_have_the_sizes_that_counting_gives() {
    // 21 pairs and 56 triples of six verbs, from two states, without the read-only ones.
    assert_eq!(all(Size { participants: 2, calls: 1, keys: 1 }).len(), 2 * (21 - 1));
    assert_eq!(all(Size { participants: 3, calls: 1, keys: 1 }).len(), 2 * (56 - 1));
    // 36 programs of two calls: 666 pairs.
    assert_eq!(all(Size { participants: 2, calls: 2, keys: 1 }).len(), 2 * (666 - 1));
    // 36 programs of two calls beside 6 of one.
    assert_eq!(shaped(&[2, 1], 1).len(), 2 * (36 * 6 - 1));
    assert_eq!(shaped(&[1, 2], 1), shaped(&[2, 1], 1));
}

#[test]
fn every_check_of_every_tier_is_there_once() {
    for tier in [Tier::Quick, Tier::Deep] {
        let checks = plan(tier, &Kind::ALL);
        let names: BTreeSet<_> = checks
            .iter()
            .map(|check| {
                let seed = check.bound.seed;
                let table = check.table.name();
                (table, check.engine, check.bound_name(), seed, check.scenario_name())
            })
            .collect();
        assert_eq!(names.len(), checks.len(), "{tier:?}");
    }
}

fn check(text: &str, engine: EngineKind, executions: u64) -> Check {
    let bound = Bound { preemptions: Some(1), executions, seed: 7 };
    Check { table: Kind::CasBucket, scenario: scenario(text), victim: None, engine, bound }
}

#[test]
fn a_replay_reads_as_it_is_written_and_has_one_execution() {
    for engine in EngineKind::ALL {
        let point = ReplayPoint {
            table: Kind::Chained,
            scenario: scenario("put a : take a | take a ! 1@3~ff"),
            preemptions: Some(1),
            engine,
            seed: 7,
            execution: 3,
        };
        assert_eq!(point.to_string().parse(), Ok(point.clone()));
        let (outcome, story) = point.run();
        assert_eq!(story, None);
        outcome.expect_pass("a replay of a passing execution");
        assert!(outcome.executions <= 3, "{outcome}");
    }
    for text in [
        "",
        "cas_bucket; get a; p1",
        "cas_bucket; get a; p1; loom",
        "cas_bucket; get a; one; loom/1/1",
        "cas_bucket; get; p1; loom/1/1",
        "nothing; get a; p1; loom/1/1",
        "cas_bucket; get a; p1; herd/1/1",
    ] {
        assert!(text.parse::<ReplayPoint>().is_err(), "{text:?}");
    }
}

#[test]
fn a_fall_below_a_pin_fails_and_a_rise_is_noted() {
    let check = check("insert a | insert a", EngineKind::Loom, 100_000);
    let mut row = run(&check);
    assert!(row.passed() && row.complete, "{row}");
    let executions = row.executions;
    let pinned_at = |executions: u64| {
        let mut pins = Pins::default();
        let mut row = run(&check);
        row.executions = executions;
        pins.set(&row);
        pins
    };
    let compare =
        |pins: &Pins, check: &Check| run_all(vec![check.clone()], 1, pins, |_| {}).rows.remove(0);
    row = compare(&Pins::default(), &check);
    assert_eq!(row.note.as_deref(), Some("not pinned"));
    row = compare(&pinned_at(executions), &check);
    assert!(row.passed() && row.note.is_none(), "{row}");
    row = compare(&pinned_at(executions + 1), &check);
    assert!(row.failure.is_some_and(|failure| failure.contains("coverage fell")));
    row = compare(&pinned_at(executions - 1), &check);
    assert!(row.failure.is_none() && row.note.is_some_and(|note| note.contains("when they were")));
    let cut = Check { bound: Bound { executions: 10, ..check.bound }, ..check.clone() };
    row = compare(&pinned_at(executions), &cut);
    assert!(row.failure.is_some_and(|failure| failure.contains("no longer explored")));
}

#[test]
fn pins_are_read_as_they_are_written_and_damage_is_named() {
    let folder = tempfile::tempdir().expect("a folder for a file");
    let path = folder.path().join("pins.toml");
    assert_eq!(Pins::read(&path).expect("a missing file pins nothing"), Pins::default());
    let mut pins = Pins::default();
    pins.set(&run(&check("put a : get a | take a", EngineKind::DepthFirst, 100_000)));
    assert_ne!(pins, Pins::default());
    pins.write(&path).expect("the folder is writable");
    assert_eq!(Pins::read(&path).expect("what was written"), pins);
    std::fs::write(&path, "[cas_bucket]\nloom = 3").expect("the folder is writable");
    assert!(matches!(Pins::read(&path), Err(PinsError::Format { .. })));
    assert!(matches!(Pins::read(folder.path()), Err(PinsError::Io { .. })));
}

#[test]
fn a_sweep_kills_before_every_access_and_then_ends() {
    for engine in [EngineKind::View, EngineKind::Shuttle, EngineKind::Loom] {
        let victim = Some(Victim { participant: 1, losses: Losses::Mask(0) });
        let bound = Bound { preemptions: Some(0), executions: 50, seed: 1 };
        let check = Check { victim, bound, ..check("put a : remove a | get a", engine, 50) };
        let row = run(&check);
        assert!(row.passed(), "{row}");
        assert!(row.kills >= 10, "a remove makes more than ten accesses: {row}");
        assert!(row.executions > row.kills, "the last point kills nobody: {row}");
    }
}
