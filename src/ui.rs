//! Standard output for data alone; standard error for status, warnings, hints and errors.

mod advice;
mod progress;

use std::io::{self, BufWriter, IsTerminal, StderrLock, Stdout, Write};
use std::os::fd::{AsFd, BorrowedFd};

use anstyle::{AnsiColor, Style};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::error::{Error, Kind};
use crate::render::{escape, write_error_json};

use advice::Advice;
pub(crate) use progress::Bar;

/// What a pipe that is ready takes without waiting (PIPE_BUF).
const AT_ONCE: usize = 4096;

/// How much of what is printed is gathered before it is handed on.
const GATHERED: usize = 16 << 10;

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR or TERM=dumb says otherwise.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// All settings, with the words that users type.
    pub(crate) const ALL: [(&'static str, Self); 3] =
        [("auto", Self::Auto), ("always", Self::Always), ("never", Self::Never)];

    /// Decides for a stream.
    fn decide(self, is_terminal: bool) -> bool {
        let forbidden = || {
            std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
                || std::env::var_os("TERM").is_some_and(|term| term == "dumb")
        };
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => is_terminal && !forbidden(),
        }
    }
}

/// The user, as far as the program sees one.
#[derive(Debug)]
pub(crate) struct Ui {
    /// Data.
    out: Out,
    /// No status messages.
    quiet: bool,
    /// Colour on standard output.
    color_out: bool,
    /// Colour on standard error.
    color_err: bool,
    /// What advice needs to be typed.
    advice: Advice,
}

/// Standard output. A reader that has gone away is no failure: what is written from then on is dropped.
#[derive(Debug)]
pub(crate) struct Out {
    /// The stream.
    stream: BufWriter<Stream>,
    /// Whether the reader has gone away.
    closed: bool,
}

/// Tells which signal has asked the program to end, if one has.
pub(crate) type Interrupted = fn() -> Option<i32>;

/// Standard output without the library's buffer, whose writes would go on waiting after a signal.
#[derive(Debug)]
struct Stream {
    /// It.
    stdout: Stdout,
    /// Whether to go on.
    interrupted: Interrupted,
    /// Whether our caller gave us none, and /dev/null stands in its place.
    is_missing: bool,
}

impl Stream {
    /// Makes sure that there is one.
    fn exists(&self) -> Result<(), Errno> {
        if self.is_missing { Err(Errno::BADF) } else { Ok(()) }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.exists()?;
        loop {
            let mut most = bytes.len();
            if (self.interrupted)().is_some() {
                // What can be taken at once still goes out; for the rest nobody waits any more.
                let mut ready = [PollFd::new(&self.stdout, PollFlags::OUT)];
                let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
                if !matches!(poll(&mut ready, Some(&at_once)), Ok(1..)) {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                most = most.min(AT_ONCE);
            }
            match rustix::io::write(&self.stdout, &bytes[..most]) {
                Err(Errno::INTR) => {}
                result => return result.map_err(Into::into),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Ui {
    /// Opens the two streams, of which that for data may be missing.
    #[expect(clippy::disallowed_methods, reason = "this is where standard output lives")]
    pub(crate) fn new(quiet: bool, color: Color, interrupted: Interrupted, is_missing: bool) -> Self {
        let stdout = io::stdout();
        Self {
            quiet,
            color_out: color.decide(stdout.is_terminal()),
            color_err: color.decide(io::stderr().is_terminal()),
            advice: Advice::default(),
            out: Out {
                stream: BufWriter::with_capacity(GATHERED, Stream { stdout, interrupted, is_missing }),
                closed: false,
            },
        }
    }

    /// Has every command that is advised work in the namespace in which this one does: typed as it stands, it would
    /// otherwise be about other segments with the same ids.
    pub(crate) fn within(mut self, place: Option<String>) -> Self {
        self.advice.place = place;
        self
    }

    /// Has advice name the user's own command line in the place of `shmadm …`.
    pub(crate) fn called(mut self, line: &str) -> Self {
        self.advice.line = Some(line.to_owned());
        self
    }

    /// Gives an error with its advice as it is to be typed.
    pub(crate) fn localized(&self, mut error: Error) -> Error {
        error.hints.iter_mut().for_each(|hint| *hint = self.advice.typed(hint));
        error
    }

    /// Tells whether data goes to a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.out.stream.get_ref().stdout.is_terminal()
    }

    /// Tells whether data may have colour.
    pub(crate) fn color(&self) -> bool {
        self.color_out
    }

    /// Gives the terminal's columns, if data goes to one.
    pub(crate) fn width(&self) -> Option<usize> {
        if !self.is_terminal() {
            return None;
        }
        let size = rustix::termios::tcgetwinsize(&self.out.stream.get_ref().stdout).ok()?;
        Some(usize::from(size.ws_col)).filter(|width| *width > 0)
    }

    /// Prints a line of data.
    ///
    /// # Errors
    /// Standard output takes no more.
    pub(crate) fn print(&mut self, line: &str) -> Result<(), Error> {
        self.write(|out| writeln!(out, "{line}"))
    }

    /// Prints data.
    ///
    /// # Errors
    /// Standard output takes no more.
    pub(crate) fn write<T>(&mut self, write: impl FnOnce(&mut Out) -> io::Result<T>) -> Result<T, Error> {
        write(&mut self.out).map_err(|error| self.output_failed(&error))
    }

    /// Hands on what was printed, now.
    ///
    /// # Errors
    /// Standard output takes no more.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        self.out.flush().map_err(|error| self.output_failed(&error))
    }

    /// Lends the descriptor behind standard output, with everything printed so far handed on.
    ///
    /// # Errors
    /// Standard output takes no more.
    pub(crate) fn descriptor(&mut self) -> Result<BorrowedFd<'_>, Error> {
        self.flush()?;
        let stream = self.out.stream.get_ref();
        stream.exists().map_err(|errno| self.output_failed(&errno.into()))?;
        Ok(stream.stdout.as_fd())
    }

    /// Takes note that the reader has gone away, for who writes to the descriptor itself.
    pub(crate) fn reader_is_gone(&mut self) {
        self.out.closed = true;
    }

    /// Tells whether the reader of our data has gone away.
    pub(crate) fn is_closed(&self) -> bool {
        self.out.closed
    }

    /// Says how things go, unless the user wants quiet.
    pub(crate) fn status(&mut self, message: &str) {
        if !self.quiet {
            self.say(&escape(message));
        }
    }

    /// Begins to show how far work comes that may take long: if standard error is a terminal, and nobody wants quiet.
    ///
    /// Nothing else may be printed while the bar is there.
    #[expect(clippy::disallowed_methods, reason = "this is where standard error lives")]
    pub(crate) fn bar(&self, doing: &'static str, total: Option<u64>) -> Bar {
        Bar::begin(!self.quiet && io::stderr().is_terminal(), doing, total)
    }

    /// Says what a question is about, also to a user who wants quiet.
    pub(crate) fn tell(&mut self, message: &str) {
        self.say(&escape(message));
    }

    /// Tells whether there is somebody to ask: standard input and standard error are a terminal.
    #[expect(clippy::disallowed_methods, reason = "this is where standard error lives")]
    pub(crate) fn can_ask(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Asks a question, to which anything but y and yes is no.
    ///
    /// # Errors
    /// Standard input cannot be read.
    pub(crate) fn ask(&mut self, question: &str) -> Result<bool, Error> {
        let _ = self.out.flush();
        let _ = stderr().write_all(format!("{} [y/N] ", escape(question)).as_bytes());
        let mut answer = String::new();
        let read = io::stdin().read_line(&mut answer);
        read.map_err(|error| Error::io("cannot read the answer", &error, "read"))?;
        Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }

    /// Warns.
    pub(crate) fn warning(&mut self, message: &str) {
        let label = self.label("warning:", AnsiColor::Yellow);
        self.say(&format!("{label} {}", escape(message)));
    }

    /// Advises, after a warning.
    pub(crate) fn hint(&mut self, message: &str) {
        let label = self.label("hint:", AnsiColor::Cyan);
        let message = self.advice.typed(message);
        self.say(&format!("{label} {}", escape(&message)));
    }

    /// Reports a failure with cause and hints.
    pub(crate) fn error(&mut self, error: &Error) {
        let label = self.label("error:", AnsiColor::Red);
        self.say(&format!("{label} {}", escape(&error.to_string())));
        if let Some(cause) = &error.cause {
            let label = self.label("cause:", AnsiColor::Yellow);
            self.say(&format!("{label} {}", escape(cause)));
        }
        for hint in &error.hints {
            self.hint(hint);
        }
    }

    /// Reports a failure in the machine form, on standard output.
    ///
    /// # Errors
    /// Standard output takes no more.
    pub(crate) fn error_json(&mut self, error: &Error) -> Result<(), Error> {
        let error = self.localized(error.clone());
        self.write(|out| write_error_json(out, &error))
    }

    /// Prints what clap has rendered: help to standard output, a usage error to standard error.
    ///
    /// # Errors
    /// Standard output takes no more.
    pub(crate) fn clap(&mut self, rendered: &clap_text::Rendered) -> Result<(), Error> {
        if rendered.is_error {
            let text = if self.color_err { &rendered.ansi } else { &rendered.plain };
            self.say(text.trim_end());
            return Ok(());
        }
        let text = if self.color_out { rendered.ansi.clone() } else { rendered.plain.clone() };
        self.write(|out| out.write_all(text.as_bytes()))
    }

    /// Makes the error of data that cannot be handed on, or the signal for which it was given up.
    fn output_failed(&self, error: &io::Error) -> Error {
        match (self.out.stream.get_ref().interrupted)() {
            Some(signal) => Error::new(Kind::Interrupted(signal), "interrupted"),
            None if error.kind() == io::ErrorKind::StorageFull => {
                Error::io("cannot write to standard output", error, "write").cause("the device or file system is full")
            }
            None => Error::io("cannot write to standard output", error, "write"),
        }
    }

    /// Paints the word that begins a line of standard error.
    fn label(&self, word: &str, color: AnsiColor) -> String {
        if !self.color_err {
            return word.to_owned();
        }
        let style = Style::new().bold().fg_color(Some(color.into()));
        format!("{style}{word}{style:#}")
    }

    /// Writes a line to standard error, after the data that came before it.
    fn say(&mut self, line: &str) {
        let _ = self.out.flush();
        let mut stream = stderr();
        // Nobody is left to be told that standard error takes no more.
        let _ = stream.write_all(format!("{line}\n").as_bytes());
    }
}

/// What clap has to say, in both dresses.
pub(crate) mod clap_text {
    /// A help text or a usage error.
    #[derive(Debug)]
    pub(crate) struct Rendered {
        /// Without colour.
        pub(crate) plain: String,
        /// With colour.
        pub(crate) ansi: String,
        /// Whether it is an error.
        pub(crate) is_error: bool,
    }
}

/// Gives standard error as what a bar is drawn on.
fn bar_target() -> indicatif::ProgressDrawTarget {
    indicatif::ProgressDrawTarget::stderr()
}

/// Opens standard error.
#[expect(clippy::disallowed_methods, reason = "this is where standard error lives")]
fn stderr() -> StderrLock<'static> {
    io::stderr().lock()
}

impl Out {
    /// Takes note of a reader that has gone away.
    fn note<T>(&mut self, result: io::Result<T>, dropped: T) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(dropped)
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
        let result = self.stream.write(bytes);
        self.note(result, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let result = self.stream.flush();
        self.note(result, ())
    }
}
