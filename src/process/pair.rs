//! The processes of the demo: a writer and a reader that report their steps through one pipe.
//!
//! Each waits on its standard input: a byte allows it to use the memory, and the end of the input lets it detach. The
//! steps are therefore reported in order, however short the interval is, and both processes end when the demo does.

use std::io::{self, BufRead, BufReader, PipeReader, Write};
use std::os::fd::AsFd;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use super::helper::{start_failed, this_program};
use super::{Interrupts, WaitOutcome};
use crate::error::{Error, Kind};
use crate::model::{Key, named};

/// Set in the environment of a process that waits on its standard input before it uses the memory.
const DEMO_CHILD: &str = "SHMADM_DEMO_TOGETHER";

/// Returns whether this process belongs to a [`Pair`], instead of being started by hand.
pub(crate) fn is_demo_child() -> bool {
    std::env::var_os(DEMO_CHILD).is_some()
}

named! {
    /// The role of a demo process. Its name is also the subcommand's.
    pub(crate) enum Role {
        Writer = "writer",
        Reader = "reader",
    }
}

/// Time without output after which the processes are checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The running processes. Dropping this kills and reaps them; the kernel detaches the segment.
#[derive(Debug)]
pub(crate) struct Pair {
    children: Vec<(Role, Child)>,
    /// The output of both.
    output: BufReader<PipeReader>,
}

impl Pair {
    /// Starts `shmadm demo writer` and `shmadm demo reader`.
    pub(crate) fn start(key: Key, rounds: u64, interval: Duration) -> Result<Self, Error> {
        let failed = |error| start_failed("cannot start the demo's writer and reader", &error);
        let (reader, writer) = io::pipe().map_err(failed)?;
        let mut pair = Self { children: Vec::new(), output: BufReader::new(reader) };
        for role in [Role::Writer, Role::Reader] {
            let child = this_program("shmadm")
                .args(["demo", role.as_str(), "--json", "--key", &key.to_string()])
                .args(["--rounds", &rounds.to_string(), "--interval", &format!("{}ms", interval.as_millis())])
                .env(DEMO_CHILD, "1")
                .stdin(Stdio::piped())
                // An error is also in the output.
                .stderr(Stdio::null())
                .stdout(writer.try_clone().map_err(failed)?)
                .spawn()
                .map_err(failed)?;
            pair.children.push((role, child));
        }
        Ok(pair)
    }

    /// Waits for the next line of output; `None` at its end or after a signal.
    pub(crate) fn next_line(&mut self, interrupts: &Interrupts) -> Result<Option<String>, Error> {
        loop {
            let output = &mut self.output;
            let has_line = output.buffer().contains(&b'\n');
            let wait = || interrupts.wait(Some(CHECK_INTERVAL), Some(output.get_ref().as_fd()));
            match if has_line { WaitOutcome::Ready } else { wait()? } {
                WaitOutcome::Ready => {
                    let mut line = String::new();
                    let read = output.read_line(&mut line);
                    let read = read.map_err(|error| {
                        Error::io("cannot read the output of the demo's writer and reader", &error, "read")
                    })?;
                    return Ok((read > 0).then_some(line));
                }
                // So that one does not wait forever for the other.
                WaitOutcome::Timeout | WaitOutcome::Suspend | WaitOutcome::Redraw => self.check()?,
                WaitOutcome::Terminate(_) | WaitOutcome::Signal(_) => return Ok(None),
            }
        }
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

    /// Checks that neither process has failed.
    fn check(&mut self) -> Result<(), Error> {
        self.children.iter_mut().try_for_each(|(role, child)| match child.try_wait().transpose() {
            None => Ok(()),
            Some(status) => check_status(*role, status),
        })
    }

    /// Waits for both; one that failed has printed an error.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        let children = std::mem::take(&mut self.children);
        let results: Vec<_> = children.into_iter().map(|(role, mut child)| check_status(role, child.wait())).collect();
        results.into_iter().collect()
    }
}

fn check_status(role: Role, status: io::Result<ExitStatus>) -> Result<(), Error> {
    let role = role.as_str();
    let message = match status {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => format!("the demo's {role} failed: {status}"),
        Err(error) => format!("cannot wait for the demo's {role}: {error}"),
    };
    Err(Error::new(Kind::Failed, message))
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
