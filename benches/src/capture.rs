//! Session values from real rustls handshakes, made in memory when a run starts.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::{StoresServerSessions, WebPkiClientVerifier};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion, version,
};

use crate::corpus::{Corpus, SESSIONS_OF_A_KIND, SessionKind};
use crate::fault::Fault;

/// The name that clients ask for; its length is part of a stored session.
const SERVER_NAME: &str = "www.example.com";

/// Makes at least [`SESSIONS_OF_A_KIND`] sessions of each kind by as many handshakes as it takes,
/// one thread a kind. About a second on two cores.
pub fn capture() -> Result<Corpus, Fault> {
    let identities = Identities::new()?;
    let kinds = thread::scope(|scope| {
        let captures: Vec<_> = SessionKind::ALL
            .iter()
            .map(|&kind| {
                let identities = &identities;
                scope.spawn(move || capture_kind(identities, kind))
            })
            .collect();
        captures
            .into_iter()
            .map(|capture| {
                capture
                    .join()
                    .unwrap_or_else(|_| Err(Fault::Capture("a capturing thread panicked".into())))
            })
            .collect::<Result<Vec<_>, _>>()
    })?;
    Corpus::new(kinds)
}

/// Keeps what a server stores.
struct Capturing(Mutex<Vec<Vec<u8>>>);

impl fmt::Debug for Capturing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Capturing")
    }
}

impl StoresServerSessions for Capturing {
    fn put(&self, _key: Vec<u8>, value: Vec<u8>) -> bool {
        self.0.lock().is_ok_and(|mut values| {
            values.push(value);
            true
        })
    }

    fn get(&self, _key: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn take(&self, _key: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// A certificate and its key.
struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

struct Identities {
    roots: RootCertStore,
    server: Identity,
    client: Identity,
}

impl Identities {
    fn new() -> Result<Self, Fault> {
        let mut authority = CertificateParams::new(Vec::new()).map_err(failed)?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate().map_err(failed)?)
            .map_err(failed)?;
        let issue = |name: &str| -> Result<Identity, Fault> {
            let params = CertificateParams::new(vec![name.to_owned()]).map_err(failed)?;
            let key = KeyPair::generate().map_err(failed)?;
            let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
            Ok(Identity {
                certificate: certificate.der().clone(),
                key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            })
        };
        let mut roots = RootCertStore::empty();
        roots.add(issuer.as_ref().der().clone()).map_err(failed)?;
        Ok(Self { roots, server: issue(SERVER_NAME)?, client: issue("client.example.com")? })
    }
}

fn failed(error: impl fmt::Display) -> Fault {
    Fault::Capture(error.to_string())
}

fn capture_kind(identities: &Identities, kind: SessionKind) -> Result<Vec<Vec<u8>>, Fault> {
    let store = Arc::new(Capturing(Mutex::default()));
    let server = Arc::new(server_config(identities, kind, Arc::clone(&store))?);
    let client = Arc::new(client_config(identities, kind)?);
    let mut padding = Vec::new();
    if let Some(padded) = kind.padded_bytes() {
        let plain = handshake(&server, &client, &store, &[])?;
        let bytes = plain.first().map_or(0, Vec::len);
        let missing = padded.checked_sub(bytes).ok_or_else(|| {
            Fault::Capture(format!("a session of {bytes} bytes cannot be padded to {padded}"))
        })?;
        padding = vec![0x5a; missing];
    }
    let mut values = Vec::new();
    while values.len() < SESSIONS_OF_A_KIND {
        values.extend(handshake(&server, &client, &store, &padding)?);
    }
    let is_wrong = |bytes| kind.padded_bytes().is_some_and(|padded| bytes != padded);
    match values.iter().find(|value| is_wrong(value.len())) {
        Some(other) => Err(Fault::Capture(format!("a padded session of {} bytes", other.len()))),
        None => Ok(values),
    }
}

fn versions(kind: SessionKind) -> &'static [&'static SupportedProtocolVersion] {
    static TLS12: [&SupportedProtocolVersion; 1] = [&version::TLS12];
    static TLS13: [&SupportedProtocolVersion; 1] = [&version::TLS13];
    if kind.is_tls13() { &TLS13 } else { &TLS12 }
}

fn server_config(
    identities: &Identities,
    kind: SessionKind,
    store: Arc<Capturing>,
) -> Result<ServerConfig, Fault> {
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions(kind))
        .map_err(failed)?;
    let builder = if kind.has_client_certificate() {
        let roots = Arc::new(identities.roots.clone());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots, provider).build().map_err(failed)?;
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let server = &identities.server;
    let mut config = builder
        .with_single_cert(vec![server.certificate.clone()], server.key.clone_key())
        .map_err(failed)?;
    config.session_storage = store;
    Ok(config)
}

fn client_config(identities: &Identities, kind: SessionKind) -> Result<ClientConfig, Fault> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions(kind))
        .map_err(failed)?
        .with_root_certificates(identities.roots.clone());
    let mut config = if kind.has_client_certificate() {
        let client = &identities.client;
        builder
            .with_client_auth_cert(vec![client.certificate.clone()], client.key.clone_key())
            .map_err(failed)?
    } else {
        builder.with_no_client_auth()
    };
    // Every handshake is a full one.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// One full handshake; gives what the server stored.
fn handshake(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    store: &Capturing,
    resumption_data: &[u8],
) -> Result<Vec<Vec<u8>>, Fault> {
    let name = ServerName::try_from(SERVER_NAME).map_err(failed)?;
    let mut client = ClientConnection::new(Arc::clone(client), name).map_err(failed)?;
    let mut server = ServerConnection::new(Arc::clone(server)).map_err(failed)?;
    server.set_resumption_data(resumption_data);
    let mut wire = Vec::new();
    for _ in 0..16 {
        wire.clear();
        while client.wants_write() {
            client.write_tls(&mut wire).map_err(failed)?;
        }
        let mut unread = wire.as_slice();
        while !unread.is_empty() {
            server.read_tls(&mut unread).map_err(failed)?;
            server.process_new_packets().map_err(failed)?;
        }
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).map_err(failed)?;
        }
        if wire.is_empty() && !client.wants_write() && !server.is_handshaking() {
            let mut values = store.0.lock().map_err(|_| failed("the capture is poisoned"))?;
            return Ok(std::mem::take(&mut values));
        }
        let mut unread = wire.as_slice();
        while !unread.is_empty() {
            client.read_tls(&mut unread).map_err(failed)?;
            client.process_new_packets().map_err(failed)?;
        }
    }
    Err(failed("a handshake did not end after 16 flights"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_handshakes_give_sessions_of_the_documented_sizes() {
        let corpus = capture().unwrap();
        for kind in SessionKind::ALL {
            let sessions = corpus.of(kind);
            assert!(sessions.len() >= SESSIONS_OF_A_KIND);
            let secrets: std::collections::HashSet<_> = sessions.iter().collect();
            assert!(secrets.len() >= SESSIONS_OF_A_KIND / 2, "{kind:?} sessions are all alike");
            let expected = match (kind.padded_bytes(), kind.has_client_certificate()) {
                (Some(padded), _) => padded..=padded,
                (None, false) => 60..=120,
                (None, true) => 350..=600,
            };
            assert!(sessions.iter().all(|session| expected.contains(&session.len())), "{kind:?}");
        }
    }
}
