//! The file that holds the shared cache.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use shm_arena::{AttachOptions, CreateOptions};
use shm_table::{Kind, SharedTable, Table, TableOptions};
use tempfile::TempDir;

use crate::Failure;

/// A segment with an empty table, in a folder of its own that goes with it.
pub(crate) struct Segment {
    folder: TempDir,
}

impl Segment {
    /// Makes room for all sessions of a run.
    pub(crate) fn create(kind: Kind, connections: u32) -> Result<Self, Failure> {
        let shared_memory = Path::new("/dev/shm");
        let folder = if shared_memory.is_dir() {
            TempDir::with_prefix_in("shared_port.", shared_memory)?
        } else {
            TempDir::with_prefix("shared_port.")?
        };
        let segment = Self { folder };
        // Under TLS 1.3 each connection stores two.
        let options = TableOptions {
            entries: 2 * u64::from(connections + 1),
            key_bytes: 48,
            value_bytes: 100,
            ..TableOptions::default()
        };
        SharedTable::create_file(&segment.path(), kind, &options, &CreateOptions::default())?
            .detach();
        Ok(segment)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("sessions")
    }
}

/// Joins the table in a file.
pub(crate) fn attach(path: &Path) -> Result<Arc<dyn Table>, Failure> {
    Ok(Arc::new(SharedTable::attach_file(path, &AttachOptions::default())?))
}

/// The design of this name.
pub(crate) fn parse_kind(name: &str) -> Result<Kind, String> {
    let found = Kind::ALL.into_iter().find(|kind| kind.name() == name);
    found.ok_or_else(|| {
        let names: Vec<_> = Kind::ALL.into_iter().map(Kind::name).collect();
        format!("choose one of {}", names.join(", "))
    })
}
