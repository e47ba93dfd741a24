//! Conditions that select segments and POSIX objects, for `list`, `who` and `prune`.

use std::time::Duration;

pub(crate) use glob::Pattern;

use super::host::{System, is_owner_or_creator};
use crate::model::{FileType, Key, Mode, Name, Needs, Object, ObjectKind, Posix, State, SysV};

/// Conditions on an object, all of which must hold. A list of values holds if one of them does, or if it is empty.
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
    /// Names of POSIX objects.
    pub(crate) name: Vec<Pattern>,
    pub(crate) file_type: Vec<FileType>,
    /// Programs that POSIX objects belong to.
    pub(crate) product: Vec<String>,
    /// Objects to leave out; segments by id or key.
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

    /// Returns the fields of POSIX objects that it needs.
    pub(crate) fn posix_needs(&self) -> Needs {
        let needs_users = !self.pid.is_empty() || self.older_than.is_some();
        self.needs() | if needs_users { Needs::ATTACHERS } else { Needs::empty() }
    }

    /// Returns whether it can select only POSIX objects: segments have neither names nor types.
    pub(crate) fn selects_only_objects(&self) -> bool {
        !self.name.is_empty() || !self.file_type.is_empty()
    }

    /// Returns the keys that select segments.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let key = |filter: &KeyFilter| match filter {
            KeyFilter::Is(key) if *key != Key::PRIVATE => Some(*key),
            KeyFilter::Is(_) | KeyFilter::Any => None,
        };
        self.key.iter().filter_map(key).collect()
    }

    /// Returns whether an object meets all conditions except, for a segment, that of `pid`. An object in use has no idle
    /// time and is never old enough.
    pub(crate) fn matches(&self, system: &System, object: &Object) -> bool {
        let old = |least: Duration| object.idle_seconds.is_some_and(|idle| Duration::from_secs(idle) >= least);
        one_of(&self.owner, object.uid)
            && one_of(&self.group, object.gid)
            && (!self.mine || is_owner_or_creator(system, object))
            && (self.state.is_empty() || object.state.is_some_and(|state| self.state.contains(&state)))
            && one_of(&self.mode, object.mode)
            && self.older_than.is_none_or(old)
            && self.min_size.is_none_or(|size| object.size >= size)
            && self.max_size.is_none_or(|size| object.size <= size)
            && match &object.kind {
                ObjectKind::SysV(segment) => self.matches_segment(segment),
                ObjectKind::Posix(posix) => self.matches_posix(object, posix),
            }
            && !self.excludes(object)
    }

    /// Returns the same conditions for a state that is not known yet.
    pub(crate) fn in_any_state(&self) -> Self {
        Self { state: Vec::new(), ..self.clone() }
    }

    fn matches_segment(&self, segment: &SysV) -> bool {
        let has_key = |filter: &KeyFilter| match filter {
            KeyFilter::Any => segment.key != Key::PRIVATE,
            KeyFilter::Is(key) => segment.key == *key,
        };
        one_of(&self.creator, segment.cuid)
            && (self.key.is_empty() || self.key.iter().any(has_key))
            && (self.cpid.is_empty() || segment.cpid.is_some_and(|pid| self.cpid.contains(&pid)))
            && self.name.is_empty()
            && self.file_type.is_empty()
            && self.product.is_empty()
    }

    /// A condition that only segments can meet excludes every POSIX object.
    fn matches_posix(&self, object: &Object, posix: &Posix) -> bool {
        let has_name = |pattern: &Pattern| {
            let name = posix.name.as_ref().map(|name| name.as_str()).unwrap_or_default();
            pattern.matches(name) || name.strip_prefix('/').is_some_and(|name| pattern.matches(name))
        };
        let used_by =
            |pid: &i32| posix.users.as_ref().is_some_and(|users| users.list.iter().any(|user| user.pid == *pid));
        self.creator.is_empty()
            && self.key.is_empty()
            && self.cpid.is_empty()
            && (self.pid.is_empty() || self.pid.iter().any(used_by))
            && (self.name.is_empty() || self.name.iter().any(has_name))
            && one_of(&self.file_type, posix.file_type)
            && (self.product.is_empty()
                || object.product.as_deref().is_some_and(|id| self.product.iter().any(|it| it == id)))
    }

    /// Returns whether an object is left out by name.
    pub(crate) fn excludes(&self, object: &Object) -> bool {
        self.exclude.iter().any(|name| match (name, &object.kind) {
            (Name::Id(id), ObjectKind::SysV(segment)) => segment.id == *id,
            (Name::Key(key), ObjectKind::SysV(segment)) => segment.key == *key,
            (Name::Object(name), ObjectKind::Posix(posix)) => posix.name.as_ref() == Some(name),
            (Name::Semaphore(glibc, musl), ObjectKind::Posix(posix)) => {
                posix.name.as_ref().is_some_and(|name| name == glibc || name == musl)
            }
            (Name::File(id), ObjectKind::Posix(posix)) => posix.file() == *id,
            // The key of a file stands in for it.
            _ => false,
        })
    }
}

fn one_of<T: PartialEq>(values: &[T], value: T) -> bool {
    values.is_empty() || values.contains(&value)
}
