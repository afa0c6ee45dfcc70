//! The shortest and the longest, and every length between.

use shm_table::{Error, KEY_BYTES_MAX, Put, TableOptions};

use crate::fixture::Fixture;
use crate::{entry, expect_sound};

/// Bytes of a value, different at each place.
fn bytes(length: usize, salt: u8) -> Vec<u8> {
    (0..length).map(|at| at.to_le_bytes()[0].wrapping_mul(31) ^ salt).collect()
}

/// Keys of 1 to 255 bytes, values of none to the most that the table takes beside each.
pub(crate) fn keys_and_values_at_their_bounds_come_back(fixture: &dyn Fixture) {
    for key_bytes in [1, 7, 8, 9, 254, KEY_BYTES_MAX] {
        let table = fixture.table(&TableOptions::default());
        let key = bytes(key_bytes, 5);
        let huge = vec![1; 1 << 25];
        let refused = table.put(entry(&key, &huge, 0));
        let Err(Error::ValueTooLarge { bytes: offered, bytes_max }) = refused else {
            panic!("a value of 32 MiB: {refused:?}");
        };
        assert_eq!(offered, huge.len());
        let mut out = Vec::new();
        for value_bytes in [0, 1, 7, 8, 9, bytes_max - 1, bytes_max] {
            let value = bytes(value_bytes, 9);
            assert!(table.put(entry(&key, &value, u64::MAX)).is_ok(), "{value_bytes} bytes");
            assert_eq!(table.get(&key, &mut out), Ok(Some(u64::MAX)));
            assert_eq!(out, value, "{key_bytes} and {value_bytes} bytes");
        }
        let larger = vec![1; bytes_max + 1];
        let refused = Err(Error::ValueTooLarge { bytes: bytes_max + 1, bytes_max });
        assert_eq!(table.put(entry(&key, &larger, 0)), refused);
        assert_eq!(table.get(&key, &mut out), Ok(Some(u64::MAX)), "what was there stays");
        assert_eq!(table.take(&key, &mut out), Ok(Some(u64::MAX)));
        assert_eq!(out, bytes(bytes_max, 9));
        expect_sound(&*table);
    }
}

/// Every length of key, and every length of value over several words, all at once in the table.
pub(crate) fn every_length_comes_back(fixture: &dyn Fixture) {
    let table = fixture.table(&TableOptions { entries: 2048, ..TableOptions::default() });
    let keys: Vec<_> = (1..=KEY_BYTES_MAX).map(|length| bytes(length, 0)).collect();
    for (index, key) in keys.iter().enumerate() {
        let put = table.put(entry(key, &bytes(index % 130, 1), index as u64));
        assert_eq!(put, Ok(Put::Inserted), "a key that begins like the others is another key");
    }
    let mut out = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        assert_eq!(table.get(key, &mut out), Ok(Some(index as u64)));
        assert_eq!(out, bytes(index % 130, 1));
    }
    expect_sound(&*table);
}
