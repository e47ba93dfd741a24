//! Huge pages: which there are, how many are free, and what the kernel miscounts of them.

use std::path::Path;

use super::System;
use crate::error::Error;
use crate::model::Size;
use crate::procfs::{self, Pool};

/// Where the kernel shows its pools of huge pages.
const POOLS: &str = "/sys/kernel/mm/hugepages";

/// Gives the bytes of a huge page of the default size; `None` if the kernel has none.
pub(crate) fn huge_page_size(system: &System) -> Option<u64> {
    procfs::default_huge_page(system.proc())
}

/// Gives the sizes of huge pages that the kernel has, in bytes, the smallest first.
pub(super) fn huge_page_sizes() -> Vec<u64> {
    procfs::huge_page_sizes(Path::new(POOLS))
}

/// Explains huge pages of so many bytes of which too few can be had; `wanted` are the bytes that they should hold.
pub(crate) fn no_huge_page(error: Error, page: u64, wanted: Option<u64>) -> Error {
    let error = Error { cause: None, hints: Vec::new(), ..error };
    let pool = procfs::pool(Path::new(POOLS), page);
    let free = pool.map_or(0, Pool::available);
    let total = pool.map_or(0, |pool| pool.total);
    let wanted = wanted.map_or(1, |wanted| wanted.div_ceil(page));
    let pages = if wanted == 1 { "page" } else { "pages" };
    let file = format!("{POOLS}/hugepages-{}kB/nr_hugepages", page >> 10);
    error
        .cause(format!(
            "it takes {wanted} huge {pages} of {}; of the {total} in their pool (nr_hugepages), {free} are free and \
             promised to nobody",
            Size(page)
        ))
        .hint(format!("enlarge the pool: `echo {} > {file}`", total + wanted.saturating_sub(free).max(1)))
}

/// Gives the bytes that are resident of a segment of which the kernel says more than it has room for, as it has of huge
/// pages since 6.7: it counts them in ordinary pages, and multiplies these by the ordinary pages of a huge one
/// (`shm_add_rss_swap`, ipc/shm.c). `None` if that can mean several things, or nothing at all.
pub(super) fn resident(system: &System, said: u64, size: u64) -> Option<u64> {
    let page = system.page_size();
    if said <= size.next_multiple_of(page) {
        return Some(said);
    }
    counted(said, size, page, system.huge_page_pools())
}

/// Gives the sizes of huge pages that the kernel has, in bytes, each with the number of them in its pool.
pub(super) fn huge_page_pools() -> Vec<(u64, u64)> {
    let pools = huge_page_sizes().into_iter();
    pools.filter_map(|huge| Some((huge, procfs::pool(Path::new(POOLS), huge)?.total))).collect()
}

/// As [`resident`], for pools with the size of a page and the number of them.
fn counted(said: u64, size: u64, page: u64, pools: &[(u64, u64)]) -> Option<u64> {
    let meanings = pools.iter().flat_map(|(huge, total)| {
        let fits = move |bytes: &u64| {
            bytes.is_multiple_of(*huge)
                && *bytes <= size.next_multiple_of(*huge)
                && *bytes <= huge.saturating_mul(*total)
        };
        let counts = [1, huge / page].into_iter().filter(move |count| said.is_multiple_of(*count));
        counts.map(move |count| said / count).filter(fits)
    });
    let mut meanings: Vec<u64> = meanings.collect();
    meanings.dedup();
    match meanings.as_slice() {
        [one] => Some(*one),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_counts_too_often_is_counted_back() {
        const M: u64 = 1 << 20;
        let none = [(2 * M, 20), (1024 * M, 0)];
        for (said, size, real) in [
            (1024 * M, 3 * M, Some(2 * M)),
            (2048 * M, 3 * M, Some(4 * M)),
            // More than it has room for however it is counted.
            (3072 * M, 3 * M, None),
            (5, 3, None),
            // As a kernel counts that does not multiply.
            (4 * M, 3 * M, Some(4 * M)),
        ] {
            assert_eq!(counted(said, size, 4096, &none), real, "{said} of {size}");
        }
        let both = [(2 * M, 20), (1024 * M, 4)];
        assert_eq!(counted((1024 * M) << 18, 1, 4096, &both), Some(1024 * M));
        assert_eq!(counted(1024 * M, 3 * M, 4096, &both), None, "one page of 2 MiB, or of 1 GiB");
        assert_eq!(counted(2048 * M, 3 * M, 4096, &both), Some(4 * M));
    }
}
