//! Conditions that select segments, for `list`, `who` and `prune`.

use std::time::Duration;

use super::host::{System, is_owner_or_creator};
use crate::model::{Key, Mode, Name, Needs, Object, State};

/// Conditions on a segment, all of which must hold. A list of values holds if one of them does, or if it is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Filter {
    pub(crate) owner: Vec<u32>,
    pub(crate) group: Vec<u32>,
    pub(crate) creator: Vec<u32>,
    /// Owner or creator is the caller.
    pub(crate) mine: bool,
    pub(crate) key: Vec<KeyFilter>,
    pub(crate) state: Vec<State>,
    pub(crate) mode: Vec<Mode>,
    pub(crate) older_than: Option<Duration>,
    pub(crate) min_size: Option<u64>,
    pub(crate) max_size: Option<u64>,
    /// Pids of creators.
    pub(crate) cpid: Vec<i32>,
    /// Processes that have it attached. Finding them takes a scan: see `retain_attached_by`.
    pub(crate) pid: Vec<i32>,
    /// Segments to leave out, by id or key.
    pub(crate) exclude: Vec<Name>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyFilter {
    /// Every key except IPC_PRIVATE.
    Any,
    Is(Key),
}

/// The least idle time of the segments that `prune` removes by default, as automatic cleaners of test machines use it.
pub(crate) const DEFAULT_MIN_IDLE: Duration = Duration::from_secs(600);

impl Filter {
    /// Returns the default filter of `prune`.
    pub(crate) fn prune_default() -> Self {
        Self { mine: true, older_than: Some(DEFAULT_MIN_IDLE), ..Self::default() }
    }

    pub(crate) fn needs(&self) -> Needs {
        if self.state.is_empty() { Needs::empty() } else { Needs::STATE }
    }

    /// Returns the keys that select segments.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let key = |filter: &KeyFilter| match filter {
            KeyFilter::Is(key) if *key != Key::PRIVATE => Some(*key),
            KeyFilter::Is(_) | KeyFilter::Any => None,
        };
        self.key.iter().filter_map(key).collect()
    }

    /// Returns whether a segment meets all conditions except that of `pid`. An attached segment has no idle time and is
    /// never old enough.
    pub(crate) fn matches(&self, system: &System, segment: &Object) -> bool {
        let old = |least: Duration| segment.idle_seconds.is_some_and(|idle| Duration::from_secs(idle) >= least);
        let sysv = segment.sysv();
        let has_key = |filter: &KeyFilter| match filter {
            KeyFilter::Any => sysv.key != Key::PRIVATE,
            KeyFilter::Is(key) => sysv.key == *key,
        };
        one_of(&self.owner, segment.uid)
            && one_of(&self.group, segment.gid)
            && one_of(&self.creator, sysv.cuid)
            && (!self.mine || is_owner_or_creator(system, segment))
            && (self.key.is_empty() || self.key.iter().any(has_key))
            && (self.state.is_empty() || segment.state.is_some_and(|state| self.state.contains(&state)))
            && one_of(&self.mode, segment.mode)
            && self.older_than.is_none_or(old)
            && self.min_size.is_none_or(|size| segment.size >= size)
            && self.max_size.is_none_or(|size| segment.size <= size)
            && (self.cpid.is_empty() || sysv.cpid.is_some_and(|pid| self.cpid.contains(&pid)))
            && !self.excludes(segment)
    }

    /// Returns whether a segment is left out by name.
    pub(crate) fn excludes(&self, segment: &Object) -> bool {
        self.exclude.iter().any(|name| match name {
            Name::Id(id) => segment.sysv().id == *id,
            Name::Key(key) => segment.sysv().key == *key,
            // Its key stands in for it.
            Name::Ftok(_) => false,
        })
    }
}

fn one_of<T: PartialEq>(values: &[T], value: T) -> bool {
    values.is_empty() || values.contains(&value)
}
