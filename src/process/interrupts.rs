//! Waits that a signal ends, for commands that have something to clean up (see `sys::Watch`).

use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;

use crate::error::{Error, Kind};
use crate::sys::{self, WaitOutcome, Watch};

/// While this exists, signals are recorded and end a wait instead of the program.
#[derive(Debug)]
pub(crate) struct Interrupts(Watch);

impl Interrupts {
    /// Starts to record signals. Those that were ignored at execve(2) stay ignored.
    pub(crate) fn watch() -> Result<Self, Error> {
        Watch::new(false).map(Self).map_err(failed)
    }

    /// As [`Interrupts::watch`], including signals that were ignored at execve(2).
    pub(super) fn watch_always() -> Result<Self, Errno> {
        Watch::new(true).map(Self)
    }

    pub(crate) fn wait(&self, timeout: Option<Duration>, other: Option<BorrowedFd<'_>>) -> Result<WaitOutcome, Error> {
        self.0.wait(timeout, other).map_err(failed)
    }

    /// Returns an error if a signal has been received, so that the caller unwinds.
    /// Fails with [`Kind::Interrupted`].
    #[expect(clippy::unused_self, reason = "signals are recorded only while this exists")]
    pub(crate) fn check(&self) -> Result<(), Error> {
        sys::caught().map_or(Ok(()), |signal| Err(Error::interrupted(signal)))
    }
}

fn failed(errno: Errno) -> Error {
    Error::new(Kind::Failed, "cannot wait for signals").os(errno, "poll")
}
