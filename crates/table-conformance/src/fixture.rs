//! How the table under test is made.

use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use shm_arena::{
    Access, AttachOptions, CreateOptions, Environment, HeapMemory, MappedMemory, SegmentError,
};
use shm_table::{Design, Table, TableOptions, TableShape};
use tempfile::TempDir;

/// Handles on one table.
pub type Tables = Vec<Box<dyn Table>>;

/// Makes the table under test, empty, as often as it is asked.
pub trait Fixture: Send + Sync {
    /// That many handles on one fresh table, as that many processes would have them.
    fn tables(&self, options: &TableOptions, handles: usize) -> Tables;

    /// A fresh table in a file, if it can be in one.
    fn create_in(&self, path: &Path, options: &TableOptions) -> Option<Box<dyn Table>> {
        let _ = (path, options);
        None
    }

    /// A handle on the table in a file, if it can be in one.
    fn attach_in(&self, path: &Path, access: Access) -> Option<Box<dyn Table>> {
        let _ = (path, access);
        None
    }

    /// One handle on a fresh table.
    fn table(&self, options: &TableOptions) -> Box<dyn Table> {
        self.tables(options, 1).pop().expect("one handle was asked for")
    }
}

/// Few buckets, few slots, few blocks: collisions and exhaustion are ordinary.
pub fn tiny() -> TableOptions {
    let shape = TableShape { buckets: 2, slots: 4, slabs: 2, slab_units: 8, block_units_min: 1 };
    TableOptions {
        processes: 2,
        lines: 4,
        spares: Some(2),
        shape: Some(shape),
        buckets_max: Some(4),
        ..TableOptions::default()
    }
}

/// Tables of a design on the heap.
#[derive(Debug)]
pub struct Heap<D>(PhantomData<fn() -> D>);

impl<D: Design<Arc<HeapMemory>>> Heap<D> {
    /// The fixture.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<D: Design<Arc<HeapMemory>>> Default for Heap<D> {
    fn default() -> Self {
        Self::new()
    }
}

impl<D: Design<Arc<HeapMemory>> + 'static> Fixture for Heap<D> {
    fn tables(&self, options: &TableOptions, handles: usize) -> Tables {
        let words = D::word_count(options).expect("a size");
        let memory = Arc::new(HeapMemory::new(words));
        let environment = Environment::default();
        let first = D::create(memory.clone(), options, &environment).expect("a table");
        let others = (1..handles)
            .map(|_| Box::new(D::attach(memory.clone(), &environment).expect("a handle")) as _);
        let others: Tables = others.collect();
        std::iter::once(Box::new(first) as Box<dyn Table>).chain(others).collect()
    }
}

/// Tables of a design in files on tmpfs, mapped by each handle.
#[derive(Debug)]
pub struct Mapped<D>(PhantomData<fn() -> D>);

impl<D: Design<MappedMemory>> Mapped<D> {
    /// The fixture.
    pub const fn new() -> Self {
        Self(PhantomData)
    }

    fn create(path: &Path, options: &TableOptions) -> Result<D, SegmentError> {
        let bytes = 8 * D::word_count(options)?;
        MappedMemory::create(path, bytes, &CreateOptions::default(), |memory| {
            let environment = Environment::mapped(&memory)?;
            D::create(memory, options, &environment)
        })
    }

    fn attach(path: &Path, access: Access) -> Result<D, SegmentError> {
        let options = AttachOptions { access, ..AttachOptions::default() };
        let memory = MappedMemory::attach(path, &options)?;
        let environment = Environment::mapped(&memory)?;
        D::attach(memory, &environment)
    }
}

impl<D: Design<MappedMemory>> Default for Mapped<D> {
    fn default() -> Self {
        Self::new()
    }
}

/// A folder in shared memory where there is one.
pub(crate) fn folder() -> TempDir {
    let shared_memory = Path::new("/dev/shm");
    let folder =
        if shared_memory.is_dir() { TempDir::new_in(shared_memory) } else { TempDir::new() };
    folder.expect("a folder for segments")
}

impl<D: Design<MappedMemory> + 'static> Fixture for Mapped<D> {
    fn tables(&self, options: &TableOptions, handles: usize) -> Tables {
        let folder = folder();
        let path = folder.path().join("table");
        let first = Self::create(&path, options).expect("a table");
        let others = (1..handles)
            .map(|_| Box::new(Self::attach(&path, Access::ReadWrite).expect("a handle")) as _);
        let others: Tables = others.collect();
        // The file goes with its folder; mappings stay.
        std::iter::once(Box::new(first) as Box<dyn Table>).chain(others).collect()
    }

    fn create_in(&self, path: &Path, options: &TableOptions) -> Option<Box<dyn Table>> {
        Some(Box::new(Self::create(path, options).expect("a table")))
    }

    fn attach_in(&self, path: &Path, access: Access) -> Option<Box<dyn Table>> {
        Some(Box::new(Self::attach(path, access).expect("a handle")))
    }
}
