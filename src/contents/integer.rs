//! The integer of the demo, at offset 0.

use super::Range;
use super::transfer::failed;
use crate::error::Error;
use crate::sys::Attachment;

/// Reads the native 32-bit integer at offset 0.
///
/// # Errors
/// The segment has no room for one.
pub(crate) fn load(attachment: &Attachment) -> Result<i32, Error> {
    attachment.load_i32().map_err(|errno| failed(attachment.id(), 0, "read", errno, "load"))
}

/// Writes a native 32-bit integer at offset 0.
///
/// # Errors
/// The segment has no room for one.
pub(crate) fn store(attachment: &Attachment, value: i32) -> Result<(), Error> {
    attachment.store_i32(value).map_err(|errno| failed(attachment.id(), 0, "write", errno, "store"))
}

/// Makes sure that the pages of a short range can be had, by a copy, to which a page that cannot is an error.
///
/// # Errors
/// A page cannot be had.
pub(crate) fn probe(attachment: &Attachment, range: Range) -> Result<(), Error> {
    let mut bytes = vec![0; usize::try_from(range.length()).unwrap_or(0)];
    attachment
        .copy_out(range.offset, &mut bytes)
        .map_err(|errno| failed(attachment.id(), range.offset, "read", errno, "write"))
}
