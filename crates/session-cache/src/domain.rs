//! Who may resume a session: sixteen bytes that begin every key.

use std::fmt;

use sha2::{Digest, Sha256};

/// Bytes of a domain.
pub const DOMAIN_BYTES: usize = 16;

/// Who may resume what is stored: a digest of [`DomainParts`] that begins every key of a cache.
///
/// Servers whose parts are equal share sessions, in whatever process they run; to all others the
/// sessions do not exist. TLS libraries do not check this themselves: a session that was
/// established under one client-authentication policy and resumed under another bypasses the
/// second one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Domain([u8; DOMAIN_BYTES]);

/// What servers must have in common to resume one another's sessions. There is no default: each
/// part is a decision.
#[derive(Clone, Copy, Debug)]
pub struct DomainParts<'a> {
    /// The protocol that carries the sessions, as a name: `tls`, `quic`. One name serves all TLS
    /// versions that one configuration accepts, because a stored session names its version.
    pub protocol: &'a str,
    /// What the server proves to be: its certificates in DER, leaf first, or their public keys if
    /// sessions are to outlive a renewal.
    pub certificates: &'a [&'a [u8]],
    /// How clients prove who they are.
    pub client_auth: ClientAuth<'a>,
    /// Anything else that keeps servers apart, such as the name of a virtual host; may be empty.
    pub application: &'a [u8],
}

/// How clients prove who they are.
#[derive(Clone, Copy, Debug)]
pub enum ClientAuth<'a> {
    /// They do not.
    None,
    /// By a certificate. The bytes stand for the policy and have to differ wherever a verifier
    /// would decide differently: trusted roots, revocation lists, required or optional.
    Policy(&'a [u8]),
}

impl Domain {
    /// The domain of these parts, for values in this format: the library that wrote them and the
    /// version of their encoding, such as `rustls 0.23`.
    ///
    /// The same parts give the same domain in every process and on every machine: the first 128
    /// bits of SHA-256 over all parts, each preceded by its length.
    pub fn new(format: &str, parts: &DomainParts<'_>) -> Self {
        let DomainParts { protocol, certificates, client_auth, application } = parts;
        let mut digest = Sha256::new();
        add(&mut digest, b"shm-session-cache domain 1");
        add(&mut digest, format.as_bytes());
        add(&mut digest, protocol.as_bytes());
        digest.update((certificates.len() as u64).to_le_bytes());
        for certificate in *certificates {
            add(&mut digest, certificate);
        }
        match client_auth {
            ClientAuth::None => add(&mut digest, b"none"),
            ClientAuth::Policy(policy) => {
                add(&mut digest, b"policy");
                add(&mut digest, policy);
            }
        }
        add(&mut digest, application);
        let digest: [u8; 32] = digest.finalize().into();
        let mut domain = [0; DOMAIN_BYTES];
        domain.copy_from_slice(&digest[..DOMAIN_BYTES]);
        Self(domain)
    }

    /// The bytes that begin every key of this domain.
    pub const fn bytes(&self) -> &[u8; DOMAIN_BYTES] {
        &self.0
    }

    /// Twelve bits of the domain, which entries carry in their metadata word so that a sweep can
    /// tell domains apart without reading keys.
    pub const fn tag(&self) -> u16 {
        u16::from_le_bytes([self.0[0], self.0[1]]) & 0xfff
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Domain({:032x})", u128::from_be_bytes(self.0))
    }
}

/// The length keeps neighbouring parts apart: without it `ab, c` and `a, bc` would be one domain.
fn add(digest: &mut Sha256, part: &[u8]) {
    digest.update((part.len() as u64).to_le_bytes());
    digest.update(part);
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: DomainParts<'_> = DomainParts {
        protocol: "tls",
        certificates: &[b"leaf", b"issuer"],
        client_auth: ClientAuth::Policy(b"roots"),
        application: b"host",
    };

    #[test]
    fn the_digest_of_known_parts_is_pinned_across_builds_and_machines() {
        let domain = Domain::new("rustls 0.23", &PARTS);
        assert_eq!(format!("{domain:?}"), "Domain(1e2c5c76662a6c680e61db32dcb8342b)");
    }

    #[test]
    fn a_change_of_any_part_changes_the_domain() {
        let domains = [
            Domain::new("rustls 0.23", &PARTS),
            Domain::new("rustls 0.24", &PARTS),
            Domain::new("rustls 0.23", &DomainParts { protocol: "quic", ..PARTS }),
            Domain::new("rustls 0.23", &DomainParts { certificates: &[b"leaf"], ..PARTS }),
            Domain::new(
                "rustls 0.23",
                &DomainParts { certificates: &[b"leafi", b"ssuer"], ..PARTS },
            ),
            Domain::new("rustls 0.23", &DomainParts { client_auth: ClientAuth::None, ..PARTS }),
            Domain::new(
                "rustls 0.23",
                &DomainParts { client_auth: ClientAuth::Policy(b""), ..PARTS },
            ),
            Domain::new("rustls 0.23", &DomainParts { application: b"", ..PARTS }),
        ];
        for (index, domain) in domains.iter().enumerate() {
            assert!(!domains[..index].contains(domain), "domain {index} repeats an earlier one");
        }
    }
}
