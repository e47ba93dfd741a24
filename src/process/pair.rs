//! The processes of the demo: a writer and a reader that report their steps through one pipe.
//!
//! Each waits on its standard input: a byte allows it to use the memory, and the end of the input lets it detach. The
//! steps are therefore reported in order, however short the interval is, and both processes end when the demo does.

use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::Duration;

use super::start_failed;
use crate::error::{Error, Kind};
use crate::model::Key;
use crate::sys;

/// Set in the environment of a process that waits on its standard input before it uses the memory.
const DEMO_CHILD: &str = "SHMADM_DEMO_TOGETHER";

/// Returns whether this process belongs to a [`Pair`], instead of being started by hand.
pub(crate) fn is_demo_child() -> bool {
    std::env::var_os(DEMO_CHILD).is_some()
}

/// The role of a demo process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Writes the integer.
    Writer,
    /// Reads it.
    Reader,
}

impl Role {
    /// Returns the name, which is also the subcommand's.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Writer => "writer",
            Self::Reader => "reader",
        }
    }
}

/// How long to wait after SIGTERM. A process that takes longer is stopped (SIGSTOP).
const PATIENCE: Duration = Duration::from_secs(2);

/// The running processes. Dropping this terminates and reaps them.
#[derive(Debug)]
pub(crate) struct Pair {
    children: Vec<Child>,
    /// The output of both; `None` once it is closed.
    output: Option<BufReader<PipeReader>>,
    /// Their standard inputs.
    inputs: Vec<PipeWriter>,
}

impl Pair {
    /// Starts `shmadm demo writer` and `shmadm demo reader`.
    ///
    /// # Errors
    /// A process cannot be started.
    pub(crate) fn start(key: Key, rounds: u64, interval: Duration) -> Result<Self, Error> {
        let failed = |error: std::io::Error| start_failed("cannot start the demo's writer and reader", &error);
        let (reader, writer) = std::io::pipe().map_err(failed)?;
        let mut pair = Self { children: Vec::new(), output: Some(BufReader::new(reader)), inputs: Vec::new() };
        for role in [Role::Writer, Role::Reader] {
            let (stdin, input) = std::io::pipe().map_err(failed)?;
            pair.inputs.push(input);
            let child = Command::new("/proc/self/exe")
                .arg0("shmadm")
                .args(["demo", role.as_str(), "--json", "--key", &key.to_string()])
                .args(["--rounds", &rounds.to_string(), "--interval", &format!("{}ms", interval.as_millis())])
                .env(DEMO_CHILD, "1")
                .stdin(stdin)
                .stdout(writer.try_clone().map_err(failed)?)
                .spawn()
                .map_err(failed)?;
            pair.children.push(child);
        }
        Ok(pair)
    }

    /// Returns the descriptor that becomes readable when there is output.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.output.as_ref().map(|output| output.get_ref().as_fd())
    }

    /// Returns whether a complete line is buffered.
    pub(crate) fn has_line(&self) -> bool {
        self.output.as_ref().is_some_and(|output| output.buffer().contains(&b'\n'))
    }

    /// Allows both to use the memory.
    pub(crate) fn begin(&mut self) {
        for input in &mut self.inputs {
            // Fails if the process has exited, which `check` reports.
            let _ = input.write_all(b"\n");
        }
    }

    /// Allows both to detach.
    pub(crate) fn end(&mut self) {
        self.inputs.clear();
    }

    /// Checks that neither process has failed, so that the other does not wait in vain.
    ///
    /// # Errors
    /// One of them has failed.
    pub(crate) fn check(&mut self) -> Result<(), Error> {
        for child in &mut self.children {
            if let Ok(Some(status)) = child.try_wait()
                && !status.success()
            {
                return Err(Error::new(Kind::Failed, format!("a process of the demo failed: {status}")));
            }
        }
        Ok(())
    }

    /// Reads the next line of output; `None` once both have closed it.
    ///
    /// # Errors
    /// The pipe cannot be read.
    pub(crate) fn line(&mut self) -> Result<Option<String>, Error> {
        let mut line = String::new();
        let Some(output) = &mut self.output else { return Ok(None) };
        match output.read_line(&mut line) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(line)),
            Err(error) => Err(Error::io("cannot read the output of the demo's writer and reader", &error, "read")),
        }
    }

    /// Waits for both.
    ///
    /// # Errors
    /// One of them failed and has printed an error.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        let mut failed = None;
        for (child, role) in self.children.iter_mut().zip(["writer", "reader"]) {
            match child.wait() {
                Ok(status) if status.success() => {}
                Ok(status) => failed = Some(format!("the demo's {role} failed: {status}")),
                Err(error) => failed = Some(format!("cannot wait for the demo's {role}: {error}")),
            }
        }
        self.children.clear();
        failed.map_or(Ok(()), |message| Err(Error::new(Kind::Failed, message)))
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // Close the pipes first, so that neither process blocks on them.
        self.output = None;
        self.inputs.clear();
        for child in &mut self.children {
            let pid = i32::try_from(child.id()).unwrap_or_default();
            let exited = sys::open_pidfd(pid).is_ok_and(|pidfd| {
                // Fails if the process has exited.
                let _ = sys::terminate(&pidfd, pid);
                sys::wait_for_exit(&pidfd, PATIENCE).unwrap_or(false)
            });
            if !exited {
                // The kernel detaches its segment.
                let _ = child.kill();
            }
            let _ = child.wait();
        }
    }
}
