//! What the kernel tells about the pages of a mapping.

use std::fs::File;
use std::io::{self, BufRead, BufReader};

/// Bytes in huge pages of the mapping that starts at this address.
pub(super) fn huge_bytes(address: usize) -> io::Result<u64> {
    huge_bytes_in(BufReader::new(File::open("/proc/self/smaps")?), address)
}

fn huge_bytes_in(smaps: impl BufRead, address: usize) -> io::Result<u64> {
    const HUGE: [&str; 5] = [
        "AnonHugePages:",
        "ShmemPmdMapped:",
        "FilePmdMapped:",
        "Shared_Hugetlb:",
        "Private_Hugetlb:",
    ];
    let start = format!("{address:08x}-");
    let mut inside = false;
    let mut found = false;
    let mut kibibytes = 0;
    for line in smaps.lines() {
        let line = line?;
        let mut fields = line.split_ascii_whitespace();
        let name = fields.next().unwrap_or_default();
        if !name.ends_with(':') {
            inside = line.starts_with(&start);
            found |= inside;
        } else if inside && HUGE.contains(&name) {
            kibibytes += fields.next().and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    if found { Ok(kibibytes * 1024) } else { Err(io::ErrorKind::NotFound.into()) }
}

#[cfg(test)]
mod tests {
    use super::huge_bytes_in;

    const SMAPS: &str = "\
7f0000000000-7f0000200000 rw-s 00000000 00:1a 5 /dev/shm/first
Size:               2048 kB
ShmemPmdMapped:     2048 kB
VmFlags: rd wr sh
7f0000400000-7f0000800000 rw-s 00000000 00:1a 6 /dev/shm/second
Size:               4096 kB
ShmemPmdMapped:        0 kB
Shared_Hugetlb:       64 kB
";

    #[test]
    fn huge_bytes_are_those_of_the_mapping_asked_for() {
        let of = |address| huge_bytes_in(SMAPS.as_bytes(), address).ok();
        assert_eq!(of(0x7f00_0000_0000), Some(2 << 20));
        assert_eq!(of(0x7f00_0040_0000), Some(64 << 10));
        assert_eq!(of(0x7f00_0050_0000), None);
    }
}
