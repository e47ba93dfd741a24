//! Segments that outlive the command that created them.

use std::sync::Arc;

use super::Object;

/// A leaked or unattributed segment.
#[derive(Clone, Debug)]
pub(crate) struct Leak {
    /// The segment, with its attachers.
    pub(crate) segment: Object,
    /// The command line of its creator, if known.
    pub(crate) creator_command: Option<Arc<str>>,
    /// The result of its removal; `None` if it was not to be removed.
    pub(crate) removal: Option<LeakRemoval>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LeakRemoval {
    /// The outcome: `destroyed` or `marked`.
    Removed(&'static str),
    /// The reason.
    Kept(String),
}

/// The leaks of a command.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leaks {
    /// Created by the command or its descendants.
    pub(crate) leaked: Vec<Leak>,
    /// Created by the caller's user, in an unknown process.
    pub(crate) unattributed: Vec<Leak>,
    /// The number of other users' segments with an unknown creator.
    pub(crate) others: u64,
}

/// A run of a command that was checked for leaks.
#[derive(Clone, Debug)]
pub(crate) struct LeakCheck {
    /// The command and its arguments.
    pub(crate) command: Vec<String>,
    /// Its exit code, or 128 plus the signal that ended it.
    pub(crate) exit_code: u8,
    /// The isolation as named in reports.
    pub(crate) isolation: &'static str,
    /// Its duration in seconds.
    pub(crate) seconds: f64,
    /// Whether unattributed segments are not counted as leaks.
    pub(crate) lenient: bool,
    pub(crate) leaks: Leaks,
}

impl LeakCheck {
    /// Returns the segments that count as leaks.
    pub(crate) fn counted(&self) -> impl Iterator<Item = &Leak> {
        let unattributed = if self.lenient { &[] } else { self.leaks.unattributed.as_slice() };
        self.leaks.leaked.iter().chain(unattributed)
    }
}
