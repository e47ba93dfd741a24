//! Lines of a log on standard error.

use std::io::Write;

use super::{Ui, stderr};

impl Ui {
    /// Writes lines to standard error even with `--quiet`, as they are and in one call. The caller has escaped what is in
    /// them. A failure to write is ignored: it cannot be reported.
    pub(crate) fn log(&mut self, lines: &str) {
        let _ = self.out.flush();
        let _ = stderr().write_all(lines.as_bytes());
    }
}
