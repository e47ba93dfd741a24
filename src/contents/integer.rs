//! The integer of the demo, at offset 0.

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
