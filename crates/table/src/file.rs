//! Tables in files and memory descriptors, for processes to share.

use std::os::fd::OwnedFd;
use std::path::Path;

use shm_arena::{
    AttachOptions, CreateOptions, Environment, MappedMemory, MappingOptions, SegmentError,
};

use crate::any::AnyTable;
use crate::kind::Kind;
use crate::options::TableOptions;

/// A table of any design that processes share.
pub type SharedTable = AnyTable<MappedMemory>;

impl SharedTable {
    /// Makes a file with an empty table, complete before anybody can find it, and attaches.
    ///
    /// # Errors
    ///
    /// [`SegmentError::Exists`] if the path exists, also when somebody else was quicker; otherwise
    /// as [`MappedMemory::create`]. Nothing is left behind.
    pub fn create_file(
        path: &Path,
        kind: Kind,
        options: &TableOptions,
        file: &CreateOptions,
    ) -> Result<Self, SegmentError> {
        let bytes = Self::byte_count(kind, options).map_err(|error| error.in_file(path))?;
        MappedMemory::create(path, bytes, file, |memory| Self::fill(kind, memory, options))
            .map_err(|error| error.in_file(path))
    }

    /// Joins the table in a file, whatever its kind.
    ///
    /// # Errors
    ///
    /// As [`MappedMemory::attach`]; then [`SegmentError::InFile`] with the field of the header that
    /// differs and both values. The file is left as it was.
    pub fn attach_file(path: &Path, file: &AttachOptions) -> Result<Self, SegmentError> {
        let memory = MappedMemory::attach(path, file)?;
        Self::join(memory).map_err(|error| error.in_file(path))
    }

    /// Joins the table in a file, or makes it if there is no such file. Of several processes that
    /// do this at once, one makes the file and all join it.
    ///
    /// # Errors
    ///
    /// As [`attach_file`](Self::attach_file) and [`create_file`](Self::create_file).
    pub fn create_or_attach_file(
        path: &Path,
        kind: Kind,
        options: &TableOptions,
        create: &CreateOptions,
        attach: &AttachOptions,
    ) -> Result<Self, SegmentError> {
        if !path.exists() {
            match Self::create_file(path, kind, options, create) {
                Err(SegmentError::Exists { .. }) => {}
                made => return made,
            }
        }
        Self::attach_file(path, attach)
    }

    #[cfg(target_os = "linux")]
    /// Makes an empty table in a memory descriptor, which the memory of the table gives out, and
    /// attaches. For relatives that inherit or are sent the descriptor.
    ///
    /// # Errors
    ///
    /// As [`MappedMemory::memfd`].
    pub fn create_memfd(
        name: &str,
        kind: Kind,
        options: &TableOptions,
        mapping: &MappingOptions,
    ) -> Result<Self, SegmentError> {
        let bytes = Self::byte_count(kind, options)?;
        let memory = MappedMemory::memfd(name, bytes, mapping)?;
        Self::fill(kind, memory, options)
    }

    /// Joins the table behind a descriptor that another process made.
    ///
    /// # Errors
    ///
    /// As [`MappedMemory::attach_descriptor`] and [`attach_file`](Self::attach_file).
    pub fn attach_descriptor(
        descriptor: OwnedFd,
        file: &AttachOptions,
    ) -> Result<Self, SegmentError> {
        Self::join(MappedMemory::attach_descriptor(descriptor, file)?)
    }

    fn byte_count(kind: Kind, options: &TableOptions) -> Result<u64, SegmentError> {
        Ok(8 * Self::word_count(kind, options)?)
    }

    fn fill(
        kind: Kind,
        memory: MappedMemory,
        options: &TableOptions,
    ) -> Result<Self, SegmentError> {
        let environment = Environment::mapped(&memory)?;
        Self::create(kind, memory, options, &environment)
    }

    fn join(memory: MappedMemory) -> Result<Self, SegmentError> {
        let environment = Environment::mapped(&memory)?;
        Self::attach(memory, &environment)
    }
}
