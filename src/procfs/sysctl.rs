//! Numbers of /proc/sys, /proc/stat, /proc/meminfo, /proc/vmstat and /sys/kernel/mm/hugepages.

use std::fs;
use std::path::Path;

fn read_number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Returns the rest of the line that begins with a name.
fn line(path: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim().to_owned())
}

/// Reads a number of /proc/sys, such as `kernel/shmmni`.
pub(crate) fn number(root: &Path, name: &str) -> Option<u64> {
    read_number(&root.join("sys").join(name))
}

/// Returns the number of processes and threads started since boot (/proc/stat), in all namespaces.
pub(crate) fn forks(root: &Path) -> Option<u64> {
    line(&root.join("stat"), "processes ")?.parse().ok()
}

/// Reads a size of /proc/meminfo in bytes, such as `SwapTotal:`. `Hugepagesize:` is missing without huge pages.
pub(crate) fn meminfo(root: &Path, name: &str) -> Option<u64> {
    line(&root.join("meminfo"), name)?.strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Returns the size of memory and swap in bytes.
pub(crate) fn memory_total(root: &Path) -> Option<u64> {
    meminfo(root, "MemTotal:")?.checked_add(meminfo(root, "SwapTotal:")?)
}

/// Returns the number of pages written to swap since boot, including compressed swap (/proc/vmstat).
pub(crate) fn swapped_out(root: &Path) -> Option<u64> {
    let number = |name| line(&root.join("vmstat"), name)?.parse::<u64>().ok();
    // Kernels without zswap lack the line.
    Some(number("pswpout ")? + number("zswpout ").unwrap_or(0))
}

/// Returns the supported huge page sizes in bytes, smallest first (/sys/kernel/mm/hugepages).
pub(crate) fn huge_page_sizes(pools: &Path) -> Vec<u64> {
    let size = |entry: std::io::Result<fs::DirEntry>| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse::<u64>().ok()?.checked_mul(1024)
    };
    let mut sizes: Vec<u64> = fs::read_dir(pools).into_iter().flatten().filter_map(size).collect();
    sizes.sort_unstable();
    sizes
}

/// A pool of huge pages of one size, in pages (Documentation/admin-guide/mm/hugetlbpage.rst).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pool {
    pub(crate) total: u64,
    /// Not allocated.
    pub(crate) free: u64,
    /// Free, but reserved by a mapping or segment.
    reserved: u64,
    /// How many more can be allocated from normal memory.
    overcommit: u64,
}

impl Pool {
    /// Returns how many pages a new segment can get, including those that must be allocated first.
    pub(crate) fn available(self) -> u64 {
        self.free.saturating_sub(self.reserved) + self.overcommit
    }
}

/// Reads the pool of huge pages of a size in bytes; `None` if that size is not supported.
pub(crate) fn pool(pools: &Path, size: u64) -> Option<Pool> {
    let directory = pools.join(format!("hugepages-{}kB", size >> 10));
    let number = |name| read_number(&directory.join(name));
    Some(Pool {
        total: number("nr_hugepages")?,
        free: number("free_hugepages")?,
        reserved: number("resv_hugepages")?,
        overcommit: number("nr_overcommit_hugepages")?.saturating_sub(number("surplus_hugepages")?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::directory;

    #[test]
    fn huge_page_pools_are_parsed() {
        let root = directory(&[
            ("hugepages-1048576kB/nr_hugepages", "0\n"),
            ("hugepages-2048kB/nr_hugepages", "20\n"),
            ("hugepages-2048kB/free_hugepages", "7\n"),
            ("hugepages-2048kB/resv_hugepages", "5\n"),
            ("hugepages-2048kB/nr_overcommit_hugepages", "4\n"),
            ("hugepages-2048kB/surplus_hugepages", "1\n"),
        ]);
        assert_eq!(huge_page_sizes(root.path()), [2 << 20, 1 << 30]);
        let pool = pool(root.path(), 2 << 20).unwrap();
        assert_eq!((pool, pool.available()), (Pool { total: 20, free: 7, reserved: 5, overcommit: 3 }, 5));
    }

    #[test]
    fn meminfo_and_vmstat_are_parsed() {
        let meminfo = "MemTotal:       16 kB\nSwapTotal:  4 kB\nHugePages_Free:    3\nHugepagesize:  2048 kB\n";
        let vmstat = "nr_free_pages 1\npswpin 3\npswpout 5\n";
        let (old, new) = (
            directory(&[("vmstat", vmstat)]),
            directory(&[("meminfo", meminfo), ("vmstat", "pswpout 5\nzswpout 7\n")]),
        );
        assert_eq!((swapped_out(old.path()), swapped_out(new.path())), (Some(5), Some(12)));
        assert_eq!(
            (memory_total(new.path()), super::meminfo(new.path(), "Hugepagesize:")),
            (Some(20 << 10), Some(2 << 20))
        );
    }
}
