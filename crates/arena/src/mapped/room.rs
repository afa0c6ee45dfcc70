//! How large a segment may be here, asked before anything is allocated.

use std::fs;
use std::path::{Path, PathBuf};

use super::file_system::FileSystem;
use crate::error::SegmentError;

/// An upper bound on a segment's bytes, and how to explain it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Bound {
    bytes: u64,
    what: String,
    advice: &'static str,
}

/// Refuses a size that no segment can have on any machine.
pub(super) fn check_shape(bytes: u64) -> Result<(), SegmentError> {
    let problem = if bytes == 0 {
        "not a size: a segment has at least one word of 8 bytes".to_owned()
    } else if !bytes.is_multiple_of(8) {
        format!("not a multiple of 8: try {}", bytes.next_multiple_of(8).max(8))
    } else if i64::try_from(bytes).is_err() || isize::try_from(bytes).is_err() {
        format!("more than a file can have ({})", isize::MAX)
    } else {
        return Ok(());
    };
    Err(SegmentError::Size { quantity: "segment bytes", value: bytes, problem })
}

/// Refuses a size that the file system of this directory has no room for.
pub(super) fn check_directory(directory: &Path, bytes: u64) -> Result<(), SegmentError> {
    let action = "ask for the free space of its directory";
    let statfs = rustix::fs::statfs(directory).map_err(super::io_error(directory, action))?;
    let statvfs = rustix::fs::statvfs(directory).map_err(super::io_error(directory, action))?;
    let file_system = FileSystem::from_statfs(&statfs);
    if file_system == FileSystem::HugePages && !bytes.is_multiple_of(statvfs.f_bsize) {
        return Err(SegmentError::Size {
            quantity: "segment bytes",
            value: bytes,
            problem: format!(
                "not a multiple of the huge pages ({} bytes) at {}",
                statvfs.f_bsize,
                directory.display()
            ),
        });
    }
    let mut bounds = file_bounds();
    // A file system without a limit of its own reports no blocks at all.
    if statvfs.f_blocks != 0 {
        bounds.push(space_bound(
            file_system,
            directory,
            statvfs.f_bavail.saturating_mul(statvfs.f_frsize),
        ));
    }
    if file_system.is_memory() {
        bounds.extend(memory_bounds());
    }
    check_bounds(bytes, bounds)
}

/// Refuses a size for which there is no memory.
pub(super) fn check_memory(bytes: u64) -> Result<(), SegmentError> {
    check_bounds(bytes, file_bounds().into_iter().chain(memory_bounds()))
}

fn check_bounds(bytes: u64, bounds: impl IntoIterator<Item = Bound>) -> Result<(), SegmentError> {
    let Some(bound) =
        bounds.into_iter().filter(|bound| bytes > bound.bytes).min_by_key(|b| b.bytes)
    else {
        return Ok(());
    };
    Err(SegmentError::Size {
        quantity: "segment bytes",
        value: bytes,
        problem: format!("more than the {} bytes {}: {}", bound.bytes, bound.what, bound.advice),
    })
}

fn space_bound(file_system: FileSystem, directory: &Path, bytes: u64) -> Bound {
    Bound {
        bytes,
        what: format!("free on the {} at {}", file_system.name(), directory.display()),
        advice: if file_system.is_memory() {
            "enlarge it (mount -o remount,size=…; --shm-size for a container), ask for less, \
             or use a memfd"
        } else {
            "free some, or ask for less"
        },
    }
}

/// The longest file that this process may write: beyond it the kernel sends a signal.
fn file_bounds() -> Vec<Bound> {
    rustix::process::getrlimit(rustix::process::Resource::Fsize)
        .current
        .map(|bytes| Bound {
            bytes,
            what: "that this process may write to one file".to_owned(),
            advice: "raise the limit (ulimit -f), or ask for less",
        })
        .into_iter()
        .collect()
}

/// What the machine and the memory groups that this process is in can still give.
fn memory_bounds() -> Vec<Bound> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| machine_bytes(&text));
    let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let machine = machine.map(|bytes| Bound {
        bytes,
        what: "of memory that this machine has available".to_owned(),
        advice: "ask for less",
    });
    machine.into_iter().chain(group_bound(Path::new("/sys/fs/cgroup"), &membership)).collect()
}

/// Available memory and free swap of `/proc/meminfo`, in bytes.
fn machine_bytes(meminfo: &str) -> Option<u64> {
    let kibibytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    Some((kibibytes("MemAvailable:")? + kibibytes("SwapFree:").unwrap_or(0)) * 1024)
}

/// The tightest memory group above this process, in either version of the interface.
fn group_bound(root: &Path, membership: &str) -> Option<Bound> {
    let groups = membership.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let path = path.trim_start_matches('/');
        if controllers.is_empty() {
            return Some((root.to_owned(), path, UNIFIED));
        }
        let is_memory = controllers.split(',').any(|controller| controller == "memory");
        is_memory.then(|| (root.join("memory"), path, SEPARATE))
    });
    groups
        .flat_map(|(top, path, names)| {
            let ancestors: Vec<PathBuf> =
                Path::new(path).ancestors().map(|p| top.join(p)).collect();
            ancestors
                .into_iter()
                .filter_map(move |group| group_bytes(&group, &names).zip(Some(group)))
        })
        .min_by_key(|&(bytes, _)| bytes)
        .map(|(bytes, group)| Bound {
            bytes,
            what: format!("that the memory group {} has left", group.display()),
            advice: "raise the limit of the group (--memory for a container), or ask for less",
        })
}

/// The files of a memory group: limit, use, and the names of what the kernel can drop of the use.
#[derive(Clone, Copy)]
struct GroupFiles {
    limit: &'static str,
    used: &'static str,
    reclaimable: [&'static str; 2],
}

const UNIFIED: GroupFiles = GroupFiles {
    limit: "memory.max",
    used: "memory.current",
    reclaimable: ["inactive_file", "active_file"],
};

const SEPARATE: GroupFiles = GroupFiles {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    reclaimable: ["total_inactive_file", "total_active_file"],
};

/// Bytes that one group can still give; `None` where it has no limit.
fn group_bytes(group: &Path, names: &GroupFiles) -> Option<u64> {
    let number = |name| fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
    let limit = number(names.limit)?;
    let used = number(names.used)?;
    let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let reclaimable: u64 = stat
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(name, _)| names.reclaimable.contains(name))
        .filter_map(|(_, bytes)| bytes.trim().parse::<u64>().ok())
        .sum();
    Some(limit.saturating_sub(used.saturating_sub(reclaimable)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{
        FileSystem, check_bounds, check_memory, check_shape, group_bound, machine_bytes,
        space_bound,
    };

    #[test]
    fn a_size_must_be_a_positive_multiple_of_eight_that_a_file_can_have() {
        for (bytes, problem) in [
            (0, "at least one word"),
            (12, "not a multiple of 8: try 16"),
            (1 << 63, "more than a file can have"),
            (u64::MAX - 7, "more than a file can have"),
        ] {
            let refusal = check_shape(bytes).unwrap_err().to_string();
            assert!(refusal.contains(problem), "{bytes}: {refusal}");
            assert!(refusal.contains(&bytes.to_string()), "{refusal}");
        }
        assert!(check_shape(8).is_ok());
    }

    #[test]
    fn a_small_tmpfs_is_named_with_what_to_do() {
        let bound = space_bound(FileSystem::Memory("tmpfs"), Path::new("/dev/shm"), 64 << 20);
        let refusal = check_bounds((64 << 20) + 8, [bound.clone()]).unwrap_err().to_string();
        for part in ["67108872", "67108864", "tmpfs at /dev/shm", "--shm-size", "memfd"] {
            assert!(refusal.contains(part), "{part}: {refusal}");
        }
        assert!(check_bounds(64 << 20, [bound]).is_ok());
    }

    #[test]
    fn more_memory_than_the_machine_has_is_refused_without_trying() {
        let refusal = check_memory(1 << 50).unwrap_err().to_string();
        assert!(refusal.contains("1125899906842624"), "{refusal}");
    }

    #[test]
    fn available_memory_counts_free_swap() {
        let meminfo = "MemTotal: 900 kB\nMemAvailable:    300 kB\nSwapFree:   5 kB\n";
        assert_eq!(machine_bytes(meminfo), Some(305 * 1024));
        assert_eq!(machine_bytes("MemTotal: 900 kB\n"), None);
    }

    #[test]
    fn the_tightest_group_above_the_process_bounds_the_size() {
        let root = tempfile::tempdir().unwrap();
        let group = |path: &str, limit: &str, used: &str, stat: &str| {
            let group = root.path().join(path);
            fs::create_dir_all(&group).unwrap();
            fs::write(group.join("memory.max"), limit).unwrap();
            fs::write(group.join("memory.current"), used).unwrap();
            fs::write(group.join("memory.stat"), stat).unwrap();
        };
        group("outer", "5000\n", "4000\n", "anon 9\ninactive_file 300\nactive_file 200\n");
        group("outer/inner", "max\n", "100\n", "");
        let bound = group_bound(root.path(), "0::/outer/inner\n").unwrap();
        assert_eq!(bound.bytes, 1500);
        assert!(bound.what.contains("outer"), "{}", bound.what);
        assert_eq!(group_bound(root.path(), "0::/elsewhere\n"), None);
    }

    #[test]
    fn a_group_of_the_older_interface_bounds_the_size() {
        let root = tempfile::tempdir().unwrap();
        let group = root.path().join("memory");
        fs::create_dir_all(&group).unwrap();
        fs::write(group.join("memory.limit_in_bytes"), "1000\n").unwrap();
        fs::write(group.join("memory.usage_in_bytes"), "900\n").unwrap();
        fs::write(group.join("memory.stat"), "total_inactive_file 50\n").unwrap();
        let bound = group_bound(root.path(), "4:cpu,memory:/not/visible/here\n").unwrap();
        assert_eq!(bound.bytes, 150);
    }
}
