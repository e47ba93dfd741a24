//! Numbers of /proc/sys, /proc/meminfo and the pools of huge pages.

use std::fs;
use std::path::Path;

/// Reads a number of /proc/sys, such as `kernel/shmmni`; `None` if it is hidden or no number.
pub(crate) fn number(root: &Path, name: &str) -> Option<u64> {
    fs::read_to_string(root.join("sys").join(name)).ok()?.trim().parse().ok()
}

/// Reads a line of /proc/meminfo: kibibytes become bytes, counts stay counts.
fn meminfo(root: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(root.join("meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?.trim();
    match line.strip_suffix(" kB") {
        Some(kibibytes) => kibibytes.parse::<u64>().ok()?.checked_mul(1024),
        None => line.parse().ok(),
    }
}

/// Gives the bytes of memory and swap together.
pub(crate) fn memory_total(root: &Path) -> Option<u64> {
    meminfo(root, "MemTotal")?.checked_add(meminfo(root, "SwapTotal")?)
}

/// Gives the bytes of swap that there are.
pub(crate) fn swap_total(root: &Path) -> Option<u64> {
    meminfo(root, "SwapTotal")
}

/// Gives how many pages have gone to swap since boot, to a device or to compressed memory (/proc/vmstat).
pub(crate) fn swapped_out(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("vmstat")).ok()?;
    let number =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<u64>().ok());
    // Kernels without compressed swap have no line for it.
    Some(number("pswpout")? + number("zswpout").unwrap_or(0))
}

/// Gives the bytes of a huge page of the default size; `None` if the kernel has none.
pub(crate) fn default_huge_page(root: &Path) -> Option<u64> {
    meminfo(root, "Hugepagesize")
}

/// Gives the number of huge pages of the default size that are free.
pub(crate) fn free_huge_pages(root: &Path) -> Option<u64> {
    meminfo(root, "HugePages_Free")
}

/// Gives the sizes of huge pages that the kernel has, in bytes, from /sys/kernel/mm/hugepages, smallest first.
pub(crate) fn huge_page_sizes(pools: &Path) -> Vec<u64> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
    let kibibytes = |name: String| name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse::<u64>().ok();
    let mut sizes: Vec<u64> = fs::read_dir(pools)
        .into_iter()
        .flatten()
        .filter_map(|entry| kibibytes(name(entry)?)?.checked_mul(1024))
        .collect();
    sizes.sort_unstable();
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_64_bits_and_lines_of_meminfo_are_read() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("sys/kernel")).unwrap();
        fs::write(root.path().join("sys/kernel/shmall"), "18446744073692774399\n").unwrap();
        fs::write(
            root.path().join("meminfo"),
            "MemTotal:       16 kB\nSwapTotal:  4 kB\nHugePages_Free:    3\nHugepagesize:  2048 kB\n",
        )
        .unwrap();
        assert_eq!(number(root.path(), "kernel/shmall"), Some(18_446_744_073_692_774_399));
        assert_eq!(number(root.path(), "kernel/none"), None);
        assert_eq!(memory_total(root.path()), Some(20 << 10));
        assert_eq!(default_huge_page(root.path()), Some(2 << 20));
        assert_eq!((swap_total(root.path()), swapped_out(root.path())), (Some(4 << 10), None));
        fs::write(root.path().join("vmstat"), "nr_free_pages 1\npswpin 3\npswpout 5\nzswpout 7\n").unwrap();
        assert_eq!(swapped_out(root.path()), Some(12));
        assert_eq!(free_huge_pages(root.path()), Some(3));
    }
}
