//! The processes of the demo: a writer and a reader that report their steps through one pipe.
//!
//! Each waits on its standard input: a byte allows it to use the memory, and the end of the input lets it detach. The
//! steps are therefore reported in order, however short the interval is, and both processes end when the demo does.

use std::io::{BufRead, BufReader, PipeReader, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, Stdio};
use std::time::Duration;

use super::helper::{start_failed, this_program};
use crate::error::{Error, Kind};
use crate::model::Key;

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

/// The running processes. Dropping this kills and reaps them; the kernel detaches the segment.
#[derive(Debug)]
pub(crate) struct Pair {
    children: Vec<(Role, Child)>,
    /// The output of both.
    output: BufReader<PipeReader>,
}

impl Pair {
    /// Starts `shmadm demo writer` and `shmadm demo reader`.
    ///
    /// # Errors
    /// A process cannot be started.
    pub(crate) fn start(key: Key, rounds: u64, interval: Duration) -> Result<Self, Error> {
        let failed = |error| start_failed("cannot start the demo's writer and reader", &error);
        let (reader, writer) = std::io::pipe().map_err(failed)?;
        let mut pair = Self { children: Vec::new(), output: BufReader::new(reader) };
        for role in [Role::Writer, Role::Reader] {
            let child = this_program("shmadm")
                .args(["demo", role.as_str(), "--json", "--key", &key.to_string()])
                .args(["--rounds", &rounds.to_string(), "--interval", &format!("{}ms", interval.as_millis())])
                .env(DEMO_CHILD, "1")
                .stdin(Stdio::piped())
                .stdout(writer.try_clone().map_err(failed)?)
                .spawn()
                .map_err(failed)?;
            pair.children.push((role, child));
        }
        Ok(pair)
    }

    /// Returns the descriptor that becomes readable when there is output.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.output.get_ref().as_fd()
    }

    /// Returns whether a complete line is buffered.
    pub(crate) fn has_line(&self) -> bool {
        self.output.buffer().contains(&b'\n')
    }

    /// Allows both to use the memory.
    pub(crate) fn begin(&mut self) {
        for input in self.children.iter_mut().filter_map(|(_, child)| child.stdin.as_mut()) {
            // Fails if the process has exited, which `check` reports.
            let _ = input.write_all(b"\n");
        }
    }

    /// Allows both to detach.
    pub(crate) fn end(&mut self) {
        self.children.iter_mut().for_each(|(_, child)| child.stdin = None);
    }

    /// Checks that neither process has failed, so that the other does not wait in vain.
    ///
    /// # Errors
    /// One of them has failed.
    pub(crate) fn check(&mut self) -> Result<(), Error> {
        for (_, child) in &mut self.children {
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
        let read = self.output.read_line(&mut line);
        read.map_err(|error| Error::io("cannot read the output of the demo's writer and reader", &error, "read"))?;
        Ok(Some(line).filter(|line| !line.is_empty()))
    }

    /// Waits for both.
    ///
    /// # Errors
    /// One of them failed and has printed an error.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        let mut result = Ok(());
        for (role, child) in &mut self.children {
            let failure = match child.wait() {
                Ok(status) if status.success() => continue,
                Ok(status) => format!("the demo's {} failed: {status}", role.as_str()),
                Err(error) => format!("cannot wait for the demo's {}: {error}", role.as_str()),
            };
            result = Err(Error::new(Kind::Failed, failure));
        }
        result
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for (_, child) in &mut self.children {
            // Fails if it has exited.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
