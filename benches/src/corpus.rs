//! The session values that are stored: captured from handshakes, each copy ended by a check.

use crate::fault::Fault;
use crate::keys::{Key, check_of};

/// A kind of session. The discriminant is its place in a corpus.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionKind {
    /// TLS 1.2, no client certificate.
    Tls12,
    /// TLS 1.3, no client certificate.
    Tls13,
    /// TLS 1.2, ECDSA P-256 client certificate.
    Tls12ClientCertificate,
    /// TLS 1.3, ECDSA P-256 client certificate.
    Tls13ClientCertificate,
    /// TLS 1.2, padded through resumption data to [`PADDED_BYTES`].
    Tls12Padded,
    /// TLS 1.3, padded through resumption data to [`PADDED_BYTES`].
    Tls13Padded,
    /// TLS 1.2, padded through resumption data to [`LONG_BYTES`].
    Tls12Long,
}

impl SessionKind {
    /// Every kind, in the order of a corpus.
    pub const ALL: [Self; 7] = [
        Self::Tls12,
        Self::Tls13,
        Self::Tls12ClientCertificate,
        Self::Tls13ClientCertificate,
        Self::Tls12Padded,
        Self::Tls13Padded,
        Self::Tls12Long,
    ];

    /// Whether the handshake is one of TLS 1.3.
    pub const fn is_tls13(self) -> bool {
        matches!(self, Self::Tls13 | Self::Tls13ClientCertificate | Self::Tls13Padded)
    }

    /// Whether the client shows a certificate.
    pub const fn has_client_certificate(self) -> bool {
        matches!(self, Self::Tls12ClientCertificate | Self::Tls13ClientCertificate)
    }

    /// The length up to which the server adds resumption data, if it does.
    pub const fn padded_bytes(self) -> Option<usize> {
        match self {
            Self::Tls12Padded | Self::Tls13Padded => Some(PADDED_BYTES),
            Self::Tls12Long => Some(LONG_BYTES),
            _ => None,
        }
    }

    /// The sizes that a session of this kind belongs to.
    const fn sizes(self) -> Sizes {
        match self {
            Self::Tls12Padded | Self::Tls13Padded => Sizes::Padded,
            Self::Tls12Long => Sizes::Long,
            _ => Sizes::Natural,
        }
    }
}

/// Length of a padded session, in bytes: what mod_ssl stores with OpenSSL, rounded up.
pub const PADDED_BYTES: usize = 200;

/// Length of a long session, in bytes: one with a chain of certificates.
pub const LONG_BYTES: usize = 1500;

/// Least sessions of each kind that are captured.
pub const SESSIONS_OF_A_KIND: usize = 256;

/// Which kinds a workload stores.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub enum Sizes {
    /// Padded sessions alone: every value has [`PADDED_BYTES`].
    Padded,
    /// 85 % without and 15 % with a client certificate, as they come.
    Natural,
    /// Long sessions of TLS 1.2 alone: every value has [`LONG_BYTES`].
    Long,
}

/// Values by kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    kinds: Vec<Vec<Vec<u8>>>,
}

impl Corpus {
    /// A corpus of captured values, in the order of [`SessionKind::ALL`].
    pub fn new(kinds: Vec<Vec<Vec<u8>>>) -> Result<Self, Fault> {
        if kinds.len() != SessionKind::ALL.len() {
            return Err(Fault::Capture(format!(
                "{} kinds of sessions, not {}",
                kinds.len(),
                SessionKind::ALL.len()
            )));
        }
        for (kind, values) in SessionKind::ALL.iter().zip(&kinds) {
            if values.len() < SESSIONS_OF_A_KIND {
                let count = values.len();
                return Err(Fault::Capture(format!("{count} sessions of kind {kind:?}")));
            }
            if let Some(short) = values.iter().find(|value| value.len() < 16) {
                return Err(Fault::Capture(format!("a {kind:?} session of {} bytes", short.len())));
            }
        }
        Ok(Self { kinds })
    }

    /// Sessions of a kind.
    pub fn of(&self, kind: SessionKind) -> &[Vec<u8>] {
        &self.kinds[kind as usize]
    }

    /// The captured value that the session with this id has.
    #[inline]
    fn original(&self, key: &Key, sizes: Sizes, is_tls13: bool) -> &[u8] {
        let draw = usize::from(u16::from_ne_bytes([key[8], key[9]]));
        let kind = match (sizes, is_tls13, key[10] < 218) {
            (Sizes::Padded, false, _) => SessionKind::Tls12Padded,
            (Sizes::Padded, true, _) => SessionKind::Tls13Padded,
            (Sizes::Long, ..) => SessionKind::Tls12Long,
            (Sizes::Natural, false, true) => SessionKind::Tls12,
            (Sizes::Natural, true, true) => SessionKind::Tls13,
            (Sizes::Natural, false, false) => SessionKind::Tls12ClientCertificate,
            (Sizes::Natural, true, false) => SessionKind::Tls13ClientCertificate,
        };
        let values = &self.kinds[kind as usize];
        &values[draw % values.len()]
    }

    /// Appends the value that is stored under an id: the captured one, its last word replaced by
    /// the check of the id.
    #[inline]
    pub fn append(&self, key: &Key, sizes: Sizes, is_tls13: bool, out: &mut Vec<u8>) {
        let original = self.original(key, sizes, is_tls13);
        out.extend_from_slice(&original[..original.len() - 8]);
        out.extend_from_slice(&check_of(key).to_ne_bytes());
    }

    /// Mean length of the values of a workload, rounded up.
    pub fn mean_bytes(&self, sizes: Sizes, is_tls13: bool) -> u64 {
        let total: usize = (0..4096)
            .map(|number| {
                let key = crate::keys::session_id(0, 0, number);
                self.original(&key, sizes, is_tls13).len()
            })
            .sum();
        (total as u64).div_ceil(4096)
    }

    /// Length of the longest value of a workload.
    pub fn longest_of(&self, sizes: Sizes, is_tls13: bool) -> usize {
        let kinds = SessionKind::ALL
            .into_iter()
            .filter(|kind| kind.is_tls13() == is_tls13 && kind.sizes() == sizes);
        kinds.flat_map(|kind| self.of(kind)).map(Vec::len).max().unwrap_or(0)
    }

    /// Writes the corpus to bytes: counts and lengths as little-endian words of four bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for values in &self.kinds {
            push_length(&mut out, values.len());
            for value in values {
                push_length(&mut out, value.len());
                out.extend_from_slice(value);
            }
        }
        out
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, Fault> {
        let damaged = || Fault::Capture("the corpus that the parent wrote is damaged".to_owned());
        let mut kinds = Vec::new();
        for _ in SessionKind::ALL {
            let count = take_length(&mut bytes).ok_or_else(damaged)?;
            let mut values = Vec::new();
            for _ in 0..count {
                let length = take_length(&mut bytes).ok_or_else(damaged)?;
                let (value, rest) = bytes.split_at_checked(length).ok_or_else(damaged)?;
                values.push(value.to_vec());
                bytes = rest;
            }
            kinds.push(values);
        }
        Self::new(kinds)
    }
}

/// Whether a value ends with the check of its id.
#[inline(always)]
pub fn ends_with_check(value: &[u8], check: u64) -> bool {
    value.last_chunk::<8>().is_some_and(|end| u64::from_ne_bytes(*end) == check)
}

fn push_length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

fn take_length(bytes: &mut &[u8]) -> Option<usize> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    usize::try_from(u32::from_le_bytes(*length)).ok()
}

/// A corpus without handshakes, for tests of what does not depend on the content.
#[cfg(test)]
pub(crate) fn synthetic() -> Corpus {
    let value = |bytes: usize, index: usize| {
        (0..bytes).map(|at| u8::try_from((at * 7 + index) % 251).unwrap()).collect()
    };
    let lengths = [87, 87, 455, 455, PADDED_BYTES, PADDED_BYTES, LONG_BYTES];
    Corpus::new(
        lengths
            .iter()
            .map(|&bytes| (0..SESSIONS_OF_A_KIND).map(|index| value(bytes, index)).collect())
            .collect(),
    )
    .unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::session_id;

    #[test]
    fn a_corpus_survives_the_way_to_a_worker() {
        let corpus = synthetic();
        assert_eq!(Corpus::from_bytes(&corpus.to_bytes()).unwrap(), corpus);
        assert!(Corpus::from_bytes(&corpus.to_bytes()[..1000]).is_err());
    }

    #[test]
    fn the_check_tells_one_session_from_another() {
        let corpus = synthetic();
        let (one, other) = (session_id(1, 0, 0), session_id(1, 0, 1));
        let mut value = Vec::new();
        corpus.append(&one, Sizes::Padded, true, &mut value);
        assert_eq!(value.len(), PADDED_BYTES);
        assert!(ends_with_check(&value, check_of(&one)));
        assert!(!ends_with_check(&value, check_of(&other)));
        assert!(!ends_with_check(&value[..199], check_of(&one)));
    }

    #[test]
    fn natural_sizes_are_85_to_15() {
        let mean = synthetic().mean_bytes(Sizes::Natural, true);
        assert!((130..155).contains(&mean), "{mean}");
    }
}
