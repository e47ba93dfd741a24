//! What the loops of reading and writing share.

use crate::error::{Error, Kind};
use crate::model::ShmId;
use crate::query::words;
use crate::sys::{self, Errno};

/// Makes the error of a copy that failed at an offset.
pub(super) fn failed(id: ShmId, offset: u64, doing: &str, errno: Errno, call: &'static str) -> Error {
    let error = Error::new(Kind::Failed, format!("cannot {doing} segment {id} at offset {offset}"))
        .system(words(errno, call))
        .target(id.to_string());
    match errno {
        Errno::EFAULT => error
            .cause("a page there cannot be had: it is a huge page and their pool is empty, or memory has run out")
            .hint("`grep -i huge /proc/meminfo` shows the pool, `shmadm limits` what segments take"),
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
        .system(words(errno, "read"))
}
