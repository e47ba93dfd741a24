//! Whether a process is running.
//!
//! pidfd_open(2) and a poll show it: the pidfd is readable once the process has exited, even while it is a zombie. A
//! missing directory in /proc proves nothing, since /proc can hide processes (hidepid) or belong to another pid
//! namespace. Pid 0 is a process outside this pid namespace.
//!
//! Pids are reused. A process that started more than [`SLACK_SECONDS`] after the time that it should explain is another
//! process. A clock that was set can look the same, so the status is then unknown, not exited.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};

use crate::model::{FileTime, Stamp};
use crate::procfs;
use crate::sys;

/// How much later than its stamp a process may seem to have started and still be the recorded one: stamps are whole
/// seconds of the wall clock, start times are ticks since boot.
pub(crate) const SLACK_SECONDS: i64 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProcessStatus {
    /// It is running, since this time if /proc shows it.
    Running(Option<Stamp>),
    Exited,
    /// The kernel does not show it: it is outside this pid namespace, or its pid may have been reused.
    Unknown,
}

impl ProcessStatus {
    /// Asks the kernel for the status of the process that has this pid now. `own_proc` is the /proc of this pid
    /// namespace: another one would show the start of another process.
    pub(super) fn ask(own_proc: Option<&Path>, pid: i32) -> Self {
        let pidfd = match sys::open_pidfd(pid) {
            Ok(pidfd) => pidfd,
            // EINVAL (ENOENT since 6.13): the number is now a thread of another process.
            Err(error) if matches!(error.errno, Errno::ESRCH | Errno::EINVAL | Errno::ENOENT) => return Self::Exited,
            Err(_) => return Self::Unknown,
        };
        match sys::wait_for_exit(&pidfd, Duration::ZERO) {
            Ok(true) => Self::Exited,
            Ok(false) => Self::Running(own_proc.and_then(|proc| start(proc, pid))),
            Err(_) => Self::Unknown,
        }
    }

    /// Returns the status of the process that had `pid` at the time `stamp`, which the present one may have reused.
    pub(in crate::query) fn recorded(query: impl Fn(i32) -> Self, pid: Option<i32>, stamp: Option<Stamp>) -> Self {
        let Some(pid) = pid else { return Self::Unknown };
        match (query(pid), stamp) {
            (Self::Running(Some(start)), Some(stamp)) if start.0 > stamp.0.saturating_add(SLACK_SECONDS) => {
                Self::Unknown
            }
            (status, _) => status,
        }
    }

    pub(crate) const fn is_running(self) -> bool {
        matches!(self, Self::Running(_))
    }
}

/// Waits until processes have exited, for at most `timeout`.
pub(in crate::query) fn wait_for_exits(pids: impl IntoIterator<Item = i32>, timeout: Duration) {
    // All are opened first, so that none is a later process that reused a pid.
    let pidfds: Vec<_> = pids.into_iter().filter_map(|pid| sys::open_pidfd(pid).ok()).collect();
    let deadline = Instant::now() + timeout;
    for pidfd in &pidfds {
        let wait = || sys::wait_for_exit(pidfd, deadline.saturating_duration_since(Instant::now()));
        while wait() == Err(Errno::EINTR) {}
    }
}

/// Returns the start time of a process.
pub(in crate::query) fn start(proc: &Path, pid: i32) -> Option<Stamp> {
    procfs::start_ticks(proc, pid).and_then(wall_clock).map(FileTime::stamp)
}

/// Returns the time of the last boot, by the present clock.
pub(super) fn boot() -> Option<Stamp> {
    wall_clock(0).map(FileTime::stamp)
}

/// Converts clock ticks since boot to wall-clock time.
fn wall_clock(ticks: u64) -> Option<FileTime> {
    let per_second = i128::from(sysconf(SysconfVar::CLK_TCK).ok()??);
    let since_boot = i128::from(ticks).checked_mul(1_000_000_000)?.checked_div(per_second)?;
    let nanoseconds = |clock| {
        let time = clock_gettime(clock).ok()?;
        Some(i128::from(time.tv_sec()) * 1_000_000_000 + i128::from(time.tv_nsec()))
    };
    Some(FileTime(nanoseconds(ClockId::CLOCK_REALTIME)? - nanoseconds(ClockId::CLOCK_BOOTTIME)? + since_boot))
}
