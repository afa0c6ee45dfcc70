//! The example `shared_port` does what it says: server processes on one port, one cache.
#![cfg(feature = "rustls-0_23")]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde::Deserialize;

type Failure = Box<dyn Error>;

/// The fields of a row that are checked.
#[derive(Debug, Deserialize)]
struct Row {
    tls: String,
    cache: String,
    returns: u32,
    resumed: u32,
    rate: f64,
    visits: Vec<u32>,
    hits: u64,
    declined: u64,
}

#[test]
fn a_client_that_returns_anywhere_is_always_resumed_with_the_shared_cache() -> Result<(), Failure> {
    let rows = run(&["--processes", "4", "--connections", "300", "--json"])?;
    let kinds: Vec<_> = rows.iter().map(|row| (row.tls.as_str(), row.cache.as_str())).collect();
    let expected = [("1.2", "private"), ("1.2", "shared"), ("1.3", "private"), ("1.3", "shared")];
    assert_eq!(kinds, expected);
    for row in &rows {
        assert_eq!(row.returns, 300, "{row:?}");
        assert!(row.visits.iter().all(|visits| *visits > 0), "an idle process: {row:?}");
        if row.cache == "shared" {
            assert_eq!((row.resumed, row.rate), (300, 1.0), "{row:?}");
            assert_eq!((row.hits, row.declined), (300, 0), "{row:?}");
        } else {
            // With four processes a quarter is expected; 0.4 is six standard deviations away.
            assert!(row.rate < 0.4, "private caches seem to be shared: {row:?}");
            assert!(row.resumed > 0, "private caches resume nobody: {row:?}");
        }
    }
    Ok(())
}

#[test]
fn one_process_needs_no_shared_cache() -> Result<(), Failure> {
    for row in run(&["--processes", "1", "--connections", "20", "--json"])? {
        assert_eq!((row.resumed, row.visits), (20, vec![21]), "{} {}", row.tls, row.cache);
    }
    Ok(())
}

#[test]
fn a_number_of_processes_that_makes_no_sense_is_refused_with_the_range() -> Result<(), Failure> {
    for wrong in ["0", "65", "many"] {
        let output = Command::new(example()?).args(["--processes", wrong]).output()?;
        let message = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains("--processes"), "{message}");
    }
    Ok(())
}

#[test]
fn the_servers_end_when_their_parent_is_killed() -> Result<(), Failure> {
    let mut parent = Guard(
        Command::new(example()?)
            .args(["--processes", "3", "--connections", "10000"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?,
    );
    let pid = parent.0.id();
    let mut children = Vec::new();
    wait_until("three servers run", || {
        children = children_of(pid);
        children.len() == 3
    });
    parent.0.kill()?;
    parent.0.wait()?;
    wait_until("all servers are gone", || children.iter().all(|child| is_gone(*child)));
    Ok(())
}

/// Runs the example and reads its report.
fn run(arguments: &[&str]) -> Result<Vec<Row>, Failure> {
    let mut child = Guard(Command::new(example()?).args(arguments).stdout(Stdio::piped()).spawn()?);
    let mut output = child.0.stdout.take().ok_or("the output is not piped")?;
    let reader = thread::spawn(move || std::io::read_to_string(&mut output));
    let mut status = None;
    wait_until("the example ends", || {
        status = child.0.try_wait().expect("a child of this process");
        status.is_some()
    });
    assert!(status.is_some_and(|status| status.success()), "the example failed: {status:?}");
    let report = reader.join().map_err(|_| "the reader panicked")??;
    Ok(serde_json::from_str(&report)?)
}

/// The example's executable, which cargo has built beside this test unless the test alone was
/// asked for.
fn example() -> Result<PathBuf, Failure> {
    let folder = std::env::current_exe()?;
    let folder = folder.ancestors().nth(2).ok_or("the test is in no target folder")?;
    let executable = folder.join("examples").join("shared_port");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built = fs::metadata(&executable).and_then(|file| file.modified()).ok();
    if built < newest(&root.join("src"))?.max(newest(&root.join("examples"))?) {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(root).args(["build", "--example", "shared_port"]);
        if folder.ends_with("release") {
            cargo.arg("--release");
        }
        let status = cargo.status()?;
        assert!(status.success(), "the example does not build: {status}");
    }
    Ok(executable)
}

/// When a file in this folder was last changed.
fn newest(folder: &Path) -> Result<Option<SystemTime>, Failure> {
    let mut newest = None;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let changed = if entry.file_type()?.is_dir() {
            self::newest(&entry.path())?
        } else {
            Some(entry.metadata()?.modified()?)
        };
        newest = newest.max(changed);
    }
    Ok(newest)
}

/// The processes whose parent is this one.
fn children_of(parent: u32) -> Vec<u32> {
    let pids = fs::read_dir("/proc").expect("a process file system").flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| stat(*pid).is_some_and(|(_, of)| of == parent))
        .collect()
}

/// Whether a process has ended; whoever adopted it may not have noticed yet.
fn is_gone(pid: u32) -> bool {
    stat(pid).is_none_or(|(state, _)| state == 'Z' || state == 'X')
}

/// State and parent of a process.
fn stat(pid: u32) -> Option<(char, u32)> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = line.rsplit_once(") ")?;
    let mut fields = after_name.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Waits for a minute at most, which is a hundred times what the slowest of these waits takes.
#[track_caller]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "not within a minute: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Ends the child when a test fails.
struct Guard(Child);

impl Drop for Guard {
    /// A child that ended already answers with an error, which is as well.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
