//! A worker process: makes or joins the tables of a cell and runs windows when it is asked to.

use std::io::{BufRead, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use hdrhistogram::Histogram;
use shm_arena::{AttachOptions, MappedMemory};

use crate::control::{Control, Wait};
use crate::corpus::Corpus;
use crate::driver::{AnySide, Measure, Side, Window};
use crate::fault::Fault;
use crate::protocol::{
    Addresses, Job, Measured, Plan, Reply, Request, Run, WORKER_VARIABLE, WindowPair,
};
use crate::row::{Place, Row, RowVisitor};
use crate::scaling::Round;
use crate::stream::{Lanes, Stream, StreamOptions};
use crate::sys;

/// Lane of the first worker's limit; below are the lanes of the row.
const LIMIT_LANES: u32 = 16;

/// Runs as a worker and ends the process, if the environment says that this is one.
pub fn branch() {
    let Ok(job) = std::env::var(WORKER_VARIABLE) else {
        return;
    };
    let job: Job = match serde_json::from_str(&job) {
        Ok(job) => job,
        Err(error) => {
            eprintln!("{WORKER_VARIABLE} is set by the bench for its own workers: {error}");
            std::process::exit(2);
        }
    };
    let code = match serve(&job) {
        Ok(()) => 0,
        Err(fault) => {
            say(&Reply::Failed(fault.to_string()));
            1
        }
    };
    std::process::exit(code);
}

fn say(reply: &Reply) {
    let mut line = serde_json::to_vec(reply).expect("replies are plain data");
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    // A parent that is gone needs no reply.
    let _ = out.write_all(&line).and_then(|()| out.flush());
}

fn serve(job: &Job) -> Result<(), Fault> {
    sys::die_with_parent(job.parent).map_err(Fault::io("bind the worker's life to the bench"))?;
    let control = Arc::new(Control::new(open_control(&job.control)?));
    let corpus = std::fs::read(&job.corpus).map_err(Fault::io("read the captured sessions"))?;
    let corpus = Arc::new(Corpus::from_bytes(&corpus)?);
    let mut workers = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(Fault::io("read a request"))?;
        let request: Request = serde_json::from_str(&line)
            .map_err(|error| Fault::setup("worker", "read a request", error))?;
        match request {
            Request::Create | Request::Join(_) => {
                let addresses = match request {
                    Request::Join(addresses) => Some(addresses),
                    _ => None,
                };
                let (made, reply) = build(job, &control, &corpus, addresses)?;
                workers = made;
                say(&reply);
            }
            Request::Run(run) => say(&Reply::Done(run_all(&mut workers, &run)?)),
        }
    }
    Ok(())
}

fn open_control(path: &Path) -> Result<MappedMemory, Fault> {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(Fault::io("open the control words"))?;
    MappedMemory::attach_descriptor(OwnedFd::from(file), &AttachOptions::default())
        .map_err(|error| Fault::setup("control", "attach", error))
}

/// One worker: its side of the row and of the limit.
struct Worker {
    row: Box<dyn AnySide>,
    limit: Box<dyn AnySide>,
    control: Arc<Control<MappedMemory>>,
    round: u64,
    index: u32,
    workers: u32,
}

fn build(
    job: &Job,
    control: &Arc<Control<MappedMemory>>,
    corpus: &Arc<Corpus>,
    addresses: Option<Addresses>,
) -> Result<(Vec<Worker>, Reply), Fault> {
    let part = |role: &'static str, first_lane: u32, address: Option<String>| Part {
        job,
        control,
        corpus,
        role,
        first_lane,
        address,
    };
    let (row, limit) = match addresses {
        Some(Addresses { row, limit }) => (Some(row), Some(limit)),
        None => (None, None),
    };
    let row = job.row.visit(part("row", 0, row))?;
    let limit = job.limit.visit(part("limit", LIMIT_LANES, limit))?;
    let workers = row
        .sides
        .into_iter()
        .zip(limit.sides)
        .zip(job.first_worker..)
        .map(|((row, limit), index)| Worker {
            index,
            row,
            limit,
            control: Arc::clone(control),
            round: 0,
            workers: job.workers,
        })
        .collect();
    let reply = Reply::Ready {
        addresses: Addresses { row: row.address, limit: limit.address },
        stored: row.stored,
        facts: row.facts,
    };
    Ok((workers, reply))
}

/// What makes the sides of the row, or of the limit, for all workers of this process.
struct Part<'a> {
    job: &'a Job,
    control: &'a Arc<Control<MappedMemory>>,
    corpus: &'a Arc<Corpus>,
    role: &'static str,
    first_lane: u32,
    address: Option<String>,
}

struct Sides {
    sides: Vec<Box<dyn AnySide>>,
    address: String,
    stored: u64,
    facts: Vec<String>,
}

impl RowVisitor for Part<'_> {
    type Output = Result<Sides, Fault>;

    fn visit<R: Row>(self) -> Self::Output {
        let job = self.job;
        let site = crate::row::Site { role: self.role.to_owned(), ..job.site.clone() };
        let first = match &self.address {
            Some(address) => R::join(&site, address)?,
            None => R::create(&site)?,
        };
        let (address, facts) = (first.address(), first.facts());
        // Threads share the first handle once its table is filled: a limit may need it frozen.
        let mut first = Some(Side::new(first, self.stream(self.lanes::<R>(job.first_worker))));
        let mut stored = 0;
        let mut sides: Vec<Box<dyn AnySide>> = Vec::new();
        let mut shared = Vec::new();
        for worker in job.first_worker..job.first_worker + job.own_workers {
            let lanes = self.lanes::<R>(worker);
            let mut side = match first.take() {
                Some(side) => side,
                None if R::PLACE == Place::Private => {
                    Side::new(R::create(&site)?, self.stream(lanes))
                }
                None => {
                    let row = shared.pop().ok_or_else(|| {
                        Fault::setup(R::NAME, "share", "it does not live in threads")
                    })?;
                    Side::new(row, self.stream(lanes))
                }
            };
            if R::PLACE == Place::Private || worker == 0 {
                stored += side.fill(lanes.first..lanes.first + lanes.count)?;
                shared = (1..job.own_workers).filter_map(|_| side.row().share()).collect();
            }
            sides.push(Box::new(side));
        }
        Ok(Sides { sides, address, stored, facts })
    }
}

impl Part<'_> {
    fn lanes<R: Row>(&self, worker: u32) -> Lanes {
        let own = self.first_lane + worker;
        match R::PLACE {
            Place::Private => Lanes { first: own, count: 1, own },
            _ => Lanes { first: self.first_lane, count: self.job.workers, own },
        }
    }

    fn stream(&self, lanes: Lanes) -> Stream<MappedMemory> {
        Stream::new(StreamOptions {
            control: Arc::clone(self.control),
            corpus: Arc::clone(self.corpus),
            workload: self.job.workload,
            entries: self.job.entries,
            lanes,
            seed: self.job.seed,
        })
    }
}

fn run_all(workers: &mut [Worker], run: &Run) -> Result<Vec<Measured>, Fault> {
    if let [worker] = workers {
        worker.pin();
        return Ok(vec![worker.run_or_abort(run)?]);
    }
    thread::scope(|scope| {
        let threads: Vec<_> = workers
            .iter_mut()
            .map(|worker| {
                scope.spawn(move || {
                    worker.pin();
                    worker.run_or_abort(run)
                })
            })
            .collect();
        let mut measured = Vec::new();
        let mut fault = None;
        for (index, thread) in threads.into_iter().enumerate() {
            match thread.join() {
                Ok(Ok(answer)) => measured.push(answer),
                // The abort of the others is a consequence and says less than its cause.
                Ok(Err(Fault::Aborted)) => {}
                Ok(Err(other)) => fault = Some(other),
                Err(_) => {
                    let problem = "panicked".to_owned();
                    fault = Some(Fault::Worker { worker: index, problem });
                }
            }
        }
        fault.map_or(Ok(measured), Err)
    })
}

impl Worker {
    /// Binds two workers to two processors: one that waits gives way, and on one processor they
    /// would run in turn and never beside each other.
    fn pin(&self) {
        if self.workers > 1 {
            sys::pin_to_processor(self.index as usize);
        }
    }

    fn run_or_abort(&mut self, run: &Run) -> Result<Measured, Fault> {
        let control = Arc::clone(&self.control);
        self.run(run).inspect_err(|_| control.abort())
    }

    fn run(&mut self, run: &Run) -> Result<Measured, Fault> {
        let mut measured = Measured::default();
        self.row.take_latencies();
        self.limit.take_latencies();
        for index in 0..run.pairs {
            match run.plan {
                Plan::Scaling => measured.rounds.push(self.round(run, index)?),
                Plan::Pairs(_) | Plan::BesideWriter => measured.pairs.push(self.pair(run, index)?),
            }
        }
        measured.row_latencies = counts(&self.row.take_latencies());
        measured.limit_latencies = counts(&self.limit.take_latencies());
        Ok(measured)
    }
}

impl Worker {
    fn meet(&mut self, run: &Run, wait: Wait) -> Result<(), Fault> {
        self.round += 1;
        self.control.meet(self.round, self.workers, run.wait_ticks_max, wait)
    }

    /// A window of the row and one of the limit. They change places from pair to pair, so that
    /// neither always comes second.
    fn pair(&mut self, run: &Run, index: u32) -> Result<WindowPair, Fault> {
        let mut pair = WindowPair::default();
        for half in [index % 2, 1 - index % 2] {
            self.meet(run, Wait::Spinning)?;
            let window = match run.plan {
                Plan::BesideWriter if self.index > 0 => self.write_beside()?,
                Plan::BesideWriter => {
                    let window = self.side(half).window(Measure::Latency, run.operations)?;
                    self.control.finish(self.round);
                    window
                }
                Plan::Pairs(measure) => self.side(half).window(measure, run.operations)?,
                Plan::Scaling => unreachable!("rounds have no limit"),
            };
            if half == 0 {
                pair.row = window;
            } else {
                pair.limit = window;
            }
        }
        Ok(pair)
    }

    fn side(&mut self, half: u32) -> &mut dyn AnySide {
        if half == 0 { &mut *self.row } else { &mut *self.limit }
    }

    /// Writes to the row until the first worker has finished its window, of whichever side.
    fn write_beside(&mut self) -> Result<Window, Fault> {
        let (control, round) = (&self.control, self.round);
        self.row.write_until(&mut || control.finished() >= round || control.is_aborted())
    }

    /// A window at the same time as all other workers, and one while they sleep; the order of the
    /// turns is reversed from round to round. Whoever runs has just run a little: it may have been
    /// asleep, and what that costs is no part of either window.
    fn round(&mut self, run: &Run, index: u32) -> Result<Round, Fault> {
        let mut round = Round::default();
        for turn in 0..=self.workers {
            let turn = if index.is_multiple_of(2) { turn } else { self.workers - turn };
            self.meet(run, Wait::Asleep)?;
            let (is_together, is_own) = (turn == 0, turn == self.index + 1);
            if is_together || is_own {
                self.row.window(Measure::Throughput, run.operations / 8)?;
            }
            if is_together {
                self.meet(run, Wait::Spinning)?;
                round.together = self.row.window(Measure::Throughput, run.operations)?;
            } else if is_own {
                round.alone = self.row.window(Measure::Throughput, run.operations)?;
            }
        }
        Ok(round)
    }
}

fn counts(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    histogram
        .iter_recorded()
        .map(|step| (step.value_iterated_to(), step.count_at_value()))
        .collect()
}
