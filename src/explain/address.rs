//! Why a segment could not be attached at an address.

use crate::error::{Error, Hint, again};
use crate::model::Size;
use crate::query::{System, huge_page_pools};

pub(crate) fn suggest_any_address() -> Hint {
    Hint::new("let the kernel choose the address", again("").without(&["address", "round"]))
}

/// Adds why a segment could not be attached at exactly this address.
pub(super) fn explain_address(system: &System, error: Error, address: usize) -> Error {
    let page_size = usize::try_from(system.page_size()).unwrap_or(4096);
    if !address.is_multiple_of(page_size) {
        let error = error.cause(format!("{address:#x} is not a multiple of {page_size} (SHMLBA)"));
        return match address - address % page_size {
            rounded if rounded == 0 || rounded >= end_of_addresses() => error.with(suggest_any_address()),
            rounded => error.hint(format!("attach it at {rounded:#x}"), again("--round")),
        };
    }
    explain_rounded_address(error, address)
}

/// Returns the end of the address space, which is a power of two. The stack is right below it.
fn end_of_addresses() -> usize {
    let on_stack = 0_u8;
    std::ptr::from_ref(&on_stack).addr().checked_next_power_of_two().unwrap_or(usize::MAX)
}

/// Adds why a segment could not be attached at an address that was rounded down to a page (SHM_RND).
pub(super) fn explain_rounded_address(error: Error, address: usize) -> Error {
    let misaligned = |(size, pages): &(u64, u64)| *pages > 0 && !(address as u64).is_multiple_of(*size);
    // No call shows the page size of a segment that is not attached.
    let huge = match huge_page_pools().into_iter().find(misaligned) {
        Some((size, _)) => {
            format!(", or the segment has huge pages and the address is not a multiple of {}", Size(size))
        }
        None => String::new(),
    };
    error
        .cause(format!("the range overlaps an existing mapping or exceeds the address space{huge}"))
        .with(suggest_any_address())
}
