//! Conditions that select segments.

use std::time::Duration;

use super::host::{System, is_owner_or_creator};
use crate::model::{Key, Needs, Object, State};

/// Conditions on a segment, all of which must hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) owner: Option<u32>,
    /// Owner or creator is the caller.
    pub(crate) mine: bool,
    pub(crate) key: Option<Key>,
    pub(crate) state: Option<State>,
    pub(crate) older_than: Option<Duration>,
    pub(crate) min_size: Option<u64>,
}

/// The least idle time of the segments that `prune` removes by default, as automatic cleaners of test machines use it.
pub(crate) const DEFAULT_MIN_IDLE: Duration = Duration::from_secs(600);

impl Filter {
    /// Returns the default filter of `prune`.
    pub(crate) fn prune_default() -> Self {
        Self { mine: true, older_than: Some(DEFAULT_MIN_IDLE), ..Self::default() }
    }

    pub(crate) fn needs(&self) -> Needs {
        if self.state.is_some() { Needs::STATE } else { Needs::empty() }
    }

    /// Returns whether a segment meets all conditions. An attached segment has no idle time and is never old enough.
    pub(crate) fn matches(&self, system: &System, segment: &Object) -> bool {
        let old = |least: Duration| segment.idle_seconds.is_some_and(|idle| Duration::from_secs(idle) >= least);
        self.owner.is_none_or(|uid| segment.uid == uid)
            && (!self.mine || is_owner_or_creator(system, segment))
            && self.key.is_none_or(|key| segment.sysv().key == key)
            && self.state.is_none_or(|state| segment.state == Some(state))
            && self.older_than.is_none_or(old)
            && self.min_size.is_none_or(|size| segment.size >= size)
    }
}
