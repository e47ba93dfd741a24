//! Huge pages: supported sizes and pools.

use std::path::Path;

use crate::procfs::{self, Pool};

const POOLS: &str = "/sys/kernel/mm/hugepages";

pub(crate) fn huge_page_sizes() -> Vec<u64> {
    procfs::huge_page_sizes(Path::new(POOLS))
}

pub(crate) fn pool(page: u64) -> Option<Pool> {
    procfs::pool(Path::new(POOLS), page)
}

/// Returns the file that sets the number of huge pages of this size.
pub(crate) fn pool_file(page: u64) -> String {
    format!("{POOLS}/hugepages-{}kB/nr_hugepages", page >> 10)
}

/// Returns the supported huge page sizes in bytes, each with the number of pages in its pool.
pub(crate) fn huge_page_pools() -> Vec<(u64, u64)> {
    let pools = huge_page_sizes().into_iter();
    pools.filter_map(|huge| Some((huge, pool(huge)?.total))).collect()
}
