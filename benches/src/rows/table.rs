//! Our tables, as an application uses them: a segment in a file on tmpfs, attached by each process.

use std::os::fd::OwnedFd;
use std::path::Path;

use shm_arena::{
    AttachOptions, CreateOptions, Environment, MappedMemory, MappingOptions, SegmentError,
};
use shm_table::{Design, Entry, Lookup, Remove, TableOptions};

use crate::fault::Fault;
use crate::keys::{KEY_BYTES, Key};
use crate::row::{Place, Row, Site};
use crate::stream::Call;
use crate::sys;
use crate::workload::MANY;

/// The memory that an application hands to a table.
type Shared = MappedMemory;

/// A worker's handle on one of our tables.
#[derive(Debug)]
pub struct TableRow<D> {
    table: D,
    memory: Shared,
    address: String,
}

impl<D: Design<Shared> + 'static> TableRow<D> {
    fn options(site: &Site) -> TableOptions {
        TableOptions {
            entries: site.entries,
            key_bytes: KEY_BYTES,
            value_bytes: usize::try_from(site.value_bytes).unwrap_or(usize::MAX),
            ..TableOptions::default()
        }
    }

    fn create_in(memory: &Shared, options: &TableOptions) -> Result<D, SegmentError> {
        D::create(memory.clone(), options, &Environment::mapped(memory)?)
    }

    fn attach(address: &str) -> Result<Self, Fault> {
        let failed = |error: SegmentError| Fault::setup(Self::NAME, "join", error);
        // What another process calls its descriptor is opened here and handed over as one.
        let memory = if address.starts_with("/proc/") {
            let file = std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open(address)
                .map_err(Fault::io("open the segment"))?;
            MappedMemory::attach_descriptor(OwnedFd::from(file), &AttachOptions::default())
        } else {
            MappedMemory::attach(Path::new(address), &AttachOptions::default())
        };
        let memory = memory.map_err(failed)?;
        let environment = Environment::mapped(&memory).map_err(failed)?;
        let table = D::attach(memory.clone(), &environment).map_err(failed)?;
        Ok(Self { table, memory, address: address.to_owned() })
    }
}

impl<D: Design<Shared> + 'static> Row for TableRow<D> {
    const NAME: &'static str = D::KIND.name();
    const PLACE: Place = Place::Processes;

    fn create(site: &Site) -> Result<Self, Fault> {
        let failed = |error: SegmentError| Fault::setup(Self::NAME, "create", error);
        let options = Self::options(site);
        let bytes = D::word_count(&options).map_err(failed)? * 8;
        if let Some(path) = site.shared_file(Self::NAME) {
            let address = path.display().to_string();
            let create = CreateOptions::default();
            return MappedMemory::create(&path, bytes, &create, |memory| {
                let table = Self::create_in(&memory, &options)?;
                Ok(Self { table, memory, address })
            })
            .map_err(failed);
        }
        let memory = MappedMemory::memfd(Self::NAME, bytes, &MappingOptions::default());
        let memory = memory.map_err(failed)?;
        let table = Self::create_in(&memory, &options).map_err(failed)?;
        let descriptor = memory.descriptor().map_err(Fault::io("share the segment"))?;
        let address = sys::address_of(&descriptor).display().to_string();
        Ok(Self { table, memory, address })
    }

    fn address(&self) -> String {
        self.address.clone()
    }

    fn join(_site: &Site, address: &str) -> Result<Self, Fault> {
        Self::attach(address)
    }

    /// Beside a peer of threads: as another process would, in this one.
    fn share(&self) -> Option<Self> {
        Self::attach(&self.address).ok()
    }

    fn facts(&self) -> Vec<String> {
        vec![format!("{} copies values with {}", Self::NAME, self.memory.copy_kind())]
    }

    #[inline(always)]
    fn get(&mut self, call: &Call, value: &mut Vec<u8>) -> Result<bool, Fault> {
        match self.table.get(&call.key, value) {
            Ok(found) => Ok(found.is_some()),
            Err(error) => Err(Fault::verb(Self::NAME, "get", error)),
        }
    }

    #[inline(always)]
    fn get_many(&mut self, calls: &[Call], found: &mut Vec<Lookup>) -> Result<(), Fault> {
        let keys: [&[u8]; MANY] =
            std::array::from_fn(|index| calls.get(index).map_or(&[][..], |call| &call.key));
        match self.table.get_many(&keys[..calls.len()], found) {
            Ok(()) => Ok(()),
            Err(error) => Err(Fault::verb(Self::NAME, "get_many", error)),
        }
    }

    #[inline(always)]
    fn put(&mut self, call: &Call, value: &[u8]) -> Result<(), Fault> {
        let entry = Entry { key: &call.key, value, metadata: call.number };
        match self.table.put(entry) {
            Ok(_) => Ok(()),
            Err(error) => Err(Fault::verb(Self::NAME, "put", error)),
        }
    }

    #[inline(always)]
    fn take(&mut self, call: &Call, value: &mut Vec<u8>) -> Result<bool, Fault> {
        match self.table.take(&call.key, value) {
            Ok(found) => Ok(found.is_some()),
            Err(error) => Err(Fault::verb(Self::NAME, "take", error)),
        }
    }

    #[inline(always)]
    fn remove(&mut self, key: &Key) -> Result<bool, Fault> {
        match self.table.remove(key) {
            Ok(removed) => Ok(removed == Remove::Removed),
            Err(error) => Err(Fault::verb(Self::NAME, "remove", error)),
        }
    }
}
