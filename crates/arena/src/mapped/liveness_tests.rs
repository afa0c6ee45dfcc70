//! Liveness of real processes: this test binary runs itself, takes a beacon and is then killed,
//! stopped, forked or replaced.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::MappedLiveness;
use crate::liveness::{Liveness, RecordIndex, Verdict};
use crate::mapped::{Access, AttachOptions, CreateOptions, MappedMemory, MappingOptions};

const HELD: RecordIndex = RecordIndex(3);
const HELD_BY_CHILD: RecordIndex = RecordIndex(4);
const SEGMENT: &str = "SHM_ARENA_TEST_SEGMENT";
const ACT: &str = "SHM_ARENA_TEST_ACT";

/// A segment in a directory of its own.
struct Segment {
    path: PathBuf,
    _directory: tempfile::TempDir,
}

impl Segment {
    fn new(place: &str) -> Self {
        let directory = tempfile::tempdir_in(place).unwrap();
        let path = directory.path().join("segment");
        MappedMemory::create(&path, 4096, &CreateOptions::default(), Ok::<_, crate::SegmentError>)
            .unwrap();
        Self { path, _directory: directory }
    }

    fn liveness(&self) -> MappedLiveness {
        liveness_of(&self.path, Access::ReadWrite)
    }
}

fn liveness_of(path: &Path, access: Access) -> MappedLiveness {
    let options = AttachOptions { access, ..AttachOptions::default() };
    MappedLiveness::new(MappedMemory::attach(path, &options).unwrap()).unwrap()
}

/// A process that runs [`holder`], and is killed in the end.
struct Holder {
    process: Child,
    _out: BufReader<ChildStdout>,
}

impl Holder {
    /// Starts one and waits until it holds its beacon and has done its act.
    fn start(segment: &Segment, act: &str) -> (Self, String) {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "mapped::liveness::tests::holder", "--ignored", "--nocapture"])
            .env(SEGMENT, &segment.path)
            .env(ACT, act)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("holder:") {
            line.clear();
            assert_ne!(out.read_line(&mut line).unwrap(), 0, "the holder ended early");
        }
        let said = line[line.find("holder:").unwrap() + 7..].trim().to_owned();
        (Self { process, _out: out }, said)
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    /// Kills it and waits until it is a zombie that nobody has waited for.
    fn kill_to_zombie(&self) {
        kill_process(self.pid(), Signal::KILL).unwrap();
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(self.pid()), options).unwrap();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Not a test: what the holder process runs.
#[test]
#[ignore = "run by the other tests in a process of its own"]
fn holder() {
    let Some(path) = std::env::var_os(SEGMENT) else {
        return;
    };
    let liveness = liveness_of(Path::new(&path), Access::ReadWrite);
    assert!(liveness.hold(HELD));
    match std::env::var(ACT).unwrap().as_str() {
        "wait" => say("ready"),
        "release" => {
            liveness.release(HELD);
            say("ready");
        }
        "close" => {
            close_all();
            say(&format!("{:?}", liveness.verdict(HELD)));
        }
        "exec" => {
            say("ready");
            panic!("exec failed: {}", Command::new("sleep").arg("600").exec());
        }
        "fork" => {
            let beacon = beacon_address(Path::new(&path));
            let child = fork();
            if child == 0 {
                act_as_forked_child(&liveness, beacon);
            } else {
                // Comes back only if the child ends early, which ends the test too.
                let ended =
                    waitid(WaitId::Pid(Pid::from_raw(child).unwrap()), WaitIdOptions::EXITED);
                panic!("{ended:?}");
            }
        }
        act => panic!("no such act: {act}"),
    }
    // Until the test is over: it holds the other end.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// The parent's beacon is seen, one of the child's own is taken, and what the child mapped where
/// the parent's beacon lies, which a child does not have, survives that.
fn act_as_forked_child(liveness: &MappedLiveness, beacon: usize) {
    let address = std::ptr::without_provenance_mut(beacon);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: maps a new page where nothing is mapped, or fails.
    let page = unsafe { libc::mmap(address, 4096, libc::PROT_READ, flags, -1, 0) };
    let is_free = page == address;
    let seen = liveness.verdict(HELD) == Verdict::Alive;
    let taken = liveness.hold(HELD_BY_CHILD);
    let kept = mappings().contains(&format!("{beacon:x}-{:x} r--p", beacon + 4096));
    say(&format!("{} {}", std::process::id(), is_free && seen && taken && kept));
}

fn mappings() -> String {
    fs::read_to_string("/proc/self/maps").unwrap()
}

/// Where the page lies that keeps the beacon: the one mapping of the file that cannot be written.
fn beacon_address(path: &Path) -> usize {
    let path = path.to_str().unwrap();
    let mappings = mappings();
    let line = mappings.lines().find(|line| line.contains("r--s") && line.ends_with(path)).unwrap();
    usize::from_str_radix(line.split('-').next().unwrap(), 16).unwrap()
}

fn say(word: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "holder: {word}").unwrap();
    out.flush().unwrap();
}

/// Closes every descriptor but the standard ones, as daemons do.
fn close_all() {
    // SAFETY: the process does nothing with any descriptor afterwards but through code that checks
    // it first, and exits by a signal.
    let answer = unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
    assert_eq!(answer, 0);
}

fn fork() -> libc::pid_t {
    // SAFETY: the other threads of a test binary wait for this one; the child allocates, which the
    // system's allocator supports after a fork, and touches no lock that they might hold.
    let answer = unsafe { libc::fork() };
    assert!(answer >= 0);
    answer
}

#[track_caller]
fn assert_becomes_dead(liveness: &MappedLiveness, record: RecordIndex) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while liveness.verdict(record) == Verdict::Alive {
        assert!(Instant::now() < give_up, "still alive");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_killed_process_is_dead_while_it_is_a_zombie() {
    for place in ["/dev/shm", env!("CARGO_MANIFEST_DIR")] {
        let segment = Segment::new(place);
        let liveness = segment.liveness();
        assert_eq!(liveness.verdict(HELD), Verdict::Dead);
        let (holder, _) = Holder::start(&segment, "wait");
        assert_eq!(liveness.verdict(HELD), Verdict::Alive);
        assert!(!liveness.hold(HELD));
        holder.kill_to_zombie();
        assert_eq!(liveness.verdict(HELD), Verdict::Dead);
        assert!(liveness.hold(HELD));
    }
}

#[test]
fn a_stopped_process_is_alive() {
    let segment = Segment::new("/dev/shm");
    let liveness = segment.liveness();
    let (holder, _) = Holder::start(&segment, "wait");
    kill_process(holder.pid(), Signal::STOP).unwrap();
    waitid(WaitId::Pid(holder.pid()), WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT).unwrap();
    assert_eq!(liveness.verdict(HELD), Verdict::Alive);
    holder.kill_to_zombie();
    assert_eq!(liveness.verdict(HELD), Verdict::Dead);
}

#[test]
fn a_process_that_closed_all_its_descriptors_is_alive() {
    let segment = Segment::new("/dev/shm");
    let liveness = segment.liveness();
    let (holder, said) = Holder::start(&segment, "close");
    assert_eq!(said, "Alive", "as it sees itself");
    assert_eq!(liveness.verdict(HELD), Verdict::Alive);
    holder.kill_to_zombie();
    assert_eq!(liveness.verdict(HELD), Verdict::Dead);
}

#[test]
fn a_killed_parent_is_dead_while_its_forked_child_is_alive() {
    let segment = Segment::new("/dev/shm");
    let liveness = segment.liveness();
    let (holder, said) = Holder::start(&segment, "fork");
    let (child, fared_well) = said.split_once(' ').unwrap();
    let child = Pid::from_raw(child.parse().unwrap()).unwrap();
    assert_eq!(fared_well, "true");
    assert_eq!(liveness.verdict(HELD), Verdict::Alive);
    assert_eq!(liveness.verdict(HELD_BY_CHILD), Verdict::Alive);
    holder.kill_to_zombie();
    assert_eq!(liveness.verdict(HELD), Verdict::Dead);
    assert_eq!(liveness.verdict(HELD_BY_CHILD), Verdict::Alive);
    kill_process(child, Signal::KILL).unwrap();
    assert_becomes_dead(&liveness, HELD_BY_CHILD);
}

#[test]
fn a_process_replaced_by_exec_is_dead() {
    let segment = Segment::new("/dev/shm");
    let liveness = segment.liveness();
    let (mut holder, _) = Holder::start(&segment, "exec");
    assert_becomes_dead(&liveness, HELD);
    assert!(holder.process.try_wait().unwrap().is_none(), "the process itself goes on");
}

#[test]
fn a_released_record_is_free_for_others() {
    let segment = Segment::new("/dev/shm");
    let liveness = segment.liveness();
    let (_holder, _) = Holder::start(&segment, "release");
    assert_eq!(liveness.verdict(HELD), Verdict::Dead);
    assert!(liveness.hold(HELD));
    assert!(liveness.hold(HELD), "holding is idempotent");
    assert_eq!(liveness.verdict(HELD), Verdict::Alive);
    let other = segment.liveness();
    assert!(!other.hold(HELD), "another handle of the same process is another holder");
    drop(liveness);
    assert_eq!(other.verdict(HELD), Verdict::Dead);
}

#[test]
fn records_do_not_disturb_each_other() {
    let segment = Segment::new("/dev/shm");
    let liveness = segment.liveness();
    let records = [0, 1, 2, 63, u32::MAX].map(RecordIndex);
    for record in records {
        assert!(liveness.hold(record));
    }
    let other = segment.liveness();
    assert!(records.iter().all(|&record| other.verdict(record) == Verdict::Alive));
    assert_eq!(other.verdict(RecordIndex(4)), Verdict::Dead);
    liveness.release(RecordIndex(1));
    assert_eq!(other.verdict(RecordIndex(1)), Verdict::Dead);
    assert_eq!(other.verdict(RecordIndex(0)), Verdict::Alive);
    assert_eq!(other.verdict(RecordIndex(2)), Verdict::Alive);
}

#[test]
fn a_read_only_attacher_sees_who_is_alive_and_holds_nothing() {
    let segment = Segment::new("/dev/shm");
    let liveness = segment.liveness();
    assert!(liveness.hold(HELD));
    let reader = liveness_of(&segment.path, Access::ReadOnly);
    assert_eq!(reader.verdict(HELD), Verdict::Alive);
    assert_eq!(reader.verdict(HELD_BY_CHILD), Verdict::Dead);
    liveness.release(HELD);
    assert_eq!(reader.verdict(HELD), Verdict::Dead);
}

#[test]
fn beacons_work_on_a_memory_descriptor() {
    let first = MappedMemory::memfd("beacons", 4096, &MappingOptions::default()).unwrap();
    let descriptor = first.descriptor().unwrap().try_clone_to_owned().unwrap();
    let second = MappedMemory::attach_descriptor(descriptor, &AttachOptions::default()).unwrap();
    let (first, second) =
        (MappedLiveness::new(first).unwrap(), MappedLiveness::new(second).unwrap());
    assert!(first.hold(HELD));
    assert!(!second.hold(HELD));
    assert_eq!(second.verdict(HELD), Verdict::Alive);
    drop(first);
    assert_eq!(second.verdict(HELD), Verdict::Dead);
}

#[test]
fn a_closed_descriptor_whose_number_was_reused_does_not_make_anybody_dead() {
    let segment = Segment::new("/dev/shm");
    let memory = MappedMemory::attach(&segment.path, &AttachOptions::default()).unwrap();
    let liveness = MappedLiveness::new(memory.clone()).unwrap();
    assert!(liveness.hold(HELD));
    let other = fs::File::open("/dev/null").unwrap();
    let number = memory.descriptor().unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&number);
    // SAFETY: the descriptor's owner compares its file before each use and does not close
    // another's.
    let answer = unsafe { libc::dup2(std::os::fd::AsRawFd::as_raw_fd(&other), number) };
    assert_eq!(answer, number);
    assert!(memory.descriptor().is_err());
    assert_eq!(liveness.verdict(HELD), Verdict::Alive);
    liveness.release(HELD);
    assert_eq!(liveness.verdict(HELD), Verdict::Dead);
    drop(liveness);
    drop(memory);
    // SAFETY: asks about a number; nothing is accessed.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    assert_ne!(flags, -1, "somebody else's descriptor stays open");
    // SAFETY: the number names the duplicate made above, which nobody owns.
    unsafe { libc::close(number) };
}

/// A child that another thread forks in the midst of a self-test has the beacon too, until exec.
#[test]
fn a_program_that_forks_meanwhile_is_not_taken_for_an_unfit_file_system() {
    let segment = Segment::new("/dev/shm");
    let memory = MappedMemory::attach(&segment.path, &AttachOptions::default()).unwrap();
    std::thread::scope(|scope| {
        let forks = scope.spawn(|| {
            for _ in 0..200 {
                // SAFETY: the child calls nothing but `usleep` and `_exit`.
                let child = unsafe { libc::fork() };
                if child == 0 {
                    // SAFETY: sleeps, and touches nothing of this process.
                    unsafe { libc::usleep(2000) };
                    // SAFETY: may be called after a fork, and does not return.
                    unsafe { libc::_exit(0) };
                }
                // SAFETY: waits for the child made above; no status is asked for.
                unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
            }
        });
        while !forks.is_finished() {
            MappedLiveness::new(memory.clone()).unwrap();
        }
    });
}

/// Runs only where this process may mount an overlay file system, and says so otherwise.
#[test]
fn an_overlay_file_system_is_refused_by_name() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let script = "cd \"$0\" && mkdir lower upper work top && \
        mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work top || exit 77; \
        exec \"$1\" --exact mapped::liveness::tests::overlay_visitor --ignored --nocapture";
    let ran = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(directory.path())
        .arg(std::env::current_exe().unwrap())
        .env(SEGMENT, directory.path().join("top"))
        .output();
    match ran {
        Ok(output) if output.status.success() => {
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(said.contains("holder: refused twice"), "{said}");
        }
        Ok(output) if matches!(output.status.code(), Some(1 | 32 | 77 | 127)) => {
            eprintln!("skipped: no overlay file system can be mounted here");
        }
        other => panic!("{other:?}"),
    }
}

/// Not a test: what runs beside the mounted overlay file system.
#[test]
#[ignore = "run by the test of overlay file systems in a process of its own"]
fn overlay_visitor() {
    let Some(place) = std::env::var_os(SEGMENT) else {
        return;
    };
    let path = PathBuf::from(place).join("segment");
    let create = |path: &Path| {
        MappedMemory::create(path, 4096, &CreateOptions::default(), Ok::<_, crate::SegmentError>)
    };
    let made = create(&path).unwrap_err().to_string();
    assert!(made.contains("overlayfs") && made.contains("beacon"), "{made}");
    assert!(!path.exists());
    fs::write(&path, [0; 4096]).unwrap();
    let options = AttachOptions { mode_refused: 0, ..AttachOptions::default() };
    let attached = MappedMemory::attach(&path, &options).unwrap_err().to_string();
    assert!(attached.contains("overlayfs") && attached.contains("beacon"), "{attached}");
    say("refused twice");
}
