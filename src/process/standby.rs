//! The standby: this program executed anew, which lets calls of shmget go on once nobody else does.
//!
//! A traced command may leave processes behind that outlive its supervisor, and supervisors are killed. With nobody
//! listening, each shmget of those processes would fail. The standby has the listener as its standard input, and waits
//! until its standard output, the end of a pipe from the supervisor, says that this one is gone.

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

/// A standby at work. Once it is dropped, or we are killed, it takes over.
#[derive(Debug)]
pub(super) struct Standby {
    /// Its pid.
    pub(super) pid: i32,
    /// By which it learns which call waits for us, and that we are gone.
    words: Option<PipeWriter>,
}

impl Standby {
    /// Starts one.
    ///
    /// # Errors
    /// There is no process to be had.
    pub(super) fn start(listener: BorrowedFd<'_>) -> Result<Self, Error> {
        let failed = |error: std::io::Error| start_failed("cannot start a standby for the trace", &error);
        let (waiting, words): (PipeReader, PipeWriter) = std::io::pipe().map_err(failed)?;
        // One that does not read, since somebody has stopped it, is no reason to wait.
        fcntl(&words, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|errno| failed(errno.into()))?;
        let child = Command::new("/proc/self/exe")
            .arg0(STANDBY_NAME.to_string_lossy().as_ref())
            .current_dir("/")
            .stdin(listener.try_clone_to_owned().map_err(failed)?)
            .stdout(OwnedFd::from(waiting))
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        Ok(Self { pid: child.id().cast_signed(), words: Some(words) })
    }

    /// Tells which call waits for our answer, which the standby gives should we be killed before.
    pub(super) fn tell(&mut self, call: u64) {
        // One that cannot be told is gone, which is noticed when it is waited for.
        let _ = self.words.as_mut().map(|words| words.write_all(&call.to_ne_bytes()));
    }

    /// Lets it take over.
    pub(super) fn release(&mut self) {
        self.words = None;
    }
}

/// Is the standby, until no process is left that is traced.
///
/// # Errors
/// It was not started by a supervisor.
pub(crate) fn stand_by() -> Result<(), Error> {
    let failed = |_| Error::new(Kind::Usage, "shmadm-trace is started by `shmadm leakcheck --trace` alone");
    sys::close_inherited();
    sys::set_name(STANDBY_NAME);
    // It fails for the leader of a process group alone, which one that a supervisor started is not.
    let _ = nix::unistd::setsid();
    let (listener, supervisor) = sys::standard_input_and_output();
    let Some(last) = wait_for_the_end_of(supervisor, listener).map_err(failed)? else { return Ok(()) };
    if let Some(call) = last {
        sys::let_go_on(&listener, call);
    }
    loop {
        let [events] = poll_all([PollFd::new(listener, PollFlags::POLLIN)]).map_err(failed)?;
        if events.contains(PollFlags::POLLIN) {
            if let Some(call) = sys::receive(&listener).map_err(failed)? {
                sys::let_go_on(&listener, call.id);
            }
        } else if !events.is_empty() {
            return Ok(());
        }
    }
}

/// Waits until the supervisor has ended; gives the call that it told of last, if it told of any. `None` if no process is
/// left that is traced.
fn wait_for_the_end_of(supervisor: BorrowedFd<'_>, listener: BorrowedFd<'_>) -> Result<Option<Option<u64>>, Errno> {
    let mut last = None;
    loop {
        let descriptors = [PollFd::new(supervisor, PollFlags::POLLIN), PollFd::new(listener, PollFlags::empty())];
        let [told, left] = poll_all(descriptors)?;
        if told.contains(PollFlags::POLLIN) {
            let mut words = [0_u8; 512];
            let length = nix::unistd::read(supervisor, &mut words)?;
            last = words[..length].last_chunk().map(|word| u64::from_ne_bytes(*word)).or(last);
        } else if !told.is_empty() {
            return Ok(Some(last));
        } else if !left.is_empty() {
            return Ok(None);
        }
    }
}

/// Waits until something has happened on some descriptors, and gives what; nothing, if it was a signal.
fn poll_all<const COUNT: usize>(mut descriptors: [PollFd<'_>; COUNT]) -> Result<[PollFlags; COUNT], Errno> {
    match poll(&mut descriptors, PollTimeout::NONE) {
        Ok(_) => Ok(descriptors.map(|descriptor| descriptor.revents().unwrap_or(PollFlags::POLLERR))),
        Err(Errno::EINTR) => Ok([PollFlags::empty(); COUNT]),
        Err(errno) => Err(errno),
    }
}
