//! Real rustls handshakes, in memory, resumed through the cache by another server configuration.

use std::sync::Arc;

use rcgen::{CertifiedKey, KeyPair};
use rustls::client::{ClientSessionMemoryCache, Resumption, Tls12Resumption};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::StoresServerSessions;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};
use shm_session_cache::{CacheOptions, RustlsSessions, SessionCache, Stored};

use crate::double::Fault;
use crate::world::{TTL_MS, Verdict, World, ensure, holds_on_every_table, is_caught, parts};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// A server's identity and a client that trusts it.
struct Site {
    version: &'static SupportedProtocolVersion,
    certificate: CertifiedKey<KeyPair>,
}

impl Site {
    fn new(version: &'static SupportedProtocolVersion) -> Self {
        let certificate = rcgen::generate_simple_self_signed(vec!["localhost".into()])
            .expect("a certificate for a fixed name");
        Self { version, certificate }
    }

    /// A server process in miniature: its own configuration with its own handle on the table.
    fn server(&self, world: &World, application: &[u8]) -> Server {
        let key = PrivatePkcs8KeyDer::from(self.certificate.signing_key.serialize_der());
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[self.version])
            .expect("ring has both versions")
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.cert.der().clone()], key.into())
            .expect("the key fits the certificate");
        let options = CacheOptions { ttl_ms: TTL_MS, ..CacheOptions::default() };
        let sessions =
            RustlsSessions::new(world.attach(), world.clock.clone(), &parts(application), options);
        let sessions = Arc::new(sessions.expect("the options are in range"));
        config.session_storage = sessions.clone();
        Server { config: Arc::new(config), sessions }
    }

    /// A client that keeps what it is given to resume with.
    fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let der: &CertificateDer<'_> = self.certificate.cert.der();
        roots.add(der.clone()).expect("a certificate that was just made");
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[self.version])
            .expect("ring has both versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let store = Arc::new(ClientSessionMemoryCache::new(8));
        config.resumption =
            Resumption::store(store).tls12_resumption(Tls12Resumption::SessionIdOnly);
        Arc::new(config)
    }
}

struct Server {
    config: Arc<ServerConfig>,
    sessions: Arc<RustlsSessions>,
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").expect("a fixed name")
}

/// Shakes hands and reads a reply; how the client saw it done.
fn connect(client: &Arc<ClientConfig>, server: &Server) -> Result<HandshakeKind, String> {
    let mut client =
        ClientConnection::new(client.clone(), name()).map_err(|error| error.to_string())?;
    let mut server =
        ServerConnection::new(server.config.clone()).map_err(|error| error.to_string())?;
    let turns_max = 10;
    for _ in 0..turns_max {
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        while client.wants_write() {
            client.write_tls(&mut to_server).map_err(|error| error.to_string())?;
        }
        read_all(&to_server, |bytes| {
            server.read_tls(bytes).map_err(|error| error.to_string())?;
            server.process_new_packets().map(drop).map_err(|error| error.to_string())
        })?;
        while server.wants_write() {
            server.write_tls(&mut to_client).map_err(|error| error.to_string())?;
        }
        read_all(&to_client, |bytes| {
            client.read_tls(bytes).map_err(|error| error.to_string())?;
            client.process_new_packets().map(drop).map_err(|error| error.to_string())
        })?;
        if to_server.is_empty() && to_client.is_empty() {
            let (ours, theirs) = (client.handshake_kind(), server.handshake_kind());
            ensure!(ours == theirs, "client saw {ours:?}, server saw {theirs:?}");
            return ours.ok_or_else(|| "the handshake did not complete".into());
        }
    }
    Err(format!("no end after {turns_max} turns"))
}

fn read_all(
    mut bytes: &[u8],
    mut read: impl FnMut(&mut &[u8]) -> Result<(), String>,
) -> Result<(), String> {
    while !bytes.is_empty() {
        read(&mut bytes)?;
    }
    Ok(())
}

/// Four servers, as one cache makes them one: the first visit is full, all later ones resume.
fn every_return_is_resumed(world: &World, application: impl Fn(u8) -> Vec<u8>) -> Verdict {
    for version in VERSIONS {
        let site = Site::new(version);
        let servers: Vec<_> = (0..4).map(|index| site.server(world, &application(index))).collect();
        let client = site.client();
        let first = connect(&client, &servers[0])?;
        ensure!(first == HandshakeKind::Full, "{version:?}: first visit was {first:?}");
        for visit in 1..12 {
            let server = &servers[visit % servers.len()];
            let kind = connect(&client, server)?;
            ensure!(kind == HandshakeKind::Resumed, "{version:?}: visit {visit} was {kind:?}");
        }
        let hits: u64 = servers.iter().map(|server| server.sessions.cache().counters().hits).sum();
        ensure!(hits == 11, "{version:?}: {hits} hits for 11 resumed visits");
    }
    Ok(())
}

#[test]
fn a_client_is_resumed_by_every_server_that_shares_the_table() {
    holds_on_every_table(|world| every_return_is_resumed(world, |_| b"host".to_vec()));
    let apart = every_return_is_resumed(&World::with(Fault::None), |index| vec![index]);
    is_caught(apart, "visit 1 was Full");
}

fn another_domain_starts_anew(world: &World) -> Verdict {
    for version in VERSIONS {
        let site = Site::new(version);
        let (ours, other) = (site.server(world, b"staff only"), site.server(world, b"public"));
        let client = site.client();
        connect(&client, &other)?;
        let kind = connect(&client, &ours)?;
        ensure!(kind == HandshakeKind::Full, "{version:?}: a session crossed domains");
        let kind = connect(&client, &ours)?;
        ensure!(kind == HandshakeKind::Resumed, "{version:?}: not resumed in its own domain");
    }
    Ok(())
}

#[test]
fn a_session_of_another_domain_is_not_resumed() {
    holds_on_every_table(another_domain_starts_anew);
    is_caught(another_domain_starts_anew(&World::with(Fault::DomainIgnored)), "crossed domains");
}

fn an_old_session_starts_anew(world: &World) -> Verdict {
    for version in VERSIONS {
        let site = Site::new(version);
        let (first, second) = (site.server(world, b"host"), site.server(world, b"host"));
        let client = site.client();
        connect(&client, &first)?;
        world.clock.advance(TTL_MS - 1);
        let kind = connect(&client, &second)?;
        ensure!(kind == HandshakeKind::Resumed, "{version:?}: {kind:?} before the expiry");
        world.clock.advance(TTL_MS);
        let kind = connect(&client, &first)?;
        ensure!(kind == HandshakeKind::Full, "{version:?}: {kind:?} after the expiry");
    }
    Ok(())
}

#[test]
fn an_expired_session_is_not_resumed() {
    holds_on_every_table(an_old_session_starts_anew);
    is_caught(an_old_session_starts_anew(&World::stuck()), "Resumed after the expiry");
}

/// Somebody recorded the first flight of a returning client, ticket included, and sends it to
/// every server.
fn a_ticket_resumes_once(world: &World) -> Verdict {
    let site = Site::new(&rustls::version::TLS13);
    let servers: Vec<_> = (0..3).map(|_| site.server(world, b"host")).collect();
    let client = site.client();
    connect(&client, &servers[0])?;
    let mut returning = ClientConnection::new(client, name()).map_err(|error| error.to_string())?;
    let mut flight = Vec::new();
    returning.write_tls(&mut flight).map_err(|error| error.to_string())?;
    let mut kinds = Vec::new();
    for server in &servers {
        let mut connection =
            ServerConnection::new(server.config.clone()).map_err(|error| error.to_string())?;
        read_all(&flight, |bytes| {
            connection.read_tls(bytes).map_err(|error| error.to_string())?;
            connection.process_new_packets().map(drop).map_err(|error| error.to_string())
        })?;
        kinds.push(connection.handshake_kind());
    }
    let expected = [HandshakeKind::Resumed, HandshakeKind::Full, HandshakeKind::Full].map(Some);
    ensure!(kinds == expected, "answers were {kinds:?}");
    Ok(())
}

#[test]
fn a_replayed_ticket_is_refused_by_every_server() {
    holds_on_every_table(a_ticket_resumes_once);
    is_caught(a_ticket_resumes_once(&World::with(Fault::TakeKeeps)), "Resumed), Some(Resumed");
}

#[test]
fn a_failing_table_fails_no_handshake() {
    for version in VERSIONS {
        let site = Site::new(version);
        let error = shm_table::Error::Corrupt { what: "slot", word: 17 };
        let server = site.server(&World::with(Fault::Answers(error)), b"host");
        let client = site.client();
        for _ in 0..3 {
            assert_eq!(connect(&client, &server), Ok(HandshakeKind::Full), "{version:?}");
        }
        let counters = server.sessions.cache().counters();
        assert!(counters.declined.total() >= 3, "{counters:?}");
    }
}

#[test]
fn another_version_of_the_library_shares_nothing_with_this_one() {
    let world = World::with(Fault::None);
    let sessions = Site::new(&rustls::version::TLS13).server(&world, b"host").sessions;
    assert!(sessions.put(b"id".to_vec(), b"session".to_vec()));
    let other = shm_session_cache::Domain::new("rustls 0.24", &parts(b"host"));
    let options = CacheOptions::default();
    let other = SessionCache::new(world.table.clone(), world.clock.clone(), other, options)
        .expect("the options are in range");
    assert_eq!(other.get(b"id"), None);
    assert_eq!(other.put(b"id", b"theirs"), Stored::Inserted);
    assert_eq!(sessions.get(b"id"), Some(b"session".to_vec()));
}
