//! What the kernel's Shmem (/proc/meminfo) consists of.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::{Device, Ident, named};

named! {
    /// A kind of shared memory.
    pub(crate) enum Source {
        /// The caller's /dev/shm, with its objects without a name.
        DevShm = "devshm",
        /// Objects of the caller's /dev/shm without a name.
        Unlinked = "unlinked",
        /// Other tmpfs in the caller's mount namespace.
        Tmpfs = "tmpfs",
        Devtmpfs = "devtmpfs",
        /// Tmpfs in other mount namespaces.
        Container = "container",
        /// Tmpfs that is mounted nowhere, but open.
        Detached = "detached",
        Memfd = "memfd",
        /// Shared anonymous mappings.
        Anonymous = "anonymous",
        /// System V segments of all IPC namespaces.
        SysV = "sysv",
    }
}

impl Source {
    /// Returns the source that includes it.
    pub(crate) const fn within(self) -> Option<Self> {
        match self {
            Self::Unlinked => Some(Self::DevShm),
            _ => None,
        }
    }
}

named! {
    /// Why some of Shmem is not accounted for.
    pub(crate) enum Unseen {
        /// A Unix socket has descriptors queued, or an io_uring has files registered.
        InFlight = "in-flight",
        /// Some processes may not be inspected.
        Permission = "permission",
        /// Processes outside this pid namespace are not visible.
        PidNamespace = "pid-namespace",
        /// A file system is covered by other mounts.
        HiddenMount = "hidden-mount",
        /// The kernel uses some itself.
        Kernel = "kernel",
    }
}

/// A reason, and how many processes, descriptors or file systems it applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Possible {
    pub(crate) reason: Unseen,
    pub(crate) count: Option<u64>,
}

/// Bytes of shared memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Memory {
    pub(crate) rss: u64,
    /// `None` if that is unknown; then `rss` may include it.
    pub(crate) swap: Option<u64>,
    /// As requested.
    pub(crate) size: u64,
    /// The number of objects or file systems that have memory; `None` if some of their users cannot be seen.
    pub(crate) count: Option<u64>,
}

impl Memory {
    /// No bytes, neither resident nor in swap.
    pub(crate) const NONE: Self = Self { rss: 0, swap: Some(0), size: 0, count: Some(0) };

    /// Returns the resident and swapped bytes.
    pub(crate) fn allocated(self) -> u64 {
        self.rss.saturating_add(self.swap.unwrap_or(0))
    }

    /// Returns the same with this many resident and swapped bytes.
    #[must_use]
    pub(crate) fn with_allocated(self, bytes: u64) -> Self {
        Self { rss: bytes.saturating_sub(self.swap.unwrap_or(0)), ..self }
    }

    /// Returns the same as the memory of one object or file system.
    #[must_use]
    pub(crate) fn of_one(self) -> Self {
        Self { count: Some(u64::from(self.allocated() > 0)), ..self }
    }

    #[must_use]
    pub(crate) fn plus(mut self, other: Self) -> Self {
        self.add(other);
        self
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.rss = self.rss.saturating_add(other.rss);
        let sum = |one: Option<u64>, other| one.zip(other).map(|(one, other)| one.saturating_add(other));
        self.swap = sum(self.swap, other.swap);
        self.size = self.size.saturating_add(other.size);
        self.count = sum(self.count, other.count);
    }

    /// Returns equal parts, which count nothing. The first ones get the remainder.
    fn parts(self, number: usize) -> impl Iterator<Item = Self> {
        let parts = number as u64;
        (0..parts).map(move |index| {
            let share = |bytes: u64| bytes / parts + u64::from(index < bytes % parts);
            Self { rss: share(self.rss), swap: self.swap.map(share), size: share(self.size), count: Some(0) }
        })
    }
}

/// A file system, a segment or a file of shared memory, with what it can be grouped by.
#[derive(Clone, Debug)]
pub(crate) struct Holding {
    /// The segment or object; `None` for several, and for a file that is not in the /dev/shm of a process.
    pub(crate) ident: Option<Ident>,
    pub(crate) source: Source,
    pub(crate) memory: Memory,
    /// The file system or IPC namespace.
    pub(crate) instance: Instance,
    pub(crate) uid: Option<u32>,
    /// The processes that use it, if they were looked for.
    pub(crate) pids: Vec<i32>,
    pub(crate) container: Option<Arc<str>>,
    pub(crate) product: Option<Arc<str>>,
}

impl Holding {
    /// Returns a holding that is grouped by its source and instance only.
    pub(crate) const fn new(source: Source, instance: Instance, memory: Memory) -> Self {
        Self { ident: None, source, memory, instance, uid: None, pids: Vec::new(), container: None, product: None }
    }
}

/// Where shared memory is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Instance {
    FileSystem(Device),
    Namespace(u64),
    /// The kernel's internal file system, of memfds and shared anonymous memory.
    Internal,
}

/// A tmpfs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct InstanceUsage {
    pub(crate) dev: Device,
    /// Its mount point; `None` if it is mounted nowhere.
    pub(crate) mount: Option<String>,
    pub(crate) mnt_ns: Option<u64>,
    pub(crate) container: Option<Arc<str>>,
    /// Its limit in bytes; 0 if there is none.
    pub(crate) size: u64,
    /// Resident and swapped bytes; `None` if the kernel does not count them and the files were not read.
    pub(crate) used: Option<u64>,
    /// 0 means unlimited.
    pub(crate) inodes: u64,
    /// `None` if their number is unlimited.
    pub(crate) inodes_used: Option<u64>,
    /// Bytes of files without a name; `None` if its files were not read.
    pub(crate) unlinked: Option<u64>,
}

/// Bytes in huge pages of hugetlbfs, which are not part of Shmem.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct HugeMemory {
    pub(crate) files: u64,
    /// Of memfds and shared anonymous mappings.
    pub(crate) memfd: u64,
    pub(crate) sysv: u64,
}

/// Sums up holdings by a key. One with several keys, such as several processes, is divided evenly among them, and each
/// different key counts it once.
pub(crate) fn grouped<'a, K: Ord + Clone>(
    holdings: impl IntoIterator<Item = &'a Holding>,
    keys: impl Fn(&Holding) -> Vec<K>,
) -> BTreeMap<K, Memory> {
    let mut groups = BTreeMap::new();
    for holding in holdings {
        let mut keys = keys(holding);
        keys.sort_unstable();
        let mut parts = holding.memory.parts(keys.len());
        for same in keys.chunk_by(|one, next| one == next) {
            let share = parts.by_ref().take(same.len()).fold(Memory::NONE, Memory::plus);
            groups.entry(same[0].clone()).or_insert(Memory::NONE).add(Memory { count: holding.memory.count, ..share });
        }
    }
    groups
}

/// What a source holds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct SourceUsage {
    pub(crate) source: Source,
    #[serde(flatten)]
    pub(crate) memory: Memory,
    /// The source that includes it.
    pub(crate) within: Option<Source>,
    /// Bytes per second since the previous round of `top`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) change: Option<i64>,
}

/// Sums up holdings by source. The objects without a name are part of /dev/shm too.
pub(crate) fn by_source(holdings: &[Holding]) -> [SourceUsage; Source::ALL.len()] {
    let mut sums = grouped(holdings, |holding| vec![holding.source]);
    if let Some(unlinked) = sums.get(&Source::Unlinked).copied() {
        // The size is that of the file system.
        sums.entry(Source::DevShm).or_insert(Memory::NONE).add(Memory { size: 0, ..unlinked });
    }
    Source::ALL.map(|source| {
        let memory = sums.get(&source).copied().unwrap_or(Memory::NONE);
        SourceUsage { source, memory, within: source.within(), change: None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_of_several_processes_is_divided_without_a_rest() {
        let memory = Memory { rss: 10, swap: Some(4), size: 11, count: Some(1) };
        let instance = Instance::Internal;
        let pids = vec![7, 8, 9];
        let holding = Holding { pids, ..Holding::new(Source::Memfd, instance, memory) };
        let groups = grouped(&[holding], |holding| holding.pids.clone());
        let rss: Vec<_> = groups.values().map(|memory| memory.rss).collect();
        assert_eq!((rss, groups[&7].swap, groups[&9].size), (vec![4, 3, 3], Some(2), 3));
    }
}
