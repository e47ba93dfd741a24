//! The processes below this one, observed while they run: which of them created which segment.

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::provenance::{Creator, Identity, Provenance};
use crate::model::{Needs, Stamp, escape_invalid_utf8};
use crate::procfs;
use crate::query::{System, inventory};
use crate::sys;

/// The name of a process of this program that is about to execute a command of the user's.
pub(crate) const LAUNCHER_NAME: &str = "shmadm-run";

/// A process that is observed. Its pid belongs to it until it is reaped, which the descriptor shows.
#[derive(Debug)]
struct Observed {
    pidfd: OwnedFd,
    /// Whether it descends from the command, not from a child of this process that existed before.
    descends: bool,
    /// Segments that named its pid as their creator when it was first observed: its own, or those of an earlier process
    /// with this pid.
    earlier: Option<HashSet<Identity>>,
    command: Option<Arc<str>>,
    /// Whether the command line is its own: between fork and exec a process has its parent's.
    settled: bool,
}

impl Observed {
    fn new(pidfd: OwnedFd, descends: bool) -> Self {
        Self { pidfd, descends, earlier: None, command: None, settled: false }
    }
}

/// The descendants of this process, and the segments that they were observed to create.
#[derive(Debug)]
pub(crate) struct Descendants {
    observed: HashMap<i32, Observed>,
    /// The most descriptors to hold.
    limit: usize,
    /// Whether all children of this process descend from the command, including reparented orphans.
    sole: bool,
    provenance: Provenance,
}

impl Descendants {
    /// Starts to observe. `limit` bounds the processes that are observed at one time, since each takes a descriptor.
    ///
    /// Children that exist already do not descend from the command.
    pub(crate) fn before_command(system: &System, limit: usize) -> Self {
        let mut this = Self { observed: HashMap::new(), limit, sole: true, provenance: Provenance::default() };
        this.sole = procfs::children(system.proc(), std::process::id().cast_signed()).is_empty();
        this.walk(system, Some(false));
        this.examine(system);
        this
    }

    /// Observes the command, a child of this process that must not have executed anything yet.
    pub(crate) fn observe_command(&mut self, system: &System, pid: i32, command: &str) {
        let Ok(pidfd) = sys::open_pidfd(pid) else { return };
        let command = Some(command.into());
        self.observed.insert(pid, Observed { command, settled: true, ..Observed::new(pidfd, true) });
        self.examine(system);
    }

    /// Observes the processes and segments that exist now.
    pub(crate) fn observe_now(&mut self, system: &System) {
        // An orphan that was never observed may descend from a child that existed before.
        self.walk(system, self.sole.then_some(true));
        self.examine(system);
    }

    /// Binds the segments of a child that has exited. Its pid is free once the child has been reaped.
    pub(crate) fn before_reaping(&mut self, system: &System, pid: i32) {
        if self.observed.contains_key(&pid) {
            self.examine(system);
        }
    }

    pub(super) fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// Finds new processes, and reads the command lines of all. `orphan` is whether a new child of this process
    /// descends from the command, if that is known.
    fn walk(&mut self, system: &System, orphan: Option<bool>) {
        let proc = system.proc();
        // Another pid namespace's /proc has other processes under these numbers.
        if !system.proc_shows_own_pids() {
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
                let command = procfs::command_line(proc, pid).map(|command| escape_invalid_utf8(&command));
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

    /// Starts to observe a child of a process; returns false if it may not be its child or its ancestry is unknown.
    fn observe(&mut self, system: &System, pid: i32, parent: i32, orphan: Option<bool>) -> bool {
        if self.observed.len() >= self.limit {
            return false;
        }
        let Ok(pidfd) = sys::open_pidfd(pid) else { return false };
        let is_child = procfs::parent(system.proc(), pid) == Some(parent);
        // What was read is about these processes if neither had been reaped by then.
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
        // Without a listing nothing can be bound, and new segments stay unattributed.
        let Ok(segments) = inventory(system, Needs::empty()) else { return };
        let mut by_pid: HashMap<i32, Vec<(Identity, Option<Stamp>)>> = HashMap::new();
        for segment in &segments {
            if let Some(pid) = segment.sysv().cpid.filter(|pid| self.observed.contains_key(pid)) {
                by_pid.entry(pid).or_default().push((segment.into(), segment.ctime));
            }
        }
        let provenance = &mut self.provenance;
        self.observed.retain(|pid, process| {
            let created = by_pid.remove(pid).unwrap_or_default();
            // Checked after the listing was read: the pid was this process's until then.
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
