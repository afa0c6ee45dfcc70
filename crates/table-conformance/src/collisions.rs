//! Keys that look alike to a hash table.

use std::collections::HashMap;

use rapidhash::v3::RapidSecrets;
use shm_arena::{HashKind, KeyHasher};
use shm_table::{Insert, Put, Remove, Replace, Table, TableOptions};

use crate::fixture::{Fixture, tiny};
use crate::{entry, expect_sound};

const SECRET: [u64; 2] = [3, 4];

fn hasher() -> KeyHasher {
    KeyHasher::new(HashKind::Rapid, SECRET)
}

fn options(base: TableOptions) -> TableOptions {
    TableOptions { hash: HashKind::Rapid, hash_secret: Some(SECRET), ..base }
}

/// Two pairs of keys whose hashes agree in the upper half and in the lowest bits.
pub(crate) fn keys_with_equal_tags_stay_apart(fixture: &dyn Fixture) {
    let (hasher, mut seen, mut pairs) = (hasher(), HashMap::new(), Vec::new());
    // By the birthday of 33 bits, about 100,000 keys make a pair.
    for number in 0_u64.. {
        let hash = hasher.hash(&number.to_le_bytes());
        if let Some(other) = seen.insert((hash >> 32, hash & 1), number) {
            pairs.push([other, number]);
            if pairs.len() == 2 {
                break;
            }
        }
    }
    for pair in pairs {
        let keys = pair.map(|number| number.to_le_bytes().to_vec());
        keep_apart(&*fixture.table(&options(tiny())), &keys);
    }
}

/// Keys of equal hash: under a known secret, eight bytes make the function forget the rest.
pub(crate) fn keys_with_equal_hashes_stay_apart(fixture: &dyn Fixture) {
    let secrets = RapidSecrets::seed(SECRET[0] ^ SECRET[1].rotate_left(32));
    let keys: Vec<Vec<u8>> = (0..3_u64)
        .map(|number| [secrets.secrets[1].to_le_bytes(), number.to_le_bytes()].concat())
        .collect();
    let hash = hasher().hash(&keys[0]);
    assert!(keys.iter().all(|key| hasher().hash(key) == hash), "the keys do not collide");
    keep_apart(&*fixture.table(&options(tiny())), &keys);
    keep_apart(&*fixture.table(&options(TableOptions::default())), &keys);
}

/// Every verb on each key leaves the others alone.
fn keep_apart(table: &dyn Table, keys: &[Vec<u8>]) {
    let mut out = Vec::new();
    for (number, key) in (1..).zip(keys) {
        assert_eq!(table.get(key, &mut out), Ok(None), "another key's entry");
        assert_eq!(table.remove(key), Ok(Remove::Absent));
        assert_eq!(table.replace(entry(key, b"no", 0)), Ok(Replace::Absent));
        assert_eq!(table.insert(entry(key, &[1; 9], number), &mut out), Ok(Insert::Inserted));
    }
    for (number, key) in (1..).zip(keys) {
        assert_eq!(table.get(key, &mut out), Ok(Some(number)));
        assert_eq!(table.put(entry(key, &[2; 9], number + 100)), Ok(Put::Replaced));
    }
    assert_eq!(table.sorted().expect("a listing").len(), keys.len());
    for (number, key) in (101..).zip(keys) {
        assert_eq!(table.take(key, &mut out), Ok(Some(number)));
        assert_eq!(out, [2; 9]);
    }
    expect_sound(table);
}
