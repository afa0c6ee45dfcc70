//! The table's key of a session: the domain, then the id.

use shm_table::KEY_BYTES_MAX;
use zeroize::Zeroize;

use crate::domain::{DOMAIN_BYTES, Domain};

/// Longest id that can be stored, in bytes; longer ones are looked up in vain.
pub const SESSION_ID_BYTES_MAX: usize = KEY_BYTES_MAX - DOMAIN_BYTES;

/// A key on the stack, wiped when dropped: under TLS 1.3 the id is what a client presents.
pub(crate) struct Key {
    bytes: [u8; KEY_BYTES_MAX],
    length: usize,
}

impl Key {
    /// `None` for an id that no table can hold: empty, or longer than [`SESSION_ID_BYTES_MAX`].
    pub(crate) fn new(domain: &Domain, id: &[u8]) -> Option<Self> {
        if id.is_empty() || id.len() > SESSION_ID_BYTES_MAX {
            return None;
        }
        let length = DOMAIN_BYTES + id.len();
        let mut bytes = [0; KEY_BYTES_MAX];
        bytes[..DOMAIN_BYTES].copy_from_slice(domain.bytes());
        bytes[DOMAIN_BYTES..length].copy_from_slice(id);
        Some(Self { bytes, length })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.bytes[..self.length].zeroize();
    }
}
