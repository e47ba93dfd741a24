//! The two output streams: data goes to standard output; status, warnings, hints and errors go to standard error.

mod hints;
mod out;
mod progress;
mod screen;

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal, StderrLock, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use anstyle::{AnsiColor, Style};

use crate::error::{Error, Hint};
use crate::model::escape_invalid_utf8;
use crate::render::{escape, wrap, wrap_lines, write_error_json};

use hints::HintContext;
pub(crate) use hints::{CommandLine, Part};
pub(crate) use out::Out;
use out::{Interrupted, Stream, write_all};
pub(crate) use progress::Progress;
pub(crate) use screen::{Key, Look, Screen};

/// Whether output has colors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set or TERM is `dumb`.
    #[default]
    Auto,
    Always,
    Never,
}

impl Color {
    /// All settings, with the words that users type.
    pub(crate) const ALL: [(&'static str, Self); 3] =
        [("auto", Self::Auto), ("always", Self::Always), ("never", Self::Never)];

    fn applies(self, is_terminal: bool) -> bool {
        let disabled = || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) || is_dumb();
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => is_terminal && !disabled(),
        }
    }
}

/// Returns whether the terminal knows no control sequences.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

#[derive(Debug)]
pub(crate) struct Rendered {
    pub(crate) plain: String,
    pub(crate) ansi: String,
    /// Whether it is a usage error, not help.
    pub(crate) is_error: bool,
}

#[derive(Debug)]
pub(crate) struct Ui {
    out: Out,
    quiet: bool,
    /// Whether messages are omitted: they would cover a full-screen display, and each round would repeat them.
    is_muted: bool,
    color_out: bool,
    color_err: bool,
    hints: HintContext,
}

impl Ui {
    /// Opens both streams; `is_missing` says that the caller had closed standard output.
    #[expect(clippy::disallowed_methods, reason = "src/ui.rs writes standard output")]
    pub(crate) fn new(quiet: bool, color: Color, interrupted: Interrupted, is_missing: bool) -> Self {
        let stdout = io::stdout();
        Self {
            quiet,
            is_muted: false,
            color_out: color.applies(stdout.is_terminal()),
            color_err: color.applies(io::stderr().is_terminal()),
            hints: HintContext::default(),
            out: Out::new(stdout, interrupted, is_missing),
        }
    }

    /// Sets the user's command line, `--ns` and `--dir`, which hints repeat, and whether `sudo` helps.
    pub(crate) fn with_command_line(
        mut self,
        line: CommandLine,
        namespace: Option<OsString>,
        directory: Option<OsString>,
        can_become_root: fn() -> bool,
    ) -> Self {
        let can_become_root = Some(can_become_root);
        self.hints = HintContext { namespace, directory, line, can_become_root, ..HintContext::default() };
        self
    }

    /// Sets a name for the namespace of `--ns` in hints that run other programs, which do not accept its number.
    #[must_use]
    pub(crate) fn with_namespace_for_others(mut self, name: Option<OsString>) -> Self {
        self.hints.namespace_for_others = name;
        self
    }

    /// Prepares for JSON. On a terminal, its strings must not change what the terminal shows.
    pub(crate) fn with_json(mut self, json: bool) -> Self {
        self.out.escapes = json && self.is_terminal();
        self
    }

    pub(crate) fn with_complete_hints(&self, mut error: Error) -> Error {
        error.hints = error.hints.into_iter().filter_map(|hint| self.hints.complete(hint)).collect();
        error
    }

    /// Returns a hint with a complete command; `None` if it does not help this caller.
    pub(crate) fn complete(&self, hint: Hint) -> Option<Hint> {
        self.hints.complete(hint)
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.out.stream.get_ref().stdout.is_terminal()
    }

    pub(crate) fn color(&self) -> bool {
        self.color_out
    }

    /// Returns the width of standard output in columns: the terminal's, or else the value of COLUMNS.
    pub(crate) fn width(&self) -> Option<usize> {
        let columns = || std::env::var("COLUMNS").ok()?.parse().ok();
        terminal_width(&self.out.stream.get_ref().stdout).or_else(columns).filter(|width| *width > 0)
    }

    /// Returns what stands for omitted text, in the encoding of the locale.
    pub(crate) fn ellipsis(&self) -> &'static str {
        if self.is_utf8() { "\u{2026}" } else { "..." }
    }

    /// Returns whether the encoding of the locale is UTF-8.
    pub(crate) fn is_utf8(&self) -> bool {
        let mut settings = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(|name| std::env::var(name).ok());
        let locale = settings.find(|value| !value.is_empty()).unwrap_or_default().to_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    }

    /// Prints a line for people to standard output, escaped, and broken between words on a terminal.
    pub(crate) fn print(&mut self, line: &str) -> Result<(), Error> {
        let line = escape(line);
        let width = terminal_width(&self.out.stream.get_ref().stdout);
        let line = width.map_or_else(|| line.to_string(), |width| wrap(&line, 0, width));
        self.write(|out| writeln!(out, "{line}"))
    }

    /// Prints a value that a script may read: its bytes, or escaped on a terminal.
    pub(crate) fn print_value(&mut self, value: &OsStr) -> Result<(), Error> {
        if self.is_terminal() {
            let value = escape_invalid_utf8(value.as_bytes());
            return self.write(|out| writeln!(out, "{}", escape(&value)));
        }
        self.write(|out| out.write_all(&[value.as_bytes(), b"\n"].concat()))
    }

    pub(crate) fn write<T>(&mut self, write: impl FnOnce(&mut Out) -> io::Result<T>) -> Result<T, Error> {
        write(&mut self.out).map_err(|error| self.output_error(&error))
    }

    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        self.out.flush().map_err(|error| self.output_error(&error))
    }

    /// Flushes standard output and returns its descriptor, for writes that bypass the buffer.
    pub(crate) fn descriptor(&mut self) -> Result<BorrowedFd<'_>, Error> {
        self.flush()?;
        let stream = self.out.stream.get_ref();
        stream.check_open().map_err(|errno| self.output_error(&errno.into()))?;
        Ok(stream.stdout.as_fd())
    }

    /// Discards further output: a direct write to the descriptor has failed with EPIPE, or another error was reported.
    pub(crate) fn mark_closed(&mut self) {
        self.out.closed = true;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.out.closed
    }

    /// Prints a status message, unless `--quiet` is given.
    pub(crate) fn status(&mut self, message: &str) {
        if !self.quiet {
            self.write_message(None, message);
        }
    }

    /// Starts a progress line, which is shown if standard error is a terminal and `--quiet` is not given.
    ///
    /// Nothing else may be printed until it is dropped.
    #[expect(clippy::disallowed_methods, reason = "src/ui.rs writes standard error")]
    pub(crate) fn progress(&self, message: &'static str, total: Option<u64>) -> Progress {
        let is_visible = !self.quiet && io::stderr().is_terminal() && !is_dumb();
        Progress::start(is_visible.then(io::stderr), message, total)
    }

    /// Prints a message even with `--quiet`, such as the subject of a question.
    pub(crate) fn notice(&mut self, message: &str) {
        self.write_message(None, message);
    }

    /// Returns whether a question can be asked: standard input and standard error are terminals.
    #[expect(clippy::disallowed_methods, reason = "src/ui.rs writes standard error")]
    pub(crate) fn can_confirm(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Asks a question; any answer except `y` and `yes` means no.
    pub(crate) fn confirm(&mut self, question: &str) -> Result<bool, Error> {
        let _ = self.out.flush();
        let _ = stderr().write_all(format!("{} [y/N] ", escape(question)).as_bytes());
        let mut answer = String::new();
        let read = io::stdin().read_line(&mut answer);
        read.map_err(|error| Error::io("cannot read the answer", &error, "read"))?;
        Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }

    pub(crate) fn warning(&mut self, message: &str) {
        self.write_message(Some(("warning:", AnsiColor::Yellow)), message);
    }

    pub(crate) fn hint(&mut self, hint: Hint) {
        let Some(hint) = self.hints.complete(hint) else { return };
        self.write_message(Some(("hint:", AnsiColor::Cyan)), &hint.to_string());
    }

    /// Prints a hint that follows no warning or error, unless `--quiet` is given.
    pub(crate) fn suggest(&mut self, hint: Hint) {
        if !self.quiet {
            self.hint(hint);
        }
    }

    pub(crate) fn error(&mut self, error: &Error) {
        self.write_message(Some(("error:", AnsiColor::Red)), &error.to_string());
        if let Some(cause) = &error.cause {
            self.write_message(Some(("cause:", AnsiColor::Yellow)), cause);
        }
        for hint in &error.hints {
            self.hint(hint.clone());
        }
    }

    pub(crate) fn error_json(&mut self, error: &Error) -> Result<(), Error> {
        let error = self.with_complete_hints(error.clone());
        self.write(|out| write_error_json(out, &error))
    }

    /// Prints what clap has rendered: help to standard output, a usage error to standard error. clap breaks only
    /// descriptions to fit the terminal.
    pub(crate) fn clap(&mut self, rendered: &Rendered) -> Result<(), Error> {
        if rendered.is_error {
            let text = if self.color_err { &rendered.ansi } else { &rendered.plain };
            self.write_line(&fit(text.trim_end(), stderr_width()));
            return Ok(());
        }
        let text = if self.color_out { &rendered.ansi } else { &rendered.plain };
        let text = fit(text, self.width());
        self.write(|out| out.write_all(text.as_bytes()))
    }

    /// Writes lines to standard error even with `--quiet`, in one call, and broken between words on a terminal. The
    /// caller has escaped what is in them. A closed pipe (EPIPE) is not an error.
    pub(crate) fn log(&mut self, lines: &str) -> Result<(), Error> {
        self.flush()?;
        let lines = fit(lines, stderr_width());
        match stderr().write_all(lines.as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Error::io("cannot write to standard error", &error, "write"))
            }
            _ => Ok(()),
        }
    }

    fn output_error(&self, error: &io::Error) -> Error {
        match (self.out.stream.get_ref().interrupted)() {
            Some(signal) => Error::interrupted(signal),
            None => Error::io("cannot write to standard output", error, "write").with_full_cause(),
        }
    }

    fn label(&self, text: &str, color: AnsiColor) -> String {
        if !self.color_err {
            return text.to_owned();
        }
        let style = Style::new().bold().fg_color(Some(color.into()));
        format!("{style}{text}{style:#}")
    }

    /// Writes a message to standard error, escaped, and broken between words on a terminal.
    fn write_message(&mut self, label: Option<(&str, AnsiColor)>, message: &str) {
        if self.is_muted {
            return;
        }
        let message = escape(message);
        let indent = label.map_or(0, |(text, _)| text.len() + 1);
        let message = stderr_width().map_or_else(|| message.to_string(), |width| wrap(&message, indent, width));
        let label = label.map(|(text, color)| self.label(text, color) + " ").unwrap_or_default();
        self.write_line(&format!("{label}{message}"));
    }

    /// Writes a line to standard error; flushes standard output first, to keep the order.
    fn write_line(&mut self, line: &str) {
        let _ = self.out.flush();
        // A failure to write to standard error cannot be reported.
        let _ = write_all(stderr(), self.out.stream.get_ref().interrupted, format!("{line}\n").as_bytes());
    }
}

fn fit(text: &str, width: Option<usize>) -> String {
    width.map_or_else(|| text.to_owned(), |width| wrap_lines(text, width))
}

#[expect(clippy::disallowed_methods, reason = "src/ui.rs measures standard error")]
fn stderr_width() -> Option<usize> {
    terminal_width(io::stderr())
}

/// Returns the width of a terminal in columns; `None` for another file, or if it is unknown.
fn terminal_width(stream: impl AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    Some(usize::from(size.ws_col)).filter(|width| *width > 0)
}

#[expect(clippy::disallowed_methods, reason = "src/ui.rs writes standard error")]
fn stderr() -> StderrLock<'static> {
    io::stderr().lock()
}
