//! Advice in errors and warnings: a few words, and usually a command.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use serde::{Serialize, Serializer};

/// Advice. Its command is data, which `ui` completes with the user's own options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hint {
    /// What the command does, or the whole advice.
    pub(crate) text: Cow<'static, str>,
    pub(crate) command: Option<Invocation>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invocation {
    pub(crate) program: Program,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) sudo: bool,
    /// A redirection, written as it is.
    pub(crate) redirection: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Shmadm,
    /// This program with the user's own arguments and some more.
    Again,
    /// The program that is the first argument.
    Other,
}

impl Hint {
    pub(crate) fn new(text: impl Into<Cow<'static, str>>, command: Invocation) -> Self {
        Self { text: text.into(), command: Some(command) }
    }
}

impl Invocation {
    /// `words` are separated by spaces; arguments from outside are added with [`Self::arg`].
    fn new(program: Program, words: &str) -> Self {
        let arguments = words.split_whitespace().map(OsString::from).collect();
        Self { program, arguments, sudo: false, redirection: None }
    }

    #[must_use]
    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    #[must_use]
    pub(crate) fn sudo(mut self) -> Self {
        self.sudo = true;
        self
    }

    #[must_use]
    pub(crate) fn args<'a>(mut self, arguments: impl IntoIterator<Item = &'a OsString>) -> Self {
        self.arguments.extend(arguments.into_iter().cloned());
        self
    }

    /// Adds a redirection such as `> FILE`.
    #[must_use]
    pub(crate) fn redirected(mut self, redirection: impl Into<String>) -> Self {
        self.redirection = Some(redirection.into());
        self
    }
}

/// Returns a command of this program; `words` are separated by spaces.
pub(crate) fn shmadm(words: impl AsRef<str>) -> Invocation {
    Invocation::new(Program::Shmadm, words.as_ref())
}

/// Returns the user's own command with more options, which are separated by spaces.
pub(crate) fn again(options: &str) -> Invocation {
    Invocation::new(Program::Again, options)
}

/// Returns a command of another program; `words` are separated by spaces.
pub(crate) fn program(words: impl AsRef<str>) -> Invocation {
    Invocation::new(Program::Other, words.as_ref())
}

impl fmt::Display for Hint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)?;
        self.command.iter().try_for_each(|command| write!(formatter, ": `{command}`"))
    }
}

impl Serialize for Hint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Invocation {
    /// Writes the command as it is typed in a shell.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = match self.program {
            Program::Shmadm => Some("shmadm"),
            Program::Again => Some("shmadm …"),
            Program::Other => None,
        };
        let words = self.sudo.then_some("sudo").into_iter().chain(program).map(Cow::Borrowed);
        let arguments = self.arguments.iter().map(|argument| quoted(argument));
        let redirection = self.redirection.as_deref().map(Cow::Borrowed);
        let words: Vec<_> = words.chain(arguments).chain(redirection).collect();
        formatter.write_str(&words.join(" "))
    }
}

pub(crate) fn quoted(word: &(impl AsRef<OsStr> + ?Sized)) -> Cow<'_, str> {
    let word = word.as_ref();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./:=,+@%".contains(byte);
    let text = word.to_string_lossy();
    if !word.is_empty() && word.as_bytes().iter().all(is_plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''")).into()
    }
}
