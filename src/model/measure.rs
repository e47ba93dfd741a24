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
        /// Memory used in the file system of POSIX objects.
        ShmUsed = "shm-used",
        ShmInodes = "shm-inodes",
        /// Memory of POSIX objects without a name.
        UnlinkedBytes = "unlinked-bytes",
        ObjectsOrphan = "objects-orphan",
    }
}

impl Measure {
    /// Returns the unit of measurement in performance data.
    pub(crate) const fn unit(self) -> &'static str {
        if self.is_size() { "B" } else { "" }
    }

    /// Returns whether it is measured in bytes.
    pub(crate) const fn is_size(self) -> bool {
        matches!(self, Self::OrphanBytes | Self::ShmUsed | Self::UnlinkedBytes)
    }

    /// Returns whether there is a limit that the percentages of a range can refer to.
    pub(crate) const fn has_limit(self) -> bool {
        !matches!(self, Self::OrphanBytes | Self::UnlinkedBytes | Self::ObjectsOrphan)
    }

    /// Returns whether it is about POSIX objects.
    pub(crate) const fn is_posix(self) -> bool {
        matches!(self, Self::ShmUsed | Self::ShmInodes | Self::UnlinkedBytes | Self::ObjectsOrphan)
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
