//! Heaps in files and memory descriptors, for processes to share.

use std::os::fd::OwnedFd;
use std::path::Path;

use super::{HeapOptions, SharedHeap};
use crate::environment::Environment;
use crate::error::SegmentError;
use crate::mapped::{AttachOptions, CreateOptions, MappedMemory};

impl SharedHeap<MappedMemory> {
    /// Makes a file with an empty heap, complete before anybody can find it, and attaches.
    ///
    /// # Errors
    ///
    /// As [`MappedMemory::create`]. Nothing is left behind.
    pub fn create_file(
        path: &Path,
        options: &HeapOptions,
        file: &CreateOptions,
    ) -> Result<Self, SegmentError> {
        let bytes = 8 * Self::word_count(options).map_err(|error| error.in_file(path))?;
        MappedMemory::create(path, bytes, file, |memory| Self::fill(memory, options))
            .map_err(|error| error.in_file(path))
    }

    /// Joins the heap in a file.
    ///
    /// # Errors
    ///
    /// As [`MappedMemory::attach`]; a file that is no heap is named field by field.
    pub fn attach_file(path: &Path, file: &AttachOptions) -> Result<Self, SegmentError> {
        Self::join(MappedMemory::attach(path, file)?).map_err(|error| error.in_file(path))
    }

    #[cfg(target_os = "linux")]
    /// Makes an empty heap in a memory descriptor, for relatives that inherit or are sent it.
    ///
    /// # Errors
    ///
    /// As [`MappedMemory::memfd`].
    pub fn create_memfd(
        name: &str,
        options: &HeapOptions,
        mapping: &crate::mapped::MappingOptions,
    ) -> Result<Self, SegmentError> {
        let bytes = 8 * Self::word_count(options)?;
        Self::fill(MappedMemory::memfd(name, bytes, mapping)?, options)
    }

    /// Joins the heap behind a descriptor that another process made.
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

    fn fill(memory: MappedMemory, options: &HeapOptions) -> Result<Self, SegmentError> {
        let environment = Environment::mapped(&memory)?;
        Self::create(memory, options, &environment)
    }

    fn join(memory: MappedMemory) -> Result<Self, SegmentError> {
        let environment = Environment::mapped(&memory)?;
        Self::attach(memory, &environment)
    }
}
