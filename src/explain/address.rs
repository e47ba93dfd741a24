//! Why a segment could not be attached at an address.

use nix::errno::Errno;

use crate::error::{Error, Hint, again};
use crate::model::{Mapping, SEGMENT_NAME, Size, escape_invalid_utf8};
use crate::procfs;
use crate::query::{System, huge_page_pools};

pub(crate) fn suggest_any_address() -> Hint {
    Hint::new("let the kernel choose the address", again("").without(&["address", "round"]))
}

/// Adds why a segment could not be attached at exactly this address.
pub(super) fn explain_address(system: &System, error: Error, address: usize, size: u64) -> Error {
    let page_size = usize::try_from(system.page_size()).unwrap_or(4096);
    if !address.is_multiple_of(page_size) {
        let error = error.cause(format!("{address:#x} is not a multiple of {page_size} (SHMLBA)"));
        return match address - address % page_size {
            rounded if rounded == 0 || rounded >= end_of_addresses() => error.with(suggest_any_address()),
            rounded if system.other_caller().is_some() => {
                error.advice(format!("SHM_RND rounds it down to {rounded:#x}"))
            }
            rounded => error.hint(format!("attach it at {rounded:#x}"), again("--round")),
        };
    }
    explain_rounded_address(system, error, address, size)
}

/// Returns the end of the address space, which is a power of two. The stack is right below it.
pub(super) fn end_of_addresses() -> usize {
    let on_stack = 0_u8;
    std::ptr::from_ref(&on_stack).addr().checked_next_power_of_two().unwrap_or(usize::MAX)
}

/// Adds why a segment could not be attached at an address that was rounded down to a page (SHM_RND).
pub(super) fn explain_rounded_address(system: &System, error: Error, address: usize, size: u64) -> Error {
    if let Some(cause) = describe_overlap(system, address, size) {
        return error.cause(cause).with(suggest_any_address());
    }
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

/// Returns which mapping of the caller a range overlaps, if one is found.
pub(super) fn describe_overlap(system: &System, address: usize, size: u64) -> Option<String> {
    let (Mapping { start, end, inode, .. }, name) = mapped_at(system, address as u64, size)?;
    Some(format!("the range overlaps a mapping of {} at {start:#x}-{end:#x}", name_mapping(&name, inode)))
}

/// Returns the first mapping of the caller in a range, with its name. This process is not asked: its own attachment may
/// have failed in a holder, which has other mappings.
fn mapped_at(system: &System, address: u64, size: u64) -> Option<(Mapping, Vec<u8>)> {
    system.other_caller()?;
    // Rounded down to a page, if it was not rounded yet.
    let start = address - address % system.page_size();
    procfs::mapping_at(system.proc(), system.caller_thread(), start, start.saturating_add(size.max(1)))
}

/// Adds why nothing was detached at an address.
pub(super) fn explain_detach(system: &System, error: Error, address: usize, errno: Errno) -> Error {
    let page_size = system.page_size();
    match (errno, address) {
        (Errno::EINVAL, 0) => return error.cause("the address is NULL, where nothing is attached"),
        (Errno::EINVAL, usize::MAX) => return error.cause("shmat returns this address when it fails"),
        (Errno::EINVAL, _) if !(address as u64).is_multiple_of(page_size) => {
            return error.cause(format!(
                "{address:#x} is not a multiple of {page_size}, unlike any address that shmat returns"
            ));
        }
        (Errno::EINVAL, _) => {}
        _ => return error,
    }
    match mapped_at(system, address as u64, 1) {
        None => error.cause("nothing is mapped at this address: it was already detached or never attached"),
        Some((found, name)) if !name.starts_with(SEGMENT_NAME) => {
            let name = name_mapping(&name, found.inode);
            error.cause(format!("a mapping of {name} is at this address, which is not an attachment"))
        }
        Some((found, name)) if found.start != address as u64 => {
            let (start, name) = (found.start, name_mapping(&name, found.inode));
            error.cause(format!("the attachment of {name} begins at {start:#x}; shmdt requires its first address"))
        }
        Some(_) => error,
    }
}

/// Names what is mapped. The inode number of a segment is its id.
fn name_mapping(name: &[u8], inode: u64) -> String {
    match name {
        b"" => "anonymous memory".to_owned(),
        name if name.starts_with(SEGMENT_NAME) => format!("segment {inode}"),
        name => escape_invalid_utf8(name),
    }
}
