//! One cell of the comparison: its worker processes, started, asked and watched.
//!
//! Every answer has a time limit, and a worker that ends or stays silent is an error. Workers die
//! with this process, and with the cell.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::fault::Fault;
use crate::protocol::{Addresses, Job, Measured, Reply, Request, Run, WORKER_VARIABLE};
use crate::row::Place;

/// Longest time to make and fill the tables of a cell.
const CREATE_TIME_MAX: Duration = Duration::from_secs(120);

/// The running workers of a cell.
#[derive(Debug)]
pub struct Cell {
    processes: Vec<WorkerProcess>,
    facts: Vec<String>,
    stored: u64,
}

#[derive(Debug)]
struct WorkerProcess {
    index: usize,
    child: Child,
    requests: Option<ChildStdin>,
    replies: Receiver<String>,
}

impl Cell {
    /// Starts the workers, makes and fills the tables, and lets everybody join.
    pub fn start(job: &Job) -> Result<Self, Fault> {
        let in_threads = job.row.place() == Place::Threads;
        let (processes, own_workers) = if in_threads { (1, job.workers) } else { (job.workers, 1) };
        let processes = (0..processes)
            .map(|index| {
                let job = Job { first_worker: index * own_workers, own_workers, ..job.clone() };
                WorkerProcess::start(index as usize, &job)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut cell = Self { processes, facts: Vec::new(), stored: 0 };
        let (first, others) = cell.processes.split_at_mut(1);
        first[0].ask(&Request::Create)?;
        let (addresses, stored, facts) = first[0].ready()?;
        for process in &mut *others {
            process.ask(&Request::Join(addresses.clone()))?;
        }
        for process in others {
            process.ready()?;
        }
        (cell.facts, cell.stored) = (facts, stored);
        Ok(cell)
    }

    /// What the row says about itself.
    pub fn facts(&self) -> &[String] {
        &self.facts
    }

    /// Sessions with which the row started.
    pub fn stored(&self) -> u64 {
        self.stored
    }

    /// Measures; gives one entry a worker. A worker that is silent for longer than the limit is
    /// killed, and that is an error.
    pub fn run(&mut self, run: &Run, limit: Duration) -> Result<Vec<Measured>, Fault> {
        for process in &mut self.processes {
            process.ask(&Request::Run(*run))?;
        }
        let mut measured = Vec::new();
        let mut fault = None;
        for process in &mut self.processes {
            match process.reply(limit) {
                Ok(Reply::Done(workers)) => measured.extend(workers),
                Ok(other) => fault = Some(process.unexpected(&other)),
                // The first worker that failed says why; the others only that one has.
                Err(error) => {
                    let is_consequence = error.to_string().contains(&Fault::Aborted.to_string());
                    if fault.is_none() || !is_consequence {
                        fault = Some(error);
                    }
                }
            }
        }
        fault.map_or(Ok(measured), Err)
    }

    /// Ends the workers, and with them what they have mapped.
    pub fn stop(&mut self) {
        self.processes.clear();
    }

    /// Process ids of the workers.
    pub fn process_ids(&self) -> Vec<u32> {
        self.processes.iter().map(|process| process.child.id()).collect()
    }
}

impl WorkerProcess {
    fn start(index: usize, job: &Job) -> Result<Self, Fault> {
        let executable = std::env::current_exe().map_err(Fault::io("find this executable"))?;
        let text = serde_json::to_string(job).expect("a job is plain data");
        let mut child = Command::new(executable)
            .env(WORKER_VARIABLE, text)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(Fault::io("start a worker process"))?;
        let requests = child.stdin.take();
        let (sender, replies) = channel();
        if let Some(out) = child.stdout.take() {
            thread::spawn(move || {
                for line in BufReader::new(out).lines() {
                    let Ok(line) = line else { return };
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Self { index, child, requests, replies })
    }

    fn ask(&mut self, request: &Request) -> Result<(), Fault> {
        let mut line = serde_json::to_vec(request).expect("requests are plain data");
        line.push(b'\n');
        let sent = self.requests.as_mut().is_some_and(|pipe| pipe.write_all(&line).is_ok());
        if sent { Ok(()) } else { Err(self.ended()) }
    }

    fn reply(&mut self, limit: Duration) -> Result<Reply, Fault> {
        let line = match self.replies.recv_timeout(limit) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                let seconds = limit.as_secs();
                let problem = format!("was silent for {seconds} s and was killed");
                self.kill();
                return Err(Fault::Worker { worker: self.index, problem });
            }
            Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
        };
        match serde_json::from_str(&line) {
            Ok(Reply::Failed(problem)) => {
                Err(Fault::Worker { worker: self.index, problem: format!("failed: {problem}") })
            }
            Ok(reply) => Ok(reply),
            Err(error) => {
                let problem = format!("said what is no reply ({error}): {line}");
                Err(Fault::Worker { worker: self.index, problem })
            }
        }
    }

    fn ready(&mut self) -> Result<(Addresses, u64, Vec<String>), Fault> {
        match self.reply(CREATE_TIME_MAX)? {
            Reply::Ready { addresses, stored, facts } => Ok((addresses, stored, facts)),
            other => Err(self.unexpected(&other)),
        }
    }

    fn unexpected(&self, reply: &Reply) -> Fault {
        let problem = format!("answered out of turn: {reply:?}");
        Fault::Worker { worker: self.index, problem }
    }

    /// Why a worker that closed its pipe ended: its last words, or its exit status.
    fn ended(&mut self) -> Fault {
        self.requests = None;
        let last_words =
            self.replies.try_iter().find_map(|line| match serde_json::from_str(&line) {
                Ok(Reply::Failed(problem)) => Some(format!("failed: {problem}")),
                _ => None,
            });
        let problem = last_words.unwrap_or_else(|| match self.child.wait() {
            Ok(status) => format!("ended unexpectedly ({status})"),
            Err(error) => format!("ended unexpectedly ({error})"),
        });
        Fault::Worker { worker: self.index, problem }
    }

    fn kill(&mut self) {
        self.requests = None;
        // A worker that has ended already needs neither.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        self.kill();
    }
}
