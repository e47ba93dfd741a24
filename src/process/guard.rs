//! The guard: a second process of this program that creates a segment for the first, its maker, and removes it if the
//! maker exits before the segment is complete.
//!
//! A segment has its key from the moment shmget(2) creates it, so other processes can find it while it is filled; and a
//! process that is killed cleans up nothing. The guard calls shmget itself, so it always knows which segment to remove.
//! If the maker called it and were killed before it could send the id, the guard would have to search for a segment that
//! looks right, and could take another user's: a creator's pid may have been reused.
//!
//! The maker writes requests to the guard's standard input, a line each, until one succeeds; the guard answers on its
//! standard output. A byte after that releases the guard. If standard input ends without that byte, the guard removes the
//! segment.

use std::ffi::CStr;
use std::io::{BufRead, BufReader, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;

use super::{Interrupts, start_failed};
use crate::error::{Error, Kind, shmadm};
use crate::explain::{Attempt, explain, holders};
use crate::model::{Key, Needs, ShmId};
use crate::query::{System, lookup};
use crate::sys::{self, CreateFlags, Subject, SysError};

/// The name of a guard.
pub(crate) const GUARD_NAME: &CStr = c"shmadm-guard";

/// The byte that releases a guard.
const RELEASE: &[u8] = b".";
/// How long to wait for a guard to exit. One that takes longer is stopped (SIGSTOP), and nothing depends on it any more.
const PATIENCE: Duration = Duration::from_secs(1);

/// A running guard. Dropped before it is released, it removes the segment that it has created.
#[derive(Debug)]
pub(crate) struct Guard {
    child: Child,
    /// Its standard input; `None` once it is closed.
    requests: Option<PipeWriter>,
    /// Its standard output.
    answers: BufReader<PipeReader>,
}

impl Guard {
    /// Starts a guard, which creates nothing yet.
    ///
    /// # Errors
    /// The process cannot be started.
    pub(crate) fn start() -> Result<Self, Error> {
        let failed = |error: std::io::Error| start_failed("cannot start a guard", &error);
        let (stdin, requests) = std::io::pipe().map_err(failed)?;
        let (answers, stdout) = std::io::pipe().map_err(failed)?;
        let child = Command::new("/proc/self/exe")
            .arg0(GUARD_NAME.to_string_lossy().as_ref())
            .current_dir("/")
            .stdin(OwnedFd::from(stdin))
            .stdout(OwnedFd::from(stdout))
            .stderr(Stdio::null())
            // Ctrl-C, and a signal that kills the maker's process group, must not reach it.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        Ok(Self { child, requests: Some(requests), answers: BufReader::new(answers) })
    }

    /// Asks the guard to create a segment, as [`sys::create`] does. Returns the result of its shmget(2).
    pub(crate) fn create(
        &mut self,
        interrupts: &Interrupts,
        key: Key,
        size: u64,
        flags: CreateFlags,
    ) -> Result<Result<ShmId, SysError>, Error> {
        let failed = |error, call| Error::io("cannot create a segment through the guard", &error, call);
        match self.write(Request { key, size, flags }.to_line().as_bytes()) {
            // It has exited: the answer, which is empty then, leads to the error.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            written => written.map_err(|error| failed(error, "write"))?,
        }
        interrupts.wait(None, Some(self.answers.get_ref().as_fd()))?;
        interrupts.check()?;
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(|error| failed(error, "read"))?;
        parse_answer(&line, key).ok_or_else(|| self.exited(key))
    }

    /// Releases the guard: the segment stays.
    ///
    /// # Errors
    /// The guard cannot be reached, and will remove the segment.
    pub(crate) fn release(mut self) -> Result<(), Error> {
        match self.write(RELEASE) {
            // One that was killed removes nothing.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(|error| Error::io("cannot release the guard", &error, "write")),
        }
    }

    /// Writes to the guard's standard input.
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.requests.as_mut().map_or(Ok(()), |requests| requests.write_all(bytes))
    }

    /// Returns the error of a guard that exited before it answered.
    fn exited(&mut self, key: Key) -> Error {
        let status = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        let key = if key == Key::PRIVATE { "private".to_owned() } else { key.to_string() };
        Error::new(Kind::Failed, format!("cannot create a segment: the guard exited before it answered: {status}"))
            .cause("shmadm-guard may have created the segment before that")
            .hint("show the segment, if there is one", shmadm(format!("list --key {key}")))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.requests = None;
        // Without a process that reaps orphans it would stay a zombie. A signal ends the wait.
        if let Ok(pidfd) = sys::open_pidfd(self.child.id().cast_signed()) {
            let _ = sys::wait_for_exit(&pidfd, PATIENCE);
        }
        let _ = self.child.try_wait();
    }
}

/// The arguments of a shmget(2) that the guard is to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Request {
    key: Key,
    /// In bytes.
    size: u64,
    flags: CreateFlags,
}

impl Request {
    /// Returns the line that the maker writes. It is short enough for a pipe to take it as a whole or not at all.
    fn to_line(self) -> String {
        format!("{} {} {}\n", self.key.to_kernel(), self.size, self.flags.to_kernel())
    }

    /// Parses that line.
    fn parse(line: &str) -> Option<Self> {
        let mut numbers = line.split_ascii_whitespace();
        Some(Self {
            key: Key::from_kernel(numbers.next()?.parse().ok()?),
            size: numbers.next()?.parse().ok()?,
            flags: CreateFlags::from_kernel(numbers.next()?.parse().ok()?),
        })
    }
}

/// Returns the guard's answer to a request.
fn answer(created: Result<ShmId, SysError>) -> String {
    match created {
        Ok(id) => format!("created {id}\n"),
        Err(error) => format!("failed {}\n", error.errno as i32),
    }
}

/// Parses the answer to a request for a key.
fn parse_answer(line: &str, key: Key) -> Option<Result<ShmId, SysError>> {
    let (word, number) = line.trim_end().split_once(' ')?;
    let number = number.parse().ok()?;
    match word {
        "created" => ShmId::new(number).map(Ok),
        "failed" => Some(Err(SysError { errno: Errno::from_raw(number), call: "shmget", target: Subject::Key(key) })),
        _ => None,
    }
}

/// Runs the guard, until it is released or its maker has exited.
///
/// # Errors
/// It was not started by a [`Guard`], or cannot remove the segment.
pub(crate) fn guard_main() -> Result<(), Error> {
    let unusable = || Error::new(Kind::Usage, "shmadm-guard is started only by `shmadm restore`");
    sys::close_inherited();
    sys::set_name(GUARD_NAME);
    // A signal to all processes of a service reaches the maker too, which cleans up by itself.
    sys::block_signals();
    let failed = |error| Error::io("cannot guard a segment", &error, "read");
    let mut input = std::io::stdin().lock();
    let (_, output) = sys::standard_input_and_output();
    let (id, answered) = loop {
        let mut line = String::new();
        input.read_line(&mut line).map_err(failed)?;
        let Request { key, size, flags } = Request::parse(&line).ok_or_else(unusable)?;
        let created = sys::create(key, size, flags);
        let line = answer(created);
        let answered = sys::write(output, line.as_bytes()) == Ok(line.len());
        if let Ok(id) = created {
            break (id, answered);
        }
    };
    if !answered {
        // The maker does not know the id.
        return remove(id);
    }
    match input.read_exact(&mut [0; RELEASE.len()]) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => remove(id),
        Err(error) => Err(failed(error)),
    }
}

/// Removes the segment that this process has created, and ends the holder that was started for it.
fn remove(id: ShmId) -> Result<(), Error> {
    let system = System::new();
    // No other process has this pid while this one runs, so a segment with it as its creator is the one that this
    // process has created, even if other segments have had the same id in between.
    let own = Some(std::process::id().cast_signed());
    if lookup(&system, id, Needs::empty())?.is_none_or(|segment| segment.sysv().cpid != own) {
        return Ok(());
    }
    sys::remove(id).map_err(|error| explain(&system, &Attempt::Remove(id), error))?;
    for holder in holders(&system, id)? {
        // A holder that cannot be signalled has exited.
        let _ = sys::terminate(&holder.pidfd, holder.pid);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Mode;

    #[test]
    fn requests_and_answers_are_parsed_as_they_were_written() {
        let flags = CreateFlags { mode: Mode::PRIVATE, huge: None, no_reserve: false };
        for (key, size, flags) in [
            (Key::PRIVATE, 1, flags),
            (Key::new(u32::MAX), u64::MAX, CreateFlags { huge: Some(None), ..flags }),
            (Key::new(1234), 9000, CreateFlags { huge: Some(Some(34)), no_reserve: true, ..flags }),
        ] {
            let request = Request { key, size, flags };
            assert_eq!(Request::parse(&request.to_line()), Some(request));
            let failure = SysError { errno: Errno::ENOSPC, call: "shmget", target: Subject::Key(key) };
            for created in [Ok(ShmId::new(i32::MAX).unwrap()), Err(failure)] {
                assert_eq!(parse_answer(&answer(created), key), Some(created));
            }
        }
        for line in ["", "1234 9000\n", "1234 9000 x\n"] {
            assert_eq!(Request::parse(line), None);
            assert_eq!(parse_answer(line, Key::PRIVATE), None);
        }
    }
}
