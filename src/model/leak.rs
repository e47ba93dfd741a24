//! Objects that outlive the command that created them.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Serialize;

use super::{Object, SegmentUsers, named};

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Leak {
    #[serde(flatten)]
    pub(crate) segment: Object,
    pub(crate) creator_command: Option<Arc<str>>,
    #[serde(flatten)]
    pub(crate) attachers: Arc<SegmentUsers>,
    /// The outcome of its removal; `None` if it was not to be removed.
    pub(crate) outcome: Option<LeakOutcome>,
    /// Why it was kept.
    pub(crate) reason: Option<String>,
}

named! {
    pub(crate) enum LeakOutcome {
        Destroyed = "destroyed",
        Marked = "marked",
        Kept = "kept",
    }
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Leaks {
    /// Created by the command or its descendants.
    pub(crate) leaked: Vec<Leak>,
    /// Created by the caller's user, in an unknown process.
    pub(crate) unattributed: Vec<Leak>,
    /// The number of other users' objects with an unknown creator.
    #[serde(skip)]
    pub(crate) others: u64,
}

named! {
    /// The namespaces that were created for a command.
    pub(crate) enum Isolation {
        Ipc = "ipc",
        /// A user namespace in which the caller keeps its uid and gid, and an IPC namespace owned by it.
        UserAndIpc = "user+ipc",
        None = "none",
    }
}

/// A run of a command that was checked for leaks.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LeakCheck {
    pub(crate) command: Vec<String>,
    /// Its exit code, or 128 plus the signal that ended it.
    pub(crate) exit_code: u8,
    pub(crate) isolation: Isolation,
    #[serde(skip)]
    pub(crate) seconds: f64,
    /// Whether unattributed objects are not counted as leaks.
    #[serde(skip)]
    pub(crate) lenient: bool,
    #[serde(flatten)]
    pub(crate) leaks: Leaks,
    /// POSIX objects that the command created.
    pub(crate) leaked_objects: Vec<Object>,
    /// New POSIX objects of the caller's user, created by an unknown process.
    pub(crate) unattributed_objects: Vec<Object>,
    /// Whether the command shared /dev/shm with other processes.
    #[serde(skip)]
    pub(crate) objects_are_shared: bool,
}

/// Returns the number of POSIX objects and their allocated bytes. One with several names (hard links) counts once.
pub(crate) fn sum_of_objects(objects: &[Object]) -> (u64, u64) {
    let mut seen = HashSet::new();
    let distinct: Vec<_> = objects.iter().map(Object::posix).filter(|posix| seen.insert(posix.file())).collect();
    let mut bytes = distinct.iter().fold(0, |sum: u64, posix| sum.saturating_add(posix.allocated));
    // A file below a directory can have another name, even as an object.
    for (_, again) in distinct.iter().flat_map(|posix| &posix.linked).filter(|(file, _)| !seen.insert(*file)) {
        bytes = bytes.saturating_sub(*again);
    }
    (distinct.len() as u64, bytes)
}

impl LeakCheck {
    pub(crate) fn counted(&self) -> impl Iterator<Item = &Leak> {
        let unattributed = if self.lenient { &[] } else { self.leaks.unattributed.as_slice() };
        self.leaks.leaked.iter().chain(unattributed)
    }

    pub(crate) fn counted_objects(&self) -> impl Iterator<Item = &Object> {
        let unattributed = if self.lenient { &[] } else { self.unattributed_objects.as_slice() };
        self.leaked_objects.iter().chain(unattributed)
    }

    pub(crate) fn is_leak(&self) -> bool {
        self.counted().next().is_some() || self.counted_objects().next().is_some()
    }
}
