//! What the loops of reading and writing share.

use crate::error::{Error, Kind};
use crate::model::ShmId;
use crate::query::{explain_missing_huge_page, huge_page_size_at};
use crate::sys::{self, Attachment, Errno};

/// Makes the error of a copy that failed at an offset.
pub(super) fn failed(id: ShmId, offset: u64, doing: &str, errno: Errno, call: &'static str) -> Error {
    let error = Error::new(Kind::Failed, format!("cannot {doing} segment {id} at offset {offset}"))
        .os(errno, call)
        .target(id.to_string());
    match errno {
        Errno::EFAULT | Errno::ENOMEM | Errno::ENOSPC => error
            .cause("a page there cannot be had: memory has run out, or what a control group may take of it")
            .hint("`free -h` shows what there is, `shmadm limits` what segments take"),
        _ => error,
    }
}

/// Makes the error of a copy to or from an attachment that failed at an offset: of a huge page it is told which pool is
/// empty.
pub(super) fn fault(attachment: &Attachment, offset: u64, doing: &str, errno: Errno, call: &'static str) -> Error {
    let error = failed(attachment.id(), offset, doing, errno, call);
    match huge_page_size_at(attachment.address()) {
        Some(page) if errno == Errno::EFAULT => explain_missing_huge_page(error, page, None),
        _ => error,
    }
}

/// Goes on after a signal that asked for nothing, and unwinds after one that asked us to end.
///
/// # Errors
/// The signal.
pub(super) fn interrupted() -> Result<(), Error> {
    match sys::caught() {
        Some(signal) => Err(Error::new(Kind::Interrupted(signal), "interrupted")),
        None => Ok(()),
    }
}

/// Makes the error of an input that cannot be read.
pub(super) fn unreadable(written: u64, errno: Errno) -> Error {
    Error::new(Kind::Failed, format!("cannot read the input after {written} bytes, which were written"))
        .os(errno, "read")
}
