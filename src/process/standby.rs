//! The trace standby: this program, executed again, which lets shmget calls continue after the supervisor has exited.
//!
//! Traced processes can outlive the supervisor. Without a listener each of their shmget calls would fail, and a call
//! that was received but not answered would block forever. The standby holds the listener as its standard input. Its
//! standard output is a pipe (open for reading) from the supervisor: it learns from it which call is pending, and
//! that the supervisor has exited. It runs until the last traced process has exited. If the standby is killed, the
//! supervisor starts another.

use std::ffi::CStr;
use std::io::{PipeReader, PipeWriter, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::start_failed;
use crate::error::{Error, Kind};
use crate::sys;

/// The name of a standby.
pub(crate) const STANDBY_NAME: &CStr = c"shmadm-trace";

/// A running standby. It takes over once this is dropped or this process is killed.
#[derive(Debug)]
pub(super) struct Standby {
    pub(super) pid: i32,
    /// Reports the pending call; its end reports that the supervisor has exited.
    to_standby: Option<PipeWriter>,
}

impl Standby {
    /// Starts a standby.
    ///
    /// # Errors
    /// The process cannot be started.
    pub(super) fn start(listener: BorrowedFd<'_>) -> Result<Self, Error> {
        let failed = |error: std::io::Error| start_failed("cannot start a standby for the trace", &error);
        let (stdout, to_standby): (PipeReader, PipeWriter) = std::io::pipe().map_err(failed)?;
        // A standby that was stopped (SIGSTOP) must not block the supervisor.
        fcntl(&to_standby, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|errno| failed(errno.into()))?;
        let child = Command::new("/proc/self/exe")
            .arg0(STANDBY_NAME.to_string_lossy().as_ref())
            .current_dir("/")
            .stdin(listener.try_clone_to_owned().map_err(failed)?)
            .stdout(OwnedFd::from(stdout))
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        Ok(Self { pid: child.id().cast_signed(), to_standby: Some(to_standby) })
    }

    /// Reports the call that is pending, to which the standby responds if this process is killed.
    pub(super) fn set_pending(&mut self, call: u64) {
        // Fails if the standby has exited, which is noticed when it is reaped.
        let _ = self.to_standby.as_mut().map(|pipe| pipe.write_all(&call.to_ne_bytes()));
    }

    /// Closes the pipe, so that the standby takes over.
    pub(super) fn release(&mut self) {
        self.to_standby = None;
    }
}

/// Runs as the standby, until no traced process is left.
///
/// # Errors
/// It was not started by a supervisor.
pub(crate) fn standby_main() -> Result<(), Error> {
    let failed = |_| Error::new(Kind::Usage, "shmadm-trace is started only by `shmadm leakcheck --trace`");
    sys::close_inherited();
    sys::set_name(STANDBY_NAME);
    // setsid(2) fails only for a process group leader, which this process is not.
    let _ = nix::unistd::setsid();
    let (listener, supervisor) = sys::standard_input_and_output();
    let Some(last) = wait_for_supervisor(supervisor, listener).map_err(failed)? else { return Ok(()) };
    if let Some(call) = last {
        sys::respond_continue(&listener, call);
    }
    loop {
        let [events] = poll_all([PollFd::new(listener, PollFlags::POLLIN)]).map_err(failed)?;
        if events.contains(PollFlags::POLLIN) {
            if let Some(call) = sys::receive(&listener).map_err(failed)? {
                sys::respond_continue(&listener, call.id);
            }
        } else if !events.is_empty() {
            return Ok(());
        }
    }
}

/// Waits until the supervisor has exited. Returns the last call that it reported, if any; `None` if no traced process
/// is left.
fn wait_for_supervisor(supervisor: BorrowedFd<'_>, listener: BorrowedFd<'_>) -> Result<Option<Option<u64>>, Errno> {
    let mut last = None;
    loop {
        let descriptors = [PollFd::new(supervisor, PollFlags::POLLIN), PollFd::new(listener, PollFlags::empty())];
        let [reported, exited] = poll_all(descriptors)?;
        if reported.contains(PollFlags::POLLIN) {
            let mut calls = [0_u8; 512];
            let length = nix::unistd::read(supervisor, &mut calls)?;
            last = calls[..length].last_chunk().map(|call| u64::from_ne_bytes(*call)).or(last);
        } else if !reported.is_empty() {
            return Ok(Some(last));
        } else if !exited.is_empty() {
            return Ok(None);
        }
    }
}

/// Polls descriptors without a timeout. Returns their events, or none after a signal.
fn poll_all<const COUNT: usize>(mut descriptors: [PollFd<'_>; COUNT]) -> Result<[PollFlags; COUNT], Errno> {
    match poll(&mut descriptors, PollTimeout::NONE) {
        Ok(_) => Ok(descriptors.map(|descriptor| descriptor.revents().unwrap_or(PollFlags::POLLERR))),
        Err(Errno::EINTR) => Ok([PollFlags::empty(); COUNT]),
        Err(errno) => Err(errno),
    }
}
