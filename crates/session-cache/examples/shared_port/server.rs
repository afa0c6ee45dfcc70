//! One server process: told what to do on the standard input, gone when that is closed.

use std::io::{BufRead, BufReader, Read, Write, stdin, stdout};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use rustls::server::ServerSessionMemoryCache;
use rustls::{ServerConfig, ServerConnection, Stream};
use serde::{Deserialize, Serialize};
use shm_arena::BootClock;
use shm_session_cache::{CacheOptions, ClientAuth, DomainParts, RustlsSessions};
use socket2::{Domain, Protocol, Socket, Type};

use crate::client::TIMEOUT;
use crate::identity::Identity;
use crate::{Failure, Version, segment};

/// The first line on the standard input.
#[derive(Serialize, Deserialize)]
pub(crate) struct Orders {
    pub(crate) index: u32,
    pub(crate) address: SocketAddr,
    pub(crate) version: Version,
    pub(crate) identity: Identity,
    /// The file of the shared cache, or `None` for a private one.
    pub(crate) segment: Option<PathBuf>,
}

/// The last line on the standard output: what the shared cache did in this process.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Served {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) stores: u64,
    pub(crate) declined: u64,
}

/// The first line on the standard output: from here on the kernel may pick this process.
pub(crate) const LISTENING: &str = "listening";

/// Serves until the standard input says anything more, or ends because the parent did.
pub(crate) fn serve() -> Result<(), Failure> {
    let mut input = BufReader::new(stdin());
    let mut line = String::new();
    input.read_line(&mut line)?;
    let orders: Orders = serde_json::from_str(&line)?;
    let sessions = match &orders.segment {
        Some(path) => Some(Arc::new(sessions(path, &orders.identity)?)),
        None => None,
    };
    let config = configuration(&orders, sessions.clone())?;
    let listener = listen(orders.address)?;
    println!("{LISTENING}");
    stdout().flush()?;
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            if let Err(failure) = answer(socket, &config, orders.index) {
                eprintln!("shared_port: process {}: {failure}", orders.index);
            }
        }
    });
    line.clear();
    if input.read_line(&mut line)? == 0 {
        return Err("the parent is gone".into());
    }
    let served = sessions.map(|sessions| sessions.cache().counters()).unwrap_or_default();
    let served = Served {
        hits: served.hits,
        misses: served.misses,
        stores: served.stores(),
        declined: served.declined.total(),
    };
    println!("{}", serde_json::to_string(&served)?);
    Ok(())
}

/// The shared cache: whoever has this certificate may resume.
fn sessions(path: &std::path::Path, identity: &Identity) -> Result<RustlsSessions, Failure> {
    let (table, clock) = (segment::attach(path)?, Arc::new(BootClock));
    let may_resume = DomainParts {
        protocol: "tls",
        certificates: &[&identity.certificate()],
        client_auth: ClientAuth::None,
        application: b"",
    };
    Ok(RustlsSessions::new(table, clock, &may_resume, CacheOptions::default())?)
}

fn configuration(
    orders: &Orders,
    sessions: Option<Arc<RustlsSessions>>,
) -> Result<Arc<ServerConfig>, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[orders.version.rustls()])?
        .with_no_client_auth()
        .with_single_cert(vec![orders.identity.certificate()], orders.identity.key())?;
    config.session_storage = match sessions {
        Some(sessions) => sessions,
        // Large enough that a private cache forgets nothing during a run.
        None => ServerSessionMemoryCache::new(65_536),
    };
    Ok(Arc::new(config))
}

fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    let socket = shared_socket(address)?;
    socket.listen(128)?;
    Ok(socket.into())
}

/// A socket on a port that others may have as well.
pub(crate) fn shared_socket(address: SocketAddr) -> Result<Socket, Failure> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Shakes hands, reads the question, and says which process this is.
fn answer(mut socket: TcpStream, config: &Arc<ServerConfig>, index: u32) -> Result<(), Failure> {
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    socket.set_nodelay(true)?;
    let mut connection = ServerConnection::new(config.clone())?;
    let mut stream = Stream::new(&mut connection, &mut socket);
    stream.read_exact(&mut [0; 4])?;
    stream.write_all(index.to_string().as_bytes())?;
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(())
}
