//! Which POSIX objects the command created.
//!
//! The kernel does not record who created a file, but it reports each process that gives a file a name while the
//! directory is watched (`sys::NameWatch`). An object is the command's only if all of this holds:
//!
//! - the directory was watched before its objects were listed and the command was started, and no event was lost,
//! - a process created the object with a name, or linked it (O_TMPFILE); one that was moved here may be another's,
//! - each process that gave it a name descends from the command. The event has a pidfd of that process if it has not
//!   been reaped, and the pidfds of its ancestors show that their pids were not reused in between.
//!
//! Objects are compared by file handle, so another object of the same name or inode is not the command's.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::descendants::has_no_children;
use crate::procfs;
use crate::query::System;
use crate::sys::{self, NameEvent, NameWatch};

/// The objects that the command, and other processes, have given names to.
#[derive(Debug, Default)]
pub(crate) struct Creations {
    /// `None` if nothing can be watched.
    watch: Option<NameWatch>,
    /// If so, all children of this process descend from the command, including reparented orphans.
    had_no_children: bool,
    command: Option<(i32, OwnedFd)>,
    /// The handles of the files that descendants of the command have created.
    created: HashSet<Vec<u8>>,
    /// The handles of those to which a process gave a name that may be another.
    foreign: HashSet<Vec<u8>>,
    /// The process of the last event, and whether it descends from the command.
    last: Option<(i32, OwnedFd, bool)>,
    /// Whether events were lost.
    pub(crate) lost: bool,
}

impl Creations {
    /// Starts to watch the directory of POSIX objects if that is permitted. Children that exist already do not descend
    /// from the command.
    pub(crate) fn watch(system: &System) -> Self {
        let directory = system.objects().ok().filter(|_| system.proc_shows_own_pids());
        let watch = directory.and_then(|directory| NameWatch::open(directory.as_fd()).ok());
        Self { watch, had_no_children: has_no_children(system), ..Self::default() }
    }

    /// Notes the command, a child of this process that has not been reaped.
    pub(crate) fn observe_command(&mut self, pid: i32) {
        self.command = sys::open_pidfd(pid).ok().map(|pidfd| (pid, pidfd));
    }

    /// Returns a descriptor that is readable if there are events.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    /// Records what has happened until now. A process that has been reaped cannot be identified, so this is called
    /// before a child is reaped.
    pub(crate) fn record(&mut self, system: &System) {
        let Some(watch) = self.watch.take() else { return };
        let read = watch.read(|event| self.add(system, event));
        self.lost |= read.is_err();
        self.watch = Some(watch).filter(|_| !self.lost);
    }

    fn add(&mut self, system: &System, event: NameEvent) {
        let NameEvent::Named { process, is_created, handle } = event else {
            self.lost = true;
            return;
        };
        let descends = process.is_some_and(|(pid, pidfd)| self.is_of_command(system, pid, pidfd));
        match handle {
            Some(handle) if !descends => _ = self.foreign.insert(handle),
            Some(handle) if is_created => _ = self.created.insert(handle),
            Some(_) => {}
            // It may be the file of another event.
            None => self.lost = true,
        }
    }

    /// Returns whether a process descends from the command.
    fn is_of_command(&mut self, system: &System, pid: i32, pidfd: OwnedFd) -> bool {
        match &self.last {
            Some((last, last_pidfd, descends)) if *last == pid && sys::is_unreaped(last_pidfd) => *descends,
            _ => {
                let descends = self.descends(system, pid, &pidfd);
                self.last = Some((pid, pidfd, descends));
                descends
            }
        }
    }

    /// Returns whether the ancestors of a process lead to the command. Each has its pid as long as its pidfd shows that
    /// it has not been reaped.
    fn descends(&self, system: &System, mut pid: i32, first: &OwnedFd) -> bool {
        let own = std::process::id().cast_signed();
        let mut opened: OwnedFd;
        let mut held = first;
        loop {
            let parent = || procfs::parent(system.proc(), pid).filter(|_| sys::is_unreaped(held));
            let Some(found) = parent() else { return false };
            if found == own {
                let is_command = |(command, pidfd): &(i32, OwnedFd)| *command == pid && sys::is_unreaped(pidfd);
                return self.had_no_children || self.command.as_ref().is_some_and(is_command);
            }
            let Ok(pidfd) = sys::open_pidfd(found) else { return false };
            // If it is still the parent and has not been reaped, the descriptor is the parent's.
            if parent() != Some(found) || !sys::is_unreaped(&pidfd) {
                return false;
            }
            (pid, opened) = (found, pidfd);
            held = &opened;
        }
    }

    /// Returns whether the command created a file, as far as events were recorded.
    pub(super) fn contain(&self, file: BorrowedFd<'_>) -> bool {
        let is_created = |handle| self.created.contains(&handle) && !self.foreign.contains(&handle);
        !self.lost && !self.created.is_empty() && sys::file_handle(file).is_some_and(is_created)
    }
}
