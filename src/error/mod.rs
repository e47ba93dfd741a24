//! A failure as the user sees it, and its exit code.
//!
//! Causes and hints of failed calls come from `explain`.

mod group;
mod hint;

use std::borrow::Cow;
use std::fmt;

pub(crate) use nix::errno::Errno;

pub(crate) use group::grouped;
pub(crate) use hint::{Hint, Invocation, Privilege, Program, again, program, quoted, shmadm, sysctl};

pub(crate) use crate::sys::SysError;

/// The kinds of failure, each with an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any other failure, or several targets that failed for different reasons.
    Failed,
    /// The command line is invalid; nothing was done.
    Usage,
    /// The segment, object or process does not exist.
    NotFound,
    /// Permission denied.
    Permission,
    /// Refused by a safety check.
    Refused,
    /// It already exists.
    Exists,
    /// Interrupted by the signal with this number.
    Interrupted(i32),
}

impl Kind {
    /// Returns the exit code. The codes are frozen, since scripts test them.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Failed | Self::Interrupted(_) => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Permission => 4,
            Self::Refused => 5,
            Self::Exists => 6,
        }
    }

    /// Returns the kind of a failed call.
    const fn of(errno: Errno) -> Self {
        match errno {
            Errno::EACCES | Errno::EPERM => Self::Permission,
            Errno::ENOENT | Errno::EIDRM => Self::NotFound,
            Errno::EEXIST => Self::Exists,
            _ => Self::Failed,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::NotFound => "not-found",
            Self::Permission => "permission",
            Self::Refused => "refused",
            Self::Exists => "exists",
            Self::Interrupted(_) => "interrupted",
        }
    }
}

/// A failure: what was attempted, why it failed, and which commands help.
#[derive(Clone, Debug)]
pub(crate) struct Error {
    pub(crate) kind: Kind,
    /// What was attempted on what, without the prefix `error:`.
    pub(crate) message: String,
    pub(crate) source: Option<SysError>,
    /// The segment, file or process that was the target.
    pub(crate) target: Option<Box<str>>,
    /// The cause, where an errno has several.
    pub(crate) cause: Option<Box<str>>,
    pub(crate) hints: Vec<Hint>,
}

impl SysError {
    pub(crate) fn name(&self) -> String {
        format!("{:?}", self.errno)
    }

    pub(crate) fn text(&self) -> String {
        strerror(self.errno)
    }
}

/// Returns the C library's text for an errno.
pub(crate) fn strerror(errno: Errno) -> String {
    let code = errno as i32;
    let text = std::io::Error::from_raw_os_error(code).to_string();
    text.strip_suffix(&format!(" (os error {code})")).unwrap_or(&text).to_owned()
}

impl fmt::Display for SysError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({}, {})", self.text(), self.name(), self.call)
    }
}

impl std::error::Error for SysError {}

impl fmt::Display for Error {
    /// Writes the line of the error, without the prefix `error:`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        self.source.iter().try_for_each(|source| write!(formatter, ": {source}"))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

impl Error {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None, target: None, cause: None, hints: Vec::new() }
    }

    /// Creates the error of a failed call. The errno decides its kind.
    pub(crate) fn call(message: impl Into<String>, errno: Errno, call: &'static str) -> Self {
        Self::new(Kind::of(errno), message).os(errno, call)
    }

    /// Creates the error of a failed call like [`Self::call`].
    pub(crate) fn failed_call(message: impl Into<String>, failure: SysError) -> Self {
        Self::call(message, failure.errno, failure.call)
    }

    /// Creates the error after a signal that ends the program.
    pub(crate) fn interrupted(signal: i32) -> Self {
        Self::new(Kind::Interrupted(signal), "interrupted")
    }

    /// Creates an error from an [`std::io::Error`]; `call` is the system call that failed.
    pub(crate) fn io(message: impl Into<String>, error: &std::io::Error, call: &'static str) -> Self {
        let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
        let mut this = Self::new(if denied { Kind::Permission } else { Kind::Failed }, message);
        match error.raw_os_error() {
            Some(code) => this = this.os(Errno::from_raw(code), call),
            None => this.message = format!("{}: {error}", this.message),
        }
        this
    }

    #[must_use]
    pub(crate) fn os(mut self, errno: Errno, call: &'static str) -> Self {
        self.source = Some(SysError { errno, call });
        self
    }

    #[must_use]
    pub(crate) fn target(mut self, target: impl Into<String>) -> Self {
        self.target = Some(target.into().into_boxed_str());
        self
    }

    #[must_use]
    pub(crate) fn cause(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into().into_boxed_str());
        self
    }

    #[must_use]
    pub(crate) fn hint(self, text: impl Into<Cow<'static, str>>, command: Invocation) -> Self {
        self.with(Hint::new(text, command))
    }

    /// Returns the message and the cause in one line, for a warning. It names no call.
    pub(crate) fn message_with_cause(&self) -> String {
        let cause = self.cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{}{cause}", self.message)
    }

    /// Appends to the cause.
    #[must_use]
    pub(crate) fn also(self, cause: &str) -> Self {
        let before = self.cause.as_ref().map(|before| format!("{before}; ")).unwrap_or_default();
        self.cause(format!("{before}{cause}"))
    }

    /// Adds why no more can be written (ENOSPC, EFBIG).
    #[must_use]
    pub(crate) fn with_full_cause(self) -> Self {
        match self.source.map(|source| source.errno) {
            Some(Errno::ENOSPC) => self.cause("the device or file system is full"),
            Some(Errno::EFBIG) => self.cause(
                "it would exceed the limit of this process (`ulimit -f`) or the maximum file size of the file system",
            ),
            _ => self,
        }
    }

    #[must_use]
    pub(crate) fn advice(self, text: impl Into<Cow<'static, str>>) -> Self {
        self.with(Hint::text(text))
    }

    #[must_use]
    pub(crate) fn with(mut self, hint: Hint) -> Self {
        self.hints.push(hint);
        self
    }
}

/// How the program exits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Success.
    Done,
    /// A failure that was reported.
    Failed(Kind),
    /// The result of `diff` or `check`, or the exit code of a command that was run.
    Verdict(u8),
    /// A signal, which `main` re-raises so that a shell sees it.
    Signal(i32),
}

impl Exit {
    /// Combines the failures of several targets: their common kind, or `Failed` if they differ.
    pub(crate) fn of(kinds: impl IntoIterator<Item = Kind>) -> Self {
        let mut kinds = kinds.into_iter();
        let Some(first) = kinds.next() else { return Self::Done };
        Self::Failed(if kinds.all(|kind| kind == first) { first } else { Kind::Failed })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitCodes {
    /// The code of the [`Kind`] of failure.
    Standard,
    /// diff(1): 0 same, 1 different, 2 failure.
    Diff,
    /// Monitoring plugins: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN, which includes failures, usage errors and help.
    Check,
    /// The code of the command that was run, 125 for a failure of the program that ran it.
    Wrapper,
}

impl ExitCodes {
    /// UNKNOWN of the guidelines for monitoring plugins.
    pub(crate) const UNKNOWN: u8 = 3;
    /// The code with which env(1) and timeout(1) report a failure of their own.
    const OWN_FAILURE: u8 = 125;

    /// Converts an exit to this convention.
    pub(crate) const fn exit(self, exit: Exit) -> Exit {
        match (self, exit) {
            (Self::Diff, Exit::Failed(_)) => Exit::Verdict(2),
            (Self::Check, Exit::Failed(_) | Exit::Done) => Exit::Verdict(Self::UNKNOWN),
            (Self::Wrapper, Exit::Failed(_)) => Exit::Verdict(Self::OWN_FAILURE),
            (_, exit) => exit,
        }
    }
}
