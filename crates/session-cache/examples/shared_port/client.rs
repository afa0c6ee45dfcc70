//! A client that comes back, one connection after the other.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::{ClientSessionMemoryCache, Resumption, Tls12Resumption};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, Stream};

use crate::identity::Identity;
use crate::{Failure, Version};

/// How one connection went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit {
    /// Which server process answered.
    pub(crate) process: u32,
    /// Whether the client's session was resumed.
    pub(crate) resumed: bool,
}

pub(crate) struct Client {
    config: Arc<ClientConfig>,
    identity: Identity,
    address: SocketAddr,
}

impl Client {
    pub(crate) fn new(
        version: Version,
        identity: &Identity,
        address: SocketAddr,
    ) -> Result<Self, Failure> {
        let mut roots = RootCertStore::empty();
        roots.add(identity.certificate())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version.rustls()])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::store(Arc::new(ClientSessionMemoryCache::new(8)))
            .tls12_resumption(Tls12Resumption::SessionIdOnly);
        Ok(Self { config: Arc::new(config), identity: identity.clone(), address })
    }

    /// Connects this many times, each time to whichever process the kernel picks.
    pub(crate) fn visit(
        &self,
        connections: u32,
        mut visited: impl FnMut(),
    ) -> Result<Vec<Visit>, Failure> {
        let mut visits = Vec::new();
        for _ in 0..connections {
            visits.push(self.connect()?);
            visited();
        }
        Ok(visits)
    }

    /// Shakes hands, asks which process answers, and reads the reply to its end: by then the
    /// server has stored what the client will return with.
    fn connect(&self) -> Result<Visit, Failure> {
        let mut socket = TcpStream::connect_timeout(&self.address, TIMEOUT)?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        socket.set_write_timeout(Some(TIMEOUT))?;
        socket.set_nodelay(true)?;
        let mut connection = ClientConnection::new(self.config.clone(), self.identity.name()?)?;
        let mut stream = Stream::new(&mut connection, &mut socket);
        stream.write_all(b"who?")?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        let resumed = match connection.handshake_kind() {
            Some(HandshakeKind::Resumed) => true,
            Some(_) => false,
            None => return Err("a reply came before the handshake was complete".into()),
        };
        Ok(Visit { process: reply.trim().parse()?, resumed })
    }
}

/// Longest wait for one step of a connection.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
