//! Why a huge page could not be allocated.

use crate::error::{Error, program};
use crate::model::{Size, counted};
use crate::query::{huge_page_pool, huge_page_pool_file};

/// Replaces cause and hints: too few huge pages of `page` bytes are free to hold `size` bytes, or one more page.
pub(crate) fn explain_missing_huge_page(error: Error, page: u64, size: Option<u64>) -> Error {
    let error = Error { cause: None, hints: Vec::new(), ..error };
    let pool = huge_page_pool(page);
    let free = pool.map_or(0, |pool| pool.available());
    let total = pool.map_or(0, |pool| pool.total);
    let required = size.map_or(1, |size| size.div_ceil(page));
    let file = huge_page_pool_file(page);
    error
        .cause(format!(
            "{} of {} required; free and not reserved in the pool: {free} of \
             {total} (nr_hugepages)",
            counted(required, "huge page"),
            Size(page)
        ))
        .hint(
            "enlarge the pool",
            program(format!("echo {}", total + required.saturating_sub(free).max(1))).written_to(&file),
        )
}
