//! A table's entries in a file, and back: for what has to outlive a boot, or to change its size.
//!
//! ```text
//! header   magic "SHMTDUMP" │ format version (4) │ 0 (4)
//! entry    key bytes (1) │ value bytes (4) │ metadata (8) │ key │ value      as often as needed
//! end      0 (1) │ entries (8) │ checksum of all before it (4), CRC-32
//! ```
//!
//! Numbers are little-endian, and nothing follows the end. A file says nothing of the design that
//! it came from: any table reads what any other wrote. It holds keys and values in clear.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::contract::{Entry, Error, Put, Table};
use crate::entry::EntryShape;

/// Beginning of every saved table.
const MAGIC: [u8; 8] = *b"SHMTDUMP";
/// Version of the format.
const VERSION: u32 = 1;

/// Why a table was not saved or loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaveError {
    /// Reading or writing failed.
    #[error("cannot read or write: {0}")]
    Io(#[from] io::Error),
    /// The file is no saved table. The table is unchanged.
    #[error("not a saved table: it does not begin with SHMTDUMP")]
    Foreign,
    /// The file has a format that this build does not know. The table is unchanged.
    #[error("format version {found}: this build reads version {VERSION}")]
    Format {
        /// The version found.
        found: u32,
    },
    /// The file is not what was written. The table is unchanged.
    #[error("damaged at byte {at}: {what}; load another copy")]
    Damaged {
        /// What cannot be.
        what: &'static str,
        /// Bytes before it.
        at: u64,
    },
    /// The table refused an entry: those before it are loaded, the others are not.
    #[error("after {loaded} entries: {error}")]
    Table {
        /// Entries that are loaded or saved.
        loaded: u64,
        /// What the table answered.
        error: Error,
    },
}

/// Writes every entry that is there throughout; gives how many were written.
///
/// Others may read and write meanwhile; what holds of [`Table::scan`] holds here.
///
/// # Errors
///
/// [`SaveError::Io`]; [`SaveError::Table`] where the table cannot be read.
pub fn save<T: Table + ?Sized>(table: &T, out: impl Write) -> Result<u64, SaveError> {
    let mut out = Summing::new(out);
    out.write_all(&MAGIC)?;
    out.write_all(&VERSION.to_le_bytes())?;
    out.write_all(&[0; 4])?;
    let (mut cursor, mut written, mut failed) = (table.cursor(), 0, None);
    while failed.is_none() && !cursor.is_at_end() {
        let scanned = table.scan(&mut cursor, &mut |entry, _| {
            if failed.is_none() {
                failed = write_entry(&mut out, entry).err();
                written += 1;
            }
        });
        scanned.map_err(|error| SaveError::Table { loaded: written, error })?;
    }
    if let Some(error) = failed {
        return Err(error.into());
    }
    out.write_all(&[0])?;
    out.write_all(&written.to_le_bytes())?;
    let sum = out.sum();
    out.write_all(&sum.to_le_bytes())?;
    out.inner.flush()?;
    Ok(written)
}

fn write_entry(out: &mut impl Write, entry: Entry<'_>) -> io::Result<()> {
    let too_long = |_| io::Error::other("an entry longer than any table holds");
    out.write_all(&[u8::try_from(entry.key.len()).map_err(too_long)?])?;
    out.write_all(&u32::try_from(entry.value.len()).map_err(too_long)?.to_le_bytes())?;
    out.write_all(&entry.metadata.to_le_bytes())?;
    out.write_all(entry.key)?;
    out.write_all(entry.value)
}

/// Puts every entry of a saved table, in place of those with the same keys; gives how many.
///
/// The whole input is read and checked before the first entry is put, and then read once more.
///
/// # Errors
///
/// [`SaveError::Foreign`], [`SaveError::Format`], [`SaveError::Damaged`]: the table is unchanged.
/// [`SaveError::Table`] if it has no room or takes no such entry.
pub fn load<T: Table + ?Sized>(table: &T, mut input: impl Read + Seek) -> Result<u64, SaveError> {
    let start = input.stream_position()?;
    read_all(&mut input, &mut |_, _| Ok(()))?;
    input.seek(SeekFrom::Start(start))?;
    read_all(&mut input, &mut |loaded, entry| match table.put(entry) {
        Ok(Put::Inserted | Put::Replaced) => Ok(()),
        Err(error) => Err(SaveError::Table { loaded, error }),
    })
}

/// Saves to a file that only its owner may read, complete before it bears this name.
///
/// # Errors
///
/// As [`save`]; a file that had the name is then as it was.
pub fn save_file<T: Table + ?Sized>(table: &T, path: &Path) -> Result<u64, SaveError> {
    let draft = path.with_added_extension(format!("{}.tmp", std::process::id()));
    let written = write_file(table, &draft).and_then(|written| {
        std::fs::rename(&draft, path)?;
        Ok(written)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&draft);
    }
    written
}

fn write_file<T: Table + ?Sized>(table: &T, draft: &Path) -> Result<u64, SaveError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(draft)?;
    let written = save(table, BufWriter::new(&file))?;
    file.sync_all()?;
    Ok(written)
}

/// Loads from a file.
///
/// # Errors
///
/// As [`load`].
pub fn load_file<T: Table + ?Sized>(table: &T, path: &Path) -> Result<u64, SaveError> {
    load(table, BufReader::new(File::open(path)?))
}

/// Reads a saved table to its end, checks it, and visits the entries on the way.
fn read_all(
    input: &mut impl Read,
    visit: &mut dyn FnMut(u64, Entry<'_>) -> Result<(), SaveError>,
) -> Result<u64, SaveError> {
    let mut input = Summing::new(input);
    if input.bytes::<8>("magic").map_or(true, |magic| magic != MAGIC) {
        return Err(SaveError::Foreign);
    }
    let found = u32::from_le_bytes(input.bytes("format version")?);
    if found != VERSION {
        return Err(SaveError::Format { found });
    }
    if input.bytes::<4>("header")? != [0; 4] {
        return Err(input.damaged("header"));
    }
    let (mut key, mut value, mut read) = (Vec::new(), Vec::new(), 0);
    loop {
        let [key_bytes] = input.bytes("end missing")?;
        if key_bytes == 0 {
            break;
        }
        let value_bytes = u32::from_le_bytes(input.bytes("value length")?) as usize;
        let metadata = u64::from_le_bytes(input.bytes("metadata")?);
        if value_bytes > EntryShape::VALUE_BYTES_MAX {
            return Err(input.damaged("value length"));
        }
        input.fill(&mut key, usize::from(key_bytes), "key")?;
        input.fill(&mut value, value_bytes, "value")?;
        visit(read, Entry { key: &key, value: &value, metadata })?;
        read += 1;
    }
    if u64::from_le_bytes(input.bytes("entries")?) != read {
        return Err(input.damaged("entries"));
    }
    let sum = input.sum();
    if u32::from_le_bytes(input.bytes("checksum")?) != sum {
        return Err(input.damaged("checksum"));
    }
    if input.inner.read(&mut [0])? != 0 {
        return Err(input.damaged("bytes after the end"));
    }
    Ok(read)
}

/// Passes bytes on and sums them up.
struct Summing<I> {
    inner: I,
    hasher: crc32fast::Hasher,
    passed: u64,
}

impl<I> Summing<I> {
    fn new(inner: I) -> Self {
        Self { inner, hasher: crc32fast::Hasher::new(), passed: 0 }
    }

    fn sum(&self) -> u32 {
        self.hasher.clone().finalize()
    }

    fn add(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.passed += bytes.len() as u64;
    }

    const fn damaged(&self, what: &'static str) -> SaveError {
        SaveError::Damaged { what, at: self.passed }
    }
}

impl<W: Write> Write for Summing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.add(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Summing<R> {
    fn bytes<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], SaveError> {
        let mut bytes = [0; N];
        self.read_exact(&mut bytes, what)?;
        Ok(bytes)
    }

    fn fill(
        &mut self,
        bytes: &mut Vec<u8>,
        length: usize,
        what: &'static str,
    ) -> Result<(), SaveError> {
        bytes.clear();
        bytes.resize(length, 0);
        self.read_exact(bytes, what)
    }

    fn read_exact(&mut self, bytes: &mut [u8], what: &'static str) -> Result<(), SaveError> {
        match self.inner.read_exact(bytes) {
            Ok(()) => {
                self.add(bytes);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.damaged(what)),
            Err(error) => Err(error.into()),
        }
    }
}
