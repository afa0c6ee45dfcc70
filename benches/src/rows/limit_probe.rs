//! The limit of mixes that write: linear probing without any synchronisation, a copy a process.

use crate::fault::Fault;
use crate::keys::Key;
use crate::row::{Place, Row, Site};
use crate::slab::{Geometry, Slab};
use crate::stream::Call;
use crate::sys::Region;

/// A `Slab` of its own in each process, in pages of the size that the tables have.
#[derive(Debug)]
pub struct LimitProbe {
    geometry: Geometry,
    region: Region,
}

impl LimitProbe {
    #[inline(always)]
    fn slab(&mut self) -> Slab<'_> {
        Slab::new(self.geometry, self.region.bytes_mut())
    }
}

impl Row for LimitProbe {
    const NAME: &'static str = "limit_probe";
    const PLACE: Place = Place::Private;

    fn create(site: &Site) -> Result<Self, Fault> {
        let geometry = Geometry::new(site.entries, site.value_bytes_max);
        let region = Region::create(None, geometry.bytes())
            .map_err(|error| Fault::setup(Self::NAME, "create", error))?;
        Ok(Self { geometry, region })
    }

    fn address(&self) -> String {
        String::new()
    }

    fn join(site: &Site, _address: &str) -> Result<Self, Fault> {
        Self::create(site)
    }

    #[inline(always)]
    fn get(&mut self, call: &Call, value: &mut Vec<u8>) -> Result<bool, Fault> {
        Ok(self.slab().get(&call.key, value))
    }

    #[inline(always)]
    fn put(&mut self, call: &Call, value: &[u8]) -> Result<(), Fault> {
        if self.slab().put(&call.key, value) {
            Ok(())
        } else {
            Err(Fault::verb(Self::NAME, "put", "no free block"))
        }
    }

    #[inline(always)]
    fn take(&mut self, call: &Call, value: &mut Vec<u8>) -> Result<bool, Fault> {
        Ok(self.slab().take(&call.key, value))
    }

    #[inline(always)]
    fn remove(&mut self, key: &Key) -> Result<bool, Fault> {
        Ok(self.slab().remove(key))
    }
}
