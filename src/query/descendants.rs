//! The processes below this one, observed while they run: which of them created which segment.

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::provenance::{Creator, Identity, Provenance};
use super::{System, inventory};
use crate::model::{Needs, Stamp, lossless};
use crate::procfs;
use crate::sys;

/// The name of a process of this program that is about to execute a command of the user's.
pub(crate) const LAUNCHER_NAME: &str = "shmadm-run";

/// A process that is observed. Its pid belongs to it until it is reaped, which the descriptor shows.
#[derive(Debug)]
struct Observed {
    pidfd: OwnedFd,
    /// Whether it descends from the command, and not from a child that we had before.
    descends: bool,
    /// Segments that named its pid as their creator when it was first observed: its own, or those of an earlier process
    /// with this pid.
    earlier: Option<HashSet<Identity>>,
    /// Its command line.
    command: Option<Arc<str>>,
    /// Whether that is certainly its own: between fork and exec a process has its parent's.
    settled: bool,
}

impl Observed {
    fn new(pidfd: OwnedFd, descends: bool) -> Self {
        Self { pidfd, descends, earlier: None, command: None, settled: false }
    }
}

/// The processes below us, and the segments that they were seen to create.
#[derive(Debug)]
pub(crate) struct Descendants {
    observed: HashMap<i32, Observed>,
    /// How many descriptors may be held.
    limit: usize,
    /// Whether all our children are the command's, including orphans that have been reparented to us.
    sole: bool,
    provenance: Provenance,
}

impl Descendants {
    /// Starts to observe. `limit` bounds the processes that are observed at one time, since each takes a descriptor.
    ///
    /// The children that we have already do not descend from the command.
    pub(crate) fn before_command(system: &System, limit: usize) -> Self {
        let mut this = Self { observed: HashMap::new(), limit, sole: true, provenance: Provenance::default() };
        this.sole = procfs::children(system.proc(), std::process::id().cast_signed()).is_empty();
        this.walk(system, Some(false));
        this.examine(system);
        this
    }

    /// Observes the command, a child of ours that must not have executed anything yet.
    pub(crate) fn observe_command(&mut self, system: &System, pid: i32, words: &str) {
        let Ok(pidfd) = sys::open_pidfd(pid) else { return };
        let command = Some(words.into());
        self.observed.insert(pid, Observed { command, settled: true, ..Observed::new(pidfd, true) });
        self.examine(system);
    }

    /// Looks at the processes and segments that exist now.
    pub(crate) fn look(&mut self, system: &System) {
        // An orphan that was never seen may descend from a child that we had before.
        self.walk(system, self.sole.then_some(true));
        self.examine(system);
    }

    /// Looks at the segments of a child that has exited, whose pid is free once it has been waited for.
    pub(crate) fn before_reaping(&mut self, system: &System, pid: i32) {
        if self.observed.contains_key(&pid) {
            self.examine(system);
        }
    }

    /// Returns which segments were created by whom.
    pub(super) fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// Finds processes that are new, and reads the command lines of all; `orphan` says whether a child of ours that was
    /// never seen before descends from the command, if that is known.
    fn walk(&mut self, system: &System, orphan: Option<bool>) {
        let proc = system.proc();
        // Another pid namespace's /proc has other processes under these numbers.
        if !system.owns_proc() {
            return;
        }
        let own = std::process::id().cast_signed();
        let mut visited = HashSet::new();
        let mut open = vec![own];
        while let Some(parent) = open.pop() {
            for pid in procfs::children(proc, parent) {
                let is_new = !self.observed.contains_key(&pid);
                if is_new && !self.observe(system, pid, parent, orphan) {
                    continue;
                }
                if !visited.insert(pid) {
                    continue;
                }
                open.push(pid);
                let command = procfs::command_line(proc, pid).map(|command| lossless(&command));
                let command = command.filter(|command| !command.starts_with(LAUNCHER_NAME)).map(Arc::<str>::from);
                let inherited = self.observed.get(&parent).and_then(|parent| parent.command.clone());
                if let Some(process) = self.observed.get_mut(&pid) {
                    // A zombie has no command line any more.
                    process.settled |= command.is_some() && (!is_new || (parent != own && command != inherited));
                    process.command = command.or(process.command.take());
                }
            }
        }
    }

    /// Starts to observe a child of a process; returns whether it is that for certain, and its ancestry known.
    fn observe(&mut self, system: &System, pid: i32, parent: i32, orphan: Option<bool>) -> bool {
        if self.observed.len() >= self.limit {
            return false;
        }
        let Ok(pidfd) = sys::open_pidfd(pid) else { return false };
        let is_child = procfs::parent(system.proc(), pid) == Some(parent);
        // What was read holds for these processes if neither pid had been freed by then.
        let descends = match self.observed.get(&parent) {
            Some(parent) if sys::is_unreaped(&parent.pidfd) => Some(parent.descends),
            Some(_) => None,
            None => orphan,
        };
        match descends.filter(|_| is_child && sys::is_unreaped(&pidfd)) {
            Some(descends) => self.observed.insert(pid, Observed::new(pidfd, descends)).is_none(),
            None => false,
        }
    }

    /// Binds the segments that observed processes have created, and stops observing those that have been reaped.
    fn examine(&mut self, system: &System) {
        // Without the table nothing can be bound: what is new stays unattributed.
        let Ok(segments) = inventory(system, Needs::empty()) else { return };
        let mut by_pid: HashMap<i32, Vec<(Identity, Option<Stamp>)>> = HashMap::new();
        for segment in &segments {
            if let Some(pid) = segment.cpid.filter(|pid| self.observed.contains_key(pid)) {
                by_pid.entry(pid).or_default().push((segment.into(), segment.ctime));
            }
        }
        let provenance = &mut self.provenance;
        self.observed.retain(|pid, process| {
            let created = by_pid.remove(pid).unwrap_or_default();
            // Asked after the table was read: the pid was this process's until then.
            let holds_pid = sys::is_unreaped(&process.pidfd);
            match &process.earlier {
                None => process.earlier = Some(created.into_iter().map(|(segment, _)| segment).collect()),
                Some(earlier) if holds_pid => {
                    for (segment, ctime) in created.into_iter().filter(|(segment, _)| !earlier.contains(segment)) {
                        let command = || process.command.clone().filter(|_| process.settled);
                        provenance.bind(segment, ctime, || Creator { descends: process.descends, command: command() });
                    }
                }
                Some(_) => {}
            }
            holds_pid
        });
    }
}
