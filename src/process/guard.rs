//! The guard: a second process that creates a segment for another one (its client), and removes it if the client exits
//! before the segment is complete.
//!
//! A segment has its key from the moment shmget(2) creates it, so other processes can find it while it is filled; and
//! a process that is killed cleans up nothing. Without a guard, a half-written segment would stay. The guard calls
//! shmget itself, so it knows which segment to remove; if the client called it and were killed before it could send the
//! id, another user's segment could be removed: a creator's pid may have been reused.
//!
//! The client writes requests to the guard's standard input, a line each, until one succeeds. The end of standard input
//! then makes the guard remove the segment. Once the client has completed it and printed its id, it kills the guard.

use std::ffi::CStr;
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::Interrupts;
use super::helper::{become_helper, exited, format_answer, helper, read_answer, start_failed};
use crate::error::{Error, Kind, shmadm};
use crate::explain::{Attempt, explain, holders};
use crate::model::{Key, Needs, Object, ShmId};
use crate::query::{System, lookup};
use crate::sys::{self, CreateFlags, SysError};

pub(crate) const GUARD_NAME: &CStr = c"shmadm-guard";

/// How long to wait for a guard to exit. One that takes longer is stopped (SIGSTOP), and nothing depends on it any
/// more.
const PATIENCE: Duration = Duration::from_secs(1);

/// A running guard. Dropped before it is released, it removes the segment that it has created.
#[derive(Debug)]
pub(crate) struct Guard(Child);

impl Guard {
    /// Starts a guard, which creates nothing yet.
    pub(crate) fn start() -> Result<Self, Error> {
        let child = helper(GUARD_NAME).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        child.map(Self).map_err(|error| start_failed("cannot start a guard", &error))
    }

    /// Asks the guard to create a segment, as [`sys::create`] does. Returns the result of its shmget(2).
    pub(crate) fn create(
        &mut self,
        interrupts: &Interrupts,
        key: Key,
        size: u64,
        flags: CreateFlags,
    ) -> Result<Result<ShmId, SysError>, Error> {
        match self.0.stdin.as_mut().map(|requests| requests.write_all(format_request(key, size, flags).as_bytes())) {
            // The guard has exited, which the missing answer reports.
            Some(Err(error)) if error.kind() == ErrorKind::BrokenPipe => {}
            Some(Err(error)) => {
                return Err(Error::io("cannot create a segment: its guard cannot be reached", &error, "write"));
            }
            _ => {}
        }
        interrupts.wait(None, self.0.stdout.as_ref().map(AsFd::as_fd))?;
        interrupts.check()?;
        match self.0.stdout.as_mut().and_then(read_answer) {
            Some(Ok([id])) => i32::try_from(id).ok().and_then(ShmId::new).map(Ok),
            Some(Err(errno)) => Some(Err(SysError { errno, call: "shmget" })),
            None => None,
        }
        .ok_or_else(|| {
            let key = if key == Key::PRIVATE { "private".to_owned() } else { key.to_string() };
            exited("cannot create a segment: the guard exited before it answered", &mut self.0)
                .cause("shmadm-guard may have created the segment before that")
                .hint("show the segment, if there is one", shmadm(format!("list --key {key}")))
        })
    }

    /// Returns the pid, which is not reused while this exists.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Fails if [`Guard::release`] would: a sandbox can deny kill(2).
    pub(crate) fn check_release(&self) -> Result<(), Error> {
        kill(Pid::from_raw(self.0.id().cast_signed()), None).map_err(|errno| cannot_release(&errno.into()))
    }

    /// Releases the guard: the segment stays.
    /// Fails if the guard cannot be killed; it then removes the segment.
    pub(crate) fn release(mut self) -> Result<(), Error> {
        self.0.kill().map_err(|error| cannot_release(&error))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.stdin = None;
        // Without a process that reaps orphans it would stay a zombie. A signal ends the wait.
        if let Ok(pidfd) = sys::open_pidfd(self.0.id().cast_signed()) {
            let _ = sys::wait_for_exit(&pidfd, PATIENCE);
        }
        let _ = self.0.try_wait();
    }
}

fn cannot_release(error: &io::Error) -> Error {
    Error::io("cannot keep the segment: its guard cannot be terminated", error, "kill")
}

/// Returns the line that requests a shmget(2). It is short enough for a pipe to take it as a whole or not at all.
fn format_request(key: Key, size: u64, flags: CreateFlags) -> String {
    format!("{} {size} {}\n", key.to_kernel(), flags.to_kernel())
}

fn parse_request(line: &str) -> Option<(Key, u64, CreateFlags)> {
    // A truncated request could end in a part of a number.
    let mut words = line.strip_suffix('\n')?.split_ascii_whitespace();
    let key = Key::from_kernel(words.next()?.parse().ok()?);
    Some((key, words.next()?.parse().ok()?, CreateFlags::from_kernel(words.next()?.parse().ok()?)))
}

pub(crate) fn guard_main() -> Result<(), Error> {
    let _ = become_helper(GUARD_NAME);
    // A signal to all processes of a service reaches the client too, which cleans up by itself.
    sys::block_signals();
    let failed = |error| Error::io("cannot guard a segment", &error, "read");
    let mut input = std::io::stdin().lock();
    loop {
        let mut line = String::new();
        input.read_line(&mut line).map_err(failed)?;
        let (key, size, flags) = parse_request(&line)
            .ok_or_else(|| Error::new(Kind::Usage, "shmadm-guard is started only by shmadm itself"))?;
        let created = sys::create(key, size, flags);
        let answer = created.map(|id| [id.raw().cast_unsigned().into()]).map_err(|error| error.errno);
        let (_, output) = sys::standard_input_and_output();
        // Fails if the client no longer waits, which the end of standard input reports as well.
        let _ = sys::write(output, format_answer(answer).as_bytes());
        if let Ok(id) = created {
            input.read_to_end(&mut Vec::new()).map_err(failed)?;
            return remove(id);
        }
    }
}

/// Removes the segment that this process has created, and ends the holder that was started for it.
fn remove(id: ShmId) -> Result<(), Error> {
    let system = System::new();
    // No other process has this pid while this one runs, so a segment with it as its creator is the one that this
    // process has created, even if other segments have had the same id in between.
    let own = Some(std::process::id().cast_signed());
    let is_own = |segment: &Object| segment.sysv().cpid == own;
    // One that is marked has been removed by the client, and its users keep it.
    let is_marked = |segment: &Object| segment.sysv().dest;
    let segment = lookup(&system, id, Needs::empty())?.filter(|segment| is_own(segment) && !is_marked(segment));
    let Some(segment) = segment else { return Ok(()) };
    sys::remove(id).map_err(|error| explain(&system, &Attempt::Remove(id), error))?;
    for holder in holders(&system, &segment)? {
        // A holder that cannot be signalled has exited.
        let _ = sys::terminate(&holder.pidfd);
    }
    Ok(())
}
