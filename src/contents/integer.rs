//! The demo's integer at offset 0, with volatile access.

use super::Range;
use super::transfer::{failed, fault};
use crate::error::Error;
use crate::sys::Attachment;

/// Reads the native 32-bit integer at offset 0.
pub(crate) fn load(attachment: &mut Attachment) -> Result<i32, Error> {
    let id = attachment.id();
    attachment.load_i32().map_err(|errno| failed(id, 0, "read", errno, "load"))
}

/// Writes a native 32-bit integer at offset 0.
pub(crate) fn store(attachment: &mut Attachment, value: i32) -> Result<(), Error> {
    let id = attachment.id();
    attachment.store_i32(value).map_err(|errno| failed(id, 0, "write", errno, "store"))
}

/// Copies a short range out of an attachment. If a page cannot be allocated, a copy fails with EFAULT, whereas a load would
/// raise SIGBUS.
pub(crate) fn copy(attachment: &Attachment, range: Range) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; usize::try_from(range.length()).unwrap_or(0)];
    let copied = attachment.copy_out(range.offset, &mut bytes);
    copied.map_err(|errno| fault(attachment, range.offset, "read", errno, "process_vm_readv"))?;
    Ok(bytes)
}
