//! Processes that descend from this one, and what was seen of them while they lived.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use nix::time::{ClockId, clock_gettime};

use super::System;
use super::liveness::{Life, SLACK_SECONDS, moment_of};
use crate::model::{Segment, Stamp, lossless};
use crate::procfs;

/// The name of a process of this program that is about to execute a command of the user's.
pub(crate) const LAUNCHER_NAME: &str = "shmadm-run";

/// A process below us as it was seen last.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// Whether it descends from the command, and not from a child that we had before.
    ours: bool,
    /// When it started; `None` if /proc does not tell.
    start: Option<Stamp>,
    /// Its command line.
    command: Option<Arc<str>>,
    /// Whether that is its own for sure: one that has just been forked has its parent's until it executes something.
    settled: bool,
    /// Its effective user ids.
    uids: Vec<u32>,
    /// When it was found to have ended.
    ended: Option<Stamp>,
}

/// The processes below us that were seen at some time; those that lived too briefly were not.
#[derive(Debug)]
pub(crate) struct Descendants {
    /// By pid; several where a pid was given anew.
    seen: HashMap<i32, Vec<Seen>>,
    /// Those that lived at the last look.
    living: HashSet<i32>,
    /// Whether all children that we have are the command's, orphans that have come to us included.
    alone: bool,
    /// How many processes and threads had been started since boot when this began; `None` if that is hidden.
    forks: Option<u64>,
    /// Whether a pid can have come back since, once that was asked.
    given_anew: OnceCell<bool>,
}

/// Who made a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Creator {
    /// The command or a descendant of it, with this command line if that was seen.
    Ours(Option<Arc<str>>),
    /// Somebody else.
    Stranger,
    /// It is gone, and was not seen, or not for certain.
    Unknown,
}

impl Descendants {
    /// Begins before there is a command: the children that we have are not its.
    pub(crate) fn before_command(system: &System) -> Self {
        let mut this = Self { forks: procfs::forks(system.proc()), ..Self::empty() };
        this.walk(system, Some(false));
        this.alone = this.living.is_empty();
        this
    }

    /// Has seen nobody, and knows nothing of others.
    fn empty() -> Self {
        let (seen, living) = (HashMap::new(), HashSet::new());
        Self { seen, living, alone: true, forks: None, given_anew: OnceCell::new() }
    }

    /// Takes note of the command, which has just been started with these words.
    pub(crate) fn command(&mut self, pid: i32, words: &str) {
        let seen = Seen { ours: true, command: Some(words.into()), settled: true, ..Seen::default() };
        self.seen.entry(pid).or_default().push(seen);
        self.living.insert(pid);
    }

    /// Takes note of a child of ours that has ended, and that may never have been looked at.
    pub(crate) fn note_end(&mut self, pid: i32) {
        if !self.living.remove(&pid) {
            if !self.alone {
                // It may be an orphan of a child that we had before.
                return;
            }
            self.seen.entry(pid).or_default().push(Seen { ours: true, ..Seen::default() });
        }
        self.end(pid);
    }

    /// Closes what was seen of a process.
    fn end(&mut self, pid: i32) {
        if let Some(seen) = self.seen.get_mut(&pid).and_then(|seen| seen.last_mut()) {
            seen.ended.get_or_insert_with(now);
        }
    }

    /// Gives what was last seen of a process that lived at the last look.
    fn last(&self, pid: i32) -> Option<&Seen> {
        self.seen.get(&pid)?.last().filter(|_| self.living.contains(&pid))
    }

    /// Looks at those that live now.
    pub(crate) fn look(&mut self, system: &System) {
        // Of an orphan that was never seen it is not known whose it is, unless all are the command's.
        self.walk(system, self.alone.then_some(true));
    }

    /// Walks over those that live now; `unseen` tells whether a child of ours that was never seen before descends from the
    /// command, if that is known.
    fn walk(&mut self, system: &System, unseen: Option<bool>) {
        let proc = system.proc();
        let own = std::process::id().cast_signed();
        let mut living = HashSet::new();
        let mut open = vec![(own, None)];
        while let Some((parent, whose)) = open.pop() {
            let parent_command = whose.and_then(|_| self.seen.get(&parent)?.last()?.command.clone());
            for pid in procfs::children(proc, parent) {
                let known = self.last(pid);
                let Some(ours) = known.map(|seen| seen.ours).or(whose).or(unseen) else { continue };
                if !living.insert(pid) {
                    continue;
                }
                open.push((pid, Some(ours)));
                let command = procfs::command_line(proc, pid).map(|command| lossless(&command));
                let command = command.filter(|command| !command.starts_with(LAUNCHER_NAME)).map(Arc::<str>::from);
                let uid = procfs::effective_uid(proc, pid);
                let is_new = known.is_none();
                let list = self.seen.entry(pid).or_default();
                if is_new {
                    let start = procfs::start_ticks(proc, pid).and_then(moment_of);
                    let settled = whose.is_some() && command != parent_command;
                    list.push(Seen { ours, start, command: command.clone(), settled, ..Seen::default() });
                }
                if let Some(seen) = list.last_mut() {
                    // What it executes may have changed. A zombie has no command line any more.
                    seen.settled |= !is_new && command.is_some();
                    seen.command = command.or(seen.command.take());
                    seen.uids.extend(uid.filter(|uid| !seen.uids.contains(uid)));
                }
            }
        }
        let ended: Vec<i32> = self.living.difference(&living).copied().collect();
        ended.into_iter().for_each(|pid| self.end(pid));
        self.living = living;
    }

    /// Tells whether a pid that was seen can be another process's by now. Pids are given in turn, so that none comes back
    /// before about as many as there are were given; half of them may be taken.
    fn may_be_given_anew(&self, system: &System) -> bool {
        let pids = || procfs::sysctl(system.proc(), "kernel/pid_max");
        let given = || procfs::forks(system.proc())?.checked_sub(self.forks?);
        *self.given_anew.get_or_init(|| pids().zip(given()).is_none_or(|(pids, given)| given >= pids / 2))
    }

    /// Tells who made a segment.
    pub(super) fn creator(&self, system: &System, segment: &Segment) -> Creator {
        let Some(pid) = segment.cpid else { return Creator::Stranger };
        let made = segment.ctime.map_or(0, |made| made.0);
        // Whoever has the pid before or after may be anybody; whole seconds, and another user, tell that. Shortly before the
        // end was found it was somebody else only if the pid can have come back so soon.
        let sure = |ended: i64| made < ended - 1 || (made <= ended && !self.may_be_given_anew(system));
        let is_it = |seen: &&Seen| {
            seen.start.is_none_or(|start| start.0 <= made.saturating_add(SLACK_SECONDS))
                && seen.ended.is_none_or(|ended| sure(ended.0))
                && (seen.uids.contains(&segment.cuid) || (seen.uids.is_empty() && segment.cuid == system.uid()))
        };
        match self.seen.get(&pid).and_then(|seen| seen.iter().rev().find(is_it)) {
            Some(seen) if seen.ours => {
                Creator::Ours(seen.command.clone().filter(|_| seen.settled || seen.ended.is_none()))
            }
            Some(_) => Creator::Stranger,
            None => self.living_creator(system, pid, made),
        }
    }

    /// Tells who a process is that was not seen, and made something at a moment, as far as its ancestors tell now.
    fn living_creator(&self, system: &System, creator: i32, made: i64) -> Creator {
        match Life::ask(system, creator) {
            Life::Lives(Some(start)) if start.0 <= made.saturating_add(SLACK_SECONDS) => {}
            _ => return Creator::Unknown,
        }
        let own = std::process::id().cast_signed();
        let mut pid = creator;
        // Nobody has more ancestors than there can be processes; a reused pid could make a circle.
        for _ in 0..1 << 22 {
            match procfs::parent(system.proc(), pid) {
                Some(parent) if parent == own => {
                    return match self.last(pid) {
                        Some(seen) if !seen.ours => Creator::Stranger,
                        None if !self.alone => Creator::Unknown,
                        _ => Creator::Ours(system.command(creator)),
                    };
                }
                // The first of its pid namespace, or one whose parent is outside.
                Some(0) => return Creator::Stranger,
                Some(parent) => pid = parent,
                None => return Creator::Unknown,
            }
        }
        Creator::Unknown
    }
}

/// Gives this moment.
fn now() -> Stamp {
    Stamp(clock_gettime(ClockId::CLOCK_REALTIME).map_or(i64::MAX, |time| time.tv_sec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pid that no process has.
    const NOBODY: i32 = i32::MAX;

    /// Gives a segment that a process of this user made at second 1000.
    fn segment(cuid: u32) -> Segment {
        Segment { cpid: Some(NOBODY), cuid, ctime: Some(Stamp(1000)), ..Segment::bare() }
    }

    /// Has seen these with that pid, after so many processes were started since boot.
    fn having(list: Vec<Seen>, forks: Option<u64>) -> Descendants {
        Descendants { seen: HashMap::from([(NOBODY, list)]), forks, ..Descendants::empty() }
    }

    #[test]
    fn a_creator_is_who_had_the_pid_then_and_was_that_user() {
        let system = System::new();
        let seen = |start: i64, ended: i64| Seen {
            ours: true,
            start: Some(Stamp(start)),
            command: Some("it".into()),
            settled: true,
            uids: vec![7],
            ended: Some(Stamp(ended)),
        };
        let creator = |list: Vec<Seen>| having(list, procfs::forks(system.proc())).creator(&system, &segment(7));
        let ours = |command: Option<&str>| Creator::Ours(command.map(Arc::from));
        assert_eq!(creator(vec![seen(990, 1000)]), ours(Some("it")));
        assert_eq!(creator(vec![seen(1002, 1005)]), ours(Some("it")), "stamps are whole seconds");
        for other in [
            vec![],
            vec![seen(990, 999)],
            vec![seen(1003, 1005)],
            vec![Seen { uids: vec![8], ..seen(990, 1000) }],
            vec![Seen { uids: vec![], ..seen(990, 1000) }],
        ] {
            assert_eq!(creator(other.clone()), Creator::Unknown, "{other:?}");
        }
        let (before, after) = (Seen { command: None, ..seen(900, 950) }, Seen { command: None, ..seen(1010, 1020) });
        assert_eq!(creator(vec![before, seen(960, 1005), after]), ours(Some("it")));
        assert_eq!(creator(vec![Seen { ours: false, ..seen(990, 1000) }]), Creator::Stranger);
        // Seen once before it executed anything: whose command line that was is not known, unless it is there still.
        let once = Seen { settled: false, ..seen(990, 1000) };
        assert_eq!(creator(vec![once.clone()]), ours(None));
        assert_eq!(creator(vec![Seen { ended: None, ..once }]), ours(Some("it")));
        let own = Seen { uids: vec![], ..seen(990, 1000) };
        let this = having(vec![own], procfs::forks(system.proc()));
        assert_eq!(this.creator(&system, &segment(system.uid())), ours(Some("it")), "it was never looked at");
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("sys/kernel")).unwrap();
        std::fs::write(root.path().join("sys/kernel/pid_max"), "400\n").unwrap();
        std::fs::write(root.path().join("stat"), "cpu 1 2\nprocesses 200\n").unwrap();
        let few_pids = System::at(root.path().to_owned());
        // Where so many were started that the pid can have come back, or it is not known how many, the end must be far.
        let this = having(vec![seen(990, 1000)], Some(1));
        assert_eq!(this.creator(&few_pids, &segment(7)), ours(Some("it")));
        for forks in [None, Some(0)] {
            for (ended, creator) in [(1000, Creator::Unknown), (1001, Creator::Unknown), (1002, ours(Some("it")))] {
                let this = having(vec![seen(990, ended)], forks);
                assert_eq!(this.creator(&few_pids, &segment(7)), creator, "{forks:?}, {ended}");
            }
        }
    }

    #[test]
    fn a_child_that_ended_unseen_is_the_commands_if_all_children_are() {
        let system = System::new();
        for (alone, creator) in [(true, Creator::Ours(None)), (false, Creator::Unknown)] {
            let mut this = Descendants { alone, ..having(vec![], procfs::forks(system.proc())) };
            this.note_end(NOBODY);
            assert_eq!(this.creator(&system, &segment(system.uid())), creator);
        }
    }
}
