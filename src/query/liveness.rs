//! Whether the processes that a segment remembers still live, and the verdict that follows.

use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};

use super::System;
use crate::model::{Segment, Stamp, State};
use crate::procfs;
use crate::sys;

/// How much younger than its stamp a process may seem and still be the one meant: stamps are whole seconds of the
/// wall clock, start times are ticks since boot.
pub(super) const SLACK_SECONDS: i64 = 2;

/// What is known of a pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It lives, since this moment if /proc tells.
    Lives(Option<Stamp>),
    /// It is gone.
    Gone,
    /// The kernel does not tell us.
    Unknown,
}

/// What a segment's memory of a process is worth now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Witness {
    /// It lives.
    Lives,
    /// It is gone, or there never was one.
    Gone,
    /// It lies outside our pid namespace, its pid belongs to a younger process, or it cannot be told.
    Unknown,
}

impl Life {
    /// Asks the kernel; /proc is no proof, since it may hide processes.
    pub(super) fn ask(system: &System, pid: i32) -> Self {
        let pidfd = match sys::open_pidfd(pid) {
            Ok(pidfd) => pidfd,
            // EINVAL (ENOENT since 6.13): the number is now a thread of another process.
            Err(error) if matches!(error.errno, Errno::ESRCH | Errno::EINVAL | Errno::ENOENT) => return Self::Gone,
            Err(_) => return Self::Unknown,
        };
        match sys::wait_for_exit(&pidfd, Duration::ZERO) {
            // A zombie: nothing but its parent's wait is left of it.
            Ok(true) => Self::Gone,
            // The /proc of another pid namespace would tell of another process.
            Ok(false) if !system.owns_proc() => Self::Lives(None),
            Ok(false) => Self::Lives(procfs::start_ticks(system.proc(), pid).and_then(moment_of)),
            Err(_) => Self::Unknown,
        }
    }
}

/// Turns clock ticks since boot into a moment of the wall clock, rounded down.
pub(super) fn moment_of(ticks: u64) -> Option<Stamp> {
    let per_second = sysconf(SysconfVar::CLK_TCK).ok()??;
    let milliseconds = i64::try_from(ticks).ok()?.checked_mul(1000)?.checked_div(per_second)?;
    let milli = |clock| clock_gettime(clock).ok().map(|time| time.tv_sec() * 1000 + time.tv_nsec() / 1_000_000);
    let boot = milli(ClockId::CLOCK_REALTIME)? - milli(ClockId::CLOCK_BOOTTIME)?;
    Some(Stamp((boot + milliseconds).div_euclid(1000)))
}

impl Witness {
    /// Judges a pid by the stamp that it should explain.
    fn of(life: impl Fn(i32) -> Life, pid: Option<i32>, stamp: Option<Stamp>) -> Self {
        let Some(pid) = pid else { return Self::Unknown };
        match (life(pid), stamp) {
            (Life::Gone, _) => Self::Gone,
            (Life::Unknown, _) => Self::Unknown,
            (Life::Lives(Some(start)), Some(stamp)) if start.0 > stamp.0.saturating_add(SLACK_SECONDS) => Self::Unknown,
            (Life::Lives(_), _) => Self::Lives,
        }
    }

    /// Judges a segment's creator.
    fn creator(life: impl Fn(i32) -> Life, segment: &Segment) -> Self {
        Self::of(life, segment.cpid, segment.ctime)
    }

    /// Judges a segment's last user; where nobody ever attached there is none.
    fn last_user(life: impl Fn(i32) -> Life, segment: &Segment) -> Self {
        match segment.atime {
            None => Self::Gone,
            Some(_) => Self::of(life, segment.lpid, segment.atime.max(segment.dtime)),
        }
    }
}

/// Gives the verdict on a segment.
fn verdict(segment: &Segment, life: impl Fn(i32) -> Life + Copy) -> State {
    if segment.dest {
        return State::Dest;
    }
    if segment.nattch > 0 {
        return State::InUse;
    }
    let creator = Witness::creator(life, segment);
    if creator == Witness::Lives {
        return State::Idle;
    }
    match (creator, Witness::last_user(life, segment)) {
        (_, Witness::Lives) => State::Idle,
        (Witness::Gone, Witness::Gone) => State::Orphan,
        _ => State::Unknown,
    }
}

/// Gives the verdict on a segment at this moment, whatever was known of its processes before.
pub(crate) fn state_now(system: &System, segment: &Segment) -> State {
    verdict(segment, |pid| Life::ask(system, pid))
}

impl System {
    /// Gives the verdict on a segment.
    pub(super) fn state(&self, segment: &Segment) -> State {
        verdict(segment, |pid| self.life(pid))
    }

    /// Gives the command line of a segment's creator, if that still lives.
    pub(super) fn creator_command(&self, segment: &Segment) -> Option<Arc<str>> {
        (Witness::creator(|pid| self.life(pid), segment) == Witness::Lives)
            .then(|| self.command(segment.cpid?))
            .flatten()
    }

    /// Gives the command line of a segment's last user, if that still lives.
    pub(super) fn last_command(&self, segment: &Segment) -> Option<Arc<str>> {
        (Witness::last_user(|pid| self.life(pid), segment) == Witness::Lives)
            .then(|| self.command(segment.lpid?))
            .flatten()
    }
}

/// What is known of a process that a segment remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It lives, with this command line if that can be seen.
    Lives(Option<Arc<str>>),
    /// It is gone.
    Gone,
    /// It cannot be told, or its pid is somebody else's now.
    Unknown,
}

/// Tells what became of a segment's creator and of its last user.
pub(super) fn fates(system: &System, segment: &Segment) -> [Fate; 2] {
    let life = |pid| system.life(pid);
    let fate = |witness, pid: Option<i32>| match witness {
        Witness::Lives => Fate::Lives(pid.and_then(|pid| system.command(pid))),
        Witness::Gone => Fate::Gone,
        Witness::Unknown => Fate::Unknown,
    };
    [fate(Witness::creator(life, segment), segment.cpid), fate(Witness::last_user(life, segment), segment.lpid)]
}

/// Gives the last user's pid where it alone stands between a segment and the verdict "orphan".
///
/// An attachment of ours replaces the record of that process.
pub(crate) fn last_user_alone_lives(system: &System, segment: &Segment) -> Option<i32> {
    let life = |pid| system.life(pid);
    let alone =
        Witness::last_user(life, segment) == Witness::Lives && Witness::creator(life, segment) != Witness::Lives;
    segment.lpid.filter(|_| alone)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a segment that remembers these processes.
    fn remembering(cpid: Option<i32>, lpid: Option<i32>, times: [i64; 3]) -> Segment {
        let [atime, dtime, ctime] = times.map(Stamp::from_kernel);
        Segment { cpid, lpid, atime, dtime, ctime, ..Segment::bare() }
    }

    #[test]
    fn the_verdict_takes_both_processes_and_their_ages_into_account() {
        let system = System::new();
        let now = system.now().0;
        let living = Some(i32::try_from(std::process::id()).unwrap());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let child_pid = i32::try_from(child.id()).unwrap();
        let gone = Some(child_pid);
        let zombie = remembering(gone, None, [0, 0, now]);
        // A child that has ended and was not waited for is a zombie: gone.
        let pidfd = sys::open_pidfd(child_pid).unwrap();
        assert!(sys::wait_for_exit(&pidfd, Duration::from_secs(60)).unwrap());
        assert_eq!(System::new().state(&zombie), State::Orphan, "a zombie comes back for nothing");
        child.wait().unwrap();

        let state = |cpid, lpid, times| system.state(&remembering(cpid, lpid, times));
        assert_eq!(state(living, None, [0, 0, now]), State::Idle);
        assert_eq!(state(gone, living, [now, now, now]), State::Idle);
        assert_eq!(state(gone, gone, [now, now, now]), State::Orphan);
        assert_eq!(state(gone, None, [0, 0, now]), State::Orphan, "atime 0: nobody ever attached");
        assert_eq!(state(gone, None, [now, 0, now]), State::Unknown, "the last user lies outside");
        assert_eq!(state(None, gone, [now, 0, now]), State::Unknown, "the creator lies outside");
        assert_eq!(state(None, living, [now, 0, now]), State::Idle);
        assert_eq!(state(living, None, [0, 0, now - 86_400]), State::Unknown, "a younger process has the pid");
        assert_eq!(state(gone, living, [now - 86_400, 0, now]), State::Unknown, "a younger process has the pid");

        let attached = Segment { nattch: 1, ..remembering(gone, gone, [now, 0, now]) };
        assert_eq!(system.state(&attached), State::InUse);
        assert_eq!(system.state(&Segment { dest: true, ..attached }), State::Dest);
    }

    #[test]
    fn the_warning_is_for_the_last_user_alone() {
        let system = System::new();
        let now = system.now().0;
        let living = Some(i32::try_from(std::process::id()).unwrap());
        let outside = remembering(None, living, [now, 0, now]);
        assert_eq!(last_user_alone_lives(&system, &outside), living);
        assert_eq!(last_user_alone_lives(&system, &remembering(living, living, [now, 0, now])), None);
    }
}
