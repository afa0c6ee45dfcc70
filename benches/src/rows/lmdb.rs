//! LMDB through heed, as fast as it goes without durability: one transaction a call.

use std::path::{Path, PathBuf};

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env};

use crate::fault::Fault;
use crate::keys::Key;
use crate::row::{Place, Row, Site};
use crate::stream::Call;
use crate::sys;

/// An environment and its unnamed database.
#[derive(Debug)]
pub struct Lmdb {
    environment: Env,
    database: Database<'static, Bytes, Bytes>,
    directory: PathBuf,
}

impl Lmdb {
    fn open(site: &Site, directory: PathBuf, action: &'static str) -> Result<Self, Fault> {
        let failed = |error: heed::Error| Fault::setup(Self::NAME, action, error);
        // A B-tree of copied pages needs several times what it holds.
        let bytes = (site.entries * (site.value_bytes_max + 64) * 4).next_multiple_of(1 << 20);
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let environment = sys::open_lmdb(&directory, bytes).map_err(failed)?;
        let write = environment.write_txn().map_err(failed)?;
        let database = environment
            .create_databases_and_commit(write, |opener, write| {
                let database = opener.create_database::<Bytes, Bytes>(write, None)?;
                heed::Result::Ok(CommitOrAbort::<_, ()>::Commit(database))
            })
            .map_err(failed)?
            .unwrap_commit();
        Ok(Self { environment, database, directory })
    }
}

fn failed(verb: &'static str) -> impl FnOnce(heed::Error) -> Fault {
    move |error| Fault::verb(Lmdb::NAME, verb, error)
}

impl Row for Lmdb {
    const NAME: &'static str = "lmdb";
    const PLACE: Place = Place::Processes;

    fn create(site: &Site) -> Result<Self, Fault> {
        let directory = site.path(Self::NAME);
        std::fs::create_dir(&directory)
            .map_err(|error| Fault::setup(Self::NAME, "create", error))?;
        Self::open(site, directory, "create")
    }

    fn address(&self) -> String {
        self.directory.display().to_string()
    }

    fn join(site: &Site, address: &str) -> Result<Self, Fault> {
        Self::open(site, Path::new(address).to_path_buf(), "join")
    }

    fn facts(&self) -> Vec<String> {
        vec![format!("lmdb lies in {}", self.directory.display())]
    }

    #[inline(always)]
    fn get(&mut self, call: &Call, value: &mut Vec<u8>) -> Result<bool, Fault> {
        let read = self.environment.read_txn().map_err(failed("get"))?;
        let stored = self.database.get(&read, &call.key).map_err(failed("get"))?;
        let Some(stored) = stored else {
            return Ok(false);
        };
        value.clear();
        value.extend_from_slice(stored);
        Ok(true)
    }

    #[inline(always)]
    fn put(&mut self, call: &Call, value: &[u8]) -> Result<(), Fault> {
        let mut write = self.environment.write_txn().map_err(failed("put"))?;
        self.database.put(&mut write, &call.key, value).map_err(failed("put"))?;
        write.commit().map_err(failed("put"))
    }

    #[inline(always)]
    fn take(&mut self, call: &Call, value: &mut Vec<u8>) -> Result<bool, Fault> {
        let mut write = self.environment.write_txn().map_err(failed("take"))?;
        let stored = self.database.get(&write, &call.key).map_err(failed("take"))?;
        let Some(stored) = stored else {
            return Ok(false);
        };
        value.clear();
        value.extend_from_slice(stored);
        self.database.delete(&mut write, &call.key).map_err(failed("take"))?;
        write.commit().map_err(failed("take"))?;
        Ok(true)
    }

    #[inline(always)]
    fn remove(&mut self, key: &Key) -> Result<bool, Fault> {
        let mut write = self.environment.write_txn().map_err(failed("remove"))?;
        let is_removed = self.database.delete(&mut write, key).map_err(failed("remove"))?;
        write.commit().map_err(failed("remove"))?;
        Ok(is_removed)
    }
}
