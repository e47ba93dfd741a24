//! Processes that descend from this one, and what was seen of them while they lived.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::System;
use nix::time::{ClockId, clock_gettime};

use super::liveness::{Life, SLACK_SECONDS, moment_of};
use crate::model::{Segment, Stamp, lossless};
use crate::procfs;

/// The name of a process of this program that is about to execute a command of the user's.
pub(crate) const LAUNCHER_NAME: &str = "shmadm-run";

/// A descendant as it was seen last.
#[derive(Clone, Debug)]
struct Seen {
    /// When it started; `None` if /proc does not tell.
    start: Option<Stamp>,
    /// Its command line.
    command: Option<Arc<str>>,
    /// When it was found to have ended.
    ended: Option<Stamp>,
}

/// The descendants that were seen at some time; those that lived too briefly were not.
#[derive(Debug, Default)]
pub(crate) struct Descendants {
    /// By pid; several where a pid was given anew.
    seen: HashMap<i32, Vec<Seen>>,
    /// Those that lived at the last look.
    living: HashSet<i32>,
}

impl Descendants {
    /// Takes note of one that is known to be one, and may have ended before it could be looked at.
    pub(crate) fn note(&mut self, pid: i32, command: Option<&str>) {
        self.seen
            .entry(pid)
            .or_insert_with(|| vec![Seen { start: None, command: command.map(Arc::from), ended: None }]);
    }

    /// Takes note of one that has ended, and that may never have been looked at.
    pub(crate) fn note_end(&mut self, pid: i32) {
        self.note(pid, None);
        self.living.remove(&pid);
        self.end(pid);
    }

    /// Closes what was seen of a process.
    fn end(&mut self, pid: i32) {
        if let Some(seen) = self.seen.get_mut(&pid).and_then(|seen| seen.last_mut()) {
            seen.ended.get_or_insert_with(now);
        }
    }

    /// Looks at those that live now.
    pub(crate) fn look(&mut self, system: &System) {
        let proc = system.proc();
        let mut living = HashSet::new();
        let mut open = vec![std::process::id().cast_signed()];
        while let Some(parent) = open.pop() {
            for pid in procfs::children(proc, parent) {
                if !living.insert(pid) {
                    continue;
                }
                open.push(pid);
                let command = procfs::command_line(proc, pid).map(|command| lossless(&command));
                let command = command.filter(|command| !command.starts_with(LAUNCHER_NAME)).map(Arc::from);
                let known = self.seen.entry(pid).or_default();
                match known.last_mut() {
                    // What it executes may have changed. A zombie has no command line any more.
                    Some(seen) if seen.ended.is_none() => {
                        seen.command = command.or(seen.command.take());
                    }
                    _ => known.push(Seen {
                        start: procfs::start_ticks(proc, pid).and_then(moment_of),
                        command,
                        ended: None,
                    }),
                }
            }
        }
        let ended: Vec<i32> = self.living.difference(&living).copied().collect();
        ended.into_iter().for_each(|pid| self.end(pid));
        self.living = living;
    }

    /// Gives what was seen of a segment's creator, if it was seen as a descendant; the command line may not have been.
    pub(super) fn creator(&self, segment: &Segment) -> Option<Option<Arc<str>>> {
        let made = segment.ctime?;
        // Whoever has the pid before or after may be anybody.
        let lived = |seen: &&Seen| {
            seen.start.is_none_or(|start| start.0 <= made.0.saturating_add(SLACK_SECONDS))
                && seen.ended.is_none_or(|ended| made <= ended)
        };
        let seen = self.seen.get(&segment.cpid?)?.iter().rev().find(lived)?;
        Some(seen.command.clone())
    }
}

/// Gives this moment.
fn now() -> Stamp {
    Stamp(clock_gettime(ClockId::CLOCK_REALTIME).map_or(i64::MAX, |time| time.tv_sec()))
}

/// What is known of a segment's creator that was not seen as a descendant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kin {
    /// It lives, and descends from us.
    Descendant,
    /// It lives, and does not descend from us; or it never was in our pid namespace.
    Stranger,
    /// It is gone, or its pid is somebody else's now.
    Unknown,
}

/// Tells whether a segment's creator descends from this process, as far as its ancestors tell now.
pub(super) fn kin(system: &System, segment: &Segment) -> Kin {
    let Some(creator) = segment.cpid else { return Kin::Stranger };
    match (Life::ask(system, creator), segment.ctime) {
        (Life::Lives(Some(start)), Some(made)) if start.0 <= made.0.saturating_add(SLACK_SECONDS) => {}
        _ => return Kin::Unknown,
    }
    let own = std::process::id().cast_signed();
    let mut pid = creator;
    // Nobody has more ancestors than there can be processes; a reused pid could make a circle.
    for _ in 0..1 << 22 {
        match procfs::parent(system.proc(), pid) {
            Some(parent) if parent == own => return Kin::Descendant,
            // The first of its pid namespace, or one whose parent is outside.
            Some(0) => return Kin::Stranger,
            Some(parent) => pid = parent,
            None => return Kin::Unknown,
        }
    }
    Kin::Unknown
}
