//! A correction of the resident bytes that the kernel reports.

use crate::query::host::{System, huge_page_pools};

/// Returns the resident bytes of a segment whose `rss` from the kernel can exceed its size.
///
/// Since 6.7 the kernel counts resident huge pages in ordinary pages and multiplies them again by the ordinary pages in
/// a huge page (`shm_add_rss_swap`, ipc/shm.c). `None` if the value has several interpretations, or none.
pub(super) fn resident(system: &System, rss: u64, size: u64) -> Option<u64> {
    let page = system.page_size();
    if rss <= size.next_multiple_of(page) {
        return Some(rss);
    }
    corrected(rss, size, page, &huge_page_pools())
}

/// See [`resident`]; `pools` are huge page sizes with the number of pages in each pool.
fn corrected(rss: u64, size: u64, page: u64, pools: &[(u64, u64)]) -> Option<u64> {
    let interpretations = pools.iter().flat_map(|(huge, total)| {
        let fits = move |bytes: &u64| {
            bytes.is_multiple_of(*huge)
                && *bytes <= size.next_multiple_of(*huge)
                && *bytes <= huge.saturating_mul(*total)
        };
        let counts = [1, huge / page].into_iter().filter(move |count| rss.is_multiple_of(*count));
        counts.map(move |count| rss / count).filter(fits)
    });
    let mut interpretations: Vec<u64> = interpretations.collect();
    interpretations.dedup();
    match interpretations.as_slice() {
        [one] => Some(*one),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_rss_of_huge_pages_is_corrected_if_unambiguous() {
        const M: u64 = 1 << 20;
        let none = [(2 * M, 20), (1024 * M, 0)];
        for (rss, size, real) in [
            (1024 * M, 3 * M, Some(2 * M)),
            (2048 * M, 3 * M, Some(4 * M)),
            // Exceeds the size in any interpretation.
            (3072 * M, 3 * M, None),
            (5, 3, None),
            // From a kernel that does not multiply.
            (4 * M, 3 * M, Some(4 * M)),
        ] {
            assert_eq!(corrected(rss, size, 4096, &none), real, "{rss} of {size}");
        }
        let both = [(2 * M, 20), (1024 * M, 4)];
        assert_eq!(corrected((1024 * M) << 18, 1, 4096, &both), Some(1024 * M));
        assert_eq!(corrected(1024 * M, 3 * M, 4096, &both), None, "one page of 2 MiB, or of 1 GiB");
        assert_eq!(corrected(2048 * M, 3 * M, 4096, &both), Some(4 * M));
    }
}
