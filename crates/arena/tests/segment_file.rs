//! What may become of a segment's file, and which files are refused.

use std::convert::Infallible;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Barrier;

use shm_arena::{
    Access, AttachOptions, CreateOptions, Load, MappedMemory, MappingOptions, Memory, Offset,
    Owner, SegmentError, Store,
};

const BYTES: u64 = 64 << 10;

/// A fresh directory on tmpfs, or wherever temporary files are.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn create(path: &Path, bytes: u64) -> Result<MappedMemory, SegmentError> {
    MappedMemory::create(path, bytes, &CreateOptions::default(), Ok)
}

fn names_in(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Attaching must fail with this field and these words in the message, which names the file.
#[track_caller]
fn assert_unfit(path: &Path, options: &AttachOptions, field: &str, found: &str, expected: &str) {
    let refusal = MappedMemory::attach(path, options).unwrap_err();
    let SegmentError::Unfit {
        field: field_said, found: found_said, expected: expected_said, ..
    } = &refusal
    else {
        panic!("{refusal:?}");
    };
    assert_eq!(*field_said, field);
    assert!(found_said.contains(found), "{refusal}");
    assert!(expected_said.contains(expected), "{refusal}");
    assert!(refusal.to_string().starts_with(&path.display().to_string()), "{refusal}");
}

#[test]
fn what_one_mapping_writes_another_reads() {
    let directory = directory();
    let path = directory.path().join("segment");
    let first = create(&path, BYTES).unwrap();
    let second = MappedMemory::attach(&path, &AttachOptions::default()).unwrap();
    assert_eq!((first.word_count(), second.word_count()), (BYTES / 8, BYTES / 8));
    first.store(Offset::new(7), 11, Store::Release);
    assert_eq!(second.load(Offset::new(7), Load::Acquire), 11);
    second.write_bytes(Offset::new(8), b"nine bytes");
    let mut out = [0; 10];
    first.read_bytes(Offset::new(8), &mut out);
    assert_eq!(&out, b"nine bytes");
}

#[test]
fn nobody_can_attach_before_the_content_is_complete() {
    let directory = directory();
    let path = directory.path().join("segment");
    let made = MappedMemory::create(&path, BYTES, &CreateOptions::default(), |memory| {
        assert!(names_in(directory.path()).is_empty());
        memory.store(Offset::new(0), 42, Store::Relaxed);
        Ok::<_, SegmentError>("made")
    });
    assert_eq!(made.unwrap(), "made");
    let memory = MappedMemory::attach(&path, &AttachOptions::default()).unwrap();
    assert_eq!(memory.load(Offset::new(0), Load::Relaxed), 42);
}

#[test]
fn a_new_file_is_private_allocated_and_zero() {
    use std::os::unix::fs::MetadataExt;

    let directory = directory();
    let path = directory.path().join("segment");
    let memory = create(&path, BYTES).unwrap();
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
    assert_eq!((metadata.len(), metadata.nlink()), (BYTES, 1));
    assert!(metadata.blocks() * 512 >= BYTES, "{} blocks", metadata.blocks());
    assert!((0..BYTES / 8).all(|word| memory.load(Offset::new(word), Load::Relaxed) == 0));
}

#[test]
fn a_failing_init_leaves_nothing_behind() {
    let directory = directory();
    let path = directory.path().join("segment");
    let made = MappedMemory::create(&path, BYTES, &CreateOptions::default(), |_| {
        Err::<Infallible, Box<dyn std::error::Error>>("no content".into())
    });
    assert_eq!(made.unwrap_err().to_string(), "no content");
    assert!(names_in(directory.path()).is_empty());
}

#[test]
fn whoever_creates_second_is_told_that_it_exists() {
    let directory = directory();
    let path = directory.path().join("segment");
    create(&path, BYTES).unwrap().store(Offset::new(0), 1, Store::Relaxed);
    let refusal = create(&path, BYTES).unwrap_err();
    assert!(
        matches!(&refusal, SegmentError::Exists { path: named } if *named == path),
        "{refusal:?}"
    );
    assert_eq!(names_in(directory.path()), std::slice::from_ref(&path));
    let memory = MappedMemory::attach(&path, &AttachOptions::default()).unwrap();
    assert_eq!(memory.load(Offset::new(0), Load::Relaxed), 1);
}

#[test]
fn a_file_that_appears_while_another_is_filled_wins() {
    let directory = directory();
    let path = directory.path().join("segment");
    let made = MappedMemory::create(&path, BYTES, &CreateOptions::default(), |_| {
        fs::write(&path, "somebody else's").unwrap();
        Ok::<_, SegmentError>(())
    });
    assert!(matches!(made, Err(SegmentError::Exists { .. })), "{made:?}");
    assert_eq!(fs::read(&path).unwrap(), b"somebody else's");
    assert_eq!(names_in(directory.path()), [path]);
}

#[test]
fn of_many_creators_exactly_one_succeeds() {
    let directory = directory();
    let path = directory.path().join("segment");
    let start = Barrier::new(8);
    let made = std::thread::scope(|scope| {
        let creators: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    create(&path, BYTES)
                })
            })
            .collect();
        creators.into_iter().map(|creator| creator.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1);
    let refused = made.iter().filter(|made| matches!(made, Err(SegmentError::Exists { .. })));
    assert_eq!(refused.count(), 7);
}

#[test]
fn sizes_that_cannot_be_are_refused_and_leave_nothing_behind() {
    let directory = directory();
    let path = directory.path().join("segment");
    for (bytes, problem) in [
        (0, "at least one word"),
        (1001, "not a multiple of 8: try 1008"),
        (1 << 63, "more than a file can have"),
        (1 << 50, "free on the"),
    ] {
        let refusal = create(&path, bytes).unwrap_err();
        assert!(matches!(refusal, SegmentError::Size { value, .. } if value == bytes));
        assert!(refusal.to_string().contains("segment bytes of"), "{refusal}");
        let memfd = MappedMemory::memfd("test", bytes, &MappingOptions::default()).unwrap_err();
        assert!(matches!(memfd, SegmentError::Size { value, .. } if value == bytes), "{memfd}");
        if bytes != 1 << 50 {
            assert!(refusal.to_string().contains(problem), "{refusal}");
        }
    }
    assert!(names_in(directory.path()).is_empty());
}

#[test]
fn a_mode_that_opens_the_file_to_everybody_is_refused() {
    let directory = directory();
    let path = directory.path().join("segment");
    let options = CreateOptions { mode: 0o666, ..CreateOptions::default() };
    let refusal = MappedMemory::create(&path, BYTES, &options, Ok::<_, SegmentError>).unwrap_err();
    assert!(matches!(refusal, SegmentError::Unfit { field: "mode", .. }), "{refusal:?}");
    assert!(names_in(directory.path()).is_empty());
}

#[test]
fn a_missing_file_or_directory_is_an_error_of_the_system() {
    let directory = directory();
    let path = directory.path().join("missing").join("segment");
    for refusal in [
        MappedMemory::attach(&path, &AttachOptions::default()).unwrap_err(),
        create(&path, BYTES).unwrap_err(),
    ] {
        let SegmentError::Io { path: named, source, .. } = refusal else { panic!("{refusal:?}") };
        assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
        assert!(named.starts_with(directory.path()));
    }
}

#[test]
fn an_empty_or_truncated_file_is_refused() {
    let directory = directory();
    let path = directory.path().join("segment");
    for (bytes, found) in [(0, "0 bytes"), (4099, "4099 bytes")] {
        fs::write(&path, vec![1; bytes]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_unfit(&path, &AttachOptions::default(), "size", found, "a multiple of 8");
        assert_eq!(fs::read(&path).unwrap(), vec![1; bytes]);
    }
}

#[test]
fn what_is_not_a_regular_file_is_refused() {
    let directory = directory();
    let options = AttachOptions::default();
    let target = directory.path().join("segment");
    create(&target, BYTES).unwrap();
    let link = directory.path().join("link");
    symlink(&target, &link).unwrap();
    assert_unfit(&link, &options, "file type", "symbolic link", "regular file");
    let dangling = directory.path().join("dangling");
    symlink(directory.path().join("nowhere"), &dangling).unwrap();
    assert_unfit(&dangling, &options, "file type", "symbolic link", "regular file");
    assert_unfit(directory.path(), &options, "file type", "directory", "regular file");
    let fifo = directory.path().join("fifo");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert_unfit(&fifo, &options, "file type", "FIFO", "regular file");
    let read_only = AttachOptions { access: Access::ReadOnly, ..options.clone() };
    assert_unfit(&fifo, &read_only, "file type", "FIFO", "regular file");
    let socket = directory.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert_unfit(&socket, &options, "file type", "socket", "regular file");
    assert_unfit(Path::new("/dev/null"), &options, "file type", "character device", "regular file");
}

#[test]
fn creating_over_a_link_that_leads_nowhere_does_not_follow_it() {
    let directory = directory();
    let link = directory.path().join("link");
    let target = directory.path().join("target");
    symlink(&target, &link).unwrap();
    assert!(matches!(create(&link, BYTES), Err(SegmentError::Exists { .. })));
    assert!(!target.exists());
}

#[test]
fn a_file_that_others_may_write_is_refused_unless_allowed() {
    let directory = directory();
    let path = directory.path().join("segment");
    create(&path, BYTES).unwrap();
    for (mode, found) in [(0o620, "0620"), (0o602, "0602")] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_unfit(&path, &AttachOptions::default(), "mode", found, "without any of 0022");
    }
    let group = AttachOptions { mode_refused: 0o002, ..AttachOptions::default() };
    fs::set_permissions(&path, fs::Permissions::from_mode(0o660)).unwrap();
    MappedMemory::attach(&path, &group).unwrap();
}

#[test]
fn a_file_of_another_owner_is_refused_unless_expected() {
    let directory = directory();
    let path = directory.path().join("segment");
    create(&path, BYTES).unwrap();
    let me = rustix::process::geteuid().as_raw();
    let other = AttachOptions { owner: Owner::User(me + 1), ..AttachOptions::default() };
    assert_unfit(&path, &other, "owner", &format!("user {me}"), &format!("user {}", me + 1));
    if me == 0 {
        std::os::unix::fs::chown(&path, Some(1), None).unwrap();
        assert_unfit(&path, &AttachOptions::default(), "owner", "user 1", "user 0");
        for owner in [Owner::User(1), Owner::Anybody] {
            let options = AttachOptions { owner, ..AttachOptions::default() };
            MappedMemory::attach(&path, &options).unwrap();
        }
    }
}

#[test]
fn a_creator_can_give_the_file_to_the_user_who_will_run() {
    use std::os::unix::fs::MetadataExt;

    if !rustix::process::geteuid().is_root() {
        return;
    }
    let directory = directory();
    let path = directory.path().join("segment");
    let options =
        CreateOptions { owner: Some(1), group: Some(2), mode: 0o640, ..CreateOptions::default() };
    MappedMemory::create(&path, BYTES, &options, Ok::<_, SegmentError>).unwrap();
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o777), (1, 2, 0o640));
}

#[test]
fn a_file_with_a_second_name_is_refused() {
    let directory = directory();
    let path = directory.path().join("segment");
    create(&path, BYTES).unwrap();
    fs::hard_link(&path, directory.path().join("second")).unwrap();
    assert_unfit(&path, &AttachOptions::default(), "links", "2", "1");
}

#[test]
fn a_file_system_that_does_not_keep_mappings_coherent_is_refused() {
    let options = AttachOptions {
        access: Access::ReadOnly,
        owner: Owner::Anybody,
        mode_refused: 0,
        ..AttachOptions::default()
    };
    assert_unfit(Path::new("/proc/version"), &options, "file system", "proc", "tmpfs, ext4");
    let refusal = create(Path::new("/proc/segment"), BYTES).unwrap_err();
    assert!(matches!(refusal, SegmentError::Unfit { field: "file system", .. }), "{refusal:?}");
}

#[test]
fn a_read_only_mapping_reads_and_panics_on_writes() {
    let directory = directory();
    let path = directory.path().join("segment");
    let writer = create(&path, BYTES).unwrap();
    let options = AttachOptions { access: Access::ReadOnly, ..AttachOptions::default() };
    let reader = MappedMemory::attach(&path, &options).unwrap();
    assert!(writer.is_writable() && !reader.is_writable());
    writer.store(Offset::new(3), 5, Store::Release);
    assert_eq!(reader.load(Offset::new(3), Load::Acquire), 5);
    let at = Offset::new(3);
    type Write = fn(&MappedMemory, Offset);
    let writes: [(&str, Write); 7] = [
        ("store", |memory, at| memory.store(at, 1, Store::Relaxed)),
        ("compare_exchange", |memory, at| {
            let _ = memory.compare_exchange(at, 9, 9, shm_arena::Rmw::Relaxed, Load::Relaxed);
        }),
        ("fetch_add", |memory, at| {
            memory.fetch_add(at, 0, shm_arena::Rmw::Relaxed);
        }),
        ("fetch_and", |memory, at| {
            memory.fetch_and(at, u64::MAX, shm_arena::Rmw::Relaxed);
        }),
        ("fetch_or", |memory, at| {
            memory.fetch_or(at, 0, shm_arena::Rmw::Relaxed);
        }),
        ("write_bytes", |memory, at| memory.write_bytes(at, &[1; 300])),
        ("write_zeros", |memory, at| memory.write_zeros(at, 40)),
    ];
    for (name, write) in writes {
        let written = std::panic::catch_unwind(|| write(&reader, at));
        assert!(written.is_err(), "{name}");
    }
    assert_eq!(writer.load(at, Load::Acquire), 5);
}

#[test]
fn a_memory_descriptor_is_attached_through_its_descriptor_and_cannot_be_resized() {
    let first = MappedMemory::memfd("segment", BYTES, &MappingOptions::default()).unwrap();
    let descriptor = first.descriptor().unwrap().try_clone_to_owned().unwrap();
    for bytes in [0, BYTES / 2, BYTES * 2] {
        assert!(rustix::fs::ftruncate(descriptor.as_fd(), bytes).is_err(), "{bytes}");
    }
    let second = MappedMemory::attach_descriptor(descriptor, &AttachOptions::default()).unwrap();
    first.store(Offset::new(1), 17, Store::Release);
    assert_eq!(second.load(Offset::new(1), Load::Acquire), 17);
}

#[test]
fn a_nameless_file_that_is_not_sealed_is_refused() {
    let flags = rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING;
    let descriptor = rustix::fs::memfd_create("unsealed", flags).unwrap();
    rustix::fs::ftruncate(&descriptor, BYTES).unwrap();
    let refusal =
        MappedMemory::attach_descriptor(descriptor, &AttachOptions::default()).unwrap_err();
    assert!(matches!(refusal, SegmentError::Unfit { field: "seals", .. }), "{refusal:?}");
}

#[test]
fn a_descriptor_of_a_pipe_is_refused() {
    let (reader, _writer) = std::io::pipe().unwrap();
    let refusal =
        MappedMemory::attach_descriptor(reader.into(), &AttachOptions::default()).unwrap_err();
    assert!(matches!(refusal, SegmentError::Unfit { field: "file type", .. }), "{refusal:?}");
}

#[test]
fn requests_beyond_the_mapping_are_reported() {
    use shm_arena::Grant;

    let plain = MappedMemory::memfd("plain", BYTES, &MappingOptions::default()).unwrap();
    assert_eq!(plain.report().locked, Grant::NotAsked);
    assert_eq!(plain.report().huge_pages, Grant::NotAsked);
    assert_eq!(plain.report().excluded_from_dumps, Grant::Given);
    let options = MappingOptions { lock: true, huge_pages: true };
    let asked = MappedMemory::memfd("asked", BYTES, &options).unwrap();
    assert_ne!(asked.report().locked, Grant::NotAsked);
    assert_ne!(asked.report().huge_pages, Grant::NotAsked);
    assert!(asked.huge_bytes().unwrap() <= BYTES);
}

#[test]
#[should_panic(expected = "index out of bounds")]
fn an_offset_outside_the_memory_panics() {
    let memory = MappedMemory::memfd("bounds", BYTES, &MappingOptions::default()).unwrap();
    memory.load(Offset::new(BYTES / 8), Load::Relaxed);
}
