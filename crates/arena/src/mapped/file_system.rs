//! Which file systems keep locks and mappings coherent.

/// A file system as far as a segment cares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FileSystem {
    /// Pages are memory: tmpfs, which a memory descriptor lives on too, and ramfs.
    Memory(&'static str),
    /// Pages are huge and come from a pool.
    HugePages,
    /// A local disk.
    Disk(&'static str),
    /// A stack of others: fit if a beacon can be seen on it.
    Overlay,
    /// Known to be unfit.
    Refused(&'static str),
    /// Not known; its magic number.
    Unknown(u64),
}

/// The magic numbers of statfs(2), in the words of its manual page.
const KNOWN: [(u64, FileSystem); 19] = [
    (0x0102_1994, FileSystem::Memory("tmpfs")),
    (0x8584_58f6, FileSystem::Memory("ramfs")),
    (0x9584_58f6, FileSystem::HugePages),
    (0x0000_ef53, FileSystem::Disk("ext4")),
    (0x5846_5342, FileSystem::Disk("xfs")),
    (0x9123_683e, FileSystem::Disk("btrfs")),
    (0xf2f5_2010, FileSystem::Disk("f2fs")),
    (0xca45_1a4e, FileSystem::Disk("bcachefs")),
    (0x794c_7630, FileSystem::Overlay),
    (0x0000_6969, FileSystem::Refused("nfs")),
    (0x6573_5546, FileSystem::Refused("fuse")),
    (0xff53_4d42, FileSystem::Refused("cifs")),
    (0xfe53_4d42, FileSystem::Refused("smb")),
    (0x0102_1997, FileSystem::Refused("9p")),
    (0x00c3_6400, FileSystem::Refused("ceph")),
    (0x786f_4256, FileSystem::Refused("vboxsf")),
    (0x5346_414f, FileSystem::Refused("afs")),
    (0x0000_9fa0, FileSystem::Refused("proc")),
    (0x6265_6572, FileSystem::Refused("sysfs")),
];

/// What a caller may do about a file system that is not fit.
pub(super) const FIT: &str = "tmpfs, ext4, xfs, btrfs, f2fs, bcachefs, ramfs or hugetlbfs";

impl FileSystem {
    /// The file system with this magic number.
    pub(super) fn from_magic(magic: u64) -> Self {
        KNOWN
            .iter()
            .find_map(|&(known, file_system)| (known == magic).then_some(file_system))
            .unwrap_or(Self::Unknown(magic))
    }

    /// The file system that `statfs` speaks of.
    #[cfg(target_os = "linux")]
    pub(super) fn from_statfs(statfs: &rustix::fs::StatFs) -> Self {
        // The kernel's field is a signed word on some machines, with numbers of 32 bits in it.
        Self::from_magic(statfs.f_type as u64 & 0xffff_ffff)
    }

    /// Nothing is known of file systems elsewhere: all count as disks.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn from_statfs(_statfs: &rustix::fs::StatFs) -> Self {
        Self::Disk("a file system")
    }

    /// Whether its pages are the machine's memory, so that memory limits apply.
    pub(super) fn is_memory(self) -> bool {
        matches!(self, Self::Memory(_))
    }

    /// Whether a segment may live on it, as far as its name tells.
    pub(super) fn is_fit(self) -> bool {
        !matches!(self, Self::Refused(_) | Self::Unknown(_))
    }

    /// Its name for a message.
    pub(super) fn name(self) -> String {
        match self {
            Self::Memory(name) | Self::Disk(name) | Self::Refused(name) => name.to_owned(),
            Self::HugePages => "hugetlbfs".to_owned(),
            Self::Overlay => "overlayfs".to_owned(),
            Self::Unknown(magic) => format!("unknown (magic number {magic:#x})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::FileSystem;

    #[test]
    fn network_and_unknown_file_systems_are_not_fit() {
        for magic in [0x6969, 0x6573_5546, 0xff53_4d42, 0x0102_1997, 0x1234_5678] {
            assert!(!FileSystem::from_magic(magic).is_fit(), "{magic:#x}");
        }
        for magic in [0x0102_1994, 0xef53, 0x5846_5342, 0x9123_683e, 0x9584_58f6] {
            assert!(FileSystem::from_magic(magic).is_fit(), "{magic:#x}");
        }
    }
}
