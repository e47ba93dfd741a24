//! Lines of a log on standard error.

use std::io::{ErrorKind, Write};

use super::{Ui, stderr};
use crate::error::Error;

impl Ui {
    /// Writes lines to standard error even with `--quiet`, as they are and in one call. The caller has escaped what is
    /// in them. A closed pipe (EPIPE) is not an error.
    pub(crate) fn log(&mut self, lines: &str) -> Result<(), Error> {
        self.flush()?;
        match stderr().write_all(lines.as_bytes()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Error::io("cannot write to standard error", &error, "write"))
            }
            _ => Ok(()),
        }
    }
}
