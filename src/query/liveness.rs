//! The state of a segment, and whether the processes that it records are still running.
//!
//! A segment's state is the first of these that holds: marked for destruction and still attached (`dest`), attached
//! (`in-use`), creator or last user running (`idle`), status of one of them unknown (`unknown`), both exited
//! (`orphan`).
//!
//! pidfd_open(2) and a poll show whether a process is running: the pidfd is readable once the process has exited, even
//! while it is a zombie. A missing directory in /proc proves nothing, since /proc can hide processes (hidepid) or
//! belong to another pid namespace. Pid 0 is a process outside this pid namespace.
//!
//! Pids are reused. A process that started more than [`SLACK_SECONDS`] after the time that it should explain (ctime for
//! the creator, atime or dtime for the last user) is another process. A clock that was set can look the same, so the
//! status is then unknown, not exited.

use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};

use super::System;
use crate::model::{Segment, Stamp, State};
use crate::procfs;
use crate::sys;

/// How much later than its stamp a process may seem to have started and still be the recorded one: stamps are whole
/// seconds of the wall clock, start times are ticks since boot.
pub(super) const SLACK_SECONDS: i64 = 2;

/// Whether a process is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProcessStatus {
    /// It is running, since this time if /proc shows it.
    Running(Option<Stamp>),
    /// It has exited, or it never existed.
    Exited,
    /// The kernel does not show it: it is outside this pid namespace, or its pid may have been reused.
    Unknown,
}

impl ProcessStatus {
    /// Asks the kernel for the status of the process that has this pid now.
    pub(super) fn query(system: &System, pid: i32) -> Self {
        let pidfd = match sys::open_pidfd(pid) {
            Ok(pidfd) => pidfd,
            // EINVAL (ENOENT since 6.13): the number is now a thread of another process.
            Err(error) if matches!(error.errno, Errno::ESRCH | Errno::EINVAL | Errno::ENOENT) => return Self::Exited,
            Err(_) => return Self::Unknown,
        };
        match sys::wait_for_exit(&pidfd, Duration::ZERO) {
            Ok(true) => Self::Exited,
            // The /proc of another pid namespace would show the start of another process.
            Ok(false) if !system.proc_shows_own_pids() => Self::Running(None),
            Ok(false) => Self::Running(procfs::start_ticks(system.proc(), pid).and_then(wall_clock)),
            Err(_) => Self::Unknown,
        }
    }

    /// Returns the status of the process that had `pid` at the time `stamp`, which the present one may have reused.
    fn recorded(query: impl Fn(i32) -> Self, pid: Option<i32>, stamp: Option<Stamp>) -> Self {
        let Some(pid) = pid else { return Self::Unknown };
        match (query(pid), stamp) {
            (Self::Running(Some(start)), Some(stamp)) if start.0 > stamp.0.saturating_add(SLACK_SECONDS) => {
                Self::Unknown
            }
            (status, _) => status,
        }
    }

    fn of_creator(query: impl Fn(i32) -> Self, segment: &Segment) -> Self {
        Self::recorded(query, segment.cpid, segment.ctime)
    }

    /// Returns the status of the last user; exited if the segment was never attached.
    fn of_last_user(query: impl Fn(i32) -> Self, segment: &Segment) -> Self {
        match segment.atime {
            None => Self::Exited,
            Some(_) => Self::recorded(query, segment.lpid, segment.atime.max(segment.dtime)),
        }
    }

    const fn is_running(self) -> bool {
        matches!(self, Self::Running(_))
    }
}

/// Converts clock ticks since boot to wall-clock time, rounded down.
pub(super) fn wall_clock(ticks: u64) -> Option<Stamp> {
    let per_second = sysconf(SysconfVar::CLK_TCK).ok()??;
    let milliseconds = i64::try_from(ticks).ok()?.checked_mul(1000)?.checked_div(per_second)?;
    let milli = |clock| clock_gettime(clock).ok().map(|time| time.tv_sec() * 1000 + time.tv_nsec() / 1_000_000);
    let boot = milli(ClockId::CLOCK_REALTIME)? - milli(ClockId::CLOCK_BOOTTIME)?;
    Some(Stamp((boot + milliseconds).div_euclid(1000)))
}

fn state_of(segment: &Segment, query: impl Fn(i32) -> ProcessStatus + Copy) -> State {
    if segment.dest {
        return State::Dest;
    }
    if segment.nattch > 0 {
        return State::InUse;
    }
    let creator = ProcessStatus::of_creator(query, segment);
    if creator.is_running() {
        return State::Idle;
    }
    match (creator, ProcessStatus::of_last_user(query, segment)) {
        (_, ProcessStatus::Running(_)) => State::Idle,
        (ProcessStatus::Exited, ProcessStatus::Exited) => State::Orphan,
        _ => State::Unknown,
    }
}

/// Returns the state of a segment with the status of its processes asked again, not cached.
pub(crate) fn state_now(system: &System, segment: &Segment) -> State {
    state_of(segment, |pid| ProcessStatus::query(system, pid))
}

impl System {
    pub(super) fn state(&self, segment: &Segment) -> State {
        state_of(segment, |pid| self.process_status(pid))
    }

    /// Returns the command line of a segment's creator if it is still running.
    pub(super) fn creator_command(&self, segment: &Segment) -> Option<Arc<str>> {
        let creator = ProcessStatus::of_creator(|pid| self.process_status(pid), segment);
        segment.cpid.filter(|_| creator.is_running()).and_then(|pid| self.command(pid))
    }

    /// Returns the command line of a segment's last user if it is still running.
    pub(super) fn last_command(&self, segment: &Segment) -> Option<Arc<str>> {
        let last_user = ProcessStatus::of_last_user(|pid| self.process_status(pid), segment);
        segment.lpid.filter(|_| last_user.is_running()).and_then(|pid| self.command(pid))
    }
}

/// Returns the status of a segment's creator and of its last user.
pub(super) fn creator_and_last_user(system: &System, segment: &Segment) -> [ProcessStatus; 2] {
    let query = |pid| system.process_status(pid);
    [ProcessStatus::of_creator(query, segment), ProcessStatus::of_last_user(query, segment)]
}

/// Returns the last user's pid if an attach by this program would turn an `idle` segment into an `orphan`: the last
/// user is running, the creator is not, and the attach overwrites the record of the last user.
pub(crate) fn last_user_preventing_orphan(system: &System, segment: &Segment) -> Option<i32> {
    let [creator, last_user] = creator_and_last_user(system, segment);
    segment.lpid.filter(|_| last_user.is_running() && !creator.is_running())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording(cpid: Option<i32>, lpid: Option<i32>, times: [i64; 3]) -> Segment {
        let [atime, dtime, ctime] = times.map(Stamp::from_kernel);
        Segment { cpid, lpid, atime, dtime, ctime, ..Segment::bare() }
    }

    #[test]
    fn state_depends_on_creator_last_user_and_start_times() {
        let system = System::new();
        let now = system.now().0;
        let running = Some(i32::try_from(std::process::id()).unwrap());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let child_pid = i32::try_from(child.id()).unwrap();
        let exited = Some(child_pid);
        let zombie = recording(exited, None, [0, 0, now]);
        // A child that has exited and was not waited for is a zombie.
        let pidfd = sys::open_pidfd(child_pid).unwrap();
        assert!(sys::wait_for_exit(&pidfd, Duration::from_secs(60)).unwrap());
        assert_eq!(System::new().state(&zombie), State::Orphan, "a zombie has exited");
        child.wait().unwrap();

        let state = |cpid, lpid, times| system.state(&recording(cpid, lpid, times));
        assert_eq!(state(running, None, [0, 0, now]), State::Idle);
        assert_eq!(state(exited, running, [now, now, now]), State::Idle);
        assert_eq!(state(exited, exited, [now, now, now]), State::Orphan);
        assert_eq!(state(exited, None, [0, 0, now]), State::Orphan, "atime 0: never attached");
        assert_eq!(state(exited, None, [now, 0, now]), State::Unknown, "last user outside this pid namespace");
        assert_eq!(state(None, exited, [now, 0, now]), State::Unknown, "creator outside this pid namespace");
        assert_eq!(state(None, running, [now, 0, now]), State::Idle);
        assert_eq!(state(running, None, [0, 0, now - 86_400]), State::Unknown, "the pid was reused");
        assert_eq!(state(exited, running, [now - 86_400, 0, now]), State::Unknown, "the pid was reused");

        let attached = Segment { nattch: 1, ..recording(exited, exited, [now, 0, now]) };
        assert_eq!(system.state(&attached), State::InUse);
        assert_eq!(system.state(&Segment { dest: true, ..attached }), State::Dest);
    }

    #[test]
    fn an_attach_hides_only_a_last_user_whose_creator_has_exited() {
        let system = System::new();
        let now = system.now().0;
        let running = Some(i32::try_from(std::process::id()).unwrap());
        let outside = recording(None, running, [now, 0, now]);
        assert_eq!(last_user_preventing_orphan(&system, &outside), running);
        assert_eq!(last_user_preventing_orphan(&system, &recording(running, running, [now, 0, now])), None);
    }
}
