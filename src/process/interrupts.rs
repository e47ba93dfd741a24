//! Waiting in a way that a signal ends, for commands that have something to clean up.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;

use crate::error::{Error, Kind};
use crate::sys::{self, Wake, Watch};

/// Signals are noted while this exists, and end a wait instead of the program.
#[derive(Debug)]
pub(crate) struct Interrupts(Watch);

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By Ctrl-C or SIGTERM, which ask politely.
    Asked(i32),
    /// By another signal, such as SIGHUP.
    Signal(i32),
    /// The time was up.
    Time,
    /// The descriptor has something to read.
    Ready,
}

impl Interrupts {
    /// Begins to note signals.
    ///
    /// # Errors
    /// There are no more descriptors.
    pub(crate) fn note() -> Result<Self, Error> {
        Watch::new(false).map(Self).map_err(failed)
    }

    /// As [`Interrupts::note`], also for signals that our caller had ignored.
    ///
    /// # Errors
    /// There are no more descriptors.
    pub(super) fn note_always() -> Result<Self, Errno> {
        Watch::new(true).map(Self)
    }

    /// Waits for a signal, for a time, or for a descriptor, whichever comes first.
    ///
    /// # Errors
    /// The kernel has no memory for it.
    pub(crate) fn wait(&self, at_most: Option<Duration>, other: Option<BorrowedFd<'_>>) -> Result<Ended, Error> {
        Ok(match self.0.wait(at_most, other).map_err(failed)? {
            Wake::Signal(signal) if signal == nix::libc::SIGINT || signal == nix::libc::SIGTERM => Ended::Asked(signal),
            Wake::Signal(signal) => Ended::Signal(signal),
            Wake::Time => Ended::Time,
            Wake::Ready => Ended::Ready,
        })
    }

    /// Gives the error that unwinds, if a signal has come.
    ///
    /// # Errors
    /// The signal.
    #[expect(clippy::unused_self, reason = "signals are noted only while this exists")]
    pub(crate) fn check(&self) -> Result<(), Error> {
        match sys::caught() {
            Some(signal) => Err(Error::new(Kind::Interrupted(signal), "interrupted")),
            None => Ok(()),
        }
    }
}

/// Makes the error of a call that only want of resources can fail.
fn failed(errno: Errno) -> Error {
    Error::new(Kind::Failed, "cannot wait for signals").os(errno, "poll")
}

/// Ends this process by a signal.
pub(crate) fn end_by(signal: i32) {
    sys::raise(signal);
}

/// Gives the signal that has asked us to end, if one has come while signals are noted.
pub(crate) fn interrupted_by() -> Option<i32> {
    sys::caught()
}
