//! The demo's pair: a writer and a reader, two processes that tell on one pipe what they do.

use std::io::{BufRead, BufReader, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::Duration;

use crate::error::{Error, Kind};
use crate::model::Key;
use crate::sys;

/// By this variable a half knows that it waits for the end of its standard input before it uses the memory.
const TOGETHER: &str = "SHMADM_DEMO_TOGETHER";

/// Tells whether this process is one of a [`Pair`], and not started by hand.
pub(crate) fn starts_together() -> bool {
    std::env::var_os(TOGETHER).is_some()
}

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Writes the integer.
    Writer,
    /// Reads it.
    Reader,
}

impl Role {
    /// Gives the word, which is the subcommand's name.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Writer => "writer",
            Self::Reader => "reader",
        }
    }
}

/// The two at work: dropped, they are asked to end, and waited for.
#[derive(Debug)]
pub(crate) struct Pair {
    /// The processes.
    children: Vec<Child>,
    /// What they tell.
    told: BufReader<PipeReader>,
    /// What both wait for the end of before they use the memory.
    gate: Option<PipeWriter>,
}

impl Pair {
    /// Starts `shmadm demo writer` and `shmadm demo reader`.
    ///
    /// # Errors
    /// A process cannot be started.
    pub(crate) fn start(key: Key, rounds: u64, interval: Duration) -> Result<Self, Error> {
        let failed = |error: std::io::Error| Error::io("cannot start the demo's writer and reader", &error);
        let (reader, writer) = std::io::pipe().map_err(failed)?;
        let (waiting, gate) = std::io::pipe().map_err(failed)?;
        let mut pair = Self { children: Vec::new(), told: BufReader::new(reader), gate: Some(gate) };
        for role in [Role::Writer, Role::Reader] {
            let child = Command::new("/proc/self/exe")
                .arg0("shmadm")
                .args(["demo", role.word(), "--json", "--key", &key.to_string()])
                .args(["--rounds", &rounds.to_string(), "--interval", &format!("{}ms", interval.as_millis())])
                .env(TOGETHER, "1")
                .stdin(waiting.try_clone().map_err(failed)?)
                .stdout(writer.try_clone().map_err(failed)?)
                .spawn()
                .map_err(failed)?;
            pair.children.push(child);
        }
        Ok(pair)
    }

    /// Gives the descriptor that becomes readable when they have told something.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.told.get_ref().as_fd()
    }

    /// Tells whether a line is there without waiting for the descriptor.
    pub(crate) fn has_line(&self) -> bool {
        self.told.buffer().contains(&b'\n')
    }

    /// Lets both begin to use the memory.
    pub(crate) fn open_gate(&mut self) {
        self.gate = None;
    }

    /// Makes sure that neither has ended before its time, for which the other would wait in vain.
    ///
    /// # Errors
    /// One of them has failed.
    pub(crate) fn check(&mut self) -> Result<(), Error> {
        for child in &mut self.children {
            if let Ok(Some(status)) = child.try_wait()
                && !status.success()
            {
                return Err(Error::new(Kind::Failed, format!("a process of the demo failed ({status})")));
            }
        }
        Ok(())
    }

    /// Reads the next line that they told; `None` once both have ended.
    ///
    /// # Errors
    /// The pipe cannot be read.
    pub(crate) fn line(&mut self) -> Result<Option<String>, Error> {
        let mut line = String::new();
        match self.told.read_line(&mut line) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(line)),
            Err(error) => Err(Error::io("cannot read what the writer and the reader tell", &error)),
        }
    }

    /// Waits for both, and tells whether they did what they should.
    ///
    /// # Errors
    /// One of them failed; it has said why.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        let mut failed = None;
        for (child, role) in self.children.iter_mut().zip(["writer", "reader"]) {
            match child.wait() {
                Ok(status) if status.success() => {}
                Ok(status) => failed = Some(format!("the demo's {role} failed ({status})")),
                Err(error) => failed = Some(format!("cannot wait for the demo's {role}: {error}")),
            }
        }
        self.children.clear();
        failed.map_or(Ok(()), |message| Err(Error::new(Kind::Failed, message)))
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for child in &mut self.children {
            let pid = i32::try_from(child.id()).unwrap_or_default();
            if let Ok(pidfd) = sys::open_pidfd(pid) {
                // One that cannot be asked has ended, and the wait below takes note of it.
                let _ = sys::ask_to_end(&pidfd, pid);
            }
        }
        for child in &mut self.children {
            let _ = child.wait();
        }
    }
}
