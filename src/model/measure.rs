//! The values that `check` measures, and their severities.

use super::named;

named! {
    /// What is measured, in the order of the report.
    pub(crate) enum Measure {
        Segments = "segments",
        Pages = "pages",
        /// Orphans, limited by shmmni like all segments.
        Orphans = "orphans",
        OrphanBytes = "orphan-bytes",
        Dest = "dest",
    }
}

impl Measure {
    /// Returns the unit of measurement in performance data.
    pub(crate) const fn unit(self) -> &'static str {
        if matches!(self, Self::OrphanBytes) { "B" } else { "" }
    }
}

named! {
    /// The severities of the guidelines for monitoring plugins.
    pub(crate) enum Severity {
        Ok = "OK",
        /// An alert of a range of `-w`.
        Warning = "WARNING",
        /// An alert of a range of `-c`.
        Critical = "CRITICAL",
    }
}

impl Severity {
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }
}
