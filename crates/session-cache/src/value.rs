//! A session that came out of the cache.

use std::fmt;
use std::ops::Deref;

use zeroize::Zeroizing;

/// The bytes of a session: resumption secrets, wiped when dropped and never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SessionValue(Zeroizing<Vec<u8>>);

impl SessionValue {
    /// Gives the bytes away; whoever holds them has to wipe them.
    pub fn into_vec(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }

    /// The vector that a table fills.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Deref for SessionValue {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SessionValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SessionValue({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_length_and_no_byte() {
        let mut value = SessionValue::default();
        value.buffer().extend_from_slice(&[171, 205]);
        assert_eq!(format!("{value:?}"), "SessionValue(2 bytes)");
    }
}
