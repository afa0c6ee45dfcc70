//! How far from home entries of `robin_hood` lie, how often a page is full, and what its index
//! weighs, against theory. With `--nocapture` the tests print what they measure.
#![allow(missing_docs)]

use shm_arena::{Access, AttachOptions, CreateOptions, Environment, HeapMemory};
use shm_table::{
    CasBucket, Design, Entry, Error, Kind, RobinHood, SharedTable, Table, TableOptions, TableShape,
};

/// Slots of a page in the default shape, and entries at the fill for which it is made.
const SLOTS: u64 = 512;
const ENTRIES: u64 = 384 * 512;

fn options(entries: u64) -> TableOptions {
    TableOptions { entries, value_bytes: 8, hash_secret: Some([3, 5]), ..TableOptions::default() }
}

fn table(options: &TableOptions) -> RobinHood<HeapMemory> {
    let words = RobinHood::<HeapMemory>::word_count(options).expect("a shape");
    RobinHood::create(HeapMemory::new(words), options, &Environment::default()).expect("a table")
}

fn insert(table: &impl Table, number: u64) -> Result<(), Error> {
    let key = number.to_le_bytes();
    let entry = Entry { key: &key, value: &key, metadata: number };
    table.insert(entry, &mut Vec::new()).map(drop)
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
const fn real(count: u64) -> f64 {
    count as f64
}

/// Knuth's mean distance from home under linear probing, whatever the order, in a table of so many
/// slots that goes around: (Q - 1) / 2, Q the sum of falling powers of `held - 1` over powers of
/// the slots. Of each page by its own entries.
fn mean_distance(stats: &shm_table::Stats) -> f64 {
    let (mut distances, mut entries) = (0.0, 0.0);
    for (held, pages) in (1..).zip(&stats.bucket_histogram[1..]) {
        let (mut sum, mut term) = (1.0, 1.0);
        for left in (1..held).rev() {
            term *= real(left) / real(SLOTS);
            sum += term;
        }
        distances += real(*pages) * real(held) * (sum - 1.0) / 2.0;
        entries += real(*pages) * real(held);
    }
    distances / entries
}

#[test]
fn distances_from_home_are_as_theory_says_at_every_fill() {
    let table = table(&options(ENTRIES));
    let slots = table.stats().slots;
    assert_eq!(slots * 3 / 4, ENTRIES);
    let mut number = 0;
    for (percent, longest_expected) in [(25, 9), (50, 16), (60, 20), (70, 28), (75, 36)] {
        while number < slots * percent / 100 {
            insert(&table, number).expect("room for three quarters");
            number += 1;
        }
        let distances = table.distances();
        let entries: u64 = distances.iter().sum();
        let sum: u64 = (0..).zip(&distances).map(|(distance, entries)| distance * entries).sum();
        let mean = real(sum) / real(entries);
        let longest = distances.iter().rposition(|&entries| entries > 0).expect("some");
        let theory = mean_distance(&table.stats());
        println!("| {percent} % | {mean:.3} | {theory:.3} | {longest} |");
        assert_eq!(entries, number);
        assert!((mean / theory - 1.0).abs() < 0.03, "{percent} %: {mean} and not {theory}");
        assert!(longest <= longest_expected, "{percent} %: an entry at distance {longest}");
    }
    assert!(table.audit().is_clean());
}

/// Poisson's probability of so many.
fn poisson(mean: f64, held: u32) -> f64 {
    let logarithms: f64 = (1..=held).map(|factor| f64::from(factor).ln()).sum();
    (f64::from(held) * mean.ln() - mean - logarithms).exp()
}

/// In the default shape too rare to be seen, so in pages of 64 slots at the same fill.
#[test]
fn pages_are_full_as_often_as_poisson_says() {
    let (pages, slots) = (2_048, 64);
    let shape =
        TableShape { buckets: pages, slots, slabs: 64, slab_units: 1 << 11, block_units_min: 1 };
    let table = table(&TableOptions { shape: Some(shape), ..options(1) });
    let offered = pages * u64::from(slots) * 3 / 4;
    let mut refused = 0;
    for number in 0..offered {
        match insert(&table, number) {
            Ok(()) => {}
            Err(Error::BucketFull { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    let mean = f64::from(slots) * 0.75;
    let beyond = (slots + 1..slots + 100).map(|held| f64::from(held - slots) * poisson(mean, held));
    let expected = beyond.sum::<f64>() * real(pages);
    println!("refused {refused} of {offered}, expected {expected:.1}");
    assert!((real(refused) / expected - 1.0).abs() < 0.25, "{refused} and not {expected}");
    let full: f64 = (513..700).map(|held| poisson(384.0, held)).sum();
    println!("a page of 512 at 75 %: P(more than 512) = {full:.2e}");
    assert!((2.0e-10..2.3e-10).contains(&full), "the module says 2.1e-10");
    assert!(table.audit().is_clean());
}

#[test]
fn the_index_weighs_less_than_seven_tenths_of_cas_buckets() {
    let options = options(ENTRIES);
    let robin_hood = RobinHood::<HeapMemory>::word_count(&options).expect("a shape");
    let cas_bucket = CasBucket::<HeapMemory>::word_count(&options).expect("a shape");
    // The rest of the two segments is the same.
    let memory = HeapMemory::new(robin_hood);
    let table = RobinHood::create(memory, &options, &Environment::default()).expect("a table");
    let index = table.arena().geometry().index_words;
    let other = cas_bucket - (robin_hood - index);
    let bytes = |words| real(words * 8) / real(ENTRIES);
    println!("bytes of index an entry: {:.1}, cas_bucket {:.1}", bytes(index), bytes(other));
    assert!(bytes(index) <= 0.7 * bytes(other));
    assert!(bytes(index) < 12.0);
}

#[test]
fn a_table_in_a_file_that_only_reads_is_read_while_others_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("table");
    let writer = SharedTable::create_file(
        &path,
        Kind::RobinHood,
        &options(1_000),
        &CreateOptions::default(),
    )
    .expect("a file");
    for number in 0..1_000 {
        insert(&writer, number).expect("room");
    }
    let reading = AttachOptions { access: Access::ReadOnly, ..Default::default() };
    let reader = SharedTable::attach_file(&path, &reading).expect("the same file");
    std::thread::scope(|scope| {
        let moving = scope.spawn(|| {
            for number in 1_000..3_000_u64 {
                insert(&writer, number).expect("one more than a thousand");
                assert!(writer.take(&number.to_le_bytes(), &mut Vec::new()).is_ok());
            }
        });
        let mut value = Vec::new();
        while !moving.is_finished() {
            for number in 0..1_000_u64 {
                let read = reader.get(&number.to_le_bytes(), &mut value);
                assert_eq!((read, &value[..]), (Ok(Some(number)), &number.to_le_bytes()[..]));
            }
        }
    });
    assert_eq!(insert(&reader, 1), Err(Error::ReadOnly));
}
