//! Completes the commands in hints, so that they run as printed.
//!
//! If only an option or a privilege is missing, the command is the user's own with that option. With `--ns`, every
//! command gets the same `--ns`: without it, it would act on another segment with the same id.

use std::ffi::{OsStr, OsString};

use crate::error::{Hint, Invocation, Program};

/// A longer command line is not repeated in hints.
const MAX_LINE: usize = 256;

#[derive(Debug, Default)]
pub(super) struct HintContext {
    pub(super) namespace: Option<OsString>,
    pub(super) arguments: Vec<OsString>,
}

impl HintContext {
    /// Adds the user's arguments, and `--ns` to other commands.
    pub(super) fn complete(&self, mut hint: Hint) -> Hint {
        if let Some(command) = &mut hint.command {
            self.complete_command(command);
        }
        hint
    }

    fn complete_command(&self, command: &mut Invocation) {
        match (command.program, &self.namespace) {
            (Program::Again, _) if self.is_repeatable() => {
                command.program = Program::Shmadm;
                let end = self.arguments.iter().position(|argument| argument == "--").unwrap_or(self.arguments.len());
                let (before, after) = self.arguments.split_at(end);
                command.arguments = [before, &command.arguments, after].concat();
            }
            (Program::Shmadm, Some(namespace)) if !names_namespace(&command.arguments) => {
                command.arguments.splice(0..0, ["--ns".into(), namespace.clone()]);
            }
            (Program::Other, Some(namespace)) if command.arguments.first().is_some_and(|first| first == "sysctl") => {
                command.arguments.splice(0..0, nsenter(namespace));
            }
            _ => {}
        }
    }

    /// Returns whether the command line is short, and valid UTF-8: otherwise it would not run as printed.
    fn is_repeatable(&self) -> bool {
        let lengths = self.arguments.iter().map(|argument| argument.to_str().map(|text| text.len() + 1));
        let length: Option<usize> = lengths.sum();
        !self.arguments.is_empty() && length.is_some_and(|length| length <= MAX_LINE)
    }
}

fn names_namespace(arguments: &[OsString]) -> bool {
    let names = |it: &OsString| it == "--ns" || it == "--all-ns" || it.as_encoded_bytes().starts_with(b"--ns=");
    arguments.iter().any(names)
}

/// Returns the `nsenter` prefix for another program. For a namespace number no file is known, so PID is a placeholder.
fn nsenter(namespace: &OsStr) -> Vec<OsString> {
    let text = namespace.to_string_lossy();
    let target = if text.starts_with("ipc:[") {
        vec!["--ipc=/proc/PID/ns/ipc".to_owned()]
    } else if text.contains('/') {
        vec![format!("--ipc={text}")]
    } else {
        vec!["--ipc".to_owned(), "--target".to_owned(), text.into_owned()]
    };
    ["nsenter".to_owned()].into_iter().chain(target).map(OsString::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{again, program, shmadm};

    fn completed(namespace: Option<&str>, line: &[&str], command: Invocation) -> String {
        let arguments = line.iter().map(OsString::from).collect();
        let context = HintContext { namespace: namespace.map(OsString::from), arguments };
        context.complete(Hint::new("x", command)).command.unwrap().to_string()
    }

    #[test]
    fn options_are_added_to_the_users_own_command() {
        let own = |line: &[&str], command| completed(None, line, command);
        assert_eq!(own(&["dump", "5"], again("--force")), "shmadm dump 5 --force");
        assert_eq!(own(&["rm", "5"], again("").sudo()), "sudo shmadm rm 5");
        assert_eq!(own(&["leakcheck", "--", "a", "b c"], again("--trace")), "shmadm leakcheck --trace -- a 'b c'");
        assert_eq!(own(&["rm", "5"], shmadm("list")), "shmadm list");
        assert_eq!(own(&["x".repeat(300).as_str()], again("--force")), "shmadm … --force");
        assert_eq!(own(&[], again("-x")), "shmadm … -x");
    }

    #[test]
    fn commands_in_hints_keep_the_namespace() {
        let inside = |command| completed(Some("7"), &["--ns", "7", "rm", "5"], command);
        assert_eq!(inside(again("").sudo()), "sudo shmadm --ns 7 rm 5");
        assert_eq!(inside(shmadm("list")), "shmadm --ns 7 list");
        assert_eq!(inside(shmadm("--ns=7 rm 5")), "shmadm --ns=7 rm 5");
        assert_eq!(inside(shmadm("list --all-ns")), "shmadm list --all-ns");
        let sysctl = |namespace| completed(Some(namespace), &[], program("sysctl -w kernel.shmmni=2"));
        assert_eq!(sysctl("7"), "nsenter --ipc --target 7 sysctl -w kernel.shmmni=2");
        assert_eq!(sysctl("/run/ns"), "nsenter --ipc=/run/ns sysctl -w kernel.shmmni=2");
        assert_eq!(sysctl("/run/a b"), "nsenter '--ipc=/run/a b' sysctl -w kernel.shmmni=2");
        assert_eq!(sysctl("ipc:[5]"), "nsenter --ipc=/proc/PID/ns/ipc sysctl -w kernel.shmmni=2");
    }
}
