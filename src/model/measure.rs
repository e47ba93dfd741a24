//! What monitoring measures, and how bad it is.

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    /// Segments, of which shmmni may exist.
    Segments,
    /// Pages that they may take, of which there may be shmall.
    Pages,
    /// Orphans, which count as segments.
    Orphans,
    /// Sum of the sizes of orphans.
    OrphanBytes,
    /// Segments that are marked for destruction.
    Dest,
}

impl Measure {
    /// All of them, in the order in which they are reported.
    pub(crate) const ALL: [Self; 5] = [Self::Segments, Self::Pages, Self::Orphans, Self::OrphanBytes, Self::Dest];

    /// Gives the contract's word.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Segments => "segments",
            Self::Pages => "pages",
            Self::Orphans => "orphans",
            Self::OrphanBytes => "orphan-bytes",
            Self::Dest => "dest",
        }
    }

    /// Gives the unit of measurement that performance data have.
    pub(crate) const fn unit(self) -> &'static str {
        if matches!(self, Self::OrphanBytes) { "B" } else { "" }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// Within all ranges.
    Ok,
    /// An alert by a range of `-w`.
    Warning,
    /// An alert by a range of `-c`.
    Critical,
}

impl Severity {
    /// Gives the exit code, which is the guidelines'.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
        }
    }

    /// Gives the guidelines' word.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
        }
    }
}
