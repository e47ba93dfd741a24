//! The trace standby: this program, executed again, which lets shmget calls continue after the supervisor has exited.
//!
//! Traced processes can outlive the supervisor. Without a listener each of their shmget calls would fail, and a call
//! that was received but not answered would block forever. The standby holds the listener as its standard output. Its
//! standard input is a pipe from the supervisor: it learns from it which call is pending, and that the supervisor has
//! exited. It runs until the last traced process has exited.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::process::{Child, Stdio};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::helper::{become_helper, helper, start_failed};
use crate::error::{Error, Kind};
use crate::sys;

pub(crate) const STANDBY_NAME: &CStr = c"shmadm-trace";

/// Starts a standby. It takes over once its standard input is closed or this process is killed.
pub(super) fn start_standby(listener: BorrowedFd<'_>) -> Result<Child, Error> {
    let failed = |error: std::io::Error| start_failed("cannot start a standby for the trace", &error);
    let listener = listener.try_clone_to_owned().map_err(failed)?;
    let child = helper(STANDBY_NAME).stdin(Stdio::piped()).stdout(listener).spawn().map_err(failed)?;
    if let Some(pipe) = &child.stdin {
        // A standby that was stopped (SIGSTOP) must not block the supervisor.
        fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|errno| failed(errno.into()))?;
    }
    Ok(child)
}

/// Runs as the standby, until no traced process is left.
pub(crate) fn standby_main() -> Result<(), Error> {
    let failed = |_| Error::new(Kind::Usage, "shmadm-trace is started only by `shmadm leakcheck --trace`");
    let _ = become_helper(STANDBY_NAME);
    let (supervisor, listener) = sys::standard_input_and_output();
    let mut pending = None;
    let mut supervised = true;
    loop {
        // While there is a supervisor, it receives the calls.
        let calls = if supervised { PollFlags::empty() } else { PollFlags::POLLIN };
        let mut descriptors = vec![PollFd::new(listener, calls)];
        descriptors.extend(supervised.then(|| PollFd::new(supervisor, PollFlags::POLLIN)));
        match poll(&mut descriptors, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            polled => polled.map_err(failed)?,
        };
        let traced = descriptors[0].revents().unwrap_or(PollFlags::POLLERR);
        if descriptors.get(1).is_some_and(|supervisor| supervisor.any() != Some(false)) {
            let mut reported = [0; 512];
            let length = nix::unistd::read(supervisor, &mut reported).map_err(failed)?;
            pending = reported[..length].last_chunk().map(|call| u64::from_ne_bytes(*call)).or(pending);
            supervised = length > 0;
            if let Some(call) = pending.filter(|_| !supervised) {
                sys::respond_continue(&listener, call).map_err(failed)?;
            }
        } else if traced.contains(PollFlags::POLLIN) {
            if let Some(call) = sys::receive(&listener).map_err(failed)? {
                sys::respond_continue(&listener, call.id).map_err(failed)?;
            }
        } else if !traced.is_empty() {
            return Ok(());
        }
    }
}
