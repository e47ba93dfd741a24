//! Which segments a command is about.

use std::time::Duration;

use super::System;
use crate::model::{Key, Needs, Segment, State};

/// Conditions on a segment, all of which must hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// The owner's user id.
    pub(crate) owner: Option<u32>,
    /// Owner or creator is the caller.
    pub(crate) mine: bool,
    /// The key.
    pub(crate) key: Option<Key>,
    /// The verdict.
    pub(crate) state: Option<State>,
    /// The least time of idleness.
    pub(crate) older_than: Option<Duration>,
    /// The least size in bytes.
    pub(crate) min_size: Option<u64>,
}

/// The least time of idleness before prune takes a segment: what automatic cleaners of test machines have settled on.
pub(crate) const TEN_MINUTES: Duration = Duration::from_secs(600);

impl Filter {
    /// Gives what prune looks at unless it is told otherwise.
    pub(crate) fn of_prune() -> Self {
        Self { mine: true, older_than: Some(TEN_MINUTES), ..Self::default() }
    }

    /// Gives what must be asked of the system before this can be answered.
    pub(crate) fn needs(&self) -> Needs {
        if self.state.is_some() { Needs::STATE } else { Needs::empty() }
    }

    /// Tells whether a segment meets all conditions; one that is attached is not idle at all.
    pub(crate) fn admits(&self, system: &System, segment: &Segment) -> bool {
        let old = |least: Duration| segment.idle_seconds.is_some_and(|idle| Duration::from_secs(idle) >= least);
        self.owner.is_none_or(|uid| segment.uid == uid)
            && (!self.mine || segment.uid == system.uid() || segment.cuid == system.uid())
            && self.key.is_none_or(|key| segment.key == key)
            && self.state.is_none_or(|state| segment.state == Some(state))
            && self.older_than.is_none_or(old)
            && self.min_size.is_none_or(|size| segment.size >= size)
    }
}
