//! Heaps in places where a process sees less than usual: another pid namespace, no `/proc`, another
//! user. Each test that cannot run here prints why.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::{WaitOptions, waitpid};

use super::process_tests::{Place, attach, crowded, fork, wait_for};
use super::{AttachOptions, CreateOptions, MappingOptions};
use crate::SharedHeap;

const HEAP: &str = "SHM_ARENA_TEST_HEAP";
const ACT: &str = "SHM_ARENA_TEST_ACT";

/// A user who owns nothing.
const NOBODY: u32 = 65534;

/// Runs [`visitor`] below `unshare` with these arguments; gives what it says, or says why not.
fn visit(
    unshare: &[&str],
    act: &str,
    path: &Path,
) -> Option<(Child, BufReader<ChildStdout>, String)> {
    let mut process = Command::new("unshare")
        .args(unshare)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "mapped::place_tests::visitor", "--ignored", "--nocapture"])
        .env(HEAP, path)
        .env(ACT, act)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|refusal| eprintln!("skipped: unshare: {refusal}"))
        .ok()?;
    let mut out = BufReader::new(process.stdout.take().unwrap());
    let mut line = String::new();
    loop {
        line.clear();
        if out.read_line(&mut line).unwrap() == 0 {
            let ended = process.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&ended.stderr).into_owned();
            // The visitor's own failures are failures; where it never ran, there is no namespace.
            assert!(!said.contains("panicked"), "{said}");
            eprintln!("skipped: unshare {unshare:?}: {}", said.trim());
            return None;
        }
        if let Some(at) = line.find("visitor:") {
            let said = line[at + 8..].trim().to_owned();
            return Some((process, out, said));
        }
    }
}

/// Not a test: what runs in a namespace of its own.
#[test]
#[ignore = "run by the other tests in a process of its own"]
fn visitor() {
    let Some(path) = std::env::var_os(HEAP).map(PathBuf::from) else {
        return;
    };
    match std::env::var(ACT).unwrap().as_str() {
        "hold" => {
            let heap = attach(&path);
            let owned = heap.allocate(100).unwrap();
            let recovered = heap.recover().unwrap();
            println!("visitor: {} {}", std::process::id(), recovered.processes);
            std::thread::sleep(Duration::from_secs(60));
            heap.free(owned).unwrap();
        }
        "no proc" => println!("visitor: {}", without_proc(&path)),
        act => panic!("no such act: {act}"),
    }
}

/// What is refused without `/proc`: content of a known boot, since nobody can tell this one, and a
/// new file, which has no name yet by which to open it again.
fn without_proc(path: &Path) -> String {
    assert!(!Path::new("/proc/self/fd").exists(), "there is a /proc");
    let refusal = SharedHeap::attach_file(path, &AttachOptions::default()).unwrap_err();
    assert!(refusal.to_string().contains("boot id"), "{refusal}");
    let own = path.with_extension("own");
    let file = SharedHeap::create_file(&own, &crowded(), &CreateOptions::default());
    let memfd = SharedHeap::create_memfd("heap", &crowded(), &MappingOptions::default());
    for refused in [file, memfd] {
        let refusal = refused.unwrap_err().to_string();
        assert!(refusal.contains("/proc"), "{refusal}");
    }
    assert!(!own.exists());
    "as documented".to_owned()
}

#[test]
fn a_process_in_another_pid_namespace_is_alive_until_it_is_killed() {
    let place = Place::new();
    let heap = place.heap(&crowded());
    let arguments = ["--user", "--map-root-user", "--pid", "--fork", "--kill-child"];
    let Some((mut process, _out, said)) = visit(&arguments, "hold", &place.path) else {
        return;
    };
    // It is process 1 or near to that there, and sees that this one lives.
    let (pid, dead) = said.split_once(' ').unwrap();
    assert!(pid.parse::<u32>().unwrap() < 10 && dead == "0", "{said}");
    let before = heap.recover().unwrap();
    assert_eq!((before.processes, before.blocks), (0, 0), "it lives");
    process.kill().unwrap();
    let _ = process.wait().unwrap();
    let give_up = std::time::Instant::now() + Duration::from_secs(20);
    let mut recovered = heap.recover().unwrap();
    while recovered.processes == 0 {
        assert!(std::time::Instant::now() < give_up, "its child lives on");
        std::thread::sleep(Duration::from_millis(5));
        recovered = heap.recover().unwrap();
    }
    assert_eq!((recovered.processes, recovered.blocks), (1, 1));
}

#[test]
fn without_proc_everything_is_refused_by_name() {
    let place = Place::new();
    let _heap = place.heap(&crowded());
    let script = "mount -t tmpfs none /proc && exec \"$0\" \"$@\"";
    let arguments = ["--user", "--map-root-user", "--mount", "sh", "-c", script];
    if let Some((mut process, _out, said)) = visit(&arguments, "no proc", &place.path) {
        assert!(process.wait().unwrap().success());
        assert_eq!(said, "as documented");
    }
}

/// Gives privileges up for good.
fn become_nobody() {
    // SAFETY: changes who this process is, and nothing in its memory.
    let group = unsafe { libc::setgid(NOBODY) };
    // SAFETY: likewise.
    let user = unsafe { libc::setuid(NOBODY) };
    assert_eq!((group, user), (0, 0));
}

#[test]
fn a_process_that_gave_up_its_privileges_uses_what_was_made_for_it() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    let place = Place::new();
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(place.folder.path(), open).unwrap();
    let given = CreateOptions { owner: Some(NOBODY), ..CreateOptions::default() };
    let heap = SharedHeap::create_file(&place.path, &crowded(), &given).unwrap();
    let unfit = place.path.with_extension("root");
    let roots = SharedHeap::create_file(&unfit, &crowded(), &CreateOptions::default()).unwrap();
    let memfd = SharedHeap::create_memfd("heap", &crowded(), &MappingOptions::default()).unwrap();
    let (path, ready) = (place.path.clone(), place.path.with_extension("ready"));
    let said = ready.clone();
    let child = fork(|| {
        // What it holds from before stays its own afterwards.
        let held = attach(&unfit);
        let descriptor = memfd.memory().descriptor().unwrap().try_clone_to_owned().unwrap();
        become_nobody();
        let kept = held.allocate(10).unwrap();
        assert!(SharedHeap::attach_file(&unfit, &AttachOptions::default()).is_err());
        let own = attach(&path).allocate(20).unwrap();
        let passed = SharedHeap::attach_descriptor(descriptor, &AttachOptions::default()).unwrap();
        let third = passed.allocate(30).unwrap();
        std::fs::write(&said, std::process::id().to_string()).unwrap();
        std::thread::sleep(Duration::from_secs(60));
        let _ = (kept, own, third);
    });
    wait_for(&ready);
    for heap in [&roots, &memfd] {
        assert_eq!(heap.recover().unwrap().processes, 0, "it lives");
        assert_eq!(heap.state().processes.len(), 1);
    }
    // A handle that was dropped without detaching counts as dead, whoever had it.
    let dropped = heap.recover().unwrap();
    assert_eq!((dropped.processes, dropped.blocks), (1, 1));
    rustix::process::kill_process(child, rustix::process::Signal::KILL).unwrap();
    let _ = waitpid(Some(child), WaitOptions::empty()).unwrap();
    for heap in [&roots, &memfd] {
        let recovered = heap.recover().unwrap();
        assert_eq!((recovered.processes, recovered.blocks), (1, 1));
    }
}
