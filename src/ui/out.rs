//! Output and messages are written with write(2) and not through the standard library, which restarts a write that a
//! signal interrupts (EINTR). So the program still ends on SIGINT or SIGTERM if its reader has stopped reading; after
//! the signal it writes only what the pipe accepts without blocking.

use std::io::{self, BufWriter, Stdout, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::render::escape_json;

/// A pipe that is ready for writing accepts this much without blocking.
const PIPE_BUF: usize = 4096;

const BUFFER_SIZE: usize = 16 << 10;

/// Standard output. A closed pipe (EPIPE) is not an error: further output is discarded.
#[derive(Debug)]
pub(crate) struct Out {
    pub(super) stream: BufWriter<Stream>,
    pub(super) closed: bool,
    /// Whether characters that could change what a terminal shows are escaped as in JSON.
    pub(super) escapes: bool,
}

/// Returns the signal that requested the end of the program, if any.
pub(crate) type Interrupted = fn() -> Option<i32>;

/// Unbuffered standard output whose writes end after a signal.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) stdout: Stdout,
    pub(super) interrupted: Interrupted,
    /// The errno with which every write fails: that of the first failed write, so that its data is not written at exit;
    /// or EBADF if the caller had closed descriptor 1, in whose place the standard library opened /dev/null.
    pub(super) failed: Option<Errno>,
}

impl Stream {
    pub(super) fn check_open(&self) -> Result<(), Errno> {
        self.failed.map_or(Ok(()), Err)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.check_open()?;
        let written = write_once(&self.stdout, self.interrupted, bytes);
        if let Err(errno) = &written
            && *errno != STALLED
        {
            self.failed = Some(*errno);
        }
        Ok(written?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// After a signal: the reader accepts nothing without blocking.
const STALLED: Errno = Errno::TIMEDOUT;

/// Calls write(2), again if a signal has interrupted it. After a signal that requests the end of the program, writes
/// only what the reader accepts without blocking, or fails with [`STALLED`].
fn write_once(file: impl AsFd, interrupted: Interrupted, bytes: &[u8]) -> Result<usize, Errno> {
    loop {
        let mut limit = bytes.len();
        if interrupted().is_some() {
            let mut ready = [PollFd::new(&file, PollFlags::OUT)];
            let no_wait = Timespec { tv_sec: 0, tv_nsec: 0 };
            if !matches!(poll(&mut ready, Some(&no_wait)), Ok(1..)) {
                return Err(STALLED);
            }
            limit = limit.min(PIPE_BUF);
        }
        match rustix::io::write(&file, &bytes[..limit]) {
            Err(Errno::INTR) => {}
            written => return written,
        }
    }
}

/// Writes all bytes as [`write_once`] does.
pub(super) fn write_all(file: impl AsFd, interrupted: Interrupted, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match write_once(&file, interrupted, bytes)? {
            0 => return Err(Errno::IO),
            written => bytes = &bytes[written..],
        }
    }
    Ok(())
}

impl Out {
    /// `is_missing` says that the caller had closed standard output.
    pub(super) fn new(stdout: Stdout, interrupted: Interrupted, is_missing: bool) -> Self {
        let stream = Stream { stdout, interrupted, failed: is_missing.then_some(Errno::BADF) };
        Self { stream: BufWriter::with_capacity(BUFFER_SIZE, stream), closed: false, escapes: false }
    }

    /// Turns EPIPE into success and records it.
    fn ignore_closed_pipe<T>(&mut self, result: io::Result<T>, discarded: T) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(discarded)
            }
            other => other,
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.closed {
            return Ok(bytes.len());
        }
        if self.escapes {
            let result = self.stream.write_all(&escape_json(bytes));
            return self.ignore_closed_pipe(result.map(|()| bytes.len()), bytes.len());
        }
        let result = self.stream.write(bytes);
        self.ignore_closed_pipe(result, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let result = self.stream.flush();
        self.ignore_closed_pipe(result, ())
    }
}
