//! What the copy loops share: targets, progress, signals and errors.

use std::fs::File;

use crate::error::{Error, program, shmadm};
use crate::explain::explain_missing_huge_page;
use crate::model::Ident;
use crate::query::huge_page_size_at;
use crate::sys::{self, Attachment, Errno};

/// A callback that receives the number of bytes, holes included, that were processed since the last call.
pub(crate) type Progress<'a> = &'a mut dyn FnMut(u64);

/// Where bytes are written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sink<'a> {
    /// A segment.
    Attachment(&'a Attachment),
    /// The file of a POSIX object.
    File(&'a File, &'a Ident),
}

impl<'a> From<&'a Attachment> for Sink<'a> {
    fn from(attachment: &'a Attachment) -> Self {
        Self::Attachment(attachment)
    }
}

/// Fails with `Interrupted` if a signal that ends the program was caught. Other signals are ignored.
pub(super) fn interrupted() -> Result<(), Error> {
    match sys::caught() {
        Some(signal) => Err(Error::interrupted(signal)),
        None => Ok(()),
    }
}

/// Returns the error of a copy that failed at an offset.
pub(super) fn failed(ident: impl Into<Ident>, offset: u64, verb: &str, errno: Errno, call: &'static str) -> Error {
    let ident = ident.into();
    let message = format!("cannot {verb} {ident} at offset {offset}");
    let error = Error::call(message, errno, call).target(ident.argument());
    match errno {
        // The caller explains it.
        Errno::ENOSPC if !matches!(ident, Ident::Id(_)) => error,
        Errno::EFAULT | Errno::ENOMEM | Errno::ENOSPC => error
            .cause("cannot allocate a page there: out of memory, or the memory limit of a control group is reached")
            .hint("show free memory", program("free -h"))
            .hint("show the memory of segments", shmadm("limits")),
        _ => error,
    }
}

/// Returns the error of a copy to or from an attachment. For huge pages, it names the pool that is empty.
pub(super) fn fault(attachment: &Attachment, offset: u64, verb: &str, errno: Errno, call: &'static str) -> Error {
    let error = failed(attachment.id(), offset, verb, errno, call);
    match huge_page_size_at(attachment.address()) {
        Some(page) if errno == Errno::EFAULT => explain_missing_huge_page(error, page, None),
        _ => error,
    }
}
