//! Advice in errors and warnings: a few words, and usually a command.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

use crate::model::{NamespaceName, is_dangerous};

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
    /// Options and words of the user's command that [`Program::Again`] leaves out.
    pub(crate) dropped: Vec<OsString>,
    /// Replaces the words that are not options in [`Program::Again`].
    pub(crate) targets: Vec<OsString>,
    pub(crate) privilege: Privilege,
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

/// Who can run an [`Invocation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Privilege {
    Caller,
    /// Root: with `sudo`. If the caller is root, the hint has no command.
    Root,
    /// Who can write this file: with `sudo` if the caller cannot.
    Write(PathBuf),
}

impl Hint {
    pub(crate) fn new(text: impl Into<Cow<'static, str>>, command: Invocation) -> Self {
        Self { text: text.into(), command: Some(command) }
    }

    /// Returns the hint to run the user's command with all privileges.
    pub(crate) fn run_as_root() -> Self {
        Self::new("run as root", again("").sudo())
    }

    pub(crate) fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), command: None }
    }
}

impl Invocation {
    /// `words` are separated by spaces; arguments from outside are added with [`Self::arg`].
    fn new(program: Program, words: &str) -> Self {
        let arguments = words.split_whitespace().map(OsString::from).collect();
        let (dropped, targets) = (Vec::new(), Vec::new());
        Self { program, arguments, dropped, targets, privilege: Privilege::Caller, redirection: None }
    }

    #[must_use]
    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    #[must_use]
    pub(crate) fn sudo(mut self) -> Self {
        self.privilege = Privilege::Root;
        self
    }

    #[must_use]
    pub(crate) fn args<'a>(mut self, arguments: impl IntoIterator<Item = &'a OsString>) -> Self {
        self.arguments.extend(arguments.into_iter().cloned());
        self
    }

    /// Leaves out options, by their long names, or words of the user's command.
    #[must_use]
    pub(crate) fn without(mut self, words: &[impl AsRef<OsStr>]) -> Self {
        self.dropped.extend(words.iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// Replaces the segments of the user's command with one of them.
    #[must_use]
    pub(crate) fn on(mut self, target: impl Into<OsString>) -> Self {
        self.targets.push(target.into());
        self
    }

    /// Adds a redirection such as `< FILE`.
    #[must_use]
    pub(crate) fn redirected(mut self, redirection: impl Into<String>) -> Self {
        self.redirection = Some(redirection.into());
        self
    }

    /// Returns whether one of these options is among the arguments, perhaps with a value (`--ns=7`).
    pub(crate) fn has_option(&self, options: &[&str]) -> bool {
        let mut names = self.arguments.iter().filter_map(|word| word.to_str()?.split('=').next());
        names.any(|name| options.contains(&name))
    }

    /// Returns whether it leaves out an option, by its long name.
    pub(crate) fn drops(&self, option: &str) -> bool {
        self.dropped.iter().any(|word| word == option)
    }

    /// Completes the command for a namespace, as `--ns` names it; `None` if no command enters it.
    pub(crate) fn in_namespace(mut self, namespace: &OsStr) -> Option<Self> {
        match self.program {
            Program::Shmadm if !self.has_option(&["--ns", "--all-ns"]) && !self.drops("ns") => {
                self.arguments.splice(0..0, ["--ns".into(), namespace.to_owned()]);
            }
            Program::Other if self.arguments.first().is_some_and(|first| first == "sysctl") => {
                self.arguments.splice(0..0, nsenter(namespace)?);
            }
            _ => {}
        }
        Some(self)
    }

    /// Redirects the output to a file that perhaps only root can write.
    #[must_use]
    pub(crate) fn written_to(mut self, file: &str) -> Self {
        self.privilege = Privilege::Write(file.into());
        self.redirected(format!("> {file}"))
    }
}

/// Returns a command of this program; `words` are separated by spaces.
pub(crate) fn shmadm(words: impl AsRef<str>) -> Invocation {
    Invocation::new(Program::Shmadm, words.as_ref())
}

/// Returns the user's own command with more options, which are separated by spaces. They replace those that the user
/// gave. If the command has no such option, no hint is printed.
pub(crate) fn again(options: &str) -> Invocation {
    Invocation::new(Program::Again, options)
}

/// Returns a command of another program; `words` are separated by spaces.
pub(crate) fn program(words: impl AsRef<str>) -> Invocation {
    Invocation::new(Program::Other, words.as_ref())
}

/// Returns the command that sets a kernel parameter such as `kernel.shmmni`.
pub(crate) fn sysctl(name: &str, value: u64) -> Invocation {
    let file = PathBuf::from(format!("/proc/sys/{}", name.replace('.', "/")));
    Invocation { privilege: Privilege::Write(file), ..program(format!("sysctl -w {name}={value}")) }
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
        let program = (self.program != Program::Other).then_some("shmadm").map(Cow::Borrowed);
        let arguments = self.arguments.iter().map(|argument| quoted(argument));
        let redirection = self.redirection.as_deref().map(Cow::Borrowed);
        let words: Vec<_> = program.into_iter().chain(arguments).chain(redirection).collect();
        let line = words.join(" ");
        match (&self.privilege, &self.redirection) {
            (Privilege::Caller | Privilege::Write(_), _) => formatter.write_str(&line),
            (Privilege::Root, None) => write!(formatter, "sudo {line}"),
            // The shell that redirects must be root's.
            (Privilege::Root, Some(_)) => write!(formatter, "sudo sh -c {}", quoted(&line)),
        }
    }
}

/// Returns the `nsenter` prefix for another program. It cannot enter a namespace by its number.
fn nsenter(namespace: &OsStr) -> Option<Vec<OsString>> {
    let target = match NamespaceName::parse(namespace)? {
        NamespaceName::Path(path) => vec![OsString::from_iter([OsStr::new("--ipc="), path.as_os_str()])],
        NamespaceName::Pid(pid) => vec!["--ipc".into(), "--target".into(), pid.to_string().into()],
        NamespaceName::Number(_) => return None,
    };
    Some(["nsenter".into()].into_iter().chain(target).collect())
}

/// Quotes a word for a shell if necessary. What cannot be shown on a terminal is escaped, as in `$'a\nb'`.
pub(crate) fn quoted(word: &(impl AsRef<OsStr> + ?Sized)) -> Cow<'_, str> {
    let word = word.as_ref();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./:=,+@%".contains(byte);
    match word.to_str() {
        Some(text) if !word.is_empty() && word.as_bytes().iter().all(is_plain) => text.into(),
        Some(text) if !text.contains(is_dangerous) => format!("'{}'", text.replace('\'', "'\\''")).into(),
        _ => format!("$'{}'", escaped(word.as_bytes())).into(),
    }
}

/// Writes bytes as they are between `$'` and `'`. Octal escapes end after three digits in every shell.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    let octal = |text: &mut String, bytes: &[u8]| bytes.iter().for_each(|byte| text.push_str(&format!("\\{byte:03o}")));
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' => text.push_str("\\n"),
                '\t' => text.push_str("\\t"),
                '\\' | '\'' => text.extend(['\\', character]),
                _ if is_dangerous(character) => octal(&mut text, character.encode_utf8(&mut [0; 4]).as_bytes()),
                _ => text.push(character),
            }
        }
        octal(&mut text, chunk.invalid());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_as_the_shell_reads_them() {
        use std::process::Command;
        for (word, expected) in [
            (&b"a-b"[..], "a-b"),
            (b"", "''"),
            (b"it's", "'it'\\''s'"),
            (b"a\nb'\\", "$'a\\nb\\'\\\\'"),
            (b"\x1b[31m1", "$'\\033[31m1'"),
            ("\u{202e}x".as_bytes(), "$'\\342\\200\\256x'"),
            (b"gr\xc3\xbcn\xff7", "$'gr\u{fc}n\\3777'"),
        ] {
            let text = quoted(OsStr::from_bytes(word)).into_owned();
            assert_eq!(text, expected);
            if let Ok(output) = Command::new("bash").args(["-c", &format!("printf %s {text}")]).output() {
                assert_eq!(output.stdout, word, "{text}");
            }
        }
    }

    #[test]
    fn a_redirection_to_roots_file_is_roots() {
        let command = program("echo 5").written_to("/proc/x");
        assert_eq!(command.to_string(), "echo 5 > /proc/x");
        assert_eq!(command.sudo().to_string(), "sudo sh -c 'echo 5 > /proc/x'");
    }
}
