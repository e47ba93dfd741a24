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

    /// Also lets signals of the terminal end a wait, for a program that draws a screen.
    pub(crate) fn add_terminal(&self) -> Result<(), Error> {
        self.0.add_terminal().map_err(|errno| Error::new(Kind::Failed, "cannot handle signals").os(errno, "sigaction"))
    }

    /// Stops this process as SIGTSTP does, until it is continued.
    pub(crate) fn stop(&self) -> Result<(), Error> {
        self.0.stop().map_err(|errno| Error::new(Kind::Failed, "cannot stop").os(errno, "raise"))
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
