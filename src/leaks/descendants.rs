//! The processes below this one, observed while they run: which of them created which segment.

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::provenance::{Creator, CreatorEvidence};
use crate::model::{Identity, Needs, escape_invalid_utf8};
use crate::procfs;
use crate::query::{System, inventory};
use crate::sys::{self, Errno};

/// The name of a process of this program that is about to execute a command of the user's.
pub(crate) const LAUNCHER_NAME: &str = "shmadm-run";

/// A process that is observed. Its pid belongs to it until it is reaped, which the descriptor shows.
#[derive(Debug)]
struct ObservedProcess {
    pidfd: OwnedFd,
    /// Whether it descends from the command, not from a child of this process that existed before.
    descends: bool,
    /// Whether it was not observed yet when the segments were last listed.
    is_new: bool,
    /// Segments that named its pid as their creator when it was first observed: its own, or those of an earlier process
    /// with this pid.
    earlier: HashSet<Identity>,
    command: Option<Arc<str>>,
}

/// Returns whether this process has no children, neither running nor waiting to be reaped.
pub(crate) fn has_no_children(system: &System) -> bool {
    // waitid(2) without __WALL ignores children whose exit signal is not SIGCHLD. /proc/PID/task/TID/children may not
    // exist, and can miss children that start or exit meanwhile.
    sys::exited_child() == Err(Errno::ECHILD)
        && procfs::children(system.proc(), std::process::id().cast_signed()).is_empty()
}

/// The descendants of this process, and the segments that they were observed to create.
#[derive(Debug)]
pub(crate) struct Descendants {
    observed: HashMap<i32, ObservedProcess>,
    /// Maximum number of descriptors to hold.
    limit: usize,
    /// If so, all children of this process descend from the command, including reparented orphans.
    had_no_children: bool,
    pub(crate) evidence: CreatorEvidence,
}

impl Descendants {
    /// Starts to observe. `limit` bounds the processes that are observed at one time, since each takes a descriptor.
    ///
    /// Children that exist already do not descend from the command.
    pub(crate) fn before_command(system: &System, limit: usize) -> Self {
        let had_no_children = has_no_children(system);
        let mut this = Self { observed: HashMap::new(), limit, had_no_children, evidence: CreatorEvidence::default() };
        this.walk(system, Some(false));
        this.examine(system);
        this
    }

    /// Observes the command, a child of this process that must not have executed anything yet.
    pub(crate) fn observe_command(&mut self, system: &System, pid: i32, command: &str) {
        let Ok(pidfd) = sys::open_pidfd(pid) else { return };
        self.insert(pid, pidfd, true, Some(command.into()));
        self.examine(system);
    }

    /// Observes the processes and segments that exist now. The pid of a child that has exited is free once the child
    /// has been reaped, so this is called before that.
    pub(crate) fn observe_now(&mut self, system: &System) {
        // An orphan that was never observed may descend from a child that existed before.
        self.walk(system, self.had_no_children.then_some(true));
        self.examine(system);
    }

    fn insert(&mut self, pid: i32, pidfd: OwnedFd, descends: bool, command: Option<Arc<str>>) {
        let process = ObservedProcess { pidfd, descends, is_new: true, earlier: HashSet::new(), command };
        self.observed.insert(pid, process);
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
                let is_known = self.observed.contains_key(&pid) || self.observe(system, pid, parent, orphan);
                if !is_known || !visited.insert(pid) {
                    continue;
                }
                open.push(pid);
                let command = procfs::command_line(proc, pid).map(|command| escape_invalid_utf8(&command));
                let command = command.filter(|command| !command.starts_with(LAUNCHER_NAME)).map(Arc::<str>::from);
                let inherited = self.observed.get(&parent).and_then(|parent| parent.command.clone());
                if let Some(process) = self.observed.get_mut(&pid) {
                    // Between fork and exec a process has its parent's command line. A zombie has none.
                    let command = command.filter(|command| !process.is_new || Some(command) != inherited.as_ref());
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
        let descends = descends.filter(|_| is_child && sys::is_unreaped(&pidfd));
        if let Some(descends) = descends {
            self.insert(pid, pidfd, descends, None);
        }
        descends.is_some()
    }

    /// Binds the segments that observed processes have created, and stops observing those that have been reaped.
    fn examine(&mut self, system: &System) {
        // Without a listing nothing can be bound, and new segments stay unattributed.
        let Ok(segments) = inventory(system, Needs::empty()) else { return };
        // Checked after the listing was read: until then, each pid was the process's.
        self.observed.retain(|_, process| sys::is_unreaped(&process.pidfd));
        for segment in &segments {
            let Some(process) = segment.sysv().cpid.and_then(|pid| self.observed.get_mut(&pid)) else { continue };
            if process.is_new {
                process.earlier.insert(segment.identity());
            } else if !process.earlier.contains(&segment.identity()) {
                let creator = Creator { descends: process.descends, command: process.command.clone() };
                self.evidence.bind(segment, creator);
            }
        }
        self.observed.values_mut().for_each(|process| process.is_new = false);
    }
}
