//! The standby: this program executed anew, which lets calls of shmget go on once nobody else does.
//!
//! A traced command may leave processes behind that outlive its supervisor, and supervisors are killed. With nobody
//! listening, each shmget of those processes would fail. The standby has the listener as its standard input, and waits
//! until its standard output, the end of a pipe from the supervisor, says that this one is gone.

use std::io::{PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::{Error, Kind};
use crate::sys;

/// The name of a standby.
pub(crate) const STANDBY_NAME: &str = "shmadm-trace";

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
    pub(super) fn start(listener: &OwnedFd) -> Result<Self, Error> {
        let failed = |error: std::io::Error| Error::io("cannot start a standby for the trace", &error, "execve");
        let (waiting, words): (PipeReader, PipeWriter) = std::io::pipe().map_err(failed)?;
        let child = Command::new("/proc/self/exe")
            .arg0(STANDBY_NAME)
            .current_dir("/")
            .stdin(listener.try_clone().map_err(failed)?)
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
    // It fails for the leader of a process group alone, which one that a supervisor started is not.
    let _ = nix::unistd::setsid();
    let (listener, supervisor) = sys::standard_input_and_output();
    let mut last = None;
    let mut supervised = true;
    loop {
        let mut descriptors =
            [PollFd::new(listener.as_fd(), if supervised { PollFlags::empty() } else { PollFlags::POLLIN })].to_vec();
        if supervised {
            descriptors.push(PollFd::new(supervisor.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut descriptors, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
        let is = |index: usize, flags| {
            descriptors.get(index).and_then(PollFd::revents).is_some_and(|events| events.intersects(flags))
        };
        if is(1, PollFlags::POLLIN) {
            let mut words = [0_u8; 512];
            let length = nix::unistd::read(supervisor, &mut words).map_err(failed)?;
            let word = words[..length].last_chunk::<8>();
            last = word.map(|word| u64::from_ne_bytes(*word)).or(last);
        } else if is(1, PollFlags::POLLHUP) {
            supervised = false;
            if let Some(call) = last {
                sys::let_go_on(&listener, call);
            }
        } else if is(0, PollFlags::POLLIN) {
            if let Some(call) = sys::receive(&listener).map_err(failed)? {
                sys::let_go_on(&listener, call.id);
            }
        } else if is(0, PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL) {
            return Ok(());
        }
    }
}
