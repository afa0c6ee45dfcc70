//! The machine that a run was made on, as far as it tells.

use std::path::Path;
use std::thread;

use serde::{Deserialize, Serialize};

use crate::sys;

/// The machine, for readers of a report.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// Processors that this process may use.
    pub cores: usize,
    /// Caches, as the kernel shows them to a virtual machine.
    pub caches: String,
    /// The kernel's release.
    pub kernel: String,
    /// Whether it runs under a hypervisor.
    pub is_virtual: bool,
    /// Load average when the run ended: near the number of workers on a machine left alone.
    pub load: String,
    /// Huge pages for shared memory.
    pub shared_huge_pages: String,
    /// Free bytes of `/dev/shm`.
    pub shared_memory_free: Option<u64>,
}

impl Machine {
    /// Looks at this machine.
    pub fn here() -> Self {
        let processor = read("/proc/cpuinfo");
        let field = |name: &str| {
            let line = processor.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(": ")).map(|(_, value)| value.to_owned())
        };
        let flags = field("flags").unwrap_or_default();
        Self {
            processor: field("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: thread::available_parallelism().map_or(1, usize::from),
            caches: caches(),
            kernel: one_line("/proc/sys/kernel/osrelease"),
            is_virtual: flags.split(' ').any(|flag| flag == "hypervisor"),
            load: one_line("/proc/loadavg"),
            shared_huge_pages: chosen(&one_line(
                "/sys/kernel/mm/transparent_hugepage/shmem_enabled",
            )),
            shared_memory_free: sys::free_bytes(Path::new("/dev/shm")),
        }
    }

    /// One line.
    pub fn summary(&self) -> String {
        let kind = if self.is_virtual { "virtual machine" } else { "machine" };
        format!(
            "{}, {} cores ({kind}), caches {}, Linux {}, huge pages for shared memory: {}, load {}",
            self.processor, self.cores, self.caches, self.kernel, self.shared_huge_pages, self.load
        )
    }
}

/// Bytes of memory that can still be used, by the system's account and that of the control group;
/// `None` if neither tells.
pub fn available_bytes() -> Option<u64> {
    let system = read("/proc/meminfo");
    let line = system.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let of_group = |name: &str| one_line(format!("/sys/fs/cgroup/{name}")).parse::<u64>().ok();
    let group = of_group("memory.max")
        .map(|most| most.saturating_sub(of_group("memory.current").unwrap_or(0)));
    [kibibytes.map(|kibibytes| kibibytes << 10), group].into_iter().flatten().min()
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn one_line(path: impl AsRef<Path>) -> String {
    read(path).lines().next().unwrap_or("unknown").to_owned()
}

fn caches() -> String {
    let all: Vec<String> = (0..5)
        .filter_map(|index| {
            let directory = format!("/sys/devices/system/cpu/cpu0/cache/index{index}");
            let directory = Path::new(&directory);
            let kind = one_line(directory.join("type"));
            directory.exists().then_some(())?;
            (kind != "Instruction").then(|| {
                let (level, size) =
                    (one_line(directory.join("level")), one_line(directory.join("size")));
                format!("L{level} {size}")
            })
        })
        .collect();
    if all.is_empty() { "unknown".to_owned() } else { all.join(", ") }
}

/// The choice that a kernel file marks with brackets.
fn chosen(line: &str) -> String {
    let marked = line.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    marked.map_or_else(|| line.to_owned(), |(choice, _)| choice.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_processor_and_a_kernel() {
        let machine = Machine::here();
        assert!(machine.cores >= 1);
        assert!(!machine.processor.is_empty());
        assert!(machine.summary().contains("cores"));
        assert_eq!(chosen("always [madvise] never"), "madvise");
    }
}
