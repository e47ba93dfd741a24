//! Segments that a command left behind.

use std::sync::Arc;

use super::Segment;

/// A segment that was left behind.
#[derive(Clone, Debug)]
pub(crate) struct Leak {
    /// The segment, with who has it attached.
    pub(crate) segment: Segment,
    /// Its creator's command line, if that was seen.
    pub(crate) creator_command: Option<Arc<str>>,
    /// What its removal came to; `None` if that was not tried.
    pub(crate) removal: Option<LeakRemoval>,
}

/// What the removal of a segment that was left behind came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LeakRemoval {
    /// It was removed; the contract's word for how.
    Removed(&'static str),
    /// It was kept, for this reason.
    Kept(String),
}

/// What a command left behind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leaks {
    /// What it or its descendants made.
    pub(crate) leaked: Vec<Leak>,
    /// What the caller's user made, nobody knows by which of his processes.
    pub(crate) unattributed: Vec<Leak>,
    /// How many other users' segments there are whose creators were not seen.
    pub(crate) others: u64,
}

/// A run of a command that was checked for leaks.
#[derive(Clone, Debug)]
pub(crate) struct LeakCheck {
    /// The command's words.
    pub(crate) command: Vec<String>,
    /// Its exit code, 128 and the signal if one ended it.
    pub(crate) exit_code: u8,
    /// How it was isolated: the contract's word.
    pub(crate) isolation: &'static str,
    /// How long it took, in seconds.
    pub(crate) seconds: f64,
    /// Whether what cannot be attributed counts.
    pub(crate) lenient: bool,
    /// What it left behind.
    pub(crate) leaks: Leaks,
}

impl LeakCheck {
    /// Gives the segments that count as leaks.
    pub(crate) fn counted(&self) -> impl Iterator<Item = &Leak> {
        let unattributed = if self.lenient { &[] } else { self.leaks.unattributed.as_slice() };
        self.leaks.leaked.iter().chain(unattributed)
    }
}
