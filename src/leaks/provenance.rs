//! Which segments were created by which of the processes that `leakcheck` observes.
//!
//! A segment names its creator by pid, and pids are reused: a pid that a descendant of the command had earlier proves
//! nothing about a new segment. A segment is therefore bound to a process only if all of this holds:
//!
//! - a descriptor of the process (pidfd, or a ptrace attachment) was held before the segment existed,
//! - the segment was not in the kernel's table when the process was first observed,
//! - the process had not been reaped when the segment was found, so its pid belonged to it all the time.
//!
//! Everything else stays unbound. It may be the command's, and it may belong to any other process.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::model::{Identity, Key, Needs, Object, ShmId, Stamp, SysV};
use crate::procfs;
use crate::query::{QueryError, System, inventory, lookup};

#[derive(Debug, Default)]
pub(crate) struct Baseline {
    segments: HashSet<Identity>,
    /// How many tasks had been created since boot; `None` if /proc hides it.
    forks: Option<u64>,
}

impl Baseline {
    pub(crate) fn record(system: &System) -> Result<Self, QueryError> {
        let segments = inventory(system, Needs::empty())?.iter().map(Object::identity).collect();
        Ok(Self { segments, forks: procfs::forks(system.proc()) })
    }

    pub(super) fn contains(&self, segment: &Object) -> bool {
        self.segments.contains(&segment.identity())
    }

    /// Returns whether a pid can have been reused since. The kernel assigns pids in a cycle, so a pid is reused only
    /// after about pid_max tasks have been created. This function assumes half of that, since up to half of the pids
    /// may be in use.
    pub(super) fn pids_may_be_reused(&self, system: &System) -> bool {
        let pids = procfs::sysctl(system.proc(), "kernel/pid_max");
        let created = procfs::forks(system.proc()).zip(self.forks).and_then(|(now, then)| now.checked_sub(then));
        pids.zip(created).is_none_or(|(pids, created)| created >= pids / 2)
    }
}

#[derive(Debug)]
pub(super) struct Creator {
    pub(super) descends: bool,
    /// Its last command line, if it is known.
    pub(super) command: Option<Arc<str>>,
}

/// What was observed about the creators of segments.
#[derive(Debug, Default)]
pub(crate) struct CreatorEvidence {
    /// Each with the segment's change time. An id can recur, and the pid with it; the change time then differs.
    creators: HashMap<Identity, (Option<Stamp>, Creator)>,
    /// Whether every call of shmget(2) was observed.
    pub(super) traced: bool,
    unbound: Vec<UnboundCall>,
}

/// A call of shmget(2) whose outcome could not be observed.
#[derive(Debug)]
pub(crate) struct UnboundCall {
    pub(crate) pid: i32,
    pub(crate) key: Key,
    pub(crate) size: u64,
    /// The caller's command line.
    pub(crate) command: Option<Arc<str>>,
}

impl CreatorEvidence {
    pub(crate) fn of_trace() -> Self {
        Self { traced: true, ..Self::default() }
    }

    pub(super) fn bind(&mut self, segment: &Object, creator: Creator) {
        self.creators.insert(segment.identity(), (segment.ctime, creator));
    }

    /// Binds what a call returned to the process that made it, which must not have been able to exit since. `found` is
    /// the segment that had the key before the call.
    ///
    /// A segment that names another creator, or that existed before, was opened and not created.
    pub(crate) fn bind_call(
        &mut self,
        system: &System,
        pid: i32,
        returned: ShmId,
        found: Option<ShmId>,
        command: Option<Arc<str>>,
    ) -> Result<(), QueryError> {
        let created = lookup(system, returned, Needs::empty())?.filter(|segment| segment.sysv().cpid == Some(pid));
        if let Some(created) = created.filter(|_| found != Some(returned)) {
            self.bind(&created, Creator { descends: true, command });
        }
        Ok(())
    }

    pub(crate) fn record_unbound(&mut self, call: UnboundCall) {
        self.unbound.push(call);
    }

    /// Returns the creator of a segment, if it was observed and the segment has not changed since.
    pub(super) fn creator(&self, segment: &Object) -> Option<&Creator> {
        let (ctime, creator) = self.creators.get(&segment.identity())?;
        (*ctime == segment.ctime).then_some(creator)
    }

    /// Returns the call that may have created a segment; whether it did remains open.
    pub(super) fn candidate(&self, segment: &Object) -> Option<&UnboundCall> {
        let SysV { cpid, key, dest, .. } = *segment.sysv();
        // A segment that is marked for destruction has lost its key.
        let fits =
            |call: &&UnboundCall| (Some(call.pid), call.size) == (cpid, segment.size) && (dest || call.key == key);
        self.unbound.iter().rev().find(fits)
    }
}
