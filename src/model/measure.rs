//! The values that `check` measures, and their severities.

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Measure {
    /// Segments, limited by shmmni.
    Segments,
    /// Pages, limited by shmall.
    Pages,
    /// Orphans, limited by shmmni like all segments.
    Orphans,
    /// Sizes of orphans.
    OrphanBytes,
    /// Segments marked for destruction.
    Dest,
}

impl Measure {
    /// Every measure, in the order of the report.
    pub(crate) const ALL: [Self; 5] = [Self::Segments, Self::Pages, Self::Orphans, Self::OrphanBytes, Self::Dest];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Segments => "segments",
            Self::Pages => "pages",
            Self::Orphans => "orphans",
            Self::OrphanBytes => "orphan-bytes",
            Self::Dest => "dest",
        }
    }

    /// Returns the unit of measurement in performance data.
    pub(crate) const fn unit(self) -> &'static str {
        if matches!(self, Self::OrphanBytes) { "B" } else { "" }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Severity {
    Ok,
    /// An alert of a range of `-w`.
    Warning,
    /// An alert of a range of `-c`.
    Critical,
}

impl Severity {
    /// Returns the exit code of the guidelines for monitoring plugins.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
        }
    }

    /// Returns the name in the guidelines.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
        }
    }
}
