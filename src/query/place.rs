//! Why a segment could not be attached at an address.

use std::fmt::Display;

use super::System;
use crate::error::Error;
use crate::model::{ShmId, Size};

/// Advises to leave the choice to the kernel.
pub(crate) fn anywhere(segment: impl Display) -> String {
    format!("without --address the kernel finds room: `shmadm attach {segment}`")
}

/// Explains why a segment could not be attached at an address.
pub(super) fn explain_place(system: &System, error: Error, id: ShmId, address: usize) -> Error {
    let page_size = usize::try_from(system.page_size()).unwrap_or(4096);
    if !address.is_multiple_of(page_size) {
        let error = error.cause(format!("{address:#x} is no multiple of {page_size} (SHMLBA)"));
        return match address - address % page_size {
            0 => error.hint(anywhere(id)),
            rounded => error.hint(format!("`shmadm … --round` attaches it at {rounded:#x}")),
        };
    }
    explain_range(system, error, id, address)
}

/// Explains why a segment could not be attached at the page of an address.
pub(super) fn explain_range(system: &System, error: Error, id: ShmId, address: usize) -> Error {
    let unfit = |(size, pages): &&(u64, u64)| *pages > 0 && !(address as u64).is_multiple_of(*size);
    // Whether it is of huge pages, no call tells of a segment that is not attached.
    let cause = match system.huge_page_pools().iter().find(unfit) {
        Some((size, _)) => format!(
            "something is mapped in that range, or it is out of range, or the segment is of huge pages, and the address \
             no multiple of {}",
            Size(*size)
        ),
        None => "something is mapped in that range, or it is out of range".to_owned(),
    };
    error.cause(format!("the segment does not fit there: {cause}")).hint(anywhere(id))
}
