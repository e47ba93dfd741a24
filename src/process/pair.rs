//! The demo's pair: a writer and a reader, two processes that tell on one pipe what they do.

use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::Duration;

use super::start_failed;
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

/// How long a half that was asked to end may take; one that takes longer must have been stopped (SIGSTOP).
const PATIENCE: Duration = Duration::from_secs(2);

/// The two at work: dropped, they are asked to end, and waited for.
#[derive(Debug)]
pub(crate) struct Pair {
    /// The processes.
    children: Vec<Child>,
    /// What they tell; gone once nobody listens any more.
    told: Option<BufReader<PipeReader>>,
    /// On which each is told to go on: a byte lets it use the memory, the end lets it detach.
    words: Vec<PipeWriter>,
}

impl Pair {
    /// Starts `shmadm demo writer` and `shmadm demo reader`.
    ///
    /// # Errors
    /// A process cannot be started.
    pub(crate) fn start(key: Key, rounds: u64, interval: Duration) -> Result<Self, Error> {
        let failed = |error: std::io::Error| start_failed("cannot start the demo's writer and reader", &error);
        let (reader, writer) = std::io::pipe().map_err(failed)?;
        let mut pair = Self { children: Vec::new(), told: Some(BufReader::new(reader)), words: Vec::new() };
        for role in [Role::Writer, Role::Reader] {
            let (waiting, word) = std::io::pipe().map_err(failed)?;
            pair.words.push(word);
            let child = Command::new("/proc/self/exe")
                .arg0("shmadm")
                .args(["demo", role.word(), "--json", "--key", &key.to_string()])
                .args(["--rounds", &rounds.to_string(), "--interval", &format!("{}ms", interval.as_millis())])
                .env(TOGETHER, "1")
                .stdin(waiting)
                .stdout(writer.try_clone().map_err(failed)?)
                .spawn()
                .map_err(failed)?;
            pair.children.push(child);
        }
        Ok(pair)
    }

    /// Gives the descriptor that becomes readable when they have told something.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.told.as_ref().map(|told| told.get_ref().as_fd())
    }

    /// Tells whether a line is there without waiting for the descriptor.
    pub(crate) fn has_line(&self) -> bool {
        self.told.as_ref().is_some_and(|told| told.buffer().contains(&b'\n'))
    }

    /// Lets both begin to use the memory.
    pub(crate) fn begin(&mut self) {
        for word in &mut self.words {
            // One that cannot be told has ended, as the next check shows.
            let _ = word.write_all(b"\n");
        }
    }

    /// Lets both detach.
    pub(crate) fn end(&mut self) {
        self.words.clear();
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
        let Some(told) = &mut self.told else { return Ok(None) };
        match told.read_line(&mut line) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(line)),
            Err(error) => Err(Error::io("cannot read what the writer and the reader tell", &error, "read")),
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
        // First nobody listens any more, so that neither goes on waiting for somebody who does.
        self.told = None;
        self.words.clear();
        for child in &mut self.children {
            let pid = i32::try_from(child.id()).unwrap_or_default();
            let ended = sys::open_pidfd(pid).is_ok_and(|pidfd| {
                // One that cannot be asked has ended, as the wait finds.
                let _ = sys::ask_to_end(&pidfd, pid);
                sys::wait_ended(&pidfd, PATIENCE).unwrap_or(false)
            });
            if !ended {
                // The kernel detaches what it held.
                let _ = child.kill();
            }
            let _ = child.wait();
        }
    }
}
