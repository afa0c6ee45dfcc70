//! papaya's map between threads of one process: it cannot live in shared memory, and shows what a
//! server of one process could have.

use std::hash::BuildHasherDefault;
use std::sync::Arc;

use papaya::HashMap;
use rapidhash::fast::RapidHasher;

use crate::fault::Fault;
use crate::keys::Key;
use crate::row::{Place, Row, Site};
use crate::stream::Call;

type Map = HashMap<Key, Box<[u8]>, BuildHasherDefault<RapidHasher<'static>>>;

/// A map that threads share, with as fast a hash as ours and room for all entries from the start.
#[derive(Debug)]
pub struct Papaya {
    map: Arc<Map>,
}

impl Row for Papaya {
    const NAME: &'static str = "papaya";
    const PLACE: Place = Place::Threads;

    fn create(site: &Site) -> Result<Self, Fault> {
        let capacity = usize::try_from(site.entries).unwrap_or(usize::MAX);
        let map = HashMap::with_capacity_and_hasher(capacity, BuildHasherDefault::default());
        Ok(Self { map: Arc::new(map) })
    }

    fn address(&self) -> String {
        String::new()
    }

    fn join(_site: &Site, _address: &str) -> Result<Self, Fault> {
        Err(Fault::setup(Self::NAME, "join", "it lives in one process"))
    }

    fn share(&self) -> Option<Self> {
        Some(Self { map: Arc::clone(&self.map) })
    }

    #[inline(always)]
    fn get(&mut self, call: &Call, value: &mut Vec<u8>) -> Result<bool, Fault> {
        let map = self.map.pin();
        let Some(stored) = map.get(&call.key) else {
            return Ok(false);
        };
        value.clear();
        value.extend_from_slice(stored);
        Ok(true)
    }

    #[inline(always)]
    fn put(&mut self, call: &Call, value: &[u8]) -> Result<(), Fault> {
        self.map.pin().insert(call.key, value.into());
        Ok(())
    }

    #[inline(always)]
    fn take(&mut self, call: &Call, value: &mut Vec<u8>) -> Result<bool, Fault> {
        let map = self.map.pin();
        let Some(stored) = map.remove(&call.key) else {
            return Ok(false);
        };
        value.clear();
        value.extend_from_slice(stored);
        Ok(true)
    }

    #[inline(always)]
    fn remove(&mut self, key: &Key) -> Result<bool, Fault> {
        Ok(self.map.pin().remove(key).is_some())
    }
}
