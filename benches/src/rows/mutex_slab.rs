//! What most people would write: a simple table under one process-shared pthread mutex.

use std::path::Path;

use crate::fault::Fault;
use crate::keys::Key;
use crate::row::{Place, Row, Site};
use crate::slab::{Geometry, Slab};
use crate::stream::Call;
use crate::sys::LockedRegion;

/// A `Slab` under a default (not robust) mutex, copied out and in while the mutex is held.
#[derive(Debug)]
pub struct MutexSlab {
    geometry: Geometry,
    region: LockedRegion,
}

impl Row for MutexSlab {
    const NAME: &'static str = "mutex_slab";
    const PLACE: Place = Place::Processes;

    fn create(site: &Site) -> Result<Self, Fault> {
        let geometry = Geometry::new(site.entries, site.value_bytes_max);
        let region =
            LockedRegion::create(site.shared_file(Self::NAME).as_deref(), geometry.bytes())
                .map_err(|error| Fault::setup(Self::NAME, "create", error))?;
        Ok(Self { geometry, region })
    }

    fn address(&self) -> String {
        self.region.address().display().to_string()
    }

    fn join(site: &Site, address: &str) -> Result<Self, Fault> {
        let geometry = Geometry::new(site.entries, site.value_bytes_max);
        let region = LockedRegion::open(Path::new(address))
            .map_err(|error| Fault::setup(Self::NAME, "join", error))?;
        Ok(Self { geometry, region })
    }

    #[inline(always)]
    fn get(&mut self, call: &Call, value: &mut Vec<u8>) -> Result<bool, Fault> {
        Ok(self.region.with(|bytes| Slab::new(self.geometry, bytes).get(&call.key, value)))
    }

    #[inline(always)]
    fn put(&mut self, call: &Call, value: &[u8]) -> Result<(), Fault> {
        if self.region.with(|bytes| Slab::new(self.geometry, bytes).put(&call.key, value)) {
            Ok(())
        } else {
            Err(Fault::verb(Self::NAME, "put", "no free block"))
        }
    }

    #[inline(always)]
    fn replace(&mut self, call: &Call, value: &[u8]) -> Result<(), Fault> {
        if self.region.with(|bytes| Slab::new(self.geometry, bytes).replace(&call.key, value)) {
            Ok(())
        } else {
            Err(Fault::verb(Self::NAME, "replace", "it is not there"))
        }
    }

    #[inline(always)]
    fn take(&mut self, call: &Call, value: &mut Vec<u8>) -> Result<bool, Fault> {
        Ok(self.region.with(|bytes| Slab::new(self.geometry, bytes).take(&call.key, value)))
    }

    #[inline(always)]
    fn remove(&mut self, key: &Key) -> Result<bool, Fault> {
        Ok(self.region.with(|bytes| Slab::new(self.geometry, bytes).remove(key)))
    }
}
