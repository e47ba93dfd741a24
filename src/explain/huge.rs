//! Why a huge page could not be allocated.

use std::path::Path;

use super::access::DENIED;
use super::memory::in_mebibytes;
use crate::error::{Error, program};
use crate::model::{Size, counted};
use crate::procfs;
use crate::query::{System, huge_page_pool, huge_page_pool_file, is_in_initial_user_namespace, may_use_huge_pages};

/// Replaces cause and hints: too few huge pages of `page` bytes are free to hold `size` bytes, or one more page.
pub(crate) fn explain_missing_huge_page(error: Error, page: u64, size: Option<u64>) -> Error {
    let error = Error { cause: None, hints: Vec::new(), ..error };
    let pool = huge_page_pool(page);
    let free = pool.map_or(0, |pool| pool.available());
    let total = pool.map_or(0, |pool| pool.total);
    let required = size.map_or(1, |size| size.div_ceil(page));
    let file = huge_page_pool_file(page);
    let error = error.cause(format!(
        "{} of {} required; free and not reserved in the pool: {free} of {total} (nr_hugepages)",
        counted(required, "huge page"),
        Size(page)
    ));
    let enlarged = total.saturating_add(required.saturating_sub(free).max(1));
    match procfs::meminfo(Path::new("/proc"), "MemTotal:") {
        Some(memory) if enlarged.saturating_mul(page) > memory => {
            error.also(&format!("the enlarged pool would exceed the memory of the machine, {}", in_mebibytes(memory)))
        }
        _ => error.hint("enlarge the pool", program(format!("echo {enlarged}")).written_to(&file)),
    }
}

/// Adds why the caller may not create a segment with huge pages.
pub(super) fn explain_huge_privilege(system: &System, error: Error) -> Error {
    if may_use_huge_pages(system) {
        return error.cause(DENIED);
    }
    let (where_needed, group) = match is_in_initial_user_namespace(system) {
        Some(false) => (" in the initial user namespace", String::new()),
        _ => {
            let gid = procfs::sysctl(system.proc(), "vm/hugetlb_shm_group").and_then(|gid| u32::try_from(gid).ok());
            ("", gid.map_or_else(String::new, |gid| format!(" ({})", system.group(gid))))
        }
    };
    error
        .cause(format!(
            "huge pages require CAP_IPC_LOCK{where_needed} or membership in the group vm.hugetlb_shm_group{group}"
        ))
        .hint("show that group", program("sysctl vm.hugetlb_shm_group"))
}
