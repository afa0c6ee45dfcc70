//! The server processes, from the parent's side.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdout, Command, Stdio};

use socket2::Socket;

use crate::identity::Identity;
use crate::segment::Segment;
use crate::server::{LISTENING, Orders, Served, shared_socket};
use crate::{Failure, Version};

/// Server processes that listen on one port. Dropping them ends them.
pub(crate) struct Workers {
    address: SocketAddr,
    workers: Vec<Worker>,
    /// Keeps the port from being given to somebody else before the servers have it. It does not
    /// listen, so the kernel never picks it.
    _reservation: Socket,
}

struct Worker {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Workers {
    /// Starts the processes and waits until all of them listen.
    pub(crate) fn start(
        processes: u32,
        version: Version,
        segment: Option<&Segment>,
        identity: &Identity,
    ) -> Result<Self, Failure> {
        let reservation = shared_socket((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = reservation.local_addr()?.as_socket().ok_or("the port has no address")?;
        let mut workers = Vec::new();
        for index in 0..processes {
            workers.push(Worker::start(&Orders {
                index,
                address,
                version,
                identity: identity.clone(),
                segment: segment.map(Segment::path),
            })?);
        }
        for worker in &mut workers {
            let line = worker.line()?;
            if line.trim() != LISTENING {
                return Err("a server process ended before it listened; see above".into());
            }
        }
        Ok(Self { address, workers, _reservation: reservation })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells all to stop, and gives what each of them has to say.
    pub(crate) fn stop(mut self) -> Result<Vec<Served>, Failure> {
        self.workers.iter_mut().map(Worker::stop).collect()
    }
}

impl Worker {
    fn start(orders: &Orders) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or("the server's output is not piped")?;
        let mut worker = Self { child, output: BufReader::new(output) };
        worker.say(&serde_json::to_string(orders)?)?;
        Ok(worker)
    }

    fn say(&mut self, line: &str) -> Result<(), Failure> {
        let input = self.child.stdin.as_mut().ok_or("the server's input is not piped")?;
        writeln!(input, "{line}")?;
        Ok(())
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line)
    }

    fn stop(&mut self) -> Result<Served, Failure> {
        self.say("stop")?;
        let served = serde_json::from_str(&self.line()?)?;
        self.child.wait()?;
        Ok(served)
    }
}

impl Drop for Worker {
    /// A worker that was stopped is gone already and answers with an error, which is as well.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
